"""Charts of figures over time: where each bar, line and point lies in its picture, and the same as a table. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

LEFT, RIGHT, TOP, BOTTOM = 52.0, 514.0, 12.0, 150.0
SHADES = ("c0", "c1", "c2", "c3", "c4")  # of lines; what there are more of is drawn as the rest
REST = "rest"


class Bar(msgspec.Struct, frozen=True):
    shade: str
    x: float
    y: float
    width: float
    height: float


class Point(msgspec.Struct, frozen=True):
    """`url` leads to the list of its traces; empty where there is none."""

    x: float
    y: float
    text: str
    url: str


class Curve(msgspec.Struct, frozen=True):
    """A line in pieces, since there is none over a time without a value."""

    name: str
    shade: str
    pieces: tuple[str, ...]
    points: tuple[Point, ...]


class Column(msgspec.Struct, frozen=True):
    """All of a bucket, from the top to the bottom."""

    x: float
    width: float
    text: str
    url: str


class Row(msgspec.Struct, frozen=True):
    when: str
    url: str
    cells: tuple[str, ...]


class Tick(msgspec.Struct, frozen=True):
    at: float
    text: str


class Chart(msgspec.Struct, frozen=True):
    """`across` and `up` are what the axes say; `names` the series with their shades; `rows` have a cell for each."""

    title: str
    note: str
    bars: tuple[Bar, ...]
    curves: tuple[Curve, ...]
    columns: tuple[Column, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    names: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]


class Series(NamedTuple):
    """Something measured, by bucket: None where there was nothing to measure. `url` is the address of its traces of the bucket that
    begins at a time; None where no filter finds them."""

    name: str
    values: Sequence[float | None]
    shade: str
    url: Callable[[int], str] | None = None


class Frame(NamedTuple):
    """Buckets that begin at `starts` and last `step` nanoseconds. `url(start)` is the address of the traces of one; empty where there are
    none."""

    starts: Sequence[int]
    step: int
    url: Callable[[int], str]

    def when(self, start: int) -> str:
        """A bucket's beginning, in UTC, as exactly as buckets are long."""
        at = datetime.fromtimestamp(start / 1e9, UTC)
        return at.strftime("%d %b" if self.step >= 86_400 * 10**9 else "%d %b %H:%M" if self.step >= 3600 * 10**9 else "%H:%M")


def chart(
    title: str,
    frame: Frame,
    series: Sequence[Series],
    say: Callable[[float], str],
    *,
    piled: bool = False,
    note: str = "",
    least: float = 0,
) -> Chart | None:
    """The picture of these series, in bars one upon the other where they are `piled`, none of them below 0. The axis begins at 0, or at the
    lowest where that is less, and goes to `least` at least. None where there is nothing to show."""
    if not any(v for s in series for v in s.values):
        return None
    sums = [sum(s.values[n] or 0 for s in series) for n in range(len(frame.starts))]
    most = max(least, *(sums if piled else [v for s in series for v in s.values if v is not None]))
    low = min(0.0, *(v for s in series for v in s.values if v is not None))
    wide = (RIGHT - LEFT) / len(frame.starts)

    def y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (value - low) / ((most - low) or 1), 1)

    def told(value: float | None) -> str:
        return "–" if value is None else say(value)

    columns, rows = list[Column](), list[Row]()
    for n, start in enumerate(frame.starts):
        cells = tuple(told(s.values[n]) for s in series)
        url = frame.url(start)
        text = f"{frame.when(start)}: " + ", ".join(f"{c} {s.name}".strip() for c, s in zip(cells, series, strict=True))
        columns.append(Column(round(LEFT + n * wide, 2), round(wide, 2), text, url))
        rows.append(Row(frame.when(start), url, cells))
    return Chart(
        title, note, _bars(series, wide, y) if piled else (), () if piled else tuple(_curve(s, frame, wide, y, told) for s in series),
        tuple(columns), _across(frame, wide), tuple(Tick(y(v), say(v) if v else "0") for v in (low, (low + most) / 2, most)),
        tuple((s.name, s.shade) for s in series if s.name), tuple(rows),
    )  # fmt: skip


def _bars(series: Sequence[Series], wide: float, y: Callable[[float], float]) -> tuple[Bar, ...]:
    found = []
    for n in range(len(series[0].values)):
        below = 0.0
        for s in series:
            if value := s.values[n]:
                top, bottom = y(below + value), y(below)
                height = max(1.0, round(bottom - top, 1))  # what is there is seen
                found.append(Bar(s.shade, round(LEFT + n * wide + 0.5, 2), bottom - height, round(max(1.0, wide - 1), 2), height))
                below += value
    return tuple(found)


def _curve(s: Series, frame: Frame, wide: float, y: Callable[[float], float], told: Callable[[float | None], str]) -> Curve:
    pieces, points = [list[str]()], list[Point]()
    for n, (start, value) in enumerate(zip(frame.starts, s.values, strict=True)):
        if value is None:
            pieces.append([])
            continue
        x = round(LEFT + (n + 0.5) * wide, 1)
        pieces[-1].append(f"{x},{y(value)}")
        text = f"{s.name} {frame.when(start)}: {told(value)}".strip()
        points.append(Point(x, y(value), text, "" if s.url is None else s.url(start)))
    return Curve(s.name, s.shade, tuple(" ".join(p) for p in pieces if len(p) > 1), tuple(points))


def _across(frame: Frame, wide: float) -> tuple[Tick, ...]:
    last = len(frame.starts) - 1
    return tuple(Tick(round(LEFT + (n + 0.5) * wide, 1), frame.when(frame.starts[n])) for n in sorted({0, last // 3, 2 * last // 3, last}))
