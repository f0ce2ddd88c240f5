"""What pages compute before they draw: waterfall, lineage columns, evidence curve, inputs of a schema."""

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from windlass.core.operations.evaluation import Outcome, Pair
from windlass.core.operations.registry import Edge, Graph, Node
from windlass.core.score import GuardResult, Score
from windlass.core.span import Span, StoredSpan
from windlass.doors.web.evaluations import side_by_side
from windlass.doors.web.lineage import draw
from windlass.doors.web.playground import fields_of
from windlass.doors.web.traces import conversation, question, waterfall
from windlass.doors.web.verdicts import CHART_BOTTOM, CHART_LEFT, CHART_RIGHT, CHART_TOP, curve


def span(identity: int, parent: int | None, start: int, end: int, **attributes: Any) -> Span:
    over = f"{parent:016x}" if parent is not None else None
    return Span("a" * 32, f"{identity:016x}", f"s{identity}", start, end, over, attributes=attributes)


def test_waterfall_reads_as_a_tree_in_start_order() -> None:
    lines = waterfall((span(3, 1, 60, 90), span(1, None, 0, 100), span(2, 1, 10, 50), span(4, 3, 61, 62)))
    assert [(line.span.name, line.level) for line in lines] == [("s1", 0), ("s2", 1), ("s3", 1), ("s4", 2)]
    assert (lines[1].left, lines[1].width) == (10.0, 40.0)


def test_orphans_and_self_parents_stand_as_roots() -> None:
    lines = waterfall((span(1, 99, 5, 6), span(2, 2, 0, 1)))
    assert [line.level for line in lines] == [0, 0]


@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.one_of(st.none(), st.integers(0, 8)), st.integers(0, 50), st.integers(0, 50)),
        max_size=9,
        unique_by=lambda s: s[0],
    )
)
def test_waterfall_never_leaves_the_picture(spans: list[tuple[int, int | None, int, int]]) -> None:
    lines = waterfall(tuple(span(*s) for s in spans))
    assert all(0 <= line.left <= 100 and 0 < line.width <= 100.001 for line in lines)
    assert len({line.span.span_id for line in lines}) == len(lines) <= len(spans)


def test_conversation_prefers_messages_and_survives_nonsense() -> None:
    told = {"gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"hi"}]},7]'}
    assert texts(told, input_from="gen_ai.input.messages") == [("user", ["hi"])]
    told = {"gen_ai.input.messages": "not json", "windlass.input": '{"q":1}', "windlass.output": '"yes"'}
    said = [("input", ['{\n  "q": 1\n}']), ("output", ["yes"])]
    assert texts(told, input_from="windlass.input", output_from="windlass.output") == said
    assert texts({}, told_input='[{"role": "user", "content": "hi"}, {"type": "odd"}]') == [
        ("user", ["hi"]),
        ("input", ['{\n  "type": "odd"\n}']),
    ]
    assert texts({"windlass.log.body": {"a": 1}}, kind="log") == [("log", ['{\n  "a": 1\n}'])]
    assert texts({}) == []


def texts(attributes: dict[str, Any], **told: str) -> list[tuple[str, list[str]]]:
    kept = StoredSpan("a" * 32, "b" * 16, "s", 0, 1, attributes=attributes, **told)
    return [(turn.role, [part.text for part in turn.parts]) for turn in conversation(kept)]


def test_question_is_the_only_text_of_the_input() -> None:
    assert question('{"question": "How?"}') == "How?"
    assert question('{"a": 1, "b": 2}') == '{\n  "a": 1,\n  "b": 2\n}'
    assert question("plain") == "plain"


def test_lineage_puts_dependencies_left_and_draws_every_wire() -> None:
    def node(name: str, depth: int) -> Node:
        return Node(f"prompt/{name}@x", "prompt", name, "x", depth)

    nodes = (node("mid", 0), node("low", -1), node("other", -1), node("top", 1))
    edges = (
        Edge("prompt/mid@x", "prompt/low@x", "uses"),
        Edge("prompt/mid@x", "prompt/other@x", "uses"),
        Edge("prompt/top@x", "prompt/mid@x", "uses"),
    )
    drawn = draw(Graph("prompt/mid@x", nodes, edges))
    x = {p.node.name: p.x for p in drawn.nodes}
    assert x["low"] == x["other"] < x["mid"] < x["top"] < drawn.width
    assert len(drawn.wires) == 3
    boxes = [(p.x, p.y) for p in drawn.nodes]
    assert len(set(boxes)) == len(boxes) and all(0 <= y < drawn.height for _, y in boxes)


def test_evidence_touches_the_dashed_line_at_the_threshold() -> None:
    guard = GuardResult("g", "d", "promote", evidence=((50, math.sqrt(20)), (100, 20.0)))
    points = [tuple(map(float, p.split(","))) for p in curve(guard, 100, 20).points.split()]
    assert points == [
        (CHART_LEFT, CHART_BOTTOM),
        ((CHART_LEFT + CHART_RIGHT) / 2, (CHART_TOP + CHART_BOTTOM) / 2),
        (CHART_RIGHT, CHART_TOP),
    ]


def test_side_by_side_keeps_scores_that_only_one_arm_has() -> None:
    a = Outcome("r", 0, "q", scores=(Score("x", 1.0), Score("gone", 0.5)))
    b = Outcome("r", 0, "q", scores=(Score("x", None, "refused"), Score("new", 1.0)))
    row = side_by_side(Pair("r", a, b))
    assert {c.evaluator: (c.before, c.after) for c in row.changes} == {"x": (1.0, None), "new": (None, 1.0), "gone": (0.5, None)}
    assert side_by_side(Pair("r", a, None)).shown is a


def test_fields_of_a_schema() -> None:
    schema = {"properties": {"q": {"type": "string", "description": "the question"}, "k": {"type": "integer"}}, "required": ["q"]}
    found = fields_of(schema)
    assert [(f.name, f.kind, f.required) for f in found] == [("q", "text", True), ("k", "json", False)]
    assert found[0].description == "the question"
