"""From the spans of one run to what happened in it: steps of agents, and calls of tools with what was wanted, decided, run and told.
Pure: spans go in, a `SessionRun` comes out. Of a trace of somebody else's the calls of tools are found, without decisions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from windlass.core import span as names
from windlass.core.json_text import json_said
from windlass.core.operations.sessions import Outcome, SessionCall, SessionRun, SessionStep, Waited, Wanted
from windlass.core.operations.traces import TraceSummary
from windlass.core.span import Span, StoredSpan, input_of, kind_of, output_of
from windlass.core.trajectory import CallMade
from windlass.core.untrusted import signs

TOLD = 4_000  # characters of a result or of what a model said
RUNS = frozenset({"tool", "retrieval", "request"})  # kinds of spans in which a tool was run
FOREIGN_NAMES = (names.TOOL_NAME, "tool.name", "mcp.tool.name")


class _Tree:
    def __init__(self, spans: Sequence[Span]) -> None:
        self.by_id = {s.span_id: s for s in spans}
        self.children: dict[str | None, list[Span]] = defaultdict(list)
        for s in sorted(spans, key=lambda s: (s.start_ns, s.span_id)):
            self.children[s.parent if s.parent in self.by_id and s.parent != s.span_id else None].append(s)

    def above(self, span: Span) -> Iterable[Span]:
        """The spans that this one is in, the nearest first."""
        seen = {span.span_id}
        while (found := self.by_id.get(span.parent or "")) is not None and found.span_id not in seen:
            seen.add(found.span_id)
            yield found
            span = found

    def below(self, span: Span) -> Iterable[Span]:
        todo, seen = [span], set[str]()
        while todo:
            each = todo.pop()
            if each.span_id not in seen:
                seen.add(each.span_id)
                yield each
                todo += self.children[each.span_id]


def timeline(summary: TraceSummary, spans: Sequence[Span], versions: tuple[str, ...], shortened: bool = False) -> SessionRun:
    """What happened in one run."""
    tree = _Tree(spans)
    by_parent: dict[str | None, list[list[Span]]] = defaultdict(list)
    for group in _groups(tree, spans):
        step = next((s.span_id for s in tree.above(group[0]) if names.STEP in s.attributes), None)
        by_parent[step].append(group)
    steps = [s for s in tree.by_id.values() if names.STEP in s.attributes]
    failed = next((s.status_message for s in spans if s.parent is None and s.status == "error"), "")
    return SessionRun(
        trace=summary, versions=versions, error=failed, shortened=shortened,
        steps=tuple(_step(tree, s, by_parent[s.span_id]) for s in sorted(steps, key=lambda s: (s.start_ns, s.span_id))),
        calls=tuple(_call(tree, group) for group in by_parent[None]),
    )  # fmt: skip


def calls_of(run: SessionRun) -> list[CallMade]:
    """A run's calls as evaluators are given them, in the order they were made."""
    found = [*(c for step in run.steps for c in step.calls), *run.calls]
    made = sorted(found, key=lambda c: (c.start_ns, c.span))
    return [CallMade(c.name, c.arguments, c.caller, c.executed, c.outcome) for c in made]


def _groups(tree: _Tree, spans: Sequence[Span]) -> list[list[Span]]:
    """Spans by the call of a tool they belong to: the wait for a person, the run, what was told instead; calls by when they began."""
    found: dict[tuple[str | None, str], list[Span]] = {}
    for s in sorted(spans, key=lambda s: (s.start_ns, s.span_id)):
        if not _is_call(tree, s):
            continue
        key = (s.parent, str(s.attributes.get(names.TOOL_CALL) or s.span_id))
        if key in found and _ran(s) and any(_ran(x) for x in found[key]):
            key = (s.parent, s.span_id)  # a model that gives two calls one id made two calls all the same
        found.setdefault(key, []).append(s)
    return list(found.values())


def _is_call(tree: _Tree, s: Span) -> bool:
    if names.TOOL_NAME in s.attributes and names.CALLER in s.attributes:
        return True
    # the tool inside what runs it for an agent elsewhere is part of that call
    part = any(names.TOOL_NAME in a.attributes and a.attributes.get(names.KIND) == "request" for a in tree.above(s))
    return _kind(s) == "tool" and not part


def _step(tree: _Tree, span: Span, groups: list[list[Span]]) -> SessionStep:
    model = next((c for c in tree.children[span.span_id] if _kind(c) == "model"), None)
    agent = next((s.name for s in tree.above(span) if _kind(s) == "agent"), "")
    said, wanted = _answer(model) if model else ("", ())
    below = list(tree.below(span))
    tokens = [n for s in below if _kind(s) == "model" for n in _tokens(s)]
    number = span.attributes[names.STEP]
    return SessionStep(
        span=span.span_id, agent=agent, number=number if isinstance(number, int) else 0, start_ns=span.start_ns,
        duration_ns=_took(span), model=str(model.attributes.get(names.REQUEST_MODEL, "")) if model else "", said=_short(said),
        wanted=wanted, calls=tuple(_call(tree, g) for g in groups), cost=_cost(below),
        tokens=sum(t for t in tokens if isinstance(t, int)) if any(isinstance(t, int) for t in tokens) else None,
        error=span.status_message if span.status == "error" else "",
    )  # fmt: skip


def _call(tree: _Tree, group: list[Span]) -> SessionCall:
    ran = next((s for s in group if _ran(s)), None)
    wait = next((s for s in group if names.APPROVAL in s.attributes), None)
    last = group[-1]
    said = last.attributes
    outcome: Outcome = "ok" if ran and ran.status != "error" else "failed" if ran else "wrong" if names.DECISION not in said else "refused"
    result = output_of(last) or ""
    decision = ran if ran else last
    made = decision.attributes
    within = next((s for s in tree.above(group[0]) if names.TOOL_NAME in s.attributes), None)
    return SessionCall(
        span=(ran or last).span_id, name=_name(group[0]), start_ns=group[0].start_ns, arguments=_json(input_of(group[0])),
        caller=str(made.get(names.CALLER, "")), executed=ran is not None, outcome=outcome, decision=str(made.get(names.DECISION, "")),
        code=str(made.get(names.DECISION_CODE, "")), why=str(made.get(names.DECISION_WHY, "")), grant=str(made.get(names.GRANT, "")),
        audit=made[names.AUDIT] if isinstance(made.get(names.AUDIT), int) else None, tool=_tool(tree, ran) if ran else "",
        duration_ns=_took(ran) if ran else 0, cost=_cost(tree.below(ran)) if ran else None, result=_short(result),
        error=ran.status_message if ran and ran.status == "error" else "", untrusted=tuple(signs(result)) if ran else (),
        waited=_waited(wait) if wait else None, inside=_name(within) if within else "",
    )  # fmt: skip


def _waited(span: Span) -> Waited:
    said = span.attributes
    return Waited(str(said[names.APPROVAL]), str(said.get(names.APPROVED, "")), _took(span), str(said.get(names.DECISION_WHY, "")))


def _ran(s: Span) -> bool:
    """Whether a tool was run in this span, rather than waited for or refused."""
    return _kind(s) in RUNS and s.attributes.get(names.DECISION, "allow") == "allow" and not s.name.startswith("told: ")


def _tool(tree: _Tree, ran: Span) -> str:
    for s in tree.below(ran):
        for ref in s.attributes.get(names.VERSIONS) or ():
            if isinstance(ref, str) and ref.startswith(("tool/", "index/")):
                return ref
    return ""


def _answer(model: Span) -> tuple[str, tuple[Wanted, ...]]:
    """What a model said, and the calls it asked for."""
    said, wanted = list[str](), list[Wanted]()
    messages = _json(model.attributes.get(names.OUTPUT_MESSAGES))
    for message in messages if isinstance(messages, list) else ():
        parts = message.get("parts") if isinstance(message, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if not isinstance(part, dict):
                continue
            if part.get("type") == "tool_call":
                wanted.append(Wanted(str(part.get("name", "")), part.get("arguments")))
            elif isinstance(text := part.get("text", part.get("content")), str):
                said.append(text)
    return "\n".join(said), tuple(wanted)


def _name(s: Span) -> str:
    return next((str(s.attributes[n]) for n in FOREIGN_NAMES if s.attributes.get(n)), s.name.removeprefix("tool/"))


def _kind(s: Span) -> str:
    told = kind_of(s)
    return told if told != "span" else _OF_OTHERS.get(str(s.attributes.get(names.OPERATION)), "")


_OF_OTHERS = {"execute_tool": "tool", "chat": "model", "invoke_agent": "agent"}


def _took(s: Span) -> int:
    return max(0, s.end_ns - s.start_ns)


def _tokens(s: Span) -> tuple[Any, Any]:
    if isinstance(s, StoredSpan):
        return s.tokens_in, s.tokens_out
    return s.attributes.get(names.INPUT_TOKENS), s.attributes.get(names.OUTPUT_TOKENS)


def _cost(spans: Iterable[Span]) -> float | None:
    """What these cost; None where something was asked and had no price."""
    calls = [s for s in spans if _kind(s) in ("model", "embedding")]
    asked = [s.cost if isinstance(s, StoredSpan) else s.attributes.get(names.COST) for s in calls]
    return None if any(c is None for c in asked) else sum(float(c) for c in asked if c is not None)


def _json(text: Any) -> Any:
    """What a span keeps as JSON text; text that was shortened, or is none, as it is."""
    return json_said(text) if isinstance(text, str) else text


def _short(text: str) -> str:
    return text if len(text) <= TOLD else f"{text[:TOLD]}… ({len(text):,} characters)"
