"""Spans in ClickHouse, 25 or newer, behind the port that DuckDB has (`spans.py`): the projector writes and asks, and nobody else.

ClickHouse has no transactions over two tables. So rows go in first and the place in the journal after them; whoever was cut off between
the two reads the same records again, and rows that are there already are not sent again (`span_ledger_clickhouse.py` says what the
ledger makes of that). An insert that the server goes on with while we ask
it again carries the same token, by which the server drops the second. Both tables are synced before they are acknowledged.
`place` counts the rows in the order they came: ClickHouse has no row numbers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import msgspec

from windlass.core.digest import digest_json
from windlass.core.errors import Unavailable
from windlass.core.operations.calls import CallGraph, CallsShow
from windlass.core.operations.costs import CostsShow, TraceCosts
from windlass.core.operations.figures import Figures, FiguresQuery
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
from windlass.core.span import LOG, StoredSpan
from windlass.store import (
    points_clickhouse,
    span_erasing_clickhouse,
    span_expiring_clickhouse,
    span_ledger_clickhouse,
    span_portions_clickhouse,
    span_records_clickhouse,
    span_traces_clickhouse,
)
from windlass.store.clickhouse_asking import by_name, connecting, first_line
from windlass.store.clickhouse_tables import SETTINGS, Cluster, Lies, OneServer, on_cluster
from windlass.store.points import PointRow, Row, apart
from windlass.store.segments import Position
from windlass.store.span_arrivals_clickhouse import arrivals_of
from windlass.store.span_columns_clickhouse import COLUMNS, TABLES, TYPES
from windlass.store.span_fields_clickhouse import fields_of
from windlass.store.span_figures_clickhouse import figures_of
from windlass.store.span_ledger import Account, Entry, nothing
from windlass.store.span_ledger_clickhouse import NOBODY
from windlass.store.span_live_clickhouse import live_of
from windlass.store.span_logs_clickhouse import logs_of
from windlass.store.span_remapping_clickhouse import ClickHouseRemapping
from windlass.store.span_scores_clickhouse import seen_of
from windlass.store.span_sessions_clickhouse import sessions_of
from windlass.store.span_trials_clickhouse import trials_of
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
    SpanKey,
    SpanRow,
    SubjectQuery,
    Theirs,
    TrialQuery,
    Trials,
)

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

WHOLE = {"input_format_parallel_parsing": 0, "async_insert": 0, "max_insert_block_size": 10_000_000}  # one insert, one part
CONDITION_CACHE = "use_query_condition_cache"  # it leaves rows out after a join (ClickHouse issue 115178, seen in 26.9)
LOOKED_UP = 1_000  # traces in one question whether their spans are there


def open_clickhouse(setting: str, environ: Mapping[str, str] = os.environ, cluster: Cluster | None = None) -> ClickHouseSpans:
    """The store by the setting `spans`: `clickhouse://user@host:8123/database`, with `?secure=1` for TLS. The password comes from
    `WINDLASS_SPANS_PASSWORD`. Raises `Invalid`, which does not repeat the setting, and `Unavailable`."""
    connect, where = connecting(setting, environ)
    return ClickHouseSpans(connect, where, cluster)


class ClickHouseSpans:
    """`SpanStore` in a ClickHouse database. `connect` makes a client; raises what opening raises."""

    def __init__(self, connect: Callable[[], Client], where: str, cluster: Cluster | None = None) -> None:
        self._connect = connect
        self._where = where
        self._settings = SETTINGS if cluster else {}
        self._made: Client | None = None
        self._place: int | None = None  # of the last row; None where an insert may have come through and was not acknowledged
        self._remapping: ClickHouseRemapping | None = None
        self._hears: bool | None = None  # not asked yet
        self._lies: Lies = on_cluster(self._ask, cluster) if cluster else OneServer()
        for table in TABLES:
            for sql in self._lies.created(table):
                self._command(sql)
        span_ledger_clickhouse.begin(self._ask, self._enter)

    @property
    def _client(self) -> Client:
        if self._made is None:
            self._made = self._connect()
            if CONDITION_CACHE in self._made.server_settings:
                self._made.set_client_setting(CONDITION_CACHE, 0)
            for name, value in self._settings.items():
                self._made.set_client_setting(name, value)
        return self._made

    def _do(self, what: Callable[[], Any]) -> Any:
        """Ask the server. Raises `Unavailable` in our words: the server's may hold what was asked."""
        from clickhouse_connect.driver.exceptions import ClickHouseError

        try:
            return what()
        except (ClickHouseError, OSError) as e:
            self._place = None
            raise Unavailable(
                f"ClickHouse does not answer: {first_line(e)}", where=self._where, remedy="it is asked again by itself"
            ) from None

    def _ask(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a question in which each `?` stands for a value. The server puts them in, so no text is ever read as SQL."""
        named, given = by_name(sql, values)
        rows: list[tuple[Any, ...]] = self._do(lambda: self._client.query(named, parameters=given).result_rows)
        return rows

    def write(self, day: str, rows: Sequence[Row], writer: str, position: Position, account: Account = nothing) -> int:
        spans, points = apart(rows)
        new, there = self._new(day, spans) if spans else ([], {})
        measured, measured_there = points_clickhouse.new(self._ask, day, points)
        again: dict[int, Row] = {**there, **measured_there}
        unaccounted = span_ledger_clickhouse.unaccounted(self._ask, list(again), writer, position)
        cut_off = {place: row for place, row in again.items() if place in unaccounted}
        self._hears = self._hears or any(r.kind == LOG and r.parent != r.span_id for r in new)
        first, last = min(cut_off, default=0), max(cut_off, default=0)
        if new or measured:
            if self._place is None:
                self._place = self._last_place()
            self._intend(writer, position)
            first = first or self._place + 1
            for table, rows_of in (("spans", new), ("points", measured)):
                for shard, some in self._lies.apart(cast(Sequence[Row], rows_of), _spread):
                    token = digest_json([day, writer, *position, *(_key(r) for r in some)])
                    last = self._append(table, day, some, token, shard)
        self._enter(writer, *position, (first, last), account([*cut_off.values(), *new, *measured]))
        return len(new)

    def _append(self, table: str, day: str, rows: Sequence[Row], token: str, shard: int) -> int:
        """Insert rows of one shard at the next places. Returns the last of these."""
        place = self._place or 0
        lines = [msgspec.json.encode({"day": day, "place": place + n, **msgspec.structs.asdict(r)}) for n, r in enumerate(rows, 1)]
        self._insert(table, b"\n".join(lines), {**WHOLE, "insert_deduplication_token": token}, shard)
        self._place = place + len(rows)
        return self._place

    def _last_place(self) -> int:
        """Of all rows that were ever there: the last may be gone, and who goes on from a place must miss none."""
        return max(
            int(self._ask(f'SELECT max("{column}") FROM {table}')[0][0])
            for table, column in (("spans", "place"), ("points", "place"), ("positions", "last"))
        )

    def _intend(self, writer: str, position: Position) -> None:
        reached = (position.segment << 44) + position.offset
        row = {"writer": writer, "segment": position.segment, "read": position.offset, "reached": reached}
        self._insert("intents", msgspec.json.encode(row), {})

    def unsure(self) -> dict[str, Position]:
        found = self._ask('SELECT writer, argMax(tuple(segment, "read"), reached) FROM intents GROUP BY writer')
        there = self.positions()
        return {w: end for w, at in found if (end := Position(*at)) > there.get(w, Position(0, 0))}

    def _enter(self, writer: str, segment: int, read: int, places: tuple[int, int], entries: Sequence[Entry]) -> None:
        row = {"writer": writer, "segment": segment, "read": read, "first": places[0], "last": places[1], "ledger": entries}
        self._insert("positions", msgspec.json.encode(row), {})

    def _insert(self, table: str, lines: bytes, settings: dict[str, Any], shard: int = 1) -> None:
        to = {**settings, **self._lies.to(shard)}
        self._do(lambda: self._client.raw_insert(table, insert_block=lines, fmt="JSONEachRow", settings=to))

    def _new(self, day: str, rows: Sequence[SpanRow]) -> tuple[list[SpanRow], dict[int, SpanRow]]:
        """Those that are not there, each once; and by place those that are."""
        unique = {(r.project, r.trace_id, r.span_id, r.digest): r for r in rows}
        low, high = min(r.start_ns for r in rows), max(r.start_ns for r in rows)
        traces = list(dict.fromkeys(r.trace_id for r in rows))
        again = dict[int, SpanRow]()
        for some in (traces[n : n + LOOKED_UP] for n in range(0, len(traces), LOOKED_UP)):
            there = self._ask(
                "SELECT project, trace_id, span_id, digest, place FROM spans"
                " WHERE day = toDate(?) AND start_ns BETWEEN ? AND ? AND trace_id IN ?",
                [day, low, high, some],
            )
            for *key, place in there:
                if (row := unique.pop(tuple(key), None)) is not None:
                    again[place] = row
        return list(unique.values()), again

    def hears(self) -> bool:
        if self._hears is None:
            self._hears = span_records_clickhouse.hears(self._ask)
        return self._hears

    def records(self, keys: Sequence[SpanKey]) -> list[SpanRow]:
        return span_records_clickhouse.records(self._ask, keys, list(TYPES))

    def spans_at(self, keys: Sequence[SpanKey]) -> list[SpanRow]:
        return span_records_clickhouse.spans_at(self._ask, keys, list(TYPES))

    def positions(self) -> dict[str, Position]:
        found = self._ask(
            'SELECT writer, argMax(tuple(segment, "read"), tuple(segment, "read")) FROM positions WHERE writer != ? GROUP BY writer',
            [NOBODY],
        )
        return {writer: Position(*reached) for writer, reached in found}

    def counts(self) -> dict[str, int]:
        total, logs, traces = self._ask(
            f"SELECT countIf(NOT joined), countIf(kind = '{LOG}'), uniqExactIf(trace_id, kind != '{LOG}') FROM spans"
        )[0]
        return {"spans": total - logs, "traces": traces, "logs": logs}

    def size(self) -> int:
        return int(self._ask(f"SELECT sum(bytes_on_disk) {self._lies.parts}")[0][0])

    def traces(self, query: TraceQuery) -> TracePage:
        return span_traces_clickhouse.traces_of(self._ask, query)

    def fields(self, query: FieldQuery) -> Fields:
        return fields_of(self._ask, query)

    def logs(self, query: LogQuery) -> LogPage:
        return logs_of(self._ask, query, list(TYPES))

    def trace(self, query: TraceShow) -> Trace:
        return span_traces_clickhouse.trace_of(self._ask, query, list(TYPES))

    def recent(self, query: RecentQuery) -> list[StoredSpan]:
        return span_records_clickhouse.recent(self._ask, query, list(TYPES))

    def tree(self, query: TreeShow) -> TraceTree:
        return span_traces_clickhouse.tree_shown(self._ask, query)

    def calls(self, query: CallsShow) -> CallGraph:
        return span_traces_clickhouse.calls_shown(self._ask, query)

    def costs(self, query: CostsShow) -> TraceCosts:
        return span_traces_clickhouse.costs_shown(self._ask, query)

    def text(self, query: TextShow) -> SpanText:
        return span_traces_clickhouse.text_of(self._ask, query)

    def live(self, query: LiveQuery) -> LiveFigures:
        return live_of(self._ask, query)

    def figures(self, query: FiguresQuery) -> Figures:
        return figures_of(self._ask, query)

    def metrics(self, query: MetricQuery) -> MetricPage:
        return points_clickhouse.metrics_of(self._ask, query)

    def metric(self, query: MetricShow) -> MetricTold:
        return points_clickhouse.metric_of(self._ask, query)

    def arrivals(self, query: ArrivalQuery) -> Arrivals:
        return arrivals_of(self._ask, query)

    def trials(self, query: TrialQuery) -> Trials:
        return trials_of(self._ask, query)

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
        points_clickhouse.forget(self._ask, self._enter, self._alter, asked)
        span_ledger_clickhouse.erasing(self._ask, self._enter, asked)
        return span_erasing_clickhouse.forget(self._ask, self._alter, asked)

    def ledger(self, project: str, since: int) -> list[Entry]:
        return span_ledger_clickhouse.read(self._ask, project, since)

    def enter(self, entries: Sequence[Entry]) -> None:
        self._enter(NOBODY, 2, time.time_ns(), (0, 0), entries)

    def mended(self, error: Exception) -> Unavailable | None:
        """What the server said is said in our words where it was asked, and there is nothing to open."""
        return None

    def days(self) -> list[str]:
        return span_expiring_clickhouse.days(self._ask, self._lies)

    def index(self, seconds: float) -> bool:
        return False  # ClickHouse makes its own, of columns that have one

    def expire(self, day: str) -> int:
        if self._remapping is not None:
            return 0
        return span_expiring_clickhouse.expire(self._ask, self._enter, self._alter, day)

    def rows_by_hour(self, project: str) -> list[tuple[int, str, int]]:
        return span_ledger_clickhouse.rows_by_hour(self._ask, project)

    def held(self, day: str, project: str, traces: Sequence[str]) -> list[SpanRow]:
        rows = self._ask(
            f"SELECT {COLUMNS} FROM spans WHERE day = toDate(?) AND project = ? AND trace_id IN ?", [day, project, list(traces)]
        )
        return [msgspec.convert(dict(zip(TYPES, row, strict=True)), SpanRow) for row in rows]

    def held_points(self, day: str, project: str, digests: Sequence[str]) -> list[PointRow]:
        return points_clickhouse.held(self._ask, day, project, digests)

    def remap(self, read: Callable[[SpanRow], SpanRow], seconds: float) -> Remapped:
        """As DuckDB's."""
        if self._remapping is None:
            self._remapping = ClickHouseRemapping(self._ask, self._command, self._put, list(TYPES), self._lies)
        end = time.monotonic() + seconds
        while not self._remapping.step(read) and time.monotonic() < end:
            pass
        told = self._remapping.told(int(self._ask("SELECT count() FROM spans")[0][0]))
        if told.finished:
            self._remapping = None
        return told

    def _command(self, sql: str) -> None:
        self._do(lambda: self._client.command(sql))

    def _alter(self, table: str, what: str) -> None:
        self._command(self._lies.altered(table, what))

    def _put(self, table: str, rows: list[dict[str, Any]]) -> None:
        for shard, some in self._lies.apart(rows, lambda row: str(row["trace_id"])):
            self._insert(table, b"\n".join(map(msgspec.json.encode, some)), WHOLE, shard)

    def mentions(self, query: MentionQuery) -> int:
        return span_erasing_clickhouse.mentions(self._ask, query)

    def portion(self, query: PortionQuery) -> Portion:
        return span_portions_clickhouse.portion_of(self._ask, self._packed, query)

    def _packed(self, sql: str, values: Sequence[Any]) -> bytes:
        named, given = by_name(sql, values)
        packed: bytes = self._do(lambda: self._client.raw_query(named, parameters=given, fmt="Parquet"))
        return packed

    def rest(self) -> None:
        """Nothing here holds memory."""

    def close(self) -> None:
        if self._made is not None:
            self._made.close()
            self._made = None


def _key(row: Row) -> list[str]:
    """What tells it from others of its project."""
    return [row.project, row.digest] if isinstance(row, PointRow) else [row.project, row.trace_id, row.span_id, row.digest]


def _spread(row: Row) -> str:
    """By what it is given to a shard."""
    return row.series if isinstance(row, PointRow) else row.trace_id
