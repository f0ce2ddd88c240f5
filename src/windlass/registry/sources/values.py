"""Values of other systems as JSON, always the same way, so that the same data has the same digest. `docs/pins.md` has the table.

What JSON cannot hold exactly becomes text: decimals, whole numbers beyond 2^53, NaN and the infinities.
"""

from __future__ import annotations

import base64
import datetime as dt
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from windlass.core.pin import Column

EXACT = 2**53
_NAMES = {str: "text", bool: "boolean", int: "number", float: "number", list: "list", dict: "object"}


def plain(value: Any) -> Any:
    """A value of Python as a JSON value."""
    kind = type(value)
    if value is None or kind is str or kind is bool:
        return value
    if kind is int:
        return value if -EXACT < value < EXACT else str(value)
    if kind is float:
        return value if math.isfinite(value) else "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    return _time(value)


def _time(value: Any) -> str:
    """Times with a zone in UTC and RFC 3339; those without stay without, since nobody knows which it was."""
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return _duration(days=value.days, seconds=value.seconds, microseconds=value.microseconds)
    if type(value).__name__ == "relativedelta":  # an interval of BigQuery
        return _duration(
            **{unit: getattr(value, unit) for unit in ("years", "months", "days", "hours", "minutes", "seconds", "microseconds")}
        )
    return str(value)


def _duration(
    *, years: int = 0, months: int = 0, days: int = 0, hours: int = 0, minutes: int = 0, seconds: int = 0, microseconds: int = 0
) -> str:
    """`P1Y2M3DT4H5M6.5S` of ISO 8601, without what is 0; `PT0S` for nothing at all."""
    date = "".join(f"{amount}{unit}" for amount, unit in ((years, "Y"), (months, "M"), (days, "D")) if amount)
    whole = format(Decimal(seconds) + Decimal(microseconds).scaleb(-6), "f")
    whole = whole.rstrip("0").rstrip(".") if "." in whole else whole
    time = "".join(f"{amount}{unit}" for amount, unit in ((hours, "H"), (minutes, "M")) if amount)
    time += f"{whole}S" if seconds or microseconds else ""
    return f"P{date}T{time}" if time else f"P{date}" if date else "PT0S"


class Seen:
    """The schema of rows that come without one: the types that each field was seen with."""

    def __init__(self) -> None:
        self._types: dict[str, dict[str, None]] = {}
        self._counts: dict[str, int] = {}
        self._rows = 0

    def row(self, row: Mapping[str, Any]) -> None:
        self._rows += 1
        for name, value in row.items():
            types = self._types.setdefault(name, {})
            if value is not None:
                types[_NAMES[type(value)]] = None
                self._counts[name] = self._counts.get(name, 0) + 1

    def columns(self) -> tuple[Column, ...]:
        """Each field with all its types; nullable where a row lacks it or has null."""
        return tuple(
            Column(name, " or ".join(sorted(types)) or "null", self._counts.get(name, 0) < self._rows)
            for name, types in self._types.items()
        )
