"""Two traces side by side: what was asked and answered, what took part, and which steps the one has and the other has not."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.errors import Invalid
from windlass.core.operations.traces import TRACE, Trace, TraceShow
from windlass.core.span import GIVEN, StoredSpan, kind_of
from windlass.doors.web.render import Asker, Handler, respond


class Line(msgspec.Struct, frozen=True):
    """A span in its tree."""

    span: StoredSpan
    level: int
    kind: str
    duration_ns: int


class Side(msgspec.Struct, frozen=True):
    """A step of one of them. `tokens` and `cost` are None where they are not known."""

    span: str
    duration_ns: int
    tokens: int | None
    cost: float | None
    failed: bool


class Pair(msgspec.Struct, frozen=True):
    """A step that both have, or one of them."""

    name: str
    kind: str
    level: int
    a: Side | None = None
    b: Side | None = None


class PairContext(msgspec.Struct):
    a: Trace
    b: Trace
    steps: tuple[Pair, ...]
    only_a: tuple[str, ...]  # versions
    only_b: tuple[str, ...]
    shortened: bool  # there are more steps


async def pair(request: Request, ask: Asker) -> Response:
    """Raises `Invalid` where it is not two traces, `NotFound`."""
    ids = [id for told in request.query_params.getlist("trace") for id in told.split(",") if id]  # ticked, or written
    if len(ids) != 2:
        raise Invalid("two traces are compared", where="trace", remedy="tick two in the list of traces")
    a, b = [await ask(TRACE, TraceShow(id, ask.actor.project)) for id in ids]
    context = PairContext(
        a, b, paired(_lines(a), _lines(b)), tuple(v for v in a.versions if v not in b.versions),
        tuple(v for v in b.versions if v not in a.versions), bool(a.next or b.next),
    )  # fmt: skip
    return respond(request, "trace-pair.html", context, nav="traces", title="Two traces")


def _lines(trace: Trace) -> tuple[Line, ...]:
    return waterfall(tuple(s for s in trace.spans if GIVEN not in s.attributes))


def waterfall(spans: tuple[StoredSpan, ...]) -> tuple[Line, ...]:
    """Spans as a tree in reading order. Orphans stand as roots."""
    known = {s.span_id for s in spans}
    children: dict[str | None, list[StoredSpan]] = {}
    for s in spans:
        children.setdefault(s.parent if s.parent in known and s.parent != s.span_id else None, []).append(s)
    lines: list[Line] = []
    stack = [(s, 0) for s in sorted(children.get(None, []), key=lambda s: s.start_ns, reverse=True)]
    while stack:
        s, level = stack.pop()
        lines.append(Line(s, level, kind_of(s), max(0, s.end_ns - s.start_ns)))
        stack += [(c, level + 1) for c in sorted(children.get(s.span_id, []), key=lambda c: c.start_ns, reverse=True)]
    return tuple(lines)


def paired(a: Sequence[Line], b: Sequence[Line]) -> tuple[Pair, ...]:
    """Steps in reading order; those of one name and depth that stand in the same order are one."""
    left, right = ([(line.level, line.span.name, line.kind) for line in lines] for lines in (a, b))
    found: list[Pair] = []
    for tag, a0, a1, b0, b1 in SequenceMatcher(a=left, b=right, autojunk=False).get_opcodes():
        if tag == "equal":
            found += [_pair(x, a=_side(x), b=_side(y)) for x, y in zip(a[a0:a1], b[b0:b1], strict=True)]
        else:
            found += [_pair(x, a=_side(x)) for x in a[a0:a1]] + [_pair(y, b=_side(y)) for y in b[b0:b1]]
    return tuple(found)


def _pair(line: Line, a: Side | None = None, b: Side | None = None) -> Pair:
    return Pair(line.span.name, line.kind, line.level, a, b)


def _side(line: Line) -> Side:
    s = line.span
    tokens = None if s.tokens_in is None and s.tokens_out is None else (s.tokens_in or 0) + (s.tokens_out or 0)
    return Side(s.span_id, line.duration_ns, tokens, s.cost, s.status == "error")


PAGES: tuple[tuple[str, Handler], ...] = (("/traces/compare", pair),)
