"""Writes ONNX models: as much of the format as an encoder needs, so that no library for it has to be installed.

The same graph always gives the same bytes, on any machine and with any version of anything: a model can be pinned by its digest.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

IR_VERSION = 8
OPSET = 17
FLOAT = 1  # TensorProto.DataType, for `Cast`

_REAL, _INT, _INTS = 1, 2, 7  # AttributeProto.AttributeType
_TYPES = {"float32": FLOAT, "uint8": 2, "int8": 3, "int32": 6, "int64": 7}  # TensorProto.DataType
_RAW, _LENGTH, _FIXED32 = 0, 2, 5  # how protobuf packs a field


class Graph:
    """Nodes in the order they are added, and the tensors they use. Values are named by strings."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[bytes] = []
        self._tensors: list[bytes] = []
        self._count = 0

    def tensor(self, array: np.ndarray[Any, Any], name: str) -> str:
        """A constant of the model."""
        flat = np.ascontiguousarray(array)
        little = flat.astype(flat.dtype.newbyteorder("<"), copy=False)
        dims = b"".join(_number(1, d) for d in array.shape)
        self._tensors.append(_part(5, dims + _number(2, _TYPES[array.dtype.name]) + _text(8, name) + _part(9, little.tobytes())))
        return name

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: int | float | Sequence[int]) -> list[str]:
        """An operator of the standard set; the names of what it gives."""
        made = [f"v{self._count + i}" for i in range(outputs)]
        self._count += outputs
        body = b"".join(_text(1, i) for i in inputs) + b"".join(_text(2, o) for o in made) + _text(4, kind)
        self._nodes.append(_part(1, body + b"".join(_part(5, _attribute(n, v)) for n, v in attributes.items())))
        return made

    def op(self, kind: str, *inputs: str, **attributes: int | float | Sequence[int]) -> str:
        """`node` for the operators that give one value."""
        return self.node(kind, *inputs, **attributes)[0]  # type: ignore[arg-type]

    def model(self, given: tuple[str, str, Sequence[int | str]], result: tuple[str, str, Sequence[int | str]]) -> bytes:
        """The model as a file's bytes. `given` and `result` are (value, type, shape); a length that varies has a name."""
        last = _part(1, _text(1, result[0]) + _text(2, "result") + _text(4, "Identity"))
        graph = b"".join(self._nodes) + last + _text(2, self._name) + b"".join(self._tensors)
        graph += _part(11, _value(*given)) + _part(12, _value("result", result[1], result[2]))
        return _number(1, IR_VERSION) + _text(2, "windlass") + _part(7, graph) + _part(8, _text(1, "") + _number(2, OPSET))


def _attribute(name: str, value: int | float | Sequence[int]) -> bytes:
    head = _text(1, name)
    if isinstance(value, float):
        return head + _tag(2, _FIXED32) + struct.pack("<f", value) + _number(20, _REAL)
    if isinstance(value, int):
        return head + _number(3, value) + _number(20, _INT)
    return head + b"".join(_number(8, v) for v in value) + _number(20, _INTS)


def _value(name: str, kind: str, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(_part(1, _number(1, d) if isinstance(d, int) else _text(2, d)) for d in shape)
    return _text(1, name) + _part(2, _part(1, _number(1, _TYPES[kind]) + _part(2, dims)))


def _tag(field: int, how: int) -> bytes:
    return _varint(field << 3 | how)


def _number(field: int, value: int) -> bytes:
    return _tag(field, _RAW) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _part(field, value.encode())


def _part(field: int, body: bytes) -> bytes:
    return _tag(field, _LENGTH) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    value &= 0xFFFF_FFFF_FFFF_FFFF  # negative numbers are written as 64 bits
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
