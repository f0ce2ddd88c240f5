"""Spans in DuckDB: one file a day of receipt, append only, owned by one process.

The journal position of each writer is kept in the day's file in the same transaction as the rows, so that a crash replays
without loss or doubles; a writer's position is the greatest of all files. `span_columns.py` is how rows lie in a file.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import duckdb
import msgspec

from windlass.core.errors import Conflict, Unavailable
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
    points_duckdb,
    span_arrivals,
    span_columns,
    span_erasing,
    span_expiring,
    span_files,
    span_ledger,
    span_live,
    span_long,
    span_portions,
    span_records,
    span_traces,
    span_trials,
)
from windlass.store.points import PointRow, Row, apart
from windlass.store.segments import Position
from windlass.store.span_columns import COLUMNS, ROW, TYPES
from windlass.store.span_fields import fields_of
from windlass.store.span_figures import figures_of
from windlass.store.span_filters import EARLIEST
from windlass.store.span_keys import Keys
from windlass.store.span_ledger import Account, Entry, nothing
from windlass.store.span_logs import logs_of
from windlass.store.span_places import File
from windlass.store.span_remapping import Remapping
from windlass.store.span_scores import seen_of
from windlass.store.span_sessions import sessions_of
from windlass.store.span_suspects import Suspects
from windlass.store.span_words import Words
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

LONG_EMPTY = "SELECT NULL::VARCHAR AS project, NULL::UUID AS trace_id, NULL::UBIGINT AS span_id, NULL::VARCHAR AS text WHERE false"
BROKEN = (duckdb.IOException, duckdb.TransactionException, duckdb.FatalException, duckdb.InternalException)


class Extent(NamedTuple):
    """How many rows a file has, and when the last of its spans began."""

    rows: int
    last_ns: int


class DuckSpans:
    """`SpanStore` over a folder of day files."""

    def __init__(self, folder: Path, memory_mb: int = 256) -> None:
        self._folder = folder
        self._memory_mb = memory_mb
        self._remapping: Remapping | None = None
        self._keys = Keys()
        folder.mkdir(parents=True, exist_ok=True)
        self._open()

    def _open(self) -> None:
        spill = self._folder / "spill"  # one process has the folder, so what lies here is of one that was killed
        shutil.rmtree(spill, ignore_errors=True)
        for left in self._folder.glob(".*"):  # a file that was being written anew
            left.unlink(missing_ok=True)
        self._db = duckdb.connect(config={"threads": 1, "memory_limit": f"{self._memory_mb}MB", "temp_directory": str(spill)})
        self._db.execute("SET checkpoint_threshold = '64MB'")
        self._db.execute("SET pandas_analyze_sample = 0")  # a column of objects is text, also where it begins with nothing
        for macro in span_columns.MACROS:
            self._db.execute(f"CREATE TEMP MACRO {macro}")
        self._days: dict[str, Extent] = {}
        for path in sorted(self._folder.glob("????-??-??.duckdb")):
            self._attach(path.stem)
        self._suspects = Suspects(self._db)
        self._words, self._indexed = Words(self._db), False
        self._view()

    def _attach(self, day: str) -> str:
        name, path = _name(day), self._folder / f"{day}.duckdb"
        if day in self._days:
            return name
        try:
            span_files.attach(self._db, name, path)
        except duckdb.IOException as e:
            if "lock" in str(e).lower():
                raise Conflict("another process has the span files", where=str(path)) from e
            raise Unavailable(
                f"a span file cannot be opened: {e}", where=str(path), remedy="move it away; the journal can fill it again"
            ) from e
        span_files.prepare(self._db, name, path)
        self._days[day] = self._extent(name)
        return name

    def _extent(self, name: str) -> Extent:
        (rows,) = self._db.execute(f"SELECT coalesce(max(rowid) + 1, 0) FROM {name}.spans").fetchone() or (0,)
        (last,) = self._db.execute(f"SELECT coalesce(max(last_ns), {EARLIEST}) FROM {name}.traces").fetchone() or (EARLIEST,)
        return Extent(rows, last)

    def _view(self) -> None:
        """One view over all days."""
        parts = [f"SELECT {COLUMNS} FROM {_name(d)}.spans" for d in sorted(self._days)]
        empty = "SELECT " + ", ".join(f'NULL::{t} AS "{c}"' for c, t in TYPES.items()) + " WHERE false"
        self._db.execute("CREATE OR REPLACE TEMP VIEW spans AS " + " UNION ALL ".join(parts or [empty]))
        texts = " UNION ALL ".join(f"FROM {_name(d)}.long" for d in sorted(self._days))
        self._db.execute(f"CREATE OR REPLACE TEMP VIEW long AS {texts or LONG_EMPTY}")
        points = " UNION ALL ".join(f"FROM {_name(d)}.points" for d in sorted(self._days))
        self._db.execute(f"CREATE OR REPLACE TEMP VIEW points AS {points or points_duckdb.EMPTY}")

    def write(self, day: str, rows: Sequence[Row], writer: str, position: Position, account: Account = nothing) -> int:
        known = day in self._days
        name = self._attach(day)
        if not known:
            self._view()
        spans, points = apart(rows)
        with self._transaction():
            grown, new = self._insert(name, spans, self._days[day]) if spans else (self._days[day], [])
            measured = points_duckdb.insert(self._db, name, points) if points else []
            span_ledger.add(self._db, name, account([*new, *measured]))
            self._db.execute(f"INSERT OR REPLACE INTO {name}.positions VALUES (?, ?, ?)", [writer, position.segment, position.offset])
        added, self._days[day] = grown.rows - self._days[day].rows, grown
        self._indexed = self._indexed and not added
        return added

    def _insert(self, name: str, rows: Sequence[SpanRow], extent: Extent) -> tuple[Extent, list[SpanRow]]:
        """Put in those that are not there yet. Returns how far the file goes then, and which they were."""
        from windlass.store import span_batches  # with NumPy, which is not needed until there is something to write

        new, last = span_batches.insert(self._db, name, rows, extent.rows)
        return (Extent(extent.rows + len(new), max(extent.last_ns, last)) if new else extent), new

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

    def hears(self) -> bool:
        return span_records.hears(self._db, self._files())

    def records(self, keys: Sequence[SpanKey]) -> list[SpanRow]:
        return span_records.records(self._db, self._files(), keys)

    def spans_at(self, keys: Sequence[SpanKey]) -> list[SpanRow]:
        return span_records.spans_at(self._db, self._files(), keys)

    def unsure(self) -> dict[str, Position]:
        return {}

    def positions(self) -> dict[str, Position]:
        found: dict[str, Position] = {}
        for day in self._days:
            for writer, segment, offset in self._db.execute(f"FROM {_name(day)}.positions").fetchall():
                found[writer] = max(found.get(writer, Position(0, 0)), Position(segment, offset))
        return found

    def counts(self) -> dict[str, int]:
        total, logs = self._db.execute(
            f"SELECT count(project) FILTER (NOT joined), count(*) FILTER (kind = '{LOG}') FROM spans"
        ).fetchone() or (0, 0)
        parts = " UNION ALL ".join(f"SELECT trace_id FROM {_name(day)}.traces" for day in self._days)
        (traces,) = (self._db.execute(f"SELECT count(DISTINCT trace_id) FROM ({parts})").fetchone() if parts else None) or (0,)
        return {"spans": total - logs, "traces": traces, "logs": logs}

    def size(self) -> int:
        return sum(path.stat().st_size for path in self._folder.glob("*.duckdb*"))

    def traces(self, query: TraceQuery) -> TracePage:
        return span_traces.traces_of(self._db, self._files(), query)

    def fields(self, query: FieldQuery) -> Fields:
        return fields_of(self._db, self._files(), query)

    def logs(self, query: LogQuery) -> LogPage:
        return logs_of(self._db, self._files(), query)

    def trace(self, query: TraceShow) -> Trace:
        return span_traces.trace_of(self._db, self._files(), query)

    def recent(self, query: RecentQuery) -> list[StoredSpan]:
        return span_records.recent(self._db, self._files(), query)

    def tree(self, query: TreeShow) -> TraceTree:
        return span_traces.tree_shown(self._db, self._files(), query)

    def calls(self, query: CallsShow) -> CallGraph:
        return span_traces.calls_shown(self._db, self._files(), query)

    def costs(self, query: CostsShow) -> TraceCosts:
        return span_traces.costs_shown(self._db, self._files(), query)

    def text(self, query: TextShow) -> SpanText:
        return span_traces.text_of(self._db, self._files(), query)

    def _files(self) -> list[File]:
        named = ((_name(day), lies) for day, lies in sorted(self._days.items()))
        return [File(name, lies.last_ns, self._keys.of(name, lies.rows)) for name, lies in named]

    def live(self, query: LiveQuery) -> LiveFigures:
        return span_live.live_of(self._db, query)

    def figures(self, query: FiguresQuery) -> Figures:
        try:
            return figures_of(self._db, self._files(), query, self._suspects)
        except duckdb.OutOfMemoryException:
            remedy = "ask for a shorter time or for fewer traces, or set span_memory higher"
            raise Unavailable("these figures need more memory than spans may take", where="since_ns", remedy=remedy) from None

    def metrics(self, query: MetricQuery) -> MetricPage:
        return points_duckdb.metrics_of(self._db, query)

    def metric(self, query: MetricShow) -> MetricTold:
        return points_duckdb.metric_of(self._db, query)

    def arrivals(self, query: ArrivalQuery) -> Arrivals:
        return span_arrivals.arrivals_of(self._db, [(day, _name(day)) for day in sorted(self._days)], query)

    def trials(self, query: TrialQuery) -> Trials:
        return span_trials.trials_of(self._db, [(day, _name(day)) for day in sorted(self._days)], query)

    def scores(self, query: ScoreQuery) -> list[ScoreSeen]:
        return seen_of(self._db, query)

    def sessions(self, query: SessionQuery) -> SessionPage:
        return sessions_of(self._db, self._files(), query)

    def theirs(self, query: SubjectQuery) -> Theirs:
        return span_erasing.theirs(self._db, query)

    def common(self, query: CommonQuery) -> list[str]:
        return span_erasing.common(self._db, query)

    def ledger(self, project: str, since: int) -> list[Entry]:
        return span_ledger.read(self._db, map(_name, sorted(self._days)), project, since)

    def enter(self, entries: Sequence[Entry]) -> None:
        with self._transaction():
            for day in self._days:
                span_ledger.add(self._db, _name(day), [e for e in entries if span_ledger.day_of(e.hour) == day])

    def mended(self, error: Exception) -> Unavailable | None:
        """A file whose checkpoint failed is closed to everybody until it is opened anew, and so is a transaction that could not end."""
        if isinstance(error, duckdb.OutOfMemoryException):
            said = f"it needs more memory than the {self._memory_mb} MB that the projector may use"
            return Unavailable(said, remedy="ask for less at once, or raise span_memory")
        if not isinstance(error, BROKEN):
            return None
        with contextlib.suppress(duckdb.Error):
            self._db.close()
        self._remapping = None
        self._open()
        full = "No space left" in str(error)
        said = "the disk is full" if full else f"the span files cannot be read or written ({type(error).__name__})"
        return Unavailable(f"{said}; what comes in waits in the journal", where=str(self._folder), remedy="make room" if full else "")

    def days(self) -> list[str]:
        return sorted(self._days)

    def index(self, seconds: float) -> bool:
        if self._indexed or self._remapping is not None:
            return False
        newest = max(self._days, default="")
        files = [(_name(day), lies.rows, day != newest) for day, lies in sorted(self._days.items())]
        closed = [(name, rows) for name, rows, whole in files if whole]
        worked = self._keys.step(self._db, closed) or self._words.step(files, seconds)
        self._indexed = not worked
        return worked

    def _read_anew(self) -> None:
        """Rows lie in other files now, which have no index yet, and of which nothing is known."""
        self._words, self._indexed, self._keys = Words(self._db), False, Keys()

    def expire(self, day: str) -> int:
        if self._remapping is not None or day not in self._days:
            return 0
        others = (d for d in self._days if d != day)
        into = self._attach(max(others, default=datetime.now(UTC).strftime("%Y-%m-%d")))
        with self._transaction():
            rows = span_expiring.carry(self._db, _name(day), day, into)
        del self._days[day]
        self._read_anew()
        self._view()
        span_expiring.remove(self._db, _name(day), self._folder / f"{day}.duckdb")
        return rows

    def rows_by_hour(self, project: str) -> list[tuple[int, str, int]]:
        return span_ledger.rows_by_hour(self._db, map(_name, sorted(self._days)), project)

    def held(self, day: str, project: str, traces: Sequence[str]) -> list[SpanRow]:
        if day not in self._days:
            return []
        found = self._db.execute(
            f"SELECT rowid, {ROW} FROM {_name(day)}.spans WHERE project = ? AND trace_id IN (SELECT unnest(?::UUID[]))",
            [project, list(traces)],
        ).fetchall()
        rows = {place: dict(zip(TYPES, row, strict=True)) for place, *row in found}
        span_long.complete(self._db, _name(day), rows)
        return [msgspec.convert(row, SpanRow) for row in rows.values()]

    def held_points(self, day: str, project: str, digests: Sequence[str]) -> list[PointRow]:
        return points_duckdb.held(self._db, _name(day), project, digests) if day in self._days else []

    def remap(self, read: Callable[[SpanRow], SpanRow], seconds: float) -> Remapped:
        """Read rows anew for about so long; asked again it goes on, until it says that it has finished. Then what is asked begins anew."""
        if self._remapping is None:
            self._remapping = Remapping(self._db, [(_name(day), self._folder / f"{day}.duckdb") for day in sorted(self._days)])
        end = time.monotonic() + seconds
        while not self._remapping.step(read) and time.monotonic() < end:
            pass
        self._suspects = Suspects(self._db)  # what was one thing may be another now
        told = self._remapping.told(sum(lies.rows for lies in self._days.values()))
        if told.finished:
            self._remapping = None
        self._read_anew()
        self._view()
        return told

    def forget(self, asked: Forget) -> int:
        """Day by day; cut off between two, it can be asked again. Returns how many spans it was."""
        if self._remapping is not None:  # what it has read may be theirs
            self._remapping.again()
        total = 0
        for day in sorted(self._days):
            total += span_files.forget(self._db, _name(day), self._folder / f"{day}.duckdb", asked)
        self._read_anew()
        self._view()
        return total

    def mentions(self, query: MentionQuery) -> int:
        return span_erasing.mentions(self._db, query)

    def portion(self, query: PortionQuery) -> Portion:
        days = [(day, _name(day), self._days[day].rows) for day in sorted(self._days)]
        return span_portions.portion_of(self._db, days, query)

    def rest(self) -> None:
        """Give back the memory of buffers: the files are closed and opened again. Raises as opening does."""
        if self._remapping is None:
            self._db.close()
            self._open()

    def close(self) -> None:
        self._db.close()


def _name(day: str) -> str:
    """What a day's file is attached as."""
    return f"d{day.replace('-', '')}"
