"""`tools`: what there is for agents to call, how it changed, who uses it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from windlass.core.ids import now_ns
from windlass.core.operations.tools import DefinitionChange, ToolState, ToolVersion
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.data import Cursor
from windlass.doors.cli.granting import lift, stop
from windlass.doors.cli.session import Session, plain

Name = Annotated[str, typer.Argument(help="A tool: its name.")]
COLOURS = {"none": "dim", "read": "green", "write": "yellow"}
WIDEST = 200  # characters of a value in a line


def add(app: typer.Typer) -> None:
    tools = typer.Typer(help="What there is for agents to call, how it changed, who uses it.", no_args_is_help=True)
    command(tools, "list", "tools.list", path="tools")(list_tools)
    command(tools, "show", "tools.show", path="tools")(show)
    command(tools, "suspend", "stops.set", path="tools")(suspend)
    command(tools, "resume", "stops.lift", path="tools")(resume)
    app.add_typer(tools, name="tools", rich_help_panel="Agents")


def list_tools(
    session: Session,
    search: Annotated[str | None, typer.Option("--search", help="Only names that hold this.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")] = 50,
    cursor: Cursor = None,
) -> None:
    """Tools by name: what each does to the world, who uses it."""
    page = session.client.tools.list(search, cursor, limit)
    session.result(page)
    for found in page.items:
        _tool(session, found)
    if not page.items:
        session.print('no tool yet; write one with @w.tool(effects="read") and `windlass push`')
    if page.next:
        session.print(f"[dim]more: --cursor {plain(page.next)}[/dim]")


def _tool(session: Session, found: ToolState) -> None:
    users = ", ".join(found.agents) or "no agent"
    more = f" · {words.many(found.grants, 'grant')}" if found.grants else ""
    secrets = f" · needs {plain(', '.join(found.secrets))}" if found.secrets else ""
    session.print(
        f"[bold]{plain(found.name)}[/bold]  [{COLOURS[found.effects]}]{found.effects}[/]  {plain(found.description.splitlines()[0])} "
        f"[dim]{words.many(found.versions, 'version')} · {plain(users)}{more}{secrets}[/dim]"
    )
    if found.by:
        session.print(f"  [yellow]it {'writes' if found.effects == 'write' else 'reads'} by {plain(found.by)}[/], which it calls")
    if found.stopped:
        session.print(f"  [red]suspended[/]: {plain(found.stopped)}")


def show(session: Session, name: Name) -> None:
    """One tool: its versions, what changed in each, who uses which."""
    found = session.client.tools.show(name)
    session.result(found)
    _tool(session, found.tool)
    for parameter, schema in found.parameters.get("properties", {}).items():
        must = "" if parameter in found.parameters.get("required", ()) else " [dim]may be left out[/dim]"
        session.print(f"  {plain(parameter)}  {plain(_short(schema))}{must}")
    for version in found.versions:
        _version(session, version)
    session.print(f"[dim]{session.link('/tools/' + found.tool.name)}[/dim]")


def _version(session: Session, version: ToolVersion) -> None:
    users = [*version.agents, *(f"grant {words.short_id(g)}" for g in version.grants)]
    by = f"[dim]{words.ago(version.created_ns, now_ns())} by {plain(version.actor)} · {plain(', '.join(users) or 'nobody uses it')}[/dim]"
    session.print(f"{plain(words.short_ref(version.ref))}  {by}")
    for change in version.changes:
        _change(session, change)


def _change(session: Session, change: DefinitionChange) -> None:
    session.print(f"  [{'red' if change.grave else 'dim'}]{plain(change.what)}[/]")
    for sign, value in (("-", change.before), ("+", change.after)):
        if value is not None and change.before != change.after:
            session.print(f"    {sign} {plain(_short(value))}")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= WIDEST else f"{text[:WIDEST]}…"


def suspend(session: Session, name: Name, why: Annotated[str, typer.Option("--why", help="The reason, for the others.")]) -> None:
    """Let no agent call a tool, from the next call on."""
    stop(session, f"tool/{name}", why)


def resume(session: Session, name: Name) -> None:
    """Let agents call it again."""
    lift(session, session.client.tools.show(name).tool.stop or f"tool/{name}")
