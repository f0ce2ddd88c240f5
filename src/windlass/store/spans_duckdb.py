"""Spans in DuckDB: one file a day of receipt, append only, owned by one process.

The journal position of each writer is kept in the day's file in the same transaction as the rows, so that a crash replays
without loss or doubles; a writer's position is the greatest of all files. Rows go in as NDJSON, which DuckDB reads faster
than it binds values (126,000 rows/s against 1,500 by executemany on one core, rows of 1.2 kB).
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from windlass.core.errors import Conflict, Invalid, NotFound, Unavailable
from windlass.core.operations.sessions import SessionPage, SessionQuery
from windlass.core.operations.traces import LiveFigures, LiveQuery, Trace, TracePage, TraceQuery, TraceShow, TraceSummary
from windlass.core.span import SCORE, SCORED, Span
from windlass.store import span_erasing
from windlass.store.journal import Position
from windlass.store.span_filters import Filters, filters_of, latest, places, versions_of, watched
from windlass.store.span_sessions import outer, sessions_of
from windlass.store.spans import (
    Arrival,
    ArrivalQuery,
    Arrivals,
    CommonQuery,
    Forget,
    MentionQuery,
    ScoreQuery,
    ScoreSeen,
    SpanRow,
    SubjectQuery,
    Theirs,
    cursor_of,
    span_of,
    summary_of,
)

_TEXT = [
    "project",
    "trace_id",
    "span_id",
    "parent",
    "name",
    "kind",
    "status",
    "status_message",
    "service",
    "digest",
    "model",
    "provider",
    "input",
    "output",
    "session",
    "user",
    "release",
    "environment",
    "evaluation",
    "row",
    "attributes",
    "events",
]
TYPES: dict[str, str] = {
    name: {"cost": "DOUBLE", "versions": "VARCHAR[]"}.get(name, "VARCHAR" if name in _TEXT else "BIGINT")
    for name in SpanRow.__struct_fields__
}
COLUMNS = ", ".join(f'"{c}"' for c in TYPES)


class DuckSpans:
    """`SpanStore` over a folder of day files."""

    def __init__(self, folder: Path, memory_mb: int = 256) -> None:
        self._folder = folder
        self._memory_mb = memory_mb
        folder.mkdir(parents=True, exist_ok=True)
        self._open()

    def _open(self) -> None:
        spill = self._folder / "spill"  # one process has the folder, so what lies here is of one that was killed
        shutil.rmtree(spill, ignore_errors=True)
        for left in self._folder.glob(".*"):  # rows on their way in, or a file that was being written anew
            left.unlink(missing_ok=True)
        self._db = duckdb.connect(config={"threads": 1, "memory_limit": f"{self._memory_mb}MB", "temp_directory": str(spill)})
        self._db.execute("SET checkpoint_threshold = '1GB'")
        self._days: set[str] = set()
        for path in sorted(self._folder.glob("????-??-??.duckdb")):
            self._attach(path.stem)
        self._view()

    def _attach(self, day: str) -> str:
        name = f"d{day.replace('-', '')}"
        if day in self._days:
            return name
        path = self._folder / f"{day}.duckdb"
        try:
            self._db.execute(f"ATTACH '{path}' AS {name}")
        except duckdb.IOException as e:
            if "lock" in str(e).lower():
                raise Conflict("another process has the span files", where=str(path)) from e
            raise Unavailable(
                f"a span file cannot be opened: {e}", where=str(path), remedy="move it away; the journal can fill it again"
            ) from e
        columns = ", ".join(f'"{c}" {t}' for c, t in TYPES.items())
        self._db.execute(f"CREATE TABLE IF NOT EXISTS {name}.spans ({columns})")
        self._db.execute(f"CREATE TABLE IF NOT EXISTS {name}.positions (writer VARCHAR PRIMARY KEY, segment BIGINT, read BIGINT)")
        self._days.add(day)
        return name

    def _view(self) -> None:
        """One view over all days."""
        parts = [f"SELECT * FROM d{d.replace('-', '')}.spans" for d in sorted(self._days)]
        empty = "SELECT " + ", ".join(f'NULL::{t} AS "{c}"' for c, t in TYPES.items()) + " WHERE false"
        self._db.execute("CREATE OR REPLACE TEMP VIEW spans AS " + " UNION ALL ".join(parts or [empty]))

    def write(self, day: str, rows: Sequence[SpanRow], writer: str, position: Position) -> int:
        known = day in self._days
        name = self._attach(day)
        if not known:
            self._view()
        with self._transaction():
            added = self._insert(name, rows) if rows else 0
            self._db.execute(f"INSERT OR REPLACE INTO {name}.positions VALUES (?, ?, ?)", [writer, position.segment, position.offset])
        return added

    def _insert(self, name: str, rows: Sequence[SpanRow]) -> int:
        unique = {(r.project, r.trace_id, r.span_id, r.digest): r for r in rows}
        low, high = min(r.start_ns for r in rows), max(r.start_ns for r in rows)
        path = self._folder / f".{secrets.token_hex(6)}.ndjson"
        try:
            lines = [msgspec.json.encode(row) for row in unique.values()]
            path.write_bytes(b"\n".join(lines))
            largest = max(1 << 20, *(len(line) + 1 for line in lines))  # DuckDB sets aside twice this
            columns = "{" + ", ".join(f"'{c}': '{t}'" for c, t in TYPES.items()) + "}"
            new = f"read_json('{path}', format = 'newline_delimited', columns = {columns}, maximum_object_size = {largest})"
            found = self._db.execute(
                f"INSERT INTO {name}.spans SELECT {COLUMNS} FROM {new} n WHERE NOT EXISTS (SELECT 1 FROM {name}.spans s"
                " WHERE s.start_ns BETWEEN ? AND ? AND s.project = n.project AND s.trace_id = n.trace_id AND s.span_id = n.span_id"
                " AND s.digest = n.digest)",
                [low, high],
            ).fetchone()
        finally:
            path.unlink(missing_ok=True)
        return int(found[0]) if found else 0

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(duckdb.Error):
                self._db.execute("ROLLBACK")
            raise

    def positions(self) -> dict[str, Position]:
        found: dict[str, Position] = {}
        for day in self._days:
            for writer, segment, offset in self._db.execute(f"FROM d{day.replace('-', '')}.positions").fetchall():
                found[writer] = max(found.get(writer, Position(0, 0)), Position(segment, offset))
        return found

    def counts(self) -> dict[str, int]:
        total, traces = self._db.execute("SELECT count(project), count(DISTINCT trace_id) FROM spans").fetchone() or (0, 0)
        return {"spans": total, "traces": traces}

    def size(self) -> int:
        return sum(path.stat().st_size for path in self._folder.glob("*.duckdb*"))

    def traces(self, query: TraceQuery) -> TracePage:
        """The newest first. Only as much of history is read as fills a page: what began after a time is whole in what came after it."""
        limit = query.limit
        filters = filters_of(query)
        for since in self._windows(query, filters, limit):
            found = self._found(filters, limit + 1, since)
            if len(found) > limit:
                break
        items = self._summaries(filters, found[:limit])
        more = cursor_of(items[-1]) if len(found) > limit else None
        return TracePage(items=items, next=more)

    def _windows(self, query: TraceQuery, filters: Filters, limit: int) -> Iterator[int | None]:
        """Times further and further back to read from; None, everything, is the last."""
        where, _, given, _ = filters
        for spans in (limit * 40, limit * 1000):
            found = self._db.execute(
                f"SELECT start_ns FROM spans WHERE {where} AND start_ns <= ? ORDER BY start_ns DESC LIMIT 1 OFFSET {spans}",
                [*given, latest(query)],
            ).fetchone()
            if found is None:
                break
            yield int(found[0])
        yield None

    def _found(self, filters: Filters, most: int, since: int | None) -> list[tuple[str, int, int]]:
        """Id, first and last start of the traces that fit and began at or after `since`."""
        where, having, given, kept = filters
        recent, bounds = "", []
        if since is not None:
            began = f"SELECT trace_id FROM spans WHERE {where} AND start_ns >= ?"
            older = f"SELECT trace_id FROM spans WHERE {where} AND start_ns < ? AND trace_id IN ({began})"
            recent = f"AND start_ns >= ? AND trace_id NOT IN ({older})"
            bounds = [since, *given, since, *given, since]
        return self._db.execute(
            f"SELECT trace_id, min(start_ns), max(start_ns) FROM spans WHERE {where} {recent} GROUP BY trace_id HAVING {having}"
            f" ORDER BY min(start_ns) DESC, trace_id LIMIT {most}",
            [*given, *bounds, *kept],
        ).fetchall()

    def _summaries(self, filters: Filters, found: list[tuple[str, int, int]]) -> tuple[TraceSummary, ...]:
        """Of a revised span the newest counts. A trace is named by its root, or by its earliest span where the root is not here. A call
        that both an application and the gateway under it tell of is one: only the innermost counts."""
        if not found:
            return ()
        where, _, given, _ = filters
        first, last = min(f[1] for f in found), max(f[2] for f in found)
        light = 'trace_id, span_id, parent, start_ns, end_ns, status, kind, tokens_in, tokens_out, cost, release, session, "user"'
        rows = self._db.execute(
            f"WITH s AS (SELECT {light} FROM spans WHERE {where} AND start_ns BETWEEN ? AND ? AND trace_id IN ({_marks(found)})"
            " QUALIFY row_number() OVER (PARTITION BY trace_id, span_id ORDER BY receipt_ns DESC) = 1),"
            f" t AS (SELECT *, (trace_id, span_id) NOT IN ({outer('s')}) AS innermost FROM s)"
            " SELECT trace_id, min(start_ns) AS start_ns, max(end_ns) - min(start_ns) AS took, count(*) AS spans,"
            " bool_or(status = 'error' AND parent IS NULL) AS failed, bool_or(status = 'error') AS inner_error,"
            " count(*) FILTER (parent IS NULL) AS roots, sum(tokens_in) FILTER (kind = 'model' AND innermost) AS tin,"
            " sum(tokens_out) FILTER (kind = 'model' AND innermost) AS tout,"
            " sum(cost) FILTER (kind IN ('model', 'embedding') AND innermost) AS cost,"
            ' any_value(release) AS release, any_value(session) AS session, any_value("user") AS usr,'
            " arg_min(span_id, {'inner': parent IS NOT NULL, 'start': start_ns, 'id': span_id}) AS head"
            " FROM t GROUP BY trace_id ORDER BY start_ns DESC, trace_id",
            [*given, first, last, *(f[0] for f in found)],
        ).fetchall()
        heads = self._db.execute(
            "SELECT trace_id, span_id, name, kind, input, output, release FROM spans"
            f" WHERE project = ? AND start_ns BETWEEN ? AND ? AND span_id IN ({_marks(rows)}) ORDER BY receipt_ns",
            [given[0], first, last, *(r[-1] for r in rows)],
        ).fetchall()
        newest = {(h[0], h[1]): h[2:] for h in heads}
        return tuple(summary_of(row[:-1] + newest[row[0], row[-1]]) for row in rows)

    def trace(self, query: TraceShow) -> Trace:
        trace_id = self._resolve(query)
        limit = query.limit
        after: tuple[int, str] = (-1, "")
        if query.cursor:
            at, _, span = query.cursor.partition("-")
            if not at.isdigit():
                raise Invalid("this cursor is not one of ours", remedy="start from the first page")
            after = (int(at), span)
        page = self._db.execute(
            "SELECT arg_max(start_ns, receipt_ns) AS start, span_id FROM spans WHERE project = ? AND trace_id = ? GROUP BY span_id"
            " HAVING (start, span_id) > (?, ?) ORDER BY start, span_id LIMIT ?",
            [query.project, trace_id, *after, limit + 1],
        ).fetchall()
        spans = self._spans(query.project, trace_id, page[:limit])
        used = self._db.execute(
            "SELECT DISTINCT unnest(versions) AS v FROM spans WHERE project = ? AND trace_id = ? ORDER BY v", [query.project, trace_id]
        ).fetchall()
        one: Filters = ("project = ? AND trace_id = ?", "true", [query.project, trace_id], [])
        (summary,) = self._summaries(one, self._found(one, 1, None))
        versions = tuple(sorted((v for (v,) in used), key=lambda v: (not v.startswith("release/"), v)))
        last = spans[-1] if len(page) > limit else None
        return Trace(summary=summary, spans=spans, versions=versions, next=cursor_of(last) if last else None)

    def _spans(self, project: str, trace_id: str, page: list[tuple[int, str]]) -> tuple[Span, ...]:
        """These spans, by start and id, whole."""
        if not page:
            return ()
        rows = self._db.execute(
            f"SELECT {COLUMNS} FROM spans WHERE project = ? AND trace_id = ? AND start_ns BETWEEN ? AND ? AND span_id IN ({_marks(page)})"
            " QUALIFY row_number() OVER (PARTITION BY span_id ORDER BY receipt_ns DESC) = 1 ORDER BY start_ns, span_id",
            [project, trace_id, page[0][0], page[-1][0], *(p[1] for p in page)],
        ).fetchall()
        return tuple(span_of(dict(zip(TYPES, row, strict=True))) for row in rows)

    def _resolve(self, query: TraceShow) -> str:
        text = query.id.lower()
        if len(text) < 4 or any(c not in "0123456789abcdef" for c in text):
            raise Invalid(f"{query.id!r} is not a trace id", remedy="give 4 to 32 hex digits")
        fits = "trace_id = ?" if len(text) == 32 else "starts_with(trace_id, ?)"
        found = self._db.execute(
            f"SELECT DISTINCT trace_id FROM spans WHERE project = ? AND {fits} LIMIT 2", [query.project, text]
        ).fetchall()
        if not found:
            raise NotFound(f"there is no trace {query.id}", remedy="windlass traces lists them")
        if len(found) > 1:
            raise Invalid(f"{query.id} fits several traces", remedy="give more digits")
        return str(found[0][0])

    def live(self, query: LiveQuery) -> LiveFigures:
        bucket = max(1, query.hours) * 3_600_000_000_000 // 24
        name = versions_of(query.release, query.project) if query.release else None
        base = (
            "WITH r AS MATERIALIZED (SELECT trace_id, any_value(start_ns) AS start_ns, arg_max(end_ns - start_ns, receipt_ns) AS took,"
            " arg_max(status, receipt_ns) AS status FROM spans WHERE project = ? AND parent IS NULL"
            " AND evaluation IS NULL AND start_ns > epoch_ns(now()::TIMESTAMP) - ?"
            + (" AND starts_with(coalesce(release, ''), ?)" if name else "")
            + " GROUP BY trace_id, span_id)"
        )
        values: list[Any] = [query.project, query.hours * 3_600_000_000_000, *([name] if name else [])]
        total, *series = self._db.execute(
            base
            + " SELECT b, count(*), count(*) FILTER (status = 'error'), quantile_cont(took, 0.5) / 1e6, quantile_cont(took, 0.95) / 1e6"
            f" FROM (SELECT *, start_ns // {bucket} * {bucket} AS b FROM r) GROUP BY GROUPING SETS ((), (b)) ORDER BY b NULLS FIRST",
            values,
        ).fetchall()
        if not total[1]:
            return LiveFigures(0, 0)
        spent = self._db.execute(
            base + ", m AS MATERIALIZED (SELECT trace_id, span_id, any_value(parent) AS parent, any_value(kind) AS kind,"
            " arg_max_null(cost, receipt_ns) AS cost, arg_max_null(tokens_in, receipt_ns) AS tokens_in,"
            " arg_max_null(tokens_out, receipt_ns) AS tokens_out FROM spans WHERE project = ? AND kind = 'model'"
            " AND trace_id IN (SELECT trace_id FROM r) GROUP BY trace_id, span_id)"
            " SELECT sum(cost), count(*) FILTER (cost IS NULL), sum(coalesce(tokens_in, 0) + coalesce(tokens_out, 0)) FROM m"
            f" WHERE (trace_id, span_id) NOT IN ({outer('m')})",
            [*values, query.project],
        ).fetchone()
        assert spent is not None
        cost = None if spent[1] else spent[0]
        return LiveFigures(
            total[1], total[2], total[3], total[4], cost, spent[2], tuple((b, n, float(p95), e) for b, n, e, _, p95 in series)
        )

    def arrivals(self, query: ArrivalQuery) -> Arrivals:
        """By the place of rows in their day's file: a file only grows, so what comes later has a later place, whatever the clocks say."""
        reached, found, more = places(query.cursor), list[Arrival](), False
        fits, given = watched(query)
        fits.append("parent IS NULL" if query.service else "kind = 'request'")
        columns = ", ".join(f'"{c}"' for c in Arrival.__struct_fields__)
        for day in sorted(self._days):
            after, file = reached.get(day, -1), f"d{day.replace('-', '')}.spans"
            (last,) = self._db.execute(f"SELECT max(rowid) FROM {file}").fetchone() or (None,)
            if last is None or last <= after:
                continue
            room = query.limit - len(found)
            rows = self._db.execute(
                f"SELECT rowid, {columns} FROM {file} WHERE rowid > ? AND rowid <= ? AND {' AND '.join(fits)} ORDER BY rowid LIMIT ?",
                [after, last, *given, room + 1],
            ).fetchall()
            found += [Arrival(*row[1:]) for row in rows[:room]]
            more = more or len(rows) > room
            reached[day] = (rows[room - 1][0] if room else after) if len(rows) > room else last
        return Arrivals(tuple(found), ",".join(f"{day}:{place}" for day, place in sorted(reached.items())), more)

    def scores(self, query: ScoreQuery) -> list[ScoreSeen]:
        """By time. Of the same judgement given twice the newest counts."""
        fits, given = watched(query)
        by, value = f"json_extract_string(attributes, '$.\"{SCORED}\"')", f"CAST(json_extract(attributes, '$.\"{SCORE}\"') AS DOUBLE)"
        fits += ["kind = 'evaluator'", f"{by} IS NOT NULL", *([f"{by} = ?"] if query.evaluator else []), "start_ns >= ?"]
        given += [*([query.evaluator] if query.evaluator else []), query.since_ns or 0]
        rows = self._db.execute(
            f"SELECT start_ns, trace_id, release, {by}, {value} FROM spans WHERE {' AND '.join(fits)}"
            f" QUALIFY row_number() OVER (PARTITION BY trace_id, {by} ORDER BY receipt_ns DESC) = 1"
            " ORDER BY start_ns DESC, trace_id LIMIT ?",
            [*given, query.limit],
        ).fetchall()
        return [ScoreSeen(*row) for row in reversed(rows)]

    def sessions(self, query: SessionQuery) -> SessionPage:
        return sessions_of(self._db, query)

    def theirs(self, query: SubjectQuery) -> Theirs:
        return span_erasing.theirs(self._db, query)

    def common(self, query: CommonQuery) -> list[str]:
        return span_erasing.common(self._db, query)

    def forget(self, asked: Forget) -> int:
        """Day by day; cut off between two, it can be asked again. Returns how many spans it was."""
        total = 0
        for day in sorted(self._days):
            name, path = f"d{day.replace('-', '')}", self._folder / f"{day}.duckdb"
            total += span_erasing.forget(self._db, name, path, TYPES, asked.project, list(asked.traces))
        self._view()
        return total

    def mentions(self, query: MentionQuery) -> int:
        return span_erasing.mentions(self._db, query)

    def rest(self) -> None:
        """Give back the memory of buffers: the files are closed and opened again. Raises as opening does."""
        self._db.close()
        self._open()

    def close(self) -> None:
        self._db.close()


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
