"""Figures by a plain reading of all rows: what the engines must say."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from windlass.core import span as names
from windlass.core.operations.figures import Bucket, Figure, FigureGroup, Figures, FiguresQuery, Percentiles, ScoreFigure
from windlass.store.spans import SpanRow

CALLS = ("model", "embedding")


def percentiles(took: Iterable[float]) -> Percentiles | None:
    """Type 7: between the two nearest of the sorted values, linearly."""
    found = sorted(took)
    if not found:
        return None
    at = [(share, (len(found) - 1) * share) for share in (0.5, 0.9, 0.95, 0.99)]
    return Percentiles(*((found[math.floor(p)] + (found[math.ceil(p)] - found[math.floor(p)]) * (p % 1)) / 1e6 for _, p in at))


def total(values: Iterable[Any]) -> Any:
    told = [v for v in values if v is not None]
    return sum(told) if told else None


def attributes(row: SpanRow) -> dict[str, Any]:
    return msgspec.json.decode(row.attributes)


def values_of(row: SpanRow, by: str) -> list[str]:
    """Of a span for itself."""
    if by == "tag":
        return row.tags
    if by == "version":
        return row.versions
    if by == "prompt":
        return [v for v in row.versions if v.startswith("prompt/")] + ([row.prompt] if row.prompt else [])
    value = attributes(row).get(by.removeprefix("attribute:")) if by.startswith("attribute:") else getattr(row, by)
    return [str(value)] if value not in (None, "") else []


def innermost(calls: list[SpanRow]) -> list[SpanRow]:
    def told_inside(a: SpanRow) -> bool:
        for b in calls:
            if a.trace_id == b.trace_id and a.span_id == b.parent:
                return True
            one = a.trace_id == b.trace_id and a.span_id != b.span_id and a.response == b.response and a.response is not None
            if one and b.start_ns >= a.start_ns and b.end_ns <= a.end_ns:
                same = (a.start_ns, a.end_ns) == (b.start_ns, b.end_ns)
                if not same or b.span_id > a.span_id:
                    return True
        return False

    return [c for c in calls if not told_inside(c)]


class Plainly:
    """The answer to a question, from all rows."""

    def __init__(self, rows: Sequence[SpanRow], query: FiguresQuery, step: int) -> None:
        mine = [r for r in rows if r.project == query.project and r.kind != "log" and r.evaluation is None]
        began: dict[str, int] = {}
        for r in mine:
            began[r.trace_id] = min(began.get(r.trace_id, r.start_ns), r.start_ns)
        self.bucket = {t: at // step * step for t, at in began.items() if query.since_ns <= at < query.until_ns}
        newest = {(r.trace_id, r.span_id): r for r in sorted(mine, key=lambda r: r.receipt_ns)}
        self.spans = [r for r in newest.values() if r.trace_id in self.bucket]
        self.traces: dict[str, list[SpanRow]] = defaultdict(list)
        for r in self.spans:
            self.traces[r.trace_id].append(r)
        self.calls = innermost([r for r in self.spans if r.kind in CALLS])
        self.query, self.step = query, step

    def answer(self) -> Figures:
        q, groups, more = self.query, [], 0
        if q.by:
            held = {t: self.held(spans) for t, spans in self.traces.items()}
            many: dict[str, int] = defaultdict(int)
            for values in held.values():
                for v in values:
                    many[v] += 1
            top = sorted(many, key=lambda v: (-many[v], v))[: q.limit]
            more = len(many) - len(top)
            tests: list[tuple[str | None, bool, Callable[[str], bool]]] = [(v, False, lambda x, v=v: x == v) for v in top]
            tests += [(None, True, lambda x: x not in top and x != ""), (None, False, lambda x: x == "")]
            for value, others, fits in tests:
                traces = {t for t, values in held.items() if any(map(fits, values or [""]))}

                def inside(r: SpanRow, fits: Callable[[str], bool] = fits) -> bool:
                    own = [] if q.by == "status" else values_of(r, q.by)
                    of_trace = held[r.trace_id]
                    return any(map(fits, own or (of_trace if len(of_trace) == 1 else [""])))

                group = self.group(value, others, traces, inside)
                if value is not None or group.whole != Figure():
                    groups.append(group)
        whole = self.group(None, False, set(self.traces), lambda r: True)
        return Figures(q.since_ns, q.until_ns, self.step, whole.whole, whole.buckets, tuple(groups), more)

    def held(self, spans: list[SpanRow]) -> list[str]:
        """The values of a trace."""
        if self.query.by == "status":
            return ["error" if self.failed(spans) else "ok"]
        return sorted({v for r in spans for v in values_of(r, self.query.by or "")})

    @staticmethod
    def failed(spans: list[SpanRow]) -> bool:
        bad = [r for r in spans if r.status == "error"]
        return any(r.parent is None for r in bad) or (bool(bad) and all(r.parent is not None for r in spans))

    def group(self, value: str | None, others: bool, traces: set[str], inside: Callable[[SpanRow], bool]) -> FigureGroup:
        starts = sorted({self.bucket[t] for t in self.traces})
        buckets = []
        for at in starts:
            figure = self.figure({t for t in traces if self.bucket[t] == at}, lambda r, at=at: inside(r) and self.bucket[r.trace_id] == at)
            if figure != Figure():
                buckets.append(Bucket(start_ns=at, **msgspec.structs.asdict(figure)))
        return FigureGroup(value, self.figure(traces, inside), tuple(buckets), others)

    def figure(self, traces: set[str], inside: Callable[[SpanRow], bool]) -> Figure:
        whole = [self.traces[t] for t in traces]
        steps = [r for r in self.spans if inside(r) and (r.kind != "evaluator" or r.end_ns > r.start_ns)]
        calls = [r for r in self.calls if inside(r)]
        models = [r for r in calls if r.kind == "model"]
        costs = total(r.cost for r in calls)
        first = [float(v) * 1e9 for r in models if (v := attributes(r).get(names.FIRST_TOKEN)) is not None]
        return Figure(
            traces=len(whole), errors=sum(map(self.failed, whole)),
            spans=sum(r.kind != "evaluator" or r.end_ns > r.start_ns for spans in whole for r in spans),
            latency=percentiles(map(took, whole)), calls=len(models), failed_calls=sum(r.status == "error" for r in models),
            call_latency=percentiles(max(0, r.end_ns - r.start_ns) for r in models), tokens_in=total(r.tokens_in for r in models),
            tokens_out=total(r.tokens_out for r in models), tokens_cached=total(r.tokens_cached for r in models),
            tokens_reasoning=total(r.tokens_reasoning for r in models), cost=costs,
            unpriced=sum(r.cost is None for r in calls), scores=self.scores(traces), first_tokens=len(first),
            first_token=percentiles(first), steps=len(steps), failed_steps=sum(r.status == "error" for r in steps),
            step_latency=percentiles(max(0, r.end_ns - r.start_ns) for r in steps),
        )  # fmt: skip

    def scores(self, traces: set[str]) -> tuple[ScoreFigure, ...]:
        newest: dict[Any, SpanRow] = {}
        for r in sorted(self.spans, key=lambda r: r.receipt_ns):
            if r.kind == "evaluator" and names.SCORED in attributes(r):
                told = attributes(r)
                newest[r.trace_id, told[names.SCORED], r.span_id if told.get(names.GIVEN) else 0] = r
        by_name: dict[str, list[float | None]] = defaultdict(list)
        for r in newest.values():
            told = attributes(r)
            if r.trace_id in traces and told.get(names.GIVEN) in (None, "number", "boolean") and told.get(names.GIVEN_TO) != "session":
                by_name[told[names.SCORED]].append(told.get(names.SCORE))
        return tuple(
            ScoreFigure(n, sum(known) / len(known) if (known := [v for v in found if v is not None]) else None, len(known),
                        len(found) - len(known)) for n, found in sorted(by_name.items())
        )  # fmt: skip


def took(spans: list[SpanRow]) -> int:
    steps = [r.end_ns for r in spans if r.kind != "evaluator"]
    return max(0, max(steps or [r.end_ns for r in spans]) - min(r.start_ns for r in spans))
