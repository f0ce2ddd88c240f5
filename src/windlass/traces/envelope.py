"""What one journal record holds: a format byte, the project, and spans.

1 · length of project u16 · project · OTLP's ExportTraceServiceRequest as it came, less spans that were refused
2 · length of project u16 · project · MessagePack list of our own `Span`s: a hundredth of OTLP's work where every call is traced
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from windlass.core.errors import Invalid

OTLP, SPANS = 1, 2
_HEAD = struct.Struct("<BH")


def seal(project: str, otlp: bytes) -> bytes:
    return _seal(OTLP, project, otlp)


def seal_spans(project: str, spans: Sequence[bytes]) -> bytes:
    """Spans that are MessagePack maps already."""
    return _seal(SPANS, project, b"\xdd" + struct.pack(">I", len(spans)) + b"".join(spans))


def unseal(payload: bytes) -> tuple[int, str, bytes]:
    """Format, project and spans. Raises `Invalid` for a format this version does not know."""
    if len(payload) < _HEAD.size or payload[0] not in (OTLP, SPANS):
        raise Invalid(f"a journal record has the unknown format {payload[:1].hex() or 'empty'}", remedy="upgrade Windlass")
    kind, length = _HEAD.unpack_from(payload)
    end = _HEAD.size + length
    return kind, payload[_HEAD.size : end].decode(), payload[end:]


def _seal(kind: int, project: str, data: bytes) -> bytes:
    name = project.encode()
    return _HEAD.pack(kind, len(name)) + name + data
