"""How spans lie in ClickHouse: tables of before are given what they lack."""

from __future__ import annotations

from windlass.store import points_clickhouse
from windlass.store.clickhouse_tables import Table
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
SPANS = Table(
    "spans",
    f"""day Date, place Int64, {", ".join(f'"{c}" {t}' for c, t in TYPES.items())},
    INDEX by_trace trace_id TYPE bloom_filter GRANULARITY 1, INDEX by_place place TYPE minmax GRANULARITY 1""",
    "MergeTree", "PARTITION BY day ORDER BY (project, start_ns, trace_id)",
    key="trace_id", once=True, later=tuple(f"{c} {TYPES[c]} {d}" for c, d in _LATER.items()),
)  # fmt: skip
TABLES = (
    SPANS,
    Table(
        "positions", 'writer String, segment Int64, "read" Int64', "ReplacingMergeTree", 'ORDER BY (writer, segment, "read")',
        # what is entered in the ledger with a write, and the places of its rows: `span_ledger_clickhouse.py`
        later=('"first" Int64', '"last" Int64', "ledger Array(Tuple(String, Int64, String, String, String, Int64))"),
    ),
    points_clickhouse.POINTS,
    # where a write is to end, told before its rows: done again after a crash, it ends there too
    Table(
        "intents", 'writer String, segment Int64, "read" Int64, reached Int64', "ReplacingMergeTree", "ORDER BY writer",
        arguments="reached",
    ),
)  # fmt: skip
