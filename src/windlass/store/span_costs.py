"""Why a trace cost so much, of its light columns: what its calls of models come to, by model and by step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import fsum
from typing import Any, NamedTuple

from windlass.core.operations.costs import CallsCost, TraceCosts

ASKED = ("model", "embedding")
DEAREST, FEWEST = 5, 3  # steps that are named; calls of which the first and the last are compared


class Paid(NamedTuple):
    """A step in these columns, of its newest revision."""

    span_id: str
    parent: str | None
    name: str
    kind: str
    start_ns: int
    end_ns: int
    status: str
    model: str | None
    cost: float | None
    tokens_in: int | None
    tokens_out: int | None
    tokens_cached: int | None
    response: str | None


COLUMNS = Paid._fields


def costs_of(trace_id: str, rows: Iterable[tuple[Any, ...]]) -> TraceCosts:
    """Rows have `COLUMNS`. A call that two tell of is one, as in the trace's sum."""
    calls = sorted(_innermost([Paid(*row) for row in rows if row[3] in ASKED]), key=lambda s: (s.start_ns, s.span_id))
    whole = fsum(s.cost or 0 for s in calls)
    named: dict[str, list[Paid]] = {}
    for call in calls:
        named.setdefault(call.model or call.name, []).append(call)
    models = sorted((_spent(name, some, whole) for name, some in named.items()), key=lambda s: -(s.cost or 0))
    dearest = sorted((s for s in calls if s.cost), key=lambda s: -(s.cost or 0))[:DEAREST] if len(calls) > 1 else []
    failed, sent = [s for s in calls if s.status == "error"], [s for s in calls if s.kind == "model" and s.tokens_in]
    return TraceCosts(
        trace_id, round(whole, 12), tuple(models), tuple(_spent(s.name, [s], whole) for s in dearest), sum(s.tokens_in or 0 for s in sent),
        _sum(s.tokens_cached for s in sent), len(failed), round(fsum(s.cost or 0 for s in failed), 12),
    )  # fmt: skip


def _innermost(asked: Sequence[Paid]) -> list[Paid]:
    above = {s.parent for s in asked}
    twins: dict[str, list[Paid]] = {}
    for s in asked:
        if s.response:
            twins.setdefault(s.response, []).append(s)
    return [s for s in asked if s.span_id not in above and not any(_within(t, s) for t in twins.get(s.response or "", ()))]


def _within(inner: Paid, outer: Paid) -> bool:
    """Whether another span that tells of the same answer lies within this one in time; of two that lie alike, by their ids."""
    if inner.span_id == outer.span_id or inner.start_ns < outer.start_ns or inner.end_ns > outer.end_ns:
        return False
    return (inner.start_ns, inner.end_ns) != (outer.start_ns, outer.end_ns) or inner.span_id > outer.span_id


def _spent(name: str, calls: Sequence[Paid], whole: float) -> CallsCost:
    unpriced = sum(s.cost is None for s in calls)
    cost = None if unpriced else round(fsum(s.cost or 0 for s in calls), 12)
    sent = [s.tokens_in for s in calls if s.kind == "model" and s.tokens_in]
    first, last = (sent[0], sent[-1]) if len(sent) >= FEWEST else (0, 0)
    return CallsCost(
        name, len(calls), _sum(s.tokens_in for s in calls), _sum(s.tokens_cached for s in calls), _sum(s.tokens_out for s in calls), cost,
        cost / whole if cost is not None and whole else None, calls[0].span_id if len(calls) == 1 else "",
        sum(s.cost is None and s.status != "error" for s in calls), first, last,
    )  # fmt: skip


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = [n for n in numbers if n is not None]
    return sum(known) if known else None
