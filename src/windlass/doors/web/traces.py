"""One trace as question, answer, tree and the step one looks at."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core import span as names
from windlass.core.conversation import Turn, asked, turns
from windlass.core.filter import Term, printed
from windlass.core.operations.costs import TRACE_COSTS, CostsShow, TraceCosts
from windlass.core.operations.traces import TRACE, WHY, Trace, TraceShow, Why
from windlass.core.operations.trees import TREE, TraceTree
from windlass.core.span import LOG, SpanEvent, StoredSpan, input_of, instructions_of, kind_of, output_of
from windlass.doors.costs import told as stands_out
from windlass.doors.web.datasets import names_of
from windlass.doors.web.playground import asks_model, ran
from windlass.doors.web.render import Asker, Handler, query, respond
from windlass.doors.web.scores import ScoresShown
from windlass.doors.web.scores import shown as shown_scores
from windlass.doors.web.trace_trees import TreeDrawn, asked_of, drawn
from windlass.traces.conventions.agents import agents
from windlass.traces.conventions.tables import tables


class TraceContext(msgspec.Struct):
    trace: Trace
    question: str
    drawn: TreeDrawn
    chosen: StoredSpan | None
    said: tuple[Turn, ...]
    events: tuple[SpanEvent, ...]  # that are none of what was said
    attributes: dict[str, Any]
    why: Why | None
    datasets: tuple[str, ...]
    scores: ScoresShown
    costs: TraceCosts
    stands_out: tuple[str, ...]  # in what it cost
    tags: tuple[tuple[str, str], ...]  # each with the address of all traces that have it
    runnable: bool  # in the playground, as it ran
    runs_alone: bool  # the chosen step does, and is not the whole
    routed: str  # why the chosen step's model was asked at that upstream, in a sentence
    asks_again: bool  # the chosen step is a call of a model, which can be asked the same


def conversation(span: StoredSpan) -> tuple[Turn, ...]:
    """What went in and what came out."""
    if kind_of(span) == LOG:
        body = span.attributes.get(names.LOG_BODY)
        return turns(body if isinstance(body, str) else msgspec.json.encode(body).decode(), LOG) if body is not None else ()
    said = turns(input_of(span), "input")
    if (beside := instructions_of(span)) is not None:
        said = asked(input_of(span), beside)
    return (*said, *turns(output_of(span), "output"))


def question(summary_input: str) -> str:
    """The input as a person would read it: the only text in it, else its JSON."""
    try:
        value = msgspec.json.decode(summary_input)
    except (msgspec.DecodeError, RecursionError):
        return summary_input
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    return value if isinstance(value, str) else msgspec.json.format(msgspec.json.encode(value)).decode()


async def trace(request: Request, ask: Asker) -> Response:
    q, project = request.query_params, ask.actor.project
    id, wanted = request.path_params["id"], q.get("span", "")
    found = await ask(TRACE, TraceShow(id, project, q.get("cursor") or None))
    id = found.summary.trace_id
    steps = tuple(s for s in found.spans if names.GIVEN not in s.attributes)
    tree = await ask(TREE, asked_of(id, project, {"to": wanted}))
    chosen = await _chosen(ask, id, wanted or _interesting(tree, steps), steps)
    costs = await ask(TRACE_COSTS, CostsShow(id, project))
    shown = {names.VERSIONS, names.LOG_BODY, names.INSTRUCTIONS, names.ROUTE_WHY}
    if chosen:
        shown |= {name for name in (chosen.input_from, chosen.output_from) if name}
    context = TraceContext(
        trace=found,
        question=question(found.summary.input) or found.summary.name,
        drawn=drawn(tree, chosen=chosen.span_id if chosen else ""),
        chosen=chosen,
        said=conversation(chosen) if chosen else (),
        events=tuple(e for e in chosen.events if not tables().hears(e.name) and not agents().hears(e.name)) if chosen else (),
        attributes={k: v for k, v in sorted(chosen.attributes.items()) if k not in shown} if chosen else {},
        why=await ask(WHY, TraceShow(id, project)),
        datasets=await names_of(ask),
        scores=shown_scores(found.scores, ask.actor.id),
        costs=costs,
        stands_out=tuple(stands_out(costs)),
        tags=tuple((tag, query("/traces", filter=printed(Term("tag", tag)))) for tag in found.tags),
        runnable=ran(next((s for s in steps if s.parent is None), None)) is not None,
        runs_alone=chosen is not None and chosen.parent is not None and ran(chosen) is not None,
        routed=str(chosen.attributes.get(names.ROUTE_WHY, "")) if chosen else "",
        asks_again=asks_model(chosen) and bool(chosen and input_of(chosen)),
    )
    return respond(request, "trace.html", context, nav="traces", title=context.question[:80])


def _interesting(tree: TraceTree, steps: tuple[StoredSpan, ...]) -> str:
    """The step one looks at first: a call of a model of which it is told what was said, else any that tells, else the first."""
    talks = {s.span_id for s in steps if input_of(s) or output_of(s)}
    those = [[x for x in tree.items if x.kind == "model" and x.span_id in talks], [x for x in tree.items if x.span_id in talks], tree.items]
    return next((some[0].span_id for some in those if some), "")


async def _chosen(ask: Asker, id: str, span: str, steps: tuple[StoredSpan, ...]) -> StoredSpan | None:
    """A step whole. Raises `NotFound`."""
    if not span or (there := next((s for s in steps if s.span_id == span), None)) is not None:
        return there if span else None
    return (await ask(TRACE, TraceShow(id, ask.actor.project, span=span))).spans[0]


PAGES: tuple[tuple[str, Handler], ...] = (("/traces/{id}", trace),)
