"""Indexes: documents cut into chunks, searched by rank. Cutting happens at push; searching in the server."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from windlass.core.encoding import HASHED_NAME, HASHED_WORDS, MINILM, MINILM_NAME, endpoint_identity
from windlass.core.errors import Invalid
from windlass.core.host import current_host
from windlass.core.untrusted import signs
from windlass.sdk.definitions import Definition, expect
from windlass.sdk.output import from_json

How = Literal["words", "meaning", "both"]
Engine = Literal["exact", "lance"]
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


class Encoder(msgspec.Struct, frozen=True):
    """What makes vectors of texts, by all that identifies it. Make one with `encoder`."""

    identity: dict[str, Any]


class Passage(msgspec.Struct, omit_defaults=True):
    """What a search found: a chunk's text, the document it stands in and where, and how well it fits (higher is better)."""

    key: str
    text: str
    score: float
    document: str
    symbol: str | None = None
    span: tuple[int, int] | None = None
    untrusted: str | None = None  # what in it looks as if it was written to command a model


class Index(Definition):
    """Documents, how they are cut, and what makes vectors of them. Make one with `index`."""

    kind = "index"

    def __init__(
        self, name: str, source: Callable[[], Iterable[Document]] | str, chunk: Chunker, description: str, encoder: Encoder | None,
        engine: Engine = "exact",
    ) -> None:  # fmt: skip
        super().__init__(name)
        if not callable(source):
            expect(source, str, "source", "the path of a JSONL file, or a function that gives documents", self.where)
        expect(chunk, Chunker, "chunk", "w.by_paragraph(…), w.by_heading(…) or w.whole()", self.where)
        expect(encoder, (Encoder, type(None)), "encoder", 'w.encoder("minilm") or w.encoder("provider/model", dimensions=…)', self.where)
        if engine not in get_args(Engine):
            remedy = 'write engine="lance" for very many passages, or leave it out'
            raise Invalid(f"{engine!r} is not an engine", where=self.where, remedy=remedy)
        if engine == "lance" and encoder is None:
            raise Invalid("the engine lance searches vectors, and this index has no encoder", where=self.where, remedy='encoder="minilm"')
        self.source = source
        self.encoder = encoder
        self.engine = engine
        self.chunk = chunk
        self.description = description

    def search(
        self, query: str, k: int = 5, where: dict[str, Any] | None = None, *, how: How | None = None,
        vector: Sequence[float] | None = None, encoder: str | None = None,
    ) -> list[Passage]:  # fmt: skip
        """The best `k` passages. `where` filters by a field of the chunk (`symbol`, `document`, `key`) or of its document. An index with
        an encoder is searched by words and by meaning, unless `how` says which alone; `vector` is the query encoded already, by the
        encoder of that digest, which must be the index's."""
        asked = _asked(query, k, where, how=how, vector=vector, encoder=encoder)
        return list(from_json(current_host(repr(self)).call(self.kind, self.name, asked), list[Passage], self.name))

    async def asearch(
        self, query: str, k: int = 5, where: dict[str, Any] | None = None, *, how: How | None = None,
        vector: Sequence[float] | None = None, encoder: str | None = None,
    ) -> list[Passage]:  # fmt: skip
        """`search`, in a coroutine."""
        asked = _asked(query, k, where, how=how, vector=vector, encoder=encoder)
        return list(from_json(await current_host(repr(self)).acall(self.kind, self.name, asked), list[Passage], self.name))

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


def _asked(query: str, k: int, where: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    given = {"where": where or None, **more}
    return {"query": query, "k": k, **{name: value for name, value in given.items() if value is not None}}


def index(
    name: str,
    *,
    source: Callable[[], Iterable[Document]] | str,
    chunk: Chunker | None = None,
    encoder: Encoder | str | None = None,
    engine: Engine = "exact",
    description: str = "",
) -> Index:
    """An index over documents.

    Args:
        name: its name in the registry.
        source: a function that gives documents `{key, text, symbol?, …}`, or the path of a JSONL file of them.
        chunk: how they are cut; by paragraphs of up to 800 characters unless told otherwise.
        encoder: what finds passages by meaning too: `minilm`, `words`, or what `encoder` makes; by words alone unless told otherwise.
        engine: how vectors are searched. `exact` compares all of them; `lance` follows a graph, which is worth it from several 100,000
            passages, and needs `windlass[lance]` on the server.
        description: for people.
    """
    by = _encoder(encoder, None, "", "") if isinstance(encoder, str) else encoder
    return Index(name, source, by_paragraph() if chunk is None else chunk, description, by, engine)


def encoder(name: str, *, dimensions: int | None = None, document: str = "", query: str = "") -> Encoder:
    """An encoder of texts.

    Args:
        name: `minilm`, on the server's own processor, `words`, which needs nothing, or a provider's model, `openai/text-embedding-3-small`.
        dimensions: how long a provider's vectors are; they are part of what the index is.
        document, query: words to put before a text of either kind, where a provider's model was trained with such.
    """
    return _encoder(name, dimensions, document, query)


def _encoder(name: str, dimensions: int | None, document: str, query: str) -> Encoder:
    if name == MINILM_NAME:
        if dimensions not in (None, MINILM["dimensions"]) or document or query:
            raise Invalid(f"minilm has {MINILM['dimensions']} dimensions and no prefixes")
        return Encoder(MINILM)
    if name == HASHED_NAME:
        if dimensions not in (None, HASHED_WORDS["dimensions"]) or document or query:
            raise Invalid(f"words has {HASHED_WORDS['dimensions']} dimensions and no prefixes")
        return Encoder(HASHED_WORDS)
    if not all(name.partition("/")):
        raise Invalid(f"{name!r} is not an encoder", remedy="write minilm, words or provider/model")
    if not isinstance(dimensions, int) or dimensions < 1:
        raise Invalid(f"{name} needs dimensions=…: how long its vectors are", remedy="its provider's documentation says so")
    return Encoder(endpoint_identity(name, dimensions, document, query))


def by_paragraph(size: int = 800) -> Chunker:
    """Whole paragraphs, joined while they fit in `size` characters; a longer one is cut at sentences."""
    return Chunker("by_paragraph@1", {"size": size}, lambda text: _packed(_paragraphs(text, size), size))


def by_heading(size: int = 1600) -> Chunker:
    """From one Markdown heading to the next; a longer section is cut at its paragraphs."""
    return Chunker("by_heading@1", {"size": size}, lambda text: _sections(text, size))


def whole() -> Chunker:
    """One chunk a document."""
    return Chunker("whole@1", {}, lambda text: iter([Cut(0, len(text))] if text.strip() else []))


def chunker_of(named: dict[str, Any]) -> Chunker | None:
    """The chunker an index's identity names; None for one that is not here."""
    made = {"by_paragraph@1": by_paragraph, "by_heading@1": by_heading, "whole@1": whole}.get(str(named.get("name")))
    settings = {k: v for k, v in named.items() if k != "name"}
    return made(**settings) if made else None


def chunk_lines(row: Document, chunker: Chunker) -> list[bytes]:
    """The chunk lines of one document, as `runtime/retrieval` reads them."""
    text, key = row["text"], str(row["key"])
    fields = {k: v for k, v in row.items() if k not in ("key", "text", "symbol") and isinstance(v, (str, int, float, bool))}
    cuts = list(chunker.cut(text))
    lines = []
    for number, cut in enumerate(cuts, 1):
        piece = text[cut.begin : cut.end].strip()
        chunk = {"key": key if len(cuts) == 1 else f"{key}#{number}", "document": key, "text": piece, "span": [cut.begin, cut.end]}
        if isinstance(row.get("symbol"), str):
            chunk["symbol"] = row["symbol"]
        if suspicious := signs(piece):
            chunk["untrusted"] = "; ".join(suspicious)
        if fields:
            chunk["fields"] = fields
        lines.append(msgspec.json.encode(chunk, order="sorted"))
    return lines


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
