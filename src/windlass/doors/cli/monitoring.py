"""`monitor`: production held against what was evaluated: set, list, show, look, pause, resume, drift, quality."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from windlass.core.errors import error_from_dict
from windlass.core.ids import now_ns
from windlass.core.monitoring import Call, Coverage
from windlass.core.operations.monitors import JudgeState, MonitorState, TopicSeen
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.data import Cursor, Limit
from windlass.doors.cli.session import Session, plain
from windlass.doors.cli.workspace import progress

Name = Annotated[str, typer.Argument(help="A monitor: its name.")]
COLOURS: dict[Call, str] = {
    "covered": "green", "watch": "yellow", "skewed": "red", "too small to say": "yellow", "instrument changed": "yellow",
    "no traffic": "dim",
}  # fmt: skip
EXAMPLES = 3  # of a topic


def add(app: typer.Typer) -> None:
    monitor = typer.Typer(
        help="Production held against what was evaluated: skew, coverage, new topics, drift, quality.", no_args_is_help=True
    )
    command(monitor, "set", "monitors.set", path="monitor")(set_monitor)
    command(monitor, "list", "monitors.list", path="monitor")(list_monitors)
    command(monitor, "show", "monitors.show", path="monitor")(show)
    command(monitor, "look", "monitors.look", path="monitor")(look)
    command(monitor, "pause", "monitors.pause", path="monitor")(pause)
    command(monitor, "resume", path="monitor")(resume)
    command(monitor, "drift", "monitors.drift", path="monitor")(drift)
    command(monitor, "quality", "monitors.quality", path="monitor")(quality)
    app.add_typer(monitor, name="monitor", rich_help_panel="Monitor")


def set_monitor(
    session: Session,
    name: Annotated[str, typer.Argument(help="What it is to be called.")],
    suite: Annotated[str, typer.Option("--suite", help="The suite whose rows production is held against.")],
    release: Annotated[
        str | None, typer.Option("--release", help="The release to watch; by default the one that runs the suite's target.")
    ] = None,
    service: Annotated[str | None, typer.Option("--service", help="Or a service that sends its own traces.")] = None,
    environment: Annotated[str, typer.Option("--environment", help="Where it runs.")] = "production",
    encoder: Annotated[str, typer.Option("--encoder", help="What makes vectors of texts: words, minilm, or a provider's model.")] = "words",
    error: Annotated[float, typer.Option("--error", min=0.0001, max=0.49, help="The chance of ever a false alarm, at most.")] = 0.05,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0, max=1, help="The share of traffic unlike the evaluation that is nobody's trouble.")
    ] = 0.05,
    sample: Annotated[float, typer.Option("--sample", min=0, max=1, help="The share of runs that is judged.")] = 0.1,
    judges: Annotated[
        str | None, typer.Option("--judges", help="Evaluators of the suite, with commas; all that need no row by default.")
    ] = None,
    margin: Annotated[float, typer.Option("--margin", min=0, max=1, help="What a judge's mean may fall below its evaluation.")] = 0.05,
) -> None:
    """Watch what runs in production. Another setting begins anew."""
    more: dict[str, Any] = {"release": release, "service": service, "environment": environment, "encoder": encoder, "error": error}
    more |= {"tolerance": tolerance, "sample": sample, "margin": margin}
    if judges is not None:
        more["judges"] = tuple(j.strip() for j in judges.split(",") if j.strip())
    found = session.client.monitors.set(name, suite, **more)
    session.result(found)
    _state(session, found)
    session.print(f"[dim]it looks by itself every few minutes; now: windlass monitor look {found.name}[/dim]")


def list_monitors(session: Session, limit: Limit = 50, cursor: Cursor = None) -> None:
    """All monitors and what they say."""
    page = session.client.monitors.list(cursor, limit)
    session.result(page)
    now = now_ns()
    session.table(
        ("monitor", "watches", "", "covered", "runs", "looked"),
        [
            (
                m.name, m.watched, m.look.call if m.look else m.status, _covered(m.look.coverage) if m.look else "",
                f"{m.look.counted:,}" if m.look else "", words.ago(m.looked_ns, now) if m.looked_ns else "never",
            )
            for m in page.items
        ],
        right=frozenset({4}),
    )  # fmt: skip
    if not page.items:
        session.print("no monitor yet: windlass monitor set NAME --suite SUITE")
    if page.next:
        session.print(f"[dim]more: --cursor {page.next}[/dim]")


def show(session: Session, name: Name) -> None:
    """One monitor: what it says, its evidence, new topics with examples, and quality."""
    found = session.client.monitors.show(name)
    session.result(found)
    _state(session, found.monitor)
    _findings(session, found.monitor, found.topics)


def look(session: Session, name: Name) -> int:
    """Look at what came since, now. Exit status 1 when it is skewed or a judge fell."""
    with progress(session) as say:
        say(f"{name} looks at what came", 0, 0)
        state = session.client.monitors.look(name)
    found = session.client.monitors.show(name)
    session.result(found)
    _state(session, state)
    _findings(session, state, found.topics)
    return int(bool((state.look and state.look.call == "skewed") or any(j.worse for j in state.judges)))


def pause(session: Session, name: Name) -> None:
    """Stop looking. What comes meanwhile is seen when it goes on."""
    found = session.client.monitors.pause(name)
    session.result(found)
    _state(session, found)


def resume(session: Session, name: Name) -> None:
    """Go on looking."""
    found = session.client.monitors.pause(name, paused=False)
    session.result(found)
    _state(session, found)


def drift(
    session: Session,
    name: Name,
    hours: Annotated[float, typer.Option("--hours", min=0.01, help="The last so many hours.")] = 168,
    against: Annotated[float | None, typer.Option("--against", min=0.01, help="Against so many before them; as many by default.")] = None,
) -> int:
    """What production asks now against what it asked before, whatever was evaluated. Exit status 1 when it differs."""
    found = session.client.monitors.drift(name, hours, against)
    session.result(found)
    d = found.drift
    session.print(
        f"[{'red' if d.drifted else 'green'}]{plain(d.sentence)}[/]  [dim]{words.many(d.earlier, 'run')} before, {d.later:,} since[/dim]"
    )
    _topics(session, found.topics)
    session.table(
        ("what", "before", "since", "p"),
        [(c.descriptor, f"{c.earlier:.3g}", f"{c.later:.3g}", f"{c.p:.3g}") for c in d.changes],
        right=frozenset({1, 2, 3}),
    )
    return int(d.drifted)


def quality(
    session: Session,
    release: Annotated[str | None, typer.Argument(help="A release: its name.")] = None,
    service: Annotated[str | None, typer.Option("--service", help="Or a service that sends its own traces.")] = None,
    environment: Annotated[str, typer.Option("--environment", help="Where it runs.")] = "production",
    hours: Annotated[int, typer.Option("--hours", min=1, help="The last so many hours.")] = 24 * 14,
) -> None:
    """What judges said of runs in production, by version."""
    found = session.client.monitors.quality(release, service=service, environment=environment, hours=hours)
    session.result(found)
    session.table(
        ("judge", "version", "mean", "", "runs", "unmeasured"),
        [
            (
                s.evaluator, words.short_ref(s.release) if s.release else "", words.score(s.mean),
                f"[{s.interval.low:.2f}, {s.interval.high:.2f}]" if s.interval else "", f"{s.measured:,}", f"{s.unmeasured:,}",
            )
            for s in found.series
        ],
        right=frozenset({4, 5}),
    )  # fmt: skip
    if not found.series:
        session.print("nothing was judged in that time: windlass monitor set NAME --suite SUITE --sample 0.1")


def _state(session: Session, m: MonitorState) -> None:
    begun = f" · against {words.short_ref(m.dataset)}, {words.many(m.rows, 'row')}" if m.dataset else ""
    session.print(
        f"[bold]monitor/{m.name}[/bold]  {plain(m.watched)} in {m.environment}{begun}" + ("" if m.status == "idle" else f" · {m.status}")
    )
    if m.problem:
        session.print(f"  [red]it could not look:[/] {plain(error_from_dict(m.problem).message)}")
    if m.why_anew:
        session.print(f"  [dim]{plain(m.why_anew)}[/dim]")
    if m.look is None:
        session.print("  it has not looked yet")
        return
    look = m.look
    session.print(f"  [{COLOURS[look.call]}]{look.call.upper()}[/]  {plain(look.sentence)}")
    if look.coverage:
        session.print(f"  covered {_covered(look.coverage)}  [dim]of {words.many(look.counted, 'run')} counted, {look.seen:,} seen[/dim]")


def _covered(coverage: Coverage | None) -> str:
    if coverage is None:
        return ""
    low, high = 1 - coverage.interval.high, 1 - coverage.interval.low
    return f"{words.percent(1 - coverage.uncovered)} [{words.percent(low)}, {words.percent(high)}]"


def _findings(session: Session, m: MonitorState, topics: tuple[TopicSeen, ...]) -> None:
    if m.look:
        session.table(
            ("evidence", "e", "p at any look", "alarm at", "effect"),
            [(v.score, f"{v.e:.3g}", f"{v.p:.2g}", f"{v.level:.2g}", f"{v.effect:.3g}") for v in m.look.evidence if v.alarmed or v.p < 0.5],
            right=frozenset({1, 2, 3, 4}),
        )
    _topics(session, topics)
    for judge in m.judges:
        _judge(session, judge)
    session.print(f"[dim]{session.link('/monitors/' + m.name)}[/dim]")


def _topics(session: Session, topics: tuple[TopicSeen, ...]) -> None:
    for seen in topics:
        t = seen.topic
        share = f"{words.percent(t.share)} of runs [{words.percent(t.share_interval.low)}, {words.percent(t.share_interval.high)}]"
        colour = "red" if t.tier == "confirmed" else "yellow"
        session.print(
            f"  [{colour}]{'new topic' if t.tier == 'confirmed' else 'perhaps a new topic'}[/] [bold]{plain(t.name)}[/bold]  {share}"
        )
        for e in seen.exemplars[:EXAMPLES]:
            session.print(f"    {plain(' '.join(e.text.split())[:120])}  [dim]{e.trace[:8]}{' ' + plain(e.row) if e.row else ''}[/dim]")


def _judge(session: Session, j: JudgeState) -> None:
    interval = f" [{j.interval.low:.2f}, {j.interval.high:.2f}]" if j.interval else ""
    session.print(f"  [{'red' if j.worse else 'none'}]{plain(j.name)}[/] {words.score(j.mean)}{interval}  [dim]{plain(j.sentence)}[/dim]")
