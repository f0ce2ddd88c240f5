"""`views`: what pages of traces were asked, under names."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qsl, urlencode, urlsplit

import typer

from windlass.core.errors import Invalid
from windlass.core.ids import now_ns
from windlass.core.operations.views import SavedView
from windlass.doors import format as words
from windlass.doors.cli.commands import command, otherwise
from windlass.doors.cli.session import Session, plain

SHARED = typer.Option("--shared", help="For everybody in the project; without it, yours alone.")


def add(app: typer.Typer) -> None:
    views = typer.Typer(help="Filters of traces and dashboards that are kept under a name.")
    command(views, "list", "views.list", path="views")(list_views)
    command(views, "save", "views.save", path="views")(save)
    command(views, "remove", "views.remove", path="views")(remove)
    otherwise(views, list_views)
    app.add_typer(views, name="views", rich_help_panel="Look")


def list_views(session: Session) -> None:
    """What is kept, with the address of each."""
    found = session.client.views.list()
    session.result(found)
    now = now_ns()
    session.table(
        ("name", "by", "when", "address"),
        [(v.name, v.by + (", for all" if v.shared else ""), words.ago(v.at_ns, now), _address(session, v)) for v in found.items],
    )
    if not found.items:
        session.print("no views yet: windlass views save NAME 'status:error'")


def save(
    session: Session,
    name: Annotated[str, typer.Argument(help="What it is to be called.")],
    asked: Annotated[str, typer.Argument(help="A filter of traces, or the address of a page as the browser has it.")],
    shared: Annotated[bool, SHARED] = False,
) -> None:
    """Keep a filter, or what a page is asked, under a name; again replaces."""
    page, given = "traces", {"filter": asked}
    if asked.startswith(("http://", "https://", "/")):
        parts = urlsplit(asked)
        page = parts.path.strip("/")
        if page not in ("traces", "dashboards"):
            raise Invalid(f"{parts.path} is not a page of which views are kept", where="asked", remedy="/traces and /dashboards are")
        given = {k: v for k, v in parse_qsl(parts.query) if k not in ("cursor", "limit", "follow")}
    kept = session.client.views.save(name, given, page, shared)
    session.result(kept)
    session.print(f"kept: {plain(kept.name)}  [dim]{plain(_address(session, kept))}[/dim]")


def remove(
    session: Session, name: Annotated[str, typer.Argument(help="Which.")], shared: Annotated[bool, SHARED] = False
) -> None:  # fmt: skip
    """Keep it no longer."""
    gone = session.client.views.remove(name, shared)
    session.result(gone)
    session.print(f"removed: {plain(gone.name)}")


def _address(session: Session, view: SavedView) -> str:
    return session.link(f"/{view.page}" + (f"?{urlencode(view.asked)}" if view.asked else ""))
