"""What calls of models came to, by key, user, model, version or release over time: from the same spans that traces show."""

from __future__ import annotations

import asyncio

from sqlalchemy import Engine, select

from windlass.core import span as names
from windlass.core.actor import Actor
from windlass.core.errors import Unavailable
from windlass.core.ids import now_ns
from windlass.core.operations.figures import ATTRIBUTE, Bucket, Figure, FigureGroup, FiguresQuery
from windlass.core.operations.limits import Spend, SpendBucket, SpendBy, SpendQuery, SpendRow
from windlass.govern.permissions import guard
from windlass.govern.windows import forecast, window_at
from windlass.store.meta import read
from windlass.store.tables import keys
from windlass.traces.query import Traces

DIMENSIONS: dict[SpendBy, str | None] = {
    "key": ATTRIBUTE + names.ACTOR, "project": None, "user": "user", "model": "model", "version": "version", "release": "release",
}  # fmt: skip
STEPS = (60, 300, 3600, 6 * 3600, 86_400)  # seconds of a bucket
BUCKETS = 62  # at most, where a step makes so few
GROUPS = 50


class Spending:
    """Service of spend.

    Args:
        traces: asked for figures.
        engine: the relational store, for names of keys.
    """

    def __init__(self, traces: Traces, engine: Engine) -> None:
        self._traces = traces
        self._engine = engine

    async def spend(self, actor: Actor, query: SpendQuery) -> Spend:
        """Operation `limits.spend`: those that cost the most first. Raises `Forbidden`; `Invalid` for a time that ends before it begins."""
        guard(actor, "read", query.project)
        now = now_ns()
        began, ends = window_at("month", now)
        since = query.since_ns if query.since_ns is not None else began
        until = query.until_ns if query.until_ns is not None else now
        step = next((s for s in STEPS if (until - since) <= s * BUCKETS * 10**9), STEPS[-1])
        asked = FiguresQuery(
            project=query.project, since_ns=since, until_ns=until, by=DIMENSIONS[query.by], measures=("calls",), bucket_s=step, limit=GROUPS
        )
        found = await self._traces.figures(actor, asked)
        named = await asyncio.to_thread(self._names) if query.by == "key" else {}
        whole = _row(query.project if query.by == "project" else None, found.whole, found.buckets)
        rows = sorted((_group(g, named) for g in found.groups), key=lambda r: (r.others, -r.cost, -r.calls))
        rest = None
        if query.since_ns is None and query.until_ns is None:
            rest = forecast(whole.cost, began, ends, now)
        return Spend(query.by, found.since_ns, found.until_ns, found.bucket_ns, whole, tuple(r for r in rows if r.calls or r.cost), rest)

    def _names(self) -> dict[str, str]:
        """Of keys, by actor; none where the store is away: figures are told all the same."""
        try:
            with read(self._engine) as c:
                return {f"key:{r.id}": r.name for r in c.execute(select(keys.c.id, keys.c.name))}
        except Unavailable:
            return {}


def _group(group: FigureGroup, named: dict[str, str]) -> SpendRow:
    row = _row(group.value, group.whole, group.buckets)
    row.others, row.name = group.others, named.get(group.value or "", "")
    return row


def _row(value: str | None, of: Figure, buckets: tuple[Bucket, ...]) -> SpendRow:
    return SpendRow(
        value, of.cost or 0.0, of.calls, of.tokens_in, of.tokens_out, of.tokens_cached, of.unpriced,
        buckets=tuple(SpendBucket(b.start_ns, b.cost or 0.0, b.calls) for b in buckets if b.calls or b.cost),
    )  # fmt: skip
