"""Sessions: runs of one conversation or task, told as what agents wanted, what was decided, what ran and what came of it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from windlass.core.actor import Actor
from windlass.core.errors import Invalid, NotFound
from windlass.core.operations.sessions import Session, SessionPage, SessionQuery, SessionRun, SessionShow
from windlass.core.operations.traces import ScoreGiven, TraceQuery, TraceShow
from windlass.core.span import Span
from windlass.govern.permissions import guard
from windlass.traces.query import Traces
from windlass.traces.timeline import timeline

MOST = 2_000  # spans of one run that are read


class Sessions:
    """Service of sessions."""

    def __init__(self, traces: Traces) -> None:
        self._traces = traces

    async def list(self, actor: Actor, query: SessionQuery) -> SessionPage:
        """Operation `sessions.list`."""
        guard(actor, "read", query.project)
        return await self._traces.sessions(query)

    async def show(self, actor: Actor, query: SessionShow) -> Session:
        """Operation `sessions.show`. Raises `NotFound`, `Invalid`."""
        guard(actor, "read", query.project)
        asked = TraceQuery(project=query.project, session=query.id, cursor=query.cursor, limit=query.limit)
        page = await self._traces.list(actor, asked)
        found = [t.trace_id for t in reversed(page.items)]
        if not found and not query.cursor:
            found = [await self._single(actor, query)]
        runs = tuple([await self.run(actor, query.project, id) for id in found])
        return Session(id=query.id, runs=runs, scores=_of_all(runs), next=page.next)

    async def run(self, actor: Actor, project: str, trace: str) -> SessionRun:
        """One run by its trace. Raises `NotFound`."""
        spans: list[Span] = []
        first = page = await self._traces.show(actor, TraceShow(trace, project))
        while True:
            spans += page.spans
            if page.next is None or len(spans) >= MOST:
                run = timeline(first.summary, spans, first.versions, page.next is not None)
                return msgspec.structs.replace(run, scores=first.scores)
            page = await self._traces.show(actor, TraceShow(trace, project, page.next))

    async def _single(self, actor: Actor, query: SessionShow) -> str:
        """The trace that stands for a session of its own."""
        try:
            return (await self._traces.show(actor, TraceShow(query.id, query.project, limit=1))).summary.trace_id
        except (NotFound, Invalid) as e:
            raise NotFound(f"there is no session {query.id!r}", remedy="`windlass sessions list` lists them") from e


def _of_all(runs: Sequence[SessionRun]) -> tuple[ScoreGiven, ...]:
    """Scores of the session as a whole: of those of one name by one actor the newest, since each stands at the run that was the newest
    then."""
    found: dict[tuple[str, str], ScoreGiven] = {}
    for score in sorted((s for run in runs for s in run.scores if s.session is not None), key=lambda s: -s.at_ns):
        found.setdefault((score.by, score.name), score)
    return tuple(found.values())
