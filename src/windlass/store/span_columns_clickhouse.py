"""How spans lie in ClickHouse: tables of before are given what they lack."""

from __future__ import annotations

from windlass.store import points_clickhouse
from windlass.store.spans import SpanRow

_NUMBERS = {
    "start_ns", "end_ns", "receipt_ns", "tokens_in", "tokens_out", "tokens_cached", "tokens_written", "tokens_reasoning", "severity",
}  # fmt: skip
_LISTS = {"tags", "versions"}
_SPECIAL = {"cost": "Float64", "joined": "Bool"}
_LATER = {  # a table of before lacks them
    "tokens_written": "", "tokens_reasoning": "", "tool": "", "prompt": "", "tags": "", "links": "DEFAULT '[]'", "resource": "DEFAULT '{}'",
    "input_from": "", "output_from": "", "response": "", "joined": "DEFAULT false",
    "severity": "",
}  # fmt: skip
_OPTIONAL = {
    n for n, d in zip(SpanRow.__struct_fields__[-len(SpanRow.__struct_defaults__) :], SpanRow.__struct_defaults__, strict=True) if d is None
}
TYPES = {
    name: "Array(String)" if name in _LISTS else f"Nullable({kind})" if name in _OPTIONAL or name == "parent" else kind
    for name in SpanRow.__struct_fields__
    for kind in (_SPECIAL.get(name, "Int64" if name in _NUMBERS else "String"),)
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
    points_clickhouse.table(KEPT),
    # where a write is to end, told before its rows: done again after a crash, it ends there too
    f"""CREATE TABLE IF NOT EXISTS intents (writer String, segment Int64, "read" Int64, reached Int64)
    ENGINE = ReplacingMergeTree(reached) ORDER BY writer SETTINGS {KEPT}""",
    # what is entered in the ledger with a write, and the places of its rows: `span_ledger_clickhouse.py`
    'ALTER TABLE positions ADD COLUMN IF NOT EXISTS "first" Int64, ADD COLUMN IF NOT EXISTS "last" Int64,'
    " ADD COLUMN IF NOT EXISTS ledger Array(Tuple(String, Int64, String, String, String, Int64))",
)  # fmt: skip
