"""`erase`: one person out of everything a project keeps. `erasures`: what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Annotated

import typer

from windlass.core.errors import error_from_dict
from windlass.core.ids import now_ns
from windlass.core.operations.erasures import Affected, Erasure, ErasurePreview, Place
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.data import Cursor
from windlass.doors.cli.session import Session, plain
from windlass.doors.cli.workspace import progress

POLL_SECONDS = 0.3
SHOWN = 20  # versions that are affected


def add(app: typer.Typer) -> None:
    command(app, "erase", "erasures.make", "erasures.preview", path="erasures", panel="Govern")(erase)
    erasures = typer.Typer(help="Who was erased when: counts, and no names.", no_args_is_help=True)
    command(erasures, "list", "erasures.list", path="erasures")(list_erasures)
    command(erasures, "show", "erasures.show", path="erasures")(show)
    app.add_typer(erasures, name="erasures", rich_help_panel="Govern")


def erase(
    session: Session,
    names: Annotated[list[str], typer.Argument(help="What one person is called: the user.id of their traces, an e-mail address…")],
    mentions: Annotated[bool, typer.Option("--mentions", help="Also traces and rows of others in which a name stands anywhere.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Kept with the record; names nobody.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without this it is only looked at.")] = False,
) -> int:
    """Take a person out of traces, datasets, evaluations and whatever quotes them. It cannot be undone."""
    if not yes:
        preview = session.client.erasures.preview(*names, mentions=mentions)
        session.result(preview)
        _show_preview(session, preview)
        return 0
    found = session.client.erasures.make(*names, mentions=mentions, reason=reason)
    with progress(session) as say:
        while (found := session.client.erasures.show(found.id)).status in ("queued", "running"):
            say(found.step or "waiting", 0, 0)
            time.sleep(POLL_SECONDS)
    session.result(found)
    _show(session, found)
    if found.error:
        raise error_from_dict(found.error)
    return 0


def _show_preview(session: Session, preview: ErasurePreview) -> None:
    session.print(f"found: {_counts(preview.places) or 'nothing'}")
    if preview.datasets:
        session.print(f"  rows stand in {', '.join(plain(d) for d in preview.datasets)}")
    if preview.plain:
        session.print(f"[yellow]{words.many(preview.plain, 'name')}[/] too much like ordinary words to be looked for in text")
    _show_affected(session, preview.affected)
    for before in preview.before:
        session.print(f"  [dim]erased before: {session.link('/erasures/' + before)}[/dim]")
    session.print("[bold]nothing was erased.[/bold] The same with --yes does it, and cannot be undone")


def _show(session: Session, e: Erasure) -> None:
    colour = {"done": "green", "failed": "red"}.get(e.status, "yellow")
    session.print(f"[{colour}]{e.status}[/]  {_counts(e.erased) or 'nothing was found'}")
    for left in e.left:
        session.print(f"  [yellow]still there[/]  {left.count:,} {plain(left.place)}: {plain(left.why)}")
    if e.status == "done" and not e.left:
        session.print("  no name is found any more")
    _show_affected(session, e.affected)
    session.print(f"[dim]{session.link('/erasures/' + e.id)}[/dim]")


def _show_affected(session: Session, affected: Iterable[Affected]) -> None:
    every = list(affected)
    for a in every[:SHOWN]:
        session.print(f"  {words.short_ref(a.ref)} {plain(a.why)}")
    if len(every) > SHOWN:
        session.print(f"  and {len(every) - SHOWN} more")


def _counts(places: Iterable[Place]) -> str:
    return ", ".join(f"{p.count:,} {plain(p.place)}" for p in places)


def list_erasures(session: Session, cursor: Cursor = None) -> None:
    """Erasures of the project, newest first."""
    page = session.client.erasures.list(cursor)
    session.result(page)
    now = now_ns()
    for e in page.items:
        session.print(f"{e.id[-8:]}  {e.status}  {_counts(e.erased)}  [dim]{plain(e.actor)}, {words.ago(e.asked_ns, now)}[/dim]")
    if not page.items:
        session.print("nobody was erased yet; `windlass erase NAME` says what would be")
    if page.next:
        session.print(f"[dim]more: --cursor {page.next}[/dim]")


def show(session: Session, id: Annotated[str, typer.Argument(help="Its id, or the end of it.")]) -> None:
    """What came of one."""
    found = session.client.erasures.show(id)
    session.result(found)
    _show(session, found)
