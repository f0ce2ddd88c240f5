"""Windows of limits: minutes, hours, days and months of the calendar in UTC, or for ever."""

from __future__ import annotations

import datetime

from windlass.core.operations.limits import Window

SECONDS = {"minute": 60, "hour": 3600, "day": 86_400}
FOREVER = 2**62  # the end of a window without one, in nanoseconds
_months: dict[int, tuple[int, int]] = {}  # days since 1970 → the month's beginning and end


def window_at(window: Window, at_ns: int) -> tuple[int, int]:
    """Beginning and end of the window that a time lies in, in UTC nanoseconds; the end is excluded."""
    if window == "ever":
        return 0, FOREVER
    if window == "month":
        return _month(at_ns // (86_400 * 10**9))
    length = SECONDS[window] * 10**9
    began = at_ns - at_ns % length
    return began, began + length


def _month(day: int) -> tuple[int, int]:
    if (found := _months.get(day)) is None:
        first = datetime.datetime.fromtimestamp(day * 86_400, datetime.UTC).replace(day=1)
        after = (first + datetime.timedelta(days=32)).replace(day=1)
        if len(_months) > 1000:
            _months.clear()
        found = _months[day] = int(first.timestamp()) * 10**9, int(after.timestamp()) * 10**9
    return found


def forecast(used: float, began_ns: int, ends_ns: int, now_ns: int) -> float | None:
    """What a window comes to if the rest of it goes as what is over of it; None before a twentieth is over, and where there is no end."""
    over = now_ns - began_ns
    if ends_ns >= FOREVER or over * 20 < ends_ns - began_ns:
        return None
    return used * (ends_ns - began_ns) / min(over, ends_ns - began_ns)
