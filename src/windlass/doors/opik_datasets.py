"""Datasets as Opik's SDK makes, fills and reads them (`foreign_datasets.py`). An item is a row: its id the key, its data the fields.

    POST /datasets                  one without rows; 409 where it is there       GET /datasets[/{id}], POST /datasets/retrieve
    PUT  /datasets/items            sets rows whole: 204; 400 where some are not kept, which says which
    POST /datasets/items/delete     takes them out; older versions have them
    GET  /datasets/{id}/items       a page, in the order of keys; ?version= by its digest
    POST /datasets/items/stream     a line for each, after an id
    GET  /datasets/{id}/versions    the newest first; POST …/versions/retrieve by name, which is its digest

A dataset's id is its name, and a version's name the start of its digest: who knows one of them knows the other. What a row is here says
no more than its fields: judges and policies of a test suite are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from windlass.core.actor import Actor
from windlass.core.digest import short
from windlass.core.errors import Invalid, NotFound
from windlass.core.ids import uuid7
from windlass.core.operations.registry import VERSIONS, VersionDetail, VersionQuery
from windlass.core.ref import check_name
from windlass.doors.foreign_datasets import LONGEST_ID, ForeignDatasets, Row, iso
from windlass.doors.opik_wire import BASE, LARGEST_PAGE, Heard, Partly, Told, not_taken, page_of, serving, text_of
from windlass.doors.otlp import Intake
from windlass.platform import Platform
from windlass.registry.origins import FIELD as ORIGIN
from windlass.traces import opik_spans

NOT_DATA = frozenset({"key", ORIGIN, "description"})  # of a row: what theirs has beside an item's data
REFUSED = {
    "evaluators": "name judges where the experiment is run, or in a suite of a workspace (docs/gate.md)",
    "execution_policy": "leave it out: each item is run as often as the experiment says",
    "tags": "leave them out, or put them into the item's data",
}
FILTERS = "leave filters out: `windlass data rows NAME --search TEXT` finds rows, and so does Python once they are read"


class OpikDatasets:
    """The door.

    Args:
        platform: has the datasets.
        intake: knows who asks, by the key that stands for theirs.
    """

    def __init__(self, platform: Platform, intake: Intake) -> None:
        self._platform = platform
        self._intake = intake
        self._sets = ForeignDatasets(platform, intake, "Opik")

    def routes(self) -> list[Route]:
        listed = (
            ("GET", "", self._all, ""), ("POST", "", self._make, ""), ("POST", "/retrieve", self._retrieve, ""),
            ("PUT", "/items", self._set, "items"), ("POST", "/items/delete", self._remove, "item_ids"),
            ("POST", "/items/stream", self._stream, ""), ("GET", "/{id}", self._one, ""), ("GET", "/{id}/items", self._items, ""),
            ("GET", "/{id}/versions", self._versions, ""), ("POST", "/{id}/versions/retrieve", self._version, ""),
        )  # fmt: skip
        return [
            *(Route(f"{BASE}/datasets{path}", serving(self._intake, ask, many), methods=[method]) for method, path, ask, many in listed),
        ]

    # ── datasets ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _all(self, heard: Heard) -> Any:
        page, size = page_of(heard.request)
        asked = heard.request.query_params.get("name", "").lower()
        names = [name for name in await self._sets.names(heard.actor) if asked in name]
        some = [dataset(await self._sets.shown(heard.actor, name)) for name in names[(page - 1) * size : page * size]]
        return {"page": page, "size": len(some), "total": len(names), "content": some, "sortableBy": []}

    async def _make(self, heard: Heard) -> Response:
        said = heard.said
        if said.get("type") not in (None, "dataset"):
            raise Invalid("test suites are not kept here", where="type", remedy="make a dataset, and a suite in a workspace (docs/gate.md)")
        not_taken(said, tags=REFUSED["tags"])
        name = check_name(text_of(said, "name"), what="name of a dataset")
        await self._sets.make(heard.actor, name, str(said.get("description") or ""))
        return Response(status_code=201, headers={"location": f"{BASE}/datasets/{name}"})

    async def _retrieve(self, heard: Heard) -> Any:
        return dataset(await self._sets.shown(heard.actor, text_of(heard.said, "dataset_name")))

    async def _one(self, heard: Heard) -> Any:
        return dataset(await self._sets.shown(heard.actor, heard.request.path_params["id"]))

    async def _named(self, heard: Heard, at: str = "") -> VersionDetail:
        """The dataset that a body names by its name or id."""
        field = "dataset_name" if heard.said.get("dataset_name") else "dataset_id"
        return await self._sets.shown(heard.actor, text_of(heard.said, field), at)

    # ── items ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _set(self, heard: Heard) -> None:
        """Raises `Partly` naming those that are no rows; the others are kept, in one version."""
        items = heard.said.get("items")
        if not isinstance(items, list) or not items:
            raise Invalid("there is no list of items", where="items", remedy="send what Opik's SDK does")
        shown = await self._named(heard)
        rows, wrong = dict[str, Row](), list[str]()
        for number, item in enumerate(items):
            try:
                row = row_of(item)
                rows[row["key"]] = row
            except Invalid as e:
                wrong.append(f"items[{number}]: {e}")
        if rows:
            wrong += (await self._sets.edit(heard.actor, shown, rows.values(), whole=True)).problems
        if wrong:
            raise Partly(wrong, where="items")

    async def _remove(self, heard: Heard) -> None:
        not_taken(heard.said, filters=FILTERS)
        ids = heard.said.get("item_ids")
        if not isinstance(ids, list) or not all(isinstance(id, str) for id in ids) or not ids:
            raise Invalid("there is no list of ids", where="item_ids", remedy="name the items")
        if heard.said.get("dataset_name") or heard.said.get("dataset_id"):
            await self._sets.edit(heard.actor, await self._named(heard), remove=ids)
            return
        found = dict[str, tuple[VersionDetail, list[str]]]()
        for id in ids:  # theirs are of one dataset each, by themselves
            row, shown = await self._sets.found(heard.actor, id)
            found.setdefault(shown.version.name, (shown, []))[1].append(row["key"])
        for shown, keys in found.values():
            await self._sets.edit(heard.actor, shown, remove=keys)

    async def _items(self, heard: Heard) -> Any:
        asked, (page, size) = heard.request.query_params, page_of(heard.request)
        not_taken(dict(asked), filters=FILTERS)
        shown = await self._sets.shown(heard.actor, heard.request.path_params["id"], asked.get("version") or "")
        rows = await self._sets.page(heard.actor, shown, page, size)
        content = [item_of(row, shown) for row in rows]
        return {"page": page, "size": len(content), "total": shown.version.body["count"], "content": content, "columns": []}

    async def _stream(self, heard: Heard) -> Response:
        said, most = heard.said, heard.said.get("steam_limit", LARGEST_PAGE)  # as their SDK spells it
        not_taken(said, filters=FILTERS)
        if not isinstance(most, int) or not 1 <= most <= LARGEST_PAGE:
            raise Invalid("this is no number of items", where="steam_limit", remedy=f"give 1 to {LARGEST_PAGE:,}")
        shown = await self._named(heard, str(said.get("dataset_version") or ""))
        after = said.get("last_retrieved_id")
        rows, _ = await self._sets.after(heard.actor, str(shown.version.ref), str(after) if after else None, most)
        return Response(b"".join(_lines(rows, shown)), media_type="application/octet-stream")

    # ── versions ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _versions(self, heard: Heard) -> Any:
        """What `main` points to first: it is the latest, whatever came on other branches."""
        page, size = page_of(heard.request)
        shown = await self._sets.shown(heard.actor, heard.request.path_params["id"])
        digests = [shown.version.digest]
        if page > 1 or size > 1:
            digests += [d for d in await self._digests(heard.actor, shown.version.name) if d != digests[0]]
        some = [version(await self._sets.shown(heard.actor, shown.version.name, d), shown) for d in digests[(page - 1) * size :][:size]]
        return {"page": page, "size": len(some), "total": len(digests), "content": some}

    async def _version(self, heard: Heard) -> Any:
        name, shown = text_of(heard.said, "version_name"), await self._sets.shown(heard.actor, heard.request.path_params["id"])
        if not 4 <= len(name) <= 64 or set(name) - set("0123456789abcdef"):
            remedy = "versions are named by their digest: `windlass versions list dataset/NAME`"
            raise NotFound(f"there is no version {name[:40]!r}", where="version_name", remedy=remedy)
        return version(await self._sets.shown(heard.actor, shown.version.name, name), shown)

    async def _digests(self, actor: Actor, name: str) -> list[str]:
        found, cursor = list[str](), None
        while True:
            page = await self._platform.ask(VERSIONS, actor, VersionQuery(f"dataset/{name}", actor.project, cursor, 200))
            found += [one.digest for one in page.items]
            if not (cursor := page.next):
                return found


def row_of(item: Any) -> Row:
    """An item as a row. Raises `Invalid`."""
    if not isinstance(item, dict) or not isinstance(data := item.get("data"), dict) or not data:
        raise Invalid("an item has data", where="data", remedy="give it as an object with something in it")
    not_taken(item, **REFUSED)
    if taken := sorted(data.keys() & {"key", ORIGIN}):
        raise Invalid(f"a field of data cannot be called {taken[0]!r} here", where="data", remedy="give it another name")
    id = item.get("id") or uuid7()
    if not isinstance(id, str) or len(id) > LONGEST_ID or not id.isprintable():
        raise Invalid("this is no id of an item", where="id", remedy=f"take 1 to {LONGEST_ID} characters without line breaks")
    row: Row = {"key": id, **data}
    if isinstance(text := item.get("description"), str) and text and "description" not in data:
        row["description"] = text
    trace, span = item.get("trace_id"), item.get("span_id")
    if span and not trace:
        raise Invalid("a span is part of a trace", where="trace_id", remedy="give its trace too")
    if trace:
        row[ORIGIN] = {"trace": opik_spans.trace_hex(opik_spans.uuid_of(trace, "trace_id"))}
        if span:
            row[ORIGIN]["span"] = opik_spans.span_hex(opik_spans.uuid_of(span, "span_id"))
    return row


def item_of(row: Row, shown: VersionDetail) -> Told:
    """A row as an item. Of a step that it was made of they are told the trace: the id they gave the step is not known any more."""
    origin, at = row.get(ORIGIN), iso(shown.created_ns)
    trace = origin.get("trace") if isinstance(origin, dict) else None
    text = row.get("description")
    return {
        "id": row["key"], "dataset_id": shown.version.name, "source": "sdk", "trace_id": opik_spans.trace_uuid(trace),
        "span_id": None, "description": text if isinstance(text, str) else None,
        "data": {k: v for k, v in row.items() if k not in NOT_DATA or (k == "description" and not isinstance(v, str))},
        "created_at": at, "last_updated_at": at,
    }  # fmt: skip


def _lines(rows: list[Row], shown: VersionDetail) -> Iterator[bytes]:
    for row in rows:
        yield msgspec.json.encode(item_of(row, shown)) + b"\n"


def dataset(shown: VersionDetail) -> Told:
    body, at = shown.version, iso(shown.created_ns)
    return {
        "id": body.name, "name": body.name, "description": body.neutral.get("description") or None, "type": "dataset",
        "dataset_items_count": body.body["count"], "created_at": at, "last_updated_at": at, "latest_version": _summary(shown),
    }  # fmt: skip


def _summary(shown: VersionDetail) -> Told:
    return {"id": shown.version.digest, "version_hash": _hash(shown), "version_name": short(shown.version.digest), "tags": []}


def version(shown: VersionDetail, latest: VersionDetail) -> Told:
    at = iso(shown.created_ns)
    return _summary(shown) | {
        "dataset_id": shown.version.name, "is_latest": shown.version.digest == latest.version.digest,
        "items_total": shown.version.body["count"], "change_description": shown.version.neutral.get("message") or None,
        "created_at": at, "last_updated_at": at,
    }  # fmt: skip


def _hash(shown: VersionDetail) -> str:
    """All digits of a digest; what a page of items is asked by."""
    return shown.version.digest.removeprefix("sha256:")
