"""Figures of traces over time, in ClickHouse: what `span_figures` asks of DuckDB."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from windlass.core import span as names
from windlass.core.operations.figures import Figures, FiguresQuery
from windlass.store.span_figures import DIMENSIONS
from windlass.store.span_figuring import NONE, SCORES, Cells, Plan, attribute_of, figures_from, planned
from windlass.store.span_filters import STEPS
from windlass.store.span_filters_clickhouse import TOOK, filters_of, said
from windlass.store.span_scores import COUNTS
from windlass.store.span_sessions_clickhouse import outer
from windlass.store.span_suspects import CALLS

Ask = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
SHARES = "quantilesExactInclusive{}(0.5, 0.9, 0.95, 0.99)"
PROMPTS = "arrayConcat(arrayFilter(v -> startsWith(v, 'prompt/'), versions), if(isNull(prompt), [], [assumeNotNull(prompt)]))"
NULLS = "SETTINGS group_by_use_nulls = 1"  # for what is summed over
JUDGES = "kind = 'evaluator'"
NUMBER = "JSONExtract(attributes, '{}', 'Nullable(Float64)')"
USED = (
    "trace_id", "span_id", "parent", "receipt_ns", "start_ns", "end_ns", "kind", "name", "status", "service", "model", "provider",
    "release", "environment", "session", '"user"', "tool", "prompt", "tags", "versions", "response", "tokens_in", "tokens_out",
    "tokens_cached", "tokens_reasoning", "cost", "attributes",
)  # fmt: skip


def figures_of(ask: Ask, query: FiguresQuery) -> Figures:
    """As DuckDB's."""
    plan, cells = planned(query, DIMENSIONS), Cells()
    board = _Board(ask, plan)
    if "traces" in query.measures:
        cells.traces(board.traces())
    if "calls" in query.measures:
        cells.calls(board.calls())
    if "first_token" in query.measures:
        cells.first_tokens(board.first_tokens())
    if "steps" in query.measures:
        cells.steps(board.steps())
    if "scores" in query.measures:
        cells.scores(board.scores())
    return figures_from(plan, cells, board.values, board.more)


class _Board:
    """The spans that are asked about, and the groups of the dimension: their values, the largest first, and how many more there are."""

    def __init__(self, ask: Ask, plan: Plan) -> None:
        self._ask = ask
        q = filters_of(plan.query)
        where, given = q.spans
        having, kept = q.whole
        later, earlier = (f"{where} AND start_ns {sign} {plan.since}" for sign in (">=", "<"))
        spans = f"SELECT * FROM spans WHERE {later} AND trace_id NOT IN (SELECT trace_id FROM spans WHERE {earlier} AND trace_id IN"
        spans += f" (SELECT trace_id FROM spans WHERE {later}))"
        if q.newest:
            newest = f"SELECT trace_id, span_id, max(receipt_ns) FROM spans WHERE {later} GROUP BY trace_id, span_id"
            spans += f" AND (trace_id, span_id, receipt_ns) IN ({newest})"
        if q.totals:
            spans = f"WITH s AS ({spans}) SELECT *, (trace_id, span_id) NOT IN ({outer('s')}) AS innermost FROM s"
        self._given = [*given * (4 if q.newest else 3), *kept, *given]
        self._with = (
            f"WITH chosen AS (SELECT trace_id, min(start_ns) AS began FROM ({spans}) GROUP BY trace_id HAVING {having}),"
            f" now AS (SELECT {', '.join(USED)} FROM spans WHERE {later} AND trace_id IN (SELECT trace_id FROM chosen)"
            " ORDER BY receipt_ns DESC LIMIT 1 BY trace_id, span_id),"
            f" board AS (SELECT trace_id, intDiv(began, {plan.step}) * {plan.step} AS bucket, greatest(lasted, 0) AS took, failed, steps"
            f" FROM (SELECT trace_id, {TOOK} AS lasted, countIf({STEPS}) AS steps, countIf(status = 'error' AND parent IS NULL) > 0"
            " OR (countIf(status = 'error') > 0 AND countIf(parent IS NULL) = 0) AS failed FROM now GROUP BY trace_id) AS n"
            " JOIN chosen USING (trace_id))"
        )
        self._dimension(plan.query.by)
        self.values, self.more = self._found(plan.query.limit) if plan.query.by else ((), 0)

    def _dimension(self, by: str | None) -> None:
        self._grouped, self._many = by is not None, False
        if by is None:
            return
        attribute = attribute_of(by)
        value = DIMENSIONS[by].value if attribute is None else said(attribute)
        self._many = attribute is None and DIMENSIONS[by].many
        self._own = PROMPTS if by == "prompt" else value if value and self._many else f"nullIf({value}, '')" if value else "NULL"
        of = "arrayJoin(own)" if self._many else "own"
        pairs = f"SELECT DISTINCT trace_id, {of} AS value FROM (SELECT trace_id, {self._own} AS own FROM now)"
        if value is None:
            pairs = "SELECT trace_id, toNullable(if(failed, 'error', 'ok')) AS value FROM board"
        self._with += f", pairs AS (SELECT * FROM ({pairs}) WHERE value IS NOT NULL)"

    def _found(self, most: int) -> tuple[tuple[str, ...], int]:
        found = self._ask(
            f"{self._with} SELECT value, count() AS n FROM pairs GROUP BY value ORDER BY n DESC, value LIMIT {most}", self._given
        )
        ((different,),) = self._ask(f"{self._with} SELECT uniqExact(value) FROM pairs", self._given)
        return tuple(value for value, _ in found), int(different) - len(found)

    def _sum(self, spans: str, measures: str, extra: str = "", *, of_trace: bool = False) -> list[tuple[Any, ...]]:
        """Rows of group, bucket, `extra`, and what was measured of these spans, which have their trace's `bucket`. They are in groups of
        their own, or in all of their trace's."""
        more = f", {extra}" if extra else ""
        rows = self._ask(
            f"{self._with} SELECT NULL, bucket{more}, {measures} FROM ({spans}) GROUP BY GROUPING SETS (({extra}), (bucket{more})) {NULLS}",
            self._given,
        )
        if not self._grouped:
            return rows
        top, sets = list(self.values), f"GROUP BY GROUPING SETS ((g{more}), (g, bucket{more})) {NULLS}"
        if of_trace:
            return rows + self._ask(
                f"{self._with}, member AS (SELECT DISTINCT trace_id, toInt64(indexOf(?, assumeNotNull(value))) AS g FROM pairs UNION ALL"
                f" SELECT trace_id, toInt64({NONE}) AS g FROM board WHERE trace_id NOT IN (SELECT trace_id FROM pairs))"
                f" SELECT g, bucket{more}, {measures} FROM ({spans}) AS s JOIN member USING (trace_id) {sets}",
                [*self._given, top],
            )
        alone = f"if(known = 1, only, {NONE})"
        of = f"arrayDistinct(arrayMap(v -> toInt64(indexOf(top, v)), {self._own}))" if self._many else ""
        g = f"arrayJoin(if(empty({self._own}), [{alone}], {of}))" if self._many else (
            f"if(isNull({self._own}), {alone}, toInt64(indexOf(top, ifNull({self._own}, ''))))")  # fmt: skip
        return rows + self._ask(
            f"{self._with}, alone AS (SELECT trace_id, 1 AS known, if(count() = 1, toInt64(indexOf(?, assumeNotNull(any(value)))),"
            f" {NONE}) AS only FROM pairs GROUP BY trace_id) SELECT g, bucket{more}, {measures} FROM (SELECT s.*, ? AS top, {g} AS g"
            f" FROM ({spans}) AS s LEFT JOIN alone ON alone.trace_id = s.trace_id) {sets}",
            [*self._given, top, top],
        )

    def _told(self, where: str, once: bool = False) -> str:
        """Spans of the chosen traces, each with its trace's `bucket`; `once` without calls that are told of twice."""
        calls = f"(SELECT * FROM now WHERE {CALLS})"
        left = f" AND (trace_id, span_id) NOT IN ({outer(calls)})" if once else ""
        return f"SELECT n.*, bucket FROM (SELECT * FROM now WHERE ({where}){left}) AS n JOIN board USING (trace_id)"

    def traces(self) -> list[tuple[Any, ...]]:
        measures = f"count(), countIf(failed), sum(steps), {SHARES.format('')}(took)"
        return self._sum("SELECT * FROM board", measures, of_trace=True)

    def calls(self) -> list[tuple[Any, ...]]:
        tokens = ("tokens_in", "tokens_out", "tokens_cached", "tokens_reasoning")
        summed = (f"sumOrNullIf({column}, kind = 'model')" for column in tokens)
        return self._sum(
            self._told(CALLS, once=True),
            "countIf(kind = 'model'), countIf(kind = 'model' AND status = 'error'),"
            f" {SHARES.format('If')}(greatest(end_ns - start_ns, 0), kind = 'model'),"
            f" {', '.join(summed)},"
            " round(sumKahanOrNull(cost), 12), countIf(cost IS NULL)",
        )

    def first_tokens(self) -> list[tuple[Any, ...]]:
        took = f"{NUMBER.format(names.FIRST_TOKEN)} * 1e9"
        return self._sum(self._told("kind = 'model'", once=True), f"count({took}), {SHARES.format('')}({took})")

    def steps(self) -> list[tuple[Any, ...]]:
        return self._sum(
            self._told(STEPS), f"count(), countIf(status = 'error'), {SHARES.format('')}(greatest(end_ns - start_ns, 0))"
        )  # fmt: skip

    def scores(self) -> list[tuple[Any, ...]]:
        """Of the same judgement given twice the newest counts: a monitor's by its name, somebody's by its span."""
        judged = (
            f"SELECT *, {said(names.SCORED)} AS judge, {NUMBER.format(names.SCORE)} AS score, {said(names.GIVEN)} AS given,"
            f" {said(names.GIVEN_TO)} AS about, if(given IS NULL, '', span_id) AS one FROM ({self._told(JUDGES)})"
            " WHERE judge IS NOT NULL ORDER BY receipt_ns DESC LIMIT 1 BY trace_id, judge, one"
        )
        judged = f"SELECT * FROM ({judged}) WHERE {COUNTS}"
        most = f"SELECT judge FROM ({judged}) GROUP BY judge ORDER BY count() DESC, judge LIMIT {SCORES}"
        return self._sum(
            f"SELECT * FROM ({judged}) WHERE judge IN ({most})", "avg(score), count(score), count() - count(score)", "judge", of_trace=True
        )
