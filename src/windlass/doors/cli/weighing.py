"""`weights`: models on this machine, as files: add, list, show, check, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from windlass.core.digest import short
from windlass.core.ids import now_ns
from windlass.core.operations.weights import WeightsState
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.data import Cursor
from windlass.doors.cli.session import Session, plain

Which = Annotated[str, typer.Argument(help="Weights: their id, their ref, or a name alone for the newest.")]


def add(app: typer.Typer) -> None:
    weights = typer.Typer(help="Models on this machine, as files by digest.", no_args_is_help=True)
    command(weights, "add", "weights.add", path="weights")(add_weights)
    command(weights, "list", "weights.list", path="weights")(list_weights)
    command(weights, "show", "weights.show", path="weights")(show)
    command(weights, "check", "weights.check", path="weights")(check)
    command(weights, "export", path="weights")(export)
    app.add_typer(weights, name="weights", rich_help_panel="Develop")


def add_weights(
    session: Session,
    folder: Annotated[Path, typer.Argument(help="A folder with config, tokenizer and safetensors.")],
    name: Annotated[str, typer.Option("--name", help="What it is to be called.")],
    licence: Annotated[str, typer.Option("--licence", help="Of the weights, as SPDX writes it: Apache-2.0, MIT, …")],
    description: Annotated[str, typer.Option("--description", help="For people.")] = "",
    source: Annotated[str, typer.Option("--source", help="Where the weights come from.")] = "",
) -> None:
    """Bring a model in from a folder. Only safetensors, JSON and text are taken; pickles and code are not."""
    found = session.client.weights.add(folder, name, licence, description, source)
    session.result(found)
    _show(session, found)


def list_weights(
    session: Session, limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")] = 50, cursor: Cursor = None
) -> None:
    """Weights on this machine, the newest first."""
    page = session.client.weights.list(cursor, limit)
    session.result(page)
    now = now_ns()
    session.table(
        ("weights", "", "size", "licence", "when"),
        [(w.id or words.short_ref(w.ref), w.method or w.role, _size(w.size), w.licence, words.ago(w.created_ns, now)) for w in page.items],
        right=frozenset({2}),
    )
    if not page.items:
        session.print("no weights yet: windlass weights add ./folder --name tiny --licence Apache-2.0")
    if page.next:
        session.print(f"[dim]more: --cursor {page.next}[/dim]")


def show(session: Session, which: Which) -> None:
    """One set of weights: its files, its licence, what it was made of."""
    found = session.client.weights.show(which)
    session.result(found)
    _show(session, found)


def check(session: Session, which: Which) -> int:
    """Load weights in a fresh process and hold their answers against those they were made with. Exit status 1 if they differ."""
    found = session.client.weights.check(which)
    session.result(found)
    bad = found.outcome in ("differs", "as the base")
    session.print(f"[bold {'red' if bad else 'green'}]{found.outcome}[/]  {plain(found.why)}")
    for answer in found.answers:
        session.print(f"  {plain(answer)}")
    return 1 if bad else 0


def export(session: Session, which: Which, folder: Annotated[Path, typer.Argument(help="Where to; empty or not there yet.")]) -> None:
    """Write the files of weights to a folder, each checked against its digest."""
    found = session.client.weights.export(which, folder)
    session.result(found)
    session.print(f"{len(found.files)} files of {plain(found.name)} are in {plain(str(folder))} · {plain(found.licence)}")


def _show(session: Session, w: WeightsState) -> None:
    session.print(f"[bold]{plain(w.name)}[/bold]  {w.method or w.role} · {w.numbers:,} numbers, {_size(w.size)} · {plain(w.licence)}")
    if w.id:
        session.print(f"  {w.id}")
    for said in (w.description, w.source and f"from {w.source}", w.base and f"on {w.base}"):
        if said:
            session.print(f"  {plain(said)}")
    for ref in w.trained_on:
        session.print(f"  trained on {words.short_ref(ref)}")
    session.table(("file", "digest"), [(path, short(digest, 12)) for path, digest in w.files.items()])


def _size(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
