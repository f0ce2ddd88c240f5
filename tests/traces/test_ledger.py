"""The ledger: whatever comes, it says what came of it; and the audit tells when that is not so. On both engines."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.store.test_spans_stores import NOW, span
from tests.traces.test_erasing import logs, metrics, own
from tests.traces.test_joining import record
from tests.traces.test_projector import make

from windlass.core.ids import now_ns
from windlass.core.operations.ledger import LedgerAudit, LedgerAudited, LedgerLine, LedgerPage, LedgerQuery
from windlass.core.operations.logs import LogQuery
from windlass.core.span import Span
from windlass.govern.erasure import Subject
from windlass.govern.masking import Masking
from windlass.store.journal import Journal, JournalReader
from windlass.store.segments import Position
from windlass.store.span_ledger import HOUR_NS, LONGEST, OTHERS, SOURCES, Entry, day_of
from windlass.store.spans import SpanRow, SpanStore
from windlass.store.spans_duckdb import DuckSpans
from windlass.traces.envelope import LOGS, METRICS, SPANS, Refusal, seal, seal_refusals, seal_spans, unseal
from windlass.traces.erasing import TraceRoom, _without
from windlass.traces.local import LocalSpans
from windlass.traces.mapping import rows
from windlass.traces.projector import Projection
from windlass.traces.refusals import Refusals

pack = msgspec.msgpack.Encoder().encode


class House:
    """Journals of two writers, and a projection over one of the stores."""

    def __init__(self, folder: Path, open_store: Callable[[], SpanStore]) -> None:
        self.folder = folder / "journal"
        self.journals = [Journal(self.folder / name) for name in ("a", "b")]
        self._open = open_store
        self.projection = Projection(self.folder, open_store())

    def sent(self, payload: bytes, writer: int = 0) -> None:
        self.journals[writer].append(payload)

    def spans(self, *spans: Span, project: str = "default") -> None:
        self.sent(seal_spans(project, [pack(s) for s in spans]))

    def again(self) -> None:
        self.projection.close()
        self.projection = Projection(self.folder, self._open())

    def page(self, **query: Any) -> LedgerPage:
        return self.projection.ask("ledger", LedgerQuery(**query))

    def line(self, source: str, signal: str = "traces", **query: Any) -> LedgerLine:
        """Of all hours together: a test may run over the full hour."""
        found = [line for line in self.page(**query).items if (line.source, line.signal) == (source, signal)]
        whole = LedgerLine(0, source, signal, refused={}, turned_away={})
        for line in found:
            assert line.missing == 0, line
            for name in ("received", "indexed", "again", "kept", "waiting", "unreadable", "erased"):
                setattr(whole, name, getattr(whole, name) + getattr(line, name))
            whole.refused |= line.refused
            whole.turned_away |= line.turned_away
        return whole

    def audit(self, project: str = "default") -> LedgerAudited:
        while not (told := self.projection.ask("audit", LedgerAudit(project))).finished:
            pass
        return told

    def problems(self) -> list[str]:
        return [problem for line in self.audit().items for problem in line.problems]

    def close(self) -> None:
        for journal in self.journals:
            journal.close()
        self.projection.close()


@pytest.fixture
def house(tmp_path: Path, spans: Callable[[], SpanStore]):
    made = House(tmp_path, spans)
    yield made
    made.close()


@pytest.fixture
def duck(tmp_path: Path):
    made = House(tmp_path, lambda: DuckSpans(tmp_path / "spans"))
    yield made
    made.close()


def hour() -> int:
    return now_ns() // HOUR_NS


@pytest.mark.parametrize("seed", range(3))
def test_whatever_comes_is_accounted_for(house: House, seed: int) -> None:
    """Spans new and again, of several services and projects, logs, with and without a span, points, refusals, records nobody can read."""
    chance, kept = random.Random(seed), list[Span]()
    counted: dict[tuple[str, str], int] = {}

    def count(source: str, signal: str, items: int) -> None:
        counted[source, signal] = counted.get((source, signal), 0) + items

    for _ in range(60):
        match chance.randrange(7):
            case 0 | 1 | 2:
                new = [
                    make(service=chance.choice(["shop", "desk", ""]), attributes={"n": chance.random()})
                    for _ in range(chance.randrange(1, 9))
                ]
                some = [*new, *chance.sample(kept, min(len(kept), chance.randrange(4)))]
                kept += new
                house.sent(seal_spans("default", [pack(s) for s in some]), chance.randrange(2))
                for s in some:
                    count(s.service, "traces", 1)
            case 3:
                records = [("", "", "said")] * chance.randrange(1, 5)
                house.sent(seal("default", logs(*records), LOGS), chance.randrange(2))
                count("", "logs", len(records))
                for s in chance.sample(kept, min(len(kept), chance.randrange(3))):  # that tell more of a span that is there
                    house.sent(
                        record(
                            "gen_ai.user.message",
                            content=f"said {chance.random()}",
                            trace=s.trace_id,
                            span=s.span_id,
                            at=chance.randrange(9),
                        )
                    )
                    count("", "logs", 1)
            case 4:
                house.sent(seal("default", metrics(("u", ""), ("v", "")), METRICS), chance.randrange(2))
                count("", "metrics", 2)
            case 5:
                many = chance.randrange(1, 9)
                house.sent(seal_refusals("default", [Refusal(hour(), "shop", "traces", "refused:bad span id", many)]))
                count("shop", "traces", many)
            case 6:
                house.sent(seal("default", b"\xff\xff nonsense"), chance.randrange(2))
                count("", "traces", 1)
                house.spans(make(service="elsewhere"), project="other")
        if chance.random() < 0.2:
            house.projection.catch_up()
        if chance.random() < 0.1:
            house.again()
    lines = {key: house.line(*key) for key in counted}
    assert {key: line.received for key, line in lines.items()} == counted
    spans = [line for line in lines.values() if line.signal == "traces"]
    assert (
        sum(line.indexed for line in spans)
        == len({s.span_id for s in kept})
        == house.projection.counts()["spans"] - house.line("elsewhere", project="other").indexed
    )
    assert house.projection.counts()["logs"] == lines["", "logs"].indexed
    told = house.audit()
    assert sum(line.otherwise for line in told.items) == 0, "what log records told is no other reading"
    assert [line for line in told.items if line.problems] == []
    assert (told.balanced, told.done) == (told.lines, told.total) and told.lines >= len(counted)
    assert house.audit("other").balanced == house.audit("other").lines
    assert not any(line.source == "elsewhere" for line in told.items), "of another project"


def test_what_was_refused_outlives_a_restart(house: House) -> None:
    house.sent(
        seal_refusals(
            "default", [Refusal(hour(), "shop", "logs", "refused:no value", 3), Refusal(hour(), "key:1", "logs", "turned_away:invalid", 1)]
        )
    )
    house.again()
    assert house.line("shop", "logs").refused == {"no value": 3}
    asked = house.line("key:1", "logs")
    assert (asked.received, asked.turned_away) == (0, {"invalid": 1})
    assert house.problems() == []


async def test_the_doors_count_a_second_later_and_when_they_close(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal" / "doors")
    refusals = Refusals(journal, Masking(tmp_path / "masking.toml"))
    for _ in range(3):
        refusals.items("default", "shop", "traces", "bad span id", 2)
    refusals.items("default", "key sk-ant-api03-Zx81Qw62Er43Ty24Ui05Op96As87Df", "traces", "bad span id")
    for n in range(SOURCES + 50):
        refusals.items("default", f"flood {n}", "traces", "bad trace id")
    refusals.request("other", "key:1", "traces", "invalid")
    refusals.flush()
    journal.close()
    house = House(tmp_path, lambda: DuckSpans(tmp_path / "spans"))
    assert house.line("shop").refused == {"bad span id": 6}
    page = house.page()
    assert sum(line.received for line in page.items) == 6 + 1 + SOURCES + 50
    assert len({line.source for line in page.items}) <= SOURCES + 1 and house.line(OTHERS).received > 0
    assert not any("sk-ant" in line.source for line in page.items)
    assert house.line("key:1", project="other").turned_away == {"invalid": 1}
    assert house.problems() == []
    house.close()


def test_ever_new_sources_fill_no_table(house: House) -> None:
    many = SOURCES + 70
    for start in range(0, many, 30):
        house.spans(*(make(service=f"service {n} " + "x" * 100) for n in range(start, min(many, start + 30))))
    sources = {line.source for line in house.page().items}
    assert len(sources) <= 2 * (SOURCES + 1) and OTHERS in sources and max(map(len, sources)) <= LONGEST
    assert sum(line.indexed for line in house.page().items) == many
    assert house.problems() == []


def test_a_row_that_was_taken_out_changed_or_put_in_is_told(house: House) -> None:
    house.spans(*(make(service="shop", name=f"step {n}", attributes={"n": n}) for n in range(5)))
    assert house.problems() == []
    store = house.projection._store

    def change(duckdb: str, clickhouse: str) -> None:
        if isinstance(store, DuckSpans):
            day = next(iter(store._days)).replace("-", "")
            store._db.execute(duckdb.replace("spans", f"d{day}.spans"))
        else:
            store._command(clickhouse + " SETTINGS mutations_sync = 2")

    change(
        "UPDATE spans SET attributes = '{\"n\":7}' WHERE name = 'step 1'",
        "ALTER TABLE spans UPDATE attributes = '{\"n\":7}' WHERE name = 'step 1'",
    )
    assert house.problems() == ["saying something else in the tables than when they came: 1"]
    change("DELETE FROM spans WHERE name = 'step 2'", "ALTER TABLE spans DELETE WHERE name = 'step 2'")
    assert house.problems() == [
        "the tables hold 4 rows, the ledger says 5",
        "not in the tables, though the journal holds them: 1",
        "saying something else in the tables than when they came: 1",
    ]
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    store.write(day, [msgspec.structs.replace(a_row(house), span_id="f" * 16, service="none", digest="f" * 16)], "nobody", Position(1, 1))
    assert "the tables hold 1 rows, the ledger says 0" in house.problems()


def a_row(house: House) -> SpanRow:
    """As the first record of the journal makes it."""
    record = JournalReader(house.folder).read("a", Position(0, 0))[0]
    kind, project, data = unseal(record.payload)
    return next(rows(kind, project, record.receipt_ns, data))


def test_a_journal_that_lacks_a_record_is_told(house: House) -> None:
    house.spans(make(service="shop"))
    house.spans(make(service="shop"))
    assert house.line("shop").received == 2
    (segment,) = (house.folder / "a").glob("*.wj")
    data = bytearray(segment.read_bytes())
    data[-1] ^= 1
    segment.write_bytes(data)
    assert house.problems() == ["the journal holds 1, the ledger says that 2 were received"]


async def test_an_erasure_is_in_both_and_balances(tmp_path: Path, spans: Callable[[], SpanStore]) -> None:
    house = House(tmp_path, spans)
    one, two = f"{1:032x}", f"{2:032x}"
    for _ in range(2):
        house.sent(seal_spans("default", own([one, two, two])))
    house.sent(seal("default", logs((one, "", "hers"), (two, "", "his"), ("", "", "of no trace")), LOGS))
    house.projection.catch_up()
    local = LocalSpans(lambda: house.projection)
    room = TraceRoom(local, house.journals[0], house.folder)
    subject = Subject("default", ["user-4711"])
    subject.traces.add(one)
    await room.erase(subject)
    await room.erase(subject)
    before = house.line("windlass")
    assert (before.received, before.indexed, before.again, before.erased) == (6, 2, 3, 1)
    said = house.line("", "logs")
    assert (said.received, said.indexed, said.kept, said.erased) == (3, 2, 0, 1)
    told = house.audit()
    assert [line.problems for line in told.items if line.problems] == []
    assert {line.signal: (line.items, line.erased) for line in told.items} == {"traces": (4, 2), "logs": (2, 1)}
    house.sent(seal_spans("default", own([one])))
    subject.traces.add(two)
    await room.erase(subject)
    assert house.problems() == []
    assert {line.signal: (line.items, line.erased) for line in house.audit().items} == {"traces": (0, 7), "logs": (1, 2)}
    house.again()
    assert house.problems() == [] and house.line("windlass").erased == 4
    said = house.line("", "logs")
    assert (said.indexed, said.kept, said.erased) == (1, 0, 2)
    house.close()


def test_an_erasure_before_it_was_projected(duck: House) -> None:
    hers = f"{1:032x}"
    subject = Subject("default", ["user-4711"])
    subject.traces.add(hers)
    left = _without(subject)(seal_spans("default", own([hers, f"{2:032x}"])))
    assert left is not None and unseal(left)[0] == SPANS
    duck.sent(left)
    line = duck.line("windlass")
    assert (line.received, line.indexed, line.erased) == (2, 1, 1)
    assert duck.problems() == []


def test_a_span_that_no_table_can_hold_is_counted_so(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    real = house.projection._store.write

    def picky(day: str, rows: Any, *rest: Any) -> int:
        if any(row.name == "odd" for row in rows):
            raise ValueError("no")
        return real(day, rows, *rest)

    monkeypatch.setattr(house.projection._store, "write", picky)
    house.spans(*(make(service="shop", name="odd" if n == 3 else f"step {n}") for n in range(7)))
    line = house.line("shop")
    assert (line.received, line.indexed, line.unreadable) == (7, 6, 1)
    assert house.problems() == []


def test_a_file_of_before_is_counted_from_its_rows(duck: House, tmp_path: Path) -> None:
    duck.spans(make(service="shop"), make(service="shop"))
    duck.projection.catch_up()
    store = duck.projection._store
    assert isinstance(store, DuckSpans)
    (day,) = store._days
    store._db.execute(f"DROP TABLE d{day.replace('-', '')}.ledger")
    duck.again()
    duck.spans(make(service="shop"))
    page = duck.page()
    assert page.began_ns is not None and duck.line("shop").indexed == 3
    told = duck.audit()
    assert (told.balanced, told.items[0].unmeasured) == (told.lines, True)


def test_the_audit_says_which_bytes_of_the_journal_can_no_longer_be_read(duck: House) -> None:
    for n in range(5):
        duck.spans(make(service="shop", name=f"step {n}"))
    assert duck.problems() == [] and duck.audit().damaged == 0
    path = duck.folder / "a" / "00000001.wj"
    data = path.read_bytes()
    at = data.index(b"step 2")
    path.write_bytes(data[:at] + b"gone" + data[at + 4 :])
    told = duck.audit()
    assert len(data) / 6 < told.damaged < len(data) / 4, "one record of five, in the segment that is still written"
    assert [p for line in told.items for p in line.problems] == ["the journal holds 4, the ledger says that 5 were received"]


def test_the_same_write_twice_enters_once(spans: Callable[[], SpanStore]) -> None:
    """A write that was cut off after its rows, in ClickHouse; in DuckDB it is one transaction."""
    store = spans()
    row = span("one", 1, None, NOW)

    def account(new: Any) -> list[Entry]:
        return [Entry("default", 1, "s", "traces", "indexed", len(new)), Entry("default", 1, "s", "traces", "again", 1 - len(new))]

    if isinstance(store, DuckSpans):
        store.write("2026-11-23", [row], "w", Position(1, 100), account)
    else:
        real, store._enter = store._enter, lambda *a: (_ for _ in ()).throw(OSError("cut off"))  # type: ignore[method-assign]
        with pytest.raises(OSError, match="cut off"):
            store.write("2026-11-23", [row], "w", Position(1, 100), account)
        store._enter = real  # type: ignore[method-assign]
        store.write("2026-11-23", [], "x", Position(1, 5), lambda new: [])
        store.write("2026-11-23", [row], "w", Position(1, 100), account)
        assert store.positions() == {"w": Position(1, 100), "x": Position(1, 5)}
    found = {e.what: e.items for e in store.ledger("default", 0)}
    assert {k: v for k, v in found.items() if v} == {"indexed": 1}
    store.write("2026-11-23", [row], "w", Position(1, 200), account)
    totals: dict[str, int] = {}
    for e in store.ledger("default", 0):
        totals[e.what] = totals.get(e.what, 0) + e.items
    assert totals == {"indexed": 1, "again": 1} and store.counts()["spans"] == 1
    store.close()


def test_tables_of_before_are_counted_from_their_rows(spans: Callable[[], SpanStore]) -> None:
    """Also that a row of them which comes again is no new one."""
    store, row = spans(), span("one", 1, None, NOW, service="shop")
    store.write("2026-11-23", [row], "w", Position(1, 100))
    if isinstance(store, DuckSpans):
        store._db.execute("DROP TABLE d20261123.ledger")
    else:
        for column in ("ledger", "first", "last"):
            store._command(f'ALTER TABLE positions DROP COLUMN "{column}"')
        store._command("DROP TABLE intents")
    store.close()
    for _ in range(2):  # brought up once, and not again
        store = spans()
        found = {(e.source, e.what): e.items for e in store.ledger("default", 0)}
        assert found == {("shop", "received"): 1, ("shop", "indexed"): 1, ("", "began"): 1}
        assert store.positions() == {"w": Position(1, 100)}
        told: list[int] = []
        store.write("2026-11-23", [row], "w", Position(1, 100), lambda new, told=told: told.append(len(new)) or ())  # type: ignore[misc]
        assert told == [0]
        store.close()


def test_an_audit_is_of_what_was_there_when_it_began(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windlass.traces.projector.SLICE_SECONDS", 0)
    monkeypatch.setattr("windlass.traces.auditing.SLICE", 1)
    for n in range(6):
        house.spans(make(service=f"service {n % 2}"), make(service="other"))
    steps = 0
    while not (told := house.projection.ask("audit", LedgerAudit())).finished:
        steps += 1
        house.spans(make(service="late"))
        assert 0 <= told.done <= told.total
    assert steps >= 6 and told.balanced == told.lines == 3
    assert sum(line.items for line in told.items) == 12
    assert house.projection.ask("audit", LedgerAudit()).total > told.total, "the next one begins anew"


async def test_an_erasure_makes_an_audit_begin_anew(duck: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windlass.traces.projector.SLICE_SECONDS", 0)
    monkeypatch.setattr("windlass.traces.auditing.SLICE", 1)
    one, two = f"{1:032x}", f"{2:032x}"
    for trace in (one, two, one):
        duck.sent(seal_spans("default", own([trace, two])))
    assert not duck.projection.ask("audit", LedgerAudit()).finished
    subject = Subject("default", ["user-4711"])
    subject.traces.add(one)
    await TraceRoom(LocalSpans(lambda: duck.projection), duck.journals[0], duck.folder).erase(subject)
    assert duck.problems() == []


async def test_records_that_came_before_they_had_rows_stay_kept_and_balance(tmp_path: Path, spans: Callable[[], SpanStore]) -> None:
    house = House(tmp_path, spans)
    house.sent(seal("default", logs(("", "", "of before"), ("", "user-4711", "hers of before")), LOGS))
    (record,) = JournalReader(house.folder).read("a", Position(0, 0))
    day, entries = day_of(hour()), [Entry("default", hour(), "", "logs", what, 2) for what in ("received", "kept")]
    house.projection._store.write(day, [], "a", record.position, lambda new: entries)
    house.again()
    house.sent(seal("default", logs(("", "", "of now"), ("", "user-4711", "hers of now")), LOGS))
    said = house.line("", "logs")
    assert (said.received, said.indexed, said.kept) == (4, 2, 2)
    assert house.problems() == []
    room = TraceRoom(LocalSpans(lambda: house.projection), house.journals[0], house.folder)
    for _ in range(2):
        await room.erase(Subject("default", ["user-4711"]))
        said = house.line("", "logs")
        assert (said.received, said.indexed, said.kept, said.erased) == (4, 1, 1, 2)
        assert house.problems() == []
    house.close()


@pytest.mark.parametrize("where", ["before the journal", "after the journal"])
async def test_an_erasure_of_records_of_no_trace_that_was_cut_off_ends_the_same(duck: House, where: str, monkeypatch) -> None:
    said = [("", "user-4711", "hers"), ("", "", "user-4711 logged in"), ("", "", "of nobody")]
    duck.sent(seal("default", logs(*said), LOGS))
    room = TraceRoom(LocalSpans(lambda: duck.projection), duck.journals[0], duck.folder)
    subject = Subject("default", ["user-4711"])
    rewrite = room._rewrite

    def cut_off(subject: Subject) -> int:
        if where == "after the journal":
            rewrite(subject)
        raise OSError("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(room, "_rewrite", cut_off)
        with pytest.raises(OSError, match="cut off"):
            await room.erase(subject)
    await room.erase(Subject("default", ["user-4711"]))
    assert [r.body for r in duck.projection.ask("logs", LogQuery()).items] == ["of nobody"]
    assert all(b"user-4711" not in f.read_bytes() for f in duck.folder.rglob("*.wj"))
    assert duck.line("", "logs").erased == 2 and duck.problems() == []
