"""Quality over time: what judges said of runs in production, by version of the release, in equal parts of the time asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import fmean

from sqlalchemy import Engine, select

from windlass.core.actor import Actor
from windlass.core.artifacts import EvaluatorBody
from windlass.core.errors import Invalid, NotFound
from windlass.core.ids import now_ns
from windlass.core.operations.monitors import QualityOverTime, QualityPoint, QualityQuery, QualitySeries
from windlass.core.ref import Ref
from windlass.core.score import Interval
from windlass.evaluate.stats import score_interval
from windlass.govern.permissions import guard
from windlass.registry.versions import Versions
from windlass.runtime.library import body_of
from windlass.store.meta import read
from windlass.store.spans import ScoreQuery, ScoreSeen
from windlass.store.tables import label_moves
from windlass.traces.query import Traces

PARTS = 28  # of the time asked for
HOUR_NS = 3600 * 10**9
BOUNDS = (0.0, 1.0)  # of a judge whose range is not known any more, and of people


class Quality:
    """Service of `monitors.quality`.

    Args:
        now: the time, in nanoseconds since 1970.
    """

    def __init__(self, engine: Engine, traces: Traces, versions: Versions, now: Callable[[], int] = now_ns) -> None:
        self._engine = engine
        self._traces = traces
        self._versions = versions
        self._now = now

    async def show(self, actor: Actor, query: QualityQuery) -> QualityOverTime:
        """Operation `monitors.quality`. Raises `Invalid` where nothing is named."""
        guard(actor, "read", query.project)
        if not (query.release or query.service):
            raise Invalid("name a release or a service", where="release")
        until = self._now()
        since = until - query.hours * HOUR_NS
        name = query.release.removeprefix("release/") if query.release else None
        found = await self._traces.scores(
            ScoreQuery(query.project, name, query.service, query.environment, since_ns=since)
        )  # fmt: skip
        groups: dict[tuple[str, str | None], list[ScoreSeen]] = defaultdict(list)
        for score in found:
            groups[score.evaluator, score.release].append(score)
        series = tuple(self._series(query.project, *key, some, since, until) for key, some in groups.items())
        moves = self._moves(query.project, name, query.environment, since) if name else ()
        return QualityOverTime(since, until, series, moves)

    def _series(
        self, project: str, evaluator: str, release: str | None, scores: Sequence[ScoreSeen], since: int, until: int
    ) -> QualitySeries:
        low, high = self._range(project, evaluator)
        part = max(1, (until - since) // PARTS)
        parts: dict[int, list[ScoreSeen]] = defaultdict(list)
        for score in scores:
            parts[min(PARTS - 1, (score.at_ns - since) // part)].append(score)
        points = []
        for number, some in sorted(parts.items()):
            values = [s.value for s in some if s.value is not None]
            mean = fmean(values) if values else None
            interval = _interval(values, low, high)
            points.append(QualityPoint(since + number * part, len(values), len(some) - len(values), mean, interval))
        every = [s.value for s in scores if s.value is not None]
        return QualitySeries(
            evaluator, release, len(every), len(scores) - len(every), fmean(every) if every else None, _interval(every, low, high),
            tuple(points),
        )  # fmt: skip

    def _range(self, project: str, evaluator: str) -> tuple[float, float]:
        try:
            ref = self._versions.resolve(Ref("evaluator", evaluator, None, None, project))
        except NotFound:
            return BOUNDS
        body: EvaluatorBody = body_of(self._versions.get(project, "evaluator", evaluator, ref.digest or ""))
        return body.range

    def _moves(self, project: str, release: str, environment: str, since: int) -> tuple[tuple[int, str], ...]:
        m = label_moves.c
        with read(self._engine) as c:
            found = c.execute(
                select(m.at_ns, m.after)
                .where(m.project == project, m.kind == "release", m.name == release, m.label == environment, m.at_ns >= since)
                .order_by(m.id)
            ).all()
        return tuple((row.at_ns, str(Ref("release", release, row.after, None, project))) for row in found)


def _interval(values: Sequence[float], low: float, high: float) -> Interval | None:
    """None also where a score lies outside the range: somebody gave it, on a scale that nobody named."""
    return score_interval(values, low, high) if all(low <= v <= high for v in values) else None
