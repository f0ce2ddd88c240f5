"""One trace: its tree, of a large one the upper steps, what is below one, or the worst; a text of a step, who called whom, what it cost."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
import typer

from windlass.core.errors import Invalid
from windlass.core.ids import now_ns
from windlass.core.operations.costs import CallsCost
from windlass.core.operations.traces import Trace
from windlass.core.operations.trees import TraceTree, TreeStep
from windlass.core.span import GIVEN, ROUTE_WHY, Span, kind_of, output_of
from windlass.doors import costs as costs_in_words
from windlass.doors import format as words
from windlass.doors.cli.scoring import tell
from windlass.doors.cli.session import Session, plain
from windlass.store.spans import readable

ORDERS = ("start", "failed", "slow", "dear")
STEP, NAMED = re.compile("[0-9a-f]{16}"), 12  # a whole id; how many are named in an error


class OfOne(msgspec.Struct):
    """Options of one trace."""

    span: Annotated[
        str | None, typer.Option("--span", help="With score, or --text: of one step, by its id (of a text also its start).")
    ] = None
    text: Annotated[str | None, typer.Option("--text", help="A text of a step whole, however long: input, output, attributes.")] = None
    below: Annotated[str | None, typer.Option("--below", help="Of one trace: what lies below this step, by its id or its start.")] = None
    order: Annotated[str | None, typer.Option("--order", help="Of one trace: its steps that failed, or the slow or dear ones first.")] = (
        None
    )
    graph: Annotated[bool, typer.Option("--graph", help="Of one trace: who called whom, how often, how long and for how much.")] = False
    costs: Annotated[bool, typer.Option("--costs", help="Of one trace: why it cost so much, by model and by step.")] = False

    def refuse_without_trace(self) -> None:
        """Raises `Invalid` where one of these is asked of no trace."""
        asked = {"--text": self.text, "--below": self.below, "--order": self.order, "--graph": self.graph, "--costs": self.costs}
        if (name := next((n for n, v in asked.items() if v), None)) is not None:
            how = {"--text": "--span SPAN --text input", "--below": "--below STEP", "--order": "--order slow"}.get(name, name)
            raise Invalid("it is asked of one trace, and none is named", where=name, remedy=f"windlass traces ID {how}")


def show(session: Session, id: str, one: OfOne, cursor: str | None) -> None:
    """A trace, or what is asked of it. Raises `Invalid`."""
    if one.text is not None:
        told = session.client.traces.text(id, _step(session, id, one.span or ""), one.text)
        session.result({"text": told})
        session.print(plain(told))
    elif one.graph:
        calls(session, id)
    elif one.costs:
        costs(session, id)
    elif one.below or one.order:
        listed(session, id, _step(session, id, one.below) if one.below else "", one.order or "start", cursor)
    else:
        trace = session.client.traces.show(id, cursor, 200)
        session.result(trace)
        _whole(session, trace, cursor)


def listed(session: Session, id: str, of: str, order: str, cursor: str | None) -> None:
    """Steps below one, or of the whole trace. Raises `Invalid`."""
    if order not in ORDERS:
        raise Invalid(f"there is no order {order!r}", where="--order", remedy=f"it is one of {', '.join(ORDERS)}")
    tree = session.client.traces.tree(id, of, order=order, **({"cursor": cursor} if cursor else {}))
    session.result(tree)
    if order == "start":
        listed_tree(session, tree)
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


def costs(session: Session, id: str) -> None:
    """Why a trace cost so much."""
    found = session.client.traces.costs(id)
    session.result(found)
    if not found.models:
        session.print("no model was asked")
        return
    for line in costs_in_words.told(found):
        session.print(plain(line))
    columns = ("", "calls", "tokens in", "cached", "out", "cost", "share")
    right = frozenset(range(1, len(columns)))
    session.table(columns, [_spent(m) for m in found.models], right=right)
    if found.steps:
        session.print("\nthe dearest steps")
        session.table(("step", *columns), [(s.span, *_spent(s)) for s in found.steps], right=frozenset(n + 1 for n in right))


def _spent(of: CallsCost) -> tuple[str, ...]:
    tokens = (f"{n:,}" if n is not None else "" for n in (of.tokens_in, of.cached, of.tokens_out))
    return (of.name[:50], f"{of.calls:,}", *tokens, words.dollars(of.cost), f"{of.share:.0%}" if of.share is not None else "")


def listed_tree(session: Session, tree: TraceTree) -> None:
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


def _step(session: Session, id: str, begins: str) -> str:
    """The id of the step that begins so; without a beginning the only one there is. Raises `Invalid` with those there are."""
    if STEP.fullmatch(begins):
        return begins
    steps = [s for s in session.client.traces.show(id).spans if GIVEN not in s.attributes]
    fit = [s for s in steps if s.span_id.startswith(begins)]
    if len(fit) == 1:
        return fit[0].span_id
    shown = ", ".join(f"{s.span_id} ({words.line(s.name, 30)})" for s in (fit or steps)[:NAMED])
    more = f" and {len(fit or steps) - NAMED:,} more" if len(fit or steps) > NAMED else ""
    said = f"{words.many(len(fit), 'step')} of this trace begin with {begins!r}" if begins else f"this trace has {len(steps):,} steps"
    raise Invalid(said, where="--span", remedy=f"name one of {shown}{more}")


def _whole(session: Session, trace: Trace, cursor: str | None) -> None:
    s = trace.summary
    figures = (
        f"{words.duration(s.duration_ns)} · {words.dollars(s.cost)} · {words.many(s.spans, 'span')} · {words.ago(s.start_ns, now_ns())}"
    )
    session.print(f"[bold]{plain(s.name)}[/bold]   {figures}")
    if told := [f"user {s.user}"] * bool(s.user) + [f"session {s.session}"] * bool(s.session) + [f"tag {t}" for t in trace.tags]:
        session.print(f"[dim]{plain(' · '.join(told))}[/dim]")
    children: dict[str | None, list[Span]] = {}
    shown = [span for span in trace.spans if GIVEN not in span.attributes]
    known = {span.span_id for span in shown}
    for span in shown:
        children.setdefault(span.parent if span.parent in known else None, []).append(span)
    if trace.next and not cursor:
        listed_tree(session, session.client.traces.tree(s.trace_id))
    else:
        _spans(session, children, None, "")
    for score in trace.scores:
        tell(session, score, f"session {score.session}" if score.session else score.step or "")
    if trace.next and cursor:
        session.print(f"[dim]more: windlass traces {s.trace_id} --cursor {trace.next}[/dim]")
    session.print(f"[dim]{session.link('/traces/' + s.trace_id)}[/dim]")


def _spans(session: Session, children: dict[str | None, list[Span]], parent: str | None, indent: str) -> None:
    for span in children.get(parent, []):
        failed = f"  [red]{plain(span.status_message[:120])}[/red]" if span.status == "error" else ""
        output = plain(words.line(readable(output_of(span)), 70))
        took = words.duration(span.end_ns - span.start_ns)
        kind = kind_of(span)
        session.print(f"{indent}{plain(span.name)}  [dim]{plain(kind)} · {took}[/dim]{failed}  [dim]{output}[/dim]")
        if isinstance(why := span.attributes.get(ROUTE_WHY), str):
            session.print(f"{indent}  [dim]{plain(why)}[/dim]")
        if span.span_id != parent:
            _spans(session, children, span.span_id, indent + "  ")
