"""Indexes: what is in one, what a search finds and by which half, what a new version changes, and which answers used a passage."""

from __future__ import annotations

from typing import Any, cast, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.errors import Invalid
from windlass.core.operations.indexes import (
    CHUNKS,
    FIND,
    INDEX,
    INDEX_DIFF,
    INDEXES,
    ChunkPage,
    ChunksQuery,
    How,
    IndexDetail,
    IndexDiff,
    IndexDiffQuery,
    IndexesQuery,
    IndexList,
    IndexQuery,
    Searched,
    SearchRequest,
    read_filter,
)
from windlass.core.operations.registry import VERSIONS, VersionPage, VersionQuery
from windlass.doors.web.render import Asker, Handler, respond

FOUND = 8  # passages of a search


class IndexesContext(msgspec.Struct):
    items: IndexList


class IndexContext(msgspec.Struct):
    """`found` is what the question `ask` found; None where nothing was asked."""

    name: str
    detail: IndexDetail
    chunks: ChunkPage
    versions: VersionPage
    filters: dict[str, str]
    ask: str
    how: str
    where: str
    found: Searched | None


class IndexDiffContext(msgspec.Struct):
    name: str
    diff: IndexDiff


async def indexes(request: Request, ask: Asker) -> Response:
    found = await ask(INDEXES, IndexesQuery(ask.actor.project))
    return respond(request, "indexes.html", IndexesContext(found), nav="indexes", title="Indexes")


async def index(request: Request, ask: Asker) -> Response:
    q, name, project = request.query_params, request.path_params["name"], ask.actor.project
    ref = f"index/{name}" + (f"@{q['at']}" if q.get("at") else "")
    detail = await ask(INDEX, IndexQuery(ref, project))
    ref = detail.summary.ref
    filters = {k: q.get(k, "") for k in ("search", "document", "untrusted")}
    asked = ChunksQuery(
        ref, project, filters["search"] or None, filters["document"] or None, bool(filters["untrusted"]), q.get("cursor") or None, 20
    )
    chunks = await ask(CHUNKS, asked)
    versions = await ask(VERSIONS, VersionQuery(f"index/{name}", project, q.get("older") or None))
    question, how = q.get("ask", "").strip(), q.get("how", "")
    found = None
    if question:
        if how and how not in get_args(How):
            raise Invalid(f"one cannot search by {how!r}", remedy="by words, meaning or both")
        wanted = cast("How | None", how or None)
        found = await ask(FIND, SearchRequest(ref, question, FOUND, wanted, _where(q.get("where", "")), project))
    context = IndexContext(name, detail, chunks, versions, filters, question, how, q.get("where", ""), found)
    return respond(request, "index.html", context, nav="indexes", title=f"index/{name}")


def _where(text: str) -> dict[str, Any]:
    """`module=asyncio, lang=en` as a filter."""
    return dict(read_filter(part) for part in text.split(",") if part.strip())


async def difference(request: Request, ask: Asker) -> Response:
    name, q = request.path_params["name"], request.query_params
    found = await ask(INDEX_DIFF, IndexDiffQuery(q.get("a", ""), q.get("b", "") or f"index/{name}", ask.actor.project))
    return respond(request, "index_diff.html", IndexDiffContext(name, found), nav="indexes", title=f"What changed in index/{name}")


PAGES: tuple[tuple[str, Handler], ...] = (("/indexes", indexes), ("/indexes/{name}", index), ("/indexes/{name}/diff", difference))
