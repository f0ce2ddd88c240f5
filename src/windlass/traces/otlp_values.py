"""OTLP's values as JSON's."""

from __future__ import annotations

from typing import Any


def attributes_of(pairs: Any) -> dict[str, Any]:
    """OTLP's list of KeyValue as an object. Of a key that comes twice the last counts."""
    return {p.key: (v := p.value).string_value or v.int_value or _rare(v) for p in pairs}


def value_of(value: Any) -> Any:
    """OTLP's AnyValue as JSON; bytes as hex, a number that is none as text."""
    return value.string_value or value.int_value or _rare(value)


def around_of(of: Any) -> list[tuple[dict[str, Any], Any]]:
    """What a ResourceSpans or ResourceLogs says of the process, with the name and version of the library, for each of its scopes."""
    process = attributes_of(of.resource.attributes)
    found = []
    for scope in of.scope_logs if hasattr(of, "scope_logs") else of.scope_spans:
        told = dict(process)
        if scope.scope.name:
            told["otel.scope.name"] = scope.scope.name
        if scope.scope.version:
            told["otel.scope.version"] = scope.scope.version
        found.append((told, scope))
    return found


def _rare(value: Any) -> Any:
    """Neither text nor a whole number other than 0; or empty text, or 0."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [value_of(v) for v in value.array_value.values]
    if kind == "kvlist_value":
        return attributes_of(value.kvlist_value.values)
    if kind == "bytes_value":
        return value.bytes_value.hex()
    found = getattr(value, kind)
    return found if not isinstance(found, float) or (found == found and abs(found) != float("inf")) else str(found)
