"""`people`: who comes by an OpenID provider, by which providers and rules, and who is blocked."""

from __future__ import annotations

from typing import Annotated

import typer

from windlass.core.ids import now_ns
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.session import Session, plain

Who = Annotated[str, typer.Argument(help="Their id, or the end of it.")]


def add(app: typer.Typer) -> None:
    people = typer.Typer(help="Who comes by an OpenID provider: list, block, admit, providers.", no_args_is_help=True)
    command(people, "list", "people.list", path="people")(listing)
    command(people, "block", "people.block", path="people")(block)
    command(people, "admit", "people.admit", path="people")(admit)
    command(people, "providers", "people.providers", path="people")(providers)
    app.add_typer(people, name="people", rich_help_panel="Govern")


def listing(session: Session) -> None:
    """Who came by a provider, what they may do, and whether they are logged in. People with keys: `windlass keys list`."""
    found = session.client.people.list()
    session.result(found)
    now = now_ns()
    session.table(
        ("id", "name", "role", "project", "last came", "sessions", ""),
        [
            (
                p.id, p.name, p.role or "", p.project, words.ago(p.last_ns, now), "machine" if p.machine else str(len(p.sessions)),
                "blocked" if p.blocked_ns else p.why,
            )
            for p in found.items
        ],
    )  # fmt: skip
    if not found.items:
        session.print("nobody came by a provider yet: windlass people providers says whether one is set up")


def block(session: Session, id: Who) -> None:
    """Let somebody in no more, and log them out everywhere, now."""
    person = session.client.people.block(id)
    session.result(person)
    session.print(f"{plain(person.name)} is blocked and logged out", f"  [dim]back with: windlass people admit {plain(person.id)}[/dim]")


def admit(session: Session, id: Who) -> None:
    """Undo a block: the rules say again whether they come in."""
    person = session.client.people.admit(id)
    session.result(person)
    may = f"comes in as {person.role}" if person.role else person.why
    session.print(f"{plain(person.name)} is not blocked", f"  [dim]{plain(may)}[/dim]")


def providers(session: Session, reach: Annotated[bool, typer.Option("--reach", help="Ask each what it publishes.")] = False) -> int:
    """Providers and rules as oidc.toml has them, without secrets. Exit 1 where one does not work."""
    found = session.client.people.providers(reach=reach)
    session.result(found)
    for p in found.items:
        state = f"[red]{plain(p.problem)}[/]" if p.problem else "[green]ready[/]" if reach else ""
        session.print(f"[bold]{plain(p.name)}[/bold]  {plain(p.issuer)}  {state}")
        if p.client_id:
            secret = f", secret from {p.secret}" if p.secret else ""
            session.print(
                f"  people, for {words.many(p.hours, 'hour')}  [dim]client {plain(p.client_id + secret)}; back to {p.redirect}[/dim]"
            )
        if p.audience:
            session.print(f"  machines, with tokens for {plain(p.audience)}")
        for rule in p.rules:
            said = ", ".join(f"{name} = {value}" for name, value in rule.claims.items())
            session.print(f"  {plain(said)}  →  {rule.role} {'in every project' if rule.role == 'owner' else f'in {rule.project}'}")
    if not found.items:
        session.print("nobody comes by a provider: docs/governing.md shows how oidc.toml in the data folder names one")
    return 1 if any(p.problem for p in found.items) else 0
