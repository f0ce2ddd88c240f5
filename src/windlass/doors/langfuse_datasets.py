"""Datasets as Langfuse's SDKs make, fill and read them, and runs of them (`core/foreign_runs.py`). An item is a row, and its id the key.

    GET  /api/public/projects                 the key's own
    GET  /api/public/v2/datasets[/{name}]     what `main` points to; ?page= and ?limit= of all
    POST /api/public/v2/datasets              one without rows; again the same is harmless
    GET  /api/public/dataset-items[/{id}]     rows in the order of their keys, a page at a time
    POST /api/public/dataset-items            sets a row; what is not told of a known one stays; `ARCHIVED` takes it out
    DELETE /api/public/dataset-items/{id}     takes it out; older versions have it
    POST /api/public/dataset-run-items        puts a trace into a run, as a span of that trace

A row of ours that has no field `input` is told as one whose input is all that it has beside what theirs have names for. Where theirs says
more than a row can (schemas, a version by its time) it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from windlass.core import foreign_runs
from windlass.core.actor import Actor
from windlass.core.errors import Invalid, NotFound
from windlass.core.ids import now_ns, span_id, uuid7
from windlass.core.operations.registry import VersionDetail
from windlass.core.ref import check_name
from windlass.doors import api
from windlass.doors.auth import headers_of
from windlass.doors.foreign_datasets import LONGEST_ID, ForeignDatasets, RunItem, began, iso, leading, of_run
from windlass.doors.langfuse import SENDER, converted, read_json, told, whole_span, whole_trace
from windlass.doors.otlp import Intake
from windlass.platform import Platform
from windlass.registry.origins import FIELD as ORIGIN

ACTIVE, ARCHIVED = "ACTIVE", "ARCHIVED"
PAGE, LARGEST_PAGE = 50, 100
INPUT, EXPECTED, METADATA = "input", "expected_output", "metadata"
PRINTED = {  # addresses that their SDKs print, and our pages
    "experiments/results": "/datasets/runs",
    "datasets/dataset/{name}/runs/{run}": "/datasets/runs?of={name}",
    "traces/{id}": "/traces/{id}",
}
_OWN = frozenset({"key", "split", ORIGIN, EXPECTED, METADATA})  # of a row that has no input of its own
_NUMBER = re.compile("[1-9][0-9]{0,8}")


class _Dataset(msgspec.Struct, rename="camel"):
    name: str
    description: str | None = None
    metadata: Any = None
    input_schema: Any = None
    expected_output_schema: Any = None


class _Item(msgspec.Struct, rename="camel"):
    dataset_name: str
    id: str | None = None
    input: Any = None
    expected_output: Any = None
    metadata: Any = None
    source_trace_id: str | None = None
    source_observation_id: str | None = None
    status: str | None = None


class _RunItem(msgspec.Struct, rename="camel"):
    run_name: str
    dataset_item_id: str
    trace_id: str | None = None
    observation_id: str | None = None
    run_description: str | None = None
    metadata: Any = None
    dataset_version: str | None = None


class _Page(NamedTuple):
    """From 1."""

    number: int
    limit: int

    def meta(self, total: int) -> dict[str, int]:
        return {"page": self.number, "limit": self.limit, "totalItems": total, "totalPages": -(-total // self.limit)}


class LangfuseDatasets:
    """The door.

    Args:
        platform: has the datasets.
        intake: knows who asks, by the key that stands for theirs, and takes the spans that put a trace into a run.
    """

    def __init__(self, platform: Platform, intake: Intake) -> None:
        self._platform = platform
        self._intake = intake
        self._sets = ForeignDatasets(platform, intake, "Langfuse")

    def routes(self) -> list[Route]:
        listed: tuple[tuple[str, str, Callable[[Request, Actor], Awaitable[Any]]], ...] = (
            ("GET", "projects", self._projects), ("GET", "v2/datasets", self._all), ("POST", "v2/datasets", self._make),
            ("GET", "v2/datasets/{name:path}", self._one), ("GET", "dataset-items", self._items), ("POST", "dataset-items", self._set),
            ("GET", "dataset-items/{id:path}", self._item), ("DELETE", "dataset-items/{id:path}", self._remove),
            ("POST", "dataset-run-items", self._link),
        )  # fmt: skip
        return [
            *(Route(f"{SENDER.base}/{path}", api.answering(self._answering(ask)), methods=[method]) for method, path, ask in listed),
            *(Route(f"/project/{{project}}/{path}", leading(to), methods=["GET"]) for path, to in PRINTED.items()),
        ]

    def _answering(self, ask: Callable[[Request, Actor], Awaitable[Any]]) -> api.Endpoint:
        async def answer(request: Request) -> Response:
            needs = "trace" if ask in (self._projects, self._link) else None  # else the operation asks
            actor = await self._intake.admit(SENDER, headers_of(request.scope), needs)
            return told(200, await ask(request, actor))

        return answer

    async def _projects(self, request: Request, actor: Actor) -> Any:
        name = actor.project
        return {"data": [{"id": name, "name": name, "metadata": {}, "organization": {"id": "windlass", "name": "windlass"}}]}

    # ── datasets ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _all(self, request: Request, actor: Actor) -> Any:
        page, names = _page(request), await self._sets.names(actor)
        some = names[(page.number - 1) * page.limit : page.number * page.limit]
        return {"data": [_dataset(await self._sets.shown(actor, name), actor) for name in some], "meta": page.meta(len(names))}

    async def _one(self, request: Request, actor: Actor) -> Any:
        return _dataset(await self._sets.shown(actor, request.path_params["name"]), actor)

    async def _make(self, request: Request, actor: Actor) -> Any:
        asked: _Dataset = converted(await read_json(request, self._platform), _Dataset)
        for schema, name in ((asked.input_schema, "inputSchema"), (asked.expected_output_schema, "expectedOutputSchema")):
            if schema is not None:
                raise Invalid(
                    "rows are not held against a schema here", where=name, remedy="leave it out, and check items before they are sent"
                )
        name = check_name(asked.name, what="name of a dataset")
        try:
            there = await self._sets.shown(actor, name)
        except NotFound:
            await self._sets.make(actor, name, asked.description or "", asked.metadata)
            there = await self._sets.shown(actor, name)
        for field, said in (("description", asked.description), ("metadata", asked.metadata)):
            if said is not None and said != (there.version.neutral.get(field) or None):
                # no conflict: their SDK would send that again and again
                raise Invalid(
                    f"dataset/{name} is there already, with another {field}", where=field, remedy="leave it out, or take another name"
                )
        return _dataset(there, actor)

    # ── items ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _items(self, request: Request, actor: Actor) -> Any:
        asked, page = request.query_params, _page(request)
        for name, remedy in (
            ("version", 'leave it out; older versions are told by `windlass data rows "NAME@DIGEST"`'),
            ("sourceTraceId", "leave it out: `windlass why TRACE` tells which rows were made of a trace"),
            ("sourceObservationId", "leave it out: `windlass why TRACE` tells which rows were made of a trace"),
        ):
            if asked.get(name):
                raise Invalid("items are not chosen by this here", where=name, remedy=remedy)
        if not asked.get("datasetName"):
            raise Invalid("items are told of one dataset", where="datasetName", remedy="name it")
        shown = await self._sets.shown(actor, asked["datasetName"])
        rows = await self._sets.page(actor, shown, page.number, page.limit)
        return {"data": [_told_item(row, shown) for row in rows], "meta": page.meta(shown.version.body["count"])}

    async def _item(self, request: Request, actor: Actor) -> Any:
        return _told_item(*await self._sets.found(actor, request.path_params["id"]))

    async def _set(self, request: Request, actor: Actor) -> Any:
        item: _Item = converted(await read_json(request, self._platform), _Item)
        id = item.id or uuid7()
        if len(id) > LONGEST_ID or not id.isprintable():
            raise Invalid("this is no id of an item", where="id", remedy=f"take 1 to {LONGEST_ID} characters without line breaks")
        if item.status not in (None, ACTIVE, ARCHIVED):
            raise Invalid(f"{item.status[:40]!r} is no status", where="status", remedy=f"give {ACTIVE} or {ARCHIVED}")
        shown = await self._sets.shown(actor, item.dataset_name)
        before = await self._sets.row(actor, shown, id)
        row = _row(item, id, before or {})
        if item.status == ARCHIVED:
            if before is None:
                remedy = "set it first; older versions of the dataset keep what is archived"
                raise NotFound(f"dataset/{item.dataset_name} has no item {id!r} to archive", where="id", remedy=remedy)
            await self._sets.edit(actor, shown, remove=(id,))
        else:
            if INPUT not in row and not any(f not in _OWN for f in row):
                remedy = "give its input; one that was archived is set again with all it says"
                raise Invalid("an item needs an input", where="input", remedy=remedy)
            if row != before:
                await self._sets.edit(actor, shown, set=(row,))
        return _told_item(row, await self._sets.shown(actor, item.dataset_name), item.status or ACTIVE)

    async def _remove(self, request: Request, actor: Actor) -> Any:
        row, shown = await self._sets.found(actor, request.path_params["id"])
        await self._sets.edit(actor, shown, remove=(row["key"],))
        return {"message": "Dataset item successfully deleted"}

    # ── runs ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _link(self, request: Request, actor: Actor) -> Any:
        asked: _RunItem = converted(await read_json(request, self._platform), _RunItem)
        if not asked.run_name.strip():
            raise Invalid("a run needs a name", where="runName")
        if not asked.trace_id:
            remedy = "give the trace in which the item was run"
            raise Invalid("a trace is put into a run, not an observation alone", where="traceId", remedy=remedy)
        trace, observation = whole_trace(asked.trace_id), whole_span(asked.observation_id)
        row, shown = await self._sets.found(actor, asked.dataset_item_id)
        dataset = foreign_runs.dataset_id(shown.version.name)
        run = foreign_runs.run_id(actor.project, dataset, asked.run_name)
        said = of_run(
            run, asked.run_name, dataset, row["key"], description=asked.run_description, version=asked.dataset_version,
            metadata=asked.metadata,
        )  # fmt: skip
        at = await began(self._platform, actor.project, trace) or now_ns()
        await self._sets.put_into_runs(actor, [RunItem(trace, observation, span_id(), at, said)])
        now = iso(now_ns())
        return {
            "id": span_id(), "datasetRunId": run, "datasetRunName": asked.run_name, "datasetItemId": row["key"], "traceId": trace,
            "observationId": observation, "createdAt": now, "updatedAt": now,
        }  # fmt: skip


def _page(request: Request) -> _Page:
    """Raises `Invalid`."""
    said = {name: request.query_params.get(name) or default for name, default in (("page", "1"), ("limit", str(PAGE)))}
    for name, value in said.items():
        if not _NUMBER.fullmatch(value):
            raise Invalid(f"{value[:20]!r} is no {name}", where=name, remedy="give a number from 1")
    return _Page(int(said["page"]), min(int(said["limit"]), LARGEST_PAGE))


def _row(item: _Item, id: str, before: dict[str, Any]) -> dict[str, Any]:
    """The item as a row: what it does not tell is as before."""
    said = {INPUT: item.input, EXPECTED: item.expected_output, METADATA: item.metadata}
    row = {**before, "key": id, **{field: value for field, value in said.items() if value is not None}}
    trace, observation = item.source_trace_id, item.source_observation_id
    if observation and not trace:
        raise Invalid("an observation is part of a trace", where="sourceTraceId", remedy="give its trace too")
    if trace:
        row[ORIGIN] = {"trace": whole_trace(trace), **({"span": whole_span(observation)} if observation else {})}
    return row


def _told_item(row: dict[str, Any], shown: VersionDetail, status: str = ACTIVE) -> dict[str, Any]:
    origin = row.get(ORIGIN) if isinstance(row.get(ORIGIN), dict) else {}
    at, name = iso(shown.created_ns), shown.version.name
    return {
        "id": row["key"], "status": status, "input": row[INPUT] if INPUT in row else {k: v for k, v in row.items() if k not in _OWN},
        "expectedOutput": row.get(EXPECTED), "metadata": row.get(METADATA), "sourceTraceId": (origin or {}).get("trace"),
        "sourceObservationId": (origin or {}).get("span"), "datasetId": foreign_runs.dataset_id(name), "datasetName": name,
        "createdAt": at, "updatedAt": at, "mediaReferences": [],
    }  # fmt: skip


def _dataset(shown: VersionDetail, actor: Actor) -> dict[str, Any]:
    version, at = shown.version, iso(shown.created_ns)
    return {
        "id": foreign_runs.dataset_id(version.name), "name": version.name, "description": version.neutral.get("description") or None,
        "metadata": version.neutral.get("metadata"), "projectId": actor.project, "createdAt": at, "updatedAt": at,
        "inputSchema": None, "expectedOutputSchema": None,
    }  # fmt: skip
