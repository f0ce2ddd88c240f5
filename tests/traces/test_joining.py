"""What log records tell of a span is in its row, whichever came first, in whatever pieces and however often."""

from __future__ import annotations

import json
import random
import secrets
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.conftest import clickhouse_spans
from tests.traces.sdks.test_captured import CAPTURED

from windlass.core import span as names
from windlass.core.operations.sessions import SessionQuery
from windlass.core.operations.traces import TraceQuery, TraceShow
from windlass.core.span import LOG, Span
from windlass.govern.prices import Prices
from windlass.store.journal import Journal
from windlass.store.spans import Forget, MentionQuery, SpanRow, SpanStore, SubjectQuery
from windlass.store.spans_duckdb import DuckSpans
from windlass.traces.envelope import LOGS, seal
from windlass.traces.projector import Projection

FOLDERS = [f for f in CAPTURED if "content_in" in (f / "facts.toml").read_text() and b'"logs"' in (f / "requests.json").read_bytes()]
TRACE, SPAN = "ab" * 16, "cd" * 8


class House:
    """A journal and what is made of it."""

    def __init__(self, folder: Path, store: SpanStore) -> None:
        self.journal = Journal(folder / "journal" / "w")
        self.store = store
        self.projection = Projection(folder / "journal", store, Prices())

    def send(self, *payloads: bytes, at_once: bool = False) -> None:
        for payload in payloads:
            self.journal.append(payload)
            if not at_once:
                self.projection.catch_up()
        self.projection.catch_up()

    def spans(self) -> list[Span]:
        traces = self.projection.ask("traces", TraceQuery(limit=200)).items
        found = [s for t in traces for s in self.projection.ask("trace", TraceShow(t.trace_id)).spans]
        return sorted(found, key=lambda s: (s.start_ns, s.span_id))

    def rows(self) -> dict[str, SpanRow]:
        keys = [("default", s.trace_id, s.span_id) for s in self.spans() if s.attributes.get(names.KIND) != LOG]
        return {row.span_id: row for row in self.store.spans_at(keys)}


@pytest.fixture(params=["duckdb", "clickhouse"])
def houses(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], House]]:
    made: list[House] = []

    def house(name: str) -> House:
        folder = tmp_path / name
        folder.mkdir()
        store = DuckSpans(folder / "spans") if request.param == "duckdb" else in_clickhouse(request)
        made.append(House(folder, store))
        return made[-1]

    yield house
    for each in made:
        each.journal.close()
        each.projection.close()


def in_clickhouse(request: pytest.FixtureRequest) -> SpanStore:
    return clickhouse_spans(request.getfixturevalue("chdb_folder"), f"t{secrets.token_hex(6)}")


def pieces(folder: Path) -> tuple[list[bytes], list[bytes]]:
    """What an SDK sent, span by span and record by record."""
    spans, logs = [], []
    for file in sorted(folder.glob("*.otlp")):
        signal = next(e["signal"] for e in _requests(folder) if e["file"] == file.name)
        if signal == "traces":
            spans += _single(ExportTraceServiceRequest, file, "resource_spans", "scope_spans", "spans")
        elif signal == "logs":
            logs += _single(ExportLogsServiceRequest, file, "resource_logs", "scope_logs", "log_records")
    return [seal("default", s) for s in spans], [seal("default", s, LOGS) for s in logs]


def _requests(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "requests.json").read_bytes())


def _single(kind: Any, file: Path, outer: str, inner: str, many: str) -> list[bytes]:
    found = []
    for resource in getattr(kind.FromString(file.read_bytes()), outer):
        for scope in getattr(resource, inner):
            for item in getattr(scope, many):
                alone = kind()
                r = getattr(alone, outer).add()
                r.resource.CopyFrom(resource.resource)
                s = getattr(r, inner).add()
                s.scope.CopyFrom(scope.scope)
                getattr(s, many).add().CopyFrom(item)
                found.append(alone.SerializeToString())
    return found


def says(rows: dict[str, SpanRow]) -> dict[str, tuple[Any, ...]]:
    return {id: (r.input, r.output, r.kind, r.model, r.tokens_in, r.events, r.attributes) for id, r in rows.items()}


def test_there_is_such_an_sdk() -> None:
    assert [f.name for f in FOLDERS] != []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_what_was_said_is_there_whichever_came_first(houses: Callable[[str], House], folder: Path) -> None:
    spans, logs = pieces(folder)
    rnd = random.Random(7)
    mixed = [*spans, *logs, *spans, *logs]
    rnd.shuffle(mixed)
    ways = {"after": (spans + logs, False), "before": (logs + spans, False), "together": (spans + logs, True), "mixed": (mixed, False)}
    found = {}
    for way, (payloads, at_once) in ways.items():
        house = houses(way)
        house.send(*payloads, at_once=at_once)
        found[way] = house.rows()
        counts = house.projection.ask("counts", None)
        assert (counts["logs"], counts["unreadable"]) == (len(logs), 0)
    facts = {(f["name"], f["nth"]): f for f in tomllib.loads((folder / "facts.toml").read_text())["span"]}
    seen: Counter[str] = Counter()
    told = 0
    for row in sorted(found["after"].values(), key=lambda r: r.start_ns):
        fact = facts[row.name, seen[row.name]]
        seen[row.name] += 1
        for column in ("input", "output"):
            if expected := fact.get(column):
                told += 1
                assert expected in (getattr(row, column) or "").replace("\\", "")
    assert told > 3
    for way in ("before", "together", "mixed"):
        assert says(found[way]) == says(found["after"]), way


def record(name: str, body: str | None = None, *, trace: str = TRACE, span: str = SPAN, at: int = 1_000, **attributes: str) -> bytes:
    made = ExportLogsServiceRequest()
    sent = made.resource_logs.add().scope_logs.add().log_records.add()
    sent.trace_id, sent.span_id, sent.event_name, sent.time_unix_nano, sent.severity_number = (
        bytes.fromhex(trace),
        bytes.fromhex(span),
        name,
        at,
        9,
    )
    if body is not None:
        sent.body.string_value = body
    for key, value in attributes.items():
        sent.attributes.add(key=key).value.string_value = value
    return seal("default", made.SerializeToString(), LOGS)


def a_span(trace: str = TRACE, span: str = SPAN, **attributes: str) -> bytes:
    made = ExportTraceServiceRequest()
    sent = made.resource_spans.add().scope_spans.add().spans.add()
    sent.trace_id, sent.span_id, sent.name = bytes.fromhex(trace), bytes.fromhex(span), "chat"
    sent.start_time_unix_nano, sent.end_time_unix_nano = 900, 2_000
    for key, value in attributes.items():
        sent.attributes.add(key=key).value.string_value = value
    return seal("default", made.SerializeToString())


def test_a_record_is_shown_in_its_trace_and_counts_in_no_list(houses: Callable[[str], House]) -> None:
    house = houses("a")
    house.send(
        a_span(**{"session.id": "s-1"}), record("", "disk is nearly full\nreally", at=9_000), record("", "elsewhere", trace="ef" * 16)
    )
    (trace,) = house.projection.ask("traces", TraceQuery()).items
    assert (trace.spans, trace.duration_ns, trace.trace_id) == (1, 1_100, TRACE)
    (session,) = house.projection.ask("sessions", SessionQuery()).items
    assert (session.runs, session.end_ns) == (1, 2_000)
    shown = house.projection.ask("trace", TraceShow(TRACE))
    assert shown.summary == trace
    span, log = shown.spans
    assert (log.name, log.parent, log.start_ns, log.attributes[names.KIND]) == ("disk is nearly full", span.span_id, 9_000, "log")
    assert (log.attributes[names.LOG_BODY], log.attributes[names.LOG_SEVERITY]) == ("disk is nearly full\nreally", "INFO")
    assert span.events == []
    counts = house.projection.ask("counts", None)
    assert (counts["spans"], counts["traces"], counts["logs"]) == (1, 1, 2)


def test_records_without_a_trace_or_without_a_span(houses: Callable[[str], House]) -> None:
    house = houses("a")
    house.send(a_span(), record("lost", trace="00" * 16), record("of no span", span="00" * 8))
    names_of = [(s.name, s.parent is None) for s in house.projection.ask("trace", TraceShow(TRACE)).spans]
    assert sorted(names_of) == [("chat", True), ("of no span", False)]
    (trace,) = house.projection.ask("traces", TraceQuery()).items
    assert trace.name == "chat"


def test_of_a_person_who_is_erased_no_record_stays(houses: Callable[[str], House]) -> None:
    house = houses("a")
    said = record("gen_ai.user.message", content="my name is Ingeborg", at=950)
    house.send(said, a_span(), record("", "Ingeborg again"), a_span(trace="ef" * 16, span="ab" * 8))
    assert "Ingeborg" in (house.rows()[SPAN].input or "")
    assert house.projection.ask("mentions", MentionQuery("default", "Ingeborg")) == 3  # the span, what was said, and the line
    theirs = house.projection.ask("theirs", SubjectQuery("default", (), (), "Ingeborg"))
    assert theirs.traces == (TRACE,)
    house.projection.ask("forget", Forget("default", (TRACE,)))
    assert house.projection.ask("mentions", MentionQuery("default", "Ingeborg")) == 0
    assert [t.trace_id for t in house.projection.ask("traces", TraceQuery()).items] == ["ef" * 16]
    counts = house.projection.ask("counts", None)
    assert (counts["spans"], counts["logs"]) == (1, 0)


def test_history_read_anew_says_the_same(houses: Callable[[str], House]) -> None:
    house = houses("a")
    spans, logs = pieces(FOLDERS[0])
    house.send(*spans[:3], *logs, *spans[3:])
    before, shown = says(house.rows()), house.spans()
    while not (told := house.projection.ask("remap", None)).finished:
        pass
    assert told.changed == {}
    assert (says(house.rows()), house.spans()) == (before, shown)
    house.send(record("gen_ai.user.message", content="later", trace=spans_of(house)[0], span=spans_of(house)[1]))
    assert any("later" in (row.input or "") for row in house.rows().values())


def spans_of(house: House) -> tuple[str, str]:
    span = next(s for s in house.spans() if s.name.startswith("chat"))
    return span.trace_id, span.span_id


def test_what_cannot_be_put_together_stops_nothing(houses: Callable[[str], House], monkeypatch: pytest.MonkeyPatch) -> None:
    house = houses("a")
    with monkeypatch.context() as patch:
        patch.setattr("windlass.traces.joining.event_of", lambda record: record.attributes["nothing"])
        house.send(a_span(), record("gen_ai.user.message", content="hi"), a_span(trace="ef" * 16, span="ab" * 8))
    counts = house.projection.ask("counts", None)
    assert (counts["spans"], counts["logs"], counts["traces"]) == (2, 1, 2)
    house.send(record("gen_ai.user.message", content="and more", at=2_000))
    assert house.rows()[SPAN].input == '[{"role":"user","content":"hi"},{"role":"user","content":"and more"}]'
