"""What a call of a model sets aside under the limits it falls under, before it is made, and what it used, after.

A request is 1; tokens are an estimate of the input and the most the answer may have; dollars are those by the price table. A call that
does not fit is refused, before anything of it was sent. So a limit is exceeded by no more than what calls under way use beyond what
they set aside: nothing for requests and calls at once, and nothing for tokens and dollars while the input is not underestimated and
the provider keeps to the most tokens asked for. Where a provider tells no usage, what was set aside for the input and what the answer is
long stand for it, in the trace too.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from windlass.core.errors import Busy, Unavailable, WindlassError
from windlass.core.ids import now_ns
from windlass.core.message import Message, ModelReply, Usage
from windlass.core.operations.limits import LimitState, amount_said, said
from windlass.govern.counters import Count, Counters, Need, key_of
from windlass.govern.leases import RENEW_NS, Counter, Leases
from windlass.govern.prices import Prices
from windlass.govern.sizes import tokens_in
from windlass.govern.standby import Standby
from windlass.govern.windows import FOREVER, window_at

NANO = 1_000_000_000
SAVE_SECONDS = 1.0  # between two entries of what was used into the database
GIVE_BACK_TRIES, GIVE_BACK_SECONDS = 3, 0.5  # for leave that other nodes have and do not use
KEPT = 4096  # whose limits are remembered


class Wanted(NamedTuple):
    """A call that is to be made. `payer` is an actor's id; `release` without its digest, as `release/answer`; `model` as one writes it,
    `name` as its provider does. `given` and `most` are tokens of the input and, at most, of the answer."""

    project: str
    payer: str
    user: str | None
    release: str | None
    model: str
    provider: str = ""
    name: str = ""
    given: int = 0
    most: int = 0


class _Rule(NamedTuple):
    limit: LimitState
    amount: int
    who: str


class Held:
    """What one call has set aside. It is settled once; `release` gives back what was not."""

    def __init__(self, of: Reservations, wanted: Wanted, rules: Sequence[_Rule], at: list[Counter], needs: list[Need], counts: list[Count]):
        self._of = of
        self._wanted = wanted
        self._rules = rules
        self._needs = needs
        self._counters = at
        self._open = True
        self._counts = counts
        self._bounded = any(r.limit.measured in ("tokens", "dollars") for r in rules)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """What is left of requests and of tokens once this call is counted."""
        return headers_of(self._rules, self._counters, self._counts, [n.need for n in self._needs])

    def settle(self, reply: ModelReply | None, estimated: bool = False, *, left: bool = False) -> tuple[ModelReply | None, bool]:
        """Enter what the call used, and give back the rest. The answer as its trace tells it, and whether its tokens are estimated: where
        the provider told none and a limit counts them, they are. `left`: the client went before anything of an answer came; the request
        was sent. No answer otherwise: a request, and nothing else."""
        if self._bounded and reply is None and left:
            reply, estimated = _nothing(self._wanted), True
        if self._bounded and reply is not None:
            reply, estimated = self._told(reply, estimated)
        usage = reply.usage if reply is not None else Usage(0, 0)
        used = {
            "requests": 1,
            "concurrency": 0,
            "tokens": (usage.input or 0) + (usage.output or 0),
            "dollars": round((reply.cost or 0.0) * NANO) if reply is not None else 0,
        }
        self._close([used[r.limit.measured] for r in self._rules])
        return reply, estimated

    def release(self) -> None:
        """Give everything back, where nothing was settled: nothing was sent."""
        self._close([0] * len(self._needs))

    def _close(self, used: list[int]) -> None:
        if self._open:
            self._open = False
            self._of.close_call(self._counters, self._needs, used)

    def _told(self, reply: ModelReply, estimated: bool) -> tuple[ModelReply, bool]:
        usage, guessed = reply.usage, False
        if usage.input is None or usage.output is None:
            guessed = True
            out = usage.output if usage.output is not None else tokens_in(reply.message.text.encode())
            usage = msgspec.structs.replace(usage, input=self._wanted.given if usage.input is None else usage.input, output=out)
        cost = reply.cost
        if cost is None:
            cost = self._of.price(self._wanted, usage)
        return msgspec.structs.replace(reply, usage=usage, cost=cost), estimated or guessed


def _nothing(wanted: Wanted) -> ModelReply:
    return ModelReply(Message("assistant", ()), "error", Usage(wanted.given, 0))


class Reservations:
    """Holds calls to the limits they fall under. One per process.

    Args:
        standby: the limits, also while the store is away.
        prices: what calls will cost.
        counters: opens the shared counters, when the first limit is met.
        leases: keeps them and the database in step.
    """

    def __init__(self, standby: Standby, prices: Prices, counters: Callable[[], Counters], leases: Callable[[Counters], Leases]) -> None:
        self._standby = standby
        self._prices = prices
        self._open_counters = counters
        self._open_leases = leases
        self._counters: Counters | None = None
        self._leases: Leases | None = None
        self._generation = -1
        self._limits: tuple[LimitState, ...] = ()
        self._matched: dict[tuple[str, str, str | None, str | None, str], list[_Rule]] = {}
        self._touched: dict[bytes, Counter] = {}
        self._spent: dict[bytes, float] = {}
        self._open: dict[tuple[str, str, str], Counter] = {}
        self._gate = threading.Lock()
        self._used = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    async def reserve(self, wanted: Wanted, sized: Callable[[], tuple[int, int]]) -> Held | None:
        """Set aside what a call may use; None where it falls under no limit. `sized` says its `given` and `most`. Raises `Busy` that says
        which limit it does not fit, with `retry_after_s` where time mends it; `Unavailable` where the limits cannot be known."""
        if not self._standby.fresh and not self._standby.away:
            await asyncio.to_thread(self._standby.look)
        if self._standby.copy is None and self._standby.problem:
            raise Unavailable(f"nobody can say which limits hold: {self._standby.problem}", remedy="try again when the store is back")
        rules = self._rules(wanted)
        if not rules:
            return None
        if self._counters is None:
            await asyncio.to_thread(self._begin)
        assert self._counters is not None and self._leases is not None
        given, most = sized()
        wanted = wanted._replace(given=given, most=most)
        needs = [self._need(rule.limit, wanted) for rule in rules]
        waits = 0
        while True:
            now = now_ns()
            at = [self._counter(rule, now) for rule in rules]
            asked = [c.need(n) for c, n in zip(at, needs, strict=True)]
            place, counts = self._admit(asked, at)
            if place is None:
                for counter in at:
                    self._touched[counter.key] = counter
                return Held(self, wanted, rules, at, asked, counts)
            full = bool(counts[place].leased_ns)  # else nobody said yet how far this node may go
            if full and (self._leases.alone or self._standby.away or self._spent_by(at[place])):
                raise self._refused(rules[place], wanted, needs[place], counts[place], at[place])
            self._touched[at[place].key] = at[place]
            nodes = self._standby.copy.nodes if self._standby.copy else 1
            if self._standby.away:
                self._leases.take(at[place], nodes)
                continue
            others = await asyncio.to_thread(self._leases.lease, at[place], needs[place], nodes)
            if full and not self._fits(asked[place]):
                if not others:
                    self._spent[at[place].key] = time.monotonic()
                if not others or waits >= GIVE_BACK_TRIES:
                    raise self._refused(rules[place], wanted, needs[place], self._counters.look(asked[place]), at[place])
                waits += 1
                await asyncio.sleep(GIVE_BACK_SECONDS)

    def _spent_by(self, counter: Counter) -> bool:
        """Whether all nodes together had used all of it a moment ago: then the database is not asked for each call that is refused."""
        return time.monotonic() - self._spent.get(counter.key, -SAVE_SECONDS) < SAVE_SECONDS

    def _admit(self, asked: Sequence[Need], at: Sequence[Counter]) -> tuple[int | None, list[Count]]:
        """As `Counters.admit`; leave that is too old to go by, where there are other nodes and the database can be asked, is none."""
        assert self._counters is not None and self._leases is not None
        place, counts = self._counters.admit(asked)
        if place is not None or self._leases.alone or self._standby.away:
            return place, counts
        now = now_ns()
        for old, (count, counter) in enumerate(zip(counts, at, strict=True)):
            if counter.shared and now - count.leased_ns > RENEW_NS:
                self._counters.settle(asked, [0] * len(asked))
                counts[old] = count._replace(leased_ns=0)
                return old, counts
        return None, counts

    def _fits(self, need: Need) -> bool:
        assert self._counters is not None
        count = self._counters.look(need)
        return count.used + count.reserved + need.need <= count.cap

    def look(self, wanted: Wanted) -> list[tuple[bytes, bytes]]:
        """What a caller may be told before a run begins, without setting anything aside: the headers. Raises `Busy` where not even one
        more request fits."""
        rules = self._rules(wanted) if self._counters is not None else []
        now = now_ns()
        at = [self._counter(rule, now) for rule in rules]
        counts = [self._counters.look(c.need(0)) for c in at] if self._counters else []
        for rule, counter, count in zip(rules, at, counts, strict=True):
            if count.leased_ns and self._leases and self._leases.alone and count.used + count.reserved >= max(count.cap, 0):
                raise self._refused(rule, wanted, 1, count, counter)
        return headers_of(rules, at, counts, [1 if r.limit.measured == "requests" else 0 for r in rules])

    @property
    def idle(self) -> bool:
        """Whether it is known that nothing is limited: then a call costs nothing here."""
        copy = self._standby.copy
        return copy is not None and not copy.limits and self._standby.fresh

    def price(self, wanted: Wanted, usage: Usage) -> float | None:
        return self._prices.price(wanted.provider, wanted.name, usage, now_ns())

    def _rules(self, wanted: Wanted) -> list[_Rule]:
        if self._generation != self._standby.generation:
            self._generation = self._standby.generation
            self._limits = self._standby.copy.limits if self._standby.copy else ()
            self._matched = {}
        if not self._limits:
            return []
        whose = (wanted.project, wanted.payer, wanted.user, wanted.release, wanted.model)
        if (found := self._matched.get(whose)) is None:
            if len(self._matched) >= KEPT:
                self._matched.clear()
            found = self._matched[whose] = [
                _Rule(x, round(x.amount * NANO) if x.measured == "dollars" else int(x.amount), who)
                for x in self._limits
                if x.project == wanted.project and (who := _who(x, wanted)) is not None
            ]
        return found

    def _begin(self) -> None:
        with self._gate:
            if self._counters is None:
                counters = self._open_counters()
                self._leases = self._open_leases(counters)
                self._counters = counters
                self._thread = threading.Thread(target=self._save, name="windlass-limits", daemon=True)
                self._thread.start()

    def _counter(self, rule: _Rule, at_ns: int) -> Counter:
        x = rule.limit
        of = (x.project, x.id, rule.who)
        found = self._open.get(of)
        if found is None or not found.began_ns <= at_ns < found.ends_ns or found.amount != rule.amount:
            if len(self._open) >= KEPT:
                self._open.clear()
            began, ends = window_at(x.window, at_ns)
            found = self._open[of] = counter_of(x.project, x.id, began, rule.who, ends, rule.amount, x.measured != "concurrency")
        return found

    def _need(self, limit: LimitState, wanted: Wanted) -> int:
        if limit.measured in ("requests", "concurrency"):
            return 1
        if limit.measured == "tokens":
            return wanted.given + wanted.most
        cost = self.price(wanted, Usage(wanted.given, wanted.most))
        if cost is None and limit.unpriced == "refuse":
            raise Busy(
                f"{wanted.model} has no price, and a limit of {said(limit)} holds here", where="model",
                remedy="give it a price in prices.toml, or let the limit pass calls without one", limit="dollars", spent=True,
            )  # fmt: skip
        return math.ceil((cost or 0.0) * NANO)

    def _refused(self, rule: _Rule, wanted: Wanted, need: int, count: Count, counter: Counter) -> WindlassError:
        self._used.set()  # what stands in the way may be of a process that was killed: the next look gives it back
        x = rule.limit
        whose = rule.who or x.subject
        if need > counter.amount and x.measured in ("tokens", "dollars"):
            sets = f"{wanted.given:,} tokens in and {wanted.most:,} out"
            return Busy(
                f"this call sets aside {sets}: more than the whole limit of {said(x)} for {whose}",
                remedy="send a smaller `max_tokens`, or have the limit raised", limit=x.measured, window=x.window,
            )  # fmt: skip
        if x.measured == "concurrency":
            return Busy(f"{count.reserved:,} calls of {whose} are under way, and no more than {counter.amount:,} may be",
                        remedy="try again when one of them has ended", limit=x.measured, retry_after_s=1)  # fmt: skip
        left = max(0, counter.amount - count.used - count.reserved)
        more = "" if x.measured == "requests" else f"; this call sets aside {_told(x, need)}, and {_told(x, left)} are left"
        turns = None if counter.ends_ns >= FOREVER else max(1, math.ceil((counter.ends_ns - now_ns()) / NANO))
        remedy = "have the limit raised" if turns is None else f"the window turns in {_wait(turns)}"
        details: dict[str, Any] = {"limit": x.measured, "window": x.window}
        if turns is None or x.measured == "dollars":
            details["spent"] = True
        if turns is not None:
            details["retry_after_s"] = turns
        return Busy(f"the limit of {said(x)} for {whose} is reached{more}", remedy=remedy, **details)

    def close_call(self, counters: Sequence[Counter], needs: Sequence[Need], used: Sequence[int]) -> None:
        """Of `Held` alone."""
        assert self._counters is not None
        self._counters.settle(needs, used)
        for counter in counters:
            self._touched[counter.key] = counter
        self._used.set()

    def _save(self) -> None:
        """In a thread: what was used goes to the database, once a second while there is something."""
        while not self._ended.wait(SAVE_SECONDS):
            self._used.wait()
            self._used.clear()
            if not self._ended.is_set():
                self.save()

    def save(self, leaving: bool = False) -> None:
        """Enter what was used into the database now; where it is away, later. Who is leaving keeps no leave."""
        if self._leases is None or self._counters is None:
            return
        try:
            with contextlib.suppress(Unavailable):
                if not self._standby.away:
                    with self._gate:
                        self._counters.reclaim()
                        now = now_ns()
                        self._leases.save(list(self._touched.values()), leaving)
                        for key, counter in list(self._touched.items()):
                            if counter.ends_ns < now - 2 * RENEW_NS and not self._counters.look(counter.need(0)).reserved:
                                self._touched.pop(key, None)
                                self._spent.pop(key, None)
                    if not self._leases.alone and self._touched:
                        self._used.set()  # leave is given back, and renewed, while there is any
                    return
            self._used.set()  # again, when the store is back
        except WindlassError:
            self._used.set()

    def counted(self) -> tuple[Counters, Leases]:
        """The shared counters, for whoever shows them. Raises `Unavailable`."""
        self._begin()
        assert self._counters is not None and self._leases is not None
        return self._counters, self._leases

    def close(self) -> None:
        """Enter what was used, as far as the store can be had."""
        self._ended.set()
        self._used.set()
        if self._thread is not None:
            self._thread.join(2 * SAVE_SECONDS)
        self.save(leaving=True)
        if self._counters is not None and (self._thread is None or not self._thread.is_alive()):
            self._counters.close()
            self._counters = None


def counter_of(project: str, id: str, began: int, who: str, ends: int, amount: int, shared: bool = True) -> Counter:
    return Counter(project, id, began, who, ends, amount, key_of(project, id, began, who), shared)


def _who(limit: LimitState, wanted: Wanted) -> str | None:
    """Whose counter a call counts against; None where the limit does not concern it."""
    if limit.target and limit.target not in (f"model/{wanted.model}", wanted.release):
        return None
    if limit.subject == "project":
        return ""
    if limit.subject == "key:*":
        return wanted.payer if wanted.payer.startswith("key:") else None
    if limit.subject == "user:*":
        return f"user:{wanted.user}" if wanted.user else None
    return "" if limit.subject in (wanted.payer, f"user:{wanted.user}") else None


def _told(limit: LimitState, number: int) -> str:
    return amount_said(limit, number / NANO if limit.measured == "dollars" else number)


def _wait(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


def headers_of(rules: Sequence[_Rule], at: Sequence[Counter], counts: Sequence[Count], needs: Sequence[int]) -> list[tuple[bytes, bytes]]:
    """`x-ratelimit-*` as OpenAI's say them, of the limit on requests and that on tokens of which the least is left."""
    found = list[tuple[bytes, bytes]]()
    now = now_ns()
    for measured in (b"requests", b"tokens"):
        of_it = [
            (max(0, c.amount - n.used - n.reserved - need), c)
            for r, c, n, need in zip(rules, at, counts, needs, strict=True)
            if r.limit.measured == measured.decode() and c.ends_ns < FOREVER
        ]
        if of_it:
            left, counter = min(of_it, key=lambda x: x[0])
            reset = f"{max(0, counter.ends_ns - now) / NANO:.0f}s".encode()
            found += [
                (b"x-ratelimit-limit-" + measured, str(counter.amount).encode()),
                (b"x-ratelimit-remaining-" + measured, str(left).encode()),
                (b"x-ratelimit-reset-" + measured, reset),
            ]
    return found


@contextlib.contextmanager
def released(held: Held | None) -> Iterator[Held | None]:
    """Give back what a call set aside and did not settle."""
    try:
        yield held
    finally:
        if held is not None:
            held.release()
