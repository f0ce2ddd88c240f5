"""What is left of a request that cannot be read as a whole: every span, log record or metric that can be read by itself.

One text that is not UTF-8, or one word where a number belongs, makes a whole request unreadable to a parser. An item that cannot be
read gives way to an empty one, so that places stay as they were sent, and `Unreadable` says which.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError

# place of an item (resource, scope, item) → how many spans, records or points it was
Unreadable = dict[tuple[int, int, int], int]
LARGEST = 4_000_000  # bytes of a request that is looked through so: field by field is slow
PATH = (1, 2, 2)  # field numbers that lead to spans, log records and metrics alike
DATA, POINTS = frozenset({5, 7, 9, 10, 11}), 1  # of a metric
CANNOT = (json_format.ParseError, DecodeError, AttributeError, TypeError, ValueError, KeyError, OverflowError, RecursionError)


def of_protobuf(body: bytes, item: Any, metrics: bool) -> tuple[bytes, Unreadable]:
    """The body with empty ones for items that do not parse. Raises `ValueError` where the frame around them is broken."""
    found: Unreadable = {}
    if len(body) > LARGEST:
        raise ValueError("too large to be looked through")
    return _sound(body, item, metrics, (), found), found


def _sound(data: bytes, item: Any, metrics: bool, at: tuple[int, ...], found: Unreadable) -> bytes:
    made, index = [], 0
    for number, start, value, end in _fields(data):
        if number != PATH[len(at)] or value < 0:
            made.append(data[start:end])
            continue
        here, inner = (*at, index), data[value:end]
        index += 1
        if len(here) == len(PATH):
            try:
                item.FromString(inner)
            except DecodeError:
                found[here[0], here[1], here[2]] = max(1, _points(inner)) if metrics else 1
                inner = b""
        else:
            inner = _sound(inner, item, metrics, here, found)
        made.append(bytes([number << 3 | 2]) + varint(len(inner)) + inner)
    return b"".join(made)


def _points(metric: bytes) -> int:
    """How many points a metric has that cannot be read as one."""
    count = 0
    try:
        for number, _, value, end in _fields(metric):
            if number in DATA and value >= 0:
                count += sum(n == POINTS for n, *_ in _fields(metric[value:end]))
    except ValueError:
        pass
    return count


def _fields(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Number, start, start of the value where it has a length (else -1), and end of each field. Raises `ValueError` where it is cut off."""
    at = 0
    while at < len(data):
        start = at
        tag, at = _varint(data, at)
        number, wire, value = tag >> 3, tag & 7, -1
        if wire == 0:
            _, at = _varint(data, at)
        elif wire == 2:
            length, value = _varint(data, at)
            at = value + length
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError("no field of OTLP is of this kind")
        if at > len(data) or not number:
            raise ValueError("a field is cut off")
        yield number, start, value, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    found = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at += 1
        found |= (byte & 127) << shift
        if byte < 128:
            return found, at
        shift += 7
    raise ValueError("a number is cut off")


def varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def of_json(value: Any, names: tuple[str, str, str], item: Any, metrics: bool) -> Unreadable:
    """Put empty ones in the place of items that do not parse. Raises one of `CANNOT` where what is around them is not as it should be."""
    found: Unreadable = {}
    outer, inner, many = names
    for r, resource in enumerate(value.get(outer) or []):
        for s, scope in enumerate(resource.get(inner) or []):
            items = scope.get(many) or []
            for i, given in enumerate(items):
                try:
                    json_format.ParseDict(given, item(), ignore_unknown_fields=True)
                except CANNOT:
                    found[r, s, i] = max(1, _json_points(given)) if metrics else 1
                    items[i] = {}
    return found


def _json_points(metric: Any) -> int:
    data = [d for d in metric.values() if isinstance(d, dict)] if isinstance(metric, dict) else []
    return sum(len(points) for d in data if isinstance(points := d.get("dataPoints"), list))
