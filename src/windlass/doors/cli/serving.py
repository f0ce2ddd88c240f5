"""`up`, `link`, `tour`, `login`, `status`, `keys`."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import msgspec
import typer

from windlass.core.digest import short
from windlass.core.errors import Forbidden, Unauthenticated, Unavailable
from windlass.core.ids import now_ns
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.session import Session, plain, require_server

DAY_NS = 86_400 * 10**9


def add(app: typer.Typer) -> None:
    command(app, "up", panel="Run a server")(up)
    command(app, "tour", panel="Run a server")(tour)
    command(app, "link", panel="Run a server")(link)
    command(app, "login", panel="Run a server")(login)
    command(app, "status", "system.status", panel="Run a server")(status)
    keys = typer.Typer(help="Keys for people and applications: make, list, change, revoke.", no_args_is_help=True)
    command(keys, "create", "keys.create", path="keys")(create)
    command(keys, "list", "keys.list", path="keys")(listing)
    command(keys, "change", "keys.change", path="keys")(change)
    command(keys, "revoke", "keys.revoke", path="keys")(revoke)
    app.add_typer(keys, name="keys", rich_help_panel="Run a server")


def up(
    session: Session,
    port: Annotated[int | None, typer.Option("--port", help="The port; 4747 by default.")] = None,
    host: Annotated[
        str | None, typer.Option("--host", help="The address to listen on; anything but loopback needs an owner's key.")
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Processes that serve requests.")] = None,
    tour: Annotated[bool, typer.Option("--tour/--no-tour", help="In a new data folder, begin with the tour.")] = True,
) -> None:
    """Start the server. Ctrl-C stops it; everything is kept."""
    require_server("this installation is only the client, and has no server")
    wanted: dict[str, Any] = {"home": str(session.home), "host": host, "port": port, "workers": workers, "tour": tour, "json": session.json}
    sys.stdout.flush()
    # the supervisor is a third of this process's size, and lives as long as the server
    os.execv(sys.executable, [sys.executable, "-m", "windlass.doors.serve", msgspec.json.encode(wanted).decode()])


def link(session: Session) -> None:
    """A link that opens the pages of the server on this machine, logged in. It works once."""
    from windlass.govern.sessions import Sessions
    from windlass.sdk.servers import local_server

    server = local_server(session.home)
    if server is None:
        raise Unavailable("no server runs here", where=str(session.home), remedy="start it with `windlass up`")
    address = f"{server.url}/?once={Sessions(session.home / 'run').make_link()}"
    session.result({"link": address})
    session.print(address)


def tour(session: Session) -> None:
    """The whole lifecycle on the example application: push, gate, promote, ask, better, worse."""
    from windlass.doors.cli.tour import walk

    report = walk(session.client, session.print, session.link)
    session.result(report)


def login(
    session: Session,
    url: Annotated[str, typer.Argument(help="The server's address.")],
    key: Annotated[str | None, typer.Option("--key", help="The key; asked for when not given.", envvar="WINDLASS_KEY")] = None,
) -> None:
    """Use a team's server from here on. In CI set WINDLASS_URL and WINDLASS_KEY instead."""
    from windlass.sdk.client import Client
    from windlass.sdk.servers import save_login
    from windlass.sdk.transport import HttpTransport

    key = key or typer.prompt("key", hide_input=True)
    url = (url if "://" in url else f"https://{url}").rstrip("/")
    with Client(transport=HttpTransport(url, key)) as client:
        try:
            found = client.status()
        except Unauthenticated as e:
            raise Unauthenticated(
                "the server does not know this key", where=url, remedy="ask its owner for one: windlass keys create NAME"
            ) from e
        except Forbidden as e:
            raise Forbidden("this key may only call the gateway", where=url, remedy="ask for one of role developer or viewer") from e
        except Unavailable as e:
            raise Unavailable(f"there is no Windlass at {url}", remedy="check the address") from e
    path = save_login(url, key)
    session.result({"url": url, "version": found.version, "file": str(path)})
    session.print(f"logged in to {url} (Windlass {found.version})", f"[dim]kept in {path}, which only you can read[/dim]")


def status(session: Session) -> None:
    """How the server does: processes, what it holds, which providers it can call."""
    s = session.client.status()
    session.result(s)
    where = s.address or "in this process: no server runs (windlass up)"
    session.print(f"Windlass {s.version}   {where}   [dim]{s.home}[/dim]")
    total = sum(p.get("rss") or 0 for p in s.processes.values())
    for name, p in s.processes.items():
        again = f" · started again {p['restarts']}×" if p.get("restarts") else ""
        session.print(f"  {name:<14} {p['state']:<10} {words.size(p.get('rss') or 0)}[dim]{again}[/dim]")
    if len(s.processes) > 1:
        session.print(f"  {'together':<14} {'':<10} {words.size(total)}")
    for what, store in s.stores.items():
        size = "" if store.bytes is None else f" · {words.size(store.bytes)}"
        state = "" if store.state == "ready" else f"   [red]{plain(store.state)}[/red]"
        session.print(f"  {what:<14} {plain(f'{store.engine} {store.version}'.strip()):<18} [dim]{plain(store.where)}{size}[/dim]{state}")
    if s.serving:
        session.print(f"[red]{plain(s.serving)}[/red]")
    session.print("", ", ".join(f"{n:,} {what}" for what, n in s.counts.items()))
    if s.waiting:
        session.print(f"{s.waiting:,} pieces of work wait to be taken")
    for what, queue in s.queues.items():
        if queue.waiting or queue.running:
            session.print(f"{what}: {queue.waiting:,} wait, {queue.running:,} under way")
    if s.ledger:
        session.print(f"audit: {words.many(s.ledger.entries, 'entry')}, head {s.ledger.entries}:{short(s.ledger.head, 12)}")
    if s.grpc:
        session.print(f"OTLP by gRPC: {plain(s.grpc)}")
    for where, f in s.forwarding.items():
        lost = "".join(f", {n:,} refused with {code}" for code, n in f.refused.items()) + (f", {f.skipped:,} skipped" if f.skipped else "")
        state = f"   [red]{plain(f.problem)}[/red]" if f.problem else ""
        sent = words.many(f.sent, "body")
        session.print(f"sent on to {plain(where)}: {sent}{lost}, {words.size(f.behind_bytes)} wait{state}")
    if s.ingest:
        session.print(", ".join(f"{n:,} {what.replace('_', ' ')}" for what, n in s.ingest.items()))
    ready = [n for n, state in s.providers.items() if state == "ready"]
    session.print(
        f"models of: {', '.join(ready)}" + ("" if len(ready) > 1 else "   [dim]set OPENAI_API_KEY or ANTHROPIC_API_KEY for more[/dim]")
    )


def create(
    session: Session,
    name: Annotated[str, typer.Argument(help="What it is for.")],
    role: Annotated[str, typer.Option("--role", help="caller, viewer or developer.")] = "caller",
    scope: Annotated[list[str] | None, typer.Option("--only", help="Only this release or model, kind/name; may be repeated.")] = None,
    days: Annotated[int | None, typer.Option("--days", help="Days until it ends; never by default.")] = None,
) -> None:
    """Make a key for an application. It is shown once."""
    expires = now_ns() + days * DAY_NS if days else None
    key = session.client.keys.create(name, role, scopes=tuple(scope or ()), expires_ns=expires)
    session.result(key)
    if not session.json:
        print(key.secret)
        print("  → keep it now: it is stored only as a hash and cannot be shown again", file=sys.stderr)


def listing(session: Session) -> None:
    """Keys, without their secrets."""
    found = session.client.keys.list()
    session.result(found)
    now = now_ns()
    session.table(
        ("id", "name", "role", "project", "only", "made", "last did", "ends"),
        [
            (
                k.id[-8:], k.name, k.role, k.project, ", ".join(k.scopes), words.ago(k.created_ns, now),
                words.ago(k.acted_ns, now) if k.acted_ns else "",
                "revoked" if k.revoked_ns else words.ago(k.expires_ns, now) if k.expires_ns else "never",
            )
            for k in found.items
        ],
    )  # fmt: skip
    if not found.items:
        session.print("no keys yet: windlass keys create NAME")


def revoke(session: Session, id: Annotated[str, typer.Argument(help="Its id or a part of it.")]) -> None:
    """End a key now."""
    key = session.client.keys.revoke(id)
    session.result(key)
    session.print(f"{key.name} is revoked")


def change(
    session: Session,
    id: Annotated[str, typer.Argument(help="Its id or the end of it.")],
    role: Annotated[str | None, typer.Option("--role", help="owner, developer, viewer or caller.")] = None,
    days: Annotated[int | None, typer.Option("--days", min=1, help="It ends in so many days.")] = None,
    forever: Annotated[bool, typer.Option("--forever", help="It does not end.")] = False,
) -> None:
    """Give a key another role or another end; it stays the same secret."""
    key = session.client.keys.change(id, role, expires_ns=now_ns() + days * DAY_NS if days else None, forever=forever)
    session.result(key)
    ends = f"ends {words.ago(key.expires_ns, now_ns())}" if key.expires_ns else "does not end"
    session.print(f"{plain(key.name)} is {'an' if key.role == 'owner' else 'a'} {key.role}, and {ends}")
