"""Calls of a route through a live gateway: for each way an upstream can fail, what the client sees, how often each upstream was asked, and
what the span says. Upstreams `one` and `two` speak OpenAI's dialect, `three` Anthropic's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import msgspec
import openai
import pytest
from granian.constants import Interfaces
from granian.server.embed import Server
from tests.doors.gateway.conftest import KEY, Live, Runs, _reachable, authenticate, free_port, listed
from tests.scripted_provider import Say, ScriptedProvider

from windlass.core import span as names
from windlass.core.actor import OWNER
from windlass.core.errors import Unavailable
from windlass.core.operations.routes import RouteAttempt, RouteSet
from windlass.core.span import Span
from windlass.discover.providers import load_providers
from windlass.discover.routes import Routes, RouteTable
from windlass.doors.gateway import Gateway
from windlass.govern.permissions import guard
from windlass.govern.prices import Prices
from windlass.runtime.models import Http, Models, Retries, Timeouts, Upstreams
from windlass.store.meta import open_meta

HI = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50}
QUICK = {"attempts": 2, "base_s": 0.001, "budget_s": 0.5}


class Routed(Live):
    """A gateway with three providers and the routes that a test sets; `closed` is one that refuses connections."""

    def __init__(self, url: str, providers: list[ScriptedProvider], routes: Routes, upstreams: Upstreams) -> None:
        super().__init__(url, providers[0], Runs())
        self.upstreams = upstreams
        self.one, self.two, self.three = providers
        self.routes = routes

    def set(self, name: str, *models: str, **rules: Any) -> None:
        """A route on which each model is a tier of its own, in this order."""
        upstreams = [{"model": m, "tier": n} for n, m in enumerate(models, 1)]
        said = {"name": name, "route": {"upstreams": upstreams, "retries": QUICK, **rules}}
        self.routes.set(OWNER, msgspec.convert(said, RouteSet))

    def asked(self) -> tuple[int, int, int]:
        return len(self.one.requests), len(self.two.requests), len(self.three.requests)

    async def told(self) -> tuple[Span, list[RouteAttempt]]:
        span = await self.span()
        return span, _attempts(span)


def _attempts(span: Span) -> list[RouteAttempt]:
    return msgspec.json.decode(span.attributes[names.ROUTE_ATTEMPTS], type=list[RouteAttempt])


@pytest.fixture
async def routed(tmp_path: Path) -> AsyncIterator[Routed]:
    async with contextlib.AsyncExitStack() as ends:
        scripted = [await ends.enter_async_context(ScriptedProvider()) for _ in range(3)]
        with socket.socket() as held, free_port() as port:
            held.bind(("127.0.0.1", 0))  # bound and not listened on: whoever connects is refused
            table = tmp_path / "providers.toml"
            dialects = ["openai", "openai", "anthropic"]
            rows = [
                f'[{n}]\nbase_url = "{p.url}"\ndialect = "{d}"\nkeys = ["ITS_KEY"]\n'
                for n, p, d in zip(("one", "two", "three"), scripted, dialects, strict=True)
            ]
            rows.append(f'[closed]\nbase_url = "http://127.0.0.1:{held.getsockname()[1]}/v1"\nauth = "none"\n')
            rows.append('[keyless]\nbase_url = "http://127.0.0.1:9/v1"\nkeys = ["NOT_SET"]\n')
            rows.append(f'[openai]\nbase_url = "{scripted[0].url}"\nbase_env = ""\n')
            table.write_text("\n".join(rows))
            providers = load_providers(table, {"ITS_KEY": KEY, "OPENAI_API_KEY": KEY})
            prices = tmp_path / "prices.toml"
            prices.write_text("".join(f'["{n}/*"]\ninput = 1000000\noutput = 10000000\n' for n in ("one", "two", "three")))
            engine = open_meta(f"sqlite:///{tmp_path}/windlass.db")
            known = RouteTable(engine)
            upstreams = Upstreams()
            http = Http(Timeouts(connect_s=2, first_token_s=0.4, between_tokens_s=0.4, total_s=5), Retries(attempts=1))
            models = Models(providers, Prices(prices).price, http, routes=known, upstreams=upstreams)
            held_ = Routed(f"http://127.0.0.1:{port}", scripted, Routes(engine, known, providers, tmp_path), upstreams)
            gateway = Gateway(
                models=models, runs=held_.runs, records=held_, authenticate=authenticate, guard=guard, listed=listed,
            )  # fmt: skip
            server = Server(gateway, address="127.0.0.1", port=port, interface=Interfaces.ASGINL, log_enabled=False)
            serving = asyncio.create_task(server.serve())
            await _reachable(port)
            yield held_
            server.stop()
            await serving
        await models.close()
        engine.dispose()


async def post(live: Live, body: dict[str, Any], path: str = "/v1/chat/completions", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    sent = {"Authorization": "Bearer wk-caller", **headers}
    async with aiohttp.ClientSession() as session, session.post(live.url + path, json=body, headers=sent) as response:
        return response.status, await response.read(), dict(response.headers)


def _text(data: bytes, stream: bool) -> str:
    if not stream:
        return str(json.loads(data)["choices"][0]["message"]["content"])
    events = [json.loads(e[6:]) for e in data.decode().split("\n\n") if e and not e.endswith("[DONE]")]
    return "".join(c["delta"].get("content") or "" for e in events for c in e["choices"])


FAULTS = {
    "500": (Say("down", status=500), 2, "500"),
    "429 with Retry-After": (Say("slow down", status=429, headers={"Retry-After": "0.05"}), 2, "429"),
    "429 with a Retry-After beyond the budget": (Say("slow down", status=429, headers={"Retry-After": "30"}), 1, "429"),
    "529": (Say("overloaded", status=529), 2, "529"),
    "a hang before the first byte": (Say(hang=True), 1, "timeout"),
    "a connection that is closed": (Say(silent=True), 2, "connection"),
    "garbage": (Say(raw=b"<html>oops</html>"), 2, "nonsense"),
    "an error under the status 200": (Say(raw=b'{"error":{"message":"upstream unreachable"}}'), 2, "nonsense"),
    "an empty answer": (Say(raw=b""), 2, "nonsense"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", ["the caller's", "another"])
async def test_a_failure_before_the_first_byte_is_another_upstreams_answer(routed: Routed, stream: bool, dialect: str) -> None:
    first, failing = ("one", routed.one) if dialect == "the caller's" else ("three", routed.three)
    routed.two.say("from two")
    for number, (fault, (say, times, kind)) in enumerate(FAULTS.items()):
        name = f"fast-{number}"  # with breakers of its own
        routed.set(name, f"{first}/m", "two/m", timeouts={"first_token_s": 0.2, "attempt_s": 0.2})
        failing.then(say)
        failing.requests.clear()
        routed.two.requests.clear()
        status, data, headers = await post(routed, {"model": name, "stream": stream, **HI})
        span, attempts = await routed.told()
        assert (status, headers["windlass-upstream"]) == (200, "two/m"), (fault, data)
        assert "from two" in _text(data, stream), fault
        assert (len(failing.requests), len(routed.two.requests)) == (times, 1), fault
        assert [(a.upstream, a.failed) for a in attempts] == [(f"{first}/m", kind)] * times + [("two/m", "")], fault
        assert span.status == "ok" and span.attributes[names.ROUTE] == name and span.attributes[names.ROUTE_UPSTREAM] == "two/m"
        assert span.attributes[names.PROVIDER] == "two" and span.attributes[names.REQUEST_MODEL] == name
        why = span.attributes[names.ROUTE_WHY]
        assert why.startswith(f"By route {name}, {first}/m is first: {first}/m was asked and failed in"), why
        assert why.endswith("two/m answered."), why


async def test_a_refused_connection_goes_on(routed: Routed) -> None:
    routed.set("fast", "closed/m", "two/m")
    status, _, headers = await post(routed, {"model": "fast", **HI})
    _, attempts = await routed.told()
    assert (status, headers["windlass-upstream"]) == (200, "two/m")
    assert [a.failed for a in attempts] == ["connection", "connection", ""] and "could not be reached" in attempts[0].said


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_a_word_on_the_request_is_the_callers_and_no_other_is_asked(routed: Routed, status: int) -> None:
    routed.set("fast", "one/m", "two/m")
    routed.one.then(Say("no such thing", status=status))
    got, data, headers = await post(routed, {"model": "fast", **HI})
    span, attempts = await routed.told()
    assert routed.asked() == (1, 0, 0) and [a.failed for a in attempts] == [str(status)]
    assert got == (502 if status in (401, 403) else status) and headers["windlass-upstream"] == "one/m"
    assert KEY not in data.decode() and span.status == "error"
    assert span.attributes[names.ROUTE_UPSTREAM] == "one/m"


async def test_the_owner_may_choose_otherwise(routed: Routed) -> None:
    routed.set("fast", "one/m", "two/m", fall_back_on=["404"])
    routed.one.then(Say("no such model", status=404), Say("down", status=500))
    status, _, _ = await post(routed, {"model": "fast", **HI})
    await routed.told()
    assert status == 200 and routed.asked() == (1, 1, 0), "a word on the request is not asked for twice"
    status, data, _ = await post(routed, {"model": "fast", **HI})
    assert status == 500 and b"down" in data and routed.asked() == (2, 1, 0)


async def test_a_context_too_long_goes_on_only_where_asked(routed: Routed) -> None:
    too_long = Say(raw=b'{"error":{"message":"too many tokens","code":"context_length_exceeded"}}', status=400)
    routed.one.then(too_long)
    routed.set("fast", "one/m", "two/m")
    assert (await post(routed, {"model": "fast", **HI}))[0] == 400
    routed.set("fast", "one/m", "two/m", fall_back_on=["context"])
    assert (await post(routed, {"model": "fast", **HI}))[0] == 200
    await routed.told()
    assert [a.failed for a in (await routed.told())[1]] == ["context", ""]


async def test_when_all_fail_the_last_ones_own_words_come_through(routed: Routed) -> None:
    routed.set("fast", "one/m", "two/m")
    routed.one.then(Say("one is down", status=500))
    routed.two.then(Say("two is full", status=429, headers={"Retry-After": "7"}))
    status, data, headers = await post(routed, {"model": "fast", **HI})
    span, attempts = await routed.told()
    assert (status, json.loads(data)["error"]["message"], headers["Retry-After"]) == (429, "two is full", "7")
    assert routed.asked() == (2, 1, 0) and [a.failed for a in attempts] == ["500", "500", "429"] and span.status == "error"


@pytest.mark.parametrize("first", ["one", "three"])
@pytest.mark.parametrize("fault", ["cut", "hang"])
async def test_a_stream_that_broke_is_told_and_never_put_together_from_two(routed: Routed, first: str, fault: str) -> None:
    routed.set("fast", f"{first}/m", "two/m")
    failing = routed.one if first == "one" else routed.three
    failing.then(Say("some words of an answer", cut=700) if fault == "cut" else Say("some words of an answer", split=700, pause_s=0.6))
    body = {"model": "fast", "stream": True, **HI}
    with pytest.raises((openai.APIError, anthropic.APIError)):
        async with routed.openai() as client:
            async for _ in await client.chat.completions.create(**body):
                pass
    span, attempts = await routed.told()
    assert routed.asked()[1] == 0 and [a.upstream for a in attempts] == [f"{first}/m"]
    assert attempts[0].failed == ("connection" if fault == "cut" else "timeout") and span.status == "error"


async def test_an_error_in_place_of_a_streams_beginning_goes_on(routed: Routed) -> None:
    routed.set("fast", "one/m", "two/m")
    routed.one.then(Say(raw=b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'))
    status, data, _ = await post(routed, {"model": "fast", "stream": True, **HI})
    assert status == 200 and b"verloaded" not in data and [a.failed for a in (await routed.told())[1]] == ["529", "529", ""]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_what_passes_through_passes_byte_for_byte_and_the_other_dialect_is_translated(routed: Routed, path: str) -> None:
    routed.set("fast", "one/m" if path.endswith("completions") else "three/m")
    odd = b'{"id":"x","type":"message","role":"assistant","content":[],"choices":[{"message":{"content":"hey"}}],\n "novel": 1.50e2}'
    for provider in (routed.one, routed.three):
        provider.then(Say(raw=odd))
    body = {"model": "fast", **HI, "x_new": {"a": None}}
    status, data, headers = await post(routed, body, path, **{"anthropic-version": "2023-06-01"})
    assert (status, data) == (200, odd) and headers["windlass-trace"] == (await routed.span()).trace_id
    seen = (routed.one.requests or routed.three.requests)[0]
    assert seen.body == {**body, "model": "m"}
    routed.set("fast", "three/m" if path.endswith("completions") else "one/m")
    for provider in (routed.one, routed.three):
        provider.say("translated")
    async with routed.openai() as o, routed.anthropic() as a:
        if path.endswith("completions"):
            assert (await o.chat.completions.create(model="fast", **HI)).choices[0].message.content == "translated"
        else:
            assert (await a.messages.create(model="fast", **HI)).content[0].text == "translated"


async def test_a_whole_id_is_routed_and_the_same_id_as_upstream_is_the_model_itself(routed: Routed) -> None:
    routed.set("openai/gpt-5-mini", "openai/gpt-5-mini", "two/m")
    for model in ("openai/gpt-5-mini", "gpt-5-mini", "route/openai/gpt-5-mini"):
        status, _, headers = await post(routed, {"model": model, **HI})
        span, _ = await routed.told()
        assert status == 200 and headers["windlass-upstream"] == "openai/gpt-5-mini"
        assert span.attributes[names.ROUTE] == "openai/gpt-5-mini" and routed.one.requests[-1].body["model"] == "gpt-5-mini"
    status, _, headers = await post(routed, {"model": "one/m", **HI})
    assert status == 200 and "windlass-upstream" not in headers and names.ROUTE not in (await routed.span()).attributes


async def test_a_name_that_is_no_route_is_as_it_was(routed: Routed) -> None:
    assert (await post(routed, {"model": "answer", **HI}))[0] == 200 and routed.runs.seen[0][0].name == "answer"
    status, data, _ = await post(routed, {"model": "route/nothing", **HI})
    assert status == 404 and b"windlass routes" in data


async def test_a_narrow_key_opens_a_route_by_its_name(routed: Routed) -> None:
    routed.set("fast", "one/m")
    status, data, _ = await post(routed, {"model": "fast", **HI}, Authorization="Bearer wk-scoped")
    assert status == 403 and b"model/fast" in data and routed.asked() == (0, 0, 0)


async def test_the_breaker_leaves_an_upstream_alone_and_tries_it_again(routed: Routed) -> None:
    routed.set("fast", "one/m", "two/m", retries={"attempts": 1}, breaker={"failures": 2, "open_s": 0.3, "window_s": 30})
    routed.one.then(Say("down", status=500))
    for _ in range(5):
        assert (await post(routed, {"model": "fast", **HI}))[0] == 200
    assert routed.asked() == (2, 5, 0)
    seen = {h.model: (h.state, h.asked, h.failed, h.last_failure) for h in routed.upstreams.health()}
    assert seen == {"one/m": ("open", 2, 2, "500"), "two/m": ("closed", 5, 0, "")}
    found = [await routed.told() for _ in range(5)]
    assert (
        "breaker is open" in found[-1][1][0].passed_over
        and "was passed over, since its breaker" in found[-1][0].attributes[names.ROUTE_WHY]
    )
    routed.one.say("back")
    await asyncio.sleep(0.35)
    for _ in range(2):
        assert (await post(routed, {"model": "fast", **HI}))[2]["windlass-upstream"] == "one/m"


async def test_without_anybody_to_ask_the_caller_is_told_when_to_come_back(routed: Routed) -> None:
    routed.set("fast", "one/m", retries={"attempts": 1, "budget_s": 0}, breaker={"failures": 1, "open_s": 20})
    routed.one.then(Say("down", status=500))
    assert (await post(routed, {"model": "fast", **HI}))[0] == 500
    status, data, headers = await post(routed, {"model": "fast", **HI})
    assert status == 503 and "breaker is open" in data.decode() and 10 < int(headers["Retry-After"]) <= 20
    assert routed.asked() == (1, 0, 0)
    await routed.told()
    span, attempts = await routed.told()
    assert span.status == "error" and [bool(a.passed_over) for a in attempts] == [True]


async def test_who_asks_to_be_left_alone_is_left_alone_by_everybody(routed: Routed) -> None:
    routed.set("fast", "one/m", "two/m")
    routed.one.then(Say("slow down", status=429, headers={"Retry-After": "30"}), Say("too early"))
    for _ in range(3):
        assert (await post(routed, {"model": "fast", **HI}))[2]["windlass-upstream"] == "two/m"
    assert routed.asked() == (1, 3, 0)


async def test_places_are_waited_for_within_bounds(routed: Routed) -> None:
    said = {"upstreams": [{"model": "one/m", "concurrency": 2}], "timeouts": {"queue_s": 0.2}}
    routed.routes.set(OWNER, msgspec.convert({"name": "fast", "route": said}, RouteSet))
    routed.one.say("slow", latency_s=0.12)
    found = await asyncio.gather(*(post(routed, {"model": "fast", **HI}) for _ in range(8)))
    statuses = sorted(f[0] for f in found)
    assert statuses[:4] == [200] * 4 and statuses[-2:] == [429, 429], "two at once, and a second round within the wait"
    refused = next(f for f in found if f[0] == 429)
    assert b"no place free" in refused[1] and "Retry-After" in refused[2]
    assert len(routed.one.requests) == statuses.count(200)


async def test_attempts_are_billed_each_for_what_they_used(routed: Routed) -> None:
    """Anthropic's stream tells the tokens of the input before its first word: 20 of them, and 1 of the output, at 1 and 10 dollars."""
    routed.set("fast", "three/m", "two/m", retries={"attempts": 1})
    routed.three.then(Say("", error_in_stream="Overloaded"))
    routed.two.say("from two")
    body = {"model": "fast", "stream": True, "stream_options": {"include_usage": True}, **HI}
    status, data, _ = await post(routed, body)
    span, attempts = await routed.told()
    assert status == 200, data
    assert (attempts[0].input_tokens, attempts[0].output_tokens, attempts[0].cost) == (20, 1, 30)
    assert (span.attributes[names.INPUT_TOKENS], span.attributes[names.OUTPUT_TOKENS]) == (20, 6)
    assert span.attributes[names.COST] == 30 + 20 + 60
    routed.set("fast", "three/m", retries={"attempts": 1})
    routed.three.then(Say("", error_in_stream="Overloaded"))
    assert (await post(routed, body))[0] == 502
    assert (await routed.span()).attributes[names.COST] == 30, "also where nobody answered"


async def test_embeddings_are_routed_among_equal_models(routed: Routed) -> None:
    routed.set("embed", "closed/e", "three/e", "two/other", "one/e")
    status, data, headers = await post(routed, {"model": "embed", "input": "text"}, "/v1/embeddings")
    assert status == 200 and json.loads(data)["sent"] == {"model": "e", "input": "text"} and headers["windlass-upstream"] == "one/e"
    attempts = (await routed.told())[1]
    assert ["does not speak" in a.passed_over for a in attempts] == [False, False, True, False, False]
    assert "another model's" in attempts[3].passed_over
    routed.set("embed", "three/e")
    assert (await post(routed, {"model": "embed", "input": "text"}, "/v1/embeddings"))[0] == 400


async def test_a_slow_upstream_within_its_time_is_waited_for(routed: Routed) -> None:
    routed.set("fast", "one/m", "two/m", timeouts={"attempt_s": 2})
    routed.one.say("slow and right", latency_s=0.3)
    status, data, _ = await post(routed, {"model": "fast", **HI})
    assert status == 200 and "slow and right" in _text(data, stream=False) and routed.asked() == (1, 0, 0)
    assert 0.3 <= (await routed.told())[1][0].took_s < 2


async def test_routes_go_on_when_the_store_is_away(routed: Routed, monkeypatch: pytest.MonkeyPatch) -> None:
    routed.set("fast", "one/m")
    assert (await post(routed, {"model": "fast", **HI}))[0] == 200

    looked = []

    def away(table: RouteTable) -> None:
        looked.append(table)
        raise Unavailable("the store is away")

    monkeypatch.setattr(RouteTable, "load", away)
    monkeypatch.setattr("windlass.discover.routes.FRESH_S", 0.0)
    monkeypatch.setattr("windlass.discover.routes.LATE_S", 0.0)
    for _ in range(3):
        status, _, headers = await post(routed, {"model": "fast", **HI})
        assert (status, headers["windlass-upstream"]) == (200, "one/m")
    assert looked, "or nothing was tried here"


async def test_an_upstream_without_its_key_is_passed_over(routed: Routed) -> None:
    routed.set("fast", "keyless/m", "one/m")
    assert (await post(routed, {"model": "fast", **HI}))[0] == 200
    assert "NOT_SET is not set" in (await routed.told())[1][0].passed_over


async def test_the_baseline_may_be_the_last_one(routed: Routed) -> None:
    routed.set("fast", "closed/m", "baseline")
    status, _, headers = await post(routed, {"model": "fast", **HI})
    assert (status, headers["windlass-upstream"]) == (200, "baseline")


async def test_a_user_keeps_an_upstream_and_weights_divide_users(routed: Routed) -> None:
    said = {"upstreams": [{"model": "one/m"}, {"model": "two/m"}]}
    routed.routes.set(OWNER, msgspec.convert({"name": "fast", "route": said}, RouteSet))
    seen: dict[str, set[str]] = {}
    for n in range(24):
        user = f"u{n % 8}"
        headers = (await post(routed, {"model": "fast", **HI}, **{"windlass-user": user}))[2]
        seen.setdefault(user, set()).add(headers["windlass-upstream"])
    assert all(len(s) == 1 for s in seen.values()) and set.union(*seen.values()) == {"one/m", "two/m"}
    span, _ = await routed.told()
    assert "first for this user (one/m 50%, two/m 50%)" in span.attributes[names.ROUTE_WHY]


@pytest.mark.parametrize("first", ["one", "three"])
async def test_a_client_that_leaves_cancels_the_call_and_nobody_else_is_asked(routed: Routed, first: str) -> None:
    routed.set("fast", f"{first}/m", "two/m", timeouts={"total_s": 5})
    failing = routed.one if first == "one" else routed.three
    failing.then(Say(hang=True))
    with pytest.raises(asyncio.TimeoutError):
        async with asyncio.timeout(0.3):
            await post(routed, {"model": "fast", **HI})
    span, attempts = await routed.told()
    assert [a.failed for a in attempts] == ["left"] and routed.asked()[1] == 0 and "client left" in span.status_message
    async with asyncio.timeout(2):
        while failing.requests[0].gone_s is None:
            await asyncio.sleep(0.01)


async def test_a_call_has_one_end_whatever_it_tries(routed: Routed) -> None:
    routed.set("fast", "one/m", "two/m", timeouts={"total_s": 0.3})
    routed.one.then(Say(hang=True))
    status, data, _ = await post(routed, {"model": "fast", **HI})
    assert status == 504 and routed.asked() == (1, 0, 0), data
    assert [a.failed for a in (await routed.told())[1]] == ["timeout"]
