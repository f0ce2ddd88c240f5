"""How the baseline model uses tools: one call at a time, each tool at most once a question, then an answer.

It calls the tool whose name and description fit the question best: a tool that evaluates gets the literal expression in
the question, a tool that reads one entry an identifier the question writes, a tool that searches the question itself. After
a result it answers from it; if a search found a passage but no firm answer, it reads that passage's entry where a tool can.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

from windlass.core.message import Message, ToolCallPart, ToolResultPart, ToolSpec
from windlass.runtime.models.baseline_prompt import Brief
from windlass.runtime.models.baseline_reader import FIRM, Extract, lent
from windlass.runtime.models.baseline_text import terms

_EVALUATES = re.compile(r"evaluat|expression|calculat|arithmetic|comput", re.IGNORECASE)
_SEARCHES = re.compile(r"search|find|look ?up|retriev|query", re.IGNORECASE)
_READS_PARAMETER = re.compile(r"symbol|name|key|entry|id$|identifier|path|module", re.IGNORECASE)
_ASKS_PARAMETER = re.compile(r"query|question|text|search|input|prompt|keywords|topic|expression|code", re.IGNORECASE)
_IDENTIFIER = re.compile(r"`([A-Za-z_][\w.]*)(?:\(\))?`|(?<![\w.])([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)|(?<![\w.])([A-Za-z]\w*_\w+)")
_SPAN = re.compile(r"`([^`]+)`|((?:[\d(\[{'\"+\-]|True|False)[^?]*)")
_LITERALS = (
    ast.Expression, ast.Constant, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.List, ast.Tuple, ast.Dict, ast.Set,
    ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context,
)  # fmt: skip


def next_call(messages: Sequence[Message], tools: Sequence[ToolSpec], brief: Brief, extract: Extract) -> tuple[str, dict[str, Any]] | None:
    """The tool to call next and its arguments, or None when it is time to answer."""
    last = max((i for i, m in enumerate(messages) if m.role == "user"), default=0)
    called = [c for m in messages[last:] for c in m.tool_calls]
    done = {c.name for c in called}
    if called and any(_tool_kind(t) == "evaluate" for t in tools if t.name == called[-1].name):
        return None
    firm = extract.answered and extract.confidence >= FIRM
    if firm:
        return None
    for score, tool in _ranked(tools, brief, after_search=extract if called else None):
        if score > 0 and tool.name not in done:
            arguments = _arguments(tool, brief, extract if called else None)
            if arguments is not None:
                return tool.name, arguments
    return None


def plain_result(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str | None:
    """What an evaluating tool answered last: that is the answer itself, not a text to read."""
    kinds = {t.name: _tool_kind(t) for t in tools}
    last = max((i for i, m in enumerate(messages) if m.role == "user"), default=0)
    calls: dict[str, ToolCallPart] = {}
    answer = None
    for message in messages[last:]:
        calls.update({c.id: c for c in message.tool_calls})
        for part in message.parts:
            if isinstance(part, ToolResultPart):
                call = calls.get(part.id)
                answer = part.content if call is not None and kinds.get(call.name) == "evaluate" else None
    return answer


def expression(question: str) -> str | None:
    """The literal expression a question holds, the longest that parses and computes something or is a
    collection; None when there is none."""
    found: list[str] = []
    for span in _SPAN.finditer(question):
        text = (span[1] or span[2]).strip().rstrip(".,;:!? ")
        words = text.split(" ")
        for end in range(len(words), 0, -1):
            candidate = " ".join(words[:end]).rstrip(".,;:!?")
            if _is_literal(candidate):
                found.append(candidate)
                break
    return max(found, key=len, default=None)


def _is_literal(text: str) -> bool:
    if not text or len(text) > 400:
        return False
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    nodes = list(ast.walk(tree))
    computes = any(isinstance(n, (ast.BinOp, ast.Compare, ast.BoolOp)) for n in nodes)
    return all(isinstance(n, _LITERALS) for n in nodes) and (computes or text[0] in "[{(")


def identifiers(question: str) -> list[str]:
    """What the question writes as code would: in backticks, dotted, or with an underscore."""
    return [next(g for g in m.groups() if g) for m in _IDENTIFIER.finditer(question)]


def _tool_kind(tool: ToolSpec) -> str:
    about = f"{tool.name.replace('_', ' ')} {tool.description}"
    if _EVALUATES.search(about) and not _SEARCHES.search(tool.name):
        return "evaluate"
    if _SEARCHES.search(about):
        return "search"
    if any(_READS_PARAMETER.search(p) for p in _required(tool)):
        return "read"
    return "other"


def _ranked(tools: Sequence[ToolSpec], brief: Brief, *, after_search: Extract | None) -> list[tuple[float, ToolSpec]]:
    """Tools with how well each fits, best first; equals in the order given."""
    wanted = {**lent(brief), **dict.fromkeys(terms(brief.question), 1.0)}
    scored = []
    for place, tool in enumerate(tools):
        about = set(terms(f"{tool.name} {tool.description}"))
        score = sum(weight for term, weight in wanted.items() if term in about)
        kind = _tool_kind(tool)
        if kind == "evaluate":
            score = score + 6.0 if expression(brief.question) else 0.0
        elif kind == "read":
            known = identifiers(brief.question) or (after_search is not None and after_search.keys)
            score = score + 4.0 if known else 0.0
        elif kind == "search":
            score += 2.0
        scored.append((-score, place, tool))
    return [(-negative, tool) for negative, _, tool in sorted(scored, key=lambda s: s[:2])]


def _arguments(tool: ToolSpec, brief: Brief, found: Extract | None) -> dict[str, Any] | None:
    """Arguments by the schema: every required one, from the question; None when one cannot be filled."""
    properties: dict[str, Any] = tool.parameters.get("properties") or {}
    kind = _tool_kind(tool)
    filled: dict[str, Any] = {}
    for name in _required(tool):
        schema = properties.get(name) if isinstance(properties.get(name), dict) else {}
        assert isinstance(schema, dict)
        value = _argument(name, schema, kind, brief, found)
        if value is None:
            return None
        filled[name] = value
    return filled


def _required(tool: ToolSpec) -> list[str]:
    properties: dict[str, Any] = tool.parameters.get("properties") or {}
    required: list[str] = tool.parameters.get("required") or []
    return required or list(properties)[:1]


def _argument(name: str, schema: dict[str, Any], kind: str, brief: Brief, found: Extract | None) -> Any:
    if "default" in schema:
        return schema["default"]
    if schema.get("enum"):
        asked = set(terms(brief.question))
        return max(schema["enum"], key=lambda v: len(asked & set(terms(str(v)))))
    declared = schema.get("type", "string")
    if declared in ("integer", "number"):
        number = re.search(r"-?\d+", brief.question)
        return int(number[0]) if number else schema.get("minimum", 1)
    if declared == "boolean":
        return True
    if declared == "array":
        return [brief.question]
    if declared != "string":
        return None
    if kind == "evaluate":
        return expression(brief.question)
    if kind == "read" or (_READS_PARAMETER.search(name) and not _ASKS_PARAMETER.search(name)):
        known = identifiers(brief.question) + (found.keys if found is not None else [])
        return known[0] if known else None
    return brief.question
