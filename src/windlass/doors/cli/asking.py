"""`why`, `impact`, `reproduce`: questions to the graph."""

from __future__ import annotations

from typing import Annotated

import typer

from windlass.core.ids import now_ns
from windlass.core.operations.traces import Given
from windlass.core.ref import parse_ref
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.session import Session, plain

SHOWN = 12  # touched versions of one kind


def add(app: typer.Typer) -> None:
    command(app, "why", "traces.why", "versions.why", "rows.why", panel="Look")(why)
    command(app, "impact", "versions.impact", panel="Look")(impact)
    command(app, "reproduce", "versions.reproduce", panel="Look")(reproduce)


def why(
    session: Session, what: Annotated[str, typer.Argument(help="A trace; a version: kind/name@digest; a row: dataset/name#key.")]
) -> None:
    """Why an answer came, or where a version or a row came from: what made it, who let it out, and what it was given to read."""
    if "/" in what and "#" in what:
        _why_row(session, *what.split("#", 1))
        return
    if "/" in what:
        _why_version(session, what)
        return
    found = session.client.traces.why(what)
    session.result(found)
    refs = [parse_ref(ref, project=session.project) for ref in found.versions]
    first = [r for r in refs if r.kind == "release"] + [r for r in refs if r.kind in ("chain", "agent")]
    rest = [r.short for r in refs if r not in first]
    parts = [r.short for r in first] + ([", ".join(rest)] if rest else [])
    session.print("this answer ← " + " ← ".join(parts) if parts else "nothing of ours took part in this trace")
    if found.released_ns:
        by = f"verdict {found.verdict[-8:]}" if found.verdict else "an override"
        session.print(f"  let out by {by}, {words.ago(found.released_ns, now_ns())}")
    elif found.release:
        session.print("  its release was never promoted")
    if found.passages:
        session.print(f"  passages: {plain(', '.join(_said(x) for x in found.passages))}")
    if found.rows:
        session.print(f"  it is row {plain(', '.join(found.rows))}")


def _said(passage: Given) -> str:
    return f"{passage.name} ({passage.score:.2f})" if passage.score is not None else passage.name


def _why_version(session: Session, ref: str) -> None:
    found = session.client.versions.why(ref)
    session.result(found)
    now = now_ns()
    by = f"pushed from {found.workspace}" if found.workspace else f"made on the server{': ' + found.message if found.message else ''}"
    session.print(f"[bold]{words.short_ref(found.ref)}[/bold]   {plain(by)}, by {plain(found.actor)}, {words.ago(found.created_ns, now)}")
    for source in found.sources:
        role = f" as {source.role}" if source.role else ""
        session.print(f"  {source.relation}{role}  {words.short_ref(source.ref)}")
    for move in found.moves:
        let = f"by verdict {move.verdict[-8:]}" if move.verdict else f"without a verdict: {move.reason}" if move.reason else ""
        session.print(f"  {plain(move.label)} {words.ago(move.at_ns, now)} by {plain(move.actor)} {plain(let)}")
    if found.traces:
        session.print(f"  {found.traces:,} of its rows were made from traces")


def _why_row(session: Session, ref: str, key: str) -> None:
    found = session.client.versions.why_row(ref, key)
    session.result(found)
    now = now_ns()
    session.print(f"[bold]{plain(key)}[/bold] of {words.short_ref(found.ref)}" + ("" if found.row else "   it is there no more"))
    for change in found.changes:
        by = f"pushed from {change.workspace}" if change.workspace else plain(change.message or "on the server")
        what = f" {plain(', '.join(change.fields))}" if change.how == "changed" else ""
        session.print(
            f"  {change.how}{what} in {words.short_ref(change.ref)}, {by}, by {plain(change.actor)} {words.ago(change.at_ns, now)}"
        )
    if found.trace:
        session.print(f"  made from trace {found.trace}   why: windlass why {found.trace[:8]}")
    origin = (found.row or {}).get("origin")
    if isinstance(origin, dict) and origin.get("review"):
        page = session.link(f"/reviews/{parse_ref(found.ref).name}/{origin['review']}")
        session.print(f"  decided in review by {plain(', '.join(map(str, origin.get('by') or ['somebody'])))}   [dim]{plain(page)}[/dim]")
    for s in found.scored:
        scores = "  ".join(f"{x.evaluator} {words.score(x.value)}" for x in s.scores)
        session.print(f"  {words.short_ref(s.target)} {words.ago(s.at_ns, now)}: {scores}   [dim]{plain(s.said[:100])}[/dim]")


def impact(session: Session, ref: Annotated[str, typer.Argument(help="A version, or the newest of kind/name.")]) -> None:
    """What a change would touch: what depends on it, what of that is out and how much it answers, and what to test again."""
    found = session.client.versions.impact(ref)
    session.result(found)
    session.print(f"[bold]{words.short_ref(found.ref)}[/bold]")
    by_kind: dict[str, list[str]] = {}
    for t in found.touched:
        out = [label for label in t.labels if label in ("production", "staging")]
        by_kind.setdefault(t.kind, []).append(words.short_ref(t.ref) + (f" ({', '.join(out)})" if out else ""))
    for kind, refs in by_kind.items():
        more = f" and {len(refs) - SHOWN} more" if len(refs) > SHOWN else ""
        session.print(f"  → {', '.join(refs[:SHOWN])}{more}" if kind else "")
    if not found.touched:
        session.print("  nothing that has a label depends on it")
    if found.answers:
        session.print(f"  {words.many(found.answers, 'answer')} in seven days")
    if found.suites:
        session.print(f"  to test again: {', '.join(words.short_ref(s) for s in found.suites)}")
    if found.older:
        session.print(f"  [dim]and {words.many(found.older, 'older version')}[/dim]")


def reproduce(session: Session, what: Annotated[str, typer.Argument(help="A trace, or a version: kind/name@digest.")]) -> int:
    """Do again what was done: a run from its trace, or a version from its bytes. Exit 1 when it does not come to the same."""
    found = session.client.versions.reproduce(what)
    session.result(found)
    for step in found.steps:
        mark = {True: "[green]same[/green]", False: "[red]differs[/red]", None: "[yellow]unknown[/yellow]"}[step.same]
        session.print(f"{mark}  {plain(step.name)}  [dim]{plain(step.said)}[/dim]")
    if found.trace:
        session.print(f"[dim]{session.link('/traces/' + found.trace)}[/dim]")
    return 0 if found.same else 1
