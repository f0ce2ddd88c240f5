"""Indexes: documents cut into chunks, searched by rank. Cutting happens at push; searching in the server."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from windlass.core.host import current_host
from windlass.sdk.definitions import Definition, expect
from windlass.sdk.output import from_json

Document = dict[str, Any]  # {key, text, symbol?, …}


class Cut(NamedTuple):
    """A piece of a document: where it begins and ends, in characters."""

    begin: int
    end: int


class Chunker(msgspec.Struct, frozen=True):
    """How documents are cut: a function from text to pieces, and what names it in the index's identity."""

    name: str
    settings: dict[str, Any]
    cut: Callable[[str], Iterator[Cut]]


class Passage(msgspec.Struct, omit_defaults=True):
    """What a search found: a chunk's text, the document it stands in and where, and how well it fits (higher is better)."""

    key: str
    text: str
    score: float
    document: str
    symbol: str | None = None
    span: tuple[int, int] | None = None


class Index(Definition):
    """Documents and how they are cut. Make one with `index`."""

    kind = "index"

    def __init__(self, name: str, source: Callable[[], Iterable[Document]] | str, chunk: Chunker, description: str) -> None:
        super().__init__(name)
        if not callable(source):
            expect(source, str, "source", "the path of a JSONL file, or a function that gives documents", self.where)
        expect(chunk, Chunker, "chunk", "w.by_paragraph(…), w.by_heading(…) or w.whole()", self.where)
        self.source = source
        self.chunk = chunk
        self.description = description

    def search(self, query: str, k: int = 5, where: dict[str, Any] | None = None) -> list[Passage]:
        """The best `k` passages. `where` filters by a field of the chunk (`symbol`, `document`, `key`) or of its document."""
        found = current_host(repr(self)).call(self.kind, self.name, _asked(query, k, where))
        return list(from_json(found, list[Passage], self.name))

    async def asearch(self, query: str, k: int = 5, where: dict[str, Any] | None = None) -> list[Passage]:
        """`search`, in a coroutine."""
        found = await current_host(repr(self)).acall(self.kind, self.name, _asked(query, k, where))
        return list(from_json(found, list[Passage], self.name))

    def as_tool(self, name: str | None = None, description: str | None = None) -> IndexTool:
        """This index as a tool of an agent, under the name and description a model sees."""
        said = description or f"Search {self.name} for passages about a query."
        return IndexTool(name or f"search_{self.name.replace('-', '_').replace('.', '_')}", said, self)


class IndexTool(Definition):
    """A tool that searches an index; it has no code of its own."""

    kind = "tool"

    def __init__(self, name: str, description: str, index: Index) -> None:
        super().__init__(name)
        self.description = description
        self.index = index


def _asked(query: str, k: int, where: dict[str, Any] | None) -> dict[str, Any]:
    return {"query": query, "k": k, **({"where": where} if where else {})}


def index(name: str, *, source: Callable[[], Iterable[Document]] | str, chunk: Chunker | None = None, description: str = "") -> Index:
    """An index over documents.

    Args:
        name: its name in the registry.
        source: a function that gives documents `{key, text, symbol?, …}`, or the path of a JSONL file of them.
        chunk: how they are cut; by paragraphs of up to 800 characters unless told otherwise.
        description: for people.
    """
    return Index(name, source, by_paragraph() if chunk is None else chunk, description)


def by_paragraph(size: int = 800) -> Chunker:
    """Whole paragraphs, joined while they fit in `size` characters; a longer one is cut at sentences."""
    return Chunker("by_paragraph@1", {"size": size}, lambda text: _packed(_paragraphs(text, size), size))


def by_heading(size: int = 1600) -> Chunker:
    """From one Markdown heading to the next; a longer section is cut at its paragraphs."""
    return Chunker("by_heading@1", {"size": size}, lambda text: _sections(text, size))


def whole() -> Chunker:
    """One chunk a document."""
    return Chunker("whole@1", {}, lambda text: iter([Cut(0, len(text))] if text.strip() else []))


def _paragraphs(text: str, size: int) -> Iterator[Cut]:
    for found in re.finditer(r"\S(?:.*?\S)?(?=\s*\n\s*\n|\s*\Z)", text, re.DOTALL):
        if found.end() - found.start() <= size:
            yield Cut(found.start(), found.end())
        else:
            yield from _packed(_sentences(text, found.start(), found.end(), size), size)


def _sentences(text: str, begin: int, end: int, size: int) -> Iterator[Cut]:
    """Sentences; one that is longer than `size` is cut at a space, or in the middle of a word where there is none."""
    start = begin
    for stop in [*(m.end() for m in re.compile(r"[.!?:]\s+|\n\s*").finditer(text, begin, end)), end]:
        while stop - start > size:
            space = text.rfind(" ", start + size // 2, start + size)
            cut = space if space > 0 else start + size
            yield Cut(start, cut)
            start = cut
        if text[start:stop].strip():
            yield Cut(start, stop)
        start = stop


def _packed(pieces: Iterable[Cut], size: int) -> Iterator[Cut]:
    open_: Cut | None = None
    for piece in pieces:
        if open_ and piece.end - open_.begin <= size:
            open_ = Cut(open_.begin, piece.end)
            continue
        if open_:
            yield open_
        open_ = piece
    if open_:
        yield open_


def _sections(text: str, size: int) -> Iterator[Cut]:
    starts = [m.start() for m in re.finditer(r"^#{1,6} ", text, re.MULTILINE)]
    bounds = sorted({0, *starts, len(text)})
    for begin, end in itertools.pairwise(bounds):
        if not text[begin:end].strip():
            continue
        if end - begin <= size:
            yield Cut(begin, end)
        else:
            yield from (Cut(begin + c.begin, begin + c.end) for c in _packed(_paragraphs(text[begin:end], size), size))
