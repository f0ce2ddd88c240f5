"""Datasets as others' SDKs have them: an item is a row and its id the key, each change a version, and a run the traces that name it
(`core/foreign_runs.py`). What Langfuse's door and Opik's do alike; what they say on the wire is theirs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core import foreign_runs
from windlass.core.actor import Actor
from windlass.core.errors import Conflict, NotFound
from windlass.core.operations.batches import ANSWERED
from windlass.core.operations.datasets import EDIT, ROWS, About, Edited, EditRequest, RowsQuery
from windlass.core.operations.registry import ARTIFACTS, SHOW, ArtifactQuery, RefQuery, VersionDetail
from windlass.core.operations.traces import TraceShow
from windlass.core.ref import check_name
from windlass.doors.otlp import Intake
from windlass.doors.otlp.wire import PROTOBUF, SIGNALS
from windlass.platform import Platform

LONGEST_ID = 255
MOST = 200  # rows of one answer of ours
REMEMBERED = 256  # pages whose end is known, so that the next begins there
ITEM = "dataset run item"  # the name of a span that puts its trace into a run

Row = dict[str, Any]


class RunItem(NamedTuple):
    """A trace that is an item of a run. `at_ns` is when the trace began, so that what puts it there makes it no longer; `span` the id of
    what says so, the same for the same again."""

    trace: str
    parent: str | None
    span: str
    at_ns: int
    said: Mapping[str, str | None]


class ForeignDatasets:
    """Args:
    platform: has the datasets.
    intake: takes the spans that put a trace into a run.
    product: whose SDK it is, as `Langfuse`.
    """

    def __init__(self, platform: Platform, intake: Intake, product: str) -> None:
        self._platform = platform
        self._intake = intake
        self._product = product
        self._ends: OrderedDict[tuple[str, str, int, int], str] = OrderedDict()  # project, exact ref, size, page → its last key

    async def shown(self, actor: Actor, name: str, at: str = "") -> VersionDetail:
        """What `main` points to, or the version of this digest. Raises `NotFound`, `Invalid`, `Forbidden`."""
        ref = f"dataset/{check_name(name, what='name of a dataset')}" + (f"@{at}" if at else "")
        found: VersionDetail = await self._platform.ask(SHOW, actor, RefQuery(ref, actor.project))
        return found

    async def names(self, actor: Actor) -> list[str]:
        names, cursor = list[str](), None
        while True:
            page = await self._platform.ask(ARTIFACTS, actor, ArtifactQuery(actor.project, "dataset", cursor=cursor, limit=MOST))
            names += [one.name for one in page.items]
            if not (cursor := page.next):
                return names

    async def make(self, actor: Actor, name: str, description: str, metadata: Any = None) -> None:
        """A dataset without rows. Raises `Conflict` where it is there."""
        about = About(description, metadata)
        new = EditRequest(f"dataset/{name}", project=actor.project, about=about, message=f"made by {self._product}'s SDK")
        await self._platform.ask(EDIT, actor, new)

    async def page(self, actor: Actor, shown: VersionDetail, number: int, size: int) -> list[Row]:
        """Rows in the order of their keys; pages are numbered from 1."""
        ref = str(shown.version.ref)
        if (number - 1) * size >= shown.version.body["count"]:
            return []
        known = number - 1
        while known and (actor.project, ref, size, known) not in self._ends:
            known -= 1
        cursor, rows = self._ends.get((actor.project, ref, size, known)), list[Row]()
        for passed in range(known + 1, number + 1):  # read on from the nearest page whose end is known
            rows, cursor = await self.after(actor, ref, cursor, size)
            if cursor is not None:
                self._ends[actor.project, ref, size, passed] = cursor
        while len(self._ends) > REMEMBERED:
            self._ends.popitem(last=False)
        return rows

    async def after(self, actor: Actor, ref: str, cursor: str | None, most: int) -> tuple[list[Row], str | None]:
        """So many rows after a cursor, and the cursor of the next; None at the end."""
        rows = list[Row]()
        while len(rows) < most:
            limit = min(MOST, most - len(rows))
            told = await self._platform.ask(ROWS, actor, RowsQuery(ref, actor.project, cursor=cursor, limit=limit))
            rows += told.items
            if (cursor := told.next) is None:
                break
        return rows, cursor

    async def row(self, actor: Actor, shown: VersionDetail, key: str) -> Row | None:
        found = await self._platform.ask(ROWS, actor, RowsQuery(str(shown.version.ref), actor.project, key=key))
        return found.items[0] if found.items else None

    async def found(self, actor: Actor, id: str) -> tuple[Row, VersionDetail]:
        """The item of this id in whichever dataset has it. Raises `NotFound`, and `Conflict` where several do."""
        found = []
        for name in await self.names(actor):
            shown = await self.shown(actor, name)
            if any(link.role == ANSWERED for link in shown.version.links):
                continue  # rows of a batch have the keys of the items that they answer
            if (row := await self.row(actor, shown, id)) is not None:
                found.append((row, shown))
        if not found:
            raise NotFound(f"no dataset of {actor.project} has an item {id[:LONGEST_ID]!r}", where="id", remedy="ids are keys of rows")
        if len(found) > 1:
            names = ", ".join(shown.version.name for _, shown in found[:5])
            raise Conflict(f"several datasets have an item {id!r}: {names}", where="id", remedy="give items ids of their own")
        return found[0]

    async def edit(
        self, actor: Actor, on: VersionDetail, set: Iterable[Row] = (), remove: Iterable[str] = (), whole: bool = False
    ) -> Edited:  # fmt: skip
        """`on`: what was read before. Raises `Conflict` where somebody changed one of these rows since, unless they are set `whole`: then
        nothing of what was read is in them."""
        asked = EditRequest(
            f"dataset/{on.version.name}", tuple(set), tuple(remove), actor.project, expected=None if whole else on.version.digest,
            message=f"by {self._product}'s SDK", drift=True,
        )  # fmt: skip
        edited: Edited = await self._platform.ask(EDIT, actor, asked)
        return edited

    async def put_into_runs(self, actor: Actor, items: Iterable[RunItem], name: str = ITEM) -> None:
        """Each as a span of its trace, called so, on disk when this returns. Raises `Busy`, `Unavailable`."""
        made = ExportTraceServiceRequest()
        of = made.resource_spans.add()
        of.resource.attributes.add(key="service.name", value=AnyValue(string_value=self._product.lower()))
        scope = of.scope_spans.add()
        for item in items:
            span = scope.spans.add(
                trace_id=bytes.fromhex(item.trace), span_id=bytes.fromhex(item.span), parent_span_id=bytes.fromhex(item.parent or ""),
                name=name, start_time_unix_nano=item.at_ns, end_time_unix_nano=item.at_ns,
            )  # fmt: skip
            for name, value in item.said.items():
                if value is not None:
                    span.attributes.add(key=name, value=AnyValue(string_value=value))
        sent = made.SerializeToString()
        with self._intake.share() as share:
            share.add(len(sent))
            await self._intake.take(SIGNALS["traces"], actor.project, sent, PROTOBUF, "")


def iso(at_ns: int) -> str:
    """A time as both tell theirs."""
    return datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def leading(to: str) -> Callable[[Request], Awaitable[Response]]:
    """From an address that their SDK prints to a page of ours; parts of the one may be in the other."""

    async def answer(request: Request) -> Response:
        return RedirectResponse(to.format(**{name: quote(value, safe="") for name, value in request.path_params.items()}))

    return answer


async def began(platform: Platform, project: str, trace: str) -> int | None:
    """When a trace did, in nanoseconds, so that what is said of it stands at its beginning and makes it no longer; None where nothing of
    it has come. Asks for no leave: who may send may say something of a trace."""
    try:
        return (await platform.traces.found(TraceShow(trace, project, limit=1))).summary.start_ns
    except NotFound:
        return None


def of_run(run: str, name: str, dataset: str, key: str, **more: Any) -> dict[str, str | None]:
    """What an item of a run says. `more`: `description`, `version` of the dataset, `metadata`, which is told as JSON."""
    metadata = more.get("metadata")
    return {
        foreign_runs.RUN_ID: run, foreign_runs.RUN_NAME: name, foreign_runs.DATASET: dataset, foreign_runs.ITEM: key,
        foreign_runs.DESCRIPTION: more.get("description"), foreign_runs.VERSION: more.get("version"),
        foreign_runs.METADATA: None if metadata is None else msgspec.json.encode(metadata).decode(),
    }  # fmt: skip
