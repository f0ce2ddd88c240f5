"""One call by a route, with upstreams that do what a list says and a clock that only pauses move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.core import span as names
from windlass.core.errors import Busy, Invalid, ModelFailed, NotFound, Unavailable, WindlassError
from windlass.core.message import Delta, ModelReply, ModelRequest, Usage, assistant, user
from windlass.core.operations.routes import Route
from windlass.runtime.models import Caller, RoutedModel, Timeouts, Upstreams
from windlass.runtime.models import routing as module
from windlass.runtime.models.routed import drawn_by
from windlass.runtime.models.routing import Routing, failures_of, limits_of
from windlass.runtime.models.upstreams import Places

ASK = ModelRequest("fast", (user("Hi"),))


def failure(status: int | None = None, **details: Any) -> ModelFailed:
    return ModelFailed("it failed", **({"status": status} if status else {}), **details)


class World:
    """Upstreams by script: each answer is a failure, or None for an answer. `now` moves by `took` for each, and by pauses."""

    def __init__(self, **scripts: list[WindlassError | None]) -> None:
        self.now = 100.0
        self.took = 0.0
        self.scripts = scripts
        self.asked: list[str] = []
        self.pauses: list[float] = []
        self.chances: list[tuple[float, float]] = []
        self.upstreams = Upstreams(clock=lambda: self.now)
        self.missing: set[str] = set()

    def find(self, model: str) -> Any:
        if model in self.missing:
            raise Unavailable(f"{model} cannot be called: KEY is not set")
        return Scripted(self, model)

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def chance(self, low: float, high: float) -> float:
        self.chances.append((low, high))
        return high

    def model(self, route: dict[str, Any], **caller: Any) -> RoutedModel:
        said = msgspec.convert(route, Route)

        def begin(**how: Any) -> Routing:
            limits = limits_of(said, Timeouts(total_s=600))
            who = Caller("p", **{"trace": "t", **caller})
            return Routing("fast", said, who, self.upstreams, self.find, limits, price, chance=self.chance, **how)

        return RoutedModel("fast", said, begin)


def price(provider: str, model: str, usage: Usage, at_ns: int) -> float | None:
    return None if provider == "unpriced" else float((usage.input or 0) + 10 * (usage.output or 0))


class Scripted:
    def __init__(self, world: World, model: str) -> None:
        self.id = model
        self.provider = model.partition("/")[0]
        self._world = world

    async def complete(self, request: ModelRequest, *, timeout_s: float | None = None) -> ModelReply:
        self._world.asked.append(self.provider)
        self._world.now += self._world.took
        script = self._world.scripts[self.provider]
        said = script.pop(0) if len(script) > 1 else script[0]
        if said is not None:
            raise said
        return ModelReply(assistant(f"from {self.provider}"), "stop", Usage(1, 1), cost=11.0)

    async def stream(self, request: ModelRequest, *, timeout_s: float | None = None) -> AsyncIterator[Delta]:
        reply = await self.complete(request)
        yield Delta("from ")
        if self._world.scripts.get("broken"):
            raise self._world.scripts["broken"][0]  # type: ignore[misc]
        yield Delta(reply=reply)


def tiers(*providers: str, **rules: Any) -> dict[str, Any]:
    return {"upstreams": [{"model": f"{p}/m", "tier": n} for n, p in enumerate(providers, 1)], **rules}


async def test_pauses_grow_by_full_jitter_to_their_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    """As AWS has it: a draw between 0 and min(cap, base × 2ⁿ)."""
    w = World(a=[failure(500)])
    monkeypatch.setattr(module.asyncio, "sleep", w.sleep)
    with pytest.raises(ModelFailed):
        await w.model(
            tiers("a", retries={"attempts": 6, "base_s": 1, "cap_s": 5, "budget_s": 600}, breaker={"failures": 99})
        ).complete(ASK)  # fmt: skip
    assert w.chances == [(0.0, 1.0), (0.0, 2.0), (0.0, 4.0), (0.0, 5.0), (0.0, 5.0)] and w.pauses == [1, 2, 4, 5, 5]


async def test_the_budget_is_of_all_waiting_together(monkeypatch: pytest.MonkeyPatch) -> None:
    w = World(a=[failure(500)], b=[failure(503)], c=[None])
    monkeypatch.setattr(module.asyncio, "sleep", w.sleep)
    reply = await w.model(tiers("a", "b", "c", retries={"attempts": 9, "base_s": 2, "budget_s": 7})).complete(ASK)
    assert w.pauses == [2, 4] and w.asked == ["a", "a", "a", "b", "c"], "after 6 of 7 seconds nobody is waited for"
    assert reply.upstream == "c/m"


async def test_retry_after_is_the_least_one_waits_and_too_much_is_not_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    w = World(a=[failure(429, retry_after_s=3.0), None])
    monkeypatch.setattr(module.asyncio, "sleep", w.sleep)
    assert (await w.model(tiers("a", retries={"base_s": 0})).complete(ASK)).upstream == "a/m" and 3 <= w.pauses[0] < 3.1
    w = World(a=[failure(429, retry_after_s=3.0), None], b=[None])
    assert (await w.model(tiers("a", "b", retries={"budget_s": 2})).complete(ASK)).upstream == "b/m" and w.pauses == []


async def test_an_only_upstream_that_wants_to_be_left_alone_for_a_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    w = World(a=[None])
    monkeypatch.setattr(module.asyncio, "sleep", w.sleep)
    w.upstreams.of("p", "fast", "a/m").breaker.rest(w.now + 2)
    model = w.model(tiers("a"))
    assert (await model.complete(ASK)).upstream == "a/m" and 2 <= w.pauses[0] < 2.1
    w.upstreams.of("p", "fast", "a/m").breaker.rest(w.now + 99)
    with pytest.raises(Unavailable, match="left alone for 99 s") as e:
        await model.complete(ASK)
    assert e.value.details["retry_after_s"] == pytest.approx(99)


async def test_the_end_of_the_call_is_the_end_of_its_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    w = World(a=[failure(timeout=True)], b=[failure(timeout=True)], c=[None])
    w.took = 6.0
    with pytest.raises(ModelFailed):
        await w.model(tiers("a", "b", "c", timeouts={"total_s": 10})).complete(ASK)
    assert w.asked == ["a", "b"]


async def test_nothing_is_asked_again_once_a_piece_was_given_out() -> None:
    w = World(a=[None], broken=[failure(connection=True)], b=[None])
    model = w.model(tiers("a", "b"))
    seen = []
    with pytest.raises(ModelFailed):
        async for delta in model.stream(ASK):
            seen.append(delta.text)
    assert seen == ["from "] and w.asked == ["a"]
    assert model.routing is not None and [a.failed for a in model.routing.attempts] == ["connection"]
    assert w.upstreams.of("p", "fast", "a/m").failed == 1


SAID = [None, 400, 404, 408, 429, 500, 503, "timeout", "connection", "nonsense"]


@settings(max_examples=150, deadline=None)
@given(
    scripts=st.lists(st.lists(st.sampled_from(SAID), min_size=1, max_size=3), min_size=1, max_size=4),
    attempts=st.integers(1, 3),
)
def test_any_failures_end_in_the_first_answer_or_in_the_last_failure(scripts: list[list[Any]], attempts: int) -> None:
    """Whatever happens: an upstream is asked `attempts` times at most, none after an answer or a word on the request, all in order; and
    what was asked is what the span tells."""

    def said(x: Any) -> WindlassError | None:
        return None if x is None else failure(x) if isinstance(x, int) else failure() if x == "nonsense" else failure(**{x: True})

    providers = [f"p{n}" for n in range(len(scripts))]
    w = World(**{p: [said(x) for x in s] for p, s in zip(providers, scripts, strict=True)})
    model = w.model(tiers(*providers, retries={"attempts": attempts, "base_s": 0, "budget_s": 600}, breaker={"failures": 99}))
    expected: list[str] = []
    end = None
    for p, script in zip(providers, scripts, strict=True):
        for n in range(attempts):
            kind = script[min(n, len(script) - 1)]
            expected.append(p)
            end = (p, kind)
            if kind in (None, 400, 404, "timeout"):
                break
        if end[1] in (None, 400, 404):
            break
    try:
        reply = asyncio.run(model.complete(ASK))
        assert end == (reply.upstream.partition("/")[0], None)
    except ModelFailed as e:
        assert end is not None and end[1] is not None
        assert str(end[1]) in failures_of(e)
    assert w.asked == expected
    assert model.routing is not None and [a.upstream.partition("/")[0] for a in model.routing.attempts] == expected


async def test_an_upstream_that_is_not_there_is_passed_over_and_none_at_all_is_told() -> None:
    w = World(a=[None], b=[None])
    w.missing = {"a/m"}
    model = w.model(tiers("a", "b"))
    assert (await model.complete(ASK)).upstream == "b/m"
    assert model.routing is not None
    said = model.routing.attributes()
    assert said[names.ROUTE_WHY] == (
        "By route fast, a/m is first: a/m was passed over, since a/m cannot be called: KEY is not set; b/m answered."
    )
    w.missing.add("b/m")
    with pytest.raises(Unavailable, match="KEY is not set"):
        await model.complete(ASK)


async def test_what_no_upstream_can_be_asked_is_the_callers_mistake() -> None:
    w = World(a=[None])
    routing = w.model(tiers("a")).begin(fits=lambda model: "it does not speak /embeddings")
    with pytest.raises(Invalid, match="does not speak"):
        await anext(routing)


async def test_the_reply_counts_what_the_attempts_before_it_used() -> None:
    w = World(a=[failure(529, input_tokens=7, output_tokens=1)], b=[None], unpriced=[failure(529, input_tokens=7)])
    assert (await w.model(tiers("a", "b", retries={"attempts": 1})).complete(ASK)).cost == 17 + 11
    assert (await w.model(tiers("unpriced", "b", retries={"attempts": 1})).complete(ASK)).cost is None, "an unknown price is not 0"


async def test_who_waits_for_a_place_is_let_in_in_order_and_who_leaves_takes_none() -> None:
    places, came = Places(), []
    assert await places.take(1, 1) and not await places.take(1, 0)

    async def come(name: str, wait_s: float = 5) -> bool:
        got = await places.take(1, wait_s)
        came.append((name, got))
        return got

    first, gone, third = (asyncio.create_task(come(n)) for n in ("first", "gone", "third"))
    late = asyncio.create_task(come("late", 0.01))
    await asyncio.sleep(0)
    assert places.waiting == 4
    gone.cancel()
    await asyncio.wait((gone, late))
    places.give_back()
    await first
    places.give_back()
    await third
    assert came == [("late", False), ("first", True), ("third", True)] and (places.taken, places.waiting) == (1, 0)
    places.give_back()
    assert places.taken == 0


async def test_a_full_upstream_gives_way_and_alone_says_so() -> None:
    w = World(a=[None], b=[None])
    route = tiers("a", "b", timeouts={"queue_s": 0})
    route["upstreams"][0]["concurrency"] = 1
    assert await w.upstreams.of("p", "fast", "a/m").places.take(1, 0)
    assert (await w.model(route).complete(ASK)).upstream == "b/m"
    route["upstreams"].pop()
    with pytest.raises(Busy, match="places were taken"):
        await w.model(route).complete(ASK)


async def test_a_draw_is_named_by_the_route_too() -> None:
    w = World(a=[None])
    one = drawn_by(w.model(tiers("a")), "sha256:aa")
    assert one != "sha256:aa" and one == drawn_by(w.model(tiers("a", timeouts={"total_s": 9})), "sha256:aa")
    others = [tiers("b"), tiers("a", "b"), tiers("a", sticky="trace"), tiers("a", fall_back_on=["500"])]
    others.append({"upstreams": [{"model": "a/m", "weight": 2}]})
    assert len({one, *(drawn_by(w.model(r), "sha256:aa") for r in others)}) == 6


@pytest.mark.parametrize(
    ("error", "kinds"),
    [
        (failure(429), ("429", "4xx")),
        (failure(503), ("503", "5xx")),
        (failure(400, context=True), ("context", "400", "4xx")),
        (failure(timeout=True), ("timeout",)),
        (failure(connection=True), ("connection",)),
        (failure(), ("nonsense",)),
        (Invalid("no such parameter"), ("400", "4xx")),
        (NotFound("x"), ("nonsense",)),
    ],
)
def test_what_a_failure_is_called(error: WindlassError, kinds: tuple[str, ...]) -> None:
    assert failures_of(error) == kinds
