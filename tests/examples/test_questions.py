"""The helpdesk's questions: well formed, spread evenly, without repetitions, and answered by symbols that exist and say something."""

import builtins
import importlib
import inspect
import itertools
import json
import re
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[2] / "examples" / "helpdesk" / "data"
TOPICS = ("text", "numbers", "files", "time", "concurrency", "networking")
SPLITS = {"test": 205, "dev": 120}
HARD = {"two-modules": 25, "nothing": 40, "misspelt": 25}


def read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text("utf-8").splitlines()]


QUESTIONS = read("questions.jsonl")
EXAMPLES = read("examples.jsonl")
SYMBOLS = sorted({s for row in QUESTIONS + EXAMPLES for s in row["symbols"]})


def bare(question: str) -> str:
    return re.sub(r"[\W_]+", "", question.casefold())


def words(question: str) -> set[str]:
    return set(re.findall(r"\w+", question.casefold()))


def resolve(symbol: str) -> Any:
    """What a qualified name stands for: an attribute of the longest part of it that is a module, or of the builtins."""
    parts = symbol.split(".")
    owner: Any = builtins
    rest = parts
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for n in range(len(parts), 0, -1):
            try:
                owner = importlib.import_module(".".join(parts[:n]))
            except ModuleNotFoundError:
                continue
            rest = parts[n:]
            break
        for part in rest:
            owner = getattr(owner, part)
    return owner


def documentation(symbol: str) -> str:
    return " ".join((inspect.getdoc(resolve(symbol)) or "").split())


def test_every_row_is_well_formed() -> None:
    for row in QUESTIONS:
        assert list(row) == ["key", "split", "topic", "question", "symbols", "hard"], row
        assert re.fullmatch(r"[a-z]-\d{3}", row["key"]), row
        assert row["split"] in SPLITS and row["topic"] in (*TOPICS, "none") and row["hard"] in (None, *HARD), row
        assert row["question"] == row["question"].strip() and len(row["question"]) > 10, row
        assert len(row["symbols"]) == len(set(row["symbols"])) <= 5, row
        assert (row["symbols"] == []) == (row["hard"] == "nothing"), row
        assert row["topic"] != "none" or row["hard"] == "nothing", row


def test_keys_are_unique() -> None:
    keys = [row["key"] for row in QUESTIONS + EXAMPLES]
    assert len(keys) == len(set(keys))


def test_enough_rows_in_each_split_topic_and_kind() -> None:
    splits = Counter(row["split"] for row in QUESTIONS)
    topics = Counter(row["topic"] for row in QUESTIONS)
    hard = Counter(row["hard"] for row in QUESTIONS)
    assert len(QUESTIONS) >= 330 and all(splits[s] >= n for s, n in SPLITS.items()), splits
    assert all(topics[t] >= 45 for t in TOPICS), topics
    assert all(hard[h] >= n for h, n in HARD.items()), hard


@pytest.mark.parametrize("field", ["topic", "hard"])
def test_splits_are_alike(field: str) -> None:
    """Each topic and each kind of hard question takes about the same share of both splits."""
    test = sum(row["split"] == "test" for row in QUESTIONS) / len(QUESTIONS)
    for value in {row[field] for row in QUESTIONS}:
        rows = [row for row in QUESTIONS if row[field] == value]
        assert abs(sum(row["split"] == "test" for row in rows) / len(rows) - test) < 0.08, value


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_symbols_exist_and_are_documented(symbol: str) -> None:
    assert not symbol.startswith("builtins.")
    assert len(documentation(symbol)) >= 20


def test_no_question_twice() -> None:
    questions = [row["question"] for row in QUESTIONS + EXAMPLES]
    assert len({bare(q) for q in questions}) == len(questions)
    alike = [(a, b) for a, b in itertools.combinations(questions, 2) if len(words(a) & words(b)) > 0.6 * len(words(a) | words(b))]
    assert not alike


def test_examples_quote_their_symbols_and_are_not_asked() -> None:
    assert len(EXAMPLES) == 8
    asked = {bare(row["question"]) for row in QUESTIONS}
    for row in EXAMPLES:
        assert list(row) == ["key", "question", "text", "symbols"], row
        assert bare(row["question"]) not in asked, row
        assert any(row["text"] in documentation(s) for s in row["symbols"]), row
