"""`providers`: which model providers can be called, and their keys. A key comes by a prompt or the standard input, never an argument."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from windlass.core.errors import Invalid
from windlass.core.ids import now_ns
from windlass.core.operations.providers import ProviderKey
from windlass.doors import format as words
from windlass.doors.cli.commands import command, otherwise
from windlass.doors.cli.session import Session, plain

Name = Annotated[str, typer.Argument(help="The provider, as `windlass providers` lists it.")]


def add(app: typer.Typer) -> None:
    providers = typer.Typer(help="Model providers and their keys: list, key, remove-key, test, rekey.", invoke_without_command=True)
    command(providers, "list", "providers.list", path="providers")(listing)
    command(providers, "key", "providers.key", path="providers")(key)
    command(providers, "remove-key", "providers.remove", path="providers")(remove_key)
    command(providers, "test", "providers.test", path="providers")(test)
    command(providers, "rekey", "providers.rekey", path="providers")(rekey)
    otherwise(providers, listing)
    app.add_typer(providers, name="providers", rich_help_panel="Discover")


def listing(
    session: Session, every: Annotated[bool, typer.Option("--all", help="Also those that have no key, and what each can be told.")] = False
) -> None:
    """Which providers can be called, where their keys come from, and since when."""
    found = session.client.providers.list()
    session.result(found)
    now = now_ns()
    for p in found.items:
        if not (every or p.ready or p.keys) or (p.local and not every):
            continue
        state = "[green]ready[/]" if p.ready else f"[yellow]{plain(p.why)}[/]"
        like = f" [dim]like {plain(p.like)}[/dim]" if p.like else ""
        session.print(f"[bold]{plain(p.name)}[/bold]{like}  {state}")
        if p.ready:
            session.print(f"  [dim]{plain(p.address)}{', key: ' + plain(p.source) if p.source else ''}[/dim]")
        if p.refused_ns:
            session.print(f"  [red]its key was refused {words.ago(p.refused_ns, now)}[/]")
        for k in p.keys:
            session.print("  " + _said(k, now))
        if every and (p.variables or p.takes):
            session.print(f"  [dim]variables: {plain(', '.join(p.variables))}; fields: {plain(', '.join(p.takes))}[/dim]")
    if not every:
        rest = sum(1 for p in found.items if not p.ready and not p.keys and not p.local)
        session.print(f"[dim]{words.many(rest, 'provider')} without a key: windlass providers list --all[/dim]")
    if found.old:
        session.print(f"[yellow]{words.many(found.old, 'key')} lie under an earlier key[/]: windlass providers rekey")


def _said(k: ProviderKey, now: int) -> str:
    parts = [f"key {k.id}", f"…{k.ends}" if k.ends else "", k.note, f"given {words.ago(k.given_ns, now)} by {k.given_by}"]
    parts += [f"only for {k.project}" if k.project else "", *(f"{name}={value}" for name, value in k.fields.items())]
    mark = "[green]in use[/]" if k.in_use else f"[red]{plain(k.problem)}[/]" if k.problem else ""
    return f"[dim]{plain(', '.join(part for part in parts if part))}[/dim] {mark}"


def key(
    session: Session,
    provider: Name,
    fields: Annotated[list[str] | None, typer.Option("--set", help="What goes with it, NAME=VALUE: region, endpoint, base_url …")] = None,
    here: Annotated[bool, typer.Option("--only-here", help="For this project alone; for every project otherwise.")] = False,
    like: Annotated[str, typer.Option("--like", help="Make PROVIDER a further one, spoken to as this one is, with --set base_url=…")] = "",
    note: Annotated[str, typer.Option("--note", help="Words to tell it by.")] = "",
) -> None:
    """Give a key. It is asked for, or read from the standard input (a file of credentials too), and kept sealed; the newest is used, and
    earlier ones stay until they are removed."""
    told = dict(_field(text) for text in fields or ())
    if sys.stdin.isatty():
        import getpass

        secret = getpass.getpass(f"Key of {provider} (not shown): ")
    else:
        secret = sys.stdin.read()
    done = session.client.providers.give(provider, secret, fields=told, every_project=not here, like=like, note=note)
    session.result(done)
    session.print(f"{plain(done.provider)} has it{f', ending in {plain(done.ends)}' if done.ends else ''}  [dim]key {done.id}[/dim]")
    session.print(f"  [dim]see whether it is taken: windlass providers test {plain(done.provider)}[/dim]")


def _field(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise Invalid(f"{text[:40]!r} is no field", where="--set", remedy="write NAME=VALUE, such as region=eu-central-1")
    return name.strip(), value.strip()


def remove_key(session: Session, id: Annotated[str, typer.Argument(help="Its id, or the end of it.")]) -> None:
    """Take a key away, in every process within two seconds. Calls under way end as they began."""
    gone = session.client.providers.remove(id)
    session.result(gone)
    session.print(f"the key {gone.id} of {plain(gone.provider)} is removed; revoke it at the provider too, if anybody else has seen it")


def test(
    session: Session,
    provider: Name,
    model: Annotated[str, typer.Option("--model", help="Also ask this model for a few words, which costs a little.")] = "",
) -> int:
    """Ask a provider whether it takes the key. Exit 1 when it does not."""
    found = session.client.providers.test(provider, model)
    session.result(found)
    word = "[green]ok[/]" if found.ok else "[red]no[/]"
    session.print(f"{word}  {plain(found.said)} [dim]{found.took_ms:.0f} ms{', key: ' + plain(found.source) if found.source else ''}[/dim]")
    if found.models:
        session.print(f"  [dim]{plain(', '.join(found.models))}[/dim]")
    return 0 if found.ok else 1


def rekey(session: Session) -> None:
    """Seal all keys anew: under a new key in the data folder, or under the first of WINDLASS_SECRET_KEY."""
    done = session.client.providers.rekey()
    session.result(done)
    session.print(f"{words.many(done.sealed, 'key')} sealed anew  [dim]{plain(done.where)}[/dim]")
