"""`eval`, `gate`, `evaluations`, `verdicts`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from windlass.core.digest import short
from windlass.core.errors import Invalid, NotFound, WindlassError, error_from_dict
from windlass.core.ids import now_ns
from windlass.core.operations.evaluation import Comparison, Evaluation, GateJob, GatePlan
from windlass.core.ref import parse_ref
from windlass.core.score import GuardResult, Verdict
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.session import Session, plain
from windlass.doors.cli.workspace import progress

POLL_SECONDS = 0.25
ENDED = ("done", "failed", "cancelled")
COLOURS = {"promote": "green", "block": "red", "inconclusive": "yellow"}


def add(app: typer.Typer) -> None:
    command(app, "eval", "evaluations.start", panel="Prove")(evaluate)
    command(app, "gate", "gate.start", "gate.show", panel="Prove")(gate)
    command(app, "evaluations", "evaluations.list", "evaluations.show", "evaluations.outcomes", panel="Prove")(evaluations)
    command(app, "compare", "evaluations.compare", panel="Prove")(compare)
    command(app, "verdicts", "verdicts.list", "verdicts.show", panel="Prove")(verdicts)


def sole_suite(session: Session, given: str | None, command: str) -> str:
    """The suite to use: the given one, else the only one of this workspace, else the only one there is."""
    if given:
        return given
    found = session.client.artifacts.list("suite", limit=200).items
    mine = [a.name for a in found if session.manifest is not None and a.workspace == session.manifest.name]
    names = mine or [a.name for a in found]
    if not names:
        raise NotFound("there is no suite in this project", remedy="write one with w.suite(…) and push it")
    if len(names) > 1:
        raise Invalid(f"which suite? there are {', '.join(names)}", remedy=f"windlass {command} {names[0]}")
    return names[0]


def evaluate(
    session: Session,
    suite: Annotated[str | None, typer.Argument(help="The suite; the only one by default.")] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="What to evaluate; the newest version of the suite's target by default.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ask anew instead of using recorded answers.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Begin, and do not wait.")] = False,
) -> int:
    """Evaluate a target on every row of a suite."""
    found = session.client.evaluations.start(sole_suite(session, suite, "eval"), target, fresh=fresh)
    if not detach:
        with progress(session) as say:
            while (found := session.client.evaluations.show(found.id)).status not in ENDED:
                say("evaluating", found.done, found.rows)
                time.sleep(POLL_SECONDS)
    session.result(found)
    show_evaluation(session, found)
    return 1 if found.status == "failed" else 0


def show_evaluation(session: Session, e: Evaluation) -> None:
    session.print(f"[bold]{words.short_ref(e.target)}[/bold] by {words.short_ref(e.suite)}")
    if e.error:
        session.print(f"[red]failed[/red]  {plain(e.error)}")
    answered = f"{e.done:,} of {words.many(e.rows, 'row')}" if e.done != e.rows else words.many(e.rows, "row")
    kept = f" · {e.reused:,} recorded answers re-used" if e.reused else ""
    lost = f" · {e.failed:,} failed, unmeasured" if e.failed else ""
    session.print(f"{answered} · {words.many(e.calls, 'call')}{kept}{lost} · {words.dollars(e.cost)}")
    for s in e.evaluators:
        interval = f"  [{s.interval.low:.2f}, {s.interval.high:.2f}]" if s.interval else ""
        missing = f"  {s.unmeasured:,} unmeasured" if s.unmeasured else ""
        session.print(f"  {s.name:<22} {words.score(s.mean)}[dim]{plain(interval)}{missing}[/dim]")
    session.print(f"[dim]{session.link('/evaluations/' + e.id[-8:])}[/dim]")


def gate(
    session: Session,
    suite: Annotated[str | None, typer.Argument(help="The suite; the only one by default.")] = None,
    candidate: Annotated[str | None, typer.Option("--candidate", help="The release to gate; the newest by default.")] = None,
    environment: Annotated[str, typer.Option("--against", help="The environment it is to replace.")] = "production",
    resume: Annotated[str | None, typer.Option("--resume", help="Go on watching a gate that was begun.")] = None,
    fail: Annotated[
        bool,
        typer.Option("--fail-inconclusive", help='Exit 1 instead of 3 when inconclusive, as on_inconclusive = "fail" in windlass.toml.'),
    ] = False,
) -> int:
    """Decide about a candidate: promote (exit 0), block (1) or inconclusive (3); 4 is an error.

    Every row is scored for the candidate and for what the environment runs. Rows whose requests are the same keep their answers.
    """
    session.error_code = 4
    if resume:
        job = session.client.gates.show(resume)
    else:
        job = session.client.gates.start(sole_suite(session, suite, "gate"), candidate, environment)
    job = _watch(session, job, environment)
    if job.error:
        raise error_from_dict(job.error)
    if job.verdict is None:
        raise WindlassError(f"the gate was {job.status}")
    session.result(job.verdict)
    show_verdict(session, job.verdict)
    code = job.verdict.exit_code
    fail = fail or (session.manifest is not None and session.manifest.on_inconclusive == "fail")
    return 1 if fail and code == 3 else code


def _watch(session: Session, job: GateJob, environment: str) -> GateJob:
    """Wait for a gate, telling what it does and how far it is."""
    told = False
    try:
        show_plan(session, job.plan, environment)
        with progress(session) as say:
            while (job := session.client.gates.show(job.id)).status not in ENDED:
                if job.plan.can_differ is not None and not told:
                    told = True
                    show_reuse(session, job.plan)
                say("gating", job.done, job.total)
                time.sleep(POLL_SECONDS)
            if job.plan.can_differ is not None and not told:
                show_reuse(session, job.plan)
    except KeyboardInterrupt:
        if session.address:
            session.warn(f"the gate goes on without you; look at it again with: windlass gate --resume {job.id[-8:]}")
        else:
            session.warn("the gate was cut off; gate again: answers that were recorded are not asked for again")
        raise
    return job


def show_plan(session: Session, plan: GatePlan, environment: str) -> None:
    candidate = words.short_ref(plan.candidate)
    if plan.base:
        base = plan.base.rpartition("@")[2]
        session.print(
            f"{candidate} against {environment} {short(base) if base.startswith('sha256:') else base} · {words.many(plan.rows, 'row')}"
        )
    else:
        session.print(f"{candidate} · nothing in {environment} yet · {words.many(plan.rows, 'row')}")


def show_reuse(session: Session, plan: GatePlan) -> None:
    same = plan.rows - (plan.can_differ or 0)
    calls = f"about {words.many(plan.calls or 0, 'call')}" + (f", {words.dollars(plan.cost)}" if plan.cost is not None else "")
    kept = "receive byte-identical requests and keep production's draws"
    session.print(f"{plan.can_differ:,} can differ · {same:,} {kept} · {calls}")


def show_verdict(session: Session, v: Verdict) -> None:
    width = max((len(g.name) for g in v.guards), default=0)
    for g in v.guards:
        session.print(_guard(g, width))
    word = "FIRST RELEASE" if v.base is None and v.decision == "promote" else v.decision.upper()
    session.print(f"[bold {COLOURS[v.decision]}]{word}[/]   {session.link('/verdicts/' + v.id[-8:])}")
    for r in v.left_out[:5]:
        session.print(f"  left out: {plain(r.row)} stands among what it was shown: {words.short_ref(r.where)} row {plain(r.other)}")
    if len(v.left_out) > 5:
        session.print(f"  and {len(v.left_out) - 5} more rows are left out so")
    for f in v.failures:
        alike = f" (and {f.rows - 1:,} more like it)" if f.rows > 1 else ""
        session.print(f"  unmeasured: {plain(f.row)}: {plain(f.error)}{alike}")
    if v.decision == "block":
        worst = [f'"{c.label}"' for c in v.changes if c.candidate < c.base][:3]
        if worst:
            session.print(f"  worst: {plain(', '.join(worst))}{' …' if len(v.changes) > 3 else ''}")
    if v.decision == "promote" and not v.candidate.startswith("http"):
        name = parse_ref(v.candidate).name if "@sha256:" in v.candidate else None
        if name:
            session.print(f"[dim]next: windlass promote {name} --to {v.environment}[/dim]")


def _guard(g: GuardResult, width: int) -> str:
    if g.floor is not None or g.base is None:
        figures = f"{words.score(g.candidate)}{_interval(g, 1, '.2f')}"
    else:
        figures = f"{words.score(g.base)} → {words.score(g.candidate)}   {words.points(g.difference)} points{_interval(g, 100, '+.1f')}"
    margin = f"   margin {g.margin * 100:g}" if g.margin is not None and g.base is not None else ""
    missing = f"   {g.unmeasured} unmeasured" if g.unmeasured else ""
    return f"  {g.name:<{width}}   {figures}{margin}{missing}   [{COLOURS[g.decision]}]{plain(g.sentence)}[/]"


def _interval(g: GuardResult, factor: int, form: str) -> str:
    if g.interval is None:
        return ""
    low, high = (f"{x * factor:{form}}".replace("-", "−") for x in (g.interval.low, g.interval.high))
    return plain(f" [{low}, {high}]")


def evaluations(
    session: Session,
    id: Annotated[str | None, typer.Argument(help="One of them: its id or a part of it.")] = None,
    suite: Annotated[str | None, typer.Option("--suite", help="Of one suite.")] = None,
    rows: Annotated[bool, typer.Option("--rows", help="With its rows.")] = False,
    only: Annotated[str, typer.Option("--only", help="Rows: all, failed, or low (the worst first).")] = "all",
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")] = 20,
    cursor: Annotated[str | None, typer.Option("--cursor", help="Go on from here.")] = None,
) -> None:
    """Evaluations: all, one, or one with its rows."""
    if id and (rows or only != "all"):
        page = session.client.evaluations.outcomes(id, only, cursor, limit)
        session.result(page)
        lines = []
        for o in page.items:
            scores = "  ".join(f"{s.evaluator} {words.score(s.value)}" for s in o.scores)
            lines.append((o.row, scores, (o.error or o.text)[:100]))
        session.table(("row", "scores", "answer"), lines)
        _more(session, page.next)
    elif id:
        found = session.client.evaluations.show(id)
        session.result(found)
        show_evaluation(session, found)
    else:
        listed = session.client.evaluations.list(suite, cursor, limit)
        session.result(listed)
        now = now_ns()
        session.table(
            ("id", "target", "suite", "", "rows", "scores", "when"),
            [
                (
                    e.id[-8:], words.short_ref(e.target), words.short_ref(e.suite), e.status, f"{e.done:,}/{e.rows:,}",
                    "  ".join(f"{s.name} {words.score(s.mean)}" for s in e.evaluators), words.ago(e.created_ns, now),
                )
                for e in listed.items
            ],
        )  # fmt: skip
        _more(session, listed.next)


def compare(
    session: Session,
    a: Annotated[str, typer.Argument(help="The base: an evaluation's id.")],
    b: Annotated[str, typer.Argument(help="The candidate: an evaluation's id.")],
    only: Annotated[str, typer.Option("--only", help="Rows: changed, worse, better or all.")] = "changed",
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many rows.")] = 20,
    cursor: Annotated[str | None, typer.Option("--cursor", help="Go on from here.")] = None,
) -> None:
    """Two evaluations side by side, example by example."""
    found: Comparison = session.client.evaluations.compare(a, b, only, cursor, limit)
    session.result(found)
    session.print(f"{words.short_ref(found.a.target)} → [bold]{words.short_ref(found.b.target)}[/bold]")
    for s in found.summaries:
        interval = f" [{s.interval.low * 100:+.1f}, {s.interval.high * 100:+.1f}]".replace("-", "−") if s.interval else ""
        session.print(
            f"  {s.name:<22} {words.score(s.a)} → {words.score(s.b)}   {words.points(s.difference)} points{plain(interval)}"
            f"   [dim]{words.many(s.pairs, 'pair')} · {s.better:,} better · {s.worse:,} worse[/dim]"
        )
    for pair in found.items:
        shown = pair.b or pair.a
        session.print("", f"[bold]{plain(pair.row)}[/bold] {plain(str(shown.input if shown else '')[:100])}")
        for name, outcome in (("−", pair.a), ("+", pair.b)):
            if outcome:
                scores = "  ".join(f"{s.evaluator} {words.score(s.value)}" for s in outcome.scores)
                session.print(f"  {name} {plain((outcome.error or outcome.text)[:160])}   [dim]{scores}[/dim]")
    _more(session, found.next)


def verdicts(
    session: Session,
    id: Annotated[str | None, typer.Argument(help="One of them: its id or a part of it.")] = None,
    suite: Annotated[str | None, typer.Option("--suite", help="Of one suite.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")] = 20,
    cursor: Annotated[str | None, typer.Option("--cursor", help="Go on from here.")] = None,
) -> None:
    """Verdicts: all, or one with its evidence."""
    if id:
        verdict = session.client.gates.verdict(id)
        session.result(verdict)
        session.print(
            f"{words.short_ref(verdict.candidate)} against {words.short_ref(verdict.base) if verdict.base else 'nothing'}"
            f" · {words.many(verdict.rows, 'row')} · {verdict.identical:,} identical · {words.many(verdict.calls, 'call')}"
        )
        show_verdict(session, verdict)
        return
    page = session.client.gates.verdicts(suite, cursor, limit)
    session.result(page)
    now = now_ns()
    session.table(
        ("id", "", "candidate", "against", "rows", "when"),
        [
            (
                v.id[-8:], v.decision, words.short_ref(v.candidate), words.short_ref(v.base) if v.base else "nothing", f"{v.rows:,}",
                words.ago(v.created_ns, now),
            )
            for v in page.items
        ],
    )  # fmt: skip
    _more(session, page.next)


def _more(session: Session, cursor: str | None) -> None:
    if cursor:
        session.print(f"[dim]more: --cursor {cursor}[/dim]")
