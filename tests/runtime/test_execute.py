"""Runs from end to end: what the caller gets, and what the trace says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.application import Application, application

from windlass.core import span as names
from windlass.core.actor import OWNER, Actor
from windlass.core.artifacts import PromptBody, TemplateMessage
from windlass.core.errors import Forbidden, Invalid, ModelFailed, NotFound, RunFailed, Unavailable
from windlass.core.operations.runs import RunRequest
from windlass.core.ref import Ref
from windlass.core.span import TraceContext


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Application]:
    async with application(tmp_path) as made:
        yield made


async def test_a_release_answers_and_its_trace_names_every_version(app: Application) -> None:
    app.label(app.answer_release, "production")
    result = await app.executor.run(OWNER, RunRequest("release/answer:production", "How do I limit time waiting in asyncio?"))
    assert result.output["symbols"] == ["asyncio.timeout"]
    assert result.text == result.output["text"]
    assert "time spent waiting" in result.text
    assert result.cost == 0.0
    assert {v.partition("@")[0] for v in result.versions} == {
        "release/answer", "chain/answer", "component/reply", "prompt/reply", "model/baseline", "index/docs",
    }  # fmt: skip
    assert app.spans.tree() == [
        "request run chain/answer ok",
        "  chain chain/answer ok",
        "    retrieval search docs ok",
        "    component component/reply ok",
        "      model chat baseline/baseline@1 ok",
    ]
    assert {s.trace_id for s in app.spans.all} == {result.trace}
    for span in app.spans.all:
        assert span.attributes[names.RELEASE] == result.target
        assert span.attributes[names.ENVIRONMENT] == "production"
        assert span.attributes[names.ACTOR] == "owner"
    model = app.spans.one("chat baseline/baseline@1").attributes
    assert model[names.INPUT_TOKENS] > 0
    assert model[names.COST] == 0.0
    assert names.REUSED not in model


@pytest.mark.parametrize(
    ("target", "given", "text"),
    [
        ("tool/add", {"a": 1, "b": 2}, "3"),
        ("chain/chat", {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "2 turns"),
        (
            "component/reply",
            {"question": "split a string", "passages": [{"symbol": "s", "text": "Split a string into words."}]},
            "Split a string",
        ),
    ],
)
async def test_other_targets(app: Application, target: str, given: Any, text: str) -> None:
    assert text in (await app.run(target, given)).text


async def test_an_index_is_searched(app: Application) -> None:
    context = app.context()
    result = await app.executor.execute(Ref("index", "docs"), {"query": "split a string", "k": 1}, context)
    assert [p["key"] for p in result.output] == ["split"]
    assert context.ledger.passages == result.output


@pytest.mark.parametrize(
    ("target", "given", "error", "said"),
    [
        ("chain/answer", {"question": 3}, Invalid, "the input of chain/answer@[0-9a-f]+ is wrong at question: 3 is not of type"),
        ("chain/answer", {"q": "x"}, Invalid, "takes no 'q'"),
        ("chain/answer", {}, Invalid, "needs 'question'"),
        ("component/say", {"question": "x", "more": 1}, Invalid, "takes no 'more'"),
        ("prompt/say", {}, Invalid, "a prompt cannot be run"),
        ("chain/nothing", "x", NotFound, "no chain/nothing"),
        ("chain/broken", "x", RunFailed, r"app.py:\d+: app:broken raised LookupError: nothing there"),
        ("chain/strays", "x", RunFailed, "called component/unlisted, which is not among what it uses .*it may call component/say"),
    ],
)
async def test_what_is_wrong_is_told(app: Application, target: str, given: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        await app.run(target, given)
    assert all(s.status == "error" for s in app.spans.all)


async def test_only_who_may_run_may_run(app: Application) -> None:
    viewer = Actor("v", "viewer")
    with pytest.raises(Forbidden, match="may not run"):
        await app.executor.run(viewer, RunRequest("chain/answer", "x"))
    with pytest.raises(Forbidden, match="belongs to project default, not other"):
        await app.executor.run(Actor("d", "developer"), RunRequest("other/chain/answer", "x"))
    with pytest.raises(Forbidden):
        async for _ in app.executor.stream(viewer, RunRequest("chain/answer", "x")):
            pass


async def test_a_package_that_is_missing_is_named(app: Application) -> None:
    app.chain("words", app.say, packages={"nosuchpackage": "1.2"})
    app.push()
    with pytest.raises(Unavailable, match=r"needs nosuchpackage 1.2.*pip install nosuchpackage==1.2"):
        await app.run("chain/words", "x")
    app.chain("words", app.say, packages={"msgspec": "0.0.1"})
    app.push()
    app.script.say("hi")
    assert "was locked with msgspec 0.0.1" in (await app.run("chain/words", "x")).warnings[0]


async def pieces(app: Application, target: str, given: Any) -> list[Any]:
    return [p async for p in app.executor.stream(OWNER, RunRequest(target, given))]


async def test_streams(app: Application) -> None:
    app.script.say("abc", "def")
    for target, text in (("chain/words", "abc"), ("component/say", "def")):
        got = await pieces(app, target, "x")
        assert [p.text for p in got[:-1]] == list(text), got
        assert got[-1].result.text == text
    got = await pieces(app, "chain/answer", "limit time waiting")
    assert [p.text for p in got[:-1]] == [got[-1].result.text]
    got = await pieces(app, "chain/broken", "x")
    assert [p.error["error"]["code"] for p in got] == ["run_failed"]


@pytest.mark.parametrize("target", ["component/say", "chain/words", "chain/twice", "agent/guide"])
async def test_closing_a_stream_reaches_the_model(app: Application, target: str) -> None:
    app.script.gate = asyncio.Event()
    stream = app.executor.stream(OWNER, RunRequest(target, "x"))
    reading = asyncio.ensure_future(anext(stream))
    asked = asyncio.ensure_future(app.script.asked.wait())
    await asyncio.wait({reading, asked}, return_when=asyncio.FIRST_COMPLETED)
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading
    await stream.aclose()
    assert app.script.cancelled == 1
    assert app.runners.counts == {"busy": 0, "idle": 0}
    assert {s.status_message for s in app.spans.all} == {"cancelled"}


async def test_a_run_hangs_in_the_trace_of_its_caller(app: Application) -> None:
    parent = TraceContext("a" * 32, "b" * 16)
    context = app.context(parent=parent, evaluation="e1", row="r7")
    result = await app.executor.execute(Ref("tool", "add"), {"a": 1, "b": 1}, context)
    root = app.spans.one("run tool/add")
    assert (result.trace, root.trace_id, root.parent) == ("a" * 32, "a" * 32, "b" * 16)
    assert (root.attributes[names.EVALUATION], root.attributes[names.ROW]) == ("e1", "r7")


async def test_a_run_finds_its_token_and_the_gateway(tmp_path: Path) -> None:
    seen: list[bool] = []

    async with application(tmp_path, environment=lambda context: {"OPENAI_API_KEY": f"run-{context.run}"}) as app:
        context = app.context()
        app.executor._chains._environment, given = (
            lambda c: seen.append(app.executor.running(c.run) is not None) or given(c),  # type: ignore[func-returns-value]
            app.executor._chains._environment,
        )
        result = await app.executor.execute(Ref("chain", "environment"), "x", context)
        assert result.output["OPENAI_API_KEY"] == f"run-{context.run}"
        assert seen == [True]
        assert app.executor.running(context.run) is None


@pytest.mark.parametrize(
    ("evaluator", "value", "unmeasured"),
    [
        ("right_symbol", 1.0, None),
        ("explains", 0.5, None),
        ("outside", None, "it returned 7, outside its range 0 to 1"),
        ("says_words", None, "it returned str, not a number"),
        ("crashes", None, "ZeroDivisionError"),
    ],
)
async def test_judgements(app: Application, evaluator: str, value: float | None, unmeasured: str | None) -> None:
    arguments = {"output": {"text": "t", "symbols": ["a", "b"]}, "row": {"symbols": ["b"]}, "passages": []}
    score = await app.executor.evaluate(Ref("evaluator", evaluator), arguments, app.context())
    assert score.value == value
    assert (unmeasured or "") in (score.unmeasured or "")
    assert score.evaluator.startswith(f"evaluator/{evaluator}@sha256:")


async def test_a_judgement_of_what_is_not_there(app: Application) -> None:
    score = await app.executor.evaluate(Ref("evaluator", "right_symbol"), {"output": {}}, app.context())
    assert score.unmeasured == "'row' is not there to be judged"


async def test_a_provider_that_fails_fails_the_run_as_itself(app: Application) -> None:
    app.script.replies.append(ModelFailed("it answered 500", where="http://x"))
    with pytest.raises(ModelFailed, match="it answered 500"):
        await app.run("chain/twice", "x")


async def test_many_runs_at_once(app: Application) -> None:
    results = await asyncio.gather(*(app.run("chain/answer", f"limit time waiting {n}") for n in range(20)))
    assert {r.output["symbols"][0] for r in results} == {"asyncio.timeout"}
    assert len({r.trace for r in results}) == 20


async def test_examples_stand_before_the_question(app: Application) -> None:
    examples = app.dataset("fewshot", "sums", {"key": "e1", "question": "2 + 2?", "answer": "4"})
    body = PromptBody((TemplateMessage("user", "{{ question }}"),), {"question": {"type": "string"}}, "jinja2@3", fewshot=examples.digest)
    app.component("sum", app.put("prompt", "sum", body, ("fewshot", examples)), app.scripted)
    app.push()
    app.script.say("6")
    assert (await app.run("component/sum", "3 + 3?")).text == "6"
    assert [(m.role, m.text) for m in app.script.requests[0].messages] == [("user", "2 + 2?"), ("assistant", "4"), ("user", "3 + 3?")]
