"""Who called whom in a trace, of its light columns: steps by kind and name, and how often one was under another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from windlass.core.operations.calls import Call, Callee, CallGraph
from windlass.core.span import LOG
from windlass.store.span_tree import ASKED, TOP, Row, Tree, name_of

MOST = 40  # nodes; further ones are together, by kind
PLAIN = frozenset({"span", "evaluator", LOG})
OTHERS = ""  # the name of those


def calls_of(trace_id: str, rows: Sequence[tuple[Any, ...]]) -> CallGraph:
    tree = Tree([Row(*row) for row in rows if row[3] != LOG])
    named = _named(tree.rows)
    if not any(named):  # of somebody who says of no step what it is
        named = [("span", r.name) if r.kind == "span" else None for r in tree.rows]
    named = _few(named)
    total, unknown = _spent(tree)
    nodes, places = list[Callee](), dict[tuple[str, str], int]()
    calls: dict[tuple[int | None, int], Call] = {}
    distinct = Counter(of_others for of_others in (n and n[0] for n in set(_named(tree.rows))) if of_others)
    callers: dict[int, int | None] = {TOP: None}
    for n in tree.order:
        row, key, caller = tree.rows[n], named[n], callers[tree.parents[n]]
        callers[n] = caller
        if key is None:
            continue
        if key not in places:
            places[key] = len(nodes)
            nodes.append(Callee(*key, steps=0))
        target = callers[n] = places[key]
        took, failed = max(0, row.end_ns - row.start_ns), int(row.status == "error")
        node = nodes[target]
        node.steps, node.failed, node.took_ns, node.self_ns = (
            node.steps + 1,
            node.failed + failed,
            node.took_ns + took,
            node.self_ns + tree.own(n),
        )
        node.tokens += (row.tokens_in or 0) + (row.tokens_out or 0)
        own, known = _own(tree, n, total, unknown)
        node.cost = None if node.cost is None or not known else round(node.cost + own, 12)
        call = calls.setdefault((caller, target), Call(caller, target, 0))
        call.calls, call.failed, call.took_ns = call.calls + 1, call.failed + failed, call.took_ns + took
        call.cost = None if call.cost is None or unknown[n] else round(call.cost + total[n], 12)
    for node in nodes:
        if node.name == OTHERS:
            node.others = distinct[node.kind] - sum(x.kind == node.kind and x.name != OTHERS for x in nodes)
    return CallGraph(trace_id, tuple(nodes), tuple(calls.values()))


def _named(rows: Sequence[Row]) -> list[tuple[str, str] | None]:
    return [None if r.kind in PLAIN else (r.kind, name_of(r)) for r in rows]


def _few(named: list[tuple[str, str] | None]) -> list[tuple[str, str] | None]:
    """Those with most steps by name, the others without."""
    counted = Counter(n for n in named if n)
    if len(counted) <= MOST:
        return named
    kept = {n for n, _ in counted.most_common(MOST)}
    return [n if n is None or n in kept else (n[0], OTHERS) for n in named]


def _spent(tree: Tree) -> tuple[list[float], list[bool]]:
    """What each step costs with all below it, and whether a call among those has no price. A call that two tell of is one: the innermost
    counts, as in the sum of the trace."""
    rows, count = tree.rows, len(tree.rows)
    total, unknown, asks = [0.0] * count, [False] * count, [False] * count
    least: dict[str, int] = {}
    for n, row in enumerate(rows):
        if row.kind in ASKED and row.response and (
            row.response not in least or row.end_ns - row.start_ns <= rows[least[row.response]].end_ns - rows[least[row.response]].start_ns
        ):  # fmt: skip
            least[row.response] = n
    for n in reversed(tree.order):
        row = rows[n]
        if row.kind in ASKED and not asks[n]:
            if not row.response or least[row.response] == n:
                total[n], unknown[n] = total[n] + (row.cost or 0.0), unknown[n] or (row.cost is None and row.status != "error")
            asks[n] = True
        if (parent := tree.parents[n]) != TOP:
            total[parent] += total[n]
            unknown[parent], asks[parent] = unknown[parent] or unknown[n], asks[parent] or asks[n]
    return total, unknown


def _own(tree: Tree, n: int, total: list[float], unknown: list[bool]) -> tuple[float, bool]:
    """What a step costs by itself, and whether that is known."""
    below = tree.children(n)
    return max(0.0, total[n] - sum(total[c] for c in below)), not unknown[n] or any(unknown[c] for c in below)
