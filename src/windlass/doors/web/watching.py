"""Drawings of a monitor: evidence against its threshold, coverage as runs come, the map of evaluation and production, quality by time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from windlass.core.operations.monitors import LookSeen, Point, QualityOverTime
from windlass.doors import format as words

LEFT, RIGHT, TOP, BOTTOM = 60.0, 560.0, 34.0, 170.0
DRAWN = 4  # scores, those with most evidence
MAP_WIDTH, MAP_HEIGHT, MAP_EDGE = 700.0, 380.0, 16.0
LINE = 14.0  # height of a name


class Line(msgspec.Struct, frozen=True):
    """Points of a line in SVG; its name stands at `end_x`, `name_y`."""

    name: str
    points: str
    end_x: float
    name_y: float


class Tick(msgspec.Struct, frozen=True):
    at: float
    text: str


class EvidenceDrawing(msgspec.Struct, frozen=True):
    """Over runs counted, the evidence of scores; 1:1 is the base line, the dashed line is where it is an alarm."""

    lines: tuple[Line, ...]
    across: tuple[Tick, ...]
    limit: float  # y of the dashed line


class BandDrawing(msgspec.Struct, frozen=True):
    """Over runs counted, the share that is covered: a line in a band."""

    line: str
    band: str
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]


class Dot(msgspec.Struct, frozen=True):
    x: float
    y: float
    kind: str  # evaluation, production or outside
    text: str
    url: str


class MapDrawing(msgspec.Struct, frozen=True):
    dots: tuple[Dot, ...]
    kept: float


class QualityDrawing(msgspec.Struct, frozen=True):
    """One evaluator over time: a line for each version, with the moves of the environment as upright lines."""

    evaluator: str
    lines: tuple[Line, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    moves: tuple[Tick, ...]


def evidence(looks: Sequence[LookSeen]) -> EvidenceDrawing | None:
    """None before two looks."""
    if len(looks) < 2:
        return None
    last = looks[-1].look
    chosen = sorted(last.evidence, key=lambda e: e.p / e.level)[:DRAWN]
    most = max(1, last.counted)
    lines: list[Line] = []
    for one in chosen:
        points = [(LEFT, BOTTOM)]
        for seen in looks:
            found = next((e for e in seen.look.evidence if e.score == one.score), None)
            if found:
                height = min(1.25, math.log(1 / max(found.p, 1e-300)) / math.log(1 / found.level))
                points.append((_x(seen.look.counted, most), round(BOTTOM - (BOTTOM - TOP) / 1.25 * height, 1)))
        lines.append(_line(one.score, points, lines))
    return EvidenceDrawing(tuple(lines), _counted(most), round(BOTTOM - (BOTTOM - TOP) / 1.25, 1))


def coverage(looks: Sequence[LookSeen]) -> BandDrawing | None:
    """None before two looks that say it."""
    known = [(s.look.counted, s.look.coverage) for s in looks if s.look.coverage]
    if len(known) < 2:
        return None
    most = max(1, known[-1][0])
    least = min(1 - c.interval.high for _, c in known)
    floor = max(0.0, math.floor(least * 10) / 10 if least < 0.9 else 0.9)

    def y(share: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (min(1.0, max(floor, share)) - floor) / (1 - floor), 1)

    line = " ".join(f"{_x(n, most)},{y(1 - c.uncovered)}" for n, c in known)
    upper = [f"{_x(n, most)},{y(1 - c.interval.low)}" for n, c in known]
    lower = [f"{_x(n, most)},{y(1 - c.interval.high)}" for n, c in known]
    marks = [floor, (floor + 1) / 2, 1.0]
    return BandDrawing(line, " ".join([*upper, *reversed(lower)]), _counted(most), tuple(Tick(y(m), words.percent(m)) for m in marks))


def drawn_map(points: Sequence[Point], kept: float, dataset: str | None) -> MapDrawing | None:
    """The map; what lies outside is drawn last, so that nothing hides it."""
    if not points:
        return None
    xs, ys = [p.x for p in points], [p.y for p in points]
    wide, high = max(max(xs) - min(xs), 1e-9), max(max(ys) - min(ys), 1e-9)
    dots = []
    for p in sorted(points, key=lambda p: (p.outside, p.run)):
        x = MAP_EDGE + (MAP_WIDTH - 2 * MAP_EDGE) * (p.x - min(xs)) / wide
        y = MAP_EDGE + (MAP_HEIGHT - 2 * MAP_EDGE) * (p.y - min(ys)) / high
        kind = "outside" if p.run and p.outside else "production" if p.run else "evaluation"
        url = f"/traces/{p.id}" if p.run else ""
        dots.append(Dot(round(x, 1), round(y, 1), kind, p.text, url))
    return MapDrawing(tuple(dots), kept)


def quality(found: QualityOverTime) -> tuple[QualityDrawing, ...]:
    """A drawing for each evaluator."""
    span = max(1, found.until_ns - found.since_ns)

    def x(at_ns: int) -> float:
        return round(LEFT + (RIGHT - LEFT) * (at_ns - found.since_ns) / span, 1)

    drawings = []
    for evaluator in dict.fromkeys(s.evaluator for s in found.series):
        series = [s for s in found.series if s.evaluator == evaluator]
        means = [p.mean for s in series for p in s.points if p.mean is not None]
        low, high = min([0.0, *means]), max([1.0, *means])

        def y(score: float, low: float = low, high: float = high) -> float:
            return round(BOTTOM - (BOTTOM - TOP) * (score - low) / (high - low), 1)

        lines: list[Line] = []
        for s in series:
            points = [(x(p.at_ns), y(p.mean)) for p in s.points if p.mean is not None]
            if points:
                lines.append(_line(words.short_ref(s.release) if s.release else evaluator, points, lines))
        ago = [Tick(round(LEFT + (RIGHT - LEFT) * k / 4, 1), words.ago(int(span * k / 4), int(span))) for k in range(5)]
        up = tuple(Tick(y(low + (high - low) * k / 4), f"{low + (high - low) * k / 4:.2f}") for k in range(5))
        moves = tuple(Tick(x(at), words.short_ref(ref)) for at, ref in found.moves)
        drawings.append(QualityDrawing(evaluator, tuple(lines), tuple(ago), up, moves))
    return tuple(drawings)


def _x(counted: int, most: int) -> float:
    return round(LEFT + (RIGHT - LEFT) * counted / most, 1)


def _line(name: str, points: Sequence[tuple[float, float]], before: Sequence[Line]) -> Line:
    """A line whose name does not lie on the name of one before it."""
    x, y = points[-1]
    y += 4
    while any(abs(y - other.name_y) < LINE for other in before):
        y += LINE
    return Line(name, " ".join(f"{a},{b}" for a, b in points), x, round(y, 1))


def _counted(most: int) -> tuple[Tick, ...]:
    return tuple(Tick(_x(n, most), f"{n:,}") for n in sorted({0, round(most / 2), most}))
