"""`sql`: questions in SQL about spans, traces, scores, points of metrics and the ledger."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from windlass.core.errors import Invalid
from windlass.core.ids import now_ns
from windlass.core.operations.sql import MOST, SqlAnswer
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.session import Session, plain
from windlass.doors.cli.tracing import back
from windlass.sdk import export

WIDE = 60  # characters of a value in a table


def add(app: typer.Typer) -> None:
    command(app, "sql", "traces.sql", panel="Look")(sql)


def sql(
    session: Session,
    sql: Annotated[str, typer.Argument(help="One SELECT, in DuckDB's SQL; - reads it from the input. Without it, what can be asked.")] = "",
    since: Annotated[str | None, typer.Option("--since", help="Of spans and points no older than this: 90s, 30min, 2h, 7d.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=MOST, help="At most so many rows; with --to as many as there may be.")
    ] = 1_000,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print it as CSV.")] = False,
    to: Annotated[Path | None, typer.Option("--to", help="Write the rows to this file, .jsonl or .parquet.")] = None,
) -> None:
    """Ask in SQL: `windlass sql "SELECT model, count(*), sum(cost) FROM spans GROUP BY model"`. Nothing is changed."""
    if to is not None:
        export.check(to)
    asked = sys.stdin.read() if sql == "-" else sql
    answer = session.client.sql(asked, limit=MOST if to else limit, since_ns=now_ns() - back(since) if since else None)
    if to is not None:
        _write(session, to, answer)
        return
    session.result(answer)
    if session.json:
        return
    if answer.views:
        for view in answer.views:
            columns = ", ".join(f"{c.name} [dim]{plain(c.type)}[/dim]" for c in view.columns)
            session.print(f"[bold]{view.name}[/bold]  {view.about}\n  {columns}")
        return
    if as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow([c.name for c in answer.columns])
        writer.writerows([_text(v) for v in row] for row in answer.rows)
    else:
        numbers = frozenset(n for n, c in enumerate(answer.columns) if c.type.endswith("INT") or c.type in ("DOUBLE", "FLOAT"))
        rows = [[_cell(v) for v in row] for row in answer.rows]
        session.table([c.name for c in answer.columns], rows, right=numbers)
    more = f"; there are more than {limit:,}: --limit, or --to a file" if answer.more else ""
    of = words.many(answer.read, "span") if answer.read or not answer.measured else ""
    of += (" and " * bool(of) + words.many(answer.measured, "point")) if answer.measured else ""
    told = f"{words.many(len(answer.rows), 'row')} of {of} in {words.duration(answer.took_ms * 1e6)}{more}"
    (session.warn if as_csv else session.print)(told)


def _write(session: Session, path: Path, answer: SqlAnswer) -> None:
    """Raises `Invalid` where there are more rows than one answer has: half of a file is none."""
    if answer.more:
        raise Invalid(
            f"there are more than {MOST:,} rows", where="--to", remedy="ask for a shorter time, or write in parts by LIMIT and OFFSET"
        )
    names = [c.name for c in answer.columns]
    export.write(path, (dict(zip(names, row, strict=True)) for row in answer.rows), {c.name: c.type for c in answer.columns})
    session.result({"file": str(path), "rows": len(answer.rows)})
    session.print(f"{words.many(len(answer.rows), 'row')} are in {plain(str(path))}")


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        import json

        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else str(value)


def _cell(value: Any) -> str:
    text = " ".join((words.cell(value) if isinstance(value, float) else _text(value)).split())
    return text if len(text) <= WIDE else text[: WIDE - 1] + "…"
