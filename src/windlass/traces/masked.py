"""Spans, log records and metrics without what is to be masked: our own, and OTLP's as they come. Looks into names, values, keys, bodies,
events, links, exemplars and messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from windlass.core import span as names
from windlass.core.span import Span
from windlass.govern.masking import Masker

# what Windlass itself writes there: refs, ids and words of its own
OURS = frozenset({names.KIND, names.PROJECT, names.RELEASE, names.VERSIONS, names.EVALUATION, names.ENVIRONMENT, names.ACTOR})


def masked_span(span: Span, masker: Masker) -> Span:
    """The span, or the same one where nothing was found."""
    attributes = _attributes(span.attributes, masker)
    events = [msgspec.structs.replace(e, name=masker.text(e.name), attributes=_attributes(e.attributes, masker)) for e in span.events]
    name, message = masker.key(span.name), masker.text(span.status_message)
    service = masker.key(span.service)
    same = attributes is span.attributes and all(
        a.name == b.name and a.attributes is b.attributes for a, b in zip(events, span.events, strict=True)
    )
    if same and (name, message, service) == (span.name, span.status_message, span.service):
        return span
    return msgspec.structs.replace(span, name=name, status_message=message, attributes=attributes, events=events, service=service)


def _attributes(attributes: dict[str, Any], masker: Masker) -> dict[str, Any]:
    made = {masker.key(k): v if k in OURS else masker.value(v) for k, v in attributes.items()}
    same = len(made) == len(attributes) and all(k in attributes and attributes[k] is v for k, v in made.items())
    return attributes if same else made


def mask_otlp(request: Any, masker: Masker) -> bool:
    """Mask a request for the export of traces, logs or metrics in place. Returns whether anything was found."""
    outer, inner, many, mask = _SHAPES[type(request).__name__]
    found = False
    for resource in getattr(request, outer):
        found |= _field(resource, "schema_url", masker) | _pairs(resource.resource.attributes, masker)
        for reference in resource.resource.entity_refs:
            found |= _field(reference, "type", masker) | _field(reference, "schema_url", masker)
            found |= _keys(reference.id_keys, masker) | _keys(reference.description_keys, masker)
        for scope in getattr(resource, inner):
            found |= _field(scope, "schema_url", masker) | _field(scope.scope, "name", masker) | _field(scope.scope, "version", masker)
            found |= _pairs(scope.scope.attributes, masker)
            for item in getattr(scope, many):  # most hold nothing, and each is looked through faster packed than text by text
                if (of_this := masker.narrowed(item.SerializeToString())) is not None:
                    found |= mask(item, of_this)
    size = request.ByteSize()
    request.DiscardUnknownFields()  # of a newer OTLP, that nobody here can look into
    return found or request.ByteSize() != size


def _otlp_span(span: Any, masker: Masker) -> bool:
    found = _field(span, "name", masker) | _field(span, "trace_state", masker) | _pairs(span.attributes, masker)
    found |= _field(span.status, "message", masker)
    for event in span.events:
        found |= _field(event, "name", masker) | _pairs(event.attributes, masker)
    for link in span.links:
        found |= _field(link, "trace_state", masker) | _pairs(link.attributes, masker)
    return found


def _log(record: Any, masker: Masker) -> bool:
    found = _field(record, "severity_text", masker) | _field(record, "event_name", masker) | _pairs(record.attributes, masker)
    return found | _any(record.body, masker)


def _metric(metric: Any, masker: Masker) -> bool:
    """All but what was measured, which is a number."""
    found = _field(metric, "name", masker) | _field(metric, "description", masker) | _field(metric, "unit", masker)
    found |= _pairs(metric.metadata, masker)
    if (kind := metric.WhichOneof("data")) is None:
        return found
    for point in getattr(metric, kind).data_points:
        found |= _pairs(point.attributes, masker)
        for exemplar in () if kind == "summary" else point.exemplars:
            found |= _pairs(exemplar.filtered_attributes, masker)
    return found


# request → what holds what in it, and who masks one of them
_SHAPES: dict[str, tuple[str, str, str, Callable[[Any, Masker], bool]]] = {
    "ExportTraceServiceRequest": ("resource_spans", "scope_spans", "spans", _otlp_span),
    "ExportLogsServiceRequest": ("resource_logs", "scope_logs", "log_records", _log),
    "ExportMetricsServiceRequest": ("resource_metrics", "scope_metrics", "metrics", _metric),
}


def _field(message: Any, field: str, masker: Masker) -> bool:
    text = getattr(message, field)
    masked = masker.text(text)
    if masked is not text and masked != text:
        setattr(message, field, masked)
        return True
    return False


def _keys(keys: Any, masker: Masker) -> bool:
    masked = [masker.key(k) for k in keys]
    found = masked != list(keys)
    if found:
        keys[:] = masked
    return found


def _pairs(pairs: Any, masker: Masker) -> bool:
    found = False
    for pair in pairs:
        key = masker.key(pair.key)
        if key != pair.key:
            pair.key, found = key, True
        if pair.key not in OURS:
            found |= _any(pair.value, masker)
    return found


def _any(value: Any, masker: Masker) -> bool:
    """Mask an AnyValue in place."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return _field(value, "string_value", masker)
    if kind == "array_value":
        return True in [_any(v, masker) for v in value.array_value.values]
    if kind == "kvlist_value":
        return _pairs(value.kvlist_value.values, masker)
    if kind in ("int_value", "double_value", "bytes_value"):
        given = getattr(value, kind)
        masked = masker.value(given)
        if masked is not given and masked != given:
            setattr(value, "bytes_value" if isinstance(masked, bytes) else "string_value", masked)
            return True
    return False
