"""What is known of files changes which of them are asked, never what is answered."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.store.test_spans_stores import NOW, SECOND, span

from windlass.core.errors import Invalid, NotFound
from windlass.core.operations.sessions import SessionQuery
from windlass.core.operations.traces import TraceQuery, TraceShow
from windlass.core.span import LOG
from windlass.store.segments import Position
from windlass.store.spans import Forget, SpanRow
from windlass.store.spans_duckdb import DuckSpans

DAYS = ("2027-01-13", "2027-01-14", "2027-01-15", "2027-01-16")
# near one another in either half, and at the ends
IDS = [f"{high:016x}{low:016x}" for high in (0, 1, 2, 2**63, 2**64 - 1) for low in (0, 7, 2**64 - 1) if high or low]


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[], DuckSpans]:
    number = iter(range(10_000))
    return lambda: DuckSpans(tmp_path / str(next(number)))


def row_of(trace: str, number: int) -> SpanRow:
    parent = None if number % 3 else f"{number + 1:016x}"
    return span(trace, number, parent, NOW + number * SECOND, session=f"s{trace[15]}", input=f"said {number}")


def write(store: DuckSpans, sent: list[tuple[str, str]], since: int) -> None:
    for number, day in enumerate(DAYS[:3], since + 1):
        rows = [row_of(trace, place) for place, (at, trace) in enumerate(sent, since) if at == day]
        store.write(day, rows, "w", Position(1, number))


def known(store: DuckSpans) -> None:
    while store.index(1.0):
        pass


def asked(store: DuckSpans, what: Callable[[], Any]) -> tuple[Any, list[str]]:
    """An answer, and the days whose `traces` were asked for it."""
    db, statements = store._db, list[str]()

    class Listening:
        def execute(self, sql: str, *given: Any) -> Any:
            statements.append(sql)
            return db.execute(sql, *given)

        def __getattr__(self, name: str) -> Any:
            return getattr(db, name)

    store._db = Listening()  # type: ignore[assignment]
    try:
        told = what()
    finally:
        store._db = db
    return told, sorted(set(re.findall(r"d(\d{8})\.traces", " ".join(statements))))


def answers(store: DuckSpans) -> list[Any]:
    found: list[Any] = [
        store.traces(TraceQuery(limit=5)),
        store.traces(TraceQuery(search="said", limit=50)),
        store.sessions(SessionQuery()),
    ]
    for id in (*IDS[::3], IDS[0][:4], IDS[8][:4], IDS[3][:16], IDS[1][:20]):
        try:
            found.append(store.trace(TraceShow(id)))
        except (Invalid, NotFound) as e:
            found.append(str(e))
    return found


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(DAYS[:3]), st.sampled_from(IDS)), min_size=1, max_size=25),
    st.lists(st.tuples(st.sampled_from(DAYS[:3]), st.sampled_from(IDS)), max_size=5),
)
def test_answers_are_the_same(opened: Callable[[], DuckSpans], first: list[tuple[str, str]], then: list[tuple[str, str]]) -> None:
    plain, quick = opened(), opened()
    for store in (plain, quick):
        write(store, first, 0)
    known(quick)
    assert answers(quick) == answers(plain)
    for store in (plain, quick):  # also into files of which something is known
        write(store, then, 100)
    assert answers(quick) == answers(plain)
    for store in (plain, quick):
        store.forget(Forget("default", (IDS[0], first[0][1])))
    known(quick)
    assert answers(quick) == answers(plain)
    for store in (plain, quick):
        store.expire(DAYS[0])
        store.rest()
    assert answers(quick) == answers(plain)


def test_files_without_a_trace_are_not_asked(opened: Callable[[], DuckSpans]) -> None:
    store = opened()
    for number, day in enumerate(DAYS):
        store.write(day, [row_of(f"{number + 1:016x}{5:016x}", number)], "w", Position(1, number + 1))
    wanted = f"{2:016x}{5:016x}"
    _, before = asked(store, lambda: store.trace(TraceShow(wanted)))
    assert len(before) == 4
    known(store)
    told, days = asked(store, lambda: store.trace(TraceShow(wanted)))
    assert told.summary.trace_id == wanted
    assert days == ["20270114", "20270116"]  # its own, and the newest, which goes on growing
    store.rest()
    assert asked(store, lambda: store.trace(TraceShow(wanted)))[1] == days  # files are the same as before


def test_log_records_of_a_trace_count(opened: Callable[[], DuckSpans]) -> None:
    """A trace of which a day has nothing but a record is asked for there."""
    store, trace = opened(), IDS[3]
    store.write(DAYS[0], [row_of(trace, 1)], "w", Position(1, 1))
    record = span(trace, 9, f"{1:016x}", NOW + SECOND, kind=LOG, severity=9, name="told")
    store.write(DAYS[1], [record], "w", Position(1, 2))
    store.write(DAYS[2], [row_of(IDS[0], 2)], "w", Position(1, 3))
    known(store)
    assert [s.name for s in store.trace(TraceShow(trace)).spans if s.kind == LOG] == ["told"]
