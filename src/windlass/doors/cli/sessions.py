"""`sessions`: what agents did, run by run: what was wanted, what was decided, what ran, what came of it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from windlass.core.ids import now_ns
from windlass.core.operations.sessions import SessionCall, SessionRun
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.data import Cursor
from windlass.doors.cli.session import Session, plain

WIDEST = 160  # characters of arguments or of a result in a line
OUTCOMES = {"ok": "green", "failed": "red", "refused": "yellow", "wrong": "red"}


def add(app: typer.Typer) -> None:
    sessions = typer.Typer(help="What agents did: what was wanted, what was decided, what ran.", no_args_is_help=True)
    command(sessions, "list", "sessions.list", path="sessions")(list_sessions)
    command(sessions, "show", "sessions.show", path="sessions")(show)
    app.add_typer(sessions, name="sessions", rich_help_panel="Agents")


def list_sessions(
    session: Session,
    search: Annotated[str | None, typer.Option("--search", help="Only ids that hold this.")] = None,
    agent: Annotated[str | None, typer.Option("--agent", help="In which this one called a tool: agent/name.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")] = 20,
    cursor: Cursor = None,
) -> None:
    """Sessions, the newest first."""
    page = session.client.sessions.list(search=search, agent=agent, cursor=cursor, limit=limit)
    session.result(page)
    session.table(
        ("session", "last", "runs", "ran", "refused", "cost", "callers"),
        [
            (
                s.id, words.ago(s.end_ns, now_ns()), words.count(s.runs), words.count(s.ran), words.count(s.refused),
                words.dollars(s.cost), ", ".join(s.callers),
            )
            for s in page.items
        ],
        right=frozenset({2, 3, 4, 5}),
    )  # fmt: skip
    if not page.items:
        session.print('no session is like that; windlass run guide "…" --session NAME makes one')
    if page.next:
        session.print(f"[dim]more: --cursor {plain(page.next)}[/dim]")


def show(
    session: Session,
    id: Annotated[str, typer.Argument(help="A session, or a trace: one run.")],
    limit: Annotated[int, typer.Option("--limit", min=1, max=50, help="At most so many runs, the newest.")] = 20,
    cursor: Cursor = None,
) -> None:
    """One session: each run, each step, each call."""
    found = session.client.sessions.show(id, cursor, limit)
    session.result(found)
    for run in found.runs:
        _run(session, run)
    if found.next:
        session.print(f"[dim]older: --cursor {plain(found.next)}[/dim]")
    session.print(f"[dim]{session.link('/sessions/' + found.id)}[/dim]")


def _run(session: Session, run: SessionRun) -> None:
    t = run.trace
    about = f"{words.ago(t.start_ns, now_ns())} · {words.duration(t.duration_ns)} · {words.dollars(t.cost)} · trace {t.trace_id[:8]}"
    session.print(f"[bold]{plain(_short(t.input) or t.name)}[/bold]  [dim]{plain(t.name.removeprefix('run '))} · {about}[/dim]")
    for step in run.steps:
        took = f"{words.duration(step.duration_ns)} · {words.dollars(step.cost)}"
        session.print(f"  step {step.number}  [dim]{plain(step.agent)} asked {plain(step.model or 'its model')} · {took}[/dim]")
        if step.said:
            session.print(f"    {plain(_short(step.said))}")
        for call in step.calls:
            _call(session, call)
        if step.error:
            session.print(f"    [red]ended[/red]: {plain(_short(step.error))}")
    for call in run.calls:
        _call(session, call)
    if run.error:
        session.print(f"  [red]failed[/red]: {plain(_short(run.error))}")
    elif t.output:
        session.print(f"  [dim]answered[/dim] {plain(_short(t.output))}")


def _call(session: Session, call: SessionCall) -> None:
    ran = f"ran {words.duration(call.duration_ns)}" if call.executed else "did not run"
    session.print(
        f"    {plain(call.name)} {plain(_short(call.arguments))}  [{OUTCOMES[call.outcome]}]{call.outcome}[/] [dim]{ran}[/dim]"
    )  # fmt: skip
    if call.waited:
        session.print(f"      waited {words.duration(call.waited.duration_ns)} for a person: {plain(call.waited.state)}")
    if call.why:
        grant = f" · grant {words.short_id(call.grant)}" if call.grant else ""
        session.print(f"      [dim]{call.decision}[/dim] {plain(_short(call.why))}[dim]{grant}[/dim]")
    for sign in call.untrusted:
        session.print(f"      [red]untrusted[/red]: the result {plain(sign)}")
    if call.result:
        session.print(f"      [dim]→[/dim] {plain(_short(call.result))}")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= WIDEST else f"{text[:WIDEST]}…"
