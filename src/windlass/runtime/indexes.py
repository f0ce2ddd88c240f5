"""The service of indexes: what is in them, what a search finds and by which half, what a new version changes. Which answers used a
passage is the traces' to tell (`TraceQuery.passage`)."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from typing import NamedTuple

import msgspec
from sqlalchemy import Engine, select

from windlass.core.actor import Actor
from windlass.core.artifacts import IndexBody, Version
from windlass.core.operations.indexes import (
    ChunkPage,
    ChunkRow,
    ChunksQuery,
    Hit,
    How,
    IndexDetail,
    IndexDiff,
    IndexDiffQuery,
    IndexesQuery,
    IndexList,
    IndexQuery,
    IndexSummary,
    Searched,
    SearchRequest,
)
from windlass.core.operations.registry import RefQuery
from windlass.core.ref import Ref, parse_ref
from windlass.govern.permissions import guard
from windlass.registry.versions import Versions
from windlass.runtime.retrieval import CANDIDATES, MOST, PLAIN, Blobs, Chunk, Retrieval, encoded_text, read_chunks
from windlass.store.meta import read
from windlass.store.tables import versions

REMEMBERED = 4  # indexes' chunks
EXAMPLES = 50


class _Contents(NamedTuple):
    chunks: tuple[Chunk, ...]  # by key
    documents: int
    untrusted: int


class Indexes:
    """Service of `indexes.*`."""

    def __init__(self, engine: Engine, found: Versions, retrieval: Retrieval, blobs: Blobs) -> None:
        self._engine = engine
        self._versions = found
        self._retrieval = retrieval
        self._blobs = blobs
        self._known: OrderedDict[str, _Contents] = OrderedDict()
        self._lock = threading.Lock()

    def list(self, actor: Actor, query: IndexesQuery) -> IndexList:
        """Operation `indexes.list`: the newest version of each, by name."""
        guard(actor, "read", query.project)
        v = versions.c
        with read(self._engine) as c:
            names = (
                c.execute(select(v.name).where(v.project == query.project, v.kind == "index").distinct().order_by(v.name)).scalars().all()
            )
        refs = [self._versions.resolve(Ref("index", name, None, None, query.project)) for name in names]
        return IndexList(tuple(self._summary(self._get(ref)) for ref in refs))

    def show(self, actor: Actor, query: IndexQuery) -> IndexDetail:
        """Operation `indexes.show`."""
        version = self._version(actor, query.ref, query.project)
        detail = self._versions.show(actor, RefQuery(str(version.ref), query.project))
        body, contents = _body(version), self._contents(version)
        carried = {name for chunk in contents.chunks for name in chunk.fields}
        source = next(k for k in version.links if k.digest == body.documents)
        return IndexDetail(
            self._summary(version), str(Ref(source.kind, source.name, source.digest, None, version.project)), body.chunker, body.encoder,
            sum(len(c.text) for c in contents.chunks), (*PLAIN, *sorted(carried)), detail.used_by, detail.labels,
        )  # fmt: skip

    def chunks(self, actor: Actor, query: ChunksQuery) -> ChunkPage:
        """Operation `indexes.chunks`: by key."""
        contents = self._contents(self._version(actor, query.ref, query.project))
        wanted = (query.search or "").casefold()
        found = [
            c
            for c in contents.chunks
            if (not query.untrusted or c.untrusted)
            and query.document in (None, c.document)
            and (not wanted or wanted in c.text.casefold() or wanted in c.key.casefold() or wanted in (c.symbol or "").casefold())
        ]
        rest = [c for c in found if query.cursor is None or c.key > query.cursor]
        items = tuple(_row(c) for c in rest[: query.limit])
        return ChunkPage(items=items, count=len(found), next=items[-1].key if len(rest) > query.limit else None)

    async def search(self, actor: Actor, query: SearchRequest) -> Searched:
        """Operation `indexes.search`. Raises `Invalid`, `Unavailable` as `Retrieval.search`."""
        guard(actor, "run", query.project)
        return await asyncio.to_thread(self._search, actor, query)

    def _search(self, actor: Actor, query: SearchRequest) -> Searched:
        version = self._version(actor, query.ref, query.project)
        body = _body(version)
        how: How = query.how or ("both" if body.encoder else "words")
        where = query.where or None
        found = self._retrieval.search(version, query.query, query.k, where, how=how)
        places: dict[str, dict[str, int]] = {}
        for half in ("words", "meaning") if how == "both" else (how,):
            deep = min(MOST, max(CANDIDATES, query.k))
            alone = found if how != "both" else self._retrieval.search(version, query.query, deep, where, how=half)
            places[half] = {hit["key"]: place for place, hit in enumerate(alone, 1)}
        by_key = {c.key: c for c in self._contents(version).chunks}
        hits = (
            Hit(
                _row(by_key[f["key"]]), f["score"], places.get("words", {}).get(f["key"]), places.get("meaning", {}).get(f["key"])
            )
            for f in found
        )  # fmt: skip
        return Searched(str(version.ref), how, tuple(hits))

    def diff(self, actor: Actor, query: IndexDiffQuery) -> IndexDiff:
        """Operation `indexes.diff`."""
        a, b = (self._version(actor, ref, query.project) for ref in (query.a, query.b))
        before, after = ({c.key: c for c in self._contents(v).chunks} for v in (a, b))
        added, removed = sorted(after.keys() - before.keys()), sorted(before.keys() - after.keys())
        changed = [key for key in sorted(after.keys() & before.keys()) if before[key] != after[key]]
        known = {encoded_text(c) for c in before.values()} if _body(a).encoder == _body(b).encoder else set()
        lacking = {encoded_text(c) for c in after.values()} - known if _body(b).encoder else set()
        return IndexDiff(
            str(a.ref), str(b.ref), _documents(before, after),
            {"added": len(added), "removed": len(removed), "changed": len(changed), "same": len(after) - len(added) - len(changed)},
            len(lacking),
            {"added": tuple(added[:EXAMPLES]), "removed": tuple(removed[:EXAMPLES]), "changed": tuple(changed[:EXAMPLES])},
        )  # fmt: skip

    def _version(self, actor: Actor, text: str, project: str) -> Version:
        ref = parse_ref(text, project=project, kind="index")
        guard(actor, "read", ref.project)
        return self._get(self._versions.resolve(ref))

    def _get(self, ref: Ref) -> Version:
        return self._versions.get(ref.project, ref.kind, ref.name, ref.digest or "")

    def _summary(self, version: Version) -> IndexSummary:
        body, contents = _body(version), self._contents(version)
        v = versions.c
        same = (v.project == version.project, v.kind == "index", v.name == version.name, v.digest == version.digest)
        with read(self._engine) as c:
            made = c.execute(select(v.created_ns).where(*same)).scalar_one()
        return IndexSummary(
            str(version.ref), version.name, made, contents.documents, len(contents.chunks), body.engine,
            str(body.encoder.get("name", "")), body.encoder.get("dimensions"), self._retrieval.ready(version), contents.untrusted,
        )  # fmt: skip

    def _contents(self, version: Version) -> _Contents:
        digest = _body(version).chunks
        with self._lock:
            if digest in self._known:
                self._known.move_to_end(digest)
                return self._known[digest]
        chunks = tuple(sorted(read_chunks(self._blobs.get(digest)), key=lambda c: c.key))
        found = _Contents(chunks, len({c.document for c in chunks}), sum(c.untrusted is not None for c in chunks))
        with self._lock:
            self._known[digest] = found
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return found


def _documents(before: dict[str, Chunk], after: dict[str, Chunk]) -> dict[str, int]:
    """How many documents came, went, or have other chunks."""
    old: dict[str, list[Chunk]] = {}
    new: dict[str, list[Chunk]] = {}
    for some, into in ((before, old), (after, new)):
        for chunk in some.values():
            into.setdefault(chunk.document, []).append(chunk)
    changed = sum(old[name] != new[name] for name in old.keys() & new.keys())
    return {"added": len(new.keys() - old.keys()), "removed": len(old.keys() - new.keys()), "changed": changed}


def _body(version: Version) -> IndexBody:
    return msgspec.convert(version.body, IndexBody)


def _row(chunk: Chunk) -> ChunkRow:
    return msgspec.convert(msgspec.to_builtins(chunk), ChunkRow)
