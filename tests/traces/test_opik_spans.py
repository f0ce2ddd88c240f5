"""What Opik's SDK tells is whole in what becomes of it: told back, it is the same."""

from __future__ import annotations

import uuid
from json import loads
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.errors import Invalid
from windlass.traces import opik_spans
from windlass.traces.envelope import OTLP
from windlass.traces.mapping import rows, span_in

TRACE, SPAN = "01a22b6a-df15-7b39-a930-05d75c1c456a", "01a22b6a-df16-718b-9330-8d049f049883"
TIME = "2026-11-30T07:45:53.942073Z"
text = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=20)
json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**50), 2**50) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
USAGE = ["prompt_tokens", "total", "original_usage.a", "original_usage.a.b", "original_usage.c.d"]
objects = st.dictionaries(text, json, min_size=1, max_size=4)


def kept(told: dict[str, Any], *, is_span: bool = True) -> Any:
    """The row that becomes of it."""
    sent = opik_spans.request([("shop", opik_spans.step(told, is_span=is_span))])
    (row,) = rows(OTLP, "default", 1, sent.SerializeToString())
    return row


@given(
    objects, objects, st.lists(text, max_size=3),
    st.dictionaries(st.sampled_from(USAGE), st.integers(0, 99)),
)  # fmt: skip
def test_nothing_that_was_told_is_lost(said: dict[str, Any], more: dict[str, Any], tags: list[str], usage: dict[str, int]) -> None:
    told = {
        "id": SPAN, "trace_id": TRACE, "name": "step", "type": "llm", "start_time": TIME, "project_name": "shop", "input": said,
        "output": more, "metadata": said, "tags": tags, "usage": usage, "total_estimated_cost": 0.25, "new of theirs": more,
    }  # fmt: skip
    row = kept(told)
    attributes, back = span_in(row).attributes, opik_spans.fields(span_in(row))
    assert {name: loads(attributes[f"opik.{name}"]) for name in ("input", "output", "metadata", "new of theirs")} == {
        "input": said, "output": more, "metadata": said, "new of theirs": more,
    }  # fmt: skip
    assert (back["tags"], back["usage"], back["total_estimated_cost"]) == (tags, usage, 0.25)
    assert kept(back) == row, "and what was told back is told again"


def test_a_span_is_where_it_belongs_when_it_was() -> None:
    told = {"id": SPAN, "trace_id": TRACE, "name": "step", "start_time": TIME, "end_time": "2026-11-30T09:45:54.942073+02:00"}
    row, trace = kept(told), kept({"id": TRACE, "name": "run", "start_time": TIME}, is_span=False)
    assert (row.trace_id, row.parent, trace.parent) == (TRACE.replace("-", ""), trace.span_id, None)
    assert (row.end_ns - row.start_ns, row.start_ns) == (10**9, 1796024753942073000)
    assert kept(told | {"parent_span_id": TRACE.replace("df15", "df17")}).parent not in (None, trace.span_id)
    assert kept(told | {"id": SPAN.upper()}).span_id == row.span_id


def test_one_that_has_not_begun_began_when_its_id_was_made() -> None:
    # RFC 9562, appendix A.6: a UUID of version 7 of 22 February 2022, 19:22:22.00 UTC
    id = "017F22E2-79B0-7CC3-98C4-DC0C0C07398F"
    row = kept({"id": id, "trace_id": TRACE, "output": {"a": 1}})
    assert (row.start_ns, row.name) == (1645557742000 * 10**6, opik_spans.UNKNOWN)
    assert kept({"id": str(uuid.uuid4()), "trace_id": TRACE}).start_ns == 0, "another id says nothing"


def test_an_error_is_told() -> None:
    row = kept(
        {
            "id": SPAN,
            "trace_id": TRACE,
            "start_time": TIME,
            "error_info": {"exception_type": "ValueError", "message": "no", "traceback": "…"},
        }
    )
    assert (row.status, row.status_message) == ("error", "ValueError: no")
    (event,) = span_in(row).events
    assert event.attributes["exception.stacktrace"] == "…"


@pytest.mark.parametrize(
    ("wrong", "where"),
    [({"id": "x"}, "id"), ({"id": None}, "id"), ({"trace_id": 7}, "trace_id"), ({"start_time": "soon"}, "start_time"),
     ({"end_time": [1]}, "end_time"),
     ({"parent_span_id": "?"}, "parent_span_id"), ({"name": 7}, "name"), ({"start_time": "1960-01-01T00:00:00Z"}, "start_time")],
)  # fmt: skip
def test_what_is_none_is_refused(wrong: dict[str, Any], where: str) -> None:
    with pytest.raises(Invalid) as refused:
        opik_spans.step({"id": SPAN, "trace_id": TRACE, "start_time": TIME, **wrong}, is_span=True)
    assert refused.value.where == where
