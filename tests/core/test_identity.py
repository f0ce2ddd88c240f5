"""Each field of each kind: identity changes the digest, neutral does not, and dependencies are all found."""

from typing import Any

import msgspec
import pytest

from windlass.core import artifacts as a
from windlass.core.alert import MetricRule
from windlass.core.errors import Invalid
from windlass.core.pin import Column, Spec

D = ["sha256:" + c * 64 for c in "0123456789"]
CODE = a.Code("app:answer", {"app:answer": D[0]}, "3.11", modules={"m": D[1]}, files={"f": D[2]}, packages={"p": "1"})
SPEC = Spec("bigquery", "bigquery://shop", ("id",), "SELECT 1", "t", {"since": 1}, "shop")
MCP = a.McpTool(a.McpServer(("python", "-m", "notes"), "http://127.0.0.1/mcp", ("KEY",), "TOKEN", ("look",)), "look", {"type": "string"})
EXAMPLES: dict[str, msgspec.Struct] = {
    "prompt": a.PromptBody(
        (a.TemplateMessage("user", "hi {{ q }}"),), {"q": {"type": "string"}}, "jinja2@3.1", {"t": 1}, {"type": "object"}, D[0]
    ),
    "fewshot": a.DatasetBody(D[0], 3, "tree@1"),
    "schema": a.SchemaBody({"type": "string"}),
    "dataset": a.DatasetBody(D[1], 3, "tree@1"),
    "component": a.ComponentBody(D[0], D[1], {"temperature": 0.5}, {"type": "object"}),
    "chain": a.ChainBody(CODE, (D[1],), {"type": "object"}, {"type": "string"}, "sync", True),
    "tool": a.ToolBody(CODE, "look", "Looks.", {"type": "object"}, "read", (D[3],), ("MAIL_KEY",), MCP),
    "agent": a.AgentBody(D[0], D[1], (D[2],), {"steps": 8}, {"t": 1}, {"type": "object"}),
    "evaluator": a.EvaluatorBody(CODE, ("output",), (0.0, 2.0), (D[3],)),
    "suite": a.SuiteBody("chain/answer", D[0], (a.Guard("g", D[1], 0.02, 0.6),), "test", 0.01, 2, 7),
    "index": a.IndexBody(D[0], D[1], {"name": "by_heading"}, "fts5@2", {"k": 1}, {"name": "minilm"}),
    "model": a.ModelBody("openai", "gpt", True, {"t": 1}),
    "adapter": a.AdapterBody(D[0], D[1], "lora", {"r": 8}),
    "policy": a.PolicyBody([{"allow": "x"}]),
    "release": a.ReleaseBody("chain", D[0], (D[1],), (D[2],)),
    "pin": a.PinBody(SPEC, 1, (Column("id", "INT64", True),), 1, D[0], {"system_time": "x"}, True, 2, ("shop.d.t",), "reader"),
    "monitor": a.MonitorBody("answers", {"name": "words"}, "answer", "shop", "staging", 0.01, 0.1, 0.5, ("grounded",), 0.1, 7),
    "alert": a.AlertBody(
        ("skew",),
        ("inputs",),
        "critical",
        False,
        "https://h/hook",
        "HOOK_SECRET",
        ("a@b.example",),
        60,
        True,
        MetricRule("latency", "p95", 2.0, 0.5, 60, "attr.x:y", "s", "histogram", True),
    ),
}


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict) and value:
        return [p for k, v in value.items() for p in leaves(v, (*path, k))]
    if isinstance(value, (list, tuple)) and value:
        return [p for i, v in enumerate(value) for p in leaves(v, (*path, i))]
    return [path]


def mutated(value: Any, path: tuple[Any, ...]) -> Any:
    if not path:
        if isinstance(value, bool):
            return not value
        if isinstance(value, (int, float)):
            return value + 1
        return f"{value}x" if isinstance(value, str) else "x"
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = mutated(copy[path[0]], path[1:])
    return copy


def test_an_example_sets_every_field_of_every_kind() -> None:
    assert set(EXAMPLES) == set(a.BODIES)
    for kind, body in EXAMPLES.items():
        assert type(body) is a.BODIES[kind]
        assert set(msgspec.to_builtins(body)) == set(body.__struct_fields__), kind


@pytest.mark.parametrize("kind", sorted(EXAMPLES))
def test_every_leaf_is_identity(kind: str) -> None:
    body = msgspec.to_builtins(EXAMPLES[kind])
    before = a.body_digest(kind, body)
    paths = leaves(body)
    assert paths
    for path in paths:
        assert a.body_digest(kind, mutated(body, path)) != before, path


@pytest.mark.parametrize("kind", sorted(EXAMPLES))
def test_name_links_and_neutral_are_not_identity(kind: str) -> None:
    one = a.make_version(kind, "one", EXAMPLES[kind])
    other = a.make_version(
        kind, "other", EXAMPLES[kind], links=(a.Link("uses", "prompt", "p", D[0]),), neutral={"description": "new"}, project="shop"
    )
    assert one.digest == other.digest


def test_the_kind_is_identity() -> None:
    body = msgspec.to_builtins(a.DatasetBody(D[0], 1, "tree@1"))
    assert a.body_digest("dataset", body) != a.body_digest("fewshot", body)


@pytest.mark.parametrize("kind", sorted(EXAMPLES))
def test_dependencies_are_all_digests_but_code_and_blobs(kind: str) -> None:
    body = msgspec.to_builtins(EXAMPLES[kind])
    blobs = {"fewshot": {"rows"}, "dataset": {"rows"}, "index": {"chunks"}, "adapter": {"weights"}, "pin": {"rows"}}
    own = blobs.get(kind, set()) | {"code"}
    held = {v for p in leaves({k: x for k, x in body.items() if k not in own}) for v in [_at(body, p)] if v in D}
    assert a.dependencies(kind, body) == held


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def test_a_body_has_one_form() -> None:
    with pytest.raises(Invalid, match="shortest form"):
        a.check_body("model", {"provider": "p", "model": "m", "pinned": False})
    with pytest.raises(Invalid, match="shortest form"):
        a.check_body("model", {"provider": "p", "model": "m", "more": 1})
    with pytest.raises(Invalid, match="missing required field `model`"):
        a.check_body("model", {"provider": "p"})
