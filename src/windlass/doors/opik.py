"""Traces, spans and scores as Opik's SDK sends them to its own interface, under `/api`. What they mean is in `traces/opik_spans.py`.

    POST  /api/v1/private/{traces,spans}[/batch]    whole ones, or as they begin: 204; 400 where some are not kept, which says which
    PATCH /api/v1/private/{traces,spans}/{id}       what is new of one, before or after it is told: 204
    GET   /api/v1/private/traces/{id}               one by its id, with its scores
    PUT   /api/v1/private/{traces,spans}/feedback-scores, and traces/threads/feedback-scores

They become OTLP and go the way of all OTLP: masked, in the journal before they are acknowledged, in the ledger. A row is what was told of
it last, whole; so what an update leaves out is put to it here: from what came of late, else from what is kept. What they call a thread is
a session.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from windlass.core.actor import Actor
from windlass.core.errors import Invalid, NotFound, Unavailable, WindlassError
from windlass.core.operations.traces import GIVE_SCORE, TRACE, TRACES, ScoreRequest, TraceQuery, TraceShow
from windlass.core.span import StoredSpan
from windlass.doors import api
from windlass.doors.auth import headers_of
from windlass.doors.foreign_datasets import began
from windlass.doors.opik_wire import SENDER, Endpoint, Heard, Partly, Told, aside, heard, made_whole, number_of, refusal, serving
from windlass.doors.otlp import Intake
from windlass.doors.otlp.intake import wait_after
from windlass.doors.otlp.wire import PROTOBUF, SIGNALS
from windlass.platform import Platform
from windlass.sdk.importing import spans
from windlass.store.spans import RecentQuery
from windlass.traces import opik_spans

REMEMBERED = 32_000_000  # bytes, of what came of late
LATE_S = 300.0  # for how long; then it is read where it is kept, from which it may have been erased
SPANS, TRACES_ = "spans", "traces"
_AGAIN_S = 2

TOGETHER = 500  # that are looked for in one question

_Read = dict[tuple[str, str], StoredSpan]  # by trace and id, as we have them


class _Known(NamedTuple):
    """What was told of one: as a whole, and by updates, which are newer."""

    whole: Told
    updates: Told
    size: int
    at: float  # seconds of the process's clock


class Opik:
    """The door.

    Args:
        platform: gives the scores, and has what came before.
        intake: knows who sends, and keeps it.
    """

    def __init__(self, platform: Platform, intake: Intake) -> None:
        self._platform = platform
        self._intake = intake
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()  # by project and id
        self._bytes = 0
        self._since = time.monotonic()  # all that came since then is remembered
        self._alone = platform.settings.workers == 1  # else others take updates too, and what is remembered here may be old
        self._locks = defaultdict[str, asyncio.Lock](asyncio.Lock)  # by project: of two updates of one, each puts to what the other left

    def routes(self) -> list[Route]:
        base, listed = SENDER.base, list[Route]()
        for what in (TRACES_, SPANS):
            listed += [
                Route(f"{base}/{what}/batch", self._taking(self._batch(what), what), methods=["POST"]),
                Route(f"{base}/{what}", self._taking(self._single(what)), methods=["POST"]),
                Route(f"{base}/{what}/feedback-scores", self._taking(self._scores(what), "scores"), methods=["PUT"]),
                Route(f"{base}/{what}/{{id:uuid}}", self._taking(self._update(what)), methods=["PATCH"]),
            ]
        return [
            *listed,
            Route(f"{base}/traces/{{id:uuid}}", serving(self._intake, self._show, needs="read"), methods=["GET"]),
            Route(f"{base}/traces/threads/feedback-scores", self._taking(self._scores("threads"), "scores"), methods=["PUT"]),
        ]

    def _taking(self, endpoint: Endpoint, listed: str = "") -> Callable[[Request], Awaitable[Response]]:
        """The endpoint with who sends and what; its refusals counted as those of OTLP are."""

        async def answer(request: Request) -> Response:
            self._intake.came("traces")
            actor = None
            try:
                actor = await self._intake.admit(SENDER, headers_of(request.scope))
                with self._intake.share() as share:
                    await endpoint(await heard(request, actor, share, self._intake.limit, listed))
            except Partly as e:  # counted one by one
                return refusal(e)
            except Exception as e:
                error = e if isinstance(e, WindlassError) else api.defect(request.url.path)
                self._intake.turned_away("traces", error, actor)
                answered = refusal(error)
                if (wait := wait_after(error)) is not None:
                    answered.headers.setdefault("retry-after", str(wait))
                return answered
            return Response(status_code=204)

        return answer

    def _batch(self, what: str) -> Endpoint:
        async def take(heard: Heard) -> None:
            items = heard.said.get(what)
            if not isinstance(items, list):
                raise Invalid(f"there is no list of {what}", where=what, remedy="send what Opik's SDK does")
            await self._keep(heard.actor, what, items, heard.size)

        return take

    def _single(self, what: str) -> Endpoint:
        async def take(heard: Heard) -> None:
            await self._keep(heard.actor, what, [heard.said], heard.size)

        return take

    def _update(self, what: str) -> Endpoint:
        async def take(heard: Heard) -> None:
            actor, said, id = heard.actor, heard.said, str(heard.request.path_params["id"])
            async with self._locks[actor.project]:
                known = await self._before(actor, what, id, said)
                whole, updates = (known.whole, known.updates) if known else ({}, {})
                made = _updated({**whole, **updates}, said) | {"id": id}
                named = {*updates, *said, *(("tags",) if _TAGS & said.keys() else ())} - _TAGS
                told = {field: made[field] for field in named if field in made}
                sent, _ = await aside(heard.size, _built, what, [made])
                await self._take(actor, sent)
                self._remember(actor, id, _Known(whole, told, _size(whole, told), time.monotonic()))

        return take

    # ── keeping ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _keep(self, actor: Actor, what: str, items: list[Any], size: int) -> None:
        """Raises `Partly` naming those that are no traces or spans; the others are kept."""
        checked, wrong = await aside(size, _checked, what, items)
        refused = len(wrong)
        async with self._locks[actor.project]:
            news = dict[str, tuple[Told, Told]]()
            read = await self._recent(actor, what, checked) if self._may_lack() else _Read()
            for number, id, item in checked:
                try:
                    before = news.get(id)
                    if before is None:
                        found = self._lately(actor, id) or _kept(id, read.get(_where(what, id, item)))
                        before = (found.whole, found.updates) if found else ({}, {})
                    news[id] = (_newest(before[0], item), before[1])
                except Invalid as e:
                    wrong[number] = f"{what}[{number}]: {e}"
                    refused += 1
            if refused:
                self._intake.refuse("traces", actor.project, "opik", "malformed", refused)
            said = [wrong[number] for number in sorted(wrong)]
            if news:
                sent, sizes = await aside(size, _built, what, [{**whole, **updates} for whole, updates in news.values()])
                said += await self._take(actor, sent)
            for (id, (whole, updates)), many in zip(news.items(), sizes if news else (), strict=True):
                self._remember(actor, id, _Known(whole, updates, many, time.monotonic()))
        if said:
            raise Partly(said, where="body")

    async def _take(self, actor: Actor, sent: bytes) -> list[str]:
        """What is not kept of them. Raises `Unavailable`."""
        answer = ExportTraceServiceResponse.FromString(await self._intake.take(SIGNALS["traces"], actor.project, sent, PROTOBUF, ""))
        return [answer.partial_success.error_message] if answer.partial_success.rejected_spans else []

    # ── what came before ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _before(self, actor: Actor, what: str, id: str, said: Told) -> _Known | None:
        """What was told of one: of late, or as it is kept. Raises `Invalid` where it is too long to be put together again."""
        if (known := self._lately(actor, id)) is not None:
            return known
        if what == SPANS and not said.get("trace_id"):
            raise Invalid("a span is of a trace", where="trace_id", remedy="give its id")
        return _kept(id, await self._one(actor, *_where(what, id, said)))

    async def _one(self, actor: Actor, trace: str, span: str) -> StoredSpan | None:
        try:
            return (await self._platform.traces.found(TraceShow(trace, actor.project, limit=1, span=span))).spans[0]
        except NotFound:
            return None

    async def _recent(self, actor: Actor, what: str, checked: list[tuple[int, str, Told]]) -> _Read:
        """Those of them that came of late and are not remembered: many at once, since most did not come."""
        lack = list({_where(what, id, item): None for _, id, item in checked if self._lately(actor, id) is None})
        read = _Read()
        for some in (lack[n : n + TOGETHER] for n in range(0, len(lack), TOGETHER)):
            for found in await self._platform.traces.recent(RecentQuery(actor.project, tuple(some))):
                of = found.trace_id, found.span_id
                if whole := await self._one(actor, *of) if found.cut else found:  # it was shortened for the sake of the others
                    read[of] = whole
        return read

    async def _show(self, heard: Heard) -> Told:
        """A trace as it was told. Raises `NotFound`, also for one that came another way."""
        id = str(heard.request.path_params["id"])
        trace, span = opik_spans.trace_hex(id), opik_spans.span_hex(id)
        found = await self._platform.ask(TRACE, heard.actor, TraceShow(trace, heard.actor.project, limit=1, span=span))
        return opik_spans.trace_told(await made_whole(self._platform, heard.actor, found.spans[0]), found.scores)

    async def began(self, actor: Actor, id: str) -> int | None:
        """When a trace did, in nanoseconds; None where it has not come."""
        if (known := self._lately(actor, id)) is not None and (at := {**known.whole, **known.updates}.get("start_time")):
            return spans.ns(at, "start_time")
        return await began(self._platform, actor.project, opik_spans.trace_hex(id))

    def _lately(self, actor: Actor, id: str) -> _Known | None:
        known = self._known.get((actor.project, id)) if self._alone else None
        return known if known is not None and time.monotonic() - known.at < LATE_S else None

    def _may_lack(self) -> bool:
        """Whether something came of late that is not remembered. Else whole ones need not be looked for, which is most of what is sent."""
        return not self._alone or time.monotonic() - self._since < LATE_S

    def _remember(self, actor: Actor, id: str, known: _Known) -> None:
        if not self._alone:
            return
        key = (actor.project, id)
        if (old := self._known.pop(key, None)) is not None:
            self._bytes -= old.size
        self._known[key] = known
        self._bytes += known.size
        while self._known and (self._bytes > REMEMBERED or known.at - next(iter(self._known.values())).at > LATE_S):
            gone = self._known.popitem(last=False)[1]
            self._bytes -= gone.size
            self._since = max(self._since, gone.at)

    # ── scores ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _scores(self, what: str) -> Endpoint:
        async def take(heard: Heard) -> None:
            actor, items = heard.actor, heard.said.get("scores")
            if not isinstance(items, list):
                raise Invalid("there is no list of scores", where="scores", remedy="send what Opik's SDK does")
            wrong = []
            for number, item in enumerate(items):
                try:
                    await self._platform.ask(GIVE_SCORE, actor, await self._score(actor, what, item))
                except Unavailable:
                    raise  # all of them may be sent again
                except WindlassError as e:
                    wrong.append(f"scores[{number}]: {e}")
            if wrong:
                raise Partly(wrong, where="scores")

        return take

    async def _score(self, actor: Actor, what: str, item: Any) -> ScoreRequest:
        """Raises `Invalid`, and `Unavailable` where what it is about has not come."""
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise Invalid("a score has a name", where="name")
        comment = "\n\n".join(str(item[field]) for field in ("category_name", "reason") if item.get(field)) or None
        given = ScoreRequest(item["name"].strip(), number_of(item), comment, project=actor.project)
        if what == "threads":
            given.session = str(item.get("thread_id") or item.get("id") or "")
            if (
                given.session
                and not (await self._platform.traces.of_session(TraceQuery(actor.project, session=given.session, limit=1))).items
            ):
                raise _not_yet(f"the thread {given.session[:100]!r}")
            return given
        id = opik_spans.uuid_of(item.get("id"), "id")
        given.trace = opik_spans.trace_hex(id) if what == TRACES_ else await self._trace_of(actor, id)
        given.span = opik_spans.span_hex(id) if what == SPANS else None
        return given

    async def _trace_of(self, actor: Actor, id: str) -> str:
        """Of a span. Raises `Unavailable` where it has not come, `Forbidden` where that would have to be looked up and the key may not."""
        if (known := self._lately(actor, id)) is not None:
            return opik_spans.trace_hex(opik_spans.uuid_of({**known.whole, **known.updates}.get("trace_id"), "trace_id"))
        found = await self._platform.ask(TRACES, actor, TraceQuery(actor.project, f'attr.{spans.FOREIGN_SPAN}:"{id}"', limit=1))
        if not found.items:
            raise _not_yet(f"the span {id}")
        return str(found.items[0].trace_id)


def _where(what: str, id: str, said: Told) -> tuple[str, str]:
    """Trace and id that a trace or span of theirs has here. Raises `Invalid`."""
    trace = opik_spans.uuid_of(said["trace_id"], "trace_id") if what == SPANS else id
    return opik_spans.trace_hex(trace), opik_spans.span_hex(id)


def _kept(id: str, one: StoredSpan | None) -> _Known | None:
    """What was told of one, as it is kept. Raises `Invalid` where it is too long to be put together again."""
    if one is not None and one.cut:
        raise Invalid(f"{id} is too long to be updated so late", where="body", remedy="send it whole")
    return None if one is None else _Known(opik_spans.fields(one), {}, 0, 0.0)


def _checked(what: str, items: list[Any]) -> tuple[list[tuple[int, str, Told]], dict[int, str]]:
    """Those that are traces or spans, by their number and id, and what is wrong with the others."""
    found, wrong = list[tuple[int, str, Told]](), dict[int, str]()
    for number, item in enumerate(items):
        try:
            if not isinstance(item, dict):
                raise Invalid("it is no object")
            item = {field: value for field, value in item.items() if value is not None}
            id = opik_spans.uuid_of(item.get("id"), "id")
            if not item.get("start_time"):
                raise Invalid("there is no time", where="start_time", remedy="give the time at which it began")
            opik_spans.step(item, is_span=what == SPANS)
            found.append((number, id, item))
        except Invalid as e:
            wrong[number] = f"{what}[{number}]: {e}"
    return found, wrong


def _built(what: str, whole: list[Told]) -> tuple[bytes, list[int]]:
    """They as OTLP, and how many bytes each takes where it is remembered."""
    steps = [(str(one.get("project_name") or ""), opik_spans.step(one, is_span=what == SPANS)) for one in whole]
    return opik_spans.request(steps).SerializeToString(), [_size(one, {}) for one in whole]


def _size(whole: Told, updates: Told) -> int:
    return len(msgspec.json.encode((whole, updates)))


_TAGS = {"tags_to_add", "tags_to_remove"}


def _updated(before: Mapping[str, Any], said: Told) -> Told:
    """What is known with an update put to it; what it leaves out, or says nothing of, is as before."""
    made = {**before, **{field: value for field, value in said.items() if value is not None and field not in _TAGS}}
    added, removed = (opik_spans.tags_in(said, name) for name in ("tags_to_add", "tags_to_remove"))
    if added or removed:
        tags = [*opik_spans.tags_in(made, "tags"), *sorted(added)]
        made["tags"] = [tag for tag in dict.fromkeys(tags) if tag not in removed]
    return made


def _newest(before: Told, said: Told) -> Told:
    """Of what is told twice, as a whole each time, what was told last; a beginning never replaces an end."""
    if not before:
        return said
    begun = bool(before.get("end_time")) and not said.get("end_time")
    older = begun or str(before.get("last_updated_at") or "") > str(said.get("last_updated_at") or "")
    return {**said, **before} if older else {**before, **said}


def _not_yet(what: str) -> Unavailable:
    return Unavailable(f"{what} has not come", where="scores", remedy="send the score again once it has", retry_after_s=_AGAIN_S)
