"""Log records: what an application says, told apart from its spans. Each becomes a row.

A record that names a trace is of kind `log` and without length, under the span it names. Newer conventions tell what was said to a model
and by it in such records alone: `joining.py` puts that into the span, whichever of the two came first. What a coding agent tells is a step
of its turn, or a line of it (`conventions/agents.py`), whether it names a trace or not. Any other is of no trace: a digest stands where
its trace would, and it stands under itself.

A row is a function of its record alone, so records may come in any order, and again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from windlass.core import span as names
from windlass.core.span import LOG, Span, SpanEvent
from windlass.traces.conventions.agents import Agent, agents, first
from windlass.traces.otlp_values import attributes_of, value_of

SHORT = 120  # characters of a body that name a record that has no name
ERROR = 17  # the severity from which on it tells of an error, as OpenTelemetry counts
_SEVERITIES = ("", "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
_WORDS = {
    "trace": 1, "debug": 5, "info": 9, "information": 9, "notice": 10, "warn": 13, "warning": 13, "error": 17, "critical": 21, "fatal": 21,
}  # fmt: skip
_OURS = (names.KIND, names.LOG_SEVERITY, names.LOG_BODY)
_LATEST = 2**63 - 1
_json = msgspec.json.Encoder(order="sorted").encode


class Said(NamedTuple):
    """What a record says: `agent` is whose event it is."""

    at_ns: int
    name: str
    attributes: dict[str, Any]
    body: Any
    agent: Agent | None
    trace: str  # the one it names, or nothing

    def told_trace(self, project: str) -> str | None:
        """The trace it is of, named or an agent's; None where it is of none."""
        return self.trace or (self.agent.trace(self.name, self.attributes, project) if self.agent else None)


def said_by(sent: Any) -> Said:
    """What an OTLP LogRecord says."""
    at = min(sent.time_unix_nano or sent.observed_time_unix_nano, _LATEST)
    attributes, body = attributes_of(sent.attributes), value_of(sent.body)
    named = (sent.event_name, attributes.get("event.name"), body)
    name = next((n for n in named if isinstance(n, str) and agents().of(n)), None)
    agent = agents().of(name) if name else None
    name = name or sent.event_name or str(attributes.get("event.name") or "") or _first_line(body) or LOG
    return Said(at, name, attributes, body, agent, sent.trace_id.hex() if sent.trace_id.strip(b"\0") else "")


def severity_of(sent: Any) -> int:
    """OpenTelemetry's number, from 1 to 24; by its text where it has only that, and 0 where it has neither."""
    number = int(sent.severity_number)
    return number if 0 < number < 25 else _WORDS.get(sent.severity_text.strip().lower(), 0)


def span_of_record(sent: Any, project: str, process: Mapping[str, Any]) -> Span:
    """A LogRecord as a step, or as a line: a span of kind `log` without length. `process` is what `around_of` says."""
    said, severity = said_by(sent), severity_of(sent)
    agent, trace = said.agent, said.told_trace(project)
    attributes = said.attributes | {
        names.KIND: LOG,
        names.LOG_BODY: None if agent and said.body == said.name else said.body,
        names.LOG_SEVERITY: sent.severity_text or _SEVERITIES[(severity + 3) // 4],
    }
    attributes = {k: v for k, v in attributes.items() if v not in (None, "")}
    if trace is None:
        alone = alone_of(said, process)
        return _line(said, alone, alone[:16], alone[:16], severity, attributes)
    own = sent.span_id.hex() if sent.span_id.strip(b"\0") and said.trace else None
    call = _call(said, trace)
    if agent and (step := agent.step(said.name, said.attributes)):
        del attributes[names.KIND]
        above = (own or _nowhere(trace)) if said.trace else None if step.root else _root(trace)
        id = _root(trace) if above is None else call or _digest([trace, said.at_ns, said.name, attributes])
        return _step(said, agent, Place(trace, id, above), severity, attributes)
    # of no span, it is put under one that is not there: without a parent it would be a root
    above = own or (_nowhere(trace) if said.trace else call or _root(trace))
    return _line(said, trace, _digest([trace, above, said.at_ns, said.name, attributes]), above, severity, attributes)


class Place(NamedTuple):
    trace: str
    id: str
    above: str | None


def alone_of(said: Said, process: Mapping[str, Any]) -> str:
    """What stands for the trace of a record that is of none: a digest of all it says."""
    return hashlib.sha256(_json([said.at_ns, said.name, said.attributes, said.body, process])).hexdigest()[:32]


def _step(said: Said, agent: Agent, at: Place, severity: int, attributes: dict[str, Any]) -> Span:
    """The end of a step is when its record was made."""
    why = agent.failure(said.attributes)
    failed = why is not None or severity >= ERROR
    start = max(0, said.at_ns - agent.took_ns(said.attributes))
    return Span(
        at.trace, at.id, said.name, start, said.at_ns, at.above, "error" if failed else "unset", why or "", attributes=attributes
    )  # fmt: skip


def _line(said: Said, trace: str, id: str, above: str, severity: int, attributes: dict[str, Any]) -> Span:
    at = said.at_ns
    return Span(trace, id, said.name, at, at, above, "error" if severity >= ERROR else "unset", attributes=attributes)


def _root(trace: str) -> str:
    """The step that is an agent's whole turn."""
    return _digest([trace, "turn"])


def _nowhere(trace: str) -> str:
    return hashlib.sha256(bytes.fromhex(trace)).hexdigest()[:16]


def _call(said: Said, trace: str) -> str | None:
    """The step of the call of a tool that a record is about."""
    call = first(said.attributes, said.agent.call) if said.agent else None
    return _digest([trace, "call", call]) if call else None


def _digest(of: list[Any]) -> str:
    return hashlib.sha256(_json(of)).hexdigest()[:16]


def event_of(record: Span) -> SpanEvent:
    """A log record as an event of its span. A body that is an object says as attributes do."""
    attributes = {k: v for k, v in record.attributes.items() if k not in _OURS}
    body = record.attributes.get(names.LOG_BODY)
    if isinstance(body, dict):
        attributes |= body
    elif body is not None:
        attributes["body"] = body
    return SpanEvent(record.name, record.start_ns, attributes)


def _first_line(body: Any) -> str:
    text = (body if isinstance(body, str) else "" if body is None else _json(body).decode()).strip().partition("\n")[0]
    return text if len(text) <= SHORT else text[:SHORT] + "…"
