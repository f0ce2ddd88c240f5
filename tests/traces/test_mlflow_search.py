"""What MLflow's searches ask, in our language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.errors import Invalid
from windlass.core.filter import all_of, printed
from windlass.core.filter_reading import read
from windlass.traces.mlflow_search import clauses, search_of


def asked(text: str) -> str:
    return printed(all_of(list(search_of(text).parts)))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("status = 'OK'", "status:ok"),
        ("attributes.status != 'ERROR'", "-status:error"),
        ("tags.shop = 'north'", "tag:shop=north"),
        ('tag.`a b` = "it\'s"', 'tag:"a b=it\'s"'),
        ("tags.shop != 'north'", "tag:shop=* -tag:shop=north"),
        ("tags.shop IS NULL", "-tag:shop=*"),
        ("tags.shop LIKE 'nor%'", "tag:shop=nor*"),
        ("name = 'answer'", "attr.mlflow.trace_tag.mlflow.traceName:answer"),
        ("trace.name IN ('a', 'b')", "attr.mlflow.trace_tag.mlflow.traceName:a or attr.mlflow.trace_tag.mlflow.traceName:b"),
        ("metadata.`mlflow.trace.session` = 's-1'", "session:s-1"),
        ("request_metadata.team = 'blue'", "attr.mlflow.trace_metadata.team:blue"),
        ("metadata.team IS NOT NULL", "has:attr.mlflow.trace_metadata.team"),
        ("span.name = 'look' and span.type = 'TOOL'", "name:look attr.mlflow.spanType:TOOL"),
        ("span.attributes.model = 'x'", "attr.model:x"),
        ("feedback.helpful = 'true'", "score:helpful=true"),
        ("feedback.stars >= 4", "score:stars>=4"),
        ("feedback.stars != 4", "score:stars -score:stars=4"),
        ("trace.text LIKE '%no refund%'", '"no refund"'),
        ("execution_time_ms > 1500", "latency>1500ms"),
        ("tags.a = 'O''Hara' AND status = 'OK'", "tag:a=O'Hara status:ok"),
    ],
)
def test_searches_of_traces(theirs: str, ours: str) -> None:
    assert asked(theirs) == ours
    assert read(ours) is not None, "and is read as it is written"


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("timestamp_ms >= 5", 5_000_000, None),
        ("timestamp > 5 AND timestamp_ms <= 7", 6_000_000, 8_000_000),
        ("timestamp_ms = 5 AND timestamp_ms < 9", 5_000_000, 6_000_000),
    ],
)
def test_when_traces_began(text: str, since: int, until: int | None) -> None:
    assert search_of(text) == ((), since, until)


@pytest.mark.parametrize(
    "text",
    [
        "status", "status =", "status = 'OK' OR status = 'ERROR'", "status = 'OK' status = 'OK'", "expectation.a = 'b'", "issue.id = 'x'",
        "run_id = 'x'", "tags.a LIKE '%b%'", "tags.a RLIKE 'b.*'", "span.status = 'OK'", "timestamp_ms != 5", "tags.a IN 'b'",
        "tags.a IS NULL 'b'",
        "trace.text = 'x'", "execution_time_ms = 5", "(status = 'OK')",
    ],
)  # fmt: skip
def test_what_cannot_be_asked_says_so(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        search_of(text)
    assert caught.value.where == "filter" and caught.value.remedy


@given(st.text(alphabet="abtags.= '`\"<>!%()1LIKENU", max_size=40))
def test_nothing_is_read_by_halves(text: str) -> None:
    try:
        found = clauses(text)
    except Invalid:
        return
    assert "".join(c.text for c in found).replace(" ", "") == text.replace(" ", "").replace("AND", "")


@pytest.mark.parametrize("text", ["timestamp_ms > " + "9" * 400, "execution_time_ms > " + "9" * 400, "feedback.a IN (1, " + "9" * 20 + ")"])
def test_numbers_that_nothing_comes_to_are_refused(text: str) -> None:
    with pytest.raises(Invalid, match="so large"):
        search_of(text)


def test_a_long_filter_is_refused_before_it_is_read() -> None:
    with pytest.raises(Invalid, match="at most 2,000"):
        clauses("tags.a = 'x' AND " * 200_000)
