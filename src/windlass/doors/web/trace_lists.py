"""The list of traces by a filter, what those that fit say in each field, and what may stand where somebody types."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.errors import Invalid
from windlass.core.filter import Node, Not, Term, fields_in
from windlass.core.filter_completing import Suggestion, completing, fallback
from windlass.core.filter_reading import read
from windlass.core.operations.traces import FIELDS, TRACES, FieldValue, TracePage, TraceQuery
from windlass.doors.asked import HOURS, Asked, asked_of
from windlass.doors.web.datasets import names_of
from windlass.doors.web.render import Asker, Handler, respond, wants_json
from windlass.doors.web.views import ViewsShown, shown
from windlass.store.span_conditions import LONG

COUNTED, COMPLETED = 10_000, 200  # traces that are looked at
SHOWN, SUGGESTED = 6, 12  # values of a field


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


async def traces(request: Request, ask: Asker) -> Response:
    wrong, page, asked = "", TracePage(items=()), Asked(request.query_params.get("filter", ""))
    try:
        asked = asked_of(request.query_params)
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
    asked = asked_of(request.query_params)
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
