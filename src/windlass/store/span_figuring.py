"""What is asked of a board of figures, planned for either engine, and put together from what the engine says."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from windlass.core.errors import Invalid
from windlass.core.operations.figures import ATTRIBUTE, Bucket, Figure, FigureGroup, Figures, FiguresQuery, Percentiles, ScoreFigure

SECOND = 1_000_000_000
DAY = 86_400
STEPS = (60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, DAY)  # seconds
DRAWN, MOST = 60, 400  # buckets: as many as a drawing has room for, and at most
SCORES = 12  # names
NONE, OTHERS = -1, 0  # numbers of groups that have no value of their own; the others count from 1
_ATTRIBUTE = re.compile(r"[\w.:/@-]{1,200}")


class Plan(NamedTuple):
    """A question with its times set. `step` in nanoseconds."""

    query: FiguresQuery
    since: int
    until: int
    step: int


def planned(query: FiguresQuery, dimensions: Collection[str]) -> Plan:
    """Raises `Invalid`."""
    if query.cursor is not None:
        raise Invalid("figures have no pages", where="cursor", remedy="leave the cursor out; `limit` says how many groups")
    if query.by is not None and query.by not in dimensions and attribute_of(query.by) is None:
        raise Invalid(
            f"{query.by[:60]!r} is nothing that figures can be told by", where="by",
            remedy=f"take one of {', '.join(sorted(dimensions))}, or {ATTRIBUTE}NAME",
        )  # fmt: skip
    until = time.time_ns() if query.until_ns is None else query.until_ns
    since = until - DAY * SECOND if query.since_ns is None else query.since_ns
    if not 0 <= since < until < 1 << 63:
        remedy = "`since_ns` must be before `until_ns`, and both are nanoseconds since 1970"
        raise Invalid("this time is over before it begins", where="since_ns", remedy=remedy)
    step = step_of(since, until, query.bucket_s)
    return Plan(msgspec.structs.replace(query, since_ns=since, until_ns=until), since, until, step)


def attribute_of(by: str) -> str | None:
    """The attribute that a dimension names; None where it names none, or none that can be asked for."""
    name = by.removeprefix(ATTRIBUTE)
    return name if name != by and _ATTRIBUTE.fullmatch(name) else None


def step_of(since: int, until: int, wanted: int | None) -> int:
    """How long a bucket is, in nanoseconds. Raises `Invalid`."""

    def buckets(seconds: int) -> int:
        return (until - 1) // (seconds * SECOND) - since // (seconds * SECOND) + 1

    if wanted is None:
        wanted = next((s for s in STEPS if buckets(s) <= DRAWN + 1), DAY)
    if (many := buckets(wanted)) > MOST:
        raise Invalid(
            f"this time has {many:,} buckets of {wanted} s; at most {MOST} are told", where="bucket_s",
            remedy="ask for a shorter time, or for longer buckets",
        )  # fmt: skip
    return wanted * SECOND


class Cells:
    """What was measured, by group and bucket: None for a group is the whole, None for a bucket all of them."""

    def __init__(self) -> None:
        self._cells: dict[tuple[int | None, int | None], dict[str, Any]] = defaultdict(dict)

    def traces(self, rows: Iterable[Sequence[Any]]) -> None:
        for g, bucket, traces, errors, spans, took in rows:
            self._cells[g, bucket] |= {"traces": traces, "errors": errors, "spans": spans, "latency": _percentiles(took)}

    def calls(self, rows: Iterable[Sequence[Any]]) -> None:
        for g, bucket, calls, failed, took, given, told, cached, reasoning, cost, unpriced in rows:
            self._cells[g, bucket] |= {
                "calls": calls, "failed_calls": failed, "call_latency": _percentiles(took), "tokens_in": given, "tokens_out": told,
                "tokens_cached": cached, "tokens_reasoning": reasoning, "cost": cost, "unpriced": unpriced,
            }  # fmt: skip

    def first_tokens(self, rows: Iterable[Sequence[Any]]) -> None:
        for g, bucket, many, took in rows:
            self._cells[g, bucket] |= {"first_tokens": many, "first_token": _percentiles(took)}

    def steps(self, rows: Iterable[Sequence[Any]]) -> None:
        for g, bucket, many, failed, took in rows:
            self._cells[g, bucket] |= {"steps": many, "failed_steps": failed, "step_latency": _percentiles(took)}

    def scores(self, rows: Iterable[Sequence[Any]]) -> None:
        for g, bucket, name, mean, measured, unmeasured in sorted(rows, key=lambda row: str(row[2])):
            cell = self._cells[g, bucket]
            cell["scores"] = (*cell.get("scores", ()), ScoreFigure(name, mean, measured, unmeasured))

    def whole(self, group: int | None) -> Figure:
        return Figure(**self._cells.get((group, None), {}))

    def buckets(self, group: int | None) -> tuple[Bucket, ...]:
        found = sorted((bucket, cell) for (g, bucket), cell in self._cells.items() if g == group and bucket is not None)
        return tuple(Bucket(start_ns=bucket, **cell) for bucket, cell in found)

    def has(self, group: int) -> bool:
        return (group, None) in self._cells


def _percentiles(of_ns: Sequence[float] | None) -> Percentiles | None:
    """None where nothing was measured, which an engine says by no list or by one of what is no number."""
    if not of_ns or any(value is None or value != value for value in of_ns):
        return None
    return Percentiles(*(value / 1e6 for value in of_ns))


def figures_from(plan: Plan, cells: Cells, values: Sequence[str] = (), more: int = 0) -> Figures:
    """The answer. The largest groups first, then the others, and what has no value."""
    numbers = [*((n, value) for n, value in enumerate(values, 1)), (OTHERS, None), (NONE, None)]
    groups = tuple(
        FigureGroup(value, cells.whole(n), cells.buckets(n), others=n == OTHERS) for n, value in numbers if n > 0 or cells.has(n)
    )
    return Figures(plan.since, plan.until, plan.step, cells.whole(None), cells.buckets(None), groups, more)
