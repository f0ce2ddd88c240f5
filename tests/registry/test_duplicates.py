"""Rows that say the same: every pair above the bound is found, and what leaks is named."""

import itertools
import random

import pytest
from tests.registry.application import Registry

from windlass.core.actor import OWNER
from windlass.core.operations.datasets import DuplicatesQuery
from windlass.registry.duplicates import NEAR, Pair, likeness, pairs, pairs_across, shared_fields, text_of
from windlass.registry.leaks import Leaks


def test_pairs_are_those_that_an_exact_comparison_finds() -> None:
    """Against the Jaccard index of every pair of 300 texts."""
    chance = random.Random(3)
    words = ["".join(chance.choices("abcdefghij", k=chance.randint(3, 8))) for _ in range(400)]
    rows = [{"key": f"k{i:03}", "text": " ".join(chance.choices(words, k=12))} for i in range(240)]
    for i in range(60):  # copies with a word or three changed
        said = str(rows[i]["text"]).split()
        for _ in range(i % 4):
            said[chance.randrange(len(said))] = chance.choice(words)
        rows.append({"key": f"c{i:03}", "text": " ".join(said)})
    runs = {str(r["key"]): {t[i : i + 5] for i in range(len(t) - 4)} for r in rows for t in [text_of(r)]}
    exact = {(a, b) for a, b in itertools.combinations(sorted(runs), 2) if likeness(runs[a], runs[b]) >= NEAR}
    assert {(p.key, p.other) for p in pairs(rows)} == exact and len(exact) > 15


def test_what_does_not_make_a_text_another() -> None:
    rows = [
        {"key": "a", "split": "test", "question": "How do I  sort a DICT?", "origin": {"trace": "x"}},
        {"key": "b", "split": "dev", "question": "how do I sort: a dict"},
        {"key": "c", "question": "Straße"}, {"key": "d", "question": "STRASSE"},
        {"key": "e", "question": ""}, {"key": "f", "n": 1}, {"key": "g", "question": "ab"}, {"key": "h", "question": "ab"},
    ]  # fmt: skip
    assert pairs(rows) == [Pair("a", "b", 1.0), Pair("c", "d", 1.0), Pair("g", "h", 1.0)]
    nested = [{"key": "a", "said": {"z": ["one thing", "another thing"]}}, {"key": "b", "said": ["one thing", {"z": "another thing"}]}]
    assert pairs(nested) == [Pair("a", "b", 1.0)]


def test_across_two_sets_by_the_fields_that_both_have() -> None:
    test = [{"key": "a", "question": "How do I sort a dict by value?", "symbols": []}, {"key": "x", "question": "Something else entirely"}]
    shown = [{"key": "a", "question": "How do I sort a dict by value", "answer": "with sorted, and a very long explanation of it"}]
    assert shared_fields(test, shown) == ["question"]
    assert pairs_across(test, shown, fields=["question"]) == [Pair("a", "a", 1.0)]
    assert pairs_across(test, shown) == []  # with the answer it is another text


@pytest.fixture
def leaks(registry: Registry) -> Leaks:
    return Leaks(registry.versions, registry.datasets)


def test_the_service_tells_leaks_from_mere_doubles(registry: Registry, leaks: Leaks) -> None:
    questions = registry.dataset(
        {"key": "t1", "split": "test", "question": "How do I sort a dict by value?"},
        {"key": "t2", "split": "test", "question": "how do I sort a dict by value"},
        {"key": "d1", "split": "dev", "question": "How do I sort a dict by its value?"},
        {"key": "t3", "split": "test", "question": "Who approves my travel expenses?"},
    )
    examples = registry.dataset({"key": "e1", "question": "Who approves my travel expenses", "text": "Nobody."}, name="examples")
    registry.push(questions, examples)
    found = leaks.list(OWNER, DuplicatesQuery("questions", near=0.6))
    assert (found.count, found.exact, found.leaks) == (3, 1, 2)
    assert next((i.row.key, i.other.key, i.leak) for i in found.items) == ("t1", "t2", False)
    page = leaks.list(OWNER, DuplicatesQuery("questions", near=0.6, limit=1, cursor="1"))
    assert len(page.items) == 1 and page.next == "2"
    across = leaks.list(OWNER, DuplicatesQuery("questions", against="examples"))
    assert [(i.row.key, i.other.key, i.leak) for i in across.items] == [("t3", "e1", True)]
    rows = list(registry.datasets.rows(questions))
    (leak,) = leaks.of(rows, [examples]).values()
    assert (leak.key, leak.where.name, leak.other, leak.likeness) == ("t3", "examples", "e1", 1.0)
