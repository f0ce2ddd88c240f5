"""What pages compute before they draw: waterfall, lineage columns, evidence curve, inputs of a schema."""

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.store.test_span_tree import asked, row

from windlass.core.operations.evaluation import Outcome, Pair
from windlass.core.operations.registry import Edge, Graph, Node
from windlass.core.score import GuardResult, Score
from windlass.core.span import Span, StoredSpan
from windlass.doors.web.evaluations import side_by_side
from windlass.doors.web.lineage import draw
from windlass.doors.web.playground import fields_of, filled, ran
from windlass.doors.web.trace_trees import TreeLine, drawn
from windlass.doors.web.traces import conversation, question
from windlass.doors.web.verdicts import CHART_BOTTOM, CHART_LEFT, CHART_RIGHT, CHART_TOP, curve


def span(identity: int, parent: int | None, start: int, end: int, **attributes: Any) -> Span:
    over = f"{parent:016x}" if parent is not None else None
    return Span("a" * 32, f"{identity:016x}", f"s{identity}", start, end, over, attributes=attributes)


def lines(*steps: tuple[int, int | None, int, int]) -> tuple[TreeLine, ...]:
    return drawn(asked([row(*step) for step in steps])).lines


def test_a_tree_reads_in_start_order() -> None:
    told = lines((3, 1, 60, 90), (1, None, 0, 100), (2, 1, 10, 50), (4, 3, 61, 62))
    assert [(line.step.name, line.level) for line in told if line.step] == [("s1", 0), ("s2", 1), ("s3", 1), ("s4", 2)]
    assert (told[1].left, told[1].width) == (10.0, 40.0)


def test_orphans_and_self_parents_stand_as_roots() -> None:
    assert [line.level for line in lines((1, 99, 5, 6), (2, 2, 0, 1))] == [0, 0]


@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.one_of(st.none(), st.integers(0, 8)), st.integers(0, 50), st.integers(0, 50)),
        min_size=1,
        max_size=9,
        unique_by=lambda s: s[0],
    )
)
def test_bars_never_leave_the_picture(steps: list[tuple[int, int | None, int, int]]) -> None:
    told = lines(*steps)
    assert all(0 <= line.left <= 100 and 0 < line.width <= 100.001 for line in told)
    assert len({line.step.span_id for line in told if line.step}) == len(told) == len(steps)


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


def test_the_playground_takes_what_a_step_was_given() -> None:
    schema = {"properties": {"question": {"type": "string"}, "k": {"type": "integer"}}, "required": ["question"]}
    fields = fields_of(schema)
    told, left = filled(fields, '{"question": "why?", "k": 3, "who": "anna"}')
    assert [(f.name, f.value) for f in told] == [("question", "why?"), ("k", "3")]
    assert left == ("who",)
    talk = '[{"role": "user", "content": "first"}, {"role": "assistant", "content": "so"}, {"role": "user", "content": "and then?"}]'
    assert filled(fields, talk)[0][0].value == "and then?"
    assert filled(fields, '"a text alone"')[0][0].value == "a text alone"
    assert filled(fields, "no { JSON")[0][0].value == "no { JSON"
    told, left = filled(fields, '{"question": "mail [masked:email] now", "k": 1}')
    assert (told[0].value, left) == ("", ("question, which is masked",))
    assert filled((), '{"a": 1}') == ((), ("a",))
    two = fields_of({"properties": {"a": {"type": "string"}, "b": {"type": "string"}}})
    assert filled(two, '"which of them?"') == (two, ("what it was given",))
    assert filled(two, "") == (two, ())


def test_what_ran_in_a_step() -> None:
    versions = ["prompt/a@sha256:1", "component/a@sha256:2", "index/b@sha256:3"]
    assert ran(span(1, None, 0, 1, **{"windlass.versions": versions})) == "component/a@sha256:2"
    assert ran(span(1, None, 0, 1, **{"windlass.versions": versions[:1]})) is None
    assert ran(span(1, None, 0, 1)) is None
    assert ran(None) is None
