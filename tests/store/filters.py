"""What a filter says of traces, in plain Python over rows: what the stores are held against."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import msgspec

from windlass.core.filter import And, Node, Not, Or, Term, attribute_of, judgement, spellings
from windlass.core.span import GIVEN, GIVEN_TO, LABEL, SCORE, SCORED
from windlass.store.spans import SpanRow

OPS = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
COLUMNS = {"env": "environment"}
CALLS = ("model", "embedding")


def traces_that_fit(rows: Sequence[SpanRow], tree: Node | None) -> list[str]:
    """Of a revised span the newest counts. The newest trace first."""
    newest: dict[tuple[str, str], SpanRow] = {}
    for row in rows:
        key = (row.trace_id, row.span_id)
        if row.kind != "log" and (key not in newest or row.receipt_ns > newest[key].receipt_ns):
            newest[key] = row
    found = []
    for trace, group in groupby(sorted(newest.values(), key=lambda r: r.trace_id), key=lambda r: r.trace_id):
        spans = list(group)
        if tree is None or fits(spans, tree):
            found.append((-min(s.start_ns for s in spans), trace))
    return [trace for _, trace in sorted(found)]


def fits(spans: list[SpanRow], node: Node) -> bool:
    if isinstance(node, Not):
        return not fits(spans, node.part)
    if isinstance(node, And):
        return all(fits(spans, p) for p in node.parts)
    if isinstance(node, Or):
        return any(fits(spans, p) for p in node.parts)
    if node == Term("status", "ok"):
        return not fits(spans, Term("status", "error"))
    if node.field in ("latency", "cost", "tokens", "spans"):
        told = totals(spans)[node.field]
        return told is not None and OPS[node.op](told, node.value)
    if node.field == "has" and node.value in ("cost", "tokens"):
        return totals(spans)[str(node.value)] is not None
    return any(step_fits(s, node) for s in spans)


def totals(spans: list[SpanRow]) -> dict[str, Any]:
    outer = {s.parent for s in spans if s.kind in CALLS}
    calls = [s for s in spans if s.kind in CALLS and s.span_id not in outer]
    costs = [s.cost for s in calls if s.cost is not None]
    tokens = [(s.tokens_in or 0) + (s.tokens_out or 0) for s in calls if s.kind == "model" and (s.tokens_in, s.tokens_out) != (None, None)]
    ends = [s.end_ns for s in spans if s.kind != "evaluator"] or [s.end_ns for s in spans]
    return {
        "latency": max(ends) - min(s.start_ns for s in spans), "cost": round(sum(costs), 12) if costs else None,
        "tokens": sum(tokens) if tokens else None, "spans": sum(s.kind != "evaluator" or s.end_ns > s.start_ns for s in spans),
    }  # fmt: skip


def step_fits(s: SpanRow, t: Term) -> bool:
    text = str(t.value)

    def is_it(value: str | None) -> bool:
        return value is not None and (value.startswith(text) if t.prefix else value == text)

    def within(*texts: str | None, spelt: bool = True) -> bool:
        return any(
            said is not None and spelling.lower() in said.lower() for said in texts for spelling in (spellings(text) if spelt else [text])
        )

    def version(ref: str) -> bool:
        head, at, digest = ref.partition("@")
        return any(
            v.startswith(f"{head}@sha256:{digest.removeprefix('sha256:')}" if at else head if t.prefix else f"{head}@") for v in s.versions
        )

    if (attribute := attribute_of(t.field)) is not None:
        return attribute_fits(
            msgspec.json.decode(s.attributes if attribute[0] == "attr" else s.resource or "{}").get(attribute[1]), t, is_it
        )
    match t.field:
        case "name" | "model" | "provider" | "tool" | "service" | "session" | "user" | "env":
            return is_it(getattr(s, COLUMNS.get(t.field, t.field)))
        case "":
            return within(s.input, s.output) or within(s.name, spelt=False)
        case "input" | "output":
            return within(getattr(s, t.field))
        case "error":
            return s.status == "error" and within(s.status_message, spelt=False)
        case "kind":
            return s.kind == text
        case "root":
            return s.parent is None and s.kind == text
        case "status":
            return s.parent is None and s.status == "error"
        case "tag":
            return any(map(is_it, s.tags))
        case "uses":
            return version(text)
        case "release":
            head, at, digest = text.partition("@")
            begins = f"release/{head}@sha256:{digest}" if at else f"release/{head}" if t.prefix else f"release/{head}@"
            return s.release is not None and s.release.startswith(begins)
        case "prompt":
            named = is_it(s.prompt) or ("@" not in text and (s.prompt or "").startswith(f"{text}@"))
            return named or version(f"prompt/{text}")
        case "passage":
            key = f'"key":{msgspec.json.encode(text).decode()}'
            return s.kind == "retrieval" and (key[:-1] if t.prefix else key) in (s.output or "")
        case "score":
            return score_fits(s, text)
    return has(s, text)


def attribute_fits(value: Any, t: Term, is_it: Any) -> bool:
    if value is None:
        return False
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    number = float(text) if re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", text) else None
    if t.op != "=":
        return number is not None and OPS[t.op](number, t.value)
    wanted = str(t.value)
    alike = not t.prefix and number is not None and re.fullmatch(r"-?\d+(\.\d+)?", wanted) is not None and number == float(wanted)
    return bool(is_it(text) or alike)


def score_fits(s: SpanRow, text: str) -> bool:
    j, said = judgement(text), msgspec.json.decode(s.attributes)
    if s.kind != "evaluator" or said.get(SCORED) != j.name or said.get(GIVEN) == "withdrawn" or said.get(GIVEN_TO) == "session":
        return False
    if j.value is None:
        return True
    return said.get(LABEL) == j.value if isinstance(j.value, str) else said.get(SCORE) is not None and OPS[j.op](said[SCORE], j.value)


def has(s: SpanRow, what: str) -> bool:
    if (attribute := attribute_of(what)) is not None:
        return msgspec.json.decode(s.attributes if attribute[0] == "attr" else s.resource or "{}").get(attribute[1]) is not None
    match what:
        case "error":
            return s.status == "error"
        case "tag":
            return bool(s.tags)
        case "score":
            return s.kind == "evaluator" and msgspec.json.decode(s.attributes).get(GIVEN) != "withdrawn"
        case "prompt":
            return bool(s.prompt) or any(v.startswith("prompt/") for v in s.versions)
    return bool(getattr(s, COLUMNS.get(what, what)))
