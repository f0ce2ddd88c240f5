"""`batch`: a release over every row of a dataset; and what came of it: list, show, resume, cancel."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from windlass.core.errors import error_from_dict
from windlass.core.ids import now_ns
from windlass.core.operations.batches import Batch
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.data import Cursor
from windlass.doors.cli.session import Session, plain
from windlass.doors.cli.workspace import progress

POLL_SECONDS = 0.3
COLOURS = {"done": "green", "failed": "red"}

Id = Annotated[str, typer.Argument(help="Its id, or a part of it.")]
Detach = Annotated[bool, typer.Option("--detach", help="Begin, and do not wait.")]
Budget = Annotated[float | None, typer.Option("--budget", help="US dollars; where they are spent no further row is begun.")]


def add(app: typer.Typer) -> None:
    batch = typer.Typer(help="Run a release over every row of a dataset.", no_args_is_help=True)
    command(batch, "start", "batches.start", path="batch")(start)
    command(batch, "list", "batches.list", path="batch")(list_batches)
    command(batch, "show", "batches.show", path="batch")(show)
    command(batch, "resume", "batches.resume", path="batch")(resume)
    command(batch, "cancel", "batches.cancel", path="batch")(cancel)
    app.add_typer(batch, name="batch", rich_help_panel="Deploy")


def start(
    session: Session,
    target: Annotated[str, typer.Argument(help="A release: answer (in production), answer:staging, answer@3f9a; or chain/NAME …")],
    data: Annotated[str, typer.Option("--data", help="The dataset whose rows are asked.")],
    into: Annotated[str | None, typer.Option("--into", help="The dataset its answers become; <data>-<target> by default.")] = None,
    split: Annotated[str | None, typer.Option("--split", help="Only rows of this split.")] = None,
    rows: Annotated[int | None, typer.Option("--rows", min=1, help="Only so many, the first by key.")] = None,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, max=1000, help="Rows under way at once.")] = 8,
    per_minute: Annotated[float | None, typer.Option("--per-minute", help="Rows begun in a minute, at most.")] = None,
    budget: Budget = None,
    detach: Detach = False,
) -> int:
    """Begin, and wait for its end. Ctrl-C leaves it at work; `windlass batch show` tells how far it is."""
    found = session.client.batches.start(
        target, data, into=into, split=split, rows=rows, concurrency=concurrency, per_minute=per_minute, budget=budget
    )
    return _followed(session, found, detach)


def resume(
    session: Session,
    id: Id,
    budget: Budget = None,
    again: Annotated[bool, typer.Option("--again", help="Also rows that failed.")] = False,
    detach: Detach = False,
) -> int:
    """Go on with rows that have no answer yet."""
    return _followed(session, session.client.batches.resume(id, budget, again), detach)


def _followed(session: Session, batch: Batch, detach: bool) -> int:
    if not detach:
        with progress(session) as say:
            while (batch := session.client.batches.show(batch.id)).status in ("queued", "running"):
                say(_cost(batch), batch.done, batch.rows)
                time.sleep(POLL_SECONDS)
    session.result(batch)
    _tell(session, batch)
    if batch.error:
        raise error_from_dict(batch.error)
    return 0


def list_batches(session: Session, cursor: Cursor = None) -> None:
    """Batches of the project, newest first."""
    page = session.client.batches.list(cursor)
    session.result(page)
    now = now_ns()
    for b in page.items:
        state = f"[{COLOURS.get(b.status, 'yellow')}]{b.status}[/]"
        names = f"{words.short_ref(b.target)} over {words.short_ref(b.data)}"
        session.print(f"{b.id[-8:]}  {state}  {names}  {_counts(b)}  [dim]{plain(b.actor)}, {words.ago(b.created_ns, now)}[/dim]")
    if not page.items:
        session.print("there is no batch yet; `windlass batch start answer --data NAME` begins one")
    if page.next:
        session.print(f"[dim]more: --cursor {page.next}[/dim]")


def show(session: Session, id: Id) -> None:
    """How far one is, or what came of it."""
    batch = session.client.batches.show(id)
    session.result(batch)
    _tell(session, batch)


def cancel(session: Session, id: Id) -> None:
    """Begin no further row. What was answered stays, and `windlass batch resume` goes on."""
    batch = session.client.batches.cancel(id)
    session.result(batch)
    _tell(session, batch)


def _tell(session: Session, b: Batch) -> None:
    session.print(f"[{COLOURS.get(b.status, 'yellow')}]{b.status}[/]  {_counts(b)}  {_cost(b)}")
    session.print(f"  {words.short_ref(b.target)} over {words.short_ref(b.data)}")
    if b.per_second is not None and b.p50_s is not None and b.p95_s is not None:
        session.print(f"  {b.per_second:,.1f} rows a second; half took {b.p50_s:.2f} s at most, 95 of 100 {b.p95_s:.2f} s")
    for why, count in b.failures.items():
        session.print(f"  [red]{count:,} failed[/]  {plain(why)}")
    if b.result:
        session.print(f"  answers: {words.short_ref(b.result)}  [dim]{session.link('/batches/' + b.id)}[/dim]")
    else:
        session.print(f"  [dim]{session.link('/batches/' + b.id)}[/dim]")


def _counts(b: Batch) -> str:
    return f"{b.done:,} of {b.rows:,} rows" + (f", {b.failed:,} failed" if b.failed else "")


def _cost(b: Batch) -> str:
    return "cost unknown" if b.cost is None else f"${b.cost:,.4f}".rstrip("0").rstrip(".")
