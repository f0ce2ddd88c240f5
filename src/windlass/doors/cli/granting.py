"""`grants`: what an agent may do for a task. `approvals`: what waits for a person. `stops`: what is stopped."""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec
import typer

from windlass.core.errors import Invalid
from windlass.core.grant import GrantedTool, OnMiss
from windlass.core.ids import now_ns
from windlass.core.operations.approvals import Approval
from windlass.core.operations.grants import GrantRequest, GrantState, Stop
from windlass.doors import format as words
from windlass.doors.cli.alerting import seconds_of
from windlass.doors.cli.commands import command
from windlass.doors.cli.data import Cursor
from windlass.doors.cli.session import Session, plain

Id = Annotated[str, typer.Argument(metavar="GRANT", help="A grant: its id, or the end of it.")]
Subject = Annotated[str, typer.Argument(help="all, agent/name, tool/name, grant/id, or the name of an agent that runs elsewhere.")]
STATES = {"live": "green", "expired": "dim", "revoked": "red"}
ANSWERS = {"allow": "green", "ask": "yellow", "deny": "red"}


def add(app: typer.Typer) -> None:
    grants = typer.Typer(help="What an agent may do for a task: tools, arguments, budget, until when.", no_args_is_help=True)
    command(grants, "make", "grants.make", path="grants")(make)
    command(grants, "list", "grants.list", path="grants")(list_grants)
    command(grants, "show", "grants.show", path="grants")(show)
    command(grants, "check", "grants.check", path="grants")(check)
    command(grants, "token", "grants.token", path="grants")(token)
    command(grants, "revoke", "grants.revoke", path="grants")(revoke)
    app.add_typer(grants, name="grants", rich_help_panel="Agents")
    approvals = typer.Typer(help="Calls of tools that wait for a person.", no_args_is_help=True)
    command(approvals, "list", "approvals.list", path="approvals")(list_approvals)
    command(approvals, "allow", "approvals.decide", path="approvals")(allow_call)
    command(approvals, "deny", "approvals.decide", path="approvals")(deny_call)
    app.add_typer(approvals, name="approvals", rich_help_panel="Agents")
    stops = typer.Typer(help="Stop an agent, a tool, a grant or everything, from the next call on.", no_args_is_help=True)
    command(stops, "set", "stops.set", path="stops")(stop)
    command(stops, "lift", "stops.lift", path="stops")(lift)
    command(stops, "list", "stops.list", path="stops")(list_stops)
    app.add_typer(stops, name="stops", rich_help_panel="Agents")


def make(
    session: Session,
    agent: Annotated[str, typer.Argument(help="agent/name, or the name of an agent that runs elsewhere.")],
    task: Annotated[str, typer.Option("--task", help="What it is to do, in a sentence.")],
    tool: Annotated[list[str], typer.Option("--tool", help="A tool it may call: its name, or tool/name@digest; again for more.")],
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow", help="TOOL.ARGUMENT=VALUE: only this JSON value, or what fits this JSON Schema; what is not named is forbidden."
        ),
    ] = None,
    uses: Annotated[list[str] | None, typer.Option("--uses", help="TOOL=NUMBER: at most so many calls of it.")] = None,
    ask: Annotated[list[str] | None, typer.Option("--ask", help="TOOL: what its arguments do not fit, a person may let through.")] = None,
    calls: Annotated[int | None, typer.Option("--calls", min=0, help="At most so many calls of all its tools.")] = None,
    seconds: Annotated[int | None, typer.Option("--seconds", min=0, help="At most so many seconds of all its calls.")] = None,
    dollars: Annotated[float | None, typer.Option("--dollars", min=0, help="At most so many US dollars of all its calls.")] = None,
    lasts: Annotated[str, typer.Option("--for", help="How long it lasts: 90s, 30m, 1h, 2d.")] = "1d",
) -> None:
    """Let an agent do a task with these tools, and nothing else."""
    tools = _tools(tool, _allowed(allow), _uses(uses), frozenset(ask or ()))
    until = now_ns() + seconds_of(lasts) * 10**9
    asked = GrantRequest(agent, task, tools, calls, seconds, dollars, until, session.project)
    given = msgspec.to_builtins(asked)
    given.pop("project", None)
    made = session.client.grants.make(given.pop("agent"), given.pop("task"), given.pop("tools"), **given)
    session.result(made)
    _grant(session, made)
    session.print(f"[dim]next: windlass grants token {words.short_id(made.grant.id)}[/dim]")


def _tools(names: list[str], allowed: dict[str, dict[str, Any]], uses: dict[str, int], ask: frozenset[str]) -> tuple[GrantedTool, ...]:
    known = {_bare(name) for name in names}
    for option, given in (("--allow", allowed), ("--uses", uses), ("--ask", ask)):
        if unknown := sorted(set(given) - known):
            raise Invalid(f"{unknown[0]!r} is not among the tools", where=option, remedy=f"add --tool {unknown[0]}")
    made = []
    for name in names:
        bare = _bare(name)
        schema = {"type": "object", "properties": allowed[bare], "required": sorted(allowed[bare])} if bare in allowed else None
        miss: OnMiss = "ask" if bare in ask else "deny"
        made.append(GrantedTool(name if "/" in name else f"tool/{name}", schema, uses.get(bare), miss))
    return tuple(made)


def _bare(name: str) -> str:
    return name.partition("@")[0].rpartition("/")[2]


def _allowed(given: list[str] | None) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for text in given or ():
        name, _, value = text.partition("=")
        tool, _, argument = name.rpartition(".")
        if not tool or not argument or not value:
            raise Invalid(f"{text!r} is not TOOL.ARGUMENT=VALUE", where="--allow", remedy="write refund.order='\"7\"'")
        try:
            read = json.loads(value)
        except json.JSONDecodeError as e:
            raise Invalid(
                f"{value!r} is not JSON: {e.msg}", where="--allow", remedy=f"""a text stands in quotes: {name}='"{value}"'"""
            ) from e
        found.setdefault(tool, {})[argument] = read if isinstance(read, dict) else {"const": read}
    return found


def _uses(given: list[str] | None) -> dict[str, int]:
    found = {}
    for text in given or ():
        name, _, number = text.rpartition("=")
        if not name or not number.isdigit():
            raise Invalid(f"{text!r} is not TOOL=NUMBER", where="--uses", remedy="write refund=1")
        found[name] = int(number)
    return found


def list_grants(
    session: Session,
    agent: Annotated[str | None, typer.Option("--agent", help="Only grants of this agent.")] = None,
    all: Annotated[bool, typer.Option("--all", help="Also those that have expired or were revoked.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")] = 50,
    cursor: Cursor = None,
) -> None:
    """Grants, newest first: for whom, for what, what was spent."""
    page = session.client.grants.list(agent=agent, state="all" if all else "live", limit=limit, cursor=cursor)
    session.result(page)
    for found in page.items:
        _head(session, found)
    if not page.items:
        session.print(
            "no grant yet; an agent may call the tools it was registered with that change nothing" if all else "no grant lives now"
        )
    if page.next:
        session.print(f"[dim]more: --cursor {page.next}[/dim]")


def _head(session: Session, found: GrantState) -> None:
    g = found.grant
    ends = f"ends {words.ago(g.expires_ns, now_ns())}" if g.expires_ns and found.state == "live" else found.state
    session.print(
        f"[bold]{words.short_id(g.id)}[/bold]  [{STATES[found.state]}]{found.state}[/]  {plain(g.agent)}  {plain(g.task)} "
        f"[dim]{_spent(found)} · {ends}[/dim]"
    )


def _spent(found: GrantState) -> str:
    g, s = found.grant, found.spent
    calls = f"{s.calls} of {g.calls} calls" if g.calls is not None else words.many(s.calls, "call")
    parts = [calls]
    if g.seconds is not None:
        parts.append(f"{s.milliseconds / 1000:.1f} of {g.seconds} s")
    if g.dollars is not None:
        parts.append(f"{words.dollars(s.microdollars / 1e6)} of {words.dollars(g.dollars)}")
    return ", ".join(parts) + (f", {found.denied} denied" if found.denied else "")


def _grant(session: Session, found: GrantState) -> None:
    _head(session, found)
    for tool in found.grant.tools:
        _tool(session, found, tool)
    by = f"approved by {plain(found.grant.approved_by)}" + (f", revoked by {plain(found.revoked_by)}" if found.revoked_by else "")
    session.print(f"  [dim]{by} · {found.digest[:13]} · {session.link('/grants/' + found.grant.id)}[/dim]")


def _tool(session: Session, found: GrantState, tool: GrantedTool) -> None:
    used = found.spent.uses.get(tool.tool, 0)
    often = f"{used} of {tool.uses} uses" if tool.uses is not None else words.many(used, "use")
    ask = ", else a person is asked" if tool.on_miss == "ask" else ""
    session.print(f"  {plain(words.short_ref(tool.tool))}  [dim]{often}{ask}[/dim]")
    if tool.arguments is None:
        session.print("    any arguments it takes")
        return
    for name, schema in tool.arguments["properties"].items():
        session.print(f"    {plain(name)}  {plain(json.dumps(schema, ensure_ascii=False))}")


def show(session: Session, grant: Id) -> None:
    """One grant: each tool with its arguments, what was spent."""
    found = session.client.grants.show(grant)
    session.result(found)
    _grant(session, found)


def check(
    session: Session,
    grant: Id,
    tool: Annotated[str, typer.Argument(help="The tool that would be called.")],
    arguments: Annotated[str, typer.Argument(help="Its arguments, a JSON object.")] = "{}",
    agent: Annotated[str | None, typer.Option("--agent", help="Who would call it, where it is not the grant's agent.")] = None,
) -> int:
    """Would this call be allowed now, and why. Nothing is called. Exit status 1 unless it would."""
    try:
        given = json.loads(arguments)
    except json.JSONDecodeError as e:
        raise Invalid(f"not JSON: {e.msg}", where="ARGUMENTS", remedy="""write '{"order": "7"}'""") from e
    if not isinstance(given, dict):
        raise Invalid("arguments are a JSON object", where="ARGUMENTS", remedy="""write '{"order": "7"}'""")
    found = session.client.grants.check(grant, tool, given, agent)
    session.result(found)
    session.print(f"[{ANSWERS[found.answer]}]{found.answer.upper()}[/]  {plain(found.why)}")
    if found.remedy:
        session.print(f"  [dim]{plain(found.remedy)}[/dim]")
    return 0 if found.answer == "allow" else 1


def token(
    session: Session, grant: Id, lasts: Annotated[str, typer.Option("--for", help="How long it is good: 90s, 30m, 1h, 2d.")] = "1h"
) -> None:
    """What an agent shows to use a grant. It is told once and kept nowhere."""
    made = session.client.grants.token(grant, seconds_of(lasts))
    session.result(made)
    session.print(plain(made.token))
    ends = words.ago(made.expires_ns, now_ns())
    session.print(f"[dim]opens grant {words.short_id(made.grant)} of {plain(made.agent)}, and nothing else; ends {ends}[/dim]")


def revoke(session: Session, grant: Id) -> None:
    """End a grant, from the next call on."""
    found = session.client.grants.revoke(grant)
    session.result(found)
    _head(session, found)


Request = Annotated[str, typer.Argument(metavar="REQUEST", help="A request: its id, or the end of it.")]
Note = Annotated[str, typer.Option("--note", help="What the agent and the others are told.")]


def list_approvals(
    session: Session,
    all: Annotated[bool, typer.Option("--all", help="Also those that are decided or over.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")] = 50,
    cursor: Cursor = None,
) -> None:
    """Calls that wait for a person, newest first."""
    page = session.client.approvals.list(state="all" if all else "waiting", limit=limit, cursor=cursor)
    session.result(page)
    for found in page.items:
        _approval(session, found)
    if not page.items:
        session.print("nothing was asked yet" if all else "nothing waits for a person")
    if page.next:
        session.print(f"[dim]more: --cursor {page.next}[/dim]")


def allow_call(session: Session, request: Request, note: Note = "") -> None:
    """Let one call through, this once."""
    _decide(session, request, True, note)


def deny_call(session: Session, request: Request, note: Note = "") -> None:
    """Refuse a call."""
    _decide(session, request, False, note)


def _decide(session: Session, request: str, allow: bool, note: str) -> None:
    found = session.client.approvals.decide(request, allow, note)
    session.result(found)
    _approval(session, found)


def _approval(session: Session, found: Approval) -> None:
    now, colour = now_ns(), {"waiting": "yellow", "approved": "green", "used": "green", "denied": "red"}.get(found.state, "dim")
    by = f"by {plain(found.decided_by)}" if found.decided_by else f"until {words.ago(found.expires_ns, now)}"
    given = plain(json.dumps(found.arguments, ensure_ascii=False))
    session.print(f"[bold]{words.short_id(found.id)}[/bold]  [{colour}]{found.state}[/]  {plain(words.short_ref(found.tool))} {given}")
    session.print(f"  {plain(found.agent)}, {plain(found.task)}: {plain(found.why)} [dim]{words.ago(found.asked_ns, now)}, {by}[/dim]")
    if found.note:
        session.print(f"  {plain(found.note)}")


def stop(session: Session, subject: Subject, why: Annotated[str, typer.Option("--why", help="The reason, for the others.")]) -> None:
    """Stop it, from the next call on, in every process."""
    found = session.client.stops.set(subject, why)
    session.result(found)
    _stop(session, found)
    session.print(f"[dim]go on with: windlass stops lift {plain(found.subject)}[/dim]")


def lift(session: Session, subject: Subject) -> None:
    """Let it go on."""
    found = session.client.stops.lift(subject)
    session.result(found)
    session.print(f"{plain(found.subject)} goes on")


def list_stops(session: Session) -> None:
    """What is stopped, by whom and why, and what that halts."""
    found = session.client.stops.list(reach=True)
    session.result(found)
    for each in found.items:
        _stop(session, each)
    if not found.items:
        session.print("nothing is stopped")


def _stop(session: Session, found: Stop) -> None:
    by = f"[dim]{plain(found.actor)}, {words.ago(found.at_ns, now_ns())}[/dim]"
    session.print(f"[red]stopped[/]  {plain(found.subject)}  {plain(found.reason)} {by}")
    if found.reach:
        session.print(f"[dim]halts {words.reach(found.reach)}[/dim]")
