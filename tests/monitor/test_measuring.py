"""Alerts on metrics: what real points come to, held against a rule, and told once; what is not measured is told as that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from tests.monitor.application import Watch
from tests.traces.test_ledger import House
from tests.traces.test_points import MINUTE, NOW, SECOND, gauge, sums

from windlass.core.actor import OWNER, Actor
from windlass.core.alert import MetricRule
from windlass.core.errors import Forbidden, Invalid, NotFound, Unavailable
from windlass.core.operations.alerts import AlertLook, AlertQuery, EventQuery, MetricLook
from windlass.core.operations.metrics import Measurement, MetricSeen, MetricShow, MetricTold, Quantiles
from windlass.monitor.measuring import Measuring, held
from windlass.monitor.rules import LEASE_NS, rules_due
from windlass.store.meta import write
from windlass.store.spans import SpanStore
from windlass.store.spans_duckdb import DuckSpans
from windlass.store.tables import metric_rules
from windlass.traces.envelope import METRICS, seal
from windlass.traces.local import LocalSpans
from windlass.traces.query import Traces

EVERY = 300.0
HOOK = "https://host.example/hook"


class Measured(Watch):
    """Alerts over points that a test sends. `minute` is the time, in minutes after the hour began."""

    def __init__(self, path: Path, spans: Callable[[], SpanStore]) -> None:
        super().__init__(path)
        self.house = House(path / "traces", spans)
        self.traces = Traces(LocalSpans(lambda: self.house.projection), self.house.journals[0])
        self.measuring = Measuring(self.engine, self.traces, self.alerts, EVERY, self.clock)
        self.minute(10)

    def minute(self, minute: float) -> None:
        self.now = NOW / SECOND + minute * 60

    def send(self, data: bytes) -> None:
        self.house.sent(seal("default", data, METRICS))

    def watch(self, aggregate: str, name: str = "n", alert: str = "ops", **rule: Any) -> None:
        more = {k: rule.pop(k) for k in ("severity", "quiet", "webhook", "email", "off") if k in rule}
        self.set(alert, metric=MetricRule(name, aggregate, **rule), **more)

    def look(self, alert: str = "ops") -> MetricLook:
        found = asyncio.run(self.measuring.look(OWNER, AlertLook(alert))).look
        assert found is not None
        return found

    def found(self) -> list[tuple[str, str]]:
        return [(e.event.key, e.event.sentence) for e in self.alerts.events(OWNER, EventQuery()).items]

    def close(self) -> None:
        self.house.close()
        super().close()


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Measured]:
    """On one engine, where it says nothing which it is."""
    made = Measured(tmp_path, lambda: DuckSpans(tmp_path / "spans"))
    yield made
    made.close()


@pytest.fixture
def on_both(tmp_path: Path, spans: Callable[[], SpanStore]) -> Iterator[Measured]:
    made = Measured(tmp_path, spans)
    yield made
    made.close()


def test_a_bound_that_is_crossed_is_found_and_told(on_both: Measured) -> None:
    there = on_both
    there.send(sums((0, 4, 0), (0, 6, 10), (0, 8, 70), room="a"))
    there.send(sums((0, 4, 1), (0, 8, 6), room="b"))
    there.watch("increase", above=60, severity="critical", webhook=HOOK)
    assert there.look().said == "The increase of n was 75 in the last 5 min, above 60."
    ((key, said),) = there.found()
    assert key == "found" and said.endswith("above 60.")
    (told,) = there.alerts.events(OWNER, EventQuery()).items
    event = there.show(told.event.id)
    assert (event.state.event.severity, event.state.event.kind, event.state.event.monitor) == ("critical", "metric", "ops")
    assert [d.to for d in event.deliveries] == [HOOK] and there.handed_over() != []
    assert event.state.event.facts == {"metric": "n", "aggregate": "increase", "value": 75.0, "above": 60.0, "window_s": 300}
    there.watch("increase", above=60, filter="attr.room:b", alert="of-b")
    assert there.look("of-b").status == "ok" and len(there.found()) == 1
    there.watch("rate", below=1, alert="slow")
    assert there.look("slow").said == "The rate of n was 0.25 a second in the last 5 min, below 1 a second."


def test_what_no_longer_comes_is_unmeasured_and_never_nought(there: Measured) -> None:
    there.send(gauge((8, 20.0), name="load"))
    there.watch("last", "load", below=1)
    assert (there.look().status, there.look().value) == ("ok", 20.0)
    there.minute(30)
    look = there.look()
    assert (look.status, look.value) == ("unmeasured", None) and look.since_ns == there.clock()
    assert there.found() == [("unmeasured", "Nothing of load that fits was measured in the last 5 min.")]
    there.send(gauge((29, 0.0), name="load"))
    assert there.look().said == "The last of load was 0 °C in the last 5 min, below 1 °C."
    assert [key for key, _ in there.found()] == ["found", "unmeasured"]
    there.watch("last", "never", above=1, alert="never")
    assert there.look("never").said == "No point of never has come."
    there.watch("last", "never", above=1, alert="rare", sparse=True)
    assert there.look("rare").status == "unmeasured" and len(there.found()) == 3, "nobody is told of one that comes now and then"


def test_what_a_series_had_counted_before_is_unknown_unless_the_rest_is_enough(there: Measured) -> None:
    there.send(sums((-500, 8, 1000), room="a"))  # began long ago, and nobody told by how much it grew
    there.watch("increase", below=5)
    assert there.look().status == "unmeasured" and "a series began before" in there.look().said
    there.send(sums((6, 8, 30), room="b"))
    assert there.look().status == "unmeasured", "30 and more: not known to be below, nor above"
    there.watch("increase", above=20, alert="much")
    assert there.look("much").status == "found"


def test_what_holds_is_counted_and_told_again_when_it_was_quiet_long_enough(there: Measured) -> None:
    there.send(gauge((8, 20.0), name="load"))
    there.watch("last", "load", above=1, quiet=600, webhook=HOOK, window=3600)
    for minute in range(10, 31, 5):
        there.minute(minute)
        there.look()
    told = [(e.times, (e.event.at_ns - NOW) // MINUTE) for e in there.alerts.events(OWNER, EventQuery()).items]
    assert told == [(1, 30), (2, 20), (2, 10)] and len(there.handed_over()) == 3


def test_others_hear_of_it_as_of_any_event(there: Measured) -> None:
    there.send(gauge((8, 20.0), name="load"))
    there.set("all", email=("all@b.example",))
    there.set("skews", email=("skews@b.example",), events=("skew",))
    there.set("metrics", email=("metrics@b.example",), events=("metric",), monitors=("ops",))
    there.watch("last", "load", above=1, email=("own@b.example",))
    there.watch("last", "load", above=99, email=("other@b.example",), alert="other")
    there.look()
    there.look("other")
    (event,) = there.alerts.events(OWNER, EventQuery()).items
    assert sorted(d.to for d in there.show(event.event.id).deliveries) == ["all@b.example", "metrics@b.example", "own@b.example"]
    assert not there.note(kind="quality").work or "own@b.example" not in [
        d.to for d in there.show(there.note(kind="drift").event).deliveries
    ]


def test_they_look_by_themselves_until_they_are_off(there: Measured) -> None:
    def due() -> list[tuple[str, str]]:
        with write(there.engine) as c:
            return rules_due(c, there.clock())

    there.watch("last", "load", above=1, window=60)
    assert due() == [("default", "ops")] and due() == []
    there.now += LEASE_NS / SECOND
    assert due() == [("default", "ops")], "one that never came is handed over again"
    asyncio.run(there.measuring.run("default", "ops 1"))
    there.now += 59
    assert due() == []
    there.now += 1
    assert due() == [("default", "ops")], "as often as its window, where that is shorter"
    there.watch("last", "load", above=1, window=600)
    asyncio.run(there.measuring.run("default", "ops 2"))
    there.now += EVERY - 1
    assert due() == []
    there.now += 1
    assert due() == [("default", "ops")]
    there.watch("last", "load", above=1, off=True)
    there.now += 10 * EVERY
    assert due() == []
    asyncio.run(there.measuring.run("default", "ops 3"))  # handed over before
    with pytest.raises(Invalid, match="is off"):
        there.look()


def test_a_change_of_a_rule_begins_anew_and_one_of_whom_to_tell_does_not(there: Measured) -> None:
    there.send(gauge((8, 20.0), name="load"))
    there.watch("last", "load", above=1)
    there.look()
    there.watch("last", "load", above=1, email=("a@b.example",))
    (state,) = there.alerts.list(OWNER, AlertQuery()).items
    assert state.look is not None and state.look.status == "found"
    there.watch("last", "load", above=2)
    (state,) = there.alerts.list(OWNER, AlertQuery()).items
    assert state.look == MetricLook()


def test_a_store_that_is_away_says_nothing_of_the_metric(there: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    there.send(gauge((8, 20.0), name="load"))
    there.watch("last", "load", above=1)
    before = there.look()

    async def away(query: MetricShow) -> MetricTold:
        raise Unavailable("the store does not answer", remedy="it is asked again")

    monkeypatch.setattr(there.traces, "measured", away)
    with pytest.raises(Unavailable):
        there.look()
    (state,) = there.alerts.list(OWNER, AlertQuery()).items
    assert state.look == msgspec.structs.replace(before, problem="the store does not answer")
    assert len(there.found()) == 1
    monkeypatch.undo()
    assert there.look().problem == ""


def test_a_rule_that_cannot_be_asked_is_said(there: Measured) -> None:
    there.send(gauge((8, 20.0), name="load"))
    there.watch("p95", "load", above=1)
    assert there.look().said == "load tells no p95; it tells mean, min, max, last."
    there.send(sums((0, 8, 1), name="load"))
    there.watch("last", "load", above=1)
    assert there.look().status == "cannot look" and "measured in several ways" in there.look().said
    assert {key for key, _ in there.found()} == {"cannot look"}
    there.watch("last", "load", above=1, type="gauge")
    assert there.look().status == "found"


def test_a_rule_set_while_it_was_looked_at_keeps_nothing_of_the_one_before(there: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    there.send(gauge((8, 20.0), name="load"))
    there.watch("last", "load", above=1)
    measured = there.traces.measured

    async def meanwhile(query: MetricShow) -> MetricTold:
        there.watch("last", "load", above=50)
        return await measured(query)

    monkeypatch.setattr(there.traces, "measured", meanwhile)
    asyncio.run(there.measuring.run("default", "ops 1"))
    with write(there.engine) as c:
        assert c.execute(select(metric_rules.c.body)).scalar_one() == msgspec.json.encode(MetricLook()).decode()
    assert there.found() == []


@pytest.mark.parametrize(
    ("rule", "more", "why"),
    [
        ({}, {}, "nothing is said of what"), ({"above": float("nan")}, {}, "is a number"), ({"above": 1, "below": 2}, {}, "every number"),
        ({"above": 1, "filter": "user:ann"}, {}, "nothing that a point"), ({"above": 1, "filter": "(("}, {}, "column"),
        ({"above": 1}, {"events": ("skew",)}, "what it finds itself"), ({"above": 1}, {"monitors": ("m",)}, "what it finds itself"),
    ],
)  # fmt: skip
def test_what_is_no_rule_is_refused(there: Measured, rule: dict[str, Any], more: dict[str, Any], why: str) -> None:
    with pytest.raises(Invalid, match=why):
        there.set(metric=MetricRule("load", "last", **rule), **more)
    assert rule or not there.found()


def test_who_may_look(there: Measured) -> None:
    there.watch("last", "load", above=1)
    with pytest.raises(Forbidden):
        asyncio.run(there.measuring.look(Actor("k", "viewer"), AlertLook("ops")))
    with pytest.raises(NotFound):
        there.look("nobody")
    there.set("letters", email=("a@b.example",))
    with pytest.raises(Invalid, match="watches no metric"):
        there.look("letters")


SEEN = MetricSeen("n", "s", "gauge", False, ("",), 1, 1, 0, 0)
NUMBER = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(NUMBER, st.none() | NUMBER, st.none() | NUMBER, st.sampled_from(["last", "p95", "rate"]), st.integers(0, 2))
def test_found_is_what_is_known_to_lie_beyond_a_bound(
    value: float, above: float | None, below: float | None, of: str, unknown: int
) -> None:
    said: dict[str, Any] = {"quantiles": Quantiles(0, 0, value, 0)} if of == "p95" else {of: value}
    look = held(MetricRule("n", of, above, below), MetricTold(SEEN, 0, 1, 1, Measurement(3, unknown=unknown, **said)))
    over, under = above is not None and value > above, below is not None and value < below
    if unknown and of == "rate" and not over:  # more than that, by nobody knows how much
        assert look.status == "unmeasured" and look.value is None
    else:
        assert look.status == ("found" if over or under else "ok") and look.value == value
    nothing = held(MetricRule("n", of, above, below), MetricTold(SEEN, 0, 1, 1, Measurement()))
    assert (nothing.status, nothing.value) == ("unmeasured", None)
