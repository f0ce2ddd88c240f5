"""From spans to answers: journal, projection, DuckDB, queries; and the projector killed on the way."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.store.tiny_disk import run_on_tiny_disk

from windlass.core import span as names
from windlass.core.errors import Invalid, NotFound, Unavailable
from windlass.core.ids import now_ns, span_id, trace_id
from windlass.core.operations.traces import LiveQuery, TraceQuery, TraceShow
from windlass.core.span import Span, SpanEvent
from windlass.govern.masking import Masking
from windlass.govern.processes import resident
from windlass.settings import Settings
from windlass.store.home import Home
from windlass.store.journal import Journal, JournalReader
from windlass.store.segments import Position
from windlass.store.spans_duckdb import DuckSpans
from windlass.traces.conventions.tables import tables
from windlass.traces.envelope import seal, seal_spans
from windlass.traces.mapping import rows
from windlass.traces.projector import Projection, give_back_code, open_projection
from windlass.traces.recorder import Recorder
from windlass.traces.socket import RemoteSpans

ANSWER = "chain/answer@sha256:" + "a" * 64
RELEASE = "release/answer@sha256:" + "b" * 64


def make(trace: str | None = None, parent: str | None = None, *, start: int | None = None, **fields) -> Span:
    began = start if start is not None else now_ns() - 10**9
    name, status = fields.pop("name", "run"), fields.pop("status", "ok")
    return Span(trace or trace_id(), span_id(), name, began, began + 5_000_000, parent, status, **fields)


MODEL = {names.KIND: "model", names.REQUEST_MODEL: "baseline", names.INPUT_TOKENS: 10, names.OUTPUT_TOKENS: 5, names.COST: 0.25}


def tree(**attributes) -> list[Span]:
    asked = {names.KIND: "request", names.INPUT: "hello there", names.VERSIONS: [ANSWER]}
    root = make(name="run chain/answer", attributes={**asked, **attributes})
    return [root, make(root.trace_id, root.span_id, name="chat", attributes=dict(MODEL), events=[])]


class Room:
    """A data folder with a recorder and a projection."""

    def __init__(self, path: Path) -> None:
        self.home = Home(path)
        self.journal = Journal(self.home.path / "journal" / "w")
        self.recorder = Recorder(self.journal, Masking(path / "masking.toml"))
        self.projection = open_projection(self.home, Settings())

    def record(self, *spans: Span) -> None:
        self.recorder.record(spans)
        self.journal.append(seal("default", b""))  # returns after what came before it

    def traces(self, **query) -> list[str]:
        return [t.trace_id for t in self.projection.ask("traces", TraceQuery(**query)).items]

    def close(self) -> None:
        self.journal.close()
        self.projection.close()


@pytest.fixture
def room(tmp_path):
    made = Room(tmp_path / "home")
    yield made
    made.close()


def test_a_trace_comes_back_as_it_went(room):
    root, inner = tree(**{names.SESSION: "s1", names.USER: "u1"})
    inner.events.append(SpanEvent("retry", now_ns(), {"why": "429"}))
    room.record(root, inner)
    found = room.projection.ask("trace", TraceShow(root.trace_id[:8]))
    assert found.summary.name == "run chain/answer"
    assert (found.summary.input, found.summary.spans, found.summary.cost, found.summary.tokens) == ("hello there", 2, 0.25, 15)
    assert (found.summary.session, found.summary.user, found.versions) == ("s1", "u1", (ANSWER,))
    shown = {s.span_id: s for s in found.spans}
    assert shown[inner.span_id].attributes == inner.attributes
    assert shown[inner.span_id].events == inner.events
    assert shown[inner.span_id].parent == root.span_id


def test_the_same_again_is_one_and_a_revision_is_the_newer(room):
    root, inner = tree()
    for _ in range(3):
        room.record(root, inner)
    assert room.projection.ask("counts", None)["spans"] == 2
    later = Span(**{f: getattr(inner, f) for f in inner.__struct_fields__} | {"status": "error", "status_message": "no"})
    room.record(later)
    spans = {s.span_id: s for s in room.projection.ask("trace", TraceShow(root.trace_id)).spans}
    assert (len(spans), spans[inner.span_id].status) == (2, "error")


def test_every_filter(room):
    plain = tree()
    other = tree(**{names.RELEASE: RELEASE, names.SESSION: "s", names.USER: "u", names.ENVIRONMENT: "production"})
    other[0].attributes[names.INPUT] = "Something ELSE"
    failed = tree()
    failed[0].status, failed[0].status_message = "error", "no"
    slow = tree()
    slow[0].end_ns = slow[0].start_ns + 2 * 10**9
    judged = tree(**{names.EVALUATION: "e1"})
    judged[1].attributes[names.EVALUATION] = "e1"
    for spans in (plain, other, failed, slow, judged):
        room.record(*spans)
    one, two, bad, late, test = (s[0].trace_id for s in (plain, other, failed, slow, judged))
    assert set(room.traces()) == {one, two, bad, late}
    assert room.traces(evaluation="e1") == [test]
    assert room.traces(search="something else") == [two]
    assert room.traces(status="error") == [bad]
    assert set(room.traces(status="ok")) == {one, two, late}
    assert room.traces(session="s") == room.traces(user="u") == room.traces(environment="production") == [two]
    assert room.traces(slower_than_ms=1000) == [late]
    assert room.traces(model="other") == []
    assert len(room.traces(model="baseline")) == 4
    assert set(room.traces(uses="chain/answer@aaaa")) == {one, two, bad, late}
    assert room.traces(uses="chain/answer@bbbb") == []
    assert set(room.traces(uses="chain/answer")) == {one, two, bad, late}
    assert room.traces(kind="agent") == []
    assert room.traces(since_ns=now_ns() + 10**12) == []
    assert room.traces(project="another") == []
    assert room.traces(search="'; DROP TABLE spans; --") == []


def test_pages_are_stable_while_more_comes_in(room):
    begun = now_ns() - 10**12
    made = [make(start=begun + n, attributes={names.KIND: "request"}) for n in range(25)]
    room.record(*made)
    seen, cursor = [], None
    while True:
        page = room.projection.ask("traces", TraceQuery(limit=10, cursor=cursor))
        seen += [t.trace_id for t in page.items]
        room.record(make(attributes={names.KIND: "request"}))
        if not (cursor := page.next):
            break
    assert seen == [s.trace_id for s in reversed(made)]


def test_a_giant_trace_is_paged(room):
    root = make(name="giant")
    spans = [make(root.trace_id, root.span_id, start=root.start_ns + n) for n in range(3000)]
    room.record(root, *spans)
    seen, cursor = [], None
    while True:
        page = room.projection.ask("trace", TraceShow(root.trace_id, cursor=cursor, limit=200))
        assert len(page.spans) <= 200
        seen += [s.span_id for s in page.spans]
        if not (cursor := page.next):
            break
    assert len(seen) == len(set(seen)) == 3001


def test_live_figures(room):
    for n in range(20):
        spans = tree(**{names.RELEASE: RELEASE})
        spans[0].end_ns = spans[0].start_ns + (n + 1) * 10_000_000
        spans[0].status = "error" if n < 2 else "ok"
        room.record(*spans)
    judged = tree(**{names.RELEASE: RELEASE, names.EVALUATION: "e"})
    room.record(*judged)
    live = room.projection.ask("live", LiveQuery(release="answer"))
    assert (live.requests, live.errors, live.tokens) == (20, 2, 300)
    assert live.cost == pytest.approx(5.0)
    assert live.p50_ms == pytest.approx(105)
    assert sum(n for _, n, _, _ in live.series) == 20
    nothing = room.projection.ask("live", LiveQuery(release="other"))
    assert (nothing.requests, nothing.p50_ms, nothing.cost) == (0, None, None)


def test_what_is_no_trace_is_said(room):
    room.record(*tree())
    for given in ("xyz", "12", "g" * 8):
        with pytest.raises(Invalid):
            room.projection.ask("trace", TraceShow(given))
    with pytest.raises(NotFound):
        room.projection.ask("trace", TraceShow("0" * 32))
    for query in (TraceQuery(cursor="x"), TraceQuery(cursor="")):
        if query.cursor:
            with pytest.raises(Invalid, match="cursor"):
                room.projection.ask("traces", query)


def test_a_record_nobody_can_read_stops_nothing(room):
    room.journal.append(b"\xff nonsense")
    room.journal.append(seal("default", b"\xff\xff not protobuf"))
    root = tree()[0]
    room.record(root)
    assert room.traces() == [root.trace_id]
    assert room.projection.ask("counts", None)["unreadable"] == 2


def test_what_cannot_be_stored_loses_its_span_alone(room, caplog):
    good, bad, odd = make(), make(attributes={"huge": 1 << 80}), make(attributes={"a": {1, 2}, "path": Path("x"), "n": {3: 4}})
    room.record(good, bad, odd)
    assert set(room.traces()) == {good.trace_id, odd.trace_id}
    assert "a span was lost" in caplog.text
    kept = room.projection.ask("trace", TraceShow(odd.trace_id)).spans[0].attributes
    assert (kept["path"], kept["n"]) == ("x", {"3": 4})


def test_our_own_span_and_the_same_by_otlp_are_read_alike(room):
    """Two formats of the journal, one meaning."""
    ours = make(
        parent=span_id(), status="error", status_message="no", service="app", attributes={**MODEL, names.INPUT: "hi", "x": [1, {"a": None}]}
    )
    ours.events.append(SpanEvent("retry", ours.start_ns, {"why": "429"}))
    sent = ExportTraceServiceRequest()
    resource = sent.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "app"
    span = resource.scope_spans.add().spans.add(
        trace_id=bytes.fromhex(ours.trace_id), span_id=bytes.fromhex(ours.span_id), parent_span_id=bytes.fromhex(ours.parent or ""),
        name=ours.name, start_time_unix_nano=ours.start_ns, end_time_unix_nano=ours.end_ns,
    )  # fmt: skip
    span.status.code, span.status.message = 2, "no"
    for key, value in ours.attributes.items():
        given = span.attributes.add(key=key).value
        if isinstance(value, str):
            given.string_value = value
        elif isinstance(value, float):
            given.double_value = value
        elif isinstance(value, int):
            given.int_value = value
        else:
            given.array_value.values.add().int_value = 1
            given.array_value.values.add().kvlist_value.values.add(key="a")
    span.events.add(name="retry", time_unix_nano=ours.start_ns).attributes.add(key="why").value.string_value = "429"
    by_otlp, by_us = ([], [])
    for found, (kind, data) in ((by_otlp, (1, sent.SerializeToString())), (by_us, (2, msgspec.msgpack.encode([ours])))):
        found.extend(rows(kind, "default", 7, data))
    assert by_otlp[0].resource == '{"service.name":"app"}'
    by_otlp[0].digest = by_us[0].digest = by_otlp[0].resource = by_us[0].resource = ""
    assert by_otlp == by_us
    assert by_us[0].cost == 0.25 and by_us[0].model == "baseline" and by_us[0].input == "hi"


def test_two_processes_do_not_share_the_files(room, tmp_path):
    room.record(*tree())
    room.traces()
    code = "import sys; from pathlib import Path; from windlass.store.spans_duckdb import DuckSpans; DuckSpans(Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, str(room.home.path / "spans")], capture_output=True, text=True)
    assert "Conflict" in done.stderr


def test_a_new_projection_goes_on_where_the_last_stopped(room):
    room.record(*tree())
    assert room.projection.catch_up() == 2
    room.projection.close()
    room.projection = open_projection(room.home, Settings())
    assert room.projection.catch_up() == 0
    room.record(*tree())
    assert room.projection.catch_up() == 2
    assert room.projection.ask("counts", None)["spans"] == 4


def test_rows_and_position_are_one_transaction(room, monkeypatch):
    """A projection that dies between the two would double or lose."""
    room.record(*tree())
    store = room.projection._store
    real = store._insert

    def dies(*args):
        real(*args)
        raise RuntimeError("killed here")

    monkeypatch.setattr(store, "_insert", dies)
    with pytest.raises(RuntimeError):
        room.projection.catch_up()
    room.projection.close()
    room.projection = open_projection(room.home, Settings())
    assert room.projection.catch_up() == 2
    assert room.projection.ask("counts", None)["spans"] == 2


def test_several_writers_and_days(tmp_path):
    folder = tmp_path / "journal"
    for writer in ("a", "b"):
        journal = Journal(folder / writer)
        for _ in range(3):
            journal.append(seal_spans("default", [msgspec.msgpack.encode(s) for s in tree()]))
        journal.close()
    store = DuckSpans(tmp_path / "spans")
    projection = Projection(folder, store)
    assert projection.catch_up() == 12
    assert store.positions().keys() == {"a", "b"}
    records = JournalReader(folder).read("a", Position(0, 0))
    store.write("2020-01-01", projection._rows(records[0]), "old", Position(1, 99))
    assert store.counts()["spans"] == 14
    store.close()
    again = DuckSpans(tmp_path / "spans")
    assert again.positions() == {"a": records[-1].position, "b": again.positions()["b"], "old": Position(1, 99)}
    again.close()


@pytest.mark.parametrize("seed", range(3))
def test_a_projector_that_is_killed_loses_and_doubles_nothing(tmp_path, seed):
    """Spans are written while the projector is killed at random moments and started again."""
    home = Home(tmp_path / "home")
    journal = Journal(home.path / "journal" / "w")
    recorder = Recorder(journal, Masking(Path("none")))
    chance = random.Random(seed)
    made: list[str] = []
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-m", "windlass.traces.projector", str(home.path)], stderr=subprocess.PIPE) as process:
            for _ in range(chance.randrange(20, 60)):
                spans = tree()
                made.append(spans[0].trace_id)
                recorder.record(spans)
                journal.append(seal("default", b""))
                if chance.random() < 0.05:
                    time.sleep(chance.random())
            process.kill()
    journal.close()
    projection = open_projection(home, Settings())
    behind, settled = (projection.ask("counts", None) for _ in range(2))
    assert 0 <= behind["behind_bytes"] <= behind["journal_bytes"] and settled["behind_bytes"] == 0 < settled["store_bytes"]
    assert projection.counts()["spans"] == 2 * len(made)
    found = set()
    cursor = None
    while True:
        page = projection.ask("traces", TraceQuery(limit=200, cursor=cursor))
        found |= {t.trace_id for t in page.items}
        if not (cursor := page.next):
            break
    projection.close()
    assert found == set(made)


async def test_over_the_socket_it_answers_the_same(tmp_path):
    home = Home(tmp_path / "home")
    journal = Journal(home.path / "journal" / "w")
    spans = tree()
    Recorder(journal, Masking(Path("none"))).record(spans)
    journal.close()
    process = subprocess.Popen([sys.executable, "-m", "windlass.traces.projector", str(home.path)])
    remote = RemoteSpans(home.socket)
    try:
        page = await remote.traces(TraceQuery())
        assert [t.trace_id for t in page.items] == [spans[0].trace_id]
        assert (await remote.trace(TraceShow(spans[0].trace_id))).summary.spans == 2
        assert (await remote.live(LiveQuery())).requests == 1
        assert (await remote.counts())["spans"] == 2
        with pytest.raises(NotFound):
            await remote.trace(TraceShow("0" * 32))
        assert home.socket.stat().st_mode & 0o777 == 0o600
    finally:
        process.terminate()
        process.wait(10)
    with pytest.raises(Unavailable):
        await remote.traces(TraceQuery())
    await remote.close()


def test_a_question_is_answered_while_somebody_goes_on_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time something is projected, more has come: what was there when it was asked is answered, and the rest comes later."""
    room = Room(tmp_path)
    room.record(*tree())
    room.journal.submit(b"").result()  # what was recorded before it is durable
    store, written = room.projection._store, []
    real = store.write

    def write(*arguments):
        written.append(room.journal.append(seal_spans("default", [msgspec.msgpack.encode(make())])))
        assert len(written) < 50, "it never ends"
        return real(*arguments)

    monkeypatch.setattr(store, "write", write)
    assert room.projection.ask("counts", None)["spans"] >= 2
    assert len(written) <= 3
    monkeypatch.undo()
    assert room.projection.ask("counts", None)["spans"] == 2 + len(written)


ODD: tuple[Any, ...] = (
    "", "zz", "-", "\0", "[Scrubbed due to", '{"a": {"b": [1, {}]}}', '{"total": 1e999}', "[", "9" * 400, "\ud7ff😀", "0" * 16,
    "-1", -1, 0, 2**63 - 1, -(2**63), 1e308, float("nan"), float("-inf"), True, b"\xff\xfe", None, [], [[], {}], {"a": {"b": None}},
    ["a", 7, None],
)  # fmt: skip


def test_no_value_of_any_attribute_keeps_others_from_the_tables(room):
    """Every attribute that a table knows, with every odd value: whatever it tells, the spans are there, and what comes after them."""
    known = {
        *tables()._slots,
        "logfire.pending_parent_id",
        "llm.input_messages.0.message.role",
        "gen_ai.prompt.9999999999.role",
        "windlass.versions",
    }
    sent = ExportTraceServiceRequest()
    spans = sent.resource_spans.add().scope_spans.add().spans
    for name in sorted(known):
        for value in ODD:
            span = spans.add(
                trace_id=os.urandom(16), span_id=os.urandom(8), parent_span_id=os.urandom(8), name="odd", start_time_unix_nano=1
            )
            any_value(span.attributes.add(key=name).value, value)
            span.events.add(name="gen_ai.user.message").attributes.add(key=name).value.CopyFrom(span.attributes[0].value)
    room.journal.append(seal("default", sent.SerializeToString()))
    root = tree()[0]
    room.record(root)
    counts = room.projection.ask("counts", None)
    assert (counts["spans"], counts["unreadable"]) == (len(known) * len(ODD) + 1, 0)
    assert root.trace_id in room.traces()
    while not (told := room.projection.ask("remap", None)).finished:
        pass
    assert told.done == counts["spans"] and not told.changed


def test_a_span_that_no_file_can_hold_stops_nothing(room):
    good, bad, late = make(), make("no id"), make(start=1 << 63)
    room.journal.append(seal_spans("default", [msgspec.msgpack.encode(span) for span in (good, bad, good, late, *tree())]))
    root = tree()[0]
    room.record(root)
    assert {good.trace_id, root.trace_id} <= set(room.traces())
    counts = room.projection.ask("counts", None)
    assert (counts["spans"], counts["unreadable"]) == (4, 2)


def any_value(field: Any, value: Any) -> None:
    """Write a value as OTLP has it."""
    if isinstance(value, dict):
        field.kvlist_value.SetInParent()
        for key, inner in value.items():
            any_value(field.kvlist_value.values.add(key=key).value, inner)
    elif isinstance(value, list):
        field.array_value.SetInParent()
        for inner in value:
            any_value(field.array_value.values.add(), inner)
    elif value is not None:
        names_of = {str: "string_value", bool: "bool_value", int: "int_value", float: "double_value", bytes: "bytes_value"}
        setattr(field, names_of[type(value)], value)


def test_cursors_of_somebody_elses_making_are_refused(room):
    room.record(*tree())
    (trace,) = room.traces()
    for cursor in ("5-zz", "5-", f"{2**63}-{trace}", f"²-{trace}", "5", f"5-{trace}0"):
        with pytest.raises(Invalid, match="cursor"):
            room.projection.ask("traces", TraceQuery(cursor=cursor))
    for cursor in ("5-zz", "5-" + "f" * 17, f"{2**63}-ff", "²-ff"):
        with pytest.raises(Invalid, match="cursor"):
            room.projection.ask("trace", TraceShow(trace, cursor=cursor))


FULL = """
import os, sys, time
from pathlib import Path
from tests.traces.test_projector import make
import windlass.traces.projector as projector
from windlass.core.errors import Unavailable
from windlass.core.operations.ledger import LedgerAudit, LedgerQuery
from windlass.core.operations.traces import TraceQuery
from windlass.store.journal import Journal
from windlass.store.spans_duckdb import DuckSpans
from windlass.traces.envelope import seal_spans
import msgspec

folder, spans = Path(sys.argv[1]), Path(sys.argv[1]) / "spans"
here = folder / "elsewhere"  # a disk of its own in earnest; here the journal has its room before the tables come
journal = Journal(folder / "journal" / "w")
pack = msgspec.msgpack.Encoder().encode

def send(count):
    for _ in range(count):
        some = [make(attributes={"windlass.input": os.urandom(600).hex()}) for _ in range(50)]
        journal.append(seal_spans("default", [pack(s) for s in some]))

projector.PATIENCE = 0.0
projection = projector.Projection(folder / "journal", DuckSpans(spans))
send(20)
projection.ask("catch_up", None)
first = projection.ask("counts", None)
print("first:", first["spans"], first["stalled"])
send(20)
with open(folder / "ballast", "wb") as file:
    try:
        while True:
            file.write(b"0" * 65536)
            file.flush()
    except OSError:
        pass
try:  # what DuckDB does by itself when enough has come
    projection._store._db.execute(f"CHECKPOINT {projection._store._files()[0].name}")
except Exception as e:
    print("checkpoint:", "invalidated" in str(e))
for _ in range(3):
    print("asked:", len(projection.ask("traces", TraceQuery(limit=50)).items))
waits = projection.ask("counts", None)
print("waits:", waits["spans"], waits["stalled"], waits["behind_bytes"] > 1_000_000)
print("ledger:", sum(line.waiting for line in projection.ask("ledger", LedgerQuery()).items))
os.truncate(folder / "ballast", 0)
projection.ask("catch_up", None)
after = projection.ask("counts", None)
print("after:", after["spans"], after["stalled"], after["behind_bytes"])
while not (told := projection.ask("audit", LedgerAudit())).finished:
    pass
print("problems:", [p for line in told.items for p in line.problems])
"""


def test_a_full_disk_stops_no_answers_and_is_gone_on_from(tmp_path: Path) -> None:
    """DuckDB closes a file to everybody whose checkpoint failed. Whoever asks is told what is there; what came in waits."""
    said = run_on_tiny_disk(tmp_path, FULL, 24).splitlines()
    assert said == [
        "first: 1000 0", "checkpoint: True", "asked: 50", "asked: 50", "asked: 50", "waits: 1000 1 True", "ledger: 1000",
        "after: 2000 0 0", "problems: []",
    ]  # fmt: skip


def test_a_question_that_needs_too_much_memory_is_told_so_and_the_next_is_answered(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.record(*tree())
    assert len(room.projection.ask("traces", TraceQuery()).items) == 1
    store = room.projection._store
    assert isinstance(store, DuckSpans)
    real = store.traces
    store.traces = lambda query: store._db.execute("SELECT list(repeat('x', 1000000)) FROM range(10000)").fetchall()  # type: ignore
    with pytest.raises(Unavailable, match="more memory than the 256 MB"):
        room.projection.ask("traces", TraceQuery())
    store.traces = real  # type: ignore[method-assign]
    assert len(room.projection.ask("traces", TraceQuery()).items) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="the system tells nothing of its mappings")
def test_a_library_works_on_when_its_code_was_given_back() -> None:
    import duckdb

    with duckdb.connect() as db:
        assert db.execute("SELECT sum(range) FROM range(1000)").fetchone() == (499500,)
        before = resident(os.getpid())
        assert give_back_code("_duckdb") > 10_000_000
        assert before is not None and (resident(os.getpid()) or before) < before - 5_000_000
        assert db.execute("SELECT count(DISTINCT range % 7), max(range::VARCHAR) FROM range(1000)").fetchone() == (7, "999")
    assert give_back_code("no such library") == 0
