"""`policy`: what each role may do, and why somebody may or may not do something."""

from __future__ import annotations

from typing import Annotated

import typer

from windlass.doors.cli.commands import command
from windlass.doors.cli.session import Session, plain


def add(app: typer.Typer) -> None:
    policy = typer.Typer(help="What each role may do, and why somebody may or may not.", no_args_is_help=True)
    command(policy, "show", "policy.show", path="policy")(show)
    command(policy, "why", "policy.why", path="policy")(why)
    app.add_typer(policy, name="policy", rich_help_panel="Govern")


def show(
    session: Session, operations: Annotated[bool, typer.Option("--operations", help="Also what each operation needs.")] = False
) -> None:
    """What each role may do. What is not here is denied."""
    found = session.client.policy.show()
    session.result(found)
    session.table(("role", *found.permissions), [(r.role, *("yes" if p in r.may else "" for p in found.permissions)) for r in found.roles])
    for role in found.roles:
        session.print(f"[bold]{role.role}[/bold]  [dim]{plain(role.said)}[/dim]")
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
