"""What people get wrong, each with a sentence that says what, where and how to mend it; and nothing else is harmed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.evaluate.application import App
from windlass.core.errors import Invalid, NotFound, RunFailed, WindlassError


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    made = App(tmp_path, rows=4)
    yield made
    made.close()


def refused(app: App) -> WindlassError:
    """The error of a push, which registered nothing."""
    with pytest.raises(WindlassError) as caught:
        app.client.push(app.folder)
    assert app.client.artifacts.list().items == ()
    return caught.value


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ("---\ninputs: {text: string}\n---\nuser: Note {{ txt }}\n", "prompts/note.md:4", "did you mean 'text'"),
        ("---\ninputs: {text: string\n---\nuser: x\n", "prompts/note.md", ""),
        ("---\ninputs: {text: string}\nuser: no end\n", "prompts/note.md", ""),
        ("---\ninput: {text: string}\n---\nuser: x\n", "prompts/note.md", "inputs"),
        ("---\ninputs: {text: string}\n---\nuser: '{{ text | nothing }}'\n", "prompts/note.md", "nothing"),
        ("---\ninputs: {text: string}\n---\nuser: '{% if text %}'\n", "prompts/note.md", ""),
    ],
)
def test_a_prompt_that_is_wrong(app: App, text: str, where: str, says: str) -> None:
    app.write("prompts/note.md", text)
    error = refused(app)
    assert str(error).startswith(where), error
    assert says in str(error)


def test_a_prompt_with_a_byte_that_is_no_text(app: App) -> None:
    (app.folder / "prompts/note.md").write_bytes(b"---\ninputs: {text: string}\n---\nuser: caf\xe9\n")
    assert "prompts/note.md" in str(refused(app))


def test_a_row_that_is_broken_is_named_and_the_others_are_kept(app: App) -> None:
    rows = (app.folder / "data/rows.jsonl").read_text().splitlines()
    app.write("data/rows.jsonl", "\n".join([rows[0], '{"key": "bro', rows[1], "[1]", rows[2]]) + "\n")
    report, warnings = app.client.push(app.folder)
    assert report.changes
    assert [w.partition(" ")[0].rstrip(":") for w in warnings] == ["data/rows.jsonl:2", "data/rows.jsonl:4"]
    assert app.client.datasets.rows("rows").count == 3


def test_two_rows_of_one_key(app: App) -> None:
    app.write("data/rows.jsonl", '{"key": "a", "question": "q 1"}\n{"key": "a", "question": "q 2"}\n')
    assert "have the same key 'a'" in str(refused(app))


def test_a_row_with_a_byte_that_is_no_text(app: App) -> None:
    (app.folder / "data/rows.jsonl").write_bytes(b'{"key": "a", "question": "q 1"}\n{"key": "b", "question": "caf\xe9"}\n')
    assert "data/rows.jsonl" in str(refused(app))


def test_a_file_that_is_not_there(app: App) -> None:
    app.edit("app.py", "data/rows.jsonl", "data/row.jsonl")
    assert "data/row.jsonl" in str(refused(app))


CIRCLE = """
@w.tool(effects="none")
def ask_again(question: str) -> str:
    \'\'\'Ask the guide.\'\'\'
    return guide(question=question)

guide = w.agent("guide", prompt="prompts/note.md", model="baseline", tools=[ask_again])
"""


def test_a_circle(app: App) -> None:
    app.write("app.py", (app.folder / "app.py").read_text() + CIRCLE.replace("\\'", "'"))
    assert "in a circle: " in str(refused(app))


def test_a_module_that_is_missing_when_it_is_imported(app: App) -> None:
    app.edit("app.py", "import windlass as w", "import not_there\nimport windlass as w")
    error = refused(app)
    assert "not_there" in str(error)
    assert "app.py:2" in str(error)


RUNS = [
    ("    import not_there", "not_there"),
    ("    raise ValueError('no good')", "no good"),
    ("    return {'a': 1}", ""),
    ("    return object()", ""),
    ("    import os; os._exit(3)", ""),
    ("    import sys; sys.exit('stop')", ""),
    ("    import signal, os; os.kill(os.getpid(), signal.SIGKILL)", ""),
    ("    return 'x' * 300_000_000", ""),
    ("    x = bytearray(3 * 1024 ** 3)", ""),
    ("    def f(n): return f(n + 1)\n    f(0)", "recursion"),
]


@pytest.mark.parametrize(("body", "says"), RUNS, ids=[b.strip()[:40] for b, _ in RUNS])
def test_a_chain_that_misbehaves_fails_its_own_run_and_nothing_else(app: App, body: str, says: str) -> None:
    app.edit(
        "app.py",
        "    note(text=question)",
        f"    if number == 666:\n    {body.replace(chr(10), chr(10) + '    ')}\n    note(text=question)",
    )
    app.push()
    with pytest.raises(RunFailed) as caught:
        app.client.run("chain/answer", "question 666")
    assert says in str(caught.value)
    assert "/" + "runner" not in str(caught.value)
    assert app.client.run("chain/answer", "question 7").output == "answer 7"
    failed = app.client.traces.list(status="error").items
    assert len(failed) == 1


@pytest.mark.parametrize(
    "body",
    [
        "    print('x' * 100_000)\n    import sys; sys.stderr.write('y' * 100_000)",
        "    import os; os.write(1, b'{\"frame\": 1}' * 1000)",
        "    import threading, time; threading.Thread(target=time.sleep, args=(600,)).start()",
        "    import subprocess; subprocess.Popen(['sleep', '600'])",
        "    import sys; sys.stdout.close()",
        "    import gc; gc.disable()",
    ],
    ids=["prints", "writes to descriptor 1", "leaks a thread", "leaves a process", "closes stdout", "turns off gc"],
)
def test_a_chain_that_is_untidy_still_answers(app: App, body: str) -> None:
    app.edit("app.py", "    note(text=question)", body + "\n    note(text=question)")
    app.push()
    for number in (7, 8, 9):
        assert app.client.run("chain/answer", f"question {number}").output == f"answer {number}"


def test_a_chain_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDLASS_RUNNER_SECONDS", "2")
    app = App(tmp_path, rows=4)
    app.edit("app.py", "    note(text=question)", "    while number == 666: pass\n    note(text=question)")
    app.push()
    with pytest.raises(RunFailed, match="2 s"):
        app.client.run("chain/answer", "question 666")
    assert app.client.run("chain/answer", "question 7").output == "answer 7"
    app.close()


@pytest.mark.parametrize(
    ("ref", "kind", "says"),
    [
        ("chian/answer", Invalid, "did you mean 'chain'"),
        ("chain/answr", NotFound, "did you mean chain/answer"),
        ("chain/answer:nightly", NotFound, "no label 'nightly'"),
        ("chain/answer@0000", NotFound, "no version"),
        ("chain/answer@xyz", Invalid, "not a digest"),
        ("chain/answer:production", NotFound, "production"),
        ("answer", Invalid, "not a ref"),
        ("chain/", Invalid, "not a name"),
        ("../../etc/passwd", Invalid, ""),
    ],
)
def test_a_ref_to_nothing(app: App, ref: str, kind: type[WindlassError], says: str) -> None:
    app.push()
    with pytest.raises(kind) as caught:
        app.client.run(ref, "question 1")
    assert says in str(caught.value)


def test_input_that_does_not_fit(app: App) -> None:
    app.push()
    for given, says in (({"quesiton": "x"}, "question"), ({"question": 5}, "question"), (None, "question"), ([1], "object")):
        with pytest.raises(Invalid) as caught:
            app.client.run("chain/answer", given)
        assert says in str(caught.value)


def test_a_tool_that_does_not_say_what_it_does(app: App) -> None:
    app.write("app.py", (app.folder / "app.py").read_text() + "\n\n@w.tool\ndef look(x: str) -> str:\n    '''Look.'''\n    return x\n")
    error = refused(app)
    assert "must say what it does to the world" in str(error)
    assert 'effects="none"' in str(error)
