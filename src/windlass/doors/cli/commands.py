"""How a function becomes a command: its own parameters, and those that every command has."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from windlass.doors.cli.session import Command, Session

COMMON: tuple[tuple[str, Any, Any], ...] = (
    ("json", Annotated[bool, typer.Option("--json", help="Print one JSON value, for programs.", rich_help_panel="Everywhere")], False),
    (
        "home",
        Annotated[Path | None, typer.Option("--home", help="The data folder. [WINDLASS_HOME]", rich_help_panel="Everywhere")],
        None,
    ),
    (
        "project",
        Annotated[str | None, typer.Option("--project", help="The project; the workspace's by default.", rich_help_panel="Everywhere")],
        None,
    ),
    ("debug", Annotated[bool, typer.Option("--debug", help="Show tracebacks.", rich_help_panel="Everywhere")], False),
)

# which command does which operation; a test holds it against `OPERATIONS`
DOES: dict[str, str] = {}
opened: list[Session] = []


def command(app: typer.Typer, name: str, *operations: str, panel: str | None = None, path: str = "") -> Any:
    """Make `function(session, …)` the command `name`, which does these operations. `path` is the group it is in."""

    def decorate(function: Command) -> Command:
        signature = inspect.signature(function, eval_str=True)
        own = list(signature.parameters.values())[1:]
        common = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=d, annotation=a) for n, a, d in COMMON]

        def run(**given: Any) -> None:
            session = Session(**{n: given.pop(n) for n, _, _ in COMMON})
            opened[:] = [session]
            raise typer.Exit(function(session, **given) or 0)

        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + common
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        run.__doc__ = function.__doc__
        app.command(name, rich_help_panel=panel)(run)
        for operation in operations:
            DOES.setdefault(operation, f"{path} {name}".strip())
        return function

    return decorate
