"""Tidying: what is kept no longer is gone from tables and journal, and the ledger says so; the rest is as it was. On both engines."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.doors.server import Server, until
from tests.traces.test_erasing import logs, metrics, own
from tests.traces.test_ledger import House
from tests.traces.test_projector import make

from windlass.core.errors import Unavailable
from windlass.core.operations.ledger import LedgerQuery
from windlass.core.operations.traces import TraceQuery
from windlass.govern.erasure import Subject
from windlass.store.home import Home
from windlass.store.journal import DAY_NS, Journal
from windlass.store.segments import MAGIC, Position, numbers_of, packed_of, path_of
from windlass.store.spans import ArrivalQuery, SpanStore
from windlass.store.spans_duckdb import DuckSpans
from windlass.traces import tidying
from windlass.traces.envelope import LOGS, METRICS, Refusal, seal, seal_refusals, seal_spans
from windlass.traces.erasing import TraceRoom
from windlass.traces.local import LocalSpans
from windlass.traces.tidying import Tidying

pytestmark = pytest.mark.slow
TODAY = 20_700 * DAY_NS + DAY_NS // 2


class Clock:
    """What time it is, for those who write the journal and those who tidy."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = TODAY
        for module in ("store.journal", "traces.tidying", "traces.ledger"):
            monkeypatch.setattr(f"windlass.{module}.now_ns", lambda: self.now)

    def day(self, back: int) -> None:
        self.now = TODAY - back * DAY_NS


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def house(tmp_path: Path, spans: Callable[[], SpanStore]):
    made = House(tmp_path, spans)
    yield made
    made.close()


def a_day(house: House, clock: Clock, back: int, writer: int = 0) -> str:
    """What came on a day: two spans of a trace, one of them twice; a log record with and one without a trace; a point; a refusal. Its
    segment was last written then. Returns the trace."""
    clock.day(back)
    trace = f"{back + 1:032x}"
    first, second = make(trace, name="one", start=clock.now), make(trace, name="two", start=clock.now)
    house.spans(first, second, first)
    house.sent(seal("default", logs((trace, "", "with"), ("", "", "without")), LOGS), writer)
    house.sent(seal("default", metrics((f"day {back}", "")), METRICS), writer)
    house.sent(seal_refusals("default", [Refusal(clock.now // 3_600_000_000_000, "shop", "traces", "refused:empty", 3)]), writer)
    house.projection.catch_up()
    for folder in house.folder.iterdir():
        os.utime(path_of(folder, numbers_of(folder)[-1]), ns=(clock.now, clock.now)) if numbers_of(folder) else None
    clock.day(0)
    return trace


def tidied(house: House, days: int) -> None:
    """All that is to be done."""
    work = Tidying(house.folder, house.projection._store, days)
    while not work._next:
        work.step(house.projection._at, idle=True)
    house.projection._audits.clear()


def names(house: House) -> list[str]:
    return sorted(t.trace_id for t in house.projection.ask("traces", TraceQuery(limit=200)).items)


def figures(house: House) -> dict[str, int]:
    page = house.page(hours=0)
    assert [line for line in page.items if line.missing] == []
    of = ("received", "indexed", "again", "kept", "waiting", "erased", "expired")
    return {name: sum(getattr(line, name) for line in page.items) for name in of} | {
        "refused": sum(sum(line.refused.values()) for line in page.items)
    }


def bytes_of(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*.wj*"))


def test_days_beyond_are_gone_and_the_ledger_balances(house: House, clock: Clock) -> None:
    traces = [a_day(house, clock, back) for back in (9, 8, 3, 2, 0)]
    before = figures(house)
    assert before["expired"] == 0 and names(house) == sorted(traces)
    tidied(house, days=3)
    assert names(house) == sorted(traces[2:])
    assert house.projection._store.days()[0] == "2026-09-01"
    after = figures(house)
    assert after["received"] == before["received"] and after["refused"] == before["refused"]
    assert after["expired"] > 0
    assert after["expired"] * 3 == (after["indexed"] + after["kept"]) * 2, "of two days of five"
    assert house.problems() == []
    assert len(numbers_of(house.folder / "a")) == 3
    # and again, also by another process
    tidied(house, days=3)
    house.again()
    tidied(house, days=3)
    assert (names(house), figures(house)) == (sorted(traces[2:]), after)
    house.spans(make(name="on"))
    assert house.projection.catch_up() == 1
    assert house.problems() == []


def test_what_is_to_be_sent_on_stays_for_as_long_as_it_may_wait(house: House, clock: Clock) -> None:
    a_day(house, clock, 4)
    before = bytes_of(house.folder)
    for waits, left in ((24.0 * 6, before), (24.0 * 2, 0)):
        work = Tidying(house.folder, house.projection._store, 1, waits)
        while not work._next:
            work.step(house.projection._at, idle=True)
        assert names(house) == []
        assert bytes_of(house.folder) == left or (left == 0 and bytes_of(house.folder) < 20)


def test_without_the_setting_all_is_kept(house: House, clock: Clock) -> None:
    traces = [a_day(house, clock, back) for back in (4000, 0)]
    tidied(house, days=0)
    assert names(house) == sorted(traces)
    assert figures(house)["expired"] == 0
    assert house.problems() == []


def test_when_nothing_came_for_long_all_goes_and_positions_stay(house: House, clock: Clock) -> None:
    """Nothing is read twice then, and what comes after it is read."""
    a_day(house, clock, 50, writer=1)
    a_day(house, clock, 40)
    whole = figures(house)
    at = dict(house.projection._at)
    tidied(house, days=7)
    assert names(house) == []
    assert figures(house)["expired"] == whole["indexed"] + whole["kept"]
    assert bytes_of(house.folder) < 20, "segments with nothing in them"
    house.again()
    assert house.projection._at == at
    assert house.projection.catch_up() == 0
    house.spans(make(name="new"))
    assert house.projection.catch_up() == 1
    assert house.problems() == []
    assert house.projection._at["a"] > at["a"]


def test_monitors_go_on_from_where_they_were(house: House, clock: Clock) -> None:
    """What came before a day was removed they have seen, and what comes after it they see once."""
    asked = ArrivalQuery("default", service="windlass")
    a_day(house, clock, 9)
    first = house.projection.ask("arrivals", asked)
    assert len(first.items) == 2
    tidied(house, days=3)
    house.again()
    house.spans(make(name="later", service="windlass"))
    asked.cursor = first.cursor
    second = house.projection.ask("arrivals", asked)
    assert len(second.items) == 1
    asked.cursor = second.cursor
    assert house.projection.ask("arrivals", asked).items == ()


def test_what_no_table_has_yet_stays(house: House, clock: Clock) -> None:
    """Whoever was away for longer than is kept finds what came before it went."""
    clock.day(9)
    house.spans(make(name="waits", start=clock.now))
    os.utime(path_of(house.folder / "a", 1), ns=(clock.now, clock.now))
    clock.day(0)
    before = bytes_of(house.folder)
    tidied(house, days=3)
    assert bytes_of(house.folder) == before
    assert house.projection.catch_up() == 1
    tidied(house, days=3)
    assert bytes_of(house.folder) < 20
    assert figures(house)["expired"] == 1


@pytest.mark.parametrize("cut", range(8))
def test_cut_off_anywhere_it_is_entered_once(house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    traces = [a_day(house, clock, back) for back in (9, 0)]
    whole = figures(house)
    calls = [0]

    def killed_after(owner: object, name: str) -> None:
        real = getattr(owner, name)

        def once(*args, **kwargs):
            calls[0] += 1
            if calls[0] == cut + 1:
                raise KeyboardInterrupt
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, once)

    store = house.projection._store
    if isinstance(store, DuckSpans):
        killed_after(__import__("windlass.store.span_expiring", fromlist=["x"]), "carry")
        killed_after(__import__("windlass.store.span_expiring", fromlist=["x"]), "remove")
    else:
        killed_after(store, "_enter")
        killed_after(store, "_command")
    killed_after(tidying, "drop")
    try:
        tidied(house, days=3)
    except KeyboardInterrupt:
        monkeypatch.undo()
        Clock(monkeypatch)
        house.again()
    monkeypatch.undo()
    Clock(monkeypatch)
    tidied(house, days=3)
    assert names(house) == traces[1:]
    after = figures(house)
    assert after["received"] == whole["received"]
    assert after["expired"] == (whole["indexed"] + whole["kept"]) // 2
    assert house.problems() == []


def test_a_day_that_comes_again_by_a_wrong_clock_is_kept_and_goes_too(house: House, clock: Clock) -> None:
    a_day(house, clock, 9)
    tidied(house, days=3)
    expired = figures(house)["expired"]
    clock.day(9)
    house.spans(make(name="late", start=clock.now))
    assert house.projection.catch_up() == 1
    clock.day(0)
    assert figures(house)["indexed"] == 1
    assert house.problems() == []
    house.again()
    assert len(names(house)) == 1
    tidied(house, days=3)
    assert figures(house)["expired"] == expired + 1


async def test_erased_and_expired(house: House, clock: Clock) -> None:
    """What is erased from a day that is no longer in the tables, and still in a segment, is counted once: as expired."""
    trace = a_day(house, clock, 4)
    clock.day(4)
    later = TODAY - 3 * DAY_NS
    os.utime(path_of(house.folder / "a", 1), ns=(later, later))
    clock.day(0)
    tidied(house, days=3)
    after = figures(house)
    assert bytes_of(house.folder) > 100 and after["expired"] > 0
    subject = Subject("default", ["user-4711"])
    subject.traces.add(trace)
    room = TraceRoom(LocalSpans(lambda: house.projection), house.journals[0], house.folder)
    await room.erase(subject)
    assert figures(house) == after
    assert house.problems() == []


def test_a_remap_goes_first(house: House, clock: Clock) -> None:
    a_day(house, clock, 9)
    house.projection._store._remapping = object()  # type: ignore[attr-defined]
    tidied(house, days=3)
    assert len(names(house)) == 1
    house.projection._store._remapping = None  # type: ignore[attr-defined]
    tidied(house, days=3)
    assert names(house) == []


def test_finished_segments_are_packed_when_nothing_comes(house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    for back in (2, 1, 0):
        a_day(house, clock, back)
    before = figures(house)
    work = Tidying(house.folder, house.projection._store, 0)
    monkeypatch.setattr("windlass.traces.tidying.time.time", lambda: TODAY / 1e9 - 2 * 86_400 + 60)
    work.step(house.projection._at, idle=False)
    assert not list(house.folder.rglob("*.zst")), "things come in"
    tidied(house, days=0)
    folder = house.folder / "a"
    assert [packed_of(folder, n).exists() for n in numbers_of(folder)] == [True, True, False]
    assert [path_of(folder, n).exists() for n in numbers_of(folder)] == [False, False, True]
    assert figures(house) == before and house.problems() == []
    house.again()
    assert house.projection.catch_up() == 0
    monkeypatch.undo()
    Clock(monkeypatch).day(0)
    tidied(house, days=1)
    assert numbers_of(folder) == [2, 3]


def test_tables_that_are_lost_are_made_anew_of_packed_segments(tmp_path: Path, clock: Clock) -> None:
    house = House(tmp_path, lambda: DuckSpans(tmp_path / "spans"))
    traces = [a_day(house, clock, back) for back in (2, 1, 0)]
    before = figures(house)
    tidied(house, days=0)
    house.projection.close()
    for file in (tmp_path / "spans").iterdir():
        file.unlink() if file.is_file() else None
    house.again()
    house.projection.catch_up()
    assert (names(house), figures(house)) == (traces[::-1], before)
    assert house.problems() == []
    house.close()


def test_a_full_disk_is_told_once_a_minute_and_nothing_is_lost(house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    a_day(house, clock, 1)
    a_day(house, clock, 0)

    def full(folder: Path, number: int) -> bool:
        raise Unavailable("the disk is full; the journal is as it was")

    monkeypatch.setattr("windlass.traces.tidying.pack", full)
    work = Tidying(house.folder, house.projection._store, 0)
    for _ in range(5):
        work.step(house.projection._at, idle=True)
    assert caplog.text.count("the disk is full") == 1
    assert house.problems() == []


def test_the_ledger_of_expired_days_is_asked_like_any(house: House, clock: Clock) -> None:
    a_day(house, clock, 2)
    a_day(house, clock, 1)
    tidied(house, days=1)
    page = house.projection.ask("ledger", LedgerQuery(hours=30))
    assert not any(line.expired for line in page.items)
    page = house.projection.ask("ledger", LedgerQuery(hours=60))
    assert sum(line.expired for line in page.items) > 0
    assert {line.unmeasured for line in house.audit().items if line.hour_ns < TODAY - 36 * 3600 * 10**9} == {True}
    assert {line.unmeasured for line in house.audit().items if line.hour_ns > TODAY - 36 * 3600 * 10**9} == {False}


def test_a_server_does_it_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes up with traces of long ago that were never read, and keeps those of the days it is told to."""
    old = Clock(monkeypatch)
    Home(tmp_path)
    old.now = time.time_ns() - 10 * DAY_NS
    journal = Journal(tmp_path / "journal" / "long ago")
    journal.append(seal_spans("default", own([f"{1:032x}"])))
    journal.close()
    os.utime(path_of(tmp_path / "journal" / "long ago", 1), ns=(old.now, old.now))
    old.now = time.time_ns() - DAY_NS
    journal = Journal(tmp_path / "journal" / "yesterday")
    journal.append(seal_spans("default", own([f"{2:032x}"])))
    journal.close()
    os.utime(path_of(tmp_path / "journal" / "yesterday", 1), ns=(old.now, old.now))
    server = Server(tmp_path, env={"WINDLASS_RETENTION_DAYS": "3"})
    traces = server.client().traces

    def expired() -> int:
        return sum(line.expired for line in traces.ledger(0).items)

    until(lambda: expired() == 1)
    until(lambda: numbers_of(tmp_path / "journal" / "long ago") == [2])
    assert [t.trace_id for t in traces.list().items] == [f"{2:032x}"]
    assert numbers_of(tmp_path / "journal" / "yesterday") == [1]
    server.stop()


def test_years_of_packed_segments_are_passed_over(tmp_path: Path, spans: Callable[[], SpanStore], monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder was listed for each of them: of 3,000 a look took two minutes, in which nothing came into the tables."""
    folder = tmp_path / "journal" / "w"
    folder.mkdir(parents=True)
    for number in range(1, 300):
        packed_of(folder, number).write_bytes(b"")
    path_of(folder, 300).write_bytes(MAGIC)
    listed: list[Path] = []
    monkeypatch.setattr(tidying, "numbers_of", lambda f: [listed.append(f), *numbers_of(f)][1:])
    assert not Tidying(tmp_path / "journal", spans(), 30).step({"w": Position(300, len(MAGIC))}, True)
    assert len(listed) < 10
