"""Spans without what is to be masked: our own, and OTLP's as they come. Looks into names, values, keys, events, links and messages."""

from __future__ import annotations

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
    """Mask an ExportTraceServiceRequest in place. Returns whether anything was found."""
    found = False
    for resource in request.resource_spans:
        found |= _pairs(resource.resource.attributes, masker)
        for scope in resource.scope_spans:
            found |= _pairs(scope.scope.attributes, masker)
            for span in scope.spans:
                found |= _otlp_span(span, masker)
    return found


def _otlp_span(span: Any, masker: Masker) -> bool:
    found = _field(span, "name", masker) | _field(span, "trace_state", masker) | _pairs(span.attributes, masker)
    found |= _field(span.status, "message", masker)
    for event in span.events:
        found |= _field(event, "name", masker) | _pairs(event.attributes, masker)
    for link in span.links:
        found |= _field(link, "trace_state", masker) | _pairs(link.attributes, masker)
    return found


def _field(message: Any, field: str, masker: Masker) -> bool:
    text = getattr(message, field)
    masked = masker.text(text)
    if masked is not text and masked != text:
        setattr(message, field, masked)
        return True
    return False


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
