"""A search finds what reading everything finds, whatever of a file is in the index; and reads no more than it must."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.store.test_spans_stores import NOW, SECOND, id_of, span

from windlass.core.filter import Or, Term
from windlass.core.operations.traces import TraceQuery
from windlass.store import span_places, span_words
from windlass.store.segments import Position
from windlass.store.span_places import File
from windlass.store.span_words import Search, sought
from windlass.store.spans import Forget, SpanRow
from windlass.store.spans_duckdb import DuckSpans

DAY, LATER = "2027-01-15", "2027-01-16"
WORDS = [
    "refund", "Refunds", "PREREFUND", "no", "order_17", "ſtraße", "Straße", "STRASSE", "İstanbul", "istanbul", "ısı", "ISI", "µg", "Μg",
    "\u212aelvin", "kelvin", "ΟΔΟΣ", "οδός", "我要退款", "возврат", "ВОЗВРАТ", "naïve", "\\n", '"', "\0", "\x01re", "€", "—", "ﬁne", "😀",
    "a" * 90, "退款" * 40, base64.b64encode(random.Random(3).randbytes(90)).decode(),
]  # fmt: skip
TEXTS = (
    st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=4)), max_size=8)
    .map(" ".join)
    .map(lambda t: t.encode(errors="replace").decode())
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 16 rows in chunks of 4."""
    for module in (span_places, span_words):
        monkeypatch.setattr(module, "PIECE", 16)
    monkeypatch.setattr(span_words, "CHUNK", 4)
    monkeypatch.setattr(span_words, "CHUNKS", 4)
    monkeypatch.setattr(span_words, "ALL", 15)


def rows_of(texts: list[str], first: int = 1) -> list[SpanRow]:
    return [
        span(f"{number:032x}", number, None, NOW + number * SECOND, **{("input", "output", "name")[number % 3]: text})
        for number, text in enumerate(texts, first)
    ]


def indexed(store: DuckSpans) -> None:
    while store.index(1.0):
        pass


def found(store: DuckSpans, text: str) -> list[str]:
    return [t.trace_id for t in store.traces(TraceQuery(search=text, limit=500)).items]


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[], DuckSpans]:
    number = iter(range(10_000))
    return lambda: DuckSpans(tmp_path / str(next(number)))


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(TEXTS, min_size=20, max_size=60), st.data())
@example(["ſ"] * 16 + ["S"], None)
def test_the_index_leaves_nothing_out(small: None, opened: Callable[[], DuckSpans], texts: list[str], data: st.DataObject | None) -> None:
    plain, quick = opened(), opened()
    for store in (plain, quick):
        store.write(DAY, rows_of(texts), "w", Position(1, 1))
        store.write(LATER, rows_of(texts[:5], 1000), "w", Position(1, 2))
    indexed(quick)
    queries = ["S", "退款", "no refund"]
    if data is not None:
        for _ in range(5):
            text = data.draw(st.sampled_from(texts))
            first = data.draw(st.integers(0, len(text)))
            part = text[first : first + data.draw(st.integers(1, 100))] or "x"
            queries.append(data.draw(st.sampled_from([part, part.upper(), part.lower(), part.swapcase()])))
    for query in queries:
        assert found(quick, query) == found(plain, query), query
    plain.close()
    quick.close()


def test_only_chunks_with_the_word_are_read(small: None, opened: Callable[[], DuckSpans]) -> None:
    store = opened()
    texts = ["a word of no use"] * 40
    texts[9], texts[30] = "where it says Zanzibar", "not in any block yet: zanzibar"
    store.write(DAY, rows_of(texts), "w", Position(1, 1))
    indexed(store)
    piece = File("d20270115", NOW)
    search = Search(store._db, sought(Term("", "anzi")))
    assert [(p.first, p.end) for p in search.parts(piece._replace(first=0, end=16))] == [(8, 12)]
    assert [(p.first, p.end) for p in search.parts(piece._replace(first=16, end=32))] == [(28, 32)]
    assert [(p.first, p.end) for p in search.parts(piece._replace(first=32, end=48))] == [(32, 48)]  # not whole yet
    assert [(p.first, p.end) for p in search.parts(piece)] == [(None, 0)]
    nothing = Search(store._db, sought(Term("", "it says zanzibars")))
    assert nothing.parts(piece._replace(first=0, end=16)) == []
    assert found(store, "ZANZI") == [id_of(f"{31:032x}"), id_of(f"{10:032x}")]


def test_a_file_of_a_day_that_is_over_is_taken_whole_and_anew_when_more_comes(small: None, opened: Callable[[], DuckSpans]) -> None:
    store = opened()
    store.write(DAY, rows_of(["one"] * 6), "w", Position(1, 1))
    store.write(LATER, rows_of(["two"], 1000), "w", Position(1, 2))
    indexed(store)
    assert store._db.execute("SELECT block, until FROM d20270115.worded").fetchall() == [(0, 6)]
    store.write(DAY, rows_of(["three"], 500), "w", Position(1, 3))
    assert found(store, "three") == [f"{500:032x}"]
    indexed(store)
    assert store._db.execute("SELECT block, until FROM d20270115.worded").fetchall() == [(0, 7)]
    assert store._db.execute("SELECT word, chunks FROM d20270115.words WHERE word IN ('one', 'three') ORDER BY word").fetchall() == [
        ("one", 0b11), ("three", 0b10),
    ]  # fmt: skip
    assert found(store, "three") == [f"{500:032x}"]
    assert len(found(store, "one")) == 6


def test_it_goes_with_what_is_erased(small: None, opened: Callable[[], DuckSpans], tmp_path: Path) -> None:
    store = opened()
    secret = "sillimanite"
    store.write(DAY, rows_of(["x"] * 3 + [f"only {secret} here"] + ["y"] * 20), "w", Position(1, 1))
    store.write(LATER, rows_of(["two"], 1000), "w", Position(1, 2))
    indexed(store)
    files = lambda: b"".join(p.read_bytes() for p in tmp_path.rglob("*.duckdb*"))  # noqa: E731
    store.rest()
    assert secret.encode() in files()
    assert store.forget(Forget("default", [f"{4:032x}"])) == 1
    assert found(store, secret) == []
    indexed(store)
    store.rest()
    assert secret.encode() not in files()
    assert len(found(store, "y")) == 20


def test_half_of_a_block_is_read_when_rows_go(small: None, opened: Callable[[], DuckSpans]) -> None:
    """What was read of a block before an erasure must not come into the index after it."""
    store = opened()
    store.write(DAY, rows_of(["gone"] + ["stays"] * 15), "w", Position(1, 1))
    assert store.index(0.0) is False  # no time at all
    step = span_words.Indexing.step
    made = span_words.Indexing(store._db, "d20270115", 0, 16)
    store._words._made = made
    assert step(made) is False
    store.forget(Forget("default", [f"{1:032x}"]))
    indexed(store)
    assert store._db.execute("SELECT DISTINCT word FROM d20270115.words ORDER BY word").fetchall() == [("run",), ("stays",)]


def test_conditions_that_words_tell_nothing_of(small: None) -> None:
    assert sought(Term("", "…")) is not None  # what is not ASCII counts as a letter
    assert sought(Term("", "!?")) is None
    assert sought(Term("user", "anna")) is None
    assert sought(Or((Term("", "refund"), Term("user", "anna")))) is None
    assert sought(Or((Term("", "refund"), Term("input", "anna")))) is not None
    assert sought(Term("", "ſ")) is None  # S is its capital, and s is that one's small letter


def test_a_long_phrase_is_looked_for_by_its_longest_words(small: None, opened: Callable[[], DuckSpans]) -> None:
    store = opened()
    phrase = "the invoice of order seventeen was paid by the customer in full"
    store.write(DAY, rows_of([phrase, phrase.replace("seventeen", "eighteen")] * 8), "w", Position(1, 1))
    indexed(store)
    assert len(found(store, phrase)) == 8
    assert [run.text for run in sought(Term("", phrase))[0]] == ["seventeen", "customer", "invoice", "order"]
