"""The steps of a trace that is too large to be told whole: the upper ones, what is below one, or the worst of them."""

from __future__ import annotations

from windlass.core.errors import Invalid
from windlass.core.operations.trees import TraceTree, TreeStep
from windlass.doors import format as words
from windlass.doors.cli.session import Session, plain

ORDERS = ("start", "failed", "slow", "dear")


def listed(session: Session, id: str, of: str, order: str, cursor: str | None) -> None:
    """Steps below one, or of the whole trace. Raises `Invalid`."""
    if order not in ORDERS:
        raise Invalid(f"there is no order {order!r}", where="--order", remedy=f"it is one of {', '.join(ORDERS)}")
    tree = session.client.traces.tree(id, of, order=order, **({"cursor": cursor} if cursor else {}))
    session.result(tree)
    if order == "start":
        told(session, tree)
        return
    session.table(
        ("step", "name", "kind", "took", "by itself", "cost", ""),
        [
            (
                s.span_id, s.name[:50], s.kind, words.duration(s.end_ns - s.start_ns), words.duration(s.self_ns), words.dollars(s.cost),
                "error" if s.status == "error" else "",
            )
            for s in tree.items
        ],
        right=frozenset({3, 4, 5}),
    )  # fmt: skip
    if not tree.items:
        session.print("no step failed" if order == "failed" else "of no step it is known")
    if tree.next:
        session.print(f"[dim]{tree.left:,} more: --cursor {tree.next}[/dim]")


def calls(session: Session, id: str) -> None:
    """Who called whom in a trace."""
    found = session.client.traces.calls(id)
    session.result(found)
    said = [f"{n.kind} {n.name or f'{n.others} others'}" for n in found.nodes]
    session.table(
        ("caller", "called", "times", "failed", "took", "cost"),
        [
            (
                said[c.source] if c.source is not None else "", said[c.target], f"{c.calls:,}", f"{c.failed:,}" if c.failed else "",
                words.duration(c.took_ns), words.dollars(c.cost),
            )
            for c in found.calls
        ],
        right=frozenset({2, 3, 4, 5}),
    )  # fmt: skip


def told(session: Session, tree: TraceTree) -> None:
    """Steps as a tree; under each how many of those below it are left out, and how to go on."""
    base = tree.path[-1].level + 1 if tree.path else 0
    for step in tree.items:
        session.print("  " * min(step.level - base, 40) + _line(tree, step))
    if tree.next:
        below = f" --below {tree.below}" if tree.below else ""
        session.print(f"[dim]{tree.left:,} more here: windlass traces {tree.trace_id}{below} --order start --cursor {tree.next}[/dim]")
    left = tree.steps - len(tree.items)
    if left and not tree.below:
        failed = f", {tree.failed:,} failed (--order failed)" if tree.failed else ""
        session.print(
            f"[dim]{left:,} of {words.many(tree.steps, 'step')} are left out{failed}: windlass traces {tree.trace_id} --below STEP,"
            " or --order slow, dear[/dim]"
        )


def _line(tree: TraceTree, step: TreeStep) -> str:
    failed = "  [red]failed[/red]" if step.status == "error" else ""
    hidden = step.below if not step.shown else 0
    more = f"  {hidden:,} below {step.span_id}" if hidden else ""
    if step.shown and (left := step.children - step.before - step.shown):
        more = f"  {left:,} more of {step.children:,} below {step.span_id}"
    inner = f", {step.failed:,} failed" if hidden and step.failed else ""
    took = words.duration(max(0, step.end_ns - step.start_ns))
    return f"{plain(step.name)}  [dim]{plain(step.kind)} · {took}[/dim]{failed}[dim]{more}{inner}[/dim]"
