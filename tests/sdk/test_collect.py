"""A workspace becomes versions: what counts as a change, what does not, and errors that say where."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from windlass.core.artifacts import Version
from windlass.core.errors import Invalid
from windlass.sdk.collect import collect

APP = '''
"""A module."""
import re
from helpers import clean, VERBS
import windlass as w

class Answer(w.Output):
    text: str = w.text()
    sources: list[str]

LIMIT = 3
reply = w.component("reply", prompt="prompts/reply.md", model="baseline", output=Answer)
docs = w.index("docs", source="docs.jsonl", chunk=w.whole())

@w.chain
def answer(question: str) -> Answer:
    """Answer."""
    return reply(question=clean(question), passages=docs.search(question, k=LIMIT))

def unrelated():
    return 1

@w.evaluator
def good(output, row) -> float:
    return 1.0

w.suite("answers", target=answer, data=w.data("data/rows.jsonl", split="test"), guards={good: w.not_worse(by=0.1)})
'''
HELPERS = """
VERBS = ["go"]

def clean(text):
    # a comment
    return strip(text).lower()

def strip(text):
    return text.strip()

def never_called():
    return 0
"""
PROMPT = "---\ninputs: {question: string, passages: list}\n---\nsystem: Answer.\nuser: |\n  {{ question }}\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "ws"
    (root / "prompts").mkdir(parents=True)
    (root / "data").mkdir()
    (root / "windlass.toml").write_text('name = "ws"\n')
    (root / "app.py").write_text(APP)
    (root / "helpers.py").write_text(HELPERS)
    (root / "prompts" / "reply.md").write_text(PROMPT)
    (root / "docs.jsonl").write_text('{"key": "a", "text": "Alpha."}\n')
    (root / "data" / "rows.jsonl").write_text('{"key": "r1", "split": "test", "question": "q"}\n')
    return root


def versions(root: Path) -> dict[str, Version]:
    with collect(root) as found:
        return {f"{v.kind}/{v.name}": v for v in found.bundle.versions}


def edit(root: Path, file: str, old: str, new: str) -> None:
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new))


def test_every_definition_becomes_a_version_and_targets_a_release(workspace: Path) -> None:
    found = versions(workspace)
    assert set(found) == {
        "chain/answer", "component/reply", "dataset/docs-documents", "dataset/rows", "evaluator/good", "index/docs", "model/baseline",
        "prompt/reply", "release/answer", "suite/answers",
    }  # fmt: skip
    assert {k.role for k in found["chain/answer"].links} == {"component", "index"}
    assert found["chain/answer"].body["code"]["symbols"].keys() == {
        "app:Answer",
        "app:LIMIT",
        "app:answer",
        "helpers:clean",
        "helpers:strip",
    }


def test_the_engine_of_an_index_and_its_settings_are_part_of_it(workspace: Path) -> None:
    words = versions(workspace)["index/docs"]
    edit(workspace, "app.py", "chunk=w.whole())", 'chunk=w.whole(), encoder="minilm")')
    exact = versions(workspace)["index/docs"]
    edit(workspace, "app.py", 'encoder="minilm")', 'encoder="minilm", engine="lance")')
    graph = versions(workspace)["index/docs"]
    assert [v.body.get("engine", "fts5@1") for v in (words, exact, graph)] == ["fts5@1", "hybrid@1", "lance@1"]
    assert len({v.digest for v in (words, exact, graph)}) == 3 and "settings" not in exact.body
    assert graph.body["settings"] == {
        "kind": "IVF_HNSW_SQ", "partitions": 1, "nprobes": 1, "links": 20, "build_width": 150, "refine": 4, "exact_below": 4096,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("helpers.py", "# a comment", "# another"),
        ("helpers.py", "return 0", "return 99"),
        ("helpers.py", 'VERBS = ["go"]', 'VERBS = ["stop"]'),
        ("helpers.py", "strip(text).lower()", "(strip( text )\n        .lower())"),
        ("app.py", "return 1\n", "return 2\n"),
        ("app.py", '    """Answer."""\n', '    """Reply, with thanks."""\n'),
        ("app.py", '"""A module."""', '"""Another module."""'),
        ("app.py", "by=0.1", "by=0.2"),
    ],
)
def test_what_cannot_change_an_answer_does_not_change_the_chain(workspace: Path, file: str, old: str, new: str) -> None:
    before = versions(workspace)
    edit(workspace, file, old, new)
    after = versions(workspace)
    assert after["chain/answer"].digest == before["chain/answer"].digest
    assert after["release/answer"].digest == before["release/answer"].digest


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("helpers.py", "text.strip()", "text.rstrip()"),
        ("helpers.py", ".lower()", ".upper()"),
        ("app.py", "LIMIT = 3", "LIMIT = 4"),
        ("app.py", "k=LIMIT", "k=LIMIT + 1"),
        ("app.py", "sources: list[str]", "sources: list[int]"),
        ("prompts/reply.md", "Answer.", "Answer!"),
        ("docs.jsonl", "Alpha", "Beta"),
        ("app.py", "chunk=w.whole()", "chunk=w.by_paragraph(300)"),
    ],
)
def test_what_can_change_an_answer_changes_the_release(workspace: Path, file: str, old: str, new: str) -> None:
    before = versions(workspace)
    edit(workspace, file, old, new)
    assert versions(workspace)["release/answer"].digest != before["release/answer"].digest


def test_code_that_runs_at_import_widens_to_the_module(workspace: Path) -> None:
    (workspace / "helpers.py").write_text(HELPERS + "\nVERBS.append('wait')\n")
    before = versions(workspace)
    assert before["chain/answer"].body["code"]["modules"].keys() == {"helpers"}
    edit(workspace, "helpers.py", "return 0", "return 1")
    assert versions(workspace)["chain/answer"].digest != before["chain/answer"].digest


def test_a_file_that_code_reads_is_where_the_code_runs(workspace: Path) -> None:
    """Also one of data, which a snapshot does not hold otherwise; rows that an artifact is made of are no part of the code."""
    (workspace / "data" / "prices.csv").write_text("tea,2\n")
    app = (workspace / "app.py").read_text().replace("LIMIT = 3", 'LIMIT = len(open("data/prices.csv").readline())\nprint("at import")')
    (workspace / "app.py").write_text(app)
    with collect(workspace) as collected:
        files = msgspec.json.decode(collected.blobs[collected.bundle.snapshot].read_bytes())
        chain = next(v for v in collected.bundle.versions if v.kind == "chain")
    assert "data/prices.csv" in files and "data/rows.jsonl" not in files
    assert list(chain.body["code"]["files"]) == ["data/prices.csv"]


@pytest.mark.parametrize("rule", ["data/", "/data/*.csv", "*.csv", "**/prices.*"])
def test_a_file_that_code_reads_and_git_ignores_is_refused(workspace: Path, rule: str) -> None:
    (workspace / "data" / "prices.csv").write_text("tea,2\n")
    app = (workspace / "app.py").read_text().replace("LIMIT = 3", 'LIMIT = len(open("data/prices.csv").readline())')
    (workspace / "app.py").write_text(app)
    (workspace / ".gitignore").write_text(f"# mine\n{rule}\n")
    with pytest.raises(Invalid, match=r"chain/answer reads data/prices.csv, which \.gitignore leaves out"), collect(workspace):
        pass


def test_what_git_ignores_stays_here(workspace: Path) -> None:
    for path in ("secrets/keys.json", "notes/a.md", "notes/kept.md", "deep/private.txt", "deep/public.txt"):
        (workspace / path).parent.mkdir(exist_ok=True)
        (workspace / path).write_text("{}")
    (workspace / ".gitignore").write_text("secrets/\nnotes/*.md\n!notes/kept.md\n")
    (workspace / "deep" / ".gitignore").write_text("private.txt\n")
    with collect(workspace) as collected:
        files = msgspec.json.decode(collected.blobs[collected.bundle.snapshot].read_bytes())
    assert {f for f in files if f.startswith(("secrets", "notes", "deep"))} == {"notes/kept.md", "deep/public.txt"}


def test_the_folder_and_the_day_say_nothing(workspace: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(workspace, tmp_path / "elsewhere")
    assert {k: v.digest for k, v in versions(workspace).items()} == {k: v.digest for k, v in versions(moved).items()}


def _write(file: str, text: str | bytes) -> Callable[[Path], object]:
    data = text if isinstance(text, bytes) else text.encode()
    return lambda root: (root / file).write_bytes(data)


@pytest.mark.parametrize(
    ("breaks", "where", "says"),
    [
        (_write("prompts/reply.md", PROMPT.replace("{{ question }}", "{{ passage }}")), "prompts/reply.md:6", "'passage' is not an input"),
        (_write("prompts/reply.md", "---\ninputs: [\n---\nhi"), "prompts/reply.md:2", "front matter is not YAML"),
        (_write("prompts/reply.md", "---\ninputs: {}\nhi"), "prompts/reply.md:1", "never ends"),
        (_write("prompts/reply.md", "---\ninput: {}\n---\nhi"), "prompts/reply.md:2", "'input' is not a field"),
        (_write("app.py", APP + "\nimport nowhere_to_be_found\n"), "app.py:29", "which is not installed"),
        (_write("app.py", "def (:\n"), "app.py:1", "not Python"),
        (_write("app.py", APP + "\nraise ValueError('no')\n"), "app.py:29", "ValueError: no"),
        (_write("app.py", APP + "\nimport sys; sys.exit(3)\n"), "app.py:29", "SystemExit"),
        (_write("app.py", APP + '\nw.component("reply", prompt="prompts/reply.md", model="baseline")\n'), "app.py:29", "made twice"),
        (_write("app.py", APP + '\nw.component("other", prompt="prompts/nope.md", model="baseline")\n'), "app.py:29", "there is no file"),
        (_write("data/rows.jsonl", '{"key": "a"}\n{"key": "a"}\n'), "data/rows.jsonl", "same key 'a'"),
        (_write("data/rows.jsonl", b'{"key": "a"}\n{"key": "\xff"}\n'), "data/rows.jsonl:2", "byte 0xff at offset 22"),
        (_write("windlass.toml", 'nme = "ws"\n'), "windlass.toml", "did you mean 'name'"),
    ],
)
def test_bad_input_says_where_and_what(workspace: Path, breaks: Callable[[Path], object], where: str, says: str) -> None:
    breaks(workspace)
    with pytest.raises(Invalid) as e, collect(workspace):
        pass
    assert e.value.where == where
    assert says in str(e.value)


def test_a_broken_row_is_named_and_the_rest_is_kept(workspace: Path) -> None:
    (workspace / "data" / "rows.jsonl").write_text('{"key": "a"}\n{"key": "b"\n[1]\n{"key": "c"}\n')
    with collect(workspace) as found:
        assert [w.split(": ")[0] for w in found.warnings] == ["data/rows.jsonl:2", "data/rows.jsonl:3", "app.py:27"]
        assert "in split 'test'" in found.warnings[2]  # the suite's: of the rows that are left, none is
        assert next(v for v in found.bundle.versions if v.name == "rows").body["count"] == 2


def test_what_user_code_prints_corrupts_nothing(workspace: Path) -> None:
    edit(workspace, "app.py", "LIMIT = 3", "LIMIT = 3\nprint('hello ' * 1000)")
    assert "release/answer" in versions(workspace)


def test_a_process_that_dies_is_an_error(workspace: Path) -> None:
    edit(workspace, "app.py", "LIMIT = 3", "LIMIT = 3\nimport os; os._exit(7)")
    with pytest.raises(Invalid, match="ended the process"), collect(workspace):
        pass


def test_no_key_of_the_shell_reaches_the_workspace(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    edit(workspace, "app.py", "LIMIT = 3", "LIMIT = 3\nimport os; assert 'OPENAI_API_KEY' not in os.environ")
    assert "release/answer" in versions(workspace)
