"""From a span to a row. What attributes mean is said by `conventions/`; this reads OTLP and our own spans, events too, and prices them.

The raw attributes stay with the row, so that newer tables can read older spans again. A cost that was told is kept; one that was not is
worked out from tokens and prices; where either is unknown it stays unknown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from windlass.core import span as names
from windlass.core.message import Usage
from windlass.core.span import Span, SpanEvent, Status
from windlass.govern.prices import Prices
from windlass.store.spans import SpanRow
from windlass.traces.conventions.tables import Tables, tables
from windlass.traces.envelope import SPANS

OF_THE_RESOURCE = (names.ENVIRONMENT, names.EVALUATION, "deployment.environment.name", "deployment.environment", "session.id", "user.id")
PRICED = ("model", "embedding")
_STATUS: dict[int, Status] = {0: "unset", 1: "ok", 2: "error"}
_LATEST = 2**63 - 1
_unpack = msgspec.msgpack.Decoder(list[Span]).decode
_pack = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode


def rows(kind: int, project: str, receipt_ns: int, data: bytes, prices: Prices | None = None) -> Iterator[SpanRow]:
    """The rows of one journal record. Without prices only a cost that was told is known."""
    if kind == SPANS:
        for span in _unpack(data):
            yield _row(span, _digest(_pack(span)), project, receipt_ns, {}, prices)
        return
    for resource in ExportTraceServiceRequest.FromString(data).resource_spans:
        shared = _attributes(resource.resource.attributes)
        service = str(shared.get("service.name", ""))
        told = {name: shared[name] for name in OF_THE_RESOURCE if name in shared}
        for scope in resource.scope_spans:
            for sent in scope.spans:
                digest = _digest(sent.SerializeToString(deterministic=True))
                yield _row(_from_otlp(sent, service), digest, project, receipt_ns, told, prices)


def _from_otlp(sent: Any, service: str) -> Span:
    start = min(sent.start_time_unix_nano, _LATEST)
    return Span(
        trace_id=sent.trace_id.hex(),
        span_id=sent.span_id.hex(),
        name=sent.name,
        start_ns=start,
        end_ns=min(max(sent.end_time_unix_nano, start), _LATEST),
        parent=sent.parent_span_id.hex() or None,
        status=_STATUS.get(sent.status.code, "unset"),
        status_message=sent.status.message,
        attributes=_attributes(sent.attributes),
        events=[SpanEvent(e.name, min(e.time_unix_nano, _LATEST), _attributes(e.attributes)) for e in sent.events],
        service=service,
    )


def _row(span: Span, digest: str, project: str, receipt_ns: int, shared: dict[str, Any], prices: Prices | None) -> SpanRow:
    attributes, known = span.attributes, tables()
    told = known.read({**shared, **attributes} if shared else attributes)
    if span.events:
        _hear(told, span.events, known)
    versions = attributes.get(names.VERSIONS)
    if "kind" not in told:
        told["kind"] = "tool" if "tool" in told else "model" if "model" in told and "tokens_out" in told else "span"
    if "prompt_version" in told:
        told["prompt"] = f"{told.get('prompt', '')}@{told.pop('prompt_version')}"
    if prices is not None and told["kind"] in PRICED:
        _price(told, span.start_ns, prices)
    return SpanRow(
        project=project,
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent=span.parent,
        name=span.name,
        start_ns=span.start_ns,
        end_ns=max(span.end_ns, span.start_ns),
        receipt_ns=receipt_ns,
        status=span.status,
        status_message=span.status_message,
        service=span.service,
        digest=digest,
        versions=[str(v) for v in versions] if isinstance(versions, list) else [],
        attributes=_json(attributes).decode(),
        events=_json(span.events).decode() if span.events else "[]",
        **told,
    )


def _hear(told: dict[str, Any], events: Sequence[SpanEvent], known: Tables) -> None:
    """What events tell that attributes did not: contents, as older conventions send them."""
    messages: dict[str, list[Any]] = {}
    for event in events:
        if event.name in known.events_read:
            for column, value in known.read(event.attributes).items():
                told.setdefault(column, value)
        elif (of := known.message(event.name)) is not None:
            messages.setdefault(of[0], []).append({"role": of[1], **_unquoted(event.attributes)})
    for column, said in messages.items():
        told.setdefault(column, _json(said).decode())


def _unquoted(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """A message's attributes; those that are JSON text as what they say."""
    return {k: _decoded(v) if isinstance(v, str) and v[:1] in ("{", "[") else v for k, v in attributes.items()}


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _price(told: dict[str, Any], at_ns: int, prices: Prices) -> None:
    """The cost of a call: by the user's own price, else as it was told, else by the table."""
    model, provider = told.get("model"), told.get("provider") or ""
    if model is None or (told.get("cost") is not None and not prices.own(provider, model)):
        return
    counts = [told.get(c) for c in ("tokens_in", "tokens_out", "tokens_cached", "tokens_written", "tokens_reasoning")]
    if (cost := prices.price(provider, model, Usage(*counts), at_ns)) is not None:
        told["cost"] = cost


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _attributes(pairs: Any) -> dict[str, Any]:
    return {p.key: _value(p.value) for p in pairs}


def _value(value: Any) -> Any:
    """OTLP's AnyValue as JSON; bytes as hex."""
    return value.string_value or value.int_value or _rare(value)


def _rare(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(v) for v in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    if kind == "bytes_value":
        return value.bytes_value.hex()
    found = getattr(value, kind)
    return found if not isinstance(found, float) or (found == found and abs(found) != float("inf")) else str(found)
