"""One call by a route: one upstream after the other is asked until one answers.

    async for attempt in routing:
        async with attempt:
            return await attempt.model.complete(request, timeout_s=attempt.left_s(stream=False))

Leaving an attempt by a failure after which the route falls back goes on with the next one: the same upstream again after a pause, or
another. Any other failure is raised, and so is every one once `begun` says that the caller has a part of an answer. Who may come next is
decided by breakers, places and the time that is left; each attempt and each upstream passed over is told in the span, with the reason.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from windlass.core import span as names
from windlass.core.errors import Busy, Invalid, ModelFailed, NotFound, Unavailable, WindlassError
from windlass.core.ids import now_ns
from windlass.core.message import Usage
from windlass.core.operations.routes import Route, RouteAttempt, RouteUpstream
from windlass.runtime.models.choosing import Caller, key_of, order
from windlass.runtime.models.http import Timeouts
from windlass.runtime.models.model import Model
from windlass.runtime.models.upstreams import Upstreams, UpstreamState

Price = Callable[[str, str, Usage, int], float | None]
Fits = Callable[[Model], str]  # why a model cannot be asked this; empty where it can
AGAIN = {"connection", "nonsense", "408", "409", "429", "5xx"}  # what may pass; a hang, or a word on the request, is the same next time
FAULTS = {"connection", "timeout", "nonsense", "408", "429", "5xx"}  # of the upstream, not of the request
EARLY_S = 0.005  # by which a timer may go off early
SAID = 200  # characters of a failure that a span keeps


def failures_of(error: WindlassError) -> tuple[str, ...]:
    """What a failure is called in `fall_back_on`, the plainest first: `context`, `timeout`, `connection`, `nonsense`, a status and its
    hundred."""
    if isinstance(error, Invalid):
        return ("400", "4xx")
    details = error.details
    status = details.get("status")
    found = ["context"] if details.get("context") else []
    found += [word for word in ("timeout", "connection") if details.get(word)]
    if isinstance(status, int):
        found += [str(status), f"{status // 100}xx"]
    return tuple(found) or ("nonsense",)


def limits_of(route: Route, server: Timeouts) -> Timeouts:
    """The route's timeouts, the server's where it says none."""
    own = route.timeouts
    return Timeouts(
        own.connect_s or server.connect_s, own.first_token_s or server.first_token_s, own.between_tokens_s or server.between_tokens_s,
        own.total_s or server.total_s,
    )  # fmt: skip


class Routing:
    """One call. `begun` tells whether the caller has a part of an answer.

    Args:
        name, route, caller: which, and for whom.
        upstreams: what is known of each.
        find: the model of an id, under the route's timeouts. Raises `Unavailable`, `NotFound`.
        limits: those timeouts.
        price: what usage costs.
        fits: which models can be asked this at all.
    """

    def __init__(
        self, name: str, route: Route, caller: Caller, upstreams: Upstreams, find: Callable[[str], Model], limits: Timeouts, price: Price,
        *, fits: Fits | None = None, begun: Callable[[], bool] = lambda: False, timeout_s: float | None = None,
        chance: Callable[[float, float], float] = random.uniform,
    ) -> None:  # fmt: skip
        self.name = name
        self.route = route
        self.limits = limits
        self.begun = begun
        self.spent: float | None = 0.0  # dollars of attempts that failed; None once one has no price
        self.answered: RouteUpstream | None = None
        self.attempts: list[RouteAttempt] = []
        self._project = caller.project
        self._key = key_of(route, caller)
        self._left = order(name, route, self._key)
        self._first = self._left[0]
        self._upstreams = upstreams
        self._clock = upstreams.clock
        self._find = find
        self._price = price
        self._fits = fits
        self._chance = chance
        self._end = self._clock() + min(limits.total_s, timeout_s if timeout_s is not None else limits.total_s)
        self._budget = route.retries.budget_s
        self._again: tuple[RouteUpstream, float] | None = None  # who is asked once more, and after which pause
        self._tries = 0  # of the one that was asked last
        self._failure: WindlassError | None = None
        self._full = False
        self._unfit = 0
        self._resting: list[tuple[float, RouteUpstream]] = []
        self._over = False

    @property
    def left_s(self) -> float:
        """Seconds until the call must be over."""
        return max(0.0, self._end - self._clock())

    def __aiter__(self) -> Routing:
        return self

    async def __anext__(self) -> Attempt:
        if self._over:
            raise StopAsyncIteration
        while True:
            upstream, pause = self._next()
            model = self._model(upstream)
            if model is None:
                continue
            state = self._upstreams.of(self._project, self.name, upstream.model)
            if pause:
                await asyncio.sleep(pause)
                self._budget -= pause
            elif self._refused(upstream, state):
                continue
            began = self._clock()
            wait = min(self.route.timeouts.queue_s, self.left_s)
            if not await state.places.take(upstream.concurrency, wait):
                self._full = True
                self._pass_over(upstream, f"all of its {upstream.concurrency} places were taken for {wait:g} s")
                continue
            queued = self._clock() - began
            if self._refused(upstream, state):  # it may have failed others meanwhile
                state.places.give_back()
                continue
            self._tries += 1
            return Attempt(self, upstream, model, state, pause + queued)

    def _next(self) -> tuple[RouteUpstream, float]:
        """Who is asked next, and after which pause. Raises what the call ends with when nobody is left."""
        if self._again is not None:
            found, self._again = self._again, None
            return found
        self._tries = 0
        if self.left_s <= 0:
            self._over = True
            raise self._failure or ModelFailed(f"route {self.name} had no answer in {self.limits.total_s:g} s", timeout=True)
        if self._left:
            return self._left.pop(0), 0.0
        if self._failure is None and self._resting:
            until, upstream = min(self._resting, key=lambda r: r[0])
            self._resting.clear()
            pause = max(until - self._clock(), 0.0) + EARLY_S
            if pause <= min(self._budget, self.left_s):
                return upstream, pause
        self._over = True
        raise self._why_nobody()

    def _why_nobody(self) -> WindlassError:
        if self._failure is not None:
            return self._failure
        told = "; ".join(f"{a.upstream}: {a.passed_over}" for a in self.attempts)
        if self._unfit == len(self.route.upstreams):
            return Invalid(f"no upstream of route {self.name} can be asked this ({told})", where="model", remedy="call another model")
        if self._full:
            return Busy(f"route {self.name} has no place free ({told})", remedy="ask again in a moment", retry_after_s=1.0)
        states = [self._upstreams.of(self._project, self.name, u.model).breaker for u in self.route.upstreams]
        now = self._clock()
        waits = [w for b in states if (w := max(b.until if b.state == "open" else 0.0, b.rests_until) - now) > 0]
        remedy = "windlass routes show says how its upstreams do"
        return Unavailable(
            f"no upstream of route {self.name} can be asked now ({told})", remedy=remedy, retry_after_s=min(waits, default=1.0)
        )

    def _model(self, upstream: RouteUpstream) -> Model | None:
        """The upstream's model; None where it cannot be asked, which is told."""
        try:
            model = self._find(upstream.model)
        except (Unavailable, NotFound) as e:
            self._pass_over(upstream, e.message)
            return None
        if self._fits is not None and (why := self._fits(model)):
            self._unfit += 1
            self._pass_over(upstream, why)
            return None
        return model

    def _refused(self, upstream: RouteUpstream, state: UpstreamState) -> bool:
        now = self._clock()
        if not (why := state.breaker.refusal(now)):
            return False
        if state.breaker.state == "closed":
            self._resting.append((state.breaker.rests_until, upstream))
        self._pass_over(upstream, why)
        return True

    def _pass_over(self, upstream: RouteUpstream, why: str) -> None:
        self.attempts.append(RouteAttempt(upstream.model, passed_over=why[:SAID]))

    def ended(self, attempt: Attempt, error: BaseException | None) -> bool:
        """Take down how an attempt ended; whether its failure is to be passed over, and the next one made."""
        now, rule, breaker = self._clock(), self.route.breaker, attempt.state.breaker
        told = RouteAttempt(attempt.upstream.model, round(attempt.waited_s, 3), round(now - attempt.began, 3))
        if error is None:
            self._over, self.answered = True, attempt.upstream
            breaker.answered(now, rule, attempt.trying)
            self.attempts.append(told)
            return False
        if not isinstance(error, WindlassError):
            breaker.left(attempt.trying)
            gone = isinstance(error, asyncio.CancelledError | GeneratorExit)
            why = ("left", "the caller did not wait for its answer") if gone else ("defect", type(error).__name__)
            self.attempts.append(msgspec.structs.replace(told, failed=why[0], said=why[1]))
            return False
        kinds = failures_of(error)
        if set(kinds) & FAULTS and not isinstance(error, Invalid):
            attempt.state.failed += 1
            attempt.state.last_failure = kinds[0]  # not its words, which may quote the request: those are in the trace, masked
            breaker.failed(now, rule, attempt.trying)
        else:
            breaker.answered(now, rule, attempt.trying)
        self.attempts.append(self._billed(msgspec.structs.replace(told, failed=kinds[0], said=error.message[:SAID]), attempt.model, error))
        asked = error.details.get("retry_after_s")
        asked = asked if isinstance(asked, int | float) else 0.0
        if asked > 0:
            breaker.rest(now + asked)
        if self.begun() or not set(kinds) & set(self.route.fall_back_on):
            self._over = True
            return False
        self._failure = error
        if set(kinds) & AGAIN and self._tries < self.route.retries.attempts:
            pause = self._pause(asked)
            if pause <= min(self._budget, self.left_s):
                self._again = (attempt.upstream, max(pause, 1e-9))
        return True

    def _pause(self, asked_s: float) -> float:
        """Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/"""
        r = self.route.retries
        return max(asked_s + EARLY_S if asked_s else 0.0, self._chance(0.0, min(r.cap_s, r.base_s * 2 ** (self._tries - 1))))

    def _billed(self, told: RouteAttempt, model: Model, error: WindlassError) -> RouteAttempt:
        """With what a failed attempt used, as far as it told: it is paid for all the same."""
        tokens = [error.details.get(name) for name in ("input_tokens", "output_tokens")]
        given, made = (t if isinstance(t, int) else None for t in tokens)
        if given is None and made is None:
            return told
        cost = self._price(model.provider, model.id.partition("/")[2], Usage(given, made), now_ns())
        self.spent = None if cost is None or self.spent is None else self.spent + cost
        return msgspec.structs.replace(told, input_tokens=given, output_tokens=made, cost=cost)

    def attributes(self) -> dict[str, Any]:
        """What the span of the call says of it."""
        asked = self.answered.model if self.answered else next((a.upstream for a in reversed(self.attempts) if not a.passed_over), None)
        said = {
            names.ROUTE: self.name, names.ROUTE_DIGEST: self.route.digest(), names.ROUTE_UPSTREAM: asked, names.ROUTE_WHY: self.why(),
            names.ROUTE_ATTEMPTS: msgspec.json.encode(self.attempts).decode(),
            names.COST: None if self.answered else self.spent or None,
        }  # fmt: skip
        return {name: value for name, value in said.items() if value is not None}

    def why(self) -> str:
        """Why this upstream, in a sentence."""
        return f"By route {self.name}, {self._chosen()}: " + "; ".join(_steps(self.attempts)) + "."

    def _chosen(self) -> str:
        tier = [u for u in self.route.upstreams if u.tier == self._first.tier]
        if len(tier) == 1:
            return f"{self._first.model} is first"
        total = sum(u.weight for u in tier)
        shares = ", ".join(f"{u.model} {u.weight / total:.0%}" for u in tier)
        return f"{self._first.model} is first for this {self._key.of} ({shares})"


class Attempt:
    """One upstream asked once. `waited_s` is how long it was waited before."""

    def __init__(self, routing: Routing, upstream: RouteUpstream, model: Model, state: UpstreamState, waited_s: float) -> None:
        self.upstream = upstream
        self.model = model
        self.state = state
        self.waited_s = waited_s
        self._routing = routing
        self._upstreams = routing._upstreams
        self.began = self._upstreams.clock()
        self.trying = state.breaker.begin(self.began)
        state.asked += 1

    def left_s(self, *, stream: bool) -> float:
        """How long an answer that comes as a stream, or whole, may still take."""
        most = None if stream else self._routing.route.timeouts.attempt_s
        return self._routing.left_s if most is None else min(most, self._routing.left_s)

    async def __aenter__(self) -> Attempt:
        self._upstreams.changed()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        self.state.places.give_back()
        self._upstreams.changed()
        return self._routing.ended(self, error)


def _steps(attempts: Sequence[RouteAttempt]) -> list[str]:
    """Each attempt in a few words."""
    found, before = [], ""
    for a in attempts:
        again = " again" if a.upstream == before else ""
        waited = f" after {_time(a.waited_s)}" if a.waited_s >= 0.001 else ""
        before = "" if a.passed_over else a.upstream
        if a.passed_over:
            found.append(f"{a.upstream} was passed over, since {a.passed_over}")
        elif a.failed:
            found.append(f"{a.upstream} was asked{again}{waited} and failed in {_time(a.took_s)} ({a.failed}: {a.said})")
        else:
            found.append(f"{a.upstream} {'was asked' + again + waited + ' and ' if waited or again else ''}answered")
    return found


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
