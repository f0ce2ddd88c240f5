"""`loadtest`: a release asked at a rate and held against what it must keep to; and what came of it: list, show, cancel."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from windlass.core.errors import error_from_dict
from windlass.core.ids import now_ns
from windlass.core.operations.loadtests import LoadTest, Objectives
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.data import Cursor
from windlass.doors.cli.session import Session, plain
from windlass.doors.cli.workspace import progress

POLL_SECONDS = 0.3
COLOURS = {"shown": "green", "missed": "red", "not shown": "yellow"}

Id = Annotated[str, typer.Argument(help="Its id, or a part of it.")]


def add(app: typer.Typer) -> None:
    loadtest = typer.Typer(help="Ask a release at a rate, before it is let out.", no_args_is_help=True)
    command(loadtest, "start", "loadtests.start", path="loadtest")(start)
    command(loadtest, "list", "loadtests.list", path="loadtest")(list_tests)
    command(loadtest, "show", "loadtests.show", path="loadtest")(show)
    command(loadtest, "cancel", "loadtests.cancel", path="loadtest")(cancel)
    app.add_typer(loadtest, name="loadtest", rich_help_panel="Deploy")


def start(
    session: Session,
    target: Annotated[str, typer.Argument(help="A release: answer (in staging), answer:production, answer@3f9a.")],
    data: Annotated[str, typer.Option("--data", help="The dataset whose rows are asked, over and over.")],
    per_second: Annotated[float, typer.Option("--per-second", help="Calls begun in a second.")],
    seconds: Annotated[float, typer.Option("--seconds", help="For so long.")] = 30.0,
    p95: Annotated[float | None, typer.Option("--p95", help="Seconds within which 95 of 100 must be answered.")] = None,
    errors: Annotated[float | None, typer.Option("--errors", help="The share that may fail: 0.01.")] = None,
    split: Annotated[str | None, typer.Option("--split", help="Only rows of this split.")] = None,
    budget: Annotated[float | None, typer.Option("--budget", help="US dollars; where they are spent it ends, and shows nothing.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Begin, and do not wait.")] = False,
) -> int:
    """Begin, and wait for its end. Exit 0 where all that was asked is shown, 1 where not."""
    asked = Objectives(per_second, seconds, p95, errors)
    test = session.client.loadtests.start(target, data, asked, split=split, budget=budget)
    if not detach:
        calls = round(per_second * seconds)
        with progress(session) as say:
            while (test := session.client.loadtests.show(test.id)).status in ("queued", "running"):
                say(f"{test.in_flight:,} under way, {test.failed:,} failed", test.sent, calls)
                time.sleep(POLL_SECONDS)
    session.result(test)
    _tell(session, test)
    if test.error:
        raise error_from_dict(test.error)
    return 0 if detach or test.passed else 1


def list_tests(session: Session, cursor: Cursor = None) -> None:
    """Load tests of the project, newest first."""
    page = session.client.loadtests.list(cursor)
    session.result(page)
    now = now_ns()
    for t in page.items:
        by = f"[dim]{plain(t.actor)}, {words.ago(t.created_ns, now)}[/dim]"
        session.print(f"{t.id[-8:]}  {_state(t)}  {words.short_ref(t.target)}  {_asked(t)}  {by}")
    if not page.items:
        session.print("there is no load test yet; `windlass loadtest start answer --data NAME --per-second 5` begins one")
    if page.next:
        session.print(f"[dim]more: --cursor {page.next}[/dim]")


def show(session: Session, id: Id) -> None:
    """How far one is, or what it showed."""
    test = session.client.loadtests.show(id)
    session.result(test)
    _tell(session, test)


def cancel(session: Session, id: Id) -> None:
    """End it; nothing is shown."""
    test = session.client.loadtests.cancel(id)
    session.result(test)
    _tell(session, test)


def _tell(session: Session, t: LoadTest) -> None:
    session.print(f"{_state(t)}  {words.short_ref(t.target)}  {_asked(t)}")
    for h in t.held:
        session.print(f"  [{COLOURS[h.kept]}]{h.kept:9}[/]  {plain(h.sentence)}")
    if t.p50_s is not None and t.p95_s is not None and t.p99_s is not None:
        told = f"half within {t.p50_s:.3g} s, 95 of 100 {t.p95_s:.3g} s, 99 of 100 {t.p99_s:.3g} s"
        way = "" if t.way == "gateway" else f"  [dim]{t.way}, not through a gateway[/dim]"
        session.print(f"  {t.answered:,} of {t.sent:,} answered, {told}{way}")
    if t.late:
        session.print(f"  [yellow]{t.late:,} calls were begun too late: the machine that asked could not keep up[/]")
    for why, count in t.failures.items():
        session.print(f"  [red]{count:,} failed[/]  {plain(why)}")
    session.print(f"  [dim]{session.link('/loadtests/' + t.id)}[/dim]")


def _state(t: LoadTest) -> str:
    if t.status == "done":
        return "[green]passed[/]" if t.passed else "[red]not passed[/]"
    return f"[{'red' if t.status == 'failed' else 'yellow'}]{t.status}[/]"


def _asked(t: LoadTest) -> str:
    return f"{t.request.objectives.per_second:g} a second for {t.request.objectives.seconds:g} s"
