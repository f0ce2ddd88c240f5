"""The tree of a trace, a piece at a time: its lines beside their time, what is left out, and where that is."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.errors import Invalid
from windlass.core.operations.traces import TRACE, TraceShow
from windlass.core.operations.trees import TREE, TraceTree, TreeShow, TreeStep
from windlass.doors.web.render import Asker, Handler, query, respond
from windlass.doors.web.scores import ScoresShown, shown

ORDERS = {"start": "", "failed": "Failed", "slow": "Slowest", "dear": "Dearest"}


class TreeLine(msgspec.Struct, frozen=True):
    """A line of a tree: a step, `left` and `width` of it in percent of the trace; or where there is no `step`, `count` that are not
    shown, before what follows or after what came (`next`). `url` has what is below the step, or those. `level` is of the line."""

    level: int
    url: str
    step: TreeStep | None = None
    left: float = 0
    width: float = 0
    count: int = 0
    next: bool = True


class TreeDrawn(msgspec.Struct):
    """`whole`: no step is left out. `heading` is what the list is of, where it is one; `chosen` the step one looks at."""

    tree: TraceTree
    lines: tuple[TreeLine, ...]
    whole: bool
    heading: str = ""
    chosen: str = ""


class TreeContext(msgspec.Struct):
    drawn: TreeDrawn
    scores: ScoresShown


def drawn(tree: TraceTree, order: str = "start", chosen: str = "", heading: str = "") -> TreeDrawn:
    heading = heading or ORDERS[order]
    whole = not heading and len(tree.items) == tree.steps
    lines = lines_of(tree) if not heading else [_line(tree, step, 0, f"/traces/{tree.trace_id}/tree") for step in tree.items]
    return TreeDrawn(tree, tuple(lines), whole, heading, chosen)


def lines_of(tree: TraceTree) -> list[TreeLine]:
    """Steps in reading order, and under each those of its children that are not shown."""
    path = f"/traces/{tree.trace_id}/tree"
    base = tree.path[-1].level + 1 if tree.path else 0
    lines = [TreeLine(base, query(path, of=tree.below), count=tree.before, next=False)] if tree.before else []
    open_: list[tuple[TreeStep, str]] = []  # steps that what follows may be below, each with the last of its children

    def close(level: int) -> None:
        while open_ and open_[-1][0].level >= level:
            step, last = open_.pop()
            if step.shown and (left := step.children - step.before - step.shown):
                lines.append(TreeLine(step.level + 1, query(path, of=step.span_id, cursor=last), count=left))

    for step in tree.items:
        close(step.level)
        if open_ and open_[-1][0].level == step.level - 1:
            open_[-1] = (open_[-1][0], step.span_id)
        lines.append(_line(tree, step, step.level, path))
        if step.before:
            lines.append(TreeLine(step.level + 1, query(path, of=step.span_id), count=step.before, next=False))
        open_.append((step, ""))
    close(base)
    if tree.next:
        lines.append(TreeLine(base, query(path, of=tree.below, cursor=tree.next), count=tree.left))
    return lines


def _line(tree: TraceTree, step: TreeStep, level: int, path: str) -> TreeLine:
    """A step that ends before it starts has no width; a log record from before or after all steps stands at the edge."""
    total = max(1, tree.end_ns - tree.start_ns)
    left = round(100 * (step.start_ns - tree.start_ns) / total, 3)
    width = round(max(0.4, 100 * max(0, step.end_ns - step.start_ns) / total), 3)
    return TreeLine(level, query(path, of=step.span_id) if step.children else "", step, min(max(left, 0.0), 99.5), width)


def asked_of(id: str, project: str, given: dict[str, Any]) -> TreeShow:
    """Raises `Invalid`."""
    said = {name: given[name] for name in ("of", "to", "order", "cursor", "kind", "named") if given.get(name)}
    try:
        levels = {"levels": int(given["levels"])} if given.get("levels") else {}
        return msgspec.convert({"id": id, "project": project, **said, **levels}, TreeShow)
    except ValueError as e:  # what msgspec raises is one
        raise Invalid("this is no part of a trace", where=str(e)[:100], remedy="the page of its trace links to it") from None


async def tree(request: Request, ask: Asker) -> Response:
    asked = asked_of(request.path_params["id"], ask.actor.project, dict(request.query_params))
    found = drawn(await ask(TREE, asked), asked.order, heading=f"{asked.kind} {asked.named}".strip())
    said = (await ask(TRACE, TraceShow(found.tree.trace_id, asked.project, limit=1))).scores
    return respond(request, "trace_tree.html", TreeContext(found, shown(said, ask.actor.id)), nav="traces", title="Steps of a trace")


PAGES: tuple[tuple[str, Handler], ...] = (("/traces/{id}/tree", tree),)
