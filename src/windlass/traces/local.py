"""Questions about spans answered in this process: what a server's doors ask a projector over its socket (`traces.socket`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

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
    TraceShow,
)
from windlass.core.operations.trees import TraceTree, TreeShow
from windlass.core.span import StoredSpan
from windlass.store.spans import (
    ArrivalQuery,
    Arrivals,
    CommonQuery,
    Forget,
    MentionQuery,
    Portion,
    PortionQuery,
    RecentQuery,
    ScoreQuery,
    ScoreSeen,
    SubjectQuery,
    Theirs,
    TrialQuery,
    Trials,
)

if TYPE_CHECKING:  # it brings DuckDB and OpenTelemetry's formats
    from windlass.traces.projector import Projection


class LocalSpans:
    """`Spans` in this process: a projection on a thread of its own, opened by the first question."""

    def __init__(self, make: Callable[[], Projection]) -> None:
        self._thread = ThreadPoolExecutor(1, "windlass-projector")
        self._make = make
        self._made: Projection | None = None

    def _projection(self) -> Projection:
        if self._made is None:
            self._made = self._make()
        return self._made

    async def open(self) -> None:
        """Open it now. Raises what opening raises."""
        await self._do(self._projection)

    async def ask(self, name: str, params: Any) -> Any:
        return await self._do(lambda: self._projection().ask(name, params))

    async def _do(self, what: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, what)

    async def traces(self, query: TraceQuery) -> TracePage:
        found: TracePage = await self.ask("traces", query)
        return found

    async def fields(self, query: FieldQuery) -> Fields:
        found: Fields = await self.ask("fields", query)
        return found

    async def logs(self, query: LogQuery) -> LogPage:
        found: LogPage = await self.ask("logs", query)
        return found

    async def trace(self, query: TraceShow) -> Trace:
        found: Trace = await self.ask("trace", query)
        return found

    async def recent(self, query: RecentQuery) -> list[StoredSpan]:
        found: list[StoredSpan] = await self.ask("recent", query)
        return found

    async def tree(self, query: TreeShow) -> TraceTree:
        found: TraceTree = await self.ask("tree", query)
        return found

    async def calls(self, query: CallsShow) -> CallGraph:
        found: CallGraph = await self.ask("calls", query)
        return found

    async def costs(self, query: CostsShow) -> TraceCosts:
        found: TraceCosts = await self.ask("costs", query)
        return found

    async def text(self, query: TextShow) -> SpanText:
        found: SpanText = await self.ask("text", query)
        return found

    async def live(self, query: LiveQuery) -> LiveFigures:
        found: LiveFigures = await self.ask("live", query)
        return found

    async def figures(self, query: FiguresQuery) -> Figures:
        found: Figures = await self.ask("figures", query)
        return found

    async def metrics(self, query: MetricQuery) -> MetricPage:
        found: MetricPage = await self.ask("metrics", query)
        return found

    async def metric(self, query: MetricShow) -> MetricTold:
        found: MetricTold = await self.ask("metric", query)
        return found

    async def arrivals(self, query: ArrivalQuery) -> Arrivals:
        found: Arrivals = await self.ask("arrivals", query)
        return found

    async def sessions(self, query: SessionQuery) -> SessionPage:
        found: SessionPage = await self.ask("sessions", query)
        return found

    async def trials(self, query: TrialQuery) -> Trials:
        found: Trials = await self.ask("trials", query)
        return found

    async def scores(self, query: ScoreQuery) -> list[ScoreSeen]:
        found: list[ScoreSeen] = await self.ask("scores", query)
        return found

    async def counts(self) -> dict[str, int]:
        found: dict[str, int] = await self.ask("counts", None)
        return found

    async def theirs(self, query: SubjectQuery) -> Theirs:
        found: Theirs = await self.ask("theirs", query)
        return found

    async def common(self, query: CommonQuery) -> list[str]:
        found: list[str] = await self.ask("common", query)
        return found

    async def forget(self, asked: Forget) -> int:
        found: int = await self.ask("forget", asked)
        return found

    async def mentions(self, query: MentionQuery) -> int:
        found: int = await self.ask("mentions", query)
        return found

    async def portion(self, query: PortionQuery) -> Portion:
        found: Portion = await self.ask("portion", query)
        return found

    async def remap(self) -> Remapped:
        found: Remapped = await self.ask("remap", None)
        return found

    async def ledger(self, query: LedgerQuery) -> LedgerPage:
        found: LedgerPage = await self.ask("ledger", query)
        return found

    async def audit(self, asked: LedgerAudit) -> LedgerAudited:
        found: LedgerAudited = await self.ask("audit", asked)
        return found

    async def tidy(self, idle: bool) -> None:
        await self._do(lambda: self._projection().tidy(idle))

    async def rest(self, seconds: float) -> None:
        await self._do(lambda: self._projection().rest(seconds))

    async def close(self) -> None:
        if self._made is not None:
            await self._do(self._made.close)
        self._thread.shutdown()
