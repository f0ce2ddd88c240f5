"""`index`: what is in an index, what a search finds in it and by which half, what a new version changes."""

from __future__ import annotations

import json
from typing import Annotated, cast, get_args

import msgspec
import typer

from windlass.core.digest import short
from windlass.core.errors import Invalid
from windlass.core.ids import now_ns
from windlass.core.operations.indexes import ChunkRow, How, IndexSummary, read_filter
from windlass.core.ref import parse_ref
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.data import Cursor, Limit
from windlass.doors.cli.session import Session, plain

Index = Annotated[str, typer.Argument(help="An index: its name, name:label or name@digest.")]
SHOWN = 160  # characters of a passage


def add(app: typer.Typer) -> None:
    index = typer.Typer(help="Indexes: what is in them, what a search finds, what a new version changes.", no_args_is_help=True)
    command(index, "list", "indexes.list", path="index")(list_indexes)
    command(index, "show", "indexes.show", "indexes.chunks", path="index")(show)
    command(index, "search", "indexes.search", path="index")(search)
    command(index, "diff", "indexes.diff", path="index")(diff)
    app.add_typer(index, name="index", rich_help_panel="Develop")


def list_indexes(session: Session) -> None:
    """All indexes, each by its newest version."""
    found = session.client.indexes.list()
    session.result(found)
    now = now_ns()
    rows = [
        (
            i.name,
            short(parse_ref(i.ref).digest or ""),
            f"{i.documents:,}",
            f"{i.chunks:,}",
            i.engine,
            _encoder(i),
            words.ago(i.created_ns, now),
        )
        for i in found.items
    ]
    session.table(("index", "newest", "documents", "chunks", "engine", "encoder", "when"), rows, right=frozenset({2, 3}))
    if not rows:
        session.print('no index yet: w.index("handbook", source="data/handbook.jsonl") in a workspace, then windlass push')


def _encoder(found: IndexSummary) -> str:
    return (found.encoder + ("" if found.ready else ", vectors being made")) if found.encoder else "none, by words"


def show(
    session: Session,
    index: Index,
    search: Annotated[str | None, typer.Option("--search", help="Chunks with this in text, key or symbol.")] = None,
    document: Annotated[str | None, typer.Option("--document", help="Chunks of one document.")] = None,
    untrusted: Annotated[bool, typer.Option("--untrusted", help="Chunks that look as if they were written to command a model.")] = False,
    limit: Limit = 10,
    cursor: Cursor = None,
) -> None:
    """One version of an index and its chunks."""
    found = session.client.indexes.show(index)
    chunks = session.client.indexes.chunks(
        found.summary.ref, search=search, document=document, untrusted=untrusted, limit=limit, cursor=cursor
    )
    session.result({"index": msgspec.to_builtins(found), "chunks": msgspec.to_builtins(chunks)})
    s = found.summary
    marked = f" · [yellow]{s.untrusted:,} untrusted[/]" if s.untrusted else ""
    held = f"{words.many(s.documents, 'document')} · {words.many(s.chunks, 'chunk')}"
    session.print(f"[bold]{words.short_ref(s.ref)}[/bold]  {held} of {words.short_ref(found.source)}{marked}")
    session.print(f"  {s.engine} · encoder {plain(_encoder(s))} · chunks {plain(json.dumps(found.chunker))}")
    session.print(f"  filters: {plain(', '.join(found.fields))}")
    if found.used_by:
        session.print(f"  searched by {', '.join(words.short_ref(r) for r in found.used_by)}")
    session.table(("chunk", "where", "text"), [_chunk(c) for c in chunks.items])
    if chunks.next:
        session.print(f"[dim]{words.many(chunks.count, 'chunk')} in all; more: --cursor {plain(chunks.next)}[/dim]")
    session.print(f"[dim]{session.link('/indexes/' + s.name)}[/dim]")


def _chunk(c: ChunkRow) -> tuple[str, str, str]:
    place = f"{c.document}[{c.span[0]}:{c.span[1]}]" if c.span else c.document
    mark = f"[{c.untrusted}] " if c.untrusted else ""
    text = " ".join(c.text.split())
    return c.key, place, mark + (text if len(text) <= SHOWN else text[:SHOWN] + "…")


def search(
    session: Session,
    index: Index,
    query: Annotated[str, typer.Argument(help="The question.")],
    k: Annotated[int, typer.Option("-k", min=1, max=200, help="How many passages.")] = 5,
    where: Annotated[list[str] | None, typer.Option("--where", help="field=value, or field=[…] in JSON; again for further fields.")] = None,
    how: Annotated[str | None, typer.Option("--how", help="words, meaning or both.")] = None,
) -> None:
    """Search as applications do; says which half found each passage, and at which place."""
    if how is not None and how not in get_args(How):
        raise Invalid(f"--how is {how!r}", remedy="it is one of " + ", ".join(get_args(How)))
    found = session.client.indexes.search(index, query, k, dict(read_filter(part) for part in where or []), cast("How | None", how))
    session.result(found)
    rows = [
        (str(place), f"{h.score:.4f}", str(h.by_words or ""), str(h.by_meaning or ""), *_chunk(h.chunk))
        for place, h in enumerate(found.items, 1)
    ]
    session.table(("", "score", "by words", "by meaning", "chunk", "where", "text"), rows, right=frozenset({0, 1, 2, 3}))
    if not rows:
        session.print("nothing was found")


def diff(session: Session, a: Index, b: Index) -> None:
    """What the second has that the first has not, and how many texts have to be encoded for it."""
    found = session.client.indexes.diff(a, b)
    session.result(found)
    session.print(f"[bold]{words.short_ref(found.a)} → {words.short_ref(found.b)}[/bold]")
    for name, counts in (("documents", found.documents), ("chunks", found.chunks)):
        session.print(f"  {name}: " + ", ".join(f"{n:,} {what}" for what, n in counts.items()))
    session.print(f"  {found.encode:,} texts to encode")
    for what, sign in (("added", "[green]+[/]"), ("removed", "[red]-[/]"), ("changed", "[yellow]~[/]")):
        for key in found.examples.get(what, ())[:10]:
            session.print(f"    {sign} {plain(key)}")
