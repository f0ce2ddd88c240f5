"""The state of a pin, walked through by time alone, and what is said of schemas that differ."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.pin import HOUR_NS, SOON_NS, Clock, Column, Observed, Snapshot, clock, due, fingerprint, says, schema_changes, span

READ = 1_767_000_000 * 10**9
END = READ + 168 * HOUR_NS
WEEK = Snapshot(READ, {"system_time": "…"}, True, END)
LIVE = Snapshot(READ)
DAY_NS = 24 * HOUR_NS


def test_a_pin_that_is_not_kept_expires_by_time_alone() -> None:
    walked = [
        (now, clock(now, WEEK, kept=False).state, says(clock(now, WEEK, kept=False), now), due(now, WEEK))
        for now in (READ, END - DAY_NS - 1, END - DAY_NS, END - 1, END, END + 3 * DAY_NS)
    ]
    forgotten = "the source no longer knows this snapshot, and nothing was kept"
    assert [w[1:] for w in walked] == [
        ("expiring", "expires in 7 days", False),
        ("expiring", "expires in 1 day", False),
        ("expiring", "expires in 1 day", True),
        ("expiring", "expires in less than a second", True),
        ("lost", f"lost since less than a second: {forgotten}", False),
        ("lost", f"lost since 3 days: {forgotten}", False),
    ]


def test_a_pin_without_an_end_is_live_until_the_source_is_seen_otherwise() -> None:
    assert clock(READ + 10**18, LIVE, kept=False) == Clock("live")
    assert not due(READ + 10**18, LIVE)
    for outcome in ("gone", "changed"):
        lost = clock(READ + 3 * HOUR_NS, LIVE, kept=False, observed=Observed(READ + HOUR_NS, outcome, "no table orders"))
        assert lost == Clock("lost", READ + HOUR_NS, "no table orders")
        assert says(lost, READ + 3 * HOUR_NS) == "lost since 2 hours: no table orders"


@pytest.mark.parametrize("outcome", ["first", "kept", "same", "failed"])
def test_a_source_that_could_not_be_asked_is_not_gone(outcome: str) -> None:
    observed = Observed(READ + 1, outcome, "wrong password")  # type: ignore[arg-type]
    assert clock(READ + 2, LIVE, kept=False, observed=observed).state == "live"
    assert clock(READ + 2, WEEK, kept=False, observed=observed) == Clock("expiring", END)


times = st.integers(READ, READ + 400 * DAY_NS)
snapshots = st.builds(Snapshot, st.just(READ), deadline_ns=st.none() | times)
observations = st.none() | st.builds(
    Observed, times, st.sampled_from(["first", "kept", "same", "changed", "gone", "failed"]), st.just("a reason")
)


@given(times, snapshots, observations)
def test_what_is_kept_outlives_everything(now: int, snapshot: Snapshot, observed: Observed | None) -> None:
    told = clock(now, snapshot, kept=True, observed=observed)
    assert told == Clock("materialised") and says(told, now) == "kept here"


@given(st.lists(times, min_size=2), snapshots, observations)
def test_what_is_lost_stays_lost_however_late_one_looks(moments: list[int], snapshot: Snapshot, observed: Observed | None) -> None:
    states = [clock(now, snapshot, kept=False, observed=observed).state for now in sorted(moments)]
    order = ["live", "expiring", "lost"]
    assert all(order.index(a) <= order.index(b) for a, b in itertools.pairwise(states))
    assert all(clock(now, snapshot, kept=False, observed=observed).why for now in moments if states[0] == "lost")


@given(times, snapshots)
def test_rows_are_due_within_a_day_of_the_deadline_and_never_after_it(now: int, snapshot: Snapshot) -> None:
    if due(now, snapshot):
        assert clock(now, snapshot, kept=False).state == "expiring"
        assert snapshot.deadline_ns is not None and snapshot.deadline_ns - now <= SOON_NS
    elif clock(now, snapshot, kept=False).state == "expiring":
        assert snapshot.deadline_ns is not None and snapshot.deadline_ns - now > SOON_NS


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "less than a second"), (0, "less than a second"), (0.999, "less than a second"), (1, "1 second"), (61, "1 minute 1 second"),
        (60, "1 minute"), (3600 + 59, "1 hour"), (3 * 3600 + 61, "3 hours 1 minute"), (6 * 86400 + 3 * 3600 + 59 * 60, "6 days 3 hours"),
        (86400 + 59 * 60, "1 day"), (400 * 86400, "400 days"),
    ],
)  # fmt: skip
def test_lengths_of_time_in_two_units(seconds: float, words: str) -> None:
    assert span(int(seconds * 10**9)) == words


NAMES = st.sampled_from("abcd")
SCHEMAS = st.lists(
    st.builds(Column, NAMES, st.sampled_from(["text", "bigint"]), st.sampled_from([None, True, False])), unique_by=lambda c: c.name
)


def test_what_is_said_of_each_column() -> None:
    before = (Column("a", "text"), Column("b", "bigint", False), Column("c", "text", True), Column("d", "date", False), Column("e", "text"))
    after = (
        Column("e", "text", True),
        Column("b", "text", False),
        Column("c", "text", False),
        Column("d", "date", True),
        Column("f", "json"),
    )
    assert schema_changes(before, after) == (
        "column a (text) was dropped",
        "column f (json) was added",
        "column b was bigint and is text",
        "column c may no longer be null",
        "column d may be null now",
    )


@given(SCHEMAS, st.randoms(use_true_random=False))
def test_the_order_of_columns_is_no_change(columns: list[Column], random: object) -> None:
    other = list(columns)
    random.shuffle(other)  # type: ignore[attr-defined]
    assert schema_changes(columns, other) == ()
    assert fingerprint(columns) == fingerprint(other)


@given(SCHEMAS, SCHEMAS)
def test_what_is_said_to_have_changed_has_another_fingerprint(before: list[Column], after: list[Column]) -> None:
    said = schema_changes(before, after)
    if said:
        assert fingerprint(before) != fingerprint(after)
    same_words = {(c.name, c.type) for c in before} == {(c.name, c.type) for c in after}
    assert bool(said) >= (not same_words)


@given(SCHEMAS, SCHEMAS)
def test_a_change_there_and_back_is_said_both_ways(before: list[Column], after: list[Column]) -> None:
    assert len(schema_changes(before, after)) == len(schema_changes(after, before))
