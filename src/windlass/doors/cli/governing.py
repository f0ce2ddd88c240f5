"""`policy`: what each role may do, and why. `audit`: what was done, and whether the record of it
holds. `masking`: what is taken out of traces."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from windlass.core.ids import now_ns
from windlass.doors import format as words
from windlass.doors.cli.alerting import seconds_of
from windlass.doors.cli.commands import command
from windlass.doors.cli.data import Cursor
from windlass.doors.cli.session import Session, plain

WIDEST = 160  # characters of an entry's details


def add(app: typer.Typer) -> None:
    policy = typer.Typer(help="What each role may do, and why somebody may or may not.", no_args_is_help=True)
    command(policy, "show", "policy.show", path="policy")(show)
    command(policy, "why", "policy.why", path="policy")(why)
    app.add_typer(policy, name="policy", rich_help_panel="Govern")
    audit = typer.Typer(help="What was done, by whom, to what.", no_args_is_help=True)
    command(audit, "list", "audit.list", path="audit")(list_audit)
    command(audit, "verify", "audit.verify", path="audit")(verify)
    app.add_typer(audit, name="audit", rich_help_panel="Govern")
    masking = typer.Typer(help="What is taken out of traces before they are kept.", no_args_is_help=True)
    command(masking, "show", "masking.show", path="masking")(show_masking)
    command(masking, "try", "masking.try", path="masking")(try_masking)
    app.add_typer(masking, name="masking", rich_help_panel="Govern")


def show(
    session: Session, operations: Annotated[bool, typer.Option("--operations", help="Also what each operation needs.")] = False
) -> None:
    """What each role may do. What is not here is denied."""
    found = session.client.policy.show()
    session.result(found)
    session.table(("role", *found.permissions), [(r.role, *("yes" if p in r.may else "" for p in found.permissions)) for r in found.roles])
    for role in found.roles:
        session.print(f"[bold]{role.role}[/bold]  [dim]{plain(role.said)}[/dim]")
    for rule in found.approvals:
        session.print(
            f"{rule.people} of those who may deploy approve a release of {plain(rule.project or 'any project')} "
            f"before it moves to {rule.environment}, within {words.many(rule.hours, 'hour')}"
        )
    if operations:
        session.table(("operation", "needs", "more"), [(o.operation, o.permission, o.also) for o in found.operations])


def why(
    session: Session,
    actor: Annotated[str, typer.Argument(help="me, a role, or a key: its id or the end of it.")],
    action: Annotated[str, typer.Argument(help="An operation such as releases.promote, or a permission such as deploy.")],
    subject: Annotated[str, typer.Argument(help="What it is done to: kind/name; the whole project by default.")] = "",
) -> int:
    """May they, and by which rule? Exit 1 when not. Nothing is done."""
    found = session.client.policy.why(actor, action, subject)
    session.result(found)
    word = "[green]allowed[/]" if found.allowed else "[red]denied[/]"
    session.print(f"{word}  {plain(found.sentence)} [dim]({'no rule is against it' if found.allowed else f'rule: {found.rule}'})[/dim]")
    if found.also:
        session.print(f"  [dim]{plain(action)} needs more for some: {plain(found.also)}[/dim]")
    return 0 if found.allowed else 1


def list_audit(
    session: Session,
    actor: Annotated[str | None, typer.Option("--actor", help="Only what they did: owner, key:ID; `key:` for every key.")] = None,
    action: Annotated[str | None, typer.Option("--action", help="Only this: releases.promote; `releases.` for all that begins so.")] = None,
    subject: Annotated[str | None, typer.Option("--subject", help="Only what was done to something with this in its name.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="No older than this: 90s, 30m, 2h, 7d.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")] = 50,
    cursor: Cursor = None,
) -> None:
    """What was done, newest first."""
    begin = now_ns() - seconds_of(since) * 10**9 if since else None
    page = session.client.audit.list(actor=actor, action=action, subject=subject, since_ns=begin, limit=limit, cursor=cursor)
    session.result(page)
    now = now_ns()
    for e in page.items:
        session.print(f"[bold]{e.seq}[/bold]  {plain(e.action)}  {plain(e.subject)} [dim]{plain(e.actor)}, {words.ago(e.at_ns, now)}[/dim]")
        if told := {name: value for name, value in e.details.items() if value not in (None, "", [], {})}:
            session.print(f"  [dim]{plain(_short(json.dumps(told, ensure_ascii=False)))}[/dim]")
    if not page.items:
        session.print("nothing of this was done")
    if page.next:
        session.print(f"[dim]more: --cursor {page.next}[/dim]")


def _short(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[:WIDEST]}…"


def verify(
    session: Session,
    head: Annotated[str | None, typer.Option("--head", help="SEQ:HASH noted elsewhere; the audit must still hold it.")] = None,
) -> int:
    """Re-derive every hash of the audit, and hold it against its anchors. Exit 1 and the first disagreement."""
    found = session.client.audit.verify(head)
    session.result(found)
    if found.problem:
        session.print(f"[red]disagrees[/]  {plain(found.problem)}", f"  [dim]{words.many(found.entries, 'entry')} before it agree[/dim]")
        return 1
    session.print(f"[green]agrees[/]  {words.many(found.entries, 'entry')}  [dim]head {found.entries}:{found.head}[/dim]")
    if found.anchored_from:
        session.print(
            f"[yellow]entries up to {found.anchored_from} rest on the chain alone[/]: a head noted elsewhere tells whether any was cut off"
        )
    return 0


def show_masking(session: Session) -> None:
    """Which secrets and personal data are masked in the project."""
    found = session.client.masking.show()
    session.result(found)
    session.table(("rule", "", "of", "finds"), [(r.name, "on" if r.on else "off", r.group, r.said or r.pattern) for r in found.rules])
    session.print(f"[dim]{'as ' + plain(found.file) + ' says' if found.file else 'masking.toml in the data folder changes this'}[/dim]")


def try_masking(session: Session, text: Annotated[str, typer.Argument(help="A text, or - for what comes on the standard input.")]) -> None:
    """What would become of a text. It is kept nowhere."""
    found = session.client.masking.attempt(sys.stdin.read() if text == "-" else text)
    session.result(found)
    session.print(plain(found.text))
    said = ", ".join(f"{name} {count}×" for name, count in found.found.items())
    session.print(f"[dim]{said or 'nothing was found'}[/dim]")
