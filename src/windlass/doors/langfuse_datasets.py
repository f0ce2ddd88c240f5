"""Datasets as Langfuse's SDKs make, fill and read them, and runs of them (`traces/foreign_runs.py`). An item is a row, and its id the key.

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
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from windlass.core.actor import Actor
from windlass.core.errors import Conflict, Invalid, NotFound
from windlass.core.ids import now_ns, span_id, uuid7
from windlass.core.operations.datasets import EDIT, ROWS, About, EditRequest, RowsQuery
from windlass.core.operations.registry import ARTIFACTS, SHOW, ArtifactQuery, RefQuery, VersionDetail
from windlass.core.operations.traces import TRACE, TraceShow
from windlass.core.ref import check_name
from windlass.doors import api
from windlass.doors.auth import headers_of
from windlass.doors.langfuse import SENDER, converted, read_json, told, whole_span, whole_trace
from windlass.doors.otlp import Intake
from windlass.doors.otlp.wire import PROTOBUF, SIGNALS
from windlass.platform import Platform
from windlass.registry.origins import FIELD as ORIGIN
from windlass.traces import foreign_runs

ACTIVE, ARCHIVED = "ACTIVE", "ARCHIVED"
PAGE, LARGEST_PAGE, LONGEST_ID = 50, 100, 255
REMEMBERED = 256  # pages whose end is known, so that the next begins there
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
        self._ends: OrderedDict[tuple[str, str, int, int], str] = OrderedDict()  # project, exact ref, limit, page → its last key

    def routes(self) -> list[Route]:
        listed: tuple[tuple[str, str, Callable[[Request, Actor], Awaitable[Any]]], ...] = (
            ("GET", "projects", self._projects), ("GET", "v2/datasets", self._all), ("POST", "v2/datasets", self._make),
            ("GET", "v2/datasets/{name:path}", self._one), ("GET", "dataset-items", self._items), ("POST", "dataset-items", self._set),
            ("GET", "dataset-items/{id:path}", self._item), ("DELETE", "dataset-items/{id:path}", self._remove),
            ("POST", "dataset-run-items", self._link),
        )  # fmt: skip
        return [
            *(Route(f"{SENDER.base}/{path}", api.answering(self._answering(ask)), methods=[method]) for method, path, ask in listed),
            *(Route(f"/project/{{project}}/{path}", _leading(to), methods=["GET"]) for path, to in PRINTED.items()),
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
        page, names = _page(request), await self._names(actor)
        some = names[(page.number - 1) * page.limit : page.number * page.limit]
        return {"data": [_dataset(await self._shown(actor, name), actor) for name in some], "meta": page.meta(len(names))}

    async def _one(self, request: Request, actor: Actor) -> Any:
        return _dataset(await self._shown(actor, request.path_params["name"]), actor)

    async def _make(self, request: Request, actor: Actor) -> Any:
        asked: _Dataset = converted(await read_json(request, self._platform), _Dataset)
        for schema, name in ((asked.input_schema, "inputSchema"), (asked.expected_output_schema, "expectedOutputSchema")):
            if schema is not None:
                raise Invalid(
                    "rows are not held against a schema here", where=name, remedy="leave it out, and check items before they are sent"
                )
        name, about = check_name(asked.name, what="name of a dataset"), About(asked.description or "", asked.metadata)
        try:
            there = await self._shown(actor, name)
        except NotFound:
            new = EditRequest(f"dataset/{name}", project=actor.project, about=about, message="made by Langfuse's SDK")
            await self._platform.ask(EDIT, actor, new)
            there = await self._shown(actor, name)
        for field, said in (("description", asked.description), ("metadata", asked.metadata)):
            if said is not None and said != (there.version.neutral.get(field) or None):
                # no conflict: their SDK would send that again and again
                raise Invalid(
                    f"dataset/{name} is there already, with another {field}", where=field, remedy="leave it out, or take another name"
                )
        return _dataset(there, actor)

    async def _shown(self, actor: Actor, name: str) -> VersionDetail:
        """What `main` points to. Raises `NotFound`, `Invalid`, `Forbidden`."""
        found: VersionDetail = await self._platform.ask(
            SHOW, actor, RefQuery(f"dataset/{check_name(name, what='name of a dataset')}", actor.project)
        )
        return found

    async def _names(self, actor: Actor) -> list[str]:
        names, cursor = list[str](), None
        while True:
            page = await self._platform.ask(ARTIFACTS, actor, ArtifactQuery(actor.project, "dataset", cursor=cursor, limit=200))
            names += [one.name for one in page.items]
            if not (cursor := page.next):
                return names

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
        shown = await self._shown(actor, asked["datasetName"])
        ref = str(shown.version.ref)
        rows: list[dict[str, Any]] = []
        if (page.number - 1) * page.limit < shown.version.body["count"]:
            cursor = await self._before(actor, ref, page)
            told_ = await self._platform.ask(ROWS, actor, RowsQuery(ref, actor.project, cursor=cursor, limit=page.limit))
            rows = list(told_.items)
            self._remember(actor, ref, page, told_.next)
        return {"data": [_told_item(row, shown) for row in rows], "meta": page.meta(shown.version.body["count"])}

    async def _before(self, actor: Actor, ref: str, page: _Page) -> str | None:
        """The last key of the page before: as remembered, or by reading on from the nearest that is."""
        number = page.number - 1
        while number and (actor.project, ref, page.limit, number) not in self._ends:
            number -= 1
        cursor = self._ends.get((actor.project, ref, page.limit, number))
        for passed in range(number + 1, page.number):
            read = await self._platform.ask(ROWS, actor, RowsQuery(ref, actor.project, cursor=cursor, limit=page.limit))
            cursor = read.next
            self._remember(actor, ref, _Page(passed, page.limit), cursor)
        return cursor

    def _remember(self, actor: Actor, ref: str, page: _Page, end: str | None) -> None:
        if end is not None:
            self._ends[actor.project, ref, page.limit, page.number] = end
        while len(self._ends) > REMEMBERED:
            self._ends.popitem(last=False)

    async def _item(self, request: Request, actor: Actor) -> Any:
        return _told_item(*await self._found(actor, request.path_params["id"]))

    async def _set(self, request: Request, actor: Actor) -> Any:
        item: _Item = converted(await read_json(request, self._platform), _Item)
        id = item.id or uuid7()
        if len(id) > LONGEST_ID or not id.isprintable():
            raise Invalid("this is no id of an item", where="id", remedy=f"take 1 to {LONGEST_ID} characters without line breaks")
        if item.status not in (None, ACTIVE, ARCHIVED):
            raise Invalid(f"{item.status[:40]!r} is no status", where="status", remedy=f"give {ACTIVE} or {ARCHIVED}")
        shown = await self._shown(actor, item.dataset_name)
        before = await self._row(actor, shown, id)
        row = _row(item, id, before or {})
        if item.status == ARCHIVED:
            if before is None:
                remedy = "set it first; older versions of the dataset keep what is archived"
                raise NotFound(f"dataset/{item.dataset_name} has no item {id!r} to archive", where="id", remedy=remedy)
            await self._edit(actor, shown, remove=(id,))
        else:
            if INPUT not in row and not any(f not in _OWN for f in row):
                remedy = "give its input; one that was archived is set again with all it says"
                raise Invalid("an item needs an input", where="input", remedy=remedy)
            if row != before:
                await self._edit(actor, shown, set=(row,))
        return _told_item(row, await self._shown(actor, item.dataset_name), item.status or ACTIVE)

    async def _remove(self, request: Request, actor: Actor) -> Any:
        row, shown = await self._found(actor, request.path_params["id"])
        await self._edit(actor, shown, remove=(row["key"],))
        return {"message": "Dataset item successfully deleted"}

    async def _edit(self, actor: Actor, on: VersionDetail, set: tuple[Any, ...] = (), remove: tuple[str, ...] = ()) -> None:
        """`on`: what was read before. Raises `Conflict` where somebody changed the row since."""
        await self._platform.ask(
            EDIT, actor,
            EditRequest(
                f"dataset/{on.version.name}", set, remove, actor.project, expected=on.version.digest,
                message="by Langfuse's SDK", drift=True,
            ),
        )  # fmt: skip

    async def _row(self, actor: Actor, shown: VersionDetail, key: str) -> dict[str, Any] | None:
        found = await self._platform.ask(ROWS, actor, RowsQuery(str(shown.version.ref), actor.project, key=key))
        return found.items[0] if found.items else None

    async def _found(self, actor: Actor, id: str) -> tuple[dict[str, Any], VersionDetail]:
        """The item of this id in whichever dataset has it. Raises `NotFound`, and `Conflict` where several do."""
        found = []
        for name in await self._names(actor):
            shown = await self._shown(actor, name)
            if (row := await self._row(actor, shown, id)) is not None:
                found.append((row, shown))
        if not found:
            raise NotFound(f"no dataset of {actor.project} has an item {id[:LONGEST_ID]!r}", where="id", remedy="ids are keys of rows")
        if len(found) > 1:
            names = ", ".join(shown.version.name for _, shown in found[:5])
            raise Conflict(f"several datasets have an item {id!r}: {names}", where="id", remedy="give items ids of their own")
        return found[0]

    # ── runs ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _link(self, request: Request, actor: Actor) -> Any:
        asked: _RunItem = converted(await read_json(request, self._platform), _RunItem)
        if not asked.run_name.strip():
            raise Invalid("a run needs a name", where="runName")
        if not asked.trace_id:
            remedy = "give the trace in which the item was run"
            raise Invalid("a trace is put into a run, not an observation alone", where="traceId", remedy=remedy)
        trace, observation = whole_trace(asked.trace_id), whole_span(asked.observation_id)
        row, shown = await self._found(actor, asked.dataset_item_id)
        dataset = foreign_runs.dataset_id(shown.version.name)
        run = foreign_runs.run_id(actor.project, dataset, asked.run_name)
        said = {
            foreign_runs.RUN_ID: run, foreign_runs.RUN_NAME: asked.run_name, foreign_runs.DATASET: dataset, foreign_runs.ITEM: row["key"],
            foreign_runs.DESCRIPTION: asked.run_description, foreign_runs.VERSION: asked.dataset_version,
            foreign_runs.METADATA: None if asked.metadata is None else msgspec.json.encode(asked.metadata).decode(),
        }  # fmt: skip
        at = await self._began(actor, trace)
        sent = _span(trace, observation, at, {name: value for name, value in said.items() if value is not None})
        with self._intake.share() as share:
            share.add(len(sent))
            await self._intake.take(SIGNALS["traces"], actor.project, sent, PROTOBUF, "")
        now = _time(now_ns())
        return {
            "id": span_id(), "datasetRunId": run, "datasetRunName": asked.run_name, "datasetItemId": row["key"], "traceId": trace,
            "observationId": observation, "createdAt": now, "updatedAt": now,
        }  # fmt: skip

    async def _began(self, actor: Actor, trace: str) -> int:
        """When the trace did, so that what puts it into a run makes it no longer; now where nothing of it has come."""
        try:
            found = await self._platform.ask(TRACE, actor, TraceShow(trace, actor.project, limit=1))
        except NotFound:
            return now_ns()
        return int(found.summary.start_ns)


def _leading(to: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return RedirectResponse(to.format(**{name: quote(value, safe="") for name, value in request.path_params.items()}))

    return answer


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
    at, name = _time(shown.created_ns), shown.version.name
    return {
        "id": row["key"], "status": status, "input": row[INPUT] if INPUT in row else {k: v for k, v in row.items() if k not in _OWN},
        "expectedOutput": row.get(EXPECTED), "metadata": row.get(METADATA), "sourceTraceId": (origin or {}).get("trace"),
        "sourceObservationId": (origin or {}).get("span"), "datasetId": foreign_runs.dataset_id(name), "datasetName": name,
        "createdAt": at, "updatedAt": at, "mediaReferences": [],
    }  # fmt: skip


def _dataset(shown: VersionDetail, actor: Actor) -> dict[str, Any]:
    version, at = shown.version, _time(shown.created_ns)
    return {
        "id": foreign_runs.dataset_id(version.name), "name": version.name, "description": version.neutral.get("description") or None,
        "metadata": version.neutral.get("metadata"), "projectId": actor.project, "createdAt": at, "updatedAt": at,
        "inputSchema": None, "expectedOutputSchema": None,
    }  # fmt: skip


def _span(trace: str, parent: str | None, at: int, said: dict[str, str]) -> bytes:
    """What puts a trace into a run, as OTLP."""
    made = ExportTraceServiceRequest()
    of = made.resource_spans.add()
    of.resource.attributes.add(key="service.name", value=AnyValue(string_value="langfuse"))
    span = of.scope_spans.add().spans.add(
        trace_id=bytes.fromhex(trace), span_id=bytes.fromhex(span_id()), parent_span_id=bytes.fromhex(parent or ""),
        name="dataset run item", start_time_unix_nano=at, end_time_unix_nano=at,
    )  # fmt: skip
    for name, value in said.items():
        span.attributes.add(key=name, value=AnyValue(string_value=value))
    return made.SerializeToString()


def _time(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
