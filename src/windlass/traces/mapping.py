"""From a span to a row. What attributes mean is said by `conventions/`; this reads OTLP and our own spans, events too, and prices them.

The raw attributes stay with the row, so that newer tables can read older spans again. A cost that was told is kept; one that was not is
worked out from tokens and prices; where either is unknown it stays unknown.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from windlass.core import span as names
from windlass.core.json_text import json_said
from windlass.core.message import Usage
from windlass.core.span import Span, SpanEvent, SpanLink, Status
from windlass.govern.prices import Prices
from windlass.store.points import Row
from windlass.store.spans import SpanRow, span_of
from windlass.traces.conventions.agents import agents
from windlass.traces.conventions.tables import Tables, tables
from windlass.traces.envelope import LOGS, METRICS, SPANS
from windlass.traces.log_records import severity_of, span_of_record
from windlass.traces.otlp_values import around_of, attributes_of
from windlass.traces.points import points

OF_THE_RESOURCE = (names.ENVIRONMENT, names.EVALUATION, "deployment.environment.name", "deployment.environment", "session.id", "user.id")
PRICED = ("model", "embedding")
PENDING = "logfire.pending_parent_id"
SPAN_ID = re.compile("[0-9a-f]{16}")
_NOTHING: Mapping[str, Any] = {}
_STATUS: dict[int, Status] = {0: "unset", 1: "ok", 2: "error"}
_LATEST = 2**63 - 1
_unpack = msgspec.msgpack.Decoder(list[Span]).decode
_pack = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode


class Source(NamedTuple):
    """What spans that came together share. `told` of the resource counts for each of them."""

    project: str
    receipt_ns: int
    service: str
    told: Mapping[str, Any] = _NOTHING
    resource: str | None = "{}"


def rows(kind: int, project: str, receipt_ns: int, data: bytes, prices: Prices | None = None) -> Iterator[Row]:
    """The rows of one journal record, or its points. Without prices only a cost that was told is known."""
    if kind == SPANS:
        for span in _unpack(data):
            digest = _digest(_pack(span))
            yield _row(Source(project, receipt_ns, span.service), span, digest, prices)
        return
    if kind == METRICS:
        yield from points(project, receipt_ns, data)
        return
    if kind == LOGS:
        for resource in _logs(data).resource_logs:
            for process, scope in around_of(resource):
                source = _source(project, receipt_ns, process)
                for sent in scope.log_records:
                    said = span_of_record(sent, project, process)
                    yield _row(source, said, None, prices, severity=severity_of(sent))
        return
    for resource in ExportTraceServiceRequest.FromString(data).resource_spans:
        for process, scope in around_of(resource):
            source = _source(project, receipt_ns, process)
            for sent in scope.spans:
                yield _row(source, _from_otlp(sent), None, prices)


def _logs(data: bytes) -> Any:
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest  # who sends none needs it not

    return ExportLogsServiceRequest.FromString(data)


def _source(project: str, receipt_ns: int, process: Mapping[str, Any]) -> Source:
    told = {name: process[name] for name in OF_THE_RESOURCE if name in process}
    return Source(project, receipt_ns, str(process.get("service.name", "")), told, _json(process).decode())


def span_in(row: SpanRow) -> Span:
    """The span that a row keeps."""
    return span_of(msgspec.structs.asdict(row))


def again(row: SpanRow, prices: Prices | None, span: Span | None = None) -> SpanRow:
    """A row read anew from what it keeps, as these tables read it, or from the same span with more or less in it. What only its lost
    resource told stays as it was."""
    span = span or span_in(row)
    told = {name: span.resource[name] for name in OF_THE_RESOURCE if name in span.resource}
    source = Source(row.project, row.receipt_ns, row.service, told, row.resource)
    made = _row(source, span, row.digest, prices, begun=True, severity=row.severity)
    made.joined = row.joined
    if row.resource is None:
        for column in ("environment", "evaluation", "session", "user"):
            if getattr(made, column) is None:
                setattr(made, column, getattr(row, column))
    return made


def _from_otlp(sent: Any) -> Span:
    start, end = sent.start_time_unix_nano, sent.end_time_unix_nano
    if start > _LATEST or end > _LATEST:
        start, end = min(start, _LATEST), min(end, _LATEST)
    return Span(
        sent.trace_id.hex(), sent.span_id.hex(), sent.name, start, end if end > start else start,
        sent.parent_span_id.hex() or None, _STATUS.get(sent.status.code, "unset"), sent.status.message, attributes_of(sent.attributes),
        [SpanEvent(e.name, min(e.time_unix_nano, _LATEST), attributes_of(e.attributes)) for e in sent.events] if sent.events else [],
        links=[SpanLink(n.trace_id.hex(), n.span_id.hex(), attributes_of(n.attributes)) for n in sent.links] if sent.links else [],
    )  # fmt: skip


def _row(
    source: Source, span: Span, digest: str | None, prices: Prices | None, *, begun: bool = False, severity: int | None = None
) -> SpanRow:  # fmt: skip
    attributes, events, known = span.attributes, span.events, tables()
    if PENDING in attributes and span.parent is not None and not begun:
        source, span = _begun(source, span)
    told = known.read({**source.told, **attributes} if source.told else attributes) if severity is None else _said(source, span, known)
    if events:
        _hear(told, events, known)
    if "kind" not in told:
        told["kind"] = "tool" if "tool" in told else "model" if "model" in told and "tokens_out" in told else "span"
    if told["kind"] == "tool" and "tool" not in told:
        told["tool"] = span.name
    if (version := told.pop("prompt_version", None)) is not None and "prompt" in told:
        told["prompt"] += f"@{version}"
    for column in ("session", "user"):
        if known.nothing and column in told and told[column].startswith(known.nothing):
            del told[column]
    if prices is not None and told["kind"] in PRICED:
        _price(told, span.start_ns, prices)
    versions = attributes.get(names.VERSIONS)
    for column in ("input_from", "output_from"):
        if (name := told.get(column)) is not None and attributes.pop(name, None) is None:
            told[column] = None  # a resource told it, or it gave both
    rest, happened = _json(attributes).decode(), _json(events).decode() if events else "[]"
    links = _json(span.links).decode() if span.links else "[]"
    return SpanRow(
        project=source.project,
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent=span.parent,
        name=span.name,
        start_ns=span.start_ns,
        end_ns=max(span.end_ns, span.start_ns),
        receipt_ns=source.receipt_ns,
        status=span.status,
        status_message=span.status_message,
        service=source.service,
        digest=digest or _content(source, span, told, rest, happened, links),
        versions=[str(v) for v in versions] if isinstance(versions, list) else [],
        attributes=rest,
        events=happened,
        links=links,
        resource=source.resource,
        severity=severity,
        **told,
    )


def _said(source: Source, span: Span, known: Tables) -> dict[str, Any]:
    """What a log record tells. An event of a coding agent says it in words of its own."""
    agent, attributes = agents().of(span.name), span.attributes
    if agent and names.KIND not in attributes and (step := agent.step(span.name, attributes)):
        return known.read(source.told) | agent.columns(step, attributes)
    told = known.read({**source.told, **attributes})
    return told | agent.who(attributes) if agent else told


def _begun(source: Source, span: Span) -> tuple[Source, Span]:
    """Logfire tells of a long step when it begins too, under another id and as a child of itself: an earlier revision of that step."""
    above = str(span.attributes[PENDING])
    parent = above if SPAN_ID.fullmatch(above) and above.strip("0") else None  # a word of whoever sends
    return source._replace(receipt_ns=source.receipt_ns - 1), msgspec.structs.replace(span, span_id=span.parent, parent=parent)


def _content(source: Source, span: Span, told: Mapping[str, Any], rest: str, happened: str, links: str) -> str:
    """The digest of what a span says, its ids aside."""
    said = (
        f"{span.name}\0{span.parent}\0{span.start_ns}\0{span.end_ns}\0{span.status}\0{span.status_message}\0{source.service}\0"
        f"{told.get('input')}\0{told.get('output')}\0{rest}\0{happened}\0{links}"
    )
    return _digest(said.encode())


def _hear(told: dict[str, Any], events: Sequence[SpanEvent], known: Tables) -> None:
    """What events tell that attributes did not: contents, as older conventions send them."""
    messages: dict[str, list[Any]] = {}
    for event in events:
        if event.name in known.events_read:
            for column, value in known.read(event.attributes).items():
                told.setdefault(column, value)
        elif (agent := agents().of(event.name)) is not None:
            if (answer := agent.answer(event.name, event.attributes)) is not None:
                messages.setdefault("output", []).append({"role": "assistant", "content": answer})
        elif (of := known.message(event.name)) is not None:
            messages.setdefault(of[0], []).append({"role": of[1], **_message(event.attributes)})
    for column, said in messages.items():
        told.setdefault(column, _json(said).decode())


def _message(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What an event says as a message; a choice of a model has it inside."""
    told = _unquoted(attributes)
    inside = told.pop("message", None)
    return {**told, **inside} if isinstance(inside, dict) else told if inside is None else {**told, "message": inside}


def _unquoted(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """A message's attributes; those that are JSON text as what they say."""
    return {k: json_said(v) if isinstance(v, str) and v[:1] in ("{", "[") else v for k, v in attributes.items()}


def _price(told: dict[str, Any], at_ns: int, prices: Prices) -> None:
    """The cost of a call: by the user's own price, else as it was told, else by the table."""
    get = told.get
    model, provider = get("model"), get("provider") or ""
    if model is None or ("cost" in told and not prices.own(provider, model)):
        return
    usage = Usage(get("tokens_in"), get("tokens_out"), get("tokens_cached"), get("tokens_written"), get("tokens_reasoning"))
    if (cost := prices.price(provider, model, usage, at_ns)) is not None:
        told["cost"] = cost


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
