"""`sessions`: what agents did, run by run: what was wanted, what was decided, what ran, what came of it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from windlass.core.errors import Invalid
from windlass.core.ids import now_ns
from windlass.core.operations.sessions import SessionCall, SessionRun
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.data import Cursor, Message, edited, read_field
from windlass.doors.cli.scoring import tell
from windlass.doors.cli.session import Session, plain

WIDEST = 160  # characters of arguments or of a result in a line
OUTCOMES = {"ok": "green", "failed": "red", "refused": "yellow", "wrong": "red"}


def add(app: typer.Typer) -> None:
    sessions = typer.Typer(help="What agents did: what was wanted, what was decided, what ran.", no_args_is_help=True)
    command(sessions, "list", "sessions.list", path="sessions")(list_sessions)
    command(sessions, "show", "sessions.show", path="sessions")(show)
    command(sessions, "keep", "sessions.keep", path="sessions")(keep)
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
        for score in run.scores:
            if score.session is None:
                tell(session, score, run.trace.trace_id[:8])
    for score in found.scores:
        tell(session, score, "the session")
    if found.next:
        session.print(f"[dim]older: --cursor {plain(found.next)}[/dim]")
    session.print(f"[dim]{session.link('/sessions/' + found.id)}[/dim]")


def keep(
    session: Session,
    id: Annotated[str, typer.Argument(help="A session, or a trace: one run.")],
    to: Annotated[str, typer.Option("--to", help="The dataset: its name, or name:branch.")],
    runs: Annotated[list[str] | None, typer.Option("--run", help="A run that was good, by its trace; may be given again.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All its runs were good.")] = False,
    without: Annotated[
        list[str] | None, typer.Option("--without", help="A call that was not good, by its span; may be given again.")
    ] = None,
    fields: Annotated[list[str] | None, typer.Option("--set", help="FIELD=VALUE of each row, in JSON or as text.")] = None,
    field: Annotated[str, typer.Option("--field", help="Where the calls stand in a row.")] = "trajectory",
    message: Message = "",
) -> None:
    """Make evaluation cases of good runs: what was asked, and the calls that ran well as the way to take."""
    named = tuple(runs or ())
    if not named:
        found = session.client.sessions.show(id, limit=50)
        named = tuple(r.trace.trace_id for r in found.runs)
        if len(named) > 1 and not everything:
            known = ", ".join(n[:8] for n in named[:10])
            raise Invalid(f"session {id} has several runs", where="--run", remedy=f"name those that were good ({known}), or say --all")
        if found.next:
            raise Invalid(f"session {id} has more than {len(named)} runs", where="--run", remedy="name those that were good")
    given = dict(read_field(text) for text in fields or [])
    done = session.client.sessions.keep(id, to, named, without=tuple(without or ()), field=field, fields=given, message=message)
    for problem in done.problems:
        session.warn(problem)
    edited(session, done)


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
