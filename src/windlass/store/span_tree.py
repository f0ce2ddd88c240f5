"""A trace as a tree: of one's light columns, whatever the engine, what is asked for of it. Nothing here calls itself, since a trace may
be thousands of levels deep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from windlass.core.errors import Invalid, NotFound
from windlass.core.operations.trees import TraceTree, TreeShow, TreeStep
from windlass.core.span import LOG, SpanEvent

PER = 100  # children of one step that are shown of more than there is room for
DEEP, NEAR = 24, 12  # levels down to a step that are opened; where it lies deeper, so many above it
PATH = 12  # steps above that are named
# the columns of a row, by start and id; of a span its newest revision
LIGHT = (
    "span_id",
    "parent",
    "name",
    "kind",
    "start_ns",
    "end_ns",
    "status",
    "model",
    "cost",
    "tokens_in",
    "tokens_out",
    "tool",
    "response",
)
ASKED = ("model", "embedding")  # kinds of steps that are named by their model
TOP = -1  # what the outermost steps are below
Events = Callable[[Sequence[str]], Iterable[tuple[str, str]]]  # of these spans, each with its events as JSON


class Row(NamedTuple):
    span_id: str
    parent: str | None
    name: str
    kind: str
    start_ns: int
    end_ns: int
    status: str
    model: str | None
    cost: float | None
    tokens_in: int | None
    tokens_out: int | None
    tool: str | None = None
    response: str | None = None


def name_of(row: Row) -> str:
    """By what a step is named among those of its kind: a tool by the tool, a call of a model by the model."""
    return (row.tool if row.kind == "tool" else row.model if row.kind in ASKED else None) or row.name


class Window(NamedTuple):
    """Which children of a step are shown."""

    first: int
    end: int


def tree_of(trace_id: str, rows: Sequence[tuple[Any, ...]], query: TreeShow, events: Events) -> TraceTree:
    """Raises `NotFound` for a step that is not there, and `Invalid` for a cursor that is none."""
    tree = Tree(list(map(Row._make, told_once(rows, events))))
    base = tree.at(query.of)
    if query.order != "start" or query.kind:
        return _listed(tree, query, base, trace_id)
    windows: dict[int, Window] = {}
    if query.to:
        base = _open_to(tree, windows, base, tree.at(query.to), query.limit)
    elif query.cursor:
        at = tree.at(query.cursor, cursor=True)
        if tree.parents[at] != base:
            raise _no_cursor()
        first = tree.place(at) + 1
        windows[base] = Window(first, min(first + min(PER, query.limit), len(tree.children(base))))
    _open(tree, windows, base, query)
    window, children = windows.get(base, Window(0, 0)), tree.children(base)
    items = [tree.step(n, windows.get(n)) for n in _reading(tree, windows, base)]
    return tree.told(trace_id, items, base, children[window.end - 1 : window.end], window.first, len(children) - window.end)


def told_once(rows: Sequence[tuple[Any, ...]], events: Events) -> list[tuple[Any, ...]]:
    """Without the log records whose contents stand in their span."""
    logs = [row for row in rows if row[3] == LOG and row[1]]
    if not logs:
        return list(rows)
    said = {
        (span, e.name, e.time_ns)
        for span, text in events(sorted({row[1] for row in logs}))
        for e in msgspec.json.decode(text, type=list[SpanEvent])
    }
    return [row for row in rows if row[3] != LOG or (row[1], row[2], row[4]) not in said]


class Tree:
    """Steps by number, in order of their start. An orphan is an outermost step; so is the first of a circle."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self.numbers = {row.span_id: n for n, row in enumerate(rows)}
        self.parents = [self.numbers.get(row.parent, TOP) if row.parent and row.parent != row.span_id else TOP for row in rows]
        self._children: dict[int, list[int]] = {}
        for n, parent in enumerate(self.parents):
            self._children.setdefault(parent, []).append(n)
        self.order = self._downwards()
        self.below, self.failed = [0] * len(rows), [0] * len(rows)
        for n in reversed(self.order):
            if (parent := self.parents[n]) != TOP:
                self.below[parent] += self.below[n] + 1
                self.failed[parent] += self.failed[n] + (rows[n].status == "error")

    def _downwards(self) -> list[int]:
        """All steps, each after the one it is below."""
        order, reached = list[int](), [False] * len(self.rows)
        self.levels = [0] * len(self.rows)

        def go(start: list[int]) -> None:
            todo = [*start]
            for n in todo:
                reached[n] = True
                if (parent := self.parents[n]) != TOP:
                    self.levels[n] = self.levels[parent] + 1
                todo += self.children(n)
            order.extend(todo)

        go(self.children(TOP))
        if len(order) < len(self.rows):  # some are below one another in a circle
            for n in range(len(self.rows)):
                if not reached[n]:
                    self._children[self.parents[n]].remove(n)
                    self.parents[n] = TOP
                    self._children.setdefault(TOP, []).append(n)
                    go([n])
            self._children[TOP].sort()
        return order

    def children(self, n: int) -> list[int]:
        return self._children.get(n, [])

    def at(self, span: str, *, cursor: bool = False) -> int:
        if not span:
            return TOP
        if (found := self.numbers.get(span)) is None:
            remedy = "windlass traces ID shows its steps"
            raise _no_cursor() if cursor else NotFound(f"there is no step {span} in this trace", remedy=remedy)
        return found

    def place(self, n: int) -> int:
        """Where a step stands among the children of its parent."""
        return self.children(self.parents[n]).index(n)

    def above(self, n: int) -> list[int]:
        """The steps that this one is below, the outermost first."""
        found = list[int]()
        while n != TOP and (n := self.parents[n]) != TOP:
            found.append(n)
        return found[::-1]

    def own(self, n: int) -> int:
        """How long a step took without what its children took, whichever of them ran at once. Nanoseconds."""
        row, reached = self.rows[n], self.rows[n].start_ns
        took = max(0, row.end_ns - row.start_ns)
        for child in self.children(n):
            start, end = max(self.rows[child].start_ns, reached), min(self.rows[child].end_ns, row.end_ns)
            if end > start:
                took, reached = took - (end - start), end
        return took

    def step(self, n: int, window: Window | None = None) -> TreeStep:
        row, tokens = self.rows[n], None
        if row.tokens_in is not None or row.tokens_out is not None:
            tokens = (row.tokens_in or 0) + (row.tokens_out or 0)
        before, shown = (window.first, window.end - window.first) if window else (0, 0)
        return TreeStep(
            row.span_id, row.name, row.kind, row.start_ns, row.end_ns, row.status,
            level=self.levels[n], parent=row.parent, model=row.model, cost=row.cost, tokens=tokens,
            self_ns=self.own(n), children=len(self.children(n)), before=before, shown=shown, below=self.below[n], failed=self.failed[n],
        )  # fmt: skip

    def told(self, trace_id: str, items: Sequence[TreeStep], base: int, last: Sequence[int], before: int, left: int) -> TraceTree:
        """The answer, after whose `last` so many are `left`."""
        path = [*self.above(base), base] if base != TOP else []
        unnamed = max(0, len(path) - PATH)
        named = path if not unnamed else path[: PATH // 2] + path[-PATH // 2 :]
        timed = [r for r in self.rows if r.kind != LOG] or self.rows  # a record of long after would leave no width to the steps
        return TraceTree(
            trace_id=trace_id, start_ns=min((r.start_ns for r in timed), default=0),
            end_ns=max((max(r.start_ns, r.end_ns) for r in timed), default=0),
            steps=len(self.rows), failed=sum(r.status == "error" for r in self.rows), items=tuple(items),
            below=self.rows[base].span_id if base != TOP else "", path=tuple(self.step(n) for n in named), path_left=unnamed, before=before,
            left=left, next=self.rows[last[0]].span_id if left and last else None,
        )  # fmt: skip


def _no_cursor() -> Invalid:
    return Invalid("this cursor is not one of ours", where="cursor", remedy="start from the first page")


def _open_to(tree: Tree, windows: dict[int, Window], base: int, wanted: int, limit: int) -> int:
    """Open what is above a step. Returns what the answer is below: of a step that lies deep, one a little above it."""
    above = tree.above(wanted)
    if base != TOP:
        if base not in above:
            raise NotFound(f"step {tree.rows[wanted].span_id} is not below {tree.rows[base].span_id}", where="to", remedy="leave `of` out")
        above = above[above.index(base) + 1 :]
    if len(above) > min(DEEP, limit // 2):
        cut = len(above) - min(NEAR, limit // 4)
        base, above = above[cut - 1], above[cut:]
    room = max(1, min(PER, limit // 2 // (len(above) + 1)))
    for parent, child in zip([base, *above], [*above, wanted], strict=True):
        count, at = len(tree.children(parent)), tree.place(child)
        first = max(0, min(at - room // 2, count - room))
        windows[parent] = Window(first, min(count, first + room))
    return base


def _open(tree: Tree, windows: dict[int, Window], base: int, query: TreeShow) -> None:
    """Open level by level what there is room for."""
    room = query.limit - sum(w.end - w.first for w in windows.values())
    level, depth = [base], 0
    while level and (not query.levels or depth < query.levels):
        under = list[int]()
        for n in level:
            children = tree.children(n)
            if n not in windows:
                take = len(children) if len(children) <= room else min(PER, room)
                if take == 0 or (n != base and take < min(PER, len(children))):  # a few of very many say little
                    continue
                windows[n], room = Window(0, take), room - take
            elif windows[n].first == 0 and len(children) - windows[n].end <= room and not (n == base and query.cursor):
                room -= len(children) - windows[n].end
                windows[n] = Window(0, len(children))
            under += children[slice(*windows[n])]
        level, depth = under, depth + 1


def _reading(tree: Tree, windows: dict[int, Window], base: int) -> list[int]:
    order, todo = list[int](), [base]
    while todo:
        n = todo.pop()
        order.append(n)
        todo += reversed(tree.children(n)[slice(*windows[n])] if n in windows else [])
    return order[1:]


def _listed(tree: Tree, query: TreeShow, base: int, trace_id: str) -> TraceTree:
    """Steps below one by what is wrong or dear with them, the worst first."""
    under, todo = list[int](), [*tree.children(base)]
    for n in todo:
        under.append(n)
        todo += tree.children(n)
    rows = tree.rows
    if query.kind:
        under = [n for n in under if rows[n].kind == query.kind and (not query.named or name_of(rows[n]) == query.named)]
    if query.order == "start":
        found = sorted(under)
    elif query.order == "failed":
        found = sorted(n for n in under if rows[n].status == "error" and not tree.failed[n])
    elif query.order == "slow":
        own = {n: tree.own(n) for n in under if rows[n].kind != LOG}
        found = sorted((n for n in own if own[n]), key=lambda n: (-own[n], n))
    else:
        found = sorted((n for n in under if rows[n].cost), key=lambda n: (-(rows[n].cost or 0.0), n))
    first = 0
    if query.cursor:
        last = tree.at(query.cursor, cursor=True)
        if last not in found:
            raise _no_cursor()
        first = found.index(last) + 1
    page = found[first : first + query.limit]
    return tree.told(trace_id, [tree.step(n) for n in page], base, page[-1:], first, len(found) - first - len(page))
