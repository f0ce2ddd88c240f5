"""What one journal record holds: a format byte, the project, and OTLP protobuf bytes as they came (less spans that were refused).

1 · length of project u16 · project · ExportTraceServiceRequest
"""

from __future__ import annotations

import struct

from windlass.core.errors import Invalid

FORMAT = 1
_HEAD = struct.Struct("<BH")


def seal(project: str, otlp: bytes) -> bytes:
    name = project.encode()
    return _HEAD.pack(FORMAT, len(name)) + name + otlp


def unseal(payload: bytes) -> tuple[str, bytes]:
    """Project and OTLP bytes. Raises `Invalid` for a format this version does not know."""
    if len(payload) < _HEAD.size or payload[0] != FORMAT:
        raise Invalid(f"a journal record has the unknown format {payload[:1].hex() or 'empty'}", remedy="upgrade Windlass")
    _, length = _HEAD.unpack_from(payload)
    end = _HEAD.size + length
    return payload[_HEAD.size : end].decode(), payload[end:]
