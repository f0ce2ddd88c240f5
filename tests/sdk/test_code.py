"""What a release says of its code is held against the source it came with."""

from __future__ import annotations

import msgspec
import pytest

from windlass.core.artifacts import Code
from windlass.sdk.code import Closure, Workspace, code_of, disagreeing

SOURCES = {
    "app": b"import helpers\nLIMIT: int = 3\n\ndef entry(q: str) -> str:\n    '''Answer.'''\n    return helpers.clean(q)[:LIMIT]\n",
    "helpers": b"def clean(t):\n    return t.strip()\n\ndef other():\n    return 1\n",
}


@pytest.fixture
def code(tmp_path) -> Code:
    for name, source in SOURCES.items():
        (tmp_path / f"{name}.py").write_bytes(source)
    workspace = Workspace(tmp_path)
    closure = Closure(workspace, lambda module, name: False)
    closure.enter(workspace.module("app"), "entry", docstring=True)
    return code_of(closure, "app:entry")


def test_the_source_it_was_made_from_agrees(code: Code) -> None:
    assert set(code.symbols) == {"app:entry", "app:LIMIT", "helpers:clean"}
    assert disagreeing(code, SOURCES.get) == []


@pytest.mark.parametrize(
    ("module", "old", "new", "says"),
    [
        ("helpers", b"strip", b"rstrip", "helpers:clean"),
        ("app", b"LIMIT: int = 3", b"LIMIT: int = 4", "app:LIMIT"),
        ("app", b"def entry", b"def exit", "app:entry"),
        ("helpers", b"def clean(t):", b"def clean(t:", "helpers:clean"),
    ],
)
def test_another_source_does_not(code: Code, module: str, old: bytes, new: bytes, says: str) -> None:
    changed = {**SOURCES, module: SOURCES[module].replace(old, new)}
    problems = disagreeing(code, changed.get)
    assert len(problems) == 1
    assert says in problems[0]
    assert len(disagreeing(code, lambda name: None)) == 3


def test_what_cannot_change_what_it_does_agrees(code: Code) -> None:
    assert disagreeing(code, {**SOURCES, "helpers": SOURCES["helpers"] + b"# a remark\n"}.get) == []
    assert disagreeing(code, {**SOURCES, "helpers": SOURCES["helpers"].replace(b"return 1", b"return 2")}.get) == []


def test_another_normaliser_is_not_judged(code: Code) -> None:
    assert disagreeing(msgspec.structs.replace(code, normaliser="99"), lambda name: None) == []
