"""How spans lie in a file of DuckDB, format 2: their columns, rows on the way in, and files of format 1 made anew.

Ids and digests are numbers, since text of them would be twice as large and could not be compressed. Rows go in as columns of NumPy
objects. `traces` says where in a file a trace lies, a tenth as long: one row for spans of a trace that lie one after the
other and have the session, user and evaluation in common, with when the first and the last of them began. A file only grows, so rows
keep their places.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from windlass.store.spans import SpanRow

FORMAT = 2
_NUMBERS = ("start_ns", "end_ns", "receipt_ns", "tokens_in", "tokens_out", "tokens_cached", "tokens_written", "tokens_reasoning")
_SPECIAL = {
    "trace_id": "UUID", "span_id": "UBIGINT", "parent": "UBIGINT", "digest": "UBIGINT", "cost": "DOUBLE", "tags": "VARCHAR[]",
    "versions": "VARCHAR[]",
}  # fmt: skip
TYPES: dict[str, str] = {n: _SPECIAL.get(n, "BIGINT" if n in _NUMBERS else "VARCHAR") for n in SpanRow.__struct_fields__}
COLUMNS = ", ".join(f'"{c}"' for c in TYPES)
TABLES = (
    "spans (" + ", ".join(f'"{c}" {t}' for c, t in TYPES.items()) + ")",
    'traces (project VARCHAR, trace_id UUID, session VARCHAR, "user" VARCHAR, evaluation VARCHAR, first_row BIGINT, last_row BIGINT,'
    " start_ns BIGINT, last_ns BIGINT)",
    "positions (writer VARCHAR PRIMARY KEY, segment BIGINT, read BIGINT)",
)
# How ids are told: as OpenTelemetry writes them.
MACROS = ("hex_trace(id) AS replace(id::VARCHAR, '-', '')", "hex_span(id) AS lpad(lower(to_hex(id)), 16, '0')")
HEX_TRACE, HEX_SPAN = "hex_trace(trace_id)", "hex_span(span_id)"
GAP = 60_000_000_000  # between starts that are looked for apart
RUNS = 8
_json = msgspec.json.Encoder().encode


def _taken(column: str, kind: str) -> str:
    """A column of a batch as it is put into the table."""
    if kind == "UUID":
        return f"((({column}_high::UHUGEINT) << 64) | {column}_low::UHUGEINT)::UUID"
    if column == "parent":
        return "nullif(parent, 0)"
    return f'coalesce(from_json("{column}", \'["VARCHAR"]\'), [])' if kind == "VARCHAR[]" else f'"{column}"'


TRACE = _taken("trace_id", "UUID")
PLACED = f'project, {TRACE}, session, "user", evaluation, first_row, last_row, start_ns, last_ns'
TAKEN = ", ".join(_taken(c, t) for c, t in TYPES.items())


def arrays(rows: Sequence[SpanRow]) -> dict[str, Any]:
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
            made[column] = _objects([_json(v).decode() if v else None for v in values])
        elif kind == "VARCHAR":
            made[column] = _objects(values)
        else:
            given = np.array([v or 0 for v in values], dtype=np.float64 if kind == "DOUBLE" else np.int64)
            made[column] = np.ma.masked_array(given, mask=[v is None for v in values])
    return made


def some(made: dict[str, Any], keep: Any) -> dict[str, Any]:
    """Only those rows."""
    return {name: column[keep] for name, column in made.items()}


def _objects(values: list[Any]) -> Any:
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


def runs(starts: Any) -> list[tuple[int, int]]:
    """Times within which the batch's spans began, few and narrow, so that a span with a wrong clock makes nobody read a whole day."""
    ordered = np.sort(starts)
    gaps = np.diff(ordered)
    cuts = sorted(c for c in np.argsort(gaps)[::-1][: RUNS - 1].tolist() if gaps[c] > GAP)
    ends = [*cuts, len(ordered) - 1]
    return [(int(ordered[a]), int(ordered[b])) for a, b in zip([0, *(c + 1 for c in cuts)], ends, strict=True)]


ALIKE = ("project", "trace_id_high", "trace_id_low", "session", "user", "evaluation")  # in spans that one row of `traces` is for


def together(rows: Iterable[SpanRow]) -> list[SpanRow]:
    """These rows in an order in which those that are alike lie one after the other."""
    found: dict[tuple[Any, ...], list[SpanRow]] = {}
    for r in rows:
        found.setdefault((r.project, r.trace_id, r.session, r.user, r.evaluation), []).append(r)
    return [row for alike in found.values() for row in alike]


def places(made: dict[str, Any], first: int) -> dict[str, Any]:
    """Rows of `traces` for these spans, which are put from row `first` on: one for each run of spans that are alike."""
    runs: list[list[int]] = []
    keys: list[tuple[Any, ...]] = []
    each = zip(*(made[c].tolist() for c in ALIKE), strict=True)
    for row, (key, start) in enumerate(zip(each, made["start_ns"].tolist(), strict=True), first):
        if not keys or key != keys[-1]:
            keys.append(key)
            runs.append([row, row, start, start])
        else:
            run = runs[-1]
            run[1], run[2], run[3] = row, min(run[2], start), max(run[3], start)
    lies = np.array(runs, dtype=np.int64)
    alike = dict(zip(ALIKE, zip(*keys, strict=True), strict=True))
    ids = {c: np.array(alike.pop(c), dtype=np.uint64) for c in ("trace_id_high", "trace_id_low")}
    where = {c: lies[:, n].copy() for n, c in enumerate(("first_row", "last_row", "start_ns", "last_ns"))}
    return {**{c: _objects(list(values)) for c, values in alike.items()}, **ids, **where}


def put(db: Any, table: str, columns: str, batch: dict[str, Any]) -> None:
    """Insert a batch, of which `columns` are taken."""
    db.register("batch", batch)
    try:
        db.execute(f"INSERT INTO {table} SELECT {columns} FROM batch")
    finally:
        db.unregister("batch")
