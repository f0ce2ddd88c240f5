"""What is scrubbed of JSON and text: what quotes, names or is of a person, and nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.govern.erasure import ERASED, Subject

TRACE = "ab" * 16
SAID = "Can you move my appointment at the knee clinic?"


def ann() -> Subject:
    made = Subject("shop", ["ann@letters.example"])
    made.traces.add(TRACE)
    made.heard(json.dumps({"messages": [{"role": "user", "content": SAID}], "n": 3}))
    return made


def test_texts_that_quote_are_replaced_whole() -> None:
    told = f"3% is about clinics. Such as: “{' '.join(SAID.split())[:30]}”"
    assert ann().scrub(told) == told, "a quotation that is cut shorter than what is known of it is not known again"
    told = f"3% is about clinics. Such as: “{SAID}”"
    assert ann().scrub(told) == ERASED
    assert ann().scrub(f"Can you  move my appointment\nat the knee clinic? {'more ' * 40}") == ERASED, "spaces say nothing"
    assert ann().scrub("Can you move my bicycle?") == "Can you move my bicycle?"
    assert ann().scrub("write to ANN@letters.example") == ERASED
    assert ann().scrub("write to joann@letters.example.org") == "write to joann@letters.example.org"


def test_entries_of_a_trace_leave_lists_and_the_rest_stays() -> None:
    body = {"topics": [{"name": "knees", "exemplars": [{"trace": TRACE, "text": "?"}, {"trace": "cd" * 16, "text": "other"}]}],
            "points": [{"id": TRACE, "x": 1.5}, {"id": "r1", "x": 2}], "share": 0.25, "trace": TRACE}  # fmt: skip
    assert json.loads(ann().scrub(json.dumps(body))) == {
        "topics": [{"name": "knees", "exemplars": [{"trace": "cd" * 16, "text": "other"}]}], "points": [{"id": "r1", "x": 2}],
        "share": 0.25, "trace": TRACE,
    }  # fmt: skip


def test_words_of_a_message_are_those_of_its_user() -> None:
    made = Subject("shop", ["ann@letters.example"])
    system = "You are the assistant of a shop that sells bicycles."
    made.heard(json.dumps([{"role": "system", "content": system}, {"role": "user", "content": [{"type": "text", "text": SAID}]}]))
    assert made.touches(f"it said: {SAID}")
    assert not made.touches(f"it was told: {system}")
    made.said_by_others(json.dumps({"question": SAID}))
    assert not made.touches(f"it said: {SAID}")
    made.heard(SAID)
    assert not made.touches(f"it said: {SAID}"), "nor when it is heard once more"


def test_short_texts_are_anybodys() -> None:
    made = Subject("shop", ["ann@letters.example"])
    made.heard("yes please")
    assert not made.touches("they said: yes please")


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(max_size=30)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
)


@given(JSON)
def test_what_is_not_theirs_is_not_touched(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert ann().scrub(text) is text


@given(JSON, st.text(max_size=20), st.text(max_size=20))
def test_what_is_theirs_is_nowhere_after(value: object, before: str, after: str) -> None:
    text = json.dumps({"a": [value, f"{before} {SAID} {after}"], "b": {"c": f"{before} ann@letters.example {after}"}})
    scrubbed = ann().scrub(text)
    assert SAID not in scrubbed
    assert "ann@letters" not in scrubbed
    assert json.loads(scrubbed)["a"][0] == value


def test_what_is_held_is_what_was_known() -> None:
    made = ann()
    made.rows["00" * 32] = ("k", b'{"key":"k"}')
    made.datasets.add("rows")
    again = Subject.restored("shop", "e", False, made.held())
    assert (again.names, again.traces, again.rows, again.datasets, again.size) == (
        made.names, made.traces, made.rows, made.datasets, made.size,
    )  # fmt: skip
    assert again.touches(f"they said: {SAID}")


@pytest.mark.parametrize("depth", [400, 950, 5_000])
@pytest.mark.parametrize("inside", [('{"a":', "}"), ("[", "]")])
def test_what_is_nested_too_deeply_is_replaced_whole(depth: int, inside: tuple[str, str]) -> None:
    """An erasure that fails at one text leaves all that come after it."""
    deep = f'{inside[0] * depth}"{SAID}"{inside[1] * depth}'
    told = ann().scrub(deep)
    assert SAID not in told and ERASED in told
    other = deep.replace(SAID, "Can you move my bicycle?")
    assert ann().scrub(other) == other
