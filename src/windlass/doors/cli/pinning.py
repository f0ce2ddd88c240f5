"""`pin`: data of others, read once and recorded: add, list, show, read again, keep."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from windlass.core.digest import short
from windlass.core.errors import Invalid
from windlass.core.ids import now_ns
from windlass.core.operations.pins import PinDetail, PinDifference, PinState
from windlass.core.pin import State
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.data import Cursor
from windlass.doors.cli.session import Session, plain
from windlass.doors.cli.workspace import progress

Name = Annotated[str, typer.Argument(help="A pin: its name.")]
COLOURS: dict[State, str] = {"live": "green", "expiring": "yellow", "materialised": "green", "lost": "red"}
SHOWN = 10  # rows, and keys that differ


def add(app: typer.Typer) -> None:
    pin = typer.Typer(help="Data of others, read once and recorded: PostgreSQL, BigQuery, URLs, folders.", no_args_is_help=True)
    command(pin, "add", "pins.add", path="pin")(add_pin)
    command(pin, "list", "pins.list", path="pin")(list_pins)
    command(pin, "show", "pins.show", path="pin")(show)
    command(pin, "read", "pins.read", "pins.compare", "pins.job", path="pin")(read)
    command(pin, "keep", "pins.keep", path="pin")(keep)
    app.add_typer(pin, name="pin", rich_help_panel="Develop")


def add_pin(
    session: Session,
    name: Annotated[str, typer.Argument(help="What it is to be called; its rows become dataset/NAME.")],
    source: Annotated[
        str, typer.Option("--from", help="postgresql://host/db, bigquery://project, https://…, a folder, or a name of sources.toml.")
    ],
    query: Annotated[str, typer.Option("--query", help="What to read, in SQL; @FILE reads it from a file.")] = "",
    table: Annotated[str, typer.Option("--table", help="Or a whole table.")] = "",
    key: Annotated[str, typer.Option("--key", help="The columns that name a row, with commas.")] = "key",
    set: Annotated[list[str] | None, typer.Option("--set", help="A parameter of the query: name=value; again for more.")] = None,
    keep: Annotated[
        bool | None, typer.Option("--keep/--no-keep", help="Keep the rows here. By default where they cannot be read again as they were.")
    ] = None,
) -> None:
    """Read something once and record it: the query, the state that was read, schema, row count and digest."""
    if query.startswith("@"):
        try:
            query = Path(query[1:]).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as e:
            raise Invalid(f"the query cannot be read: {e}", where="--query") from None
    more = {
        "query": query,
        "table": table,
        "key": tuple(k.strip() for k in key.split(",") if k.strip()),
        "parameters": _parameters(set or []),
    }
    with progress(session) as say:
        found = session.client.pins.add(name, _absolute(source), keep=keep, progress=lambda n: say(f"reading {name}", n, 0), **more)
    session.result(found)
    _show(session, found)


def _absolute(source: str) -> str:
    """A path as the server finds it; addresses and names of sources as they are."""
    looks_like_one = source.startswith((".", "~", "/")) or (not re.match(r"[A-Za-z][\w+.-]*:", source) and Path(source).is_dir())
    return str(Path(source).expanduser().resolve()) if looks_like_one else source


def _parameters(given: list[str]) -> dict[str, Any]:
    """`name=value`, the value as JSON where it is a JSON number, text, true or false, else as text."""
    found: dict[str, Any] = {}
    for part in given:
        name, equals, value = part.partition("=")
        if not equals or not name.isidentifier():
            raise Invalid(f"{part!r} is no parameter", where="--set", remedy="write --set since=2026-01-01")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def list_pins(
    session: Session, limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")] = 50, cursor: Cursor = None
) -> None:
    """All pins with their clocks."""
    page = session.client.pins.list(cursor, limit)
    session.result(page)
    now = now_ns()
    session.table(
        ("pin", "from", "rows", "read", "clock"),
        [(p.name, p.spec.source or p.spec.endpoint, f"{p.record.count:,}", words.ago(p.read_ns, now), p.said) for p in page.items],
        right=frozenset({2}),
    )
    if not page.items:
        session.print("no pin yet: windlass pin add orders --from postgresql://host/db --table orders --key id")
    if page.next:
        session.print(f"[dim]more: --cursor {page.next}[/dim]")


def show(session: Session, name: Name) -> None:
    """One pin: what was read, of which state, and each look at its source since."""
    found = session.client.pins.show(name)
    session.result(found)
    _show(session, found)


def _show(session: Session, found: PinDetail) -> None:
    _state(session, found.pin)
    p, now = found.pin, now_ns()
    asked = p.spec.query or p.spec.table
    if asked:
        session.print(f"  {plain(' '.join(asked.split()))}")
    state = " · ".join(f"{k} {v if len(v) < 40 else short(v, 12)}" for k, v in p.record.snapshot.token.items())
    by = f" as {plain(p.record.principal)}" if p.record.principal else ""
    session.print(f"  read {words.stamp(p.record.snapshot.at_ns)}{by} [dim]{plain(state)}[/dim]")
    session.table(
        ("column", "type", ""),
        [(c.name, c.type, "" if c.nullable is None else "may be null" if c.nullable else "never null") for c in p.record.columns],
    )
    for problem in p.record.problems[:SHOWN]:
        session.warn(problem)
    if found.message:
        session.print(plain(found.message))
    session.table(
        ("when", "look", "rows", ""),
        [(words.ago(k.at_ns, now), k.outcome, f"{k.count:,}" if k.count is not None else "", k.why) for k in found.history[:SHOWN]],
        right=frozenset({2}),
    )
    session.print(f"[dim]{session.link('/pins/' + p.name)}[/dim]")


def _state(session: Session, p: PinState) -> None:
    rows = f" · {words.short_ref(p.rows)}" if p.rows else ""
    counted = f"{p.record.count:,} row{'' if p.record.count == 1 else 's'} from {plain(p.spec.source or p.spec.endpoint)}"
    session.print(f"[bold]pin/{p.name}[/bold]  {counted}{rows} · [{COLOURS[p.clock.state]}]{plain(p.said)}[/]")


def read(
    session: Session,
    name: Name,
    again: Annotated[
        bool, typer.Option("--again", help="Ask the source once more, and say what differs. Exit status 1 if it does.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many rows.")] = SHOWN,
) -> int:
    """Rows as they were pinned; or what the source says now, held against them."""
    if again:
        with progress(session) as say:
            difference = session.client.pins.compare(name, progress=lambda n: say(f"reading {name} again", n, 0))
        session.result(difference)
        _state(session, difference.pin)
        _compared(session, difference)
        return 0 if difference.outcome == "same" else 1
    found = session.client.pins.read(name, limit)
    session.result(found)
    _state(session, found.pin)
    for row in found.items:
        session.print(plain(json.dumps(row, ensure_ascii=False)))
    return 0


def _compared(session: Session, found: PinDifference) -> None:
    if found.outcome == "same":
        session.print(f"  [green]the same[/] {found.count or 0:,} row{'' if found.count == 1 else 's'}")
        return
    session.print(f"  [red]{found.outcome}[/]  {plain(found.why)}")
    for x in found.keys[:SHOWN]:
        sign, after = (
            ("[green]+[/]", x.after)
            if x.before is None and x.after
            else ("[red]-[/]", x.before)
            if x.after is None
            else ("[yellow]~[/]", x.after)
        )
        fields = f" [dim]{plain(', '.join(x.fields))}[/dim]" if x.fields else ""
        session.print(f"    {sign} {plain(x.key)}{fields}  {plain(json.dumps(after, ensure_ascii=False)[:160]) if after else ''}")
    if found.outcome == "gone":
        return  # there is nothing to take
    session.print(f"[dim]next: windlass pin keep {found.pin.name} --now takes what is there now as a new reading[/dim]")


def keep(
    session: Session,
    name: Name,
    now: Annotated[bool, typer.Option("--now", help="Take what the source has now, as a new reading.")] = False,
) -> None:
    """Keep the rows of a pin here, as a version of dataset/NAME."""
    with progress(session) as say:
        found = session.client.pins.keep(name, now=now, progress=lambda n: say(f"reading {name}", n, 0))
    session.result(found)
    _state(session, found.pin)
    if found.message:
        session.print(plain(found.message))
