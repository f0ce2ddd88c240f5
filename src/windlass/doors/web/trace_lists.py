"""The list of traces by a filter, what those that fit say in each field, and what may stand where somebody types."""

from __future__ import annotations

import time
from typing import Any, Literal, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.errors import Invalid
from windlass.core.filter import Node, Not, Term, all_of, fields_in, printed
from windlass.core.filter_completing import Suggestion, completing, fallback
from windlass.core.filter_reading import conditions_of, read
from windlass.core.operations.traces import FIELDS, TRACES, FieldQuery, FieldValue, TracePage, TraceQuery
from windlass.doors.web.datasets import names_of
from windlass.doors.web.render import Asker, Handler, query, respond, wants_json
from windlass.doors.web.views import ViewsShown, shown
from windlass.store.span_conditions import LONG

LATEST = (1 << 63) - 1
HOURS = {"1h": 1, "24h": 24, "7d": 168, "30d": 720}
COUNTED, COMPLETED = 10_000, 200  # traces that are looked at
SHOWN, SUGGESTED = 6, 12  # values of a field
SHORT = {"search", "uses", "passage", "model", "session", "user", "environment", "score"}  # each says one thing of a filter


class Asked(msgspec.Struct):
    """What is asked of traces: by `filter`, of the `last` hours or days or those that began from one time `to` another, and where it is an
    `evaluation`, of its traces."""

    filter: str
    last: str = ""
    evaluation: str = ""
    begun: int | None = None
    to: int | None = None

    @property
    def since_ns(self) -> int | None:
        return time.time_ns() - HOURS[self.last] * 3_600_000_000_000 if self.last else self.begun

    def fields(self, project: str) -> FieldQuery:
        return FieldQuery(project, self.filter, self.evaluation or None, self.since_ns, self.to)

    def url(self, path: str, **more: Any) -> str:
        told = {"filter": self.filter, "last": self.last, "evaluation": self.evaluation, "since_ns": self.begun, "until_ns": self.to}
        return query(path, **told | more)

    def narrowed(self, term: Node) -> Asked:
        """With one thing more."""
        tree = read(self.filter)
        return msgspec.structs.replace(self, filter=printed(all_of([tree, term]) if tree else term))


class TracesContext(msgspec.Struct):
    """The panel of fields comes from `fields_url`; where that is `slow` to count, when it is opened. `wrong` is why the filter cannot be
    read."""

    page: TracePage
    asked: Asked
    datasets: tuple[str, ...]  # that rows can be made of
    fields_url: str
    opened: bool
    slow: bool
    views: ViewsShown
    wrong: str = ""
    follow: bool = False  # with what comes


class Value(msgspec.Struct):
    """`url` asks for it too, `without` for all that have it not."""

    value: str
    traces: int
    url: str
    without: str


class FieldShown(msgspec.Struct):
    name: str
    about: str
    values: tuple[Value, ...]


class FieldsContext(msgspec.Struct):
    """`suggestions` stand in the place of the filter from `start` to `end`, which is being typed."""

    asked: Asked
    traces: int = 0
    more: bool = False
    fields: tuple[FieldShown, ...] = ()
    start: int = 0
    end: int = 0
    suggestions: tuple[Suggestion, ...] = ()
    opened: bool = True


def asked_of(request: Request) -> Asked:
    """What a page of traces is asked; other parameters each say one thing of the filter. Raises `Invalid`."""
    q = {k: v for k, v in request.query_params.items() if v}
    last = q["last"] if q.get("last") in HOURS else ""
    slower = float(q["slower"]) if q.get("slower", "").replace(".", "", 1).isdigit() else None
    status = cast(Literal["ok", "error"], q["status"]) if q.get("status") in ("ok", "error") else None
    text = q.get("filter", "").strip()
    if slower is not None or status or q.keys() & SHORT:
        named = TraceQuery(
            filter=text, search=q.get("search"), status=status, uses=q.get("uses"), passage=q.get("passage"), model=q.get("model"),
            session=q.get("session"), user=q.get("user"), environment=q.get("environment"), slower_than_ms=slower, score=q.get("score"),
        )  # fmt: skip
        text = printed(all_of(conditions_of(named)))
    begun, to = (None, None) if last else (_ns(q, "since_ns"), _ns(q, "until_ns"))
    return Asked(text, last, q.get("evaluation", ""), begun, to)


def _ns(q: dict[str, str], name: str) -> int | None:
    """A time of an address, as charts lead to it; None where there is none."""
    return min(int(q[name]), LATEST) if q.get(name, "").isdecimal() and len(q[name]) < 20 else None


async def traces(request: Request, ask: Asker) -> Response:
    wrong, page, asked = "", TracePage(items=()), Asked(request.query_params.get("filter", ""))
    try:
        asked = asked_of(request)
        page = await ask(
            TRACES,
            TraceQuery(
                ask.actor.project, asked.filter, evaluation=asked.evaluation or None, since_ns=asked.since_ns,
                until_ns=asked.to, cursor=request.query_params.get("cursor") or None,
            ),
        )  # fmt: skip
    except Invalid as e:
        if wants_json(request) or not (e.where or "").startswith("filter"):
            raise
        wrong = str(e)
    opened = request.query_params.get("fields") == "open"
    tree = None if wrong else read(asked.filter)
    slow = tree is not None and bool(fields_in(tree) & LONG)
    url = asked.url("/traces/fields", fields="open" if opened or slow else "")
    context = TracesContext(page, asked, await names_of(ask), url, opened, slow, await shown(request, ask, "traces"), wrong)
    context.follow = bool(request.query_params.get("follow")) and not wrong
    return respond(request, "traces.html", context, nav="traces", title="Traces", status=400 if wrong else 200)


async def fields(request: Request, ask: Asker) -> Response:
    """The panel of fields; with `at`, what may stand at that place of the filter."""
    at = request.query_params.get("at", "")
    if at.isdecimal():
        typed = request.query_params
        asked = Asked(typed.get("filter", ""), typed["last"] if typed.get("last") in HOURS else "", typed.get("evaluation", ""))
        return respond(request, "fields.html", await _completed(asked, int(at), ask), nav="traces", title="Fields")
    asked = asked_of(request)
    told = await ask(FIELDS, msgspec.structs.replace(asked.fields(ask.actor.project), among=COUNTED, limit=SHOWN))

    def with_term(term: Node) -> str:
        return asked.narrowed(term).url("/traces", fields="open")

    def values(name: str, said: tuple[FieldValue, ...]) -> tuple[Value, ...]:
        terms = [(v, Term(name, v.value)) for v in said]
        return tuple(Value(v.value, v.traces, with_term(t), with_term(Not(t))) for v, t in terms)

    shown = tuple(FieldShown(f.name, f.about, values(f.name, f.values)) for f in told.fields if f.values)
    opened = request.query_params.get("fields") == "open"
    context = FieldsContext(asked, told.traces, told.more, shown, opened=opened)
    return respond(request, "fields.html", context, nav="traces", title="Fields of traces")


async def _completed(asked: Asked, at: int, ask: Asker) -> FieldsContext:
    found = completing(asked.filter, at)
    suggestions = found.known
    if found.field:
        of = asked.fields(ask.actor.project)
        wanted = msgspec.structs.replace(
            of, filter=found.rest, field=found.field, starts=found.starts, among=COMPLETED, limit=SUGGESTED
        )  # fmt: skip
        (told,) = (await ask(FIELDS, wanted)).fields
        suggestions = found.told([(v.value, v.traces) for v in told.values]) or fallback(found)
    return FieldsContext(asked, start=found.start, end=found.end, suggestions=suggestions[: SUGGESTED * 3])


PAGES: tuple[tuple[str, Handler], ...] = (("/traces", traces), ("/traces/fields", fields))
