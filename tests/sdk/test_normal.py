"""The normal form of code is frozen: these digests stand in releases for ever. Never regenerate; a change needs a new version."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from windlass.sdk.normal import VERSION, normal, normal_digest

FROZEN = json.loads((Path(__file__).parent / "code_vectors.json").read_text())
VECTORS = FROZEN["vectors"]


def test_the_vectors_are_of_this_version() -> None:
    assert FROZEN["normaliser"] == VERSION


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_every_way_to_write_it_has_the_digest_it_always_had(vector: dict) -> None:
    for source in vector["sources"]:
        assert normal_digest(ast.parse(source)) == vector["digest"]


def test_different_code_has_different_digests() -> None:
    assert len({v["digest"] for v in VECTORS}) == len(VECTORS)


def test_a_docstring_counts_where_a_model_reads_it() -> None:
    tool, same = (ast.parse(f'def f():\n    """{text}"""\n    return 1').body[0] for text in ("Adds.", "Adds two numbers."))
    assert normal_digest(tool) == normal_digest(same)
    assert normal_digest(tool, docstring=True) != normal_digest(same, docstring=True)


def test_annotations_may_be_left_out() -> None:
    typed, plain = (ast.parse(s).body[0] for s in ("def f(a: int) -> str:\n    return a", "def f(a):\n    return a"))
    assert normal(typed, annotations=False) == normal(plain, annotations=False) == normal(plain)
    assert normal(typed) != normal(plain)
