"""Traces in a file: a row for each span, as JSON Lines or Parquet, for a notebook or a warehouse:
`windlass traces --since 7d --to runs.parquet`, or `pandas.DataFrame(client.traces.spans(status="error"))`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from windlass.core.errors import Invalid
from windlass.core.operations.traces import Trace
from windlass.core.span import input_of, make_whole, output_of

if TYPE_CHECKING:
    from windlass.sdk.nouns.production import Traces

# of a row, with their types in Parquet; times are UTC nanoseconds, cost is US dollars, `session`, `user` and `release` are the trace's
COLUMNS = {
    "trace_id": "VARCHAR", "span_id": "VARCHAR", "parent": "VARCHAR", "name": "VARCHAR", "kind": "VARCHAR", "start_ns": "BIGINT",
    "end_ns": "BIGINT", "status": "VARCHAR", "status_message": "VARCHAR", "service": "VARCHAR", "model": "VARCHAR", "provider": "VARCHAR",
    "tokens_in": "BIGINT", "tokens_out": "BIGINT", "tokens_cached": "BIGINT", "cost": "DOUBLE", "tool": "VARCHAR", "input": "VARCHAR",
    "output": "VARCHAR", "session": "VARCHAR", "user": "VARCHAR", "release": "VARCHAR", "attributes": "JSON", "events": "JSON",
    "links": "JSON", "resource": "JSON",
}  # fmt: skip
KINDS = (".jsonl", ".parquet")
_encode = msgspec.json.Encoder().encode


def spans_of(traces: Traces, filters: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """The spans of every trace that fits, the newest trace first, a trace at a time. What comes in meanwhile is not among them."""
    cursor: str | None = None
    while True:
        page = traces.list(**{**filters, "cursor": cursor, "limit": 200})
        for found in page.items:
            rows: list[dict[str, Any]] = []
            trace = traces.show(found.trace_id)
            rows += _rows(traces, trace)
            while trace.next:
                trace = traces.show(found.trace_id, trace.next)
                rows += _rows(traces, trace)
            yield rows
        if not (cursor := page.next):
            return


def _rows(traces: Traces, trace: Trace) -> list[dict[str, Any]]:
    of_trace = {name: getattr(trace.summary, name) for name in ("session", "user", "release")}
    made = []
    for span in trace.spans:
        make_whole(span, {of: traces.text(span.trace_id, span.span_id, of) for of in span.cut})
        told = {"input": input_of(span), "output": output_of(span), **of_trace}
        row = {name: told[name] if name in told else getattr(span, name) for name in COLUMNS}
        made.append(msgspec.to_builtins(row))
    return made


def check(path: Path) -> None:
    """Raises `Invalid` for a file that cannot be written."""
    if path.suffix not in KINDS:
        raise Invalid(f"{path.name} is neither JSON Lines nor Parquet", where="--to", remedy=f"end it with {' or '.join(KINDS)}")
    if path.exists():
        raise Invalid(f"{path} is there already", where="--to", remedy="name another file, or take it away")
    if not path.absolute().parent.is_dir():
        raise Invalid(f"there is no folder {path.parent}", where="--to", remedy="make it first")
    if path.suffix == ".parquet":
        _duckdb()


def write(path: Path, rows: Iterable[dict[str, Any]], columns: Mapping[str, str] = COLUMNS) -> None:
    """Write rows to a file that is not there, whole or not at all; `columns` are theirs, with DuckDB's types. Raises as `check`, and what
    the rows raise."""
    check(path)
    lines = path.with_name(f".{path.name}.lines")
    try:
        with lines.open("wb") as file:
            for row in rows:
                file.write(_encode(row) + b"\n")
        if path.suffix == ".parquet":
            packed = path.with_name(f".{path.name}.packed")
            try:
                _pack(lines, packed, columns)
                packed.rename(path)
            finally:
                packed.unlink(missing_ok=True)
        else:
            lines.rename(path)
    finally:
        lines.unlink(missing_ok=True)


def _pack(lines: Path, packed: Path, columns: Mapping[str, str]) -> None:
    with _duckdb().connect() as db:
        read = "read_json(?, format = 'newline_delimited', columns = ?, maximum_object_size = 200000000)"
        names = ", ".join(f'"{name}"' for name in columns)
        target = str(packed).replace("'", "''")
        db.execute(f"COPY (SELECT {names} FROM {read}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)", [str(lines), dict(columns)])


def _duckdb() -> Any:
    try:
        import duckdb
    except ModuleNotFoundError as e:
        raise Invalid(
            "what writes Parquet is not installed", where="--to", remedy='pip install duckdb, or end the file with ".jsonl"'
        ) from e
    return duckdb
