"""What coding agents tell in log records is a trace for each turn: in any order, twice, on both engines, and counted once."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common._internal import _encode_attributes
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from tests.traces import agents_sent as agents
from tests.traces.agents_sent import MS, START
from tests.traces.test_joining import House, a_span, houses  # noqa: F401

from windlass.core import span as names
from windlass.core.operations.figures import FiguresQuery
from windlass.core.operations.ledger import LedgerAudit, LedgerQuery
from windlass.core.operations.logs import LogQuery
from windlass.core.operations.sessions import SessionQuery
from windlass.core.operations.traces import Trace, TraceQuery, TraceShow
from windlass.core.span import input_of, output_of
from windlass.govern.erasure import Subject
from windlass.store.spans_duckdb import DuckSpans
from windlass.traces.conventions import agents as tables
from windlass.traces.envelope import LOGS, seal
from windlass.traces.erasing import TraceRoom
from windlass.traces.local import LocalSpans
from windlass.traces.mapping import again, rows

CLAUDE = agents.claude_code("s-1", "p-1"), *agents.CLAUDE
CODEX = agents.codex("c-1"), *agents.CODEX
GEMINI = agents.gemini("g-1", "g-1########1"), *agents.GEMINI


def sealed(events: Any, resource: dict[str, str], scope: str) -> list[bytes]:
    return [seal("default", r.SerializeToString(), LOGS) for r in agents.sent(events, resource, scope)]


@pytest.fixture
def duck(tmp_path: Path):
    made = House(tmp_path, DuckSpans(tmp_path / "spans"))
    yield made
    made.journal.close()
    made.projection.close()


def send(house: House, *of: Any) -> None:
    """What each of these agents sends, at once."""
    house.send(*(payload for events in of for payload in sealed(*events)), at_once=True)


def traces(house: House, filter: str = "") -> list[Trace]:
    found = house.projection.ask("traces", TraceQuery(filter=filter)).items
    return [house.projection.ask("trace", TraceShow(t.trace_id)) for t in found]


def steps(trace: Trace) -> list[tuple[Any, ...]]:
    """Kind, name, length in ms, status and the name of what it stands under, of everything in a trace, in the order of their ends."""
    by_id = {s.span_id: s.name for s in trace.spans}
    found = sorted(trace.spans, key=lambda s: (s.end_ns, s.name))
    return [(s.kind, s.name.partition(".")[2], (s.end_ns - s.start_ns) // MS, s.status, by_id.get(s.parent or "")) for s in found]


def test_each_table_says_where_it_is_from() -> None:
    for name in tables.NAMES:
        agent = tables.agents().of(f"{name}.x")
        assert agent is not None and agent.source.startswith("https://") and agent.session and agent.user
        assert sum(step.root for step in agent.steps.values()) == 1
        assert tables.agents().of(name) is None and tables.agents().of("shop.x") is None


def test_a_turn_of_claude_code(houses: Callable[[str], House]) -> None:  # noqa: F811
    house = houses("a")
    send(house, CLAUDE)
    (trace,) = traces(house)
    root = "claude_code.user_prompt"
    assert steps(trace) == [
        ("agent", "user_prompt", 0, "unset", None),
        ("model", "api_request", 2_000, "unset", root),
        ("log", "tool_decision", 0, "unset", "claude_code.tool_result"),
        ("tool", "tool_result", 3_000, "error", root),
        ("span", "api_error", 90, "error", root),
        ("model", "api_request", 4_000, "unset", root),
        ("log", "assistant_response", 0, "unset", root),
    ]
    s = trace.summary
    assert (s.name, s.kind, s.status, s.spans) == (root, "agent", "ok", 5)
    assert (s.start_ns, s.duration_ns) == (START, 9_300 * MS)
    assert (s.input, s.output) == ("why does the build fail?", "A header is missing.")
    assert (s.session, s.user) == ("s-1", "ann@example.com")
    assert s.tokens == 12 + 15_000 + 420 + 88 + 7 + 15_420 + 140
    assert s.cost == pytest.approx(0.0163)
    first, tool = (next(x for x in trace.spans if x.name.endswith(n)) for n in ("api_request", "tool_result"))
    assert (first.model, first.provider, first.tokens_in, first.tokens_cached) == ("claude-sonnet-5", "anthropic", 15_432, 15_000)
    assert (first.tokens_out, first.cost, first.response) == (88, 0.0123, "req_1p-1")
    assert (tool.tool, input_of(tool), tool.status_message) == ("Bash", '{"command":"make"}', "ShellError")
    assert first.attributes["cost_usd_micros"] == 12_300 and names.KIND not in first.attributes
    assert [t.summary.trace_id for t in traces(house, "tool:Bash user:ann@example.com model:claude-sonnet-5")] == [s.trace_id]
    (session,) = house.projection.ask("sessions", SessionQuery()).items
    assert (session.id, session.runs, session.user, session.cost) == ("s-1", 1, "ann@example.com", pytest.approx(0.0163))


def test_a_conversation_of_codex(houses: Callable[[str], House]) -> None:  # noqa: F811
    house = houses("a")
    send(house, CODEX)
    (trace,) = traces(house)
    root = "codex.conversation_starts"
    assert steps(trace) == [
        ("agent", "conversation_starts", 0, "unset", None),
        ("chain", "user_prompt", 0, "unset", root),
        ("span", "api_request", 380, "unset", root),
        ("model", "sse_event", 0, "unset", root),
        ("log", "tool_decision", 0, "unset", "codex.tool_result"),
        ("tool", "tool_result", 1_000, "unset", root),
    ]
    call, tool = (next(x for x in trace.spans if x.name.endswith(n)) for n in ("sse_event", "tool_result"))
    assert (call.model, call.provider, call.tokens_in, call.tokens_out, call.tokens_cached) == ("gpt-5-codex", "openai", 5_000, 120, 4_096)
    assert call.cost is not None and trace.summary.cost == call.cost, "priced, since it told none"
    assert (tool.tool, input_of(tool), output_of(tool)) == ("shell", '{"command":["ls"]}', "README.md")
    assert (trace.summary.input, trace.summary.session, trace.summary.user) == ("add a test", "c-1", "bob@example.com")
    pieces = house.projection.ask("logs", LogQuery(name="codex.sse_event")).items
    assert [(r.attributes["event.kind"], r.trace_id is None) for r in pieces] == [
        ("response.completed", False), ("response.output_text.delta", True), ("response.created", True)
    ]  # fmt: skip


def test_a_turn_of_gemini(houses: Callable[[str], House]) -> None:  # noqa: F811
    house = houses("a")
    send(house, GEMINI)
    (trace,) = traces(house)
    root = "gemini_cli.user_prompt"
    assert steps(trace) == [
        ("agent", "user_prompt", 0, "unset", None),
        ("log", "api_request", 0, "unset", root),
        ("model", "api_response", 1_500, "unset", root),
        ("tool", "tool_call", 12, "unset", root),
        ("span", "api_error", 100, "error", root),
    ]
    call = next(x for x in trace.spans if x.name.endswith("api_response"))
    assert (call.tokens_in, call.tokens_out, call.tokens_cached, output_of(call)) == (910, 65, 300, "It sorts.")
    assert call.cost is not None and call.provider == "gcp.gemini"
    assert next(x for x in trace.spans if x.status == "error").status_message == "quota"
    assert (trace.summary.input, trace.summary.user) == ("explain this", "cyd@example.com")


@pytest.mark.parametrize("seed", range(2))
def test_in_any_order_in_any_pieces_and_twice_it_is_the_same(houses: Callable[[str], House], seed: int) -> None:  # noqa: F811
    rnd = random.Random(seed)
    events = [e for n in range(3) for e in agents.claude_code("s-1", f"p-{n}", at=n * 20_000)]
    payloads = sealed(events, *agents.CLAUDE) + sealed(*CODEX) + sealed(*GEMINI)
    straight, mixed = houses("straight"), houses("mixed")
    straight.send(*payloads, at_once=True)
    again = [*payloads, *payloads]
    rnd.shuffle(again)
    while again:
        some, again = again[: (n := rnd.randrange(1, 12))], again[n:]
        mixed.send(*some, at_once=rnd.random() < 0.8)

    def told(house: House) -> Any:
        return [(t.summary, {s.span_id: (s, input_of(s), output_of(s)) for s in t.spans}) for t in traces(house)]

    assert told(mixed) == told(straight)
    assert len(told(mixed)) == 5
    costs = [e.attributes.get("cost_usd", 0.0) for e in events]
    claude = [t.summary.cost for t in traces(mixed, "provider:anthropic")]
    assert sum(c or 0 for c in claude) == pytest.approx(sum(costs))
    board = mixed.projection.ask("figures", FiguresQuery(since_ns=START - 1, until_ns=START + 10**12, by="provider"))
    (theirs,) = (g.whole for g in board.groups if g.value == "anthropic")
    assert theirs.cost == pytest.approx(sum(costs))
    assert (theirs.traces, theirs.calls, theirs.spans, theirs.unpriced) == (3, 6, 15, 0)
    ledger = mixed.projection.ask("ledger", LedgerQuery(hours=0)).items
    assert sum(line.received for line in ledger) == 2 * len(payloads)
    assert sum(line.indexed for line in ledger) == len(payloads) == sum(line.again for line in ledger)
    assert not any(line.missing for line in ledger)
    while not (audited := mixed.projection.ask("audit", LedgerAudit())).finished:
        pass
    assert [p for line in audited.items for p in line.problems] == [] and sum(line.otherwise for line in audited.items) == 0
    while not (anew := mixed.projection.ask("remap", None)).finished:
        pass
    assert anew.changed == {} and told(mixed) == told(straight)


def test_a_turn_without_its_beginning_is_listed(houses: Callable[[str], House]) -> None:  # noqa: F811
    house = houses("a")
    send(house, (CLAUDE[0][1:6], *agents.CLAUDE))
    (trace,) = traces(house)
    assert (trace.summary.name, trace.summary.status) == ("claude_code.api_request", "error")
    assert trace.summary.cost == pytest.approx(0.0163) and trace.summary.session == "s-1"


def test_what_is_of_no_turn_is_of_its_session(duck: House) -> None:
    before = agents.claude_code("s-1", "")[1:2]
    send(duck, ([*before, *CLAUDE[0]], *agents.CLAUDE))
    assert [t.summary.spans for t in traces(duck)] == [1, 5]
    assert {t.summary.session for t in traces(duck)} == {"s-1"}


def test_what_is_redacted_is_not_told(duck: House) -> None:
    duck.send(*sealed(agents.claude_code("s", "p", prompt="<REDACTED>", response="<REDACTED>"), *agents.CLAUDE))
    duck.send(*sealed(agents.codex("c", prompt="[REDACTED]"), *agents.CODEX))
    assert [(t.summary.input, t.summary.output) for t in traces(duck, "provider:anthropic")] == [("", "")]
    assert [t.summary.input for t in traces(duck, "provider:openai")] == [""]


@pytest.mark.parametrize("agent", ["claude", "codex", "gemini"])
def test_in_a_span_it_is_a_step_of_that_trace_and_counted_once(houses: Callable[[str], House], agent: str) -> None:  # noqa: F811
    """An agent that sends spans as well, or that an application started: its spans tell no cost, its records do."""
    span = ("ab" * 16, "cd" * 8)
    events, of = {
        "claude": (agents.claude_code("s-1", "p-1", span=span), agents.CLAUDE),
        "codex": (agents.codex("c-1", span=span), agents.CODEX),
        "gemini": (agents.gemini("g-1", "g-1########1", span=span), agents.GEMINI),
    }[agent]
    house, alone = houses("a"), houses("b")
    send(alone, ([e._replace(span=None) for e in events], *of))
    telling = {
        "gen_ai.system": "anthropic",
        "gen_ai.request.model": "claude-sonnet-5",
        "gen_ai.response.id": "req_1p-1",
        "input_tokens": "12",
    }
    house.send(*sealed(events, *of), a_span(**telling), at_once=True)
    (trace,) = traces(house)
    (other,) = traces(alone)
    assert trace.summary.trace_id == "ab" * 16 and trace.summary.name == "chat"
    assert (trace.summary.cost, trace.summary.tokens) == (other.summary.cost, other.summary.tokens)
    assert {s.parent for s in trace.spans if s.name != "chat"} == {"cd" * 8}


async def test_a_person_is_taken_out_of_journal_tables_and_ledger(tmp_path: Path) -> None:
    house = House(tmp_path, DuckSpans(tmp_path / "spans"))
    stays = agents.claude_code("s-2", "p-9", user="eve@example.com", prompt="stays here")
    house.send(*sealed(*CLAUDE), *sealed(stays, *agents.CLAUDE), *sealed(CLAUDE[0][:2], *agents.CLAUDE), at_once=True)
    record = ExportLogsServiceRequest()
    said = record.resource_logs.add().scope_logs.add().log_records
    for text in ("ann@example.com logged in", "eve logged in"):
        said.add(time_unix_nano=7).body.string_value = text
    house.send(seal("default", record.SerializeToString(), LOGS))
    room = TraceRoom(LocalSpans(lambda: house.projection), house.journal, tmp_path / "journal")
    subject = Subject("default", ["ann@example.com"])
    assert [(p.place, p.count) for p in await room.find(subject)] == [("traces", 1), ("log records", 10)]
    await room.erase(subject)
    await room.erase(subject)
    held = b"".join(f.read_bytes() for f in (tmp_path / "journal").rglob("*.wj"))
    assert b"ann@example.com" not in held and b"why does the build" not in held and b"stays here" in held and b"eve logged in" in held
    assert [t.summary.user for t in traces(house)] == ["eve@example.com"]
    assert {r.body for r in house.projection.ask("logs", LogQuery()).items} == {None, "eve logged in"}
    assert await room.find(Subject("default", ["ann@example.com"])) == []
    ledger = house.projection.ask("ledger", LedgerQuery(hours=0)).items
    assert not any(line.missing for line in ledger) and sum(line.erased for line in ledger) == 8
    assert all(min(line.indexed, line.again, line.kept, line.erased) >= 0 for line in ledger)
    while not (audited := house.projection.ask("audit", LedgerAudit())).finished:
        pass
    assert [p for line in audited.items for p in line.problems] == []
    house.journal.close()
    house.projection.close()


VALUES = st.one_of(
    st.sampled_from(["", "Größe", "a\x00b", "7" * 30, "1e999", "nan", "-5", "12", "true"]),
    st.sampled_from(["<REDACTED>", "[REDACTED]", "response.completed"]),
    st.integers(-(2**63), 2**63 - 1), st.floats(), st.booleans(), st.lists(st.integers(0, 9), max_size=3),
)  # fmt: skip
NAMES = sorted({name for events, *_ in (CLAUDE, CODEX, GEMINI) for e in events for name in e.attributes} - {"event.name"})
EVENTS = [
    str(e.body if str(e.body).startswith("claude_code.") else e.attributes["event.name"]) for s in (CLAUDE, CODEX, GEMINI) for e in s[0]
]


@given(st.sampled_from(EVENTS), st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=12), st.integers(0, 2**64 - 1))
def test_whatever_an_event_says_is_a_row_of_its_own_record(name: str, attributes: dict[str, Any], at: int) -> None:
    """Also what no agent writes: nothing raises, no count is negative, and what is read anew says the same."""
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=at, event_name=name)
    record.attributes.extend(_encode_attributes(attributes) or ())
    (row,) = rows(LOGS, "default", 7, request.SerializeToString())
    assert 0 <= row.start_ns <= row.end_ns and row.severity == 0 and row.name == name
    assert all((getattr(row, c) or 0) >= 0 for c in ("tokens_in", "tokens_out", "tokens_cached", "tokens_written", "tokens_reasoning"))
    assert row.input not in ("<REDACTED>", "[REDACTED]") or row.kind == "log"
    (twice,) = rows(LOGS, "default", 7, request.SerializeToString())
    assert twice == row == again(row, None)


def test_an_agent_of_a_project_is_none_of_another(duck: House) -> None:
    for project in ("default", "other"):
        duck.send(*[seal(project, r.SerializeToString(), LOGS) for r in agents.sent(*CLAUDE)])
    ids = {duck.projection.ask("traces", TraceQuery(project=p)).items[0].trace_id for p in ("default", "other")}
    assert len(ids) == 2
