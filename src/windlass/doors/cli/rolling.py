"""`rollout`: a release that answers a growing share of callers, held against what stands there: start, list, show, step, back, stop."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
import typer

from windlass.core.digest import short
from windlass.core.errors import Invalid
from windlass.core.ids import now_ns
from windlass.core.operations.rollouts import STEPS, Rollout, RolloutArm, RolloutEvidence, RolloutGuard
from windlass.core.rollout import By, Mode
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.data import Cursor, Limit
from windlass.doors.cli.session import Session, plain

Which = Annotated[str, typer.Argument(help="The rollout: its id, or the end of it.")]
Why = Annotated[str, typer.Option("--why", help="The reason, in a sentence: it is recorded.")]
_GUARD = re.compile(
    r"(?P<metric>[^=@]+?)(=(?P<margin>[0-9.eE+-]+)(?P<percent>%)?)?(@(?P<low>-?[0-9.]+)\.\.(?P<high>-?[0-9.]+))?(?P<less>,less-is-better)?"
)
DEFAULT_STEPS = ",".join(f"{share:g}" for share in STEPS)
MARGINS = {"error": "0.02", "latency_s": "25%", "cost": "10%"}


def add(app: typer.Typer) -> None:
    group = typer.Typer(help="Releases that answer a growing share of callers, until they are shown no worse, or are stopped.")
    command(group, "start", "rollouts.start", path="rollout")(start)
    command(group, "list", "rollouts.list", path="rollout")(list_rollouts)
    command(group, "show", "rollouts.show", path="rollout")(show)
    command(group, "step", "rollouts.step", path="rollout")(step)
    command(group, "back", "rollouts.back", path="rollout")(back)
    command(group, "stop", "rollouts.stop", path="rollout")(stop)
    app.add_typer(group, name="rollout", rich_help_panel="Release")


def start(
    session: Session,
    release: Annotated[str, typer.Argument(help="The release, or one version of it: answer, answer@3f9a.")],
    to: Annotated[str, typer.Option("--to", help="The environment: staging or production.")] = "production",
    share: Annotated[
        str | None, typer.Option("--share", help="Percent of callers to begin with; the first of the steps by default.")
    ] = None,
    steps: Annotated[str, typer.Option("--steps", help="Percents it goes through.")] = DEFAULT_STEPS,
    mode: Annotated[
        str, typer.Option("--mode", help="canary steps by evidence; ab stays until somebody steps; shadow answers nobody.")
    ] = "canary",
    by: Annotated[str, typer.Option("--by", help="Who stays on one arm: user or session.")] = "user",
    guards: Annotated[
        list[str] | None,
        typer.Option("--guard", help="error, latency_s, cost or a score, with its margin: error=0.02, latency_s=20%, helpful=0.1@1..5."),
    ] = None,
    margin: Annotated[str | None, typer.Option("--margin", help="Of guards that name none: an amount, or percent of the base's.")] = None,
    error: Annotated[float, typer.Option("--error", help="How often a decision may be wrong.")] = 0.05,
    min_hours: Annotated[float, typer.Option("--min-hours", help="The least time at each share.")] = 1.0,
    settle: Annotated[float, typer.Option("--settle", help="Seconds after which a caller counts, with all its calls until then.")] = 60.0,
    verdict: Annotated[str | None, typer.Option("--verdict", help="By this verdict; the newest that promotes by default.")] = None,
) -> None:
    """Begin to send callers to a candidate that a verdict lets out."""
    name, _, digest = release.partition("@")
    found = session.client.rollouts.start(
        name, to, digest=digest or None, verdict=verdict, steps=tuple(_percent(s, "--steps") for s in steps.split(",")),
        share=_percent(share, "--share") if share else None, mode=_of(mode, Mode, "--mode"), by=_of(by, By, "--by"), error=error,
        min_hours=min_hours, settle_s=settle, guards=tuple(guard_of(g, margin) for g in guards or ()),
    )  # fmt: skip
    session.result(found)
    _head(session, found)


def guard_of(text: str, margin: str | None = None) -> RolloutGuard:
    """What is written as `metric=margin@low..high,less-is-better`. Raises `Invalid`."""
    found = _GUARD.fullmatch(text.strip())
    remedy = "write it as error=0.02, latency_s=20%, cost=10%, helpful=0.1 or helpful=0.1@1..5"
    if found is None:
        raise Invalid(f"{text!r} is no guard", where="--guard", remedy=remedy)
    metric = found["metric"].strip()
    amount = found["margin"] + (found["percent"] or "") if found["margin"] else margin or MARGINS.get(metric, "0.05")
    try:
        value = float(amount.removesuffix("%")) / (100 if amount.endswith("%") else 1)
        low, high = (float(found[end]) if found[end] else default for end, default in (("low", 0.0), ("high", 1.0)))
    except ValueError:
        raise Invalid(f"{text!r} is no guard", where="--guard", remedy=remedy) from None
    return RolloutGuard(metric, value, amount.endswith("%"), low, high, found["less"] is not None)


def _percent(text: str, where: str) -> float:
    try:
        return float(text.strip().removesuffix("%"))
    except ValueError:
        raise Invalid(f"{text!r} is no share", where=where, remedy="give percent, such as 5") from None


def _of(text: str, kind: object, where: str) -> str:
    try:
        return str(msgspec.convert(text, kind))
    except msgspec.ValidationError:
        raise Invalid(f"{text!r} is none of them", where=where, remedy="windlass rollout start --help says which there are") from None


def list_rollouts(
    session: Session,
    release: Annotated[str | None, typer.Argument(help="Of one release; of all by default.")] = None,
    running: Annotated[bool, typer.Option("--running", help="Only those under way.")] = False,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> None:
    """Rollouts, the newest first."""
    page = session.client.rollouts.list(release=release, running=running, limit=limit, cursor=cursor)
    session.result(page)
    rows = [
        (r.id[-8:], r.release, r.environment, r.mode, r.status, f"{r.share:g} %" if r.status == "running" else "",
         words.ago(r.created_ns, now_ns()), r.started_by)
        for r in page.items
    ]  # fmt: skip
    session.table(("id", "release", "to", "", "", "share", "since", "by"), rows)
    if not rows:
        session.print("no rollout yet: windlass gate, then windlass rollout start RELEASE")
    if page.next:
        session.print(f"[dim]more: --cursor {page.next}[/dim]")


def show(session: Session, id: Which) -> None:
    """Both arms side by side, what is shown, and what was done."""
    found = session.client.rollouts.show(id)
    session.result(found)
    _head(session, found)
    session.table(("arm", "version", "share", "calls", "callers", "failed", "p50", "p95", "cost"), [_arm(a) for a in found.arms])
    session.table(("guard", "base", "candidate", "difference", "margin", ""), [_evidence(e) for e in found.evidence])
    now = now_ns()
    session.table(
        ("when", "", "share", "by", "why"), [(words.ago(m.at_ns, now), m.kind, f"{m.share:g} %", m.actor, m.why) for m in found.moves]
    )


def step(session: Session, id: Which, why: Why) -> None:
    """To the next share now, or past the last one into the environment, before it is shown."""
    _changed(session, session.client.rollouts.step(id, why))


def back(session: Session, id: Which, why: Why) -> None:
    """To the share before; of one that took its environment, back to the base."""
    _changed(session, session.client.rollouts.back(id, why))


def stop(session: Session, id: Which, why: Why) -> None:
    """End it: everybody is answered by the base again."""
    _changed(session, session.client.rollouts.stop(id, why))


def _changed(session: Session, found: Rollout) -> None:
    session.result(found)
    _head(session, found)


def _head(session: Session, r: Rollout) -> None:
    colour = {"running": "cyan", "promoted": "green", "shown": "green", "stopped": "red"}.get(r.status, "yellow")
    session.print(f"[{colour}]{r.status}[/] {plain(r.sentence)}")
    between = f"release/{plain(r.release)} {short(r.base)} → {short(r.candidate)} to {r.environment}, by verdict {r.verdict[-8:]}"
    session.print(f"[dim]{between}   windlass rollout show {r.id[-8:]}[/dim]")


def _arm(a: RolloutArm) -> tuple[str, ...]:
    times = [words.duration(t * 1e9) if t is not None else "" for t in (a.latency_p50, a.latency_p95)]
    cost = words.dollars(a.cost) if a.priced else "unknown"
    return (a.name, short(a.digest), f"{a.share:g} %", f"{a.calls:,}", f"{a.units:,}", f"{a.failed:,}", *times, cost)


def _evidence(e: RolloutEvidence) -> tuple[str, ...]:
    def amount(value: float | None) -> str:
        return "" if value is None else f"{value:.4g}"

    between = f"{amount(e.difference)} [{amount(e.low)}, {amount(e.high)}]" if e.low is not None else amount(e.difference)
    return (e.metric, amount(e.base), amount(e.candidate), between, amount(e.margin), e.sentence)
