"""What one journal record holds: a format byte, the project, and spans, log records or points of metrics.

1 · length of project u16 · project · OTLP's ExportTraceServiceRequest as it came, less spans that were refused
2 · length of project u16 · project · MessagePack list of our own `Span`s: a hundredth of OTLP's work where every call is traced
3 · length of project u16 · project · another of these · length of data u32 · its data, less what was erased · zeros, to its old length
4 · length of project u16 · project · OTLP's ExportLogsServiceRequest, as 1
5 · length of project u16 · project · OTLP's ExportMetricsServiceRequest, as 1
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from windlass.core.errors import Invalid

OTLP, SPANS, ERASED, LOGS, METRICS = 1, 2, 3, 4, 5
_KNOWN = frozenset({OTLP, SPANS, ERASED, LOGS, METRICS})
_HEAD = struct.Struct("<BH")
_INNER = struct.Struct("<BI")


def seal(project: str, otlp: bytes, kind: int = OTLP) -> bytes:
    """What came by OTLP: `OTLP` for spans, `LOGS` or `METRICS`."""
    return _seal(kind, project, otlp)


def seal_spans(project: str, spans: Sequence[bytes]) -> bytes:
    """Spans that are MessagePack maps already."""
    return _seal(SPANS, project, b"\xdd" + struct.pack(">I", len(spans)) + b"".join(spans))


def seal_rest(project: str, kind: int, data: bytes, length: int) -> bytes:
    """What is left of a record of this length after something of it was erased: as long as it was. Raises `ValueError` where it is no
    shorter than before."""
    made = _seal(ERASED, project, _INNER.pack(kind, len(data)) + data)
    if len(made) > length:
        raise ValueError("what is left of a record is longer than the record")
    return made.ljust(length, b"\0")


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
