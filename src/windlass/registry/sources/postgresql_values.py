"""How a connection gives values of PostgreSQL: as JSON values, from the text that PostgreSQL itself writes. Needs psycopg."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
from psycopg import Connection
from psycopg.adapt import Loader

from windlass.registry.sources.values import plain

Data = bytes | bytearray | memoryview

# what text is for: exact decimals, and what has no form of its own in JSON; types that psycopg does not know come as text anyway
AS_TEXT = (
    "record", "numeric", "date", "time", "timetz", "interval", "uuid", "inet", "cidr", "int4range", "int8range", "numrange", "daterange",
    "tsrange", "tstzrange", "int4multirange", "int8multirange", "nummultirange", "datemultirange", "tsmultirange", "tstzmultirange",
)  # fmt: skip

# the same text for the same value, whatever the database, role or server prefers
SETTINGS = (
    "SET LOCAL TimeZone = 'UTC'", "SET LOCAL DateStyle = 'ISO, MDY'", "SET LOCAL IntervalStyle = 'iso_8601'",
    "SET LOCAL extra_float_digits = 1", "SET LOCAL bytea_output = 'hex'", "SET LOCAL lc_monetary = 'C'",
)  # fmt: skip


class _Text(Loader):
    def load(self, data: Data) -> Any:
        return bytes(data).decode()


class _Timestamp(Loader):
    """`2026-01-02 03:04:05+00` → `2026-01-02T03:04:05Z`; `infinity` and years before Christ stay as they are written."""

    def load(self, data: Data) -> Any:
        text = bytes(data).decode()
        if text.endswith("+00"):
            text = text[:-3] + "Z"
        return text.replace(" ", "T", 1) if text[:1].isdigit() and not text.endswith("BC") else text


class _Whole(Loader):
    def load(self, data: Data) -> Any:
        return plain(int(bytes(data)))


class _Float(Loader):
    def load(self, data: Data) -> Any:
        return plain(float(bytes(data)))


class _Bytes(Loader):
    def load(self, data: Data) -> Any:
        return base64.b64encode(bytes.fromhex(bytes(data)[2:].decode())).decode()


class _Json(Loader):
    def load(self, data: Data) -> Any:
        try:
            return plain(msgspec.json.decode(bytes(data)))
        except msgspec.DecodeError:  # a number no machine can hold
            return bytes(data).decode()


def prepare(connection: Connection[Any]) -> None:
    """Have this connection give JSON values, in arrays too."""
    adapters = connection.adapters
    for name in AS_TEXT:
        adapters.register_loader(name, _Text)
    for name in ("timestamp", "timestamptz"):
        adapters.register_loader(name, _Timestamp)
    for name in ("json", "jsonb"):
        adapters.register_loader(name, _Json)
    for name in ("float4", "float8"):
        adapters.register_loader(name, _Float)
    adapters.register_loader("int8", _Whole)
    adapters.register_loader("bytea", _Bytes)
