"""One trace as question, answer, waterfall and the step one looks at."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core import span as names
from windlass.core.conversation import Turn, turns
from windlass.core.operations.traces import TRACE, WHY, Trace, TraceShow, Why
from windlass.core.span import LOG, SpanEvent, StoredSpan, input_of, kind_of, output_of
from windlass.doors.web.costs import Costs, costs_of
from windlass.doors.web.datasets import names_of
from windlass.doors.web.render import Asker, Handler, respond
from windlass.doors.web.scores import ScoresShown
from windlass.doors.web.scores import shown as shown_scores
from windlass.traces.conventions.agents import agents
from windlass.traces.conventions.tables import tables


class Line(msgspec.Struct, frozen=True):
    """A span in the waterfall. `left` and `width` in percent of the trace."""

    span: StoredSpan
    level: int
    kind: str
    left: float
    width: float
    duration_ns: int


class TraceContext(msgspec.Struct):
    trace: Trace
    question: str
    lines: tuple[Line, ...]
    chosen: StoredSpan | None
    said: tuple[Turn, ...]
    events: tuple[SpanEvent, ...]  # that are none of what was said
    attributes: dict[str, Any]
    why: Why | None
    datasets: tuple[str, ...]
    scores: ScoresShown
    costs: Costs | None


def waterfall(spans: tuple[StoredSpan, ...]) -> tuple[Line, ...]:
    """Spans as a tree in reading order. Orphans stand as roots; a span that ends before it starts has no width."""
    if not spans:
        return ()
    known = {s.span_id for s in spans}
    children: dict[str | None, list[StoredSpan]] = {}
    for s in spans:
        children.setdefault(s.parent if s.parent in known and s.parent != s.span_id else None, []).append(s)
    start = min(s.start_ns for s in spans)
    total = max(1, max(max(s.end_ns, s.start_ns) for s in spans) - start)
    lines: list[Line] = []
    stack = [(s, 0) for s in sorted(children.get(None, []), key=lambda s: s.start_ns, reverse=True)]
    while stack:
        s, level = stack.pop()
        width = max(0, s.end_ns - s.start_ns)
        kind = kind_of(s)
        lines.append(Line(s, level, kind, round(100 * (s.start_ns - start) / total, 3), round(max(0.4, 100 * width / total), 3), width))
        stack += [(c, level + 1) for c in sorted(children.get(s.span_id, []), key=lambda c: c.start_ns, reverse=True)]
    return tuple(lines)


def _shown_elsewhere(spans: tuple[StoredSpan, ...]) -> tuple[StoredSpan, ...]:
    """Without the log records whose contents stand in their span."""
    events = {(s.span_id, e.name, e.time_ns) for s in spans for e in s.events}
    return tuple(s for s in spans if kind_of(s) != LOG or (s.parent, s.name, s.start_ns) not in events)


def conversation(span: StoredSpan) -> tuple[Turn, ...]:
    """What went in and what came out."""
    if kind_of(span) == LOG:
        body = span.attributes.get(names.LOG_BODY)
        return turns(body if isinstance(body, str) else msgspec.json.encode(body).decode(), LOG) if body is not None else ()
    return (*turns(input_of(span), "input"), *turns(output_of(span), "output"))


def question(summary_input: str) -> str:
    """The input as a person would read it: the only text in it, else its JSON."""
    try:
        value = msgspec.json.decode(summary_input)
    except msgspec.DecodeError:
        return summary_input
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    return value if isinstance(value, str) else msgspec.json.format(msgspec.json.encode(value)).decode()


async def trace(request: Request, ask: Asker) -> Response:
    q, project = request.query_params, ask.actor.project
    asked = TraceShow(request.path_params["id"], project, q.get("cursor") or None)
    found = await ask(TRACE, asked)
    steps = tuple(s for s in found.spans if names.GIVEN not in s.attributes)
    lines = waterfall(_shown_elsewhere(steps))
    wanted = q.get("span")
    interesting = next((x.span for x in lines if x.kind == "model"), lines[0].span if lines else None)
    chosen = next((s for s in steps if s.span_id == wanted), interesting)
    shown = {names.VERSIONS, names.LOG_BODY}
    if chosen:
        shown |= {name for name in (chosen.input_from, chosen.output_from) if name}
    context = TraceContext(
        trace=found,
        question=question(found.summary.input) or found.summary.name,
        lines=lines,
        chosen=chosen,
        said=conversation(chosen) if chosen else (),
        events=tuple(e for e in chosen.events if not tables().hears(e.name) and not agents().hears(e.name)) if chosen else (),
        attributes={k: v for k, v in sorted(chosen.attributes.items()) if k not in shown} if chosen else {},
        why=await ask(WHY, asked),
        datasets=await names_of(ask),
        scores=shown_scores(found.scores, steps, ask.actor.id),
        costs=costs_of(steps),
    )
    return respond(request, "trace.html", context, nav="traces", title=context.question[:80])


PAGES: tuple[tuple[str, Handler], ...] = (("/traces/{id}", trace),)
