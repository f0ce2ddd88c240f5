"""How spans lie in a file of DuckDB, format 2.

Ids and digests are numbers, since text of them would be twice as large and could not be compressed. `traces` says where in a file a
trace lies, a tenth as long: one row for spans of a trace that lie one after the other and have the session, user and evaluation in
common, with when the first and the last of them began. `logs` says the same of log records, which are rows of `spans` too, but make no
trace and are in no list; those of no trace are in neither, and are found by their time. `long` has texts that are longer than a row
keeps (`span_long.py`), `words` and `worded` an index of texts (`span_words.py`), `points` what metrics measured (`points_duckdb.py`).
A file only grows, so rows of `spans` keep their places.
"""

from __future__ import annotations

from windlass.store import points_duckdb, span_ledger, span_long
from windlass.store.spans import SpanRow

_NUMBERS = (
    "start_ns", "end_ns", "receipt_ns", "tokens_in", "tokens_out", "tokens_cached", "tokens_written", "tokens_reasoning", "severity",
)  # fmt: skip
_SPECIAL = {
    "trace_id": "UUID", "span_id": "UBIGINT", "parent": "UBIGINT", "digest": "UBIGINT", "cost": "DOUBLE", "tags": "VARCHAR[]",
    "versions": "VARCHAR[]", "joined": "BOOLEAN",
}  # fmt: skip
TYPES: dict[str, str] = {n: _SPECIAL.get(n, "BIGINT" if n in _NUMBERS else "VARCHAR") for n in SpanRow.__struct_fields__}
COLUMNS = ", ".join(f'"{c}"' for c in TYPES)
_PLACES = (
    '(project VARCHAR, trace_id UUID, session VARCHAR, "user" VARCHAR, evaluation VARCHAR, first_row BIGINT, last_row BIGINT,'
    " start_ns BIGINT, last_ns BIGINT)"
)
TABLES = (
    "spans (" + ", ".join(f'"{c}" {t}' for c, t in TYPES.items()) + ")",
    f"traces {_PLACES}",
    f"logs {_PLACES}",
    span_long.TABLE,
    points_duckdb.TABLE,
    "positions (writer VARCHAR PRIMARY KEY, segment BIGINT, read BIGINT)",
    span_ledger.TABLE,
    "words (block INTEGER, word VARCHAR, chunks USMALLINT)",
    "worded (block INTEGER, until BIGINT)",
)
# How ids are told: as OpenTelemetry writes them.
MACROS = ("hex_trace(id) AS replace(id::VARCHAR, '-', '')", "hex_span(id) AS lpad(lower(to_hex(id)), 16, '0')")
HEX_TRACE, HEX_SPAN = "hex_trace(trace_id)", "hex_span(span_id)"
_IDS = {"trace_id": HEX_TRACE, "span_id": HEX_SPAN, "parent": "hex_span(parent)", "digest": "hex_span(digest)"}
ROW = ", ".join(_IDS.get(c, f'"{c}"') for c in TYPES)  # the columns of a `SpanRow`, as it has them


def said(attribute: str) -> str:
    """An attribute of a span as text, in SQL."""
    return f"json_extract_string(attributes, '$.\"{attribute}\"')"


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
