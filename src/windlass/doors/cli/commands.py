"""How a function becomes a command: its own parameters, and those that every command has."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import msgspec
import typer
from msgspec.structs import fields

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
_before: dict[str, Any] = {}  # of the parameters that every command has, those that stood before its name


def _running(function: Command) -> Any:
    """`function(session, …)` as Typer takes it: with the parameters that every command has. One that is a struct stands for its fields,
    options that belong together."""
    signature = inspect.signature(function, eval_str=True)
    own, together = list[inspect.Parameter](), dict[str, tuple[type[msgspec.Struct], list[str]]]()
    for p in list(signature.parameters.values())[1:]:
        if isinstance(p.annotation, type) and issubclass(p.annotation, msgspec.Struct):
            options = _options(p.annotation)
            together[p.name] = p.annotation, [o.name for o in options]
            own += options
        else:
            own.append(p)
    common = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=d, annotation=a) for n, a, d in COMMON]

    def run(**given: Any) -> None:
        session = Session(**{n: v if (v := given.pop(n)) != d else _before.get(n, d) for n, _, d in COMMON})
        opened[:] = [session]
        for name, (kind, of_it) in together.items():
            given[name] = kind(**{option: given.pop(option) for option in of_it})
        raise typer.Exit(function(session, **given) or 0)

    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + common
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    run.__doc__ = function.__doc__
    return run


def _options(kind: type[msgspec.Struct]) -> list[inspect.Parameter]:
    """The fields of a struct as parameters; each has a default."""
    hints = get_type_hints(kind, include_extras=True)
    return [inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name]) for f in fields(kind)]


def command(app: typer.Typer, name: str, *operations: str, panel: str | None = None, path: str = "") -> Any:
    """Make `function(session, …)` the command `name`, which does these operations. `path` is the group it is in."""

    def decorate(function: Command) -> Command:
        app.command(name, rich_help_panel=panel)(_running(function))
        for operation in operations:
            DOES.setdefault(operation, f"{path} {name}".strip())
        return function

    return decorate


def everywhere(group: typer.Typer, **flags: Any) -> None:
    """Take what every command takes also before its name: `windlass --json index list`, `windlass index --json list`. `flags` are
    switches of the group's own, which do their work by themselves."""

    def before(**given: Any) -> None:
        _before.update({n: given[n] for n, _, d in COMMON if given[n] != d})

    taken = [*COMMON, *((name, Annotated[bool, flag], False) for name, flag in flags.items())]
    parameters = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=d, annotation=a) for n, a, d in taken]
    before.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    before.__annotations__ = {p.name: p.annotation for p in parameters}
    group.callback()(before)


def otherwise(group: typer.Typer, function: Command) -> None:
    """What a group does when it is named alone."""
    run = _running(function)

    def alone(ctx: typer.Context, **given: Any) -> None:
        if ctx.invoked_subcommand is None:
            run(**given)
        _before.update({n: given[n] for n, _, d in COMMON if given[n] != d})

    first = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    alone.__signature__ = inspect.Signature([first, *inspect.signature(run).parameters.values()])  # type: ignore[attr-defined]
    alone.__annotations__ = {"ctx": typer.Context, **run.__annotations__}
    group.callback(invoke_without_command=True)(alone)
