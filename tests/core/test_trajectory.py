"""docs/trajectories.md is what is measured: its table, what independent implementations said of the same cases, and properties."""

from __future__ import annotations

import itertools
import json
import random
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import windlass as w
from windlass.core.errors import Invalid
from windlass.core.trajectory import NAMES, CallMade, Metric, entry_of, measure, metric_of

PAGE = (Path(__file__).parents[2] / "docs/trajectories.md").read_text()
PEERS = json.loads((Path(__file__).parent / "trajectory_vectors.json").read_text())
ROWS = re.findall(r"^\| (\w+) \| ([\w=]*) *\| (.+?) \| (.+?) \| ([\d.]+|unmeasured) \|$", PAGE.partition("## Vectors")[2], re.M)


def read(text: str) -> list[Any]:
    """Calls as the page writes them: `a{"x": 1} [b c]`; a mark before a call stands in its name."""
    found: list[Any] = []
    groups = [found]
    text = text.replace("—", "").strip()
    while text:
        if text[0] == "[":
            groups.append([])
            groups[0].append(groups[-1])
            text = text[1:].lstrip()
        elif text[0] == "]":
            groups.pop()
            text = text[1:].lstrip()
        else:
            name = re.match(r"[!?]?\w+", text)
            assert name, text
            call: dict[str, Any] = {"name": name[0]}
            text = text[name.end() :]
            if text.startswith("{"):
                call["arguments"], end = json.JSONDecoder().raw_decode(text)
                text = text[end:]
            groups[-1].append(call)
            text = text.lstrip()
    return found


def made_of(calls: list[Any]) -> list[CallMade]:
    outcomes = {"!": (False, "refused"), "?": (True, "failed")}
    found = []
    for call in calls:
        executed, outcome = outcomes.get(call["name"][0], (True, "ok"))
        found.append(CallMade(call["name"].lstrip("!?"), call.get("arguments", {}), "agent/a", executed, outcome))  # type: ignore[arg-type]
    return found


def metric(name: str, how: str) -> Metric:
    field = "tool" if "=" in how else "of" if how in ("attempted", "succeeded") else "arguments"
    return msgspec.convert({"name": name, **({field: how.removeprefix("tool=")} if how else {})}, Metric)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: "-".join(r))
def test_the_page_says_what_is_measured(row: tuple[str, ...]) -> None:
    name, how, wanted, made, value = row
    found = measure(metric(name, how), made_of(read(made)), {"trajectory": read(wanted)})
    assert found.value == (None if value == "unmeasured" else float(value)), found.why
    assert found.value is not None or found.why


def test_the_table_is_all_there() -> None:
    assert len(ROWS) == 64
    assert {r[0] for r in ROWS} == set(NAMES)


@pytest.mark.parametrize("peer", sorted({v["peer"] for v in PEERS}))
def test_others_say_the_same(peer: str) -> None:
    mine = [v for v in PEERS if v["peer"] == peer]
    assert {v["value"] for v in mine} == {0.0, 1.0}
    for v in mine:
        calls = [CallMade(n, a, "agent/a", True, "ok") for n, a in v["made"]]
        wanted = [[_wanted(c) for c in x] if isinstance(x[0], list) else _wanted(x) for x in v["wanted"]]
        found = measure(metric(v["metric"], v["arguments"] if v["arguments"] != "equal" else ""), calls, {"trajectory": wanted})
        assert found.value == v["value"], v


def _wanted(call: list[Any]) -> dict[str, Any]:
    return {"name": call[0], "arguments": call[1]}


names = st.sampled_from("abc")
some_calls = st.lists(st.tuples(names, st.dictionaries(st.sampled_from("xy"), st.integers(0, 1), max_size=2)), max_size=5)
groups = st.lists(st.lists(names, min_size=1, max_size=3), max_size=3)


def value(name: str, calls: Any, wanted: Any, arguments: Any = "equal") -> float | None:
    given_calls = [CallMade(n, a, "agent/a", True, "ok") for n, a in calls]
    return measure(Metric(name, arguments), given_calls, {"trajectory": wanted}).value  # type: ignore[arg-type]


@given(some_calls, some_calls, st.sampled_from(["equal", "some", "none"]))
@settings(deadline=None)
def test_metrics_agree_with_each_other_and_with_trying_everything(made: Any, wanted: Any, mode: Any) -> None:
    reference = [_wanted(list(c)) for c in wanted]
    got = {m: value(m, made, reference, mode) for m in ("exact", "in_order", "any_order", "precision", "recall")}
    if wanted:
        assert (got["exact"] or 0) <= (got["in_order"] or 0) <= (got["any_order"] or 0)
        assert (got["recall"] == 1) == (got["any_order"] == 1)
    if wanted and made:
        assert (got["precision"] or 0) * len(made) == pytest.approx((got["recall"] or 0) * len(wanted))
        fits = [[value("exact", [m], [r], mode) == 1 for r in reference] for m in made]
        if len(made) > len(wanted):
            fits = [list(column) for column in zip(*fits, strict=True)]
        ways = itertools.permutations(range(len(fits[0])), len(fits))
        best = max(sum(row[at] for row, at in zip(fits, way, strict=True)) for way in ways)
        assert (got["recall"] or 0) * len(wanted) == pytest.approx(best)


@given(st.lists(names, max_size=7), groups)
@settings(deadline=None)
def test_calls_of_one_group_stand_in_any_order(made: list[str], wanted: list[list[str]]) -> None:
    written = [[{"name": n} for n in g] for g in wanted]
    ways = [[n for g in way for n in g] for way in itertools.product(*(itertools.permutations(g) for g in wanted))]
    calls = [(n, {}) for n in made]
    for name in ("exact", "in_order"):
        one_by_one = {value(name, calls, [{"name": n} for n in way]) for way in ways}
        assert value(name, calls, written) == (max(v for v in one_by_one if v is not None) if None not in one_by_one else None)


@pytest.mark.parametrize(
    "bad", [5, "a", {"name": "a"}, ["a"], [{"nam": "a"}], [{"name": 1}], [{"name": "a", "arguments": []}], [[[{"name": "a"}]]], [None]]
)
def test_a_reference_that_is_none_is_told(bad: Any) -> None:
    found = measure(Metric("exact"), [], {"trajectory": bad})
    assert found.value is None
    assert "trajectory" in found.why


def test_what_is_missing_or_too_much_is_unmeasured_or_told() -> None:
    a = CallMade("a", {}, "agent/a", True, "ok")
    assert measure(Metric("exact"), [a], {}).why == "the row has no 'trajectory'"
    assert measure(Metric("exact", field="way"), [a], {"way": [{"name": "a"}]}).value == 1
    assert measure(Metric("exact"), [a] * 201, {"trajectory": []}).why == "the run made 201 calls; at most 200 are compared"
    assert "200" in measure(Metric("exact"), [], {"trajectory": [{"name": "a"}] * 201}).why
    assert measure(Metric("recall"), [a], {"trajectory": [{"name": "b"}]}).why == "missing: b; too much: a"
    inner = CallMade("b", {}, "tool/a", True, "ok")
    assert measure(Metric("exact"), [a, inner, CallMade("c", {}, "evaluator/x", True, "ok")], {"trajectory": [{"name": "a"}]}).value == 1
    assert (
        measure(Metric("exact"), [CallMade("a", "{not json", "agent/a", True)], {"trajectory": [{"name": "a", "arguments": {}}]}).value == 0
    )


def test_two_hundred_calls_that_all_fit_take_no_time() -> None:
    rnd = random.Random(1)
    calls = [("a", {"x": rnd.randrange(2)}) for _ in range(200)]
    assert value("any_order", calls, [{"name": "a"}] * 100 + [_wanted(list(c)) for c in calls[:100]]) == 1.0


def test_evaluators_are_made_and_measure_without_a_server() -> None:
    made = w.trajectory("in_order", arguments="some")
    assert (made.name, made.kind, made.range) == ("trajectory_in_order", "evaluator", (0.0, 1.0))
    row = {"trajectory": [{"name": "a", "arguments": {"x": 1}}]}
    assert made([{"name": "a", "arguments": {"x": 1, "y": 2}, "executed": True, "outcome": "ok"}], row) == 1.0
    assert made([], row) == 0.0
    assert made([], {"trajectory": []}) is None
    entry = entry_of(Metric("uses", tool='x"y'))
    assert metric_of(entry) == Metric("uses", tool='x"y')
    assert entry == 'trajectory@1:{"name":"uses","tool":"x\\"y"}'
    for wrong in (
        {"metric": "best"},
        {"metric": "exact", "arguments": "same"},
        {"metric": "exact", "of": "all"},
        {"metric": "uses"},
        {"metric": "exact", "tool": "a"},
    ):
        with pytest.raises(Invalid):
            w.trajectory(**wrong)
