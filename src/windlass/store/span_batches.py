"""Rows on their way into a file of DuckDB: as columns of NumPy objects, which it takes faster than anything else that Python has.

Loaded when the first rows come: a projector that has nothing to do needs no NumPy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import duckdb
import msgspec
import numpy as np

from windlass.core.span import LOG
from windlass.store.arrays import array_of, objects
from windlass.store.span_columns import PLACED, TAKEN, TRACE, TYPES
from windlass.store.span_long import longer, parts_of, split
from windlass.store.spans import SpanRow

GAP = 60_000_000_000  # between starts that are looked for apart
RUNS = 8
AT_ONCE = 20_000_000  # characters of long texts
NONE = "0" * 16  # no id
TRACES, LOGS, NO_TRACE = 0, 1, 2  # what a row lies with
_json = msgspec.json.Encoder().encode


def insert(db: duckdb.DuckDBPyConnection, name: str, rows: Sequence[SpanRow], first: int) -> tuple[list[SpanRow], int]:
    """Put those in that are not in the file yet, from row `first` on. Returns them, and when the last of them began."""
    new = _together(dict(zip(map(_same, rows), rows, strict=True)).values())
    columns, long = _split(new)
    batch = _arrays(columns)
    if len(again := _again(db, name, batch)):
        keep = np.ones(len(new), dtype=bool)
        keep[again] = False
        batch = {column: values[keep] for column, values in batch.items()}
        new = [row for row, kept in zip(new, keep.tolist(), strict=True) if kept]
    return new, _place(db, name, batch, first, new, long)


def append(db: duckdb.DuckDBPyConnection, name: str, rows: Sequence[SpanRow], first: int) -> None:
    """Put all of them in, in their order, from row `first` on."""
    if rows:
        columns, long = _split(rows)
        _place(db, name, _arrays(columns), first, rows, long)


Columns = dict[str, tuple[Any, ...]]
Long = dict[int, dict[str, str]]  # long texts by column, of rows by identity


def _split(rows: Sequence[SpanRow]) -> tuple[Columns, Long]:
    """Rows as they are put in, by column, and the long texts of those that have some."""
    columns, long = _by_column(rows), Long()
    if suspects := longer(columns):
        lean = list(rows)
        for place in suspects:
            lean[place], texts = split(rows[place])
            if texts:
                long[id(rows[place])] = texts
        columns = _by_column(lean)
    return columns, long


def _by_column(rows: Sequence[SpanRow]) -> Columns:
    """All columns in one pass: asked for one by one they cost as much as DuckDB's own work."""
    return dict(zip(SpanRow.__struct_fields__, zip(*map(msgspec.structs.astuple, rows), strict=True), strict=True))


def _place(db: duckdb.DuckDBPyConnection, name: str, batch: dict[str, Any], first: int, rows: Sequence[SpanRow], long: Long) -> int:
    """Put a batch in, of these rows. Returns when the last of its spans began."""
    if not len(batch["n"]):
        return 0
    _put(db, f"{name}.spans", TAKEN, batch)
    if long:
        for texts in _texts(rows, long, first):
            _put(db, f"{name}.long", f"project, {TRACE}, span_id, place, name, part, size, text", texts)
    last = 0
    for table, places in _places(batch, first).items():
        _put(db, f"{name}.{table}", PLACED, places)
        last = max(last, int(places["last_ns"].max()) if table == "traces" else 0)
    return last


def _texts(rows: Sequence[SpanRow], long: Long, first: int) -> Iterator[dict[str, Any]]:
    """Rows of `long` for rows that are put from row `first` on, some million characters at a time."""
    found: list[tuple[SpanRow, int, str, int, int, str]] = []
    size = 0
    for place, row in enumerate(rows, first):
        for name, text in long.get(id(row), {}).items():
            found += [(row, place, name, number, len(text), part) for number, part in enumerate(parts_of(text))]
            size += len(text)
        if size > AT_ONCE:
            yield _of_texts(found)
            found, size = [], 0
    if found:
        yield _of_texts(found)


def _of_texts(found: list[tuple[SpanRow, int, str, int, int, str]]) -> dict[str, Any]:
    of, places, names, numbers, sizes, texts = zip(*found, strict=True)
    ids = np.frombuffer(bytes.fromhex("".join(row.trace_id for row in of)), dtype=">u8").astype(np.uint64).reshape(-1, 2)
    return {
        "project": objects([row.project for row in of]), "trace_id_high": ids[:, 0].copy(), "trace_id_low": ids[:, 1].copy(),
        "span_id": np.array([int(row.span_id[:16], 16) for row in of], dtype=np.uint64), "place": np.array(places, dtype=np.int64),
        "name": objects(list(names)), "part": np.array(numbers, dtype=np.int32), "size": np.array(sizes, dtype=np.int64),
        "text": objects(list(texts)),
    }  # fmt: skip


def _again(db: duckdb.DuckDBPyConnection, name: str, batch: dict[str, Any]) -> Any:
    """Which of a batch are in the file: what is the same began at the same time."""
    db.register("batch", {c: batch[c] for c in ("n", "project", "trace_id_high", "trace_id_low", "span_id", "digest", "start_ns")})
    try:
        found = [
            db.execute(
                f"SELECT n FROM (SELECT *, {TRACE} AS trace_id FROM batch WHERE start_ns BETWEEN ? AND ?) b"
                f" SEMI JOIN (SELECT * FROM {name}.spans WHERE start_ns BETWEEN ? AND ?) s ON s.span_id = b.span_id"
                " AND s.trace_id = b.trace_id AND s.digest = b.digest AND s.start_ns = b.start_ns AND s.project = b.project",
                [low, high, low, high],
            ).fetchnumpy()["n"]
            for low, high in _runs(batch["start_ns"])
        ]
    finally:
        db.unregister("batch")
    return np.concatenate(found)


def _arrays(columns: Columns) -> dict[str, Any]:
    """Columns as DuckDB takes them."""
    made: dict[str, Any] = {"n": np.arange(len(columns["project"]))}
    for column, kind in TYPES.items():
        values = columns[column]
        if kind == "UUID":
            ids = _numbers("".join(values)).reshape(-1, 2)
            made[f"{column}_high"], made[f"{column}_low"] = ids[:, 0].copy(), ids[:, 1].copy()
        elif kind == "UBIGINT":
            made[column] = _numbers("".join([v[:16].rjust(16, "0") if v else NONE for v in values]))
        elif kind == "VARCHAR[]":
            made[column] = objects([_json(v).decode() if v else None for v in values])
        else:
            made[column] = array_of(kind, values)
    return made


def _numbers(digits: str) -> Any:
    """Numbers of 16 hex digits each."""
    return np.frombuffer(bytes.fromhex(digits), dtype=">u8").astype(np.uint64)


def _runs(starts: Any) -> list[tuple[int, int]]:
    """Times within which the batch's spans began, few and narrow, so that a span with a wrong clock makes nobody read a whole day."""
    ordered = np.sort(starts)
    gaps = np.diff(ordered)
    cuts = sorted(c for c in np.argsort(gaps)[::-1][: RUNS - 1].tolist() if gaps[c] > GAP)
    ends = [*cuts, len(ordered) - 1]
    return [(int(ordered[a]), int(ordered[b])) for a, b in zip([0, *(c + 1 for c in cuts)], ends, strict=True)]


ALIKE = ("project", "trace_id_high", "trace_id_low", "session", "user", "evaluation")  # in spans that one row of `traces` is for
_alike = attrgetter("project", "trace_id", "session", "user", "evaluation")
_same = attrgetter("project", "trace_id", "span_id", "digest")


def _together(rows: Iterable[SpanRow]) -> list[SpanRow]:
    """These rows in an order in which those that are alike lie one after the other."""
    found: dict[tuple[Any, bool], list[SpanRow]] = {}
    for r in rows:
        found.setdefault((_alike(r), r.kind == LOG), []).append(r)
    return [row for alike in found.values() for row in alike]


def _places(made: dict[str, Any], first: int) -> dict[str, dict[str, Any]]:
    """Rows of `traces` and `logs` for these spans, which are put from row `first` on: one for each run of spans that are alike, none
    for log records of no trace."""
    log = made["kind"] == LOG
    of = np.where(log, np.where(made["parent"] == made["span_id"], NO_TRACE, LOGS), TRACES)
    begins = np.ones(len(of), dtype=bool)
    begins[1:] = of[1:] != of[:-1]
    for column in ALIKE:
        begins[1:] |= made[column][1:] != made[column][:-1]
    starts = np.flatnonzero(begins)
    runs = {
        **{column: made[column][starts] for column in ALIKE},
        "first_row": first + starts,
        "last_row": first + np.append(starts[1:], len(of)) - 1,
        "start_ns": np.minimum.reduceat(made["start_ns"], starts),
        "last_ns": np.maximum.reduceat(made["start_ns"], starts),
    }
    which = {table: of[starts] == number for table, number in (("traces", TRACES), ("logs", LOGS))}
    return {table: {c: values[chosen] for c, values in runs.items()} for table, chosen in which.items() if chosen.any()}


def _put(db: duckdb.DuckDBPyConnection, table: str, columns: str, batch: dict[str, Any]) -> None:
    """Insert a batch, of which `columns` are taken."""
    db.register("batch", batch)
    try:
        db.execute(f"INSERT INTO {table} SELECT {columns} FROM batch")
    finally:
        db.unregister("batch")
