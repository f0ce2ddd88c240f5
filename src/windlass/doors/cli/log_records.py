"""`logs`: what applications say beside their spans."""

from __future__ import annotations

from typing import Annotated

import typer

from windlass.core.ids import now_ns
from windlass.core.operations.logs import LogPage
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.data import Cursor
from windlass.doors.cli.session import Session, plain
from windlass.doors.cli.tracing import back

WHERE = "That fit this filter of traces, each term asked of the record: service:shop user:ann attr.http.status_code>=500 -name:health*"
WIDEST = 160  # characters of a body in a line


def add(app: typer.Typer) -> None:
    command(app, "logs", "logs.list", panel="Look")(logs)


def logs(
    session: Session,
    where: Annotated[str | None, typer.Option("--where", "-w", help=WHERE)] = None,
    severity: Annotated[
        str | None, typer.Option("--severity", help="Of this severity or a worse one: trace, debug, info, warn, error, fatal.")
    ] = None,
    service: Annotated[str | None, typer.Option("--service", help="Of one service; shop* is how it begins.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Of one event, by its name; claude_code.* is how it begins.")] = None,
    search: Annotated[str | None, typer.Option("--search", help="With this in name or body.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="No older than this: 90s, 30min, 2h, 7d.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")] = 20,
    cursor: Cursor = None,
) -> None:
    """Log records that came by OTLP, the newest first: when, how bad, whose, what."""
    given = {
        "filter": where, "severity": severity, "service": service, "name": name, "search": search,
        "since_ns": now_ns() - back(since) if since else None, "cursor": cursor,
    }  # fmt: skip
    page = session.client.logs.list(**{k: v for k, v in given.items() if v is not None}, limit=limit)
    session.result(page)
    _show(session, page, filtered=any(v is not None for v in given.values()))


def _show(session: Session, page: LogPage, *, filtered: bool) -> None:
    now = now_ns()
    rows = [
        (words.ago(r.at_ns, now), r.severity, r.service, words.named(r), words.said(r, WIDEST), (r.trace_id or "")[:8]) for r in page.items
    ]  # fmt: skip
    session.table(("when", "", "service", "name", "says", "trace"), rows)
    if not page.items:
        session.print("no record is like that" if filtered else "no log record yet; docs/tracing.md says who sends some")
    if page.next:
        session.print(f"[dim]more: --cursor {plain(page.next)}[/dim]")
