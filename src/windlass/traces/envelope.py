"""What one journal record holds: a format byte, the project, and spans, log records or points of metrics, or what was refused.

1 · length of project u16 · project · OTLP's ExportTraceServiceRequest as it came, less spans that were refused
2 · length of project u16 · project · MessagePack list of our own `Span`s: a hundredth of OTLP's work where every call is traced
3 · length of project u16 · project · another of these · length of data u32 · its data, less what was erased · length u16 · MessagePack
    map of source → how many items were erased, where there is room for it · zeros, to its old length
4 · length of project u16 · project · OTLP's ExportLogsServiceRequest, as 1
5 · length of project u16 · project · OTLP's ExportMetricsServiceRequest, as 1
6 · length of project u16 · project · MessagePack list of `Refusal`s
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from windlass.core.errors import Invalid

OTLP, SPANS, ERASED, LOGS, METRICS, REFUSED = 1, 2, 3, 4, 5, 6
SIGNALS = {OTLP: "traces", SPANS: "traces", LOGS: "logs", METRICS: "metrics"}
_KNOWN = frozenset({OTLP, SPANS, ERASED, LOGS, METRICS, REFUSED})
_HEAD = struct.Struct("<BH")
_INNER = struct.Struct("<BI")
_NOTE = struct.Struct("<H")


class Refusal(NamedTuple):
    """So many items more, or requests, that were refused in an hour (since 1970). `what` is `refused:REASON` or `turned_away:CODE`."""

    hour: int
    source: str
    signal: str
    what: str
    items: int


_refusals = msgspec.msgpack.Decoder(list[Refusal])
_gone = msgspec.msgpack.Decoder(dict[str, int])
_pack = msgspec.msgpack.Encoder().encode


def seal(project: str, otlp: bytes, kind: int = OTLP) -> bytes:
    """What came by OTLP: `OTLP` for spans, `LOGS` or `METRICS`."""
    return _seal(kind, project, otlp)


def seal_spans(project: str, spans: Sequence[bytes]) -> bytes:
    """Spans that are MessagePack maps already."""
    return _seal(SPANS, project, b"\xdd" + struct.pack(">I", len(spans)) + b"".join(spans))


def seal_refusals(project: str, refusals: Sequence[Refusal]) -> bytes:
    return _seal(REFUSED, project, _pack(refusals))


def refusals_of(data: bytes) -> list[Refusal]:
    return _refusals.decode(data)


def seal_rest(project: str, kind: int, data: bytes, length: int, gone: Mapping[str, int]) -> bytes:
    """What is left of a record of this length after something of it was erased, by source: as long as it was. Raises `ValueError` where
    it is no shorter than before."""
    made = _seal(ERASED, project, _INNER.pack(kind, len(data)) + data)
    if len(made) > length:
        raise ValueError("what is left of a record is longer than the record")
    note = _pack(gone) if gone else b""
    if len(made) + _NOTE.size + len(note) <= length and len(note) < 1 << 16:
        made += _NOTE.pack(len(note)) + note
    return made.ljust(length, b"\0")


def erased_from(payload: bytes) -> dict[str, int]:
    """How many items were erased from a record, by source; nothing where the record does not say. Raises as `unseal`."""
    if payload[:1] != bytes([ERASED]):
        return {}
    _, length = _HEAD.unpack_from(payload)
    at = _HEAD.size + length
    at += _INNER.size + _INNER.unpack_from(payload, at)[1]
    size = _NOTE.unpack_from(payload, at)[0] if len(payload) >= at + _NOTE.size else 0
    return _gone.decode(payload[at + _NOTE.size : at + _NOTE.size + size]) if size else {}


def unseal(payload: bytes) -> tuple[int, str, bytes]:
    """Format, project and data. Raises `Invalid` for a format this version does not know."""
    if len(payload) < _HEAD.size or payload[0] not in _KNOWN:
        raise Invalid(f"a journal record has the unknown format {payload[:1].hex() or 'empty'}", remedy="upgrade Windlass")
    kind, length = _HEAD.unpack_from(payload)
    end = _HEAD.size + length
    name, data = payload[_HEAD.size : end].decode(), payload[end:]
    if kind == ERASED:
        kind, size = _INNER.unpack_from(data)
        data = data[_INNER.size : _INNER.size + size]
    return kind, name, data


def _seal(kind: int, project: str, data: bytes) -> bytes:
    name = project.encode()
    return _HEAD.pack(kind, len(name)) + name + data
