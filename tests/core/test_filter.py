"""The filter language: what is read of a text, what is written back, and how mistakes are told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.errors import Invalid
from windlass.core.filter import (
    DEEPEST,
    FIELDS,
    HAS,
    KINDS,
    LONGEST,
    LONGEST_NS,
    MOST_TERMS,
    And,
    Node,
    Not,
    Or,
    Term,
    all_of,
    any_of,
    printed,
)
from windlass.core.filter_reading import conditions_of, read
from windlass.core.operations.traces import TraceQuery

WORDS = st.text(st.sampled_from('ab Ä😀*"\\():<>=!-.,\n\t/@0'), min_size=1, max_size=6) | st.sampled_from(["or", "AND", "not", "-", "x:y"])
NAMES = st.text(st.sampled_from('ab."\\: ()*ö'), min_size=1, max_size=5)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 10**6).map(float)
OPS = st.sampled_from(["=", "<", "<=", ">", ">="])
EXACT = st.builds(
    Term, st.sampled_from([n for n, f in FIELDS.items() if f.takes == "word"]), WORDS, st.just("="), st.booleans()
)  # fmt: skip
TERMS = st.one_of(
    st.builds(Term, st.just(""), WORDS),
    EXACT,
    st.builds(Term, st.sampled_from(["input", "output", "error"]), WORDS),
    st.builds(Term, st.sampled_from(["kind", "root"]), st.sampled_from(KINDS)),
    st.builds(Term, st.just("status"), st.sampled_from(["ok", "error"])),
    st.builds(Term, st.sampled_from(["cost", "tokens", "spans"]), NUMBERS, OPS),
    st.builds(Term, st.just("latency"), st.integers(0, LONGEST_NS), OPS),
    st.builds(Term, st.just("score"), st.sampled_from(["helpful", "helpful=no", "stars<3", "tone=very plain", "a b"])),
    st.builds(Term, st.just("has"), st.sampled_from(HAS) | NAMES.map("attr.{}".format)),
    st.builds(Term, NAMES.map("attr.{}".format) | NAMES.map("resource.{}".format), WORDS, st.just("="), st.booleans()),
    st.builds(Term, NAMES.map("attr.{}".format), NUMBERS, st.sampled_from(["<", "<=", ">", ">="])),
)
TREES: st.SearchStrategy[Node] = st.recursive(
    TERMS,
    lambda inner: st.one_of(
        inner.map(Not), st.lists(inner, min_size=2, max_size=3).map(all_of), st.lists(inner, min_size=2, max_size=3).map(any_of)
    ),
    max_leaves=8,
)


@given(TREES)
def test_a_tree_that_is_written_is_read_as_the_same_tree(tree: Node) -> None:
    assert read(printed(tree)) == tree


@given(st.text(st.sampled_from('ab:<>=-()"*\\ \n') | st.characters(), max_size=40))
def test_any_text_is_read_or_refused_with_its_column(text: str) -> None:
    try:
        tree = read(text)
    except Invalid as e:
        assert (e.where or "").startswith("filter, column ") and e.remedy
    else:
        assert tree is None or read(printed(tree)) == tree


def test_what_people_write() -> None:
    text = 'status:error model:gpt-5* latency>2s cost>=$0.01 tokens>10k (user:ada or -tag:"b c") name:"answer*" "no refund"'
    assert read(text) == And(
        (
            Term("status", "error"),
            Term("model", "gpt-5", prefix=True),
            Term("latency", 2 * 10**9, ">"),
            Term("cost", 0.01, ">="),
            Term("tokens", 10_000.0, ">"),
            Or((Term("user", "ada"), Not(Term("tag", "b c")))),
            Term("name", "answer", prefix=True),
            Term("", "no refund"),
        )
    )
    assert read("a b or not c and d") == Or((And((Term("", "a"), Term("", "b"))), And((Not(Term("", "c")), Term("", "d")))))
    assert read("attr.http.route:/chat -(a or b)") == And((Term("attr.http.route", "/chat"), Not(Or((Term("", "a"), Term("", "b"))))))
    assert read('attr."a b:c">=5') == Term("attr.a b:c", 5.0, ">=")
    assert read('has:environment took:>1.5min model:"a\\*"') == And(
        (Term("has", "env"), Term("latency", 90 * 10**9, ">"), Term("model", "a*"))
    )
    assert read("user:* refund* score:stars<3") == And((Term("user", "", prefix=True), Term("", "refund"), Term("score", "stars<3")))
    assert read("  ") is None
    assert printed(read("latency>1500ms tokens>1k cost<.5") or Term("", "")) == "latency>1500ms tokens>1000 cost<0.5"


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("modle:a", 1, "did you mean `model`"),
        ("a http://x", 3, 'written "http://x"'),
        ("kind:modell", 6, "did you mean `model`"),
        ("status:fine", 8, "ok, error"),
        ("user:a latency>2", 16, "write latency>2s"),
        ("latency>200y", 9, "is no time"),
        ("latency>99999999d", 9, "nothing takes so long"),
        ("tokens>many", 8, "write tokens>1000"),
        ("user>5", 6, "`user` is no number"),
        ("user!=5", 1, "write -user:"),
        ("user:", 6, "nothing stands after `user`"),
        ('user:""', 6, "nothing stands after `user`"),
        ('score:"=x"', 7, "no condition on a score"),
        ("score:<3", 8, "`score` is no number"),
        ("has:everything", 5, "nothing that a trace has"),
        ("attr.x>big", 8, "no number"),
        ("a or", 5, "something must stand"),
        ("and a", 1, "something must stand"),
        ("a and", 6, "something must stand"),
        ("()", 2, "something must stand"),
        ("a -(", 5, "something must stand"),
        ("(a b", 1, "not closed"),
        ("a b)", 4, "closes nothing"),
        ('a "b', 3, "quote is not closed"),
        ("f(x)", 2, "a blank is missing"),
        ("a not", 3, "nothing stands after this negation"),
    ],
)
def test_mistakes_are_told_with_where_and_what_was_meant(text: str, column: int, message: str) -> None:
    with pytest.raises(Invalid) as told:
        read(text)
    assert told.value.where == f"filter, column {column}"
    assert message in str(told.value)


@pytest.mark.parametrize(
    "text", ["a" * (LONGEST + 1), "(" * (DEEPEST + 1) + "a", "-" * (DEEPEST + 1) + "a", "not " * 500, "a " * (MOST_TERMS + 1)]
)
def test_what_is_too_long_or_too_deep_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match=r"at most|more than"):
        read(text)


def test_the_older_parameters_are_terms() -> None:
    query = TraceQuery(filter="-tag:a b", search="or", status="ok", kind="agent", slower_than_ms=2.5, score="helpful=no", user="a*")
    assert printed(all_of(conditions_of(query))) == ('user:"a\\*" score:helpful=no "or" status:ok root:agent latency>2500us -tag:a b')
    with pytest.raises(Invalid, match="at most"):
        conditions_of(TraceQuery(search="a" * (LONGEST + 1)))


@pytest.mark.parametrize("took", [1e300, -1e300, float("inf"), float("nan")])
def test_times_that_nothing_takes_are_refused(took: float) -> None:
    with pytest.raises(Invalid, match="nothing takes so long"):
        conditions_of(TraceQuery(slower_than_ms=took))
