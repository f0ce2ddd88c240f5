"""What production is held against: the rows by which the version in production was let out, how they were scored, and since when they
are what was evaluated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from statistics import fmean
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, select

from windlass.core.artifacts import MonitorBody
from windlass.core.digest import digest_json
from windlass.core.errors import NotFound
from windlass.core.ref import Ref, parse_ref
from windlass.core.score import Verdict
from windlass.evaluate.experiments import Suite, read_suite
from windlass.evaluate.outcomes import Outcomes
from windlass.evaluate.verdicts import load_verdict
from windlass.monitor.inputs import of_row
from windlass.monitor.rows import EvaluationRow
from windlass.registry.datasets import Datasets
from windlass.registry.versions import Versions
from windlass.store.meta import read
from windlass.store.tables import label_moves

MOVES = 50  # of the environment, looked back over

Takes = Callable[[Ref], Awaitable[dict[str, Any]]]


class Ground(NamedTuple):
    """`key` names all that decides what rows are measured: where it differs, a watch begins anew. `schema` is what runs take; `release`
    what is in the environment now; `verdict` what let it out."""

    key: str
    suite: Suite
    release: Ref | None
    verdict: Verdict | None
    schema: dict[str, Any]
    since_ns: int

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(self.schema.get("properties", {}))

    @property
    def evaluated(self) -> dict[str, float]:
        """The mean of each guard when the release was let out."""
        return {g.name: g.candidate for g in self.verdict.guards if g.candidate is not None} if self.verdict else {}


class Grounds:
    """Finds it."""

    def __init__(self, engine: Engine, versions: Versions, datasets: Datasets, outcomes: Outcomes, takes: Takes) -> None:
        self._engine = engine
        self._versions = versions
        self._datasets = datasets
        self._outcomes = outcomes
        self._takes = takes

    async def find(self, project: str, body: MonitorBody) -> Ground:
        """Raises `NotFound` where the suite is gone, or nothing is in the environment yet."""
        release, verdict, since = await asyncio.to_thread(self._standing, project, body)
        named = parse_ref(verdict.suite, project=project) if verdict else Ref("suite", body.suite, None, None, project)
        suite = await asyncio.to_thread(read_suite, self._versions, named)
        if isinstance(suite.body.target, dict):
            field = suite.body.target.get("input")
            schema = {"properties": {field: {"type": "string"}}} if field else {}
        else:
            schema = await self._takes(release or parse_ref(suite.body.target, project=project))
        key = digest_json(
            {"rows": suite.dataset.body["rows"], "split": suite.body.split, "encoder": body.encoder, "seed": body.seed, "error": body.error,
             "tolerance": body.tolerance, "fields": sorted(schema.get("properties", {}))}
        )  # fmt: skip
        return Ground(key, suite, release, verdict, schema, since)

    def _standing(self, project: str, body: MonitorBody) -> tuple[Ref | None, Verdict | None, int]:
        """The release in the environment, the verdict by which it stands there, and since when its rows are what was evaluated."""
        if body.release is None:
            return None, None, 0
        m = label_moves.c
        with read(self._engine) as c:
            moves = c.execute(
                select(m.after, m.verdict, m.at_ns)
                .where(m.project == project, m.kind == "release", m.name == body.release, m.label == body.environment)
                .order_by(m.id.desc())
                .limit(MOVES)
            ).all()
            if not moves:
                raise NotFound(
                    f"nothing of release/{body.release} is in {body.environment} yet",
                    remedy="promote a release; it is watched from then on",
                )
            verdict = load_verdict(c, project, moves[0].verdict) if moves[0].verdict else None
            if verdict and parse_ref(verdict.suite, project=project).name != body.suite:
                verdict = None  # another suite let it out
            since = moves[0].at_ns
            for move in moves[1:]:  # it is the same test as long as verdicts rest on the same rows
                if verdict is None or not move.verdict or not self._same_rows(c, project, verdict, move.verdict):
                    break
                since = move.at_ns
        return Ref("release", body.release, moves[0].after, None, project), verdict, since

    def _same_rows(self, c: Connection, project: str, verdict: Verdict, other: str) -> bool:
        suites = [verdict.suite, load_verdict(c, project, other).suite]
        rows = {read_suite(self._versions, parse_ref(s, project=project)).dataset.body["rows"] for s in dict.fromkeys(suites)}
        return len(rows) == 1

    def rows(self, ground: Ground) -> list[EvaluationRow]:
        """The rows of the suite as texts, each with what the release scored on it by the first guard."""
        scores = self._scores(ground)
        return [
            EvaluationRow(str(row["key"]), of_row(row, ground.fields), str(row.get("session") or ""), scores.get(str(row["key"])))
            for row in self._datasets.rows(ground.suite.dataset, ground.suite.body.split)
        ]

    def _scores(self, ground: Ground) -> dict[str, float]:
        if not ground.verdict or not ground.verdict.candidate_evaluation:
            return {}
        guard, by_row = ground.suite.body.guards[0].name, dict[str, list[float]]()
        for result in self._outcomes.results(ground.verdict.candidate_evaluation):
            for score in result.outcome.scores:
                if score.evaluator == guard and score.value is not None:
                    by_row.setdefault(result.outcome.row, []).append(score.value)
        return {row: fmean(values) for row, values in by_row.items()}
