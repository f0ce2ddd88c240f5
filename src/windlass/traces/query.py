"""Services on traces: who may see them, and the questions passed on to the span store."""

from __future__ import annotations

from collections.abc import Sequence

from windlass.core.actor import Actor
from windlass.core.operations.calls import CallGraph, CallsShow
from windlass.core.operations.costs import CostsShow, TraceCosts
from windlass.core.operations.figures import Figures, FiguresQuery
from windlass.core.operations.ledger import LedgerAudit, LedgerAudited, LedgerPage, LedgerQuery
from windlass.core.operations.logs import LogPage, LogQuery
from windlass.core.operations.metrics import MetricPage, MetricQuery, MetricShow, MetricTold
from windlass.core.operations.sessions import SessionPage, SessionQuery
from windlass.core.operations.traces import (
    FieldQuery,
    Fields,
    LiveFigures,
    LiveQuery,
    Remapped,
    SpanText,
    TextShow,
    Trace,
    TracePage,
    TraceQuery,
    TraceRemap,
    TraceShow,
)
from windlass.core.operations.trees import TraceTree, TreeShow
from windlass.core.span import StoredSpan
from windlass.govern.permissions import guard
from windlass.store.journal import Journal
from windlass.store.spans import ArrivalQuery, Arrivals, RecentQuery, ScoreQuery, ScoreSeen, Spans, TrialQuery, Trials


class Traces:
    """Operations `traces.list`, `traces.fields`, `traces.show`, `traces.tree`, `traces.calls`, `traces.costs`, `traces.text`,
    `traces.live`, `traces.figures`, `traces.remap`, `traces.ledger`, `traces.audit`, `logs.list`, `metrics.list` and `metrics.show`."""

    def __init__(self, spans: Spans, journal: Journal) -> None:
        self._spans = spans
        self._journal = journal  # this process's: who asks sees what was just recorded here

    async def list(self, actor: Actor, query: TraceQuery) -> TracePage:
        guard(actor, "read", query.project)
        await self._journal.settle()
        return await self._spans.traces(query)

    async def logs(self, actor: Actor, query: LogQuery) -> LogPage:
        guard(actor, "read", query.project)
        await self._journal.settle()
        return await self._spans.logs(query)

    async def fields(self, actor: Actor, query: FieldQuery) -> Fields:
        guard(actor, "read", query.project)
        await self._journal.settle()
        return await self._spans.fields(query)

    async def show(self, actor: Actor, query: TraceShow) -> Trace:
        guard(actor, "read", query.project)
        await self._journal.settle()
        return await self._spans.trace(query)

    async def tree(self, actor: Actor, query: TreeShow) -> TraceTree:
        guard(actor, "read", query.project)
        await self._journal.settle()
        return await self._spans.tree(query)

    async def calls(self, actor: Actor, query: CallsShow) -> CallGraph:
        guard(actor, "read", query.project)
        await self._journal.settle()
        return await self._spans.calls(query)

    async def costs(self, actor: Actor, query: CostsShow) -> TraceCosts:
        guard(actor, "read", query.project)
        await self._journal.settle()
        return await self._spans.costs(query)

    async def text(self, actor: Actor, query: TextShow) -> SpanText:
        guard(actor, "read", query.project)
        await self._journal.settle()
        return await self._spans.text(query)

    async def sessions(self, query: SessionQuery) -> SessionPage:
        """For `traces.sessions`, which asked for leave."""
        await self._journal.settle()
        return await self._spans.sessions(query)

    async def found(self, query: TraceShow) -> Trace:
        """For `traces.score`, which asked for leave. Raises as the store does."""
        await self._journal.settle()
        return await self._spans.trace(query)

    async def recent(self, query: RecentQuery) -> Sequence[StoredSpan]:
        """For doors that put an update to what came before, which asked for leave to send it."""
        await self._journal.settle()
        return await self._spans.recent(query)

    async def of_session(self, query: TraceQuery) -> TracePage:
        """For `traces.score`, which asked for leave."""
        await self._journal.settle()
        return await self._spans.traces(query)

    async def live(self, actor: Actor, query: LiveQuery) -> LiveFigures:
        guard(actor, "read", query.project)
        await self._journal.settle()
        return await self._spans.live(query)

    async def figures(self, actor: Actor, query: FiguresQuery) -> Figures:
        guard(actor, "read", query.project)
        await self._journal.settle()
        return await self._spans.figures(query)

    async def metrics(self, actor: Actor, query: MetricQuery) -> MetricPage:
        guard(actor, "read", query.project)
        await self._journal.settle()
        return await self._spans.metrics(query)

    async def metric(self, actor: Actor, query: MetricShow) -> MetricTold:
        guard(actor, "read", query.project)
        await self._journal.settle()
        return await self._spans.metric(query)

    async def remap(self, actor: Actor, asked: TraceRemap) -> Remapped:
        """Of all projects, since a file holds spans of all. Goes on for half a second at a time."""
        guard(actor, "admin", actor.project)
        await self._journal.settle()
        return await self._spans.remap()

    async def ledger(self, actor: Actor, query: LedgerQuery) -> LedgerPage:
        guard(actor, "read", query.project)
        await self._journal.settle()
        return await self._spans.ledger(query)

    async def audit(self, actor: Actor, asked: LedgerAudit) -> LedgerAudited:
        """Goes on for half a second at a time."""
        guard(actor, "admin", asked.project)
        await self._journal.settle()
        return await self._spans.audit(asked)

    async def measured(self, query: MetricShow) -> MetricTold:
        """For alerts on metrics, which act for nobody. Raises as the store does."""
        await self._journal.settle()
        return await self._spans.metric(query)

    async def arrivals(self, query: ArrivalQuery) -> Arrivals:
        """For monitors, which act for nobody: runs as they came."""
        await self._journal.settle()
        return await self._spans.arrivals(query)

    async def trials(self, query: TrialQuery) -> Trials:
        """For rollouts: runs that they put on an arm, and scores of them."""
        await self._journal.settle()
        return await self._spans.trials(query)

    async def scores(self, query: ScoreQuery) -> Sequence[ScoreSeen]:
        """For monitors: judgements of runs in production."""
        await self._journal.settle()
        return await self._spans.scores(query)

    async def counts(self) -> dict[str, int]:
        """Spans received and projected, for the status page."""
        return await self._spans.counts()
