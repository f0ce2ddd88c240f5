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
_NOTHING: Mapping[str, Any] = {}
_STATUS: dict[int, Status] = {0: "unset", 1: "ok", 2: "error"}
_LATEST = 2**63 - 1
_unpack = msgspec.msgpack.Decoder(list[Span]).decode
_pack = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode


def rows(kind: int, project: str, receipt_ns: int, data: bytes, prices: Prices | None = None) -> Iterator[SpanRow]:
    """The rows of one journal record. Without prices only a cost that was told is known."""
    if kind == SPANS:
        for span in _unpack(data):
            yield _ours(span, project, receipt_ns, prices)
        return
    for resource in ExportTraceServiceRequest.FromString(data).resource_spans:
        shared = _attributes(resource.resource.attributes)
        service = str(shared.get("service.name", ""))
        told = {name: shared[name] for name in OF_THE_RESOURCE if name in shared}
        for scope in resource.scope_spans:
            for sent in scope.spans:
                yield _theirs(sent, project, receipt_ns, service, told, prices)


def _ours(span: Span, project: str, receipt_ns: int, prices: Prices | None) -> SpanRow:
    return SpanRow(
        project, span.trace_id, span.span_id, span.parent, span.name, start_ns=span.start_ns, end_ns=max(span.end_ns, span.start_ns),
        receipt_ns=receipt_ns, status=span.status, status_message=span.status_message, service=span.service, digest=_digest(_pack(span)),
        **_told(span.attributes, span.events, span.start_ns, prices),
    )  # fmt: skip


def _theirs(
    sent: Any, project: str, receipt_ns: int, service: str, shared: dict[str, Any], prices: Prices | None
) -> SpanRow:  # fmt: skip
    start, attributes = min(sent.start_time_unix_nano, _LATEST), _attributes(sent.attributes)
    events = [SpanEvent(e.name, min(e.time_unix_nano, _LATEST), _attributes(e.attributes)) for e in sent.events] if sent.events else []
    told = _told(attributes, events, start, prices, shared)
    end, name, status, message = sent.end_time_unix_nano, sent.name, sent.status.code, sent.status.message
    parent = sent.parent_span_id.hex() or None
    said = f"{name}\0{parent}\0{start}\0{end}\0{status}\0{message}\0{service}\0{told['events']}\0{told['attributes']}"
    return SpanRow(
        project, sent.trace_id.hex(), sent.span_id.hex(), parent, name, start_ns=start, end_ns=min(max(end, start), _LATEST),
        receipt_ns=receipt_ns, status=_STATUS.get(status, "unset"), status_message=message, service=service,
        digest=_digest(said.encode()), **told,
    )  # fmt: skip


def _told(
    attributes: dict[str, Any], events: Sequence[SpanEvent], start_ns: int, prices: Prices | None, shared: Mapping[str, Any] = _NOTHING
) -> dict[str, Any]:
    """What a row's columns say that attributes and events tell."""
    known = tables()
    told = known.read({**shared, **attributes} if shared else attributes)
    if events:
        _hear(told, events, known)
    if "kind" not in told:
        told["kind"] = "tool" if "tool" in told else "model" if "model" in told and "tokens_out" in told else "span"
    if "prompt_version" in told:
        told["prompt"] = f"{told.get('prompt', '')}@{told.pop('prompt_version')}"
    if prices is not None and told["kind"] in PRICED:
        _price(told, start_ns, prices)
    versions = attributes.get(names.VERSIONS)
    if isinstance(versions, list):
        told["versions"] = [str(v) for v in versions]
    told["attributes"] = _json(attributes).decode()
    told["events"] = _json(events).decode() if events else "[]"
    return told


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
    model, provider, get = told.get("model"), told.get("provider") or "", told.get
    if model is None or ("cost" in told and not prices.own(provider, model)):
        return
    usage = Usage(get("tokens_in"), get("tokens_out"), get("tokens_cached"), get("tokens_written"), get("tokens_reasoning"))
    if (cost := prices.price(provider, model, usage, at_ns)) is not None:
        told["cost"] = cost


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _attributes(pairs: Any) -> dict[str, Any]:
    return {p.key: (v := p.value).string_value or v.int_value or _rare(v) for p in pairs}


def _value(value: Any) -> Any:
    """OTLP's AnyValue as JSON; bytes as hex."""
    return value.string_value or value.int_value or _rare(value)


def _rare(value: Any) -> Any:
    """Neither text nor a whole number other than 0; or empty text, or 0."""
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
