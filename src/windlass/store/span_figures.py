"""Figures of traces over time, in DuckDB.

Which traces they are of is found in `traces`, a tenth of the rows, and narrowed by what else is asked. Then each family of measures reads
its few columns once, of the rows of that time alone, and is summed up by bucket, and by group of the dimension asked for. Two things that
cost much are done only where they can matter (`span_suspects.py`): taking the newest of a revised span, and leaving out calls that are
told of twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import duckdb

from windlass.core import span as names
from windlass.core.operations.figures import Figures, FiguresQuery
from windlass.core.span import LOG
from windlass.store.span_columns import COLUMNS, said
from windlass.store.span_conditions import Condition
from windlass.store.span_figuring import NONE, OTHERS, SCORES, Cells, Plan, attribute_of, figures_from, planned
from windlass.store.span_filters import IN_PLACES, STEPS, TOOK, Asked, asked
from windlass.store.span_places import File
from windlass.store.span_scores import COUNTS
from windlass.store.span_sessions import outer
from windlass.store.span_suspects import CALLS, Suspects

NEWEST, OLDER = (f"QUALIFY row_number() OVER (PARTITION BY trace_id, span_id ORDER BY receipt_ns DESC) {which} 1" for which in "=>")
SHARES = "[0.5, 0.9, 0.95, 0.99]"


class Dimension(NamedTuple):
    """What of a span says in which group it is: SQL over columns, a text or a list of texts. None: its trace alone says it."""

    columns: tuple[str, ...]
    value: str | None
    many: bool = False


DIMENSIONS = {
    **{
        name: Dimension((name,), name)
        for name in ("model", "provider", "release", "service", "environment", "session", "kind", "name", "tool")
    },
    "user": Dimension(('"user"',), '"user"'),
    "tag": Dimension(("tags",), "tags", many=True),
    "version": Dimension(("versions",), "versions", many=True),
    "prompt": Dimension(
        ("versions", "prompt"),
        "list_filter(versions, lambda v: starts_with(v, 'prompt/')) || CASE WHEN prompt IS NULL THEN [] ELSE [prompt] END",
        many=True,
    ),
    "status": Dimension((), None),
}  # fmt: skip


def figures_of(db: duckdb.DuckDBPyConnection, files: Sequence[File], query: FiguresQuery, suspects: Suspects) -> Figures:
    """Raises `Invalid` for what cannot be asked."""
    plan = planned(query, DIMENSIONS)
    cells = Cells()
    if not files:
        return figures_from(plan, cells)
    q = asked(plan.query)
    last = _choose(db, files, q)
    if last is None:
        return figures_from(plan, cells)
    suspects.look(files, q.since)
    rows = _Rows([f for f in files if f.last_ns >= q.since], q.spans, q.since, last)
    rows.find_stale(db)
    _board(db, rows, plan)
    groups = _Groups(db, rows, plan) if query.by else None
    if "calls" in query.measures or "first_token" in query.measures:
        rows.find_twice(db)
    summing = _Summing(db, rows, groups, cells)
    if "traces" in query.measures:
        summing.traces()
    if "calls" in query.measures:
        summing.calls()
    if "first_token" in query.measures:
        summing.first_tokens()
    if "steps" in query.measures:
        summing.steps()
    if "scores" in query.measures:
        summing.scores()
    return figures_from(plan, cells, groups.values if groups else (), groups.more if groups else 0)


def _choose(db: duckdb.DuckDBPyConnection, files: Sequence[File], q: Asked) -> int | None:
    """Fills `chosen` with the traces that fit, and when each began. Returns when the last of their spans did; None where none fits."""
    where, given = q.spans

    def places(condition: str) -> str:
        return " UNION ALL ".join(f"SELECT trace_id, start_ns, last_ns FROM {f.name}.traces WHERE {where} AND {condition}" for f in files)

    within = [(sql, values) for sql, values in q.steps if sql in IN_PLACES]
    kept = "".join(f" SEMI JOIN ({places(sql)}) USING (trace_id)" for sql, _ in within)
    db.execute(
        "CREATE OR REPLACE TEMP TABLE chosen AS SELECT trace_id, began, last FROM (SELECT trace_id, min(start_ns) AS began,"
        f" max(last_ns) AS last FROM ({places(f'start_ns >= {q.since}')}) GROUP BY trace_id HAVING began <= {q.until})"
        f" ANTI JOIN ({places(f'start_ns < {q.since}')}) USING (trace_id){kept}",
        [*given * len(files) * 2, *(v for _, values in within for _ in files for v in [*given, *values])],
    )
    fits = [*((f"bool_or({sql})", values) for sql, values in q.steps if sql not in IN_PLACES), *q.whole]
    if fits and (last := _last(db)) is not None:
        spans, values = _Rows(files, q.spans, q.since, last).raw(COLUMNS)
        rows = f"FROM ({spans}) SEMI JOIN chosen USING (trace_id) {NEWEST if q.newest else ''}"
        if q.totals:
            rows = f"WITH s AS ({rows}) SELECT *, (trace_id, span_id) NOT IN ({outer('s')}) AS innermost FROM s"
        db.execute(
            f"CREATE OR REPLACE TEMP TABLE chosen AS SELECT chosen.* FROM chosen SEMI JOIN (SELECT trace_id FROM ({rows})"
            f" GROUP BY trace_id HAVING {' AND '.join(f'({sql})' for sql, _ in fits)}) USING (trace_id)",
            [*values, *(v for _, given in fits for v in given)],
        )
    return _last(db)


def _last(db: duckdb.DuckDBPyConnection) -> int | None:
    (last,) = db.execute("SELECT max(last) FROM chosen").fetchone() or (None,)
    return None if last is None else int(last)


class _Rows:
    """The spans of a time, each as it is now: `stale` says where rows of before lie, `twice` where calls that another span tells of.
    What is not among `chosen` goes when it is joined with them."""

    def __init__(self, files: Sequence[File], spans: Condition, since: int, last: int) -> None:
        self._files, self._spans = files, spans
        self._within = f"kind <> '{LOG}' AND start_ns BETWEEN {since} AND {last}"
        self._without: tuple[str, ...] = ()
        self._once: tuple[str, ...] = ()

    def raw(self, columns: str, where: str = "true", without: Sequence[str] = ()) -> Condition:
        """All rows of that time that fit, of a revised span several; without those that lie where these tables say."""
        condition, given = self._spans
        parts = [
            f"SELECT {columns.format(file=n)} FROM {f.name}.spans WHERE {condition} AND {self._within} AND {where}"
            + "".join(f" AND rowid NOT IN (SELECT place FROM {table} WHERE file = {n})" for table in without)
            for n, f in enumerate(self._files)
        ]
        return " UNION ALL ".join(parts), [*given * len(parts)]

    def now(self, *columns: str, where: str = "true", once: bool = False) -> Condition:
        """Rows as they are now that fit; `once` without calls that are told of twice."""
        return self.raw(", ".join(dict.fromkeys(columns)), where, (*self._without, *(self._once if once else ())))

    def find_stale(self, db: duckdb.DuckDBPyConnection) -> None:
        if not _any(db, "revised"):
            return
        rows, values = self.raw("{file} AS file, rowid AS place, trace_id, span_id, receipt_ns", "span_id IN (FROM revised)")
        db.execute(f"CREATE OR REPLACE TEMP TABLE stale AS SELECT file, place FROM ({rows}) {OLDER}", values)
        self._without = ("stale",) if _any(db, "stale") else ()

    def find_twice(self, db: duckdb.DuckDBPyConnection) -> None:
        if not _any(db, "doubtful"):
            return
        columns = ("{file} AS file", "rowid AS place", "trace_id", "span_id", "parent", "kind", "response", "start_ns", "end_ns")
        rows, values = self.now(*columns, where=CALLS)
        db.execute(f"CREATE OR REPLACE TEMP TABLE retold AS FROM ({rows}) SEMI JOIN doubtful USING (trace_id)", values)
        told = f"(trace_id, span_id) IN ({outer('retold')})"
        db.execute(f"CREATE OR REPLACE TEMP TABLE twice AS SELECT file, place FROM retold WHERE {told}")
        self._once = ("twice",) if _any(db, "twice") else ()


def _any(db: duckdb.DuckDBPyConnection, table: str) -> bool:
    return db.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is not None


def _board(db: duckdb.DuckDBPyConnection, rows: _Rows, plan: Plan) -> None:
    """Fills `board` with what is told of each trace as one."""
    spans, values = rows.now("trace_id", "parent", "start_ns", "end_ns", "kind", "status")
    failed = "status = 'error'"
    db.execute(
        f"CREATE OR REPLACE TEMP TABLE board AS SELECT trace_id, began // {plan.step} * {plan.step} AS bucket, greatest(took, 0) AS took,"
        f" failed, steps FROM (SELECT trace_id, {TOOK} AS took, count(*) FILTER ({STEPS}) AS steps, bool_or({failed} AND parent IS NULL)"
        f" OR (bool_or({failed}) AND NOT bool_or(parent IS NULL)) AS failed FROM ({spans}) GROUP BY trace_id) JOIN chosen USING (trace_id)",
        values,
    )


class _Groups:
    """The groups of a dimension: their values, the largest first, and how many more there are. Fills `member` with the groups of each
    trace by number, and `alone` with that of a span without a value of its own."""

    def __init__(self, db: duckdb.DuckDBPyConnection, rows: _Rows, plan: Plan) -> None:
        by = plan.query.by or ""
        attribute = attribute_of(by)
        self._by = DIMENSIONS[by] if attribute is None else Dimension(("attributes",), said(attribute))
        if self._by.value is None:
            pairs, values = "SELECT trace_id, CASE WHEN failed THEN 'error' ELSE 'ok' END AS value FROM board", list[Any]()
        else:
            spans, values = rows.now("trace_id", *self._by.columns)
            own = f"unnest({self._by.value})" if self._by.many else f"nullif({self._by.value}, '')"
            pairs = f"SELECT DISTINCT * FROM (SELECT trace_id, {own} AS value FROM ({spans})) WHERE value IS NOT NULL"
        db.execute(f"CREATE OR REPLACE TEMP TABLE pairs AS FROM ({pairs}) SEMI JOIN board USING (trace_id)", values)
        found = db.execute("SELECT value, count(*) AS n FROM pairs GROUP BY value ORDER BY n DESC, value LIMIT ?", [plan.query.limit])
        self.values = tuple(value for value, _ in found.fetchall())
        (different,) = db.execute("SELECT count(DISTINCT value) FROM pairs").fetchone() or (0,)
        self.more = different - len(self.values)
        db.execute("CREATE OR REPLACE TEMP TABLE top AS SELECT unnest(?::VARCHAR[]) AS value, unnest(range(1, ? + 1)) AS number",
                   [list(self.values), len(self.values)])  # fmt: skip
        db.execute("SET VARIABLE top = (SELECT coalesce(list(value ORDER BY number), []) FROM top)")
        db.execute(
            "CREATE OR REPLACE TEMP TABLE member AS SELECT DISTINCT trace_id,"
            f" CASE WHEN value IS NULL THEN {NONE} ELSE coalesce(number, {OTHERS}) END AS g"
            " FROM board LEFT JOIN pairs USING (trace_id) LEFT JOIN top USING (value)"
        )
        db.execute(
            f"CREATE OR REPLACE TEMP TABLE alone AS SELECT trace_id, CASE WHEN count(*) = 1 THEN any_value(coalesce(number, {OTHERS}))"
            f" ELSE {NONE} END AS g FROM pairs LEFT JOIN top USING (value) GROUP BY trace_id"
        )

    @property
    def columns(self) -> tuple[str, ...]:
        return self._by.columns

    @property
    def several(self) -> bool:
        """Whether a span may be in several groups."""
        return self._by.many

    def grouped(self, spans: str) -> str:
        """These spans, which have their `trace_id` and our columns, each in its group `g`; in several where it has several values."""
        by, alone = self._by, f"coalesce(alone.g, {NONE})"
        if by.value is None:
            return f"SELECT s.*, {alone} AS g FROM ({spans}) s LEFT JOIN alone USING (trace_id)"
        if not by.many:
            return (
                f"SELECT s.*, CASE WHEN s.value IS NULL THEN {alone} ELSE coalesce(number, {OTHERS}) END AS g FROM"
                f" (SELECT *, nullif({by.value}, '') AS value FROM ({spans})) s LEFT JOIN alone USING (trace_id)"
                " LEFT JOIN top ON top.value = s.value"
            )
        of = f"list_transform(s.values, lambda v: coalesce(list_position(getvariable('top'), v), {OTHERS}))"
        return (
            f"SELECT s.*, unnest(CASE WHEN len(s.values) = 0 THEN [{alone}] ELSE list_distinct({of}) END) AS g FROM"
            f" (SELECT *, coalesce({by.value}, []) AS values FROM ({spans})) s LEFT JOIN alone USING (trace_id)"
        )


class _Summing:
    """Sums, of everything and by group, each whole and by bucket."""

    def __init__(self, db: duckdb.DuckDBPyConnection, rows: _Rows, groups: _Groups | None, cells: Cells) -> None:
        self._db, self._rows, self._groups, self._cells = db, rows, groups, cells
        self._columns = groups.columns if groups else ()

    def _asked(self, spans: Condition, measures: str, extra: str = "", *, of_trace: bool = False) -> list[tuple[Any, ...]]:
        """Rows of group, bucket, `extra`, and what was measured of spans that have their trace's `bucket`. They are in groups of their own,
        or in all of their trace's."""
        sql, values = spans
        more = f", {extra}" if extra else ""
        whole, each = f"({extra}), (bucket{more})", f"(g{more}), (g, bucket{more})"
        asked = [("NULL", sql, whole)]
        if self._groups is not None:
            grouped = f"SELECT s.*, g FROM ({sql}) s JOIN member USING (trace_id)" if of_trace else self._groups.grouped(sql)
            # a span that is in one group alone is read once for both
            asked = [*asked, ("g", grouped, each)] if of_trace or self._groups.several else [("g", grouped, f"{whole}, {each}")]
        return [
            row
            for g, rows, sets in asked
            for row in self._db.execute(
                f"SELECT {g}, bucket{more}, {measures} FROM ({rows}) GROUP BY GROUPING SETS ({sets})", values
            ).fetchall()
        ]

    def _told(self, *columns: str, where: str = "true", once: bool = False) -> Condition:
        """Spans of the chosen traces, each with its trace's `bucket`; `once` without calls that are told of twice."""
        spans, values = self._rows.now("trace_id", "span_id", *columns, *self._columns, where=where, once=once)
        return f"SELECT s.*, bucket FROM ({spans}) s JOIN board ON board.trace_id = s.trace_id", values

    def traces(self) -> None:
        measures = f"count(*), count(*) FILTER (failed), sum(steps), quantile_cont(took, {SHARES})"
        self._cells.traces(self._asked(("SELECT * FROM board", []), measures, of_trace=True))

    def calls(self) -> None:
        columns = ("start_ns", "end_ns", "kind", "status", "tokens_in", "tokens_out", "tokens_cached", "tokens_reasoning", "cost")
        tokens = ", ".join(f"sum({column}) FILTER (kind = 'model')" for column in columns[4:8])
        model = "FILTER (kind = 'model')"
        self._cells.calls(self._asked(
            self._told(*columns, where=CALLS, once=True),
            f"count(*) {model}, count(*) FILTER (kind = 'model' AND status = 'error'),"
            f" quantile_cont(greatest(end_ns - start_ns, 0), {SHARES}) {model}, {tokens}, round(fsum(cost), 12),"
            " count(*) FILTER (cost IS NULL)",
        ))  # fmt: skip

    def first_tokens(self) -> None:
        took = f"TRY_CAST({said(names.FIRST_TOKEN)} AS DOUBLE) * 1e9"
        self._cells.first_tokens(self._asked(
            self._told("attributes", where="kind = 'model'", once=True), f"count({took}), quantile_cont({took}, {SHARES})"
        ))  # fmt: skip

    def steps(self) -> None:
        took = f"quantile_cont(greatest(end_ns - start_ns, 0), {SHARES})"
        spans = self._told("start_ns", "end_ns", "status", where=f"({STEPS})")
        self._cells.steps(self._asked(spans, f"count(*), count(*) FILTER (status = 'error'), {took}"))

    def scores(self) -> None:
        """Of the same judgement given twice the newest counts: a monitor's by its name, somebody's by its span."""
        spans, values = self._told("receipt_ns", "attributes", where="kind = 'evaluator'")
        judged = (
            f"SELECT *, {said(names.SCORED)} AS judge, TRY_CAST({said(names.SCORE)} AS DOUBLE) AS score, {said(names.GIVEN)} AS given,"
            f" {said(names.GIVEN_TO)} AS about FROM ({spans})"
        )
        self._db.execute(
            f"CREATE OR REPLACE TEMP TABLE judged AS SELECT * FROM (SELECT * FROM ({judged}) WHERE judge IS NOT NULL QUALIFY row_number()"
            f" OVER (PARTITION BY trace_id, judge, CASE WHEN given IS NULL THEN 0 ELSE span_id END ORDER BY receipt_ns DESC) = 1)"
            f" WHERE {COUNTS}",
            values,
        )
        most = f"SELECT judge FROM judged GROUP BY judge ORDER BY count(*) DESC, judge LIMIT {SCORES}"
        found: Condition = (f"SELECT * FROM judged WHERE judge IN ({most})", [])
        self._cells.scores(self._asked(found, "avg(score), count(score), count(*) - count(score)", "judge", of_trace=True))
