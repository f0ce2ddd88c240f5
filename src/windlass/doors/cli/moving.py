"""`move`."""

from __future__ import annotations

import typer

from windlass.core.errors import Invalid
from windlass.doors.cli.commands import command
from windlass.doors.cli.session import Session, require_server


def add(app: typer.Typer) -> None:
    command(app, "move", panel="Run a server")(move)


def move(session: Session) -> None:
    """Move what this data folder holds to the engines that its settings name. No server may have the folder."""
    require_server("a data folder is moved by an installation of the server")
    from windlass.jobs.durable import unfinished
    from windlass.settings import load_settings
    from windlass.store.blobs import move_blobs
    from windlass.store.home import Home
    from windlass.store.moving import Handed, move_meta

    home = Home(session.home)
    home.lock()
    try:
        settings = load_settings(home.path)
        if not (settings.database or settings.blobs):
            raise Invalid("no setting names another place", where=str(home.path), remedy="set database or blobs; docs/growing.md says how")
        moved: dict[str, int] = {}
        blobs = move_blobs(home, settings.blobs) if settings.blobs else 0
        if settings.database and (home.path / "windlass.db").exists():
            moved = move_meta(home, settings.database, [Handed(*work) for work in unfinished(home.path / "jobs.db")])
    finally:
        home.unlock()
    session.result({"rows": moved, "blobs": blobs})
    if blobs:
        session.print(f"{blobs:,} blobs are in {settings.blobs.partition('?')[0]} now", "[dim]the folder blobs is a cache of it[/dim]")
    if moved:
        tables = sum(map(bool, moved.values()))
        session.print(
            f"{sum(moved.values()):,} rows of {tables} tables are in PostgreSQL now", "[dim]the file is kept as windlass.db.moved[/dim]"
        )
    if not (moved or blobs):
        session.print("nothing is left to move")
