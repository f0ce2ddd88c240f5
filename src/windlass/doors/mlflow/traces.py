"""Traces as MLflow's SDKs say what they are as a whole, and ask for them.

    POST /api/3.0/mlflow/traces                 who, which session, tags and so on, once a trace has ended
    GET  /api/3.0/mlflow/traces/{id}, /get, /batchGet;  POST /batchGetInfos, /search
    …    /api/{2,3}.0/mlflow/traces/{id}/tags   PATCH, DELETE
    POST /api/2.0/mlflow/traces/link-prompts
    …    /api/2.0/mlflow-artifacts/artifacts/…/traces.json    PUT and GET: spans as a file, of SDKs that send them so

What is said becomes spans of the trace, and goes the way of all OTLP.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from starlette.routing import Route

from windlass.core.actor import Actor
from windlass.core.errors import Invalid, NotFound
from windlass.core.filter import Node, Not, Term, all_of, any_of, printed
from windlass.core.json_text import json_said
from windlass.core.operations.traces import TEXT, TRACE, TRACES, TextShow, Trace, TraceQuery, TraceShow, TraceSummary
from windlass.core.span import StoredSpan, make_whole
from windlass.doors.mlflow.door import V2, V3, Asked, Door, cursor_in, listed, number_in, text_in
from windlass.doors.otlp.senders import FOREIGN_PROJECT
from windlass.govern.permissions import explain, guard
from windlass.sdk.importing.mlflow_spans import from_artifact
from windlass.sdk.importing.prompt_links import LINKED, linked_in
from windlass.traces import mlflow_records as records
from windlass.traces.mlflow_experiments import DEFAULT_ID
from windlass.traces.mlflow_search import search_of

FILE = "/api/2.0/mlflow-artifacts/artifacts/{experiment_id}/traces/{trace_id}/artifacts/traces.json"
AT_ONCE, MOST = 100, 200  # traces of one answer
OF_INFO, OF_TRACE = 5, 100  # pages of 200 spans: what is said of a trace stands where it begins
_NEWEST = re.compile(r"(?:(?:trace|attributes?)\.)?`?(?:timestamp(?:_ms)?|request_time)`?\s+DESC", re.IGNORECASE)


class Traces:
    """A part of the door."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def routes(self) -> list[Route]:
        base, route = f"{V3}/traces", self._door.route
        return [
            route("POST", base, self._start, "trace", sends=True),
            route("GET", f"{base}/get", self._trace),
            route("GET", f"{base}/batchGet", self._traces),
            route("POST", f"{base}/batchGetInfos", self._infos),
            route("POST", f"{base}/search", self._search),
            route("GET", f"{base}/{{trace_id}}", self._info),
            route("POST", f"{V2}/traces/link-prompts", self._link, "trace", sends=True),
            *(route("PATCH", f"{v}/traces/{{trace_id}}/tags", self._tag, "trace", sends=True) for v in (V2, V3)),
            *(route("DELETE", f"{v}/traces/{{trace_id}}/tags", self._untag, "trace", sends=True) for v in (V2, V3)),
            route("PUT", FILE, self._put_file, "trace", sends=True),
            route("GET", FILE, self._file),
        ]

    async def _start(self, actor: Actor, asked: Asked) -> Any:
        said = asked.get("trace")
        info = said.get("trace_info") if isinstance(said, dict) else None
        tags = info.get("tags") if isinstance(info, dict) else None
        named = linked_in(str(tags.get(LINKED))) if isinstance(tags, dict) else []
        made = records.info(info, await self._door.refs(actor, named))
        assert isinstance(info, dict)  # else it was refused
        experiment = records.experiment_of(info)
        await self._door.keep(actor, made, experiment)
        trace = records.trace_hex(info["trace_id"])
        where = f"mlflow-artifacts:/{experiment or DEFAULT_ID}/traces/{records.PREFIX}{trace}/artifacts"
        tags = {**(tags or {}), "mlflow.artifactLocation": where}
        return {"trace": {"trace_info": {**info, "tags": tags | {"mlflow.trace.spansLocation": "TRACKING_STORE"}}}}

    async def _info(self, actor: Actor, asked: Asked) -> Any:
        """Who may only send is told that it is there: their SDK asks that before it says which prompts a trace used."""
        if explain(actor, "read", actor.project) is None:
            return {"trace": {"trace_info": (await self._told(actor, asked["trace_id"], OF_INFO))[0]}}
        guard(actor, "trace", actor.project)
        trace = records.trace_hex(asked["trace_id"])
        await self._door.platform.traces.found(TraceShow(trace, actor.project, limit=1))
        return {"trace": {"trace_info": {"trace_id": records.PREFIX + trace, "tags": {"mlflow.trace.spansLocation": "TRACKING_STORE"}}}}

    async def _trace(self, actor: Actor, asked: Asked) -> Any:
        return {"trace": await self._whole(actor, asked.get("trace_id"))}

    async def _traces(self, actor: Actor, asked: Asked) -> Any:
        return {"traces": await self._each(actor, asked, self._whole)}

    async def _infos(self, actor: Actor, asked: Asked) -> Any:
        async def info(actor: Actor, id: Any) -> Any:
            return (await self._told(actor, id, OF_INFO))[0]

        return {"trace_infos": await self._each(actor, asked, info)}

    async def _each(self, actor: Actor, asked: Asked, read: Callable[[Actor, Any], Awaitable[Any]]) -> list[Any]:
        """Those that are there."""
        found, ids = [], listed(asked, "trace_ids")
        if len(ids) > MOST:
            raise Invalid(f"these are {len(ids):,} traces", where="trace_ids", remedy=f"ask for at most {MOST} at once")
        for id in ids:
            try:
                found.append(await read(actor, id))
            except NotFound:
                continue
        return found

    async def _search(self, actor: Actor, asked: Asked) -> Any:
        for order in listed(asked, "order_by"):
            if not _NEWEST.fullmatch(str(order).strip()):
                remedy = "leave it out, or write timestamp_ms DESC"
                raise Invalid(f"traces come the newest first, not by {str(order)[:60]!r}", where="order_by", remedy=remedy)
        search, limit = search_of(str(asked.get("filter") or "")), number_in(asked, "max_results", AT_ONCE, MOST)
        parts = [*_located(listed(asked, "locations")), *search.parts]
        query = TraceQuery(
            actor.project, printed(all_of(parts)) if parts else "", since_ns=search.since_ns, cursor=cursor_in(asked),
            until_ns=None if search.until_ns is None else search.until_ns - 1, limit=limit,
        )  # fmt: skip
        page = await self._door.ask(TRACES, actor, query)
        told = [(await self._told(actor, one.trace_id, OF_INFO))[0] for one in page.items]
        return {"traces": told, **({"next_page_token": page.next} if page.next else {})}

    async def _told(self, actor: Actor, id: Any, pages: int) -> tuple[dict[str, Any], list[StoredSpan], bool]:
        """The info of a trace, its spans in so many pages, and whether there are more. Raises `NotFound`, `Forbidden`."""
        spans, cursor, summary = list[StoredSpan](), None, None
        for _ in range(pages):
            found: Trace = await self._door.ask(TRACE, actor, TraceShow(records.trace_hex(id), actor.project, cursor))
            spans += found.spans
            summary = summary or found.summary
            if (cursor := found.next) is None:
                break
        assert isinstance(summary, TraceSummary)
        return records.told_info(summary, spans), spans, cursor is not None

    async def _whole(self, actor: Actor, id: Any) -> dict[str, Any]:
        info, spans = await self._with_steps(actor, id)
        return {"trace_info": info, "spans": [records.told_span(span) for span in spans]}

    async def _with_steps(self, actor: Actor, id: Any) -> tuple[dict[str, Any], list[StoredSpan]]:
        """A trace's info and its steps, each with all its texts. Raises `Invalid` for a giant."""
        info, spans, more = await self._told(actor, id, OF_TRACE)
        if more:
            remedy = f"`windlass traces {id}` shows it"
            raise Invalid(f"it has more than {OF_TRACE * 200:,} spans, which are not told at once", where="trace_id", remedy=remedy)
        steps = [span for span in spans if records.is_step(span)]
        for span in steps:
            if span.cut:
                asked = [(of, TextShow(span.trace_id, span.span_id, of, actor.project)) for of in span.cut]  # type: ignore[arg-type]
                make_whole(span, {of: (await self._door.ask(TEXT, actor, query)).text for of, query in asked})
        return info, steps

    async def _tag(self, actor: Actor, asked: Asked) -> Any:
        return await self._tagged(actor, asked, text_in(asked, "value", empty=True))

    async def _untag(self, actor: Actor, asked: Asked) -> Any:
        return await self._tagged(actor, asked, None)

    async def _tagged(self, actor: Actor, asked: Asked, value: str | None) -> Any:
        trace, key = records.trace_hex(asked["trace_id"]), text_in(asked, "key")
        find = await self._door.refs(actor, linked_in(value) if value and key == LINKED else [])
        await self._door.keep(actor, [records.tag(trace, key, value, await self._door.began(actor, trace), find)])
        return {}

    async def _link(self, actor: Actor, asked: Asked) -> Any:
        trace = records.trace_hex(asked.get("trace_id"))
        named = linked_in(msgspec.json.encode(asked.get("prompt_versions") or []).decode())
        find = await self._door.refs(actor, named)
        await self._door.keep(actor, [records.prompts(trace, named, await self._door.began(actor, trace), find)])
        return {}

    async def _put_file(self, actor: Actor, asked: Asked) -> Any:
        told = asked.get("spans")
        if not isinstance(told, list) or not all(isinstance(one, dict) for one in told):
            raise Invalid("there is no list of spans", where="spans", remedy="send the traces.json that MLflow's SDK writes")
        trace, made = records.trace_hex(asked["trace_id"]), await asyncio.to_thread(_spans, told)
        if any(span.trace_id.hex() != trace for span in made):
            raise Invalid("these spans are of another trace than their file", where="spans")
        await self._door.keep(actor, made, asked["experiment_id"], linked=True)
        return {}

    async def _file(self, actor: Actor, asked: Asked) -> Any:
        _, steps = await self._with_steps(actor, asked["trace_id"])
        return {"spans": [records.told_in_file(span) for span in steps]}


def _spans(told: Sequence[Any]) -> list[Span]:
    """Raises `Invalid` for what is no span."""
    try:
        return [from_artifact({**one, "attributes": _plain(one.get("attributes") or {})}) for one in told]
    except (ValueError, TypeError, AttributeError) as e:
        raise Invalid(f"a span cannot be read: {e}", where="spans", remedy="send the traces.json that MLflow's SDK writes") from e


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes that are JSON text, as today's SDKs send them by OTLP."""
    return {key: json_said(value) if isinstance(value, str) else value for key, value in attributes.items()}


def _located(locations: Sequence[Any]) -> list[Node]:
    """Traces of these experiments; what names none is of the default."""
    field, parts = f"resource.{FOREIGN_PROJECT}", list[Node]()
    for one in locations:
        id = records.experiment_of({"trace_location": one}) if isinstance(one, dict) else ""
        if not id:
            raise Invalid("traces lie in experiments here", where="locations", remedy="give the id of an experiment")
        parts += [Term(field, id), *([Not(Term("has", field))] if id == DEFAULT_ID else [])]
    return [any_of(parts)] if parts else []
