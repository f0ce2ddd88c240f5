"""Spans in ClickHouse, 25 or newer, behind the port that DuckDB has (`spans.py`): the projector writes and asks, and nobody else.

ClickHouse has no transactions over two tables. So rows go in first and the place in the journal after them; whoever was cut off between
the two reads the same records again, and rows that are there already are dropped. An insert that the server goes on with while we ask
it again carries the same token, by which the server drops the second. Both tables are synced before they are acknowledged.
`place` counts the rows in the order they came: ClickHouse has no row numbers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from windlass.core.digest import digest_json
from windlass.core.errors import Invalid, NotFound, Unavailable
from windlass.core.operations.sessions import SessionPage, SessionQuery
from windlass.core.operations.traces import LiveFigures, LiveQuery, Remapped, Trace, TracePage, TraceQuery, TraceShow
from windlass.store import span_erasing_clickhouse
from windlass.store.journal import Position
from windlass.store.span_filters import STEPS, places, versions_of
from windlass.store.span_filters_clickhouse import TOOK, filters_of, latest, watched
from windlass.store.span_remapping_clickhouse import ClickHouseRemapping
from windlass.store.span_scores_clickhouse import judged_of, seen_of
from windlass.store.span_sessions_clickhouse import outer, sessions_of
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

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_NUMBERS = {"start_ns", "end_ns", "receipt_ns", "tokens_in", "tokens_out", "tokens_cached", "tokens_written", "tokens_reasoning"}
_LISTS = {"tags", "versions"}
_LATER = {  # a table of before lacks them
    "tokens_written": "", "tokens_reasoning": "", "tool": "", "prompt": "", "tags": "", "links": "DEFAULT '[]'", "resource": "DEFAULT '{}'",
    "input_from": "", "output_from": "",
}  # fmt: skip
_OPTIONAL = {
    n for n, d in zip(SpanRow.__struct_fields__[-len(SpanRow.__struct_defaults__) :], SpanRow.__struct_defaults__, strict=True) if d is None
}
TYPES = {
    name: "Array(String)" if name in _LISTS else f"Nullable({kind})" if name in _OPTIONAL or name == "parent" else kind
    for name in SpanRow.__struct_fields__
    for kind in ("Float64" if name == "cost" else "Int64" if name in _NUMBERS else "String",)
}
COLUMNS = ", ".join(f'"{c}"' for c in TYPES)
KEPT = "fsync_after_insert = 1, fsync_part_directory = 1"  # a table's rows are on disk when an insert is acknowledged
TABLES = (
    f"""CREATE TABLE IF NOT EXISTS spans (day Date, place Int64, {", ".join(f'"{c}" {t}' for c, t in TYPES.items())},
    INDEX by_trace trace_id TYPE bloom_filter GRANULARITY 1, INDEX by_place place TYPE minmax GRANULARITY 1)
    ENGINE = MergeTree PARTITION BY day ORDER BY (project, start_ns, trace_id)
    SETTINGS {KEPT}, non_replicated_deduplication_window = 1000""",
    f"""CREATE TABLE IF NOT EXISTS positions (writer String, segment Int64, "read" Int64)
    ENGINE = ReplacingMergeTree ORDER BY (writer, segment, "read") SETTINGS {KEPT}""",
    "ALTER TABLE spans " + ", ".join(f"ADD COLUMN IF NOT EXISTS {c} {TYPES[c]} {d}" for c, d in _LATER.items()),
)  # fmt: skip
WHOLE = {"input_format_parallel_parsing": 0, "async_insert": 0, "max_insert_block_size": 10_000_000}  # one insert, one part
LOOKED_UP = 1_000  # traces in one question whether their spans are there
PLACE = "place"  # the only name in a cursor
PASSWORD = "WINDLASS_SPANS_PASSWORD"
REMEDY = "write clickhouse://user@host:8123/database"
BY_TYPE = {int: "Int64", str: "String", float: "Float64", list: "Array(String)"}


def open_clickhouse(setting: str, environ: Mapping[str, str] = os.environ) -> ClickHouseSpans:
    """The store by the setting `spans`: `clickhouse://user@host:8123/database`, with `?secure=1` for TLS. The password comes from
    `WINDLASS_SPANS_PASSWORD`. Raises `Invalid`, which does not repeat the setting, and `Unavailable`."""
    parts = urlsplit(setting)
    options = dict(parse_qsl(parts.query))
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme != "clickhouse" or not parts.hostname or port == 0 or "/" in (database := parts.path.strip("/")) or not database:
        raise Invalid("the setting is no address of a ClickHouse database", where="spans", remedy=REMEDY)
    if parts.password is not None or any("pass" in name for name in options):
        raise Invalid("a secret does not belong in a setting", where="spans", remedy=f"put the password in {PASSWORD}")
    if options.keys() - {"secure"}:
        raise Invalid("this is no option of ClickHouse", where="spans", remedy="there is secure=1")
    try:
        import clickhouse_connect
    except ModuleNotFoundError as e:
        raise Invalid("what speaks to ClickHouse is not installed", where="spans", remedy='pip install "windlass[clickhouse]"') from e
    secure = options.get("secure") == "1"

    def connect() -> Client:
        return clickhouse_connect.get_client(
            host=parts.hostname, port=port or (8443 if secure else 8123), secure=secure, database=database,
            username=parts.username or "default", password=environ.get(PASSWORD, ""), connect_timeout=5, send_receive_timeout=60,
            form_encode_query_params=True, autogenerate_session_id=False, query_retries=0,
        )  # fmt: skip

    return ClickHouseSpans(connect, f"clickhouse://{parts.hostname}/{database}")


class ClickHouseSpans:
    """`SpanStore` in a ClickHouse database. `connect` makes a client; raises what opening raises."""

    def __init__(self, connect: Callable[[], Client], where: str) -> None:
        self._connect = connect
        self._where = where
        self._made: Client | None = None
        self._place: int | None = None  # of the last row; None where an insert may have come through and was not acknowledged
        self._remapping: ClickHouseRemapping | None = None
        for sql in TABLES:
            self._command(sql)

    @property
    def _client(self) -> Client:
        if self._made is None:
            self._made = self._connect()
        return self._made

    def _do(self, what: Callable[[], Any]) -> Any:
        """Ask the server. Raises `Unavailable` in our words: the server's may hold what was asked."""
        from clickhouse_connect.driver.exceptions import ClickHouseError

        try:
            return what()
        except (ClickHouseError, OSError) as e:
            self._place = None
            raise Unavailable(f"ClickHouse does not answer: {_first(e)}", where=self._where, remedy="it is asked again by itself") from None

    def _ask(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a question in which each `?` stands for a value. The server puts them in, so no text is ever read as SQL."""
        parts = sql.split("?")
        assert len(parts) == len(values) + 1
        named = "".join(f"{part}{{p{n}:{BY_TYPE[type(v)]}}}" for n, (part, v) in enumerate(zip(parts[:-1], values, strict=True)))
        given = {f"p{n}": value for n, value in enumerate(values)}
        rows: list[tuple[Any, ...]] = self._do(lambda: self._client.query(named + parts[-1], parameters=given).result_rows)
        return rows

    def write(self, day: str, rows: Sequence[SpanRow], writer: str, position: Position) -> int:
        new = self._new(day, rows) if rows else []
        if new:
            if self._place is None:
                self._place = int(self._ask("SELECT max(place) FROM spans")[0][0])
            lines = [msgspec.json.encode({"day": day, "place": self._place + n, **msgspec.structs.asdict(r)}) for n, r in enumerate(new, 1)]
            token = digest_json([day, writer, *position, *([r.project, r.trace_id, r.span_id, r.digest] for r in new)])
            self._insert("spans", b"\n".join(lines), {**WHOLE, "insert_deduplication_token": token})
            self._place = (self._place or 0) + len(new)
        self._insert("positions", msgspec.json.encode({"writer": writer, "segment": position.segment, "read": position.offset}), {})
        return len(new)

    def _insert(self, table: str, lines: bytes, settings: dict[str, Any]) -> None:
        self._do(lambda: self._client.raw_insert(table, insert_block=lines, fmt="JSONEachRow", settings=settings))

    def _new(self, day: str, rows: Sequence[SpanRow]) -> list[SpanRow]:
        """Those that are not there, each once."""
        unique = {(r.project, r.trace_id, r.span_id, r.digest): r for r in rows}
        low, high = min(r.start_ns for r in rows), max(r.start_ns for r in rows)
        traces = list(dict.fromkeys(r.trace_id for r in rows))
        for some in (traces[n : n + LOOKED_UP] for n in range(0, len(traces), LOOKED_UP)):
            there = self._ask(
                "SELECT project, trace_id, span_id, digest FROM spans WHERE day = toDate(?) AND start_ns BETWEEN ? AND ? AND trace_id IN ?",
                [day, low, high, some],
            )
            for key in there:
                unique.pop(key, None)
        return list(unique.values())

    def positions(self) -> dict[str, Position]:
        found = self._ask('SELECT writer, argMax(tuple(segment, "read"), tuple(segment, "read")) FROM positions GROUP BY writer')
        return {writer: Position(*reached) for writer, reached in found}

    def counts(self) -> dict[str, int]:
        spans, traces = self._ask("SELECT count(), uniqExact(trace_id) FROM spans")[0]
        return {"spans": spans, "traces": traces}

    def size(self) -> int:
        return int(self._ask("SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase()")[0][0])

    def traces(self, query: TraceQuery) -> TracePage:
        """As DuckDB's: only as much of history is read as fills a page."""
        where, having, given, kept = filters_of(query)
        for since in self._windows(query, where, given):
            found = self._found(where, having, given, kept, query.limit + 1, since)
            if len(found) > query.limit:
                break
        items = self._summaries(where, given, found[: query.limit])
        return TracePage(items=items, next=cursor_of(items[-1]) if len(found) > query.limit else None)

    def _windows(self, query: TraceQuery, where: str, given: list[Any]) -> Iterator[int | None]:
        """Times further and further back to read from; None, everything, is the last."""
        for spans in (query.limit * 40, query.limit * 1000):
            found = self._ask(
                f"SELECT start_ns FROM spans WHERE {where} AND start_ns <= ? ORDER BY start_ns DESC LIMIT 1 OFFSET {spans}",
                [*given, latest(query)],
            )
            if not found:
                break
            yield int(found[0][0])
        yield None

    def _found(
        self, where: str, having: str, given: list[Any], kept: list[Any], most: int, since: int | None
    ) -> list[tuple[str, int, int]]:  # fmt: skip
        """Id, first and last start of the traces that fit and began at or after `since`."""
        recent, bounds = "", list[Any]()
        if since is not None:
            began = f"SELECT trace_id FROM spans WHERE {where} AND start_ns >= ?"
            older = f"SELECT trace_id FROM spans WHERE {where} AND start_ns < ? AND trace_id IN ({began})"
            recent, bounds = f"AND start_ns >= ? AND trace_id NOT IN ({older})", [since, *given, since, *given, since]
        rows = self._ask(
            f"SELECT trace_id, min(start_ns) AS began, max(start_ns) AS last FROM spans WHERE {where} {recent} GROUP BY trace_id"
            f" HAVING {having} ORDER BY began DESC, trace_id LIMIT {most}",
            [*given, *bounds, *kept],
        )
        return [(trace, began, last) for trace, began, last in rows]

    def _summaries(self, where: str, given: list[Any], found: list[tuple[str, int, int]]) -> tuple[Any, ...]:
        """As DuckDB's: of a revised span the newest counts, of calls that are told of twice the innermost."""
        if not found:
            return ()
        first, last = min(f[1] for f in found), max(f[2] for f in found)
        light = 'trace_id, span_id, parent, start_ns, end_ns, status, kind, tokens_in, tokens_out, cost, release, session, "user"'
        rows = self._ask(
            f"WITH s AS (SELECT {light} FROM spans WHERE {where} AND start_ns BETWEEN ? AND ? AND trace_id IN ?"
            " ORDER BY receipt_ns DESC LIMIT 1 BY trace_id, span_id),"
            f" t AS (SELECT *, (trace_id, span_id) NOT IN ({outer('s')}) AS innermost FROM s)"
            f" SELECT trace_id, min(start_ns) AS began, {TOOK}, countIf({STEPS}),"
            " countIf(status = 'error' AND parent IS NULL) > 0, countIf(status = 'error') > 0, countIf(parent IS NULL),"
            " sumIf(tokens_in, kind = 'model' AND innermost), sumIf(tokens_out, kind = 'model' AND innermost),"
            " sumIf(cost, kind IN ('model', 'embedding') AND innermost),"
            ' any(release), any(session), any("user"), argMin(span_id, tuple(parent IS NOT NULL, start_ns, span_id))'
            " FROM t GROUP BY trace_id ORDER BY began DESC, trace_id",
            [*given, first, last, [f[0] for f in found]],
        )
        heads = self._ask(
            "SELECT trace_id, span_id, name, kind, input, output, release FROM spans"
            " WHERE project = ? AND start_ns BETWEEN ? AND ? AND span_id IN ? ORDER BY receipt_ns",
            [given[0], first, last, [r[-1] for r in rows]],
        )
        newest = {(h[0], h[1]): h[2:] for h in heads}
        return tuple(summary_of(row[:-1] + newest[row[0], row[-1]]) for row in rows)

    def trace(self, query: TraceShow) -> Trace:
        trace_id, after = self._resolve(query), (-1, "")
        if query.cursor:
            at, _, span = query.cursor.partition("-")
            if not at.isdigit():
                raise Invalid("this cursor is not one of ours", remedy="start from the first page")
            after = (int(at), span)
        mine = [query.project, trace_id]
        page = self._ask(
            "SELECT argMax(start_ns, receipt_ns) AS began, span_id FROM spans WHERE project = ? AND trace_id = ? GROUP BY span_id"
            " HAVING began > ? OR (began = ? AND span_id > ?) ORDER BY began, span_id LIMIT ?",
            [*mine, after[0], after[0], after[1], query.limit + 1],
        )
        whole = self._ask(
            f"SELECT {COLUMNS} FROM spans WHERE project = ? AND trace_id = ? AND span_id IN ? ORDER BY receipt_ns DESC LIMIT 1 BY span_id",
            [*mine, [p[1] for p in page[: query.limit]]],
        )
        found = sorted((dict(zip(TYPES, row, strict=True)) for row in whole), key=lambda r: (r["start_ns"], r["span_id"]))
        spans = tuple(span_of(row) for row in found)
        used = self._ask("SELECT DISTINCT arrayJoin(versions) FROM spans WHERE project = ? AND trace_id = ?", mine)
        one = "project = ? AND trace_id = ?"
        (summary,) = self._summaries(one, mine, self._found(one, "1", mine, [], 1, None))
        versions = tuple(sorted((v for (v,) in used), key=lambda v: (not v.startswith("release/"), v)))
        more = cursor_of(spans[-1]) if len(page) > query.limit else None
        return Trace(summary=summary, spans=spans, versions=versions, scores=judged_of(self._ask, *mine), next=more)

    def _resolve(self, query: TraceShow) -> str:
        text = query.id.lower()
        if len(text) < 4 or any(c not in "0123456789abcdef" for c in text):
            raise Invalid(f"{query.id!r} is not a trace id", remedy="give 4 to 32 hex digits")
        fits = "trace_id = ?" if len(text) == 32 else "startsWith(trace_id, ?)"
        found = self._ask(f"SELECT DISTINCT trace_id FROM spans WHERE project = ? AND {fits} LIMIT 2", [query.project, text])
        if not found:
            raise NotFound(f"there is no trace {query.id}", remedy="windlass traces lists them")
        if len(found) > 1:
            raise Invalid(f"{query.id} fits several traces", remedy="give more digits")
        return str(found[0][0])

    def live(self, query: LiveQuery) -> LiveFigures:
        bucket = max(1, query.hours) * 3_600_000_000_000 // 24
        name = versions_of(query.release, query.project) if query.release else None
        runs = (
            "WITH r AS (SELECT trace_id, any(start_ns) AS began, argMax(end_ns - start_ns, receipt_ns) AS took,"
            " argMax(status, receipt_ns) AS ended FROM spans WHERE project = ? AND parent IS NULL AND evaluation IS NULL AND start_ns > ?"
            + (" AND startsWith(ifNull(release, ''), ?)" if name else "")
            + " GROUP BY trace_id, span_id)"
        )
        values: list[Any] = [query.project, time.time_ns() - query.hours * 3_600_000_000_000, *([name] if name else [])]
        figures = "count(), countIf(ended = 'error'), quantileExactInclusive(0.5)(took) / 1e6, quantileExactInclusive(0.95)(took) / 1e6"
        (total,) = self._ask(f"{runs} SELECT {figures} FROM r", values)
        if not total[0]:
            return LiveFigures(0, 0)
        series = self._ask(f"{runs} SELECT intDiv(began, {bucket}) * {bucket} AS b, {figures} FROM r GROUP BY b ORDER BY b", values)
        ((cost, unpriced, tokens),) = self._ask(
            runs + ", m AS (SELECT trace_id, span_id, any(parent) AS above,"
            " argMax(tuple(cost), receipt_ns).1 AS spent, argMax(tuple(tokens_in), receipt_ns).1 AS tin,"
            " argMax(tuple(tokens_out), receipt_ns).1 AS tout FROM spans WHERE project = ? AND kind = 'model'"
            " AND trace_id IN (SELECT trace_id FROM r) GROUP BY trace_id, span_id)"
            " SELECT sum(spent), countIf(spent IS NULL), sumOrNull(ifNull(tin, 0) + ifNull(tout, 0)) FROM m"
            " WHERE (trace_id, span_id) NOT IN (SELECT trace_id, assumeNotNull(above) FROM m WHERE above IS NOT NULL)",
            [*values, query.project],
        )
        by_time = tuple((b, n, float(p95), e) for b, n, e, _, p95 in series)
        return LiveFigures(total[0], total[1], total[2], total[3], None if unpriced else cost, tokens, by_time)

    def arrivals(self, query: ArrivalQuery) -> Arrivals:
        """By place: what comes later has a later one, whatever the clocks say. Where another engine stopped says nothing here."""
        after = places(query.cursor).get(PLACE, 0)
        last = int(self._ask("SELECT max(place) FROM spans")[0][0])
        fits, given = watched(query)
        fits.append("parent IS NULL" if query.service else "kind = 'request'")
        columns = ", ".join(f'"{c}"' for c in Arrival.__struct_fields__)
        rows = self._ask(
            f"SELECT place, {columns} FROM spans WHERE place > ? AND place <= ? AND {' AND '.join(fits)} ORDER BY place LIMIT ?",
            [after, last, *given, query.limit + 1],
        )
        more = len(rows) > query.limit
        reached = rows[query.limit - 1][0] if more else max(last, after)
        return Arrivals(tuple(Arrival(*row[1:]) for row in rows[: query.limit]), f"{PLACE}:{reached}" if reached else "", more)

    def scores(self, query: ScoreQuery) -> list[ScoreSeen]:
        return seen_of(self._ask, query)

    def sessions(self, query: SessionQuery) -> SessionPage:
        return sessions_of(self._ask, query)

    def theirs(self, query: SubjectQuery) -> Theirs:
        return span_erasing_clickhouse.theirs(self._ask, query)

    def common(self, query: CommonQuery) -> list[str]:
        return span_erasing_clickhouse.common(self._ask, query)

    def forget(self, asked: Forget) -> int:
        """Returns how many spans it was. Parts are written anew; the server drops the old ones minutes later."""
        if self._remapping is not None:  # what it has read may be theirs
            self._remapping.again()
        return span_erasing_clickhouse.forget(self._ask, self._command, asked)

    def remap(self, read: Callable[[SpanRow], SpanRow], seconds: float) -> Remapped:
        """As DuckDB's."""
        if self._remapping is None:
            self._remapping = ClickHouseRemapping(self._ask, self._command, self._put, list(TYPES))
        end = time.monotonic() + seconds
        while not self._remapping.step(read) and time.monotonic() < end:
            pass
        told = self._remapping.told(self.counts()["spans"])
        if told.finished:
            self._remapping = None
        return told

    def _command(self, sql: str) -> None:
        self._do(lambda: self._client.command(sql))

    def _put(self, table: str, rows: list[dict[str, Any]]) -> None:
        self._insert(table, b"\n".join(map(msgspec.json.encode, rows)), WHOLE)

    def mentions(self, query: MentionQuery) -> int:
        return span_erasing_clickhouse.mentions(self._ask, query)

    def rest(self) -> None:
        """Nothing here holds memory."""

    def close(self) -> None:
        if self._made is not None:
            self._made.close()
            self._made = None


def _first(e: Exception) -> str:
    """The first line of an error without the address and whatever it names beside it."""
    text = (str(e).strip().splitlines() or [""])[0]
    code = text.partition("DB::Exception")[0].strip() if "DB::Exception" in text else ""
    return code or type(e).__name__
