"""`discover`: which model serves an application best, by its own suite; `bakeoffs` that were held."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from windlass.core.errors import Invalid, error_from_dict
from windlass.core.ids import now_ns
from windlass.core.operations.bakeoffs import Arm, Bakeoff, BakeoffRequest, Rule
from windlass.core.operations.discover import Capability, CatalogQuery
from windlass.discover.policy import read_policy
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.evaluating import ENDED, POLL_SECONDS, sole_suite
from windlass.doors.cli.models import capabilities
from windlass.doors.cli.session import Session, plain
from windlass.doors.cli.workspace import progress

STATES = {"done": "[green]to the end[/]", "eliminated": "[red]out[/]", "stopped": "[yellow]stopped[/]", "failed": "[red]failed[/]"}


def add(app: typer.Typer) -> None:
    command(app, "discover", "discover.start", "discover.show", panel="Develop")(discover)
    command(app, "bakeoffs", "discover.list", "discover.show", "models.measured", panel="Develop")(bakeoffs)


def discover(
    session: Session,
    suite: Annotated[str | None, typer.Option("--suite", help="By which suite; the only one by default.")] = None,
    models: Annotated[
        str | None, typer.Option("--models", help="These, with commas; else all that can be called and fit the options below.")
    ] = None,
    part: Annotated[str | None, typer.Option("--part", help="The component or agent whose model is to change.")] = None,
    policy: Annotated[Path | None, typer.Option("--policy", help="Rules that leave models out: a TOML file.")] = None,
    data_class: Annotated[str | None, typer.Option("--data-class", help="What the rows are, for the policy: personal, public, …")] = None,
    budget: Annotated[float, typer.Option("--budget", min=0, help="Spend at most so many US dollars.")] = 1.0,
    rows: Annotated[int | None, typer.Option("--rows", min=2, help="Ask at most so many rows.")] = None,
    provider: Annotated[str | None, typer.Option("--provider", help="Of one provider.")] = None,
    max_output_price: Annotated[
        float | None, typer.Option("--max-output-price", min=0, help="At most so many US dollars per million output tokens.")
    ] = None,
    can: Annotated[str | None, typer.Option("--can", help="All of these, with commas: " + ", ".join(get_args(Capability)) + ".")] = None,
    open: Annotated[bool, typer.Option("--open", help="With open weights.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Begin, and do not wait.")] = False,
) -> int:
    """Find the model to use: every candidate answers the suite's rows in your own application, losers stop early.

    Prints quality, cost and time of each, which of them no other beats, and one recommendation.
    """
    rules: tuple[Rule, ...] = read_policy(policy) if policy else ()
    named = tuple(m.strip() for m in models.split(",") if m.strip()) if models else ()
    narrowed = provider or max_output_price is not None or can or open
    if named and narrowed:
        raise Invalid("give either --models or what narrows them")
    among = CatalogQuery(provider=provider, max_output_price=max_output_price, can=capabilities(can), open_weights=open or None)
    request = BakeoffRequest(
        sole_suite(session, suite, "discover --suite"), named, among if narrowed else None, part, None, session.client.project,
        rules, data_class, budget, rows,
    )  # fmt: skip
    found = session.client.bakeoffs.start(request)
    if not detach:
        most = f"at most {words.many(found.rows, 'row')} each and {words.dollars(found.budget)} together"
        session.print(f"{words.many(len(found.arms), 'model')}, {most}")
        found = _watch(session, found)
    session.result(found)
    show_bakeoff(session, found)
    return 1 if found.status == "failed" else 0


def _watch(session: Session, found: Bakeoff) -> Bakeoff:
    try:
        with progress(session) as say:
            while (found := session.client.bakeoffs.show(found.id)).status not in ENDED:
                live = [a for a in found.arms if a.status in ("waiting", "running")]
                over = sum(found.rows - a.rows for a in found.arms if a not in live)
                say(f"{len(live)} of {words.many(len(found.arms), 'model')} left", found.done + over, found.rows * len(found.arms))
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        session.warn(f"look at it again with: windlass bakeoffs {found.id[-8:]}")
        raise
    if found.error:
        raise error_from_dict(found.error)
    return found


def show_bakeoff(session: Session, b: Bakeoff) -> None:
    rows = f"{words.many(b.rows, 'row')} of {words.short_ref(b.suite)}"
    session.print(f"[bold]{words.short_ref(b.target)}[/bold] with {words.many(len(b.arms), 'model')} in {b.part} · {rows}")
    if b.left_out:
        session.print(f"  without {words.many(b.left_out, 'row')} that its examples hold")
    for x in b.excluded:
        rule = f" [dim](rule: {plain(x.rule)})[/dim]" if x.rule else ""
        session.print(f"  left out: {plain(x.model)}: {plain(x.why)}{rule}")
    guards = [s.name for s in next((a.guards for a in b.arms if a.guards), ())]
    session.table(("model", "", *guards, "$ a row", "$ a success", "median", "95 %", "rows", ""), [_arm(a, guards) for a in b.arms])
    for a in b.arms:
        if a.why:
            session.print(f"  {plain(a.model)}: {STATES.get(a.status, a.status)}, {plain(a.why)}")
    edge = [a.model for a in b.arms if a.frontier]
    if edge:
        session.print(f"no other is better, cheaper and quicker at once: {plain(', '.join(edge))}")
    spared = f" · {b.saved:,} spared by stopping early" if b.saved else ""
    session.print(f"[dim]{words.many(b.calls, 'call')}{spared} · {words.dollars(b.spent)} of {words.dollars(b.budget)}[/dim]")
    if b.recommendation:
        colour = "green" if b.recommendation.model else "yellow"
        session.print(f"[bold {colour}]{plain(b.recommendation.model or 'none')}[/]  {plain(b.recommendation.why)}")
        if b.recommendation.next:
            session.print(f"[dim]next: {plain(b.recommendation.next)}[/dim]")
    session.print(f"[dim]{session.link('/bakeoffs/' + b.id[-8:])}[/dim]")


def _arm(a: Arm, guards: list[str]) -> tuple[str, ...]:
    scores = {s.name: s for s in a.guards}
    said = []
    for name in guards:
        s = scores.get(name)
        interval = f" [{s.interval.low:.2f}, {s.interval.high:.2f}]" if s and s.interval else ""
        said.append((words.score(s.mean) if s else "") + interval)
    times = [words.duration(t * 1e9) if t is not None else "" for t in (a.latency, a.latency_95)]
    mark = "now" if a.reference else "*" if a.frontier else ""
    return (a.model, mark, *said, words.dollars(a.per_row), words.per_success(a.per_row, a.per_success), *times, f"{a.rows:,}", a.status)


def bakeoffs(
    session: Session,
    id: Annotated[str | None, typer.Argument(help="One of them: its id or a part of it.")] = None,
    suite: Annotated[str | None, typer.Option("--suite", help="By one suite.")] = None,
    measured: Annotated[bool, typer.Option("--measured", help="What was measured of each model here, by suite.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")] = 20,
    cursor: Annotated[str | None, typer.Option("--cursor", help="Go on from here.")] = None,
) -> None:
    """Bake-offs that were held, one of them, or all that was measured of models here."""
    if id:
        found = session.client.bakeoffs.show(id)
        session.result(found)
        show_bakeoff(session, found)
        return
    now = now_ns()
    if measured:
        known = session.client.bakeoffs.measured(suite=suite)
        session.result(known)
        session.table(
            ("model", "suite", "scores", "$ a row", "median", "rows", "when"),
            [
                (
                    m.model, words.short_ref(m.suite), "  ".join(f"{s.name} {words.score(s.mean)}" for s in m.guards),
                    words.dollars(m.per_row), words.duration(m.latency * 1e9) if m.latency is not None else "",
                    f"{m.rows:,}/{m.of_rows:,}", words.ago(m.at_ns, now),
                )
                for m in known.items
            ],
        )  # fmt: skip
        return
    page = session.client.bakeoffs.list(suite, cursor, limit)
    session.result(page)
    session.table(
        ("id", "suite", "", "models", "recommended", "when"),
        [
            (
                b.id[-8:], words.short_ref(b.suite), b.status, str(len(b.arms)),
                (cast(str, b.recommendation.model) or "none") if b.recommendation else "", words.ago(b.created_ns, now),
            )
            for b in page.items
        ],
    )  # fmt: skip
    if page.next:
        session.print(f"[dim]more: --cursor {page.next}[/dim]")
