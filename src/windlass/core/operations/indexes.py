"""Operations on indexes: which there are, what is in them, what a search finds and why, what a new version changes."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from windlass.core.errors import Invalid
from windlass.core.operations import Limit, Operation, Page

How = Literal["words", "meaning", "both"]


class IndexesQuery(msgspec.Struct, omit_defaults=True):
    project: str = "default"


class IndexSummary(msgspec.Struct, omit_defaults=True):
    """The version of an index. `encoder` is empty where it is searched by words alone; `ready` says whether its vectors are made;
    `untrusted` counts chunks that look as if they were written to command a model."""

    ref: str
    name: str
    created_ns: int
    documents: int
    chunks: int
    engine: str
    encoder: str = ""
    dimensions: int | None = None
    ready: bool = True
    untrusted: int = 0


class IndexList(msgspec.Struct):
    items: tuple[IndexSummary, ...]


class IndexQuery(msgspec.Struct, omit_defaults=True):
    ref: str
    project: str = "default"


class IndexDetail(msgspec.Struct, omit_defaults=True):
    """`fields` are what a search may filter by; `used_by` the versions that search it."""

    summary: IndexSummary
    source: str  # the documents' version
    chunker: dict[str, Any]
    encoder: dict[str, Any]
    characters: int
    fields: tuple[str, ...]
    used_by: tuple[str, ...]
    labels: tuple[str, ...] = ()


class ChunksQuery(msgspec.Struct, omit_defaults=True):
    """`search`: in the text, key or symbol, in any case. `untrusted`: only those that are marked."""

    ref: str
    project: str = "default"
    search: str | None = None
    document: str | None = None
    untrusted: bool = False
    cursor: str | None = None
    limit: Limit = 50


class ChunkRow(msgspec.Struct, omit_defaults=True):
    key: str
    document: str
    text: str
    symbol: str | None = None
    span: tuple[int, int] | None = None
    untrusted: str | None = None
    fields: dict[str, Any] = {}


class ChunkPage(Page):
    items: tuple[ChunkRow, ...]
    count: int = 0


class SearchRequest(msgspec.Struct, omit_defaults=True):
    """Search an index as its applications do. `where` filters by fields: a value, or one of a list."""

    ref: str
    query: str
    k: int = 10
    how: How | None = None
    where: dict[str, Any] = {}
    project: str = "default"


def read_filter(text: str) -> tuple[str, Any]:
    """`field=value` as somebody writes it, for `where`: a list and a text in quotes as JSON; a number, true and false as that or as
    text, since nobody sees which of them a field holds. Raises `Invalid`."""
    field, equals, written = (part.strip() for part in text.partition("="))
    if not equals or not field:
        raise Invalid(f"{text.strip()!r} is no filter", remedy="write module=asyncio")
    try:
        value = msgspec.json.decode(written)
    except msgspec.DecodeError:
        return field, written
    if isinstance(value, bool | int | float):
        return field, [value, written]
    return field, value if isinstance(value, list | str) else written


class Hit(msgspec.Struct, omit_defaults=True):
    """A passage that was found, with its place (from 1) by words alone and by meaning alone, where it has one among the first 50."""

    chunk: ChunkRow
    score: float
    by_words: int | None = None
    by_meaning: int | None = None


class Searched(msgspec.Struct, omit_defaults=True):
    ref: str
    how: How
    items: tuple[Hit, ...]


class IndexDiffQuery(msgspec.Struct, omit_defaults=True):
    a: str
    b: str
    project: str = "default"


class IndexDiff(msgspec.Struct, omit_defaults=True):
    """What `b` has that `a` has not. `encode` is how many texts of `b` the encoder of `b` was given for the first time, going by `a`;
    `examples` are keys of chunks that are new, changed or gone, at most 50 of each."""

    a: str
    b: str
    documents: dict[str, int]  # added, removed, changed
    chunks: dict[str, int]  # added, removed, changed, same
    encode: int
    examples: dict[str, tuple[str, ...]] = {}


INDEXES = Operation("indexes.list", "GET", IndexesQuery, IndexList, "read")
INDEX = Operation("indexes.show", "GET", IndexQuery, IndexDetail, "read")
CHUNKS = Operation("indexes.chunks", "GET", ChunksQuery, ChunkPage, "read")
FIND = Operation("indexes.search", "POST", SearchRequest, Searched, "run")
INDEX_DIFF = Operation("indexes.diff", "GET", IndexDiffQuery, IndexDiff, "read")
