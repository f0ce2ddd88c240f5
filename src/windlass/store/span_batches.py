"""Rows on their way into a file of DuckDB: as columns of NumPy objects, which it takes faster than anything else that Python has.

Loaded when the first rows come: a projector that has nothing to do needs no NumPy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import duckdb
import msgspec
import numpy as np

from windlass.core.span import LOG
from windlass.store.arrays import array_of, objects
from windlass.store.span_columns import PLACED, TAKEN, TRACE, TYPES
from windlass.store.span_long import parts_of, split
from windlass.store.spans import SpanRow

GAP = 60_000_000_000  # between starts that are looked for apart
RUNS = 8
AT_ONCE = 20_000_000  # characters of long texts
_json = msgspec.json.Encoder().encode


def insert(db: duckdb.DuckDBPyConnection, name: str, rows: Sequence[SpanRow], first: int) -> tuple[list[SpanRow], int]:
    """Put those in that are not in the file yet, from row `first` on. Returns them, and when the last of them began."""
    unique = {(r.project, r.trace_id, r.span_id, r.digest): r for r in rows}
    new = _together(unique.values())
    lean, long = _split(new)
    batch = _arrays(lean)
    if len(again := _again(db, name, batch)):
        keep = np.ones(len(unique), dtype=bool)
        keep[again] = False
        batch = {column: values[keep] for column, values in batch.items()}
        new = [row for row, kept in zip(new, keep.tolist(), strict=True) if kept]
    return new, _place(db, name, batch, first, new, long)


def append(db: duckdb.DuckDBPyConnection, name: str, rows: Sequence[SpanRow], first: int) -> None:
    """Put all of them in, in their order, from row `first` on."""
    lean, long = _split(rows)
    _place(db, name, _arrays(lean), first, rows, long)


Long = dict[int, dict[str, str]]  # long texts by column, of rows by identity


def _split(rows: Sequence[SpanRow]) -> tuple[Sequence[SpanRow], Long]:
    """Rows as they are put in, and the long texts of those that have some."""
    pairs = [split(row) for row in rows]
    return [lean for lean, _ in pairs], {id(row): long for row, (_, long) in zip(rows, pairs, strict=True) if long}


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


def _arrays(rows: Sequence[SpanRow]) -> dict[str, Any]:
    """These rows, by column."""
    made: dict[str, Any] = {"n": np.arange(len(rows))}
    for column, kind in TYPES.items():
        values = [getattr(row, column) for row in rows]
        if kind == "UUID":
            ids = np.frombuffer(bytes.fromhex("".join(values)), dtype=">u8").astype(np.uint64).reshape(-1, 2)
            made[f"{column}_high"], made[f"{column}_low"] = ids[:, 0].copy(), ids[:, 1].copy()
        elif kind == "UBIGINT":
            made[column] = np.array([int(v[:16], 16) if v else 0 for v in values], dtype=np.uint64)
        elif kind == "VARCHAR[]":
            made[column] = objects([_json(v).decode() if v else None for v in values])
        else:
            made[column] = array_of(kind, values)
    return made


def _runs(starts: Any) -> list[tuple[int, int]]:
    """Times within which the batch's spans began, few and narrow, so that a span with a wrong clock makes nobody read a whole day."""
    ordered = np.sort(starts)
    gaps = np.diff(ordered)
    cuts = sorted(c for c in np.argsort(gaps)[::-1][: RUNS - 1].tolist() if gaps[c] > GAP)
    ends = [*cuts, len(ordered) - 1]
    return [(int(ordered[a]), int(ordered[b])) for a, b in zip([0, *(c + 1 for c in cuts)], ends, strict=True)]


ALIKE = ("project", "trace_id_high", "trace_id_low", "session", "user", "evaluation")  # in spans that one row of `traces` is for


def _together(rows: Iterable[SpanRow]) -> list[SpanRow]:
    """These rows in an order in which those that are alike lie one after the other."""
    found: dict[tuple[Any, ...], list[SpanRow]] = {}
    for r in rows:
        found.setdefault((r.project, r.trace_id, r.session, r.user, r.evaluation, r.kind == LOG), []).append(r)
    return [row for alike in found.values() for row in alike]


def _places(made: dict[str, Any], first: int) -> dict[str, dict[str, Any]]:
    """Rows of `traces` and `logs` for these spans, which are put from row `first` on: one for each run of spans that are alike, none
    for log records of no trace."""
    runs: dict[str, list[list[int]]] = {"traces": [], "logs": []}
    keys: dict[str, list[tuple[Any, ...]]] = {"traces": [], "logs": []}
    each = zip(*(made[c].tolist() for c in ALIKE), strict=True)
    alone = (made["kind"] == LOG) & (made["parent"] == made["span_id"])
    before: tuple[Any, ...] | None = None
    for row, (key, start, kind, of_none) in enumerate(
        zip(each, made["start_ns"].tolist(), made["kind"].tolist(), alone.tolist(), strict=True), first
    ):
        if of_none:
            before = None
            continue
        table = "logs" if kind == LOG else "traces"
        if before != (before := (table, key)):
            keys[table].append(key)
            runs[table].append([row, row, start, start])
        else:
            run = runs[table][-1]
            run[1], run[2], run[3] = row, min(run[2], start), max(run[3], start)
    return {table: _columns(keys[table], runs[table]) for table in runs if runs[table]}


def _columns(keys: list[tuple[Any, ...]], runs: list[list[int]]) -> dict[str, Any]:
    lies = np.array(runs, dtype=np.int64)
    alike = dict(zip(ALIKE, zip(*keys, strict=True), strict=True))
    ids = {c: np.array(alike.pop(c), dtype=np.uint64) for c in ("trace_id_high", "trace_id_low")}
    where = {c: lies[:, n].copy() for n, c in enumerate(("first_row", "last_row", "start_ns", "last_ns"))}
    return {**{c: objects(list(values)) for c, values in alike.items()}, **ids, **where}


def _put(db: duckdb.DuckDBPyConnection, table: str, columns: str, batch: dict[str, Any]) -> None:
    """Insert a batch, of which `columns` are taken."""
    db.register("batch", batch)
    try:
        db.execute(f"INSERT INTO {table} SELECT {columns} FROM batch")
    finally:
        db.unregister("batch")
