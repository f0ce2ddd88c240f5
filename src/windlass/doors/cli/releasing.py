"""`promote`, `approve`, `withdraw`, `approvers`, `evidence`, `rollback`, `history`, `releases`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from windlass.core.digest import short
from windlass.core.errors import Invalid
from windlass.core.ids import now_ns
from windlass.core.operations.deploy import Move, ReleaseApprovals, ReleaseState
from windlass.core.operations.evidence import ReleaseEvidence
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.session import Session, plain

To = Annotated[str, typer.Option("--to", help="The environment: staging or production.")]
Name = Annotated[str | None, typer.Argument(help="The release; the only one by default.")]


def add(app: typer.Typer) -> None:
    command(app, "promote", "releases.promote", panel="Release")(promote)
    command(app, "approve", "releases.approve", panel="Release")(approve)
    command(app, "withdraw", "releases.withdraw", panel="Release")(withdraw)
    command(app, "approvers", "releases.approvals", panel="Release")(approvers)
    command(app, "evidence", "evidence.make", panel="Release")(evidence)
    command(app, "rollback", "releases.rollback", panel="Release")(rollback)
    command(app, "history", "releases.history", panel="Release")(history)
    command(app, "releases", "releases.list", panel="Release")(releases)


def _sole(session: Session, given: str | None, what: str) -> str:
    if given:
        return given
    names = [r.name for r in session.client.releases.list().items]
    if len(names) != 1:
        raise Invalid(
            f"which release? there are {', '.join(names)}" if names else "there is no release in this project",
            remedy=f"windlass {what} {names[0]}" if names else "push a workspace: windlass push",
        )
    return names[0]


def promote(
    session: Session,
    release: Name = None,
    to: To = "production",
    verdict: Annotated[str | None, typer.Option("--verdict", help="By this verdict; the newest that promotes by default.")] = None,
    override: Annotated[str | None, typer.Option("--override", help="Without a verdict, for this reason; it is recorded.")] = None,
) -> None:
    """Put a candidate into an environment, by the verdict that let it through."""
    name, _, digest = _sole(session, release, "promote").partition("@")
    move = session.client.releases.promote(name, to, digest=digest or None, verdict=verdict, override=override)
    session.result(move)
    show_move(session, move)


By = Annotated[str | None, typer.Option("--verdict", help="By this verdict; the newest that promotes by default.")]
Note = Annotated[str, typer.Option("--note", help="Why, for the others.")]


def approve(session: Session, release: Name = None, to: To = "production", verdict: By = None, note: Note = "") -> None:
    """Approve what would be promoted now, where the project demands that several people do. Not for whoever proposed it."""
    _approvals(session, session.client.releases.approve(_sole(session, release, "approve"), verdict, note, to))


def withdraw(session: Session, release: Name = None, to: To = "production", verdict: By = None, note: Note = "") -> None:
    """Take back one's approval."""
    _approvals(session, session.client.releases.withdraw(_sole(session, release, "withdraw"), verdict, note, to))


def approvers(session: Session, release: Name = None, to: To = "production", verdict: By = None) -> int:
    """Who approved what would be promoted now, and who could. Exit 1 while that is not enough."""
    found = session.client.releases.approvals(_sole(session, release, "approvers"), verdict, to)
    _approvals(session, found)
    return 0 if found.enough else 1


def _approvals(session: Session, found: ReleaseApprovals) -> None:
    session.result(found)
    session.print(f"{'[green]enough[/]' if found.enough else '[yellow]waits[/]'}  {plain(found.sentence)}")
    for each in found.given:
        end = f"[red]does not count: {plain(each.why_not)}[/]" if each.why_not else f"good until {words.ago(each.expires_ns, now_ns())}"
        note = f"  {plain(each.note)}" if each.note else ""
        session.print(f"  {plain(each.name)}{note} [dim]{words.ago(each.at_ns, now_ns())}, {end}[/dim]")


def evidence(
    session: Session,
    release: Name = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the files into this folder; it is made where there is none.")] = None,
) -> None:
    """What shows others how a release came to be: cards, CycloneDX, OpenLineage, W3C PROV, verdicts, approvals, audit."""
    found = session.client.releases.evidence(_sole(session, release, "evidence"))
    if out is not None:
        _keep(out, found)
    session.result(found)
    session.print(plain(found.sentence))
    session.table(("file", "what it is", "sha256"), [(f.name, f.said, short(f.digest, 12)) for f in found.files])
    session.print(f"[dim]{'written into ' + plain(str(out)) if out else 'windlass evidence --out DIR writes them'}[/dim]")


def _keep(folder: Path, found: ReleaseEvidence) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in found.files:
            (folder / file.name).write_bytes(file.text.encode())
        sums = "".join(f"{f.digest.removeprefix('sha256:')}  {f.name}\n" for f in found.files)
        (folder / "SHA256SUMS").write_text(sums)
    except OSError as e:
        raise Invalid(f"the evidence cannot be written: {e.strerror}", where=str(folder), remedy="name another folder with --out") from e


def rollback(
    session: Session, release: Name = None, to: Annotated[str, typer.Option("--in", help="The environment.")] = "production"
) -> None:
    """Go back to what stood there before, by the verdict that let that out."""
    move = session.client.releases.rollback(_sole(session, release, "rollback"), to)
    session.result(move)
    show_move(session, move)


def show_move(session: Session, m: Move) -> None:
    by = f"by verdict {m.verdict[-8:]}" if m.verdict else f"by override: {plain(m.reason or '')}"
    before = f"{short(m.before)} → " if m.before else ""
    back = f"   [dim]back with: windlass rollback {m.release}[/dim]" if m.before and m.kind != "rollback" else ""
    approved = f", approved by {plain(', '.join(m.approved_by))}" if m.approved_by else ""
    session.print(f"{m.environment}  {before}{short(m.after)}   {by}{approved}{back}")


def history(
    session: Session,
    release: Annotated[str | None, typer.Argument(help="Of one release; of all by default.")] = None,
    environment: Annotated[str | None, typer.Option("--in", help="Of one environment.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")] = 20,
    cursor: Annotated[str | None, typer.Option("--cursor", help="Go on from here.")] = None,
) -> None:
    """What went where, when, by whom and why; the newest first."""
    found = session.client.releases.history(release, environment, cursor, limit)
    session.result(found)
    now = now_ns()
    rows = []
    for m in found.items:
        why = f"verdict {m.verdict[-8:]}" if m.verdict else (m.reason or "")
        rows.append(
            (words.ago(m.at_ns, now), m.release, m.environment, short(m.before) if m.before else "", short(m.after), m.kind, why, m.actor)
        )
    session.table(("when", "release", "environment", "from", "to", "", "why", "by"), rows)
    if not rows:
        session.print("nothing was promoted yet: windlass gate, then windlass promote")
    if found.next:
        session.print(f"[dim]more: --cursor {found.next}[/dim]")


def _candidate(session: Session, r: ReleaseState) -> str:
    """What the newest version waits for, or what its last gate said."""
    if r.candidate is None:
        return ""
    verdict = session.client.gates.verdict(r.last_verdict) if r.last_verdict else None
    if verdict is None or not verdict.candidate.endswith(r.candidate):
        return f"{short(r.candidate)} waits for a gate"
    said = {"promote": "may be promoted", "block": "was blocked", "inconclusive": "was inconclusive"}[verdict.decision]
    return f"{short(r.candidate)} {said}"


def releases(session: Session) -> None:
    """What stands where, and what waits."""
    found = session.client.releases.list()
    session.result(found)
    now = now_ns()
    rows = []
    for r in found.items:
        places = ", ".join(f"{e} {short(d)} ({words.ago(r.since_ns[e], now)})" for e, d in sorted(r.environments.items()))
        rows.append((r.name, r.entry, places or "nowhere yet", _candidate(session, r)))
    session.table(("release", "runs", "stands in", "candidate"), rows)
    if not rows:
        session.print("there is no release in this project yet: windlass push")
