"""A process of its own for one question in SQL: `python -m windlass.traces.sql_process`, in an empty folder. It holds the rows of one
project and nothing else, and is ended with its question, however that ends.

It reads two lines of JSON. To the first, `{"sql", "limit", "all", "memory_mb"}`, it answers which stored columns the question needs. Then
`spans/*.parquet` and `points/*.parquet` have the rows and `ledger.json` the ledger, and to the second line, `{}`, it answers with the
result. Before that it gives up every way out: files but those, the network, extensions and settings.
"""

from __future__ import annotations

import base64
import ctypes
import datetime
import decimal
import json
import math
import os
import re
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from windlass.traces.sql_views import VIEWS, create, needed

LEDGER_TYPES = "hour_ns BIGINT, source VARCHAR, signal VARCHAR"
REST = 1_500_000_000  # bytes of addresses beside what the engine may use
LARGEST_FILE = 2_000_000_000  # bytes of what it puts aside
ANSWER = 64_000_000  # characters of an answer
ROUND = 500  # rows that are fetched at once
# tells of the machine, or asks in a text what is not read here
ENGINE = re.compile(r"duckdb_\w+|pragma_\w+|query|query_table|current_setting|which_secret|json_execute_serialized_sql")
LINE = re.compile(r"\bLINE \d+:.*", re.S)


class Refused(Exception):
    """What is wrong with a question."""


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    _bound(asked["memory_mb"], asked["seconds"])
    db = duckdb.connect(
        config={
            "threads": 1, "memory_limit": f"{asked['memory_mb']}MB", "temp_directory": "spill", "max_temp_directory_size": "1GB",
            "python_enable_replacements": False, "autoinstall_known_extensions": False, "autoload_known_extensions": False,
            "allow_community_extensions": False,
        }
    )  # fmt: skip
    try:
        views, columns = _read(db, asked["sql"])
        if asked["all"]:
            columns = None
        spans, points = needed(views, columns)
        _say({"spans": sorted(spans), "points": sorted(points), "views": views, "all": columns is None})
        sys.stdin.readline()
        _fill(db, views, spans, points)
        _lock(db)
        _say(_answer(db, asked["sql"], asked["limit"]))
    except Refused as e:
        _say({"error": str(e)})
    except duckdb.BinderException as e:  # with fewer columns than it has, a view may lack one that is meant
        _say({"error": _told(e), "again": columns is not None})
    except duckdb.OutOfMemoryException:
        _say({"error": f"this needs more memory than a question may use, {asked['memory_mb']} MB"})
    except (duckdb.Error, MemoryError, OverflowError) as e:
        _say({"error": _told(e)})


def _bound(memory_mb: int, seconds: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
        resource.setrlimit(resource.RLIMIT_AS, (memory_mb * 1_000_000 + REST,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds + 5,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE,) * 2)
    os.nice(5)


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def _told(e: Exception) -> str:
    text = LINE.sub("", str(e)).strip() or type(e).__name__
    return text.replace(str(Path.cwd()), "")[:500]


def _read(db: duckdb.DuckDBPyConnection, sql: str) -> tuple[list[str], set[str] | None]:
    """Which views a question is about, and which columns it names; None for all, where that cannot be told. What is found here saves
    work and keeps nothing in: that the process does."""
    found = db.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchone()
    tree = json.loads(found[0]) if found else {}
    if tree.get("error"):
        if tree.get("error_type") == "parser":
            raise Refused(f"this is no SQL that can be read: {LINE.sub('', tree['error_message']).strip()}")
        raise Refused("only a SELECT can be asked")
    if len(tree["statements"]) != 1:
        raise Refused("one question at a time: this is several statements" if tree["statements"] else "there is no question in this")
    views, columns, tables, whole = list[str](), set[str](), set[str](), False
    alone = set[str]()
    for node in _nodes(tree):
        kind, named = node.get("type"), str(node.get("table_name") or "").lower()
        if ENGINE.fullmatch(engine := named or str(node.get("function_name") or "").lower()):
            raise Refused(f"{engine} tells of the engine, which is not asked here")
        if kind == "BASE_TABLE":
            tables |= {named, str(node.get("alias") or "").lower()}
            views += [named] if named in VIEWS and named not in views else []
        elif kind == "COLUMN_REF":
            said = [str(c).lower() for c in node["column_names"]]
            columns |= set(said)
            alone |= {said[0]} if len(said) == 1 else set()
        columns |= {str(c).lower() for c in node.get("using_columns") or ()}
        whole = whole or kind in ("STAR", "SHOW_REF") or node.get("ref_type") == "NATURAL"
    return views, None if whole or alone & tables else columns


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    todo = [tree]
    while todo:
        each = todo.pop()
        if isinstance(each, dict):
            yield each
            todo += each.values()
        elif isinstance(each, list):
            todo += each


def _fill(db: duckdb.DuckDBPyConnection, views: list[str], spans: set[str], points: set[str]) -> None:
    if "ledger" in views:
        fates = ", ".join(f"{c} BIGINT" for c in VIEWS["ledger"].columns if c not in ("hour", "source", "signal"))
        db.execute(f"CREATE TABLE told ({LEDGER_TYPES}, {fates})")
        db.execute("INSERT INTO told BY NAME FROM read_json('ledger.json', format = 'newline_delimited')") if _lines() else None
    if spans:
        _newest(db, "newest", _parts("spans"), "trace_id, span_id", "receipt_ns DESC")
    if points:
        _newest(db, "newest_points", _parts("points"), "series, start_ns, time_ns", "receipt_ns DESC, digest")
    for view in views:
        db.execute(create(view, points if view == "points" else spans))


def _newest(db: duckdb.DuckDBPyConnection, name: str, parts: list[str], key: str, order: str) -> None:
    """Make a view of what files hold: of each key one row, the newest. Only what came more than once is sorted."""
    came, revised = f"{name}_came", f"{name}_revised"
    db.execute(f"CREATE VIEW {came} AS FROM read_parquet({parts})")
    db.execute(f"CREATE TABLE {revised} AS SELECT {key}, max(receipt_ns) AS receipt_ns FROM {came} GROUP BY ALL HAVING count(*) > 1")
    several = db.execute(f"SELECT 1 FROM {revised} LIMIT 1").fetchone()
    once = f"SELECT * FROM {came} ANTI JOIN {revised} USING ({key})"
    last = f"SELECT * FROM {came} SEMI JOIN {revised} USING ({key}, receipt_ns)"
    one = f"QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY {order}) = 1"
    db.execute(f"CREATE VIEW {name} AS " + (f"{once} UNION ALL ({last} {one})" if several else f"FROM {came}"))


def _parts(folder: str) -> list[str]:
    return sorted(str(p) for p in Path(folder).glob("*.parquet"))


def _lines() -> bool:
    return Path("ledger.json").stat().st_size > 0


def _lock(db: duckdb.DuckDBPyConnection) -> None:
    db.execute(f"SET allowed_paths = {_parts('spans') + _parts('points')}")
    db.execute("SET enable_external_access = false")
    db.execute("SET lock_configuration = true")


def _answer(db: duckdb.DuckDBPyConnection, sql: str, limit: int) -> dict[str, Any]:
    """As much as was asked for: rows are made while they are fetched."""
    (statement,) = db.extract_statements(sql)
    if statement.type != duckdb.StatementType.SELECT:
        raise Refused("only a SELECT can be asked")
    result = db.execute(statement)
    columns = [{"name": d[0], "type": str(d[1])} for d in result.description or ()]
    rows, size = list[list[Any]](), 0
    while len(rows) <= limit and (some := result.fetchmany(min(ROUND, limit + 1 - len(rows)))):
        plain = [[_plain(v) for v in row] for row in some]
        if (size := size + len(json.dumps(plain))) > ANSWER:
            raise Refused(f"the answer is larger than {ANSWER // 1_000_000} MB: ask for fewer rows or columns")
        rows += plain
    return {"columns": columns, "rows": rows[:limit], "more": len(rows) > limit}


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return value if -(1 << 63) <= value < 1 << 63 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime.datetime):
        return value.isoformat() + ("" if value.tzinfo else "Z")
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return str(value)


if __name__ == "__main__":
    main()
