"""Recorded draws: complete identity, one call for one draw, errors never kept, a reused answer says so."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from tests.runtime.application import Application, application

from windlass.core import span as names
from windlass.core.errors import ModelFailed, RunFailed
from windlass.core.message import Draw
from windlass.core.ref import Ref
from windlass.runtime.draws import TableDraws, draw_key
from windlass.store.meta import open_meta, read
from windlass.store.tables import draws


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Application]:
    async with application(tmp_path) as made:
        yield made


async def ask(app: Application, question: str = "x", **fields: Any) -> tuple[str, Any]:
    context = app.context(**fields)
    result = await app.executor.execute(Ref("component", "say"), question, context)
    return result.text, context.ledger


async def test_a_reused_answer_says_so_and_keeps_cost_and_latency(app: Application) -> None:
    app.script.say("first")
    text, ledger = await ask(app, row="r", draws="reuse")
    assert (text, ledger.calls, ledger.reused) == ("first", 1, 0)
    met = ledger.draws
    text, ledger = await ask(app, row="r", draws="reuse")
    assert met == ledger.draws != []
    assert (text, ledger.calls, ledger.reused, ledger.cost, ledger.waited_ns) == ("first", 0, 1, 0.25, 1000)
    assert len(app.script.requests) == 1
    models = [s.attributes for s in app.spans.all if s.attributes[names.KIND] == "model"]
    assert [m.get(names.REUSED) for m in models] == [None, True]
    roots = [s.attributes for s in app.spans.all if s.attributes[names.KIND] == "request"]
    assert [r.get(names.REUSED) for r in roots] == [None, True]


async def test_policies(app: Application) -> None:
    app.script.say("a", "b", "c", "d")
    assert (await ask(app, row="r", draws="live"))[0] == "a"
    with pytest.raises(RunFailed, match="never answered"):
        await ask(app, row="r", draws="replay")
    assert (await ask(app, row="r", draws="record"))[0] == "b"
    assert (await ask(app, row="r", draws="replay"))[0] == "b"
    assert (await ask(app, row="r", draws="record"))[0] == "c"
    assert (await ask(app, row="r", draws="reuse"))[0] == "c"
    assert (await ask(app, row="r", draws="live"))[0] == "d"


async def test_the_key_is_the_complete_identity() -> None:
    base = {"request": "sha256:a", "model": "sha256:m"}
    keys = {
        draw_key(request, model, draw)
        for request in (base["request"], "sha256:b")
        for model in (base["model"], "sha256:n")
        for draw in (Draw("r", 0, 0), Draw("s", 0, 0), Draw("r", 1, 0), Draw("r", 0, 1))
    }
    assert len(keys) == 16


async def test_rows_repeats_and_requests_draw_for_themselves(app: Application) -> None:
    app.script.say(*"abcde")
    got = [
        (await ask(app, question, row=row, repeat=repeat, draws="reuse"))[0]
        for question, row, repeat in (("x", "r", 0), ("x", "s", 0), ("x", "r", 1), ("y", "r", 0), ("x", "r", 0))
    ]
    assert got == ["a", "b", "c", "d", "a"]


async def test_the_second_occurrence_in_a_run_is_another_draw(app: Application) -> None:
    app.script.say("one", "two")
    for _ in range(2):
        result = await app.executor.execute(Ref("chain", "twice"), "x", app.context(row="r", draws="reuse"))
        assert result.output == ["one", "two"]
    assert len(app.script.requests) == 2


async def test_another_version_of_the_model_is_another_draw(app: Application) -> None:
    app.script.say("a", "b")
    await ask(app, row="r", draws="reuse")
    from windlass.core.artifacts import ModelBody

    newer = app.put("model", "one", ModelBody("scripted", "one", True, {"temperature": 0.5}))
    app.component("say", app.say_prompt, newer, parameters={"max_tokens": 50})
    app.push()
    assert (await ask(app, row="r", draws="reuse"))[0] == "b"
    first, second = app.script.requests
    assert first.digest() == second.digest()


async def test_errors_are_never_kept(app: Application) -> None:
    app.script.replies.append(ModelFailed("it answered 500"))
    with pytest.raises(ModelFailed):
        await ask(app, row="r", draws="reuse")
    with read(app.engine) as connection:
        assert connection.execute(select(func.count()).select_from(draws)).scalar() == 0
    app.script.say("well again")
    assert (await ask(app, row="r", draws="reuse"))[0] == "well again"


async def test_many_who_want_one_draw_make_one_call(app: Application) -> None:
    app.script.gate = asyncio.Event()
    app.script.say("shared")
    runs = [asyncio.ensure_future(ask(app, row="r", draws="reuse")) for _ in range(8)]
    await app.script.asked.wait()
    app.script.gate.set()
    got = await asyncio.gather(*runs)
    assert {text for text, _ in got} == {"shared"}
    assert len(app.script.requests) == 1
    assert sorted((ledger.calls, ledger.reused) for _, ledger in got) == [(0, 1)] * 7 + [(1, 0)]


async def test_who_looks_while_another_keeps_an_answer_asks_no_second_time(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """One who has read that nothing is kept, and goes on only after the first has kept its answer."""
    seen, first_done, get = asyncio.Event(), threading.Event(), TableDraws.get
    loop, looks = asyncio.get_running_loop(), itertools.count(1)

    def slow(store: TableDraws, project: str, key: str) -> bytes | None:
        found = get(store, project, key)
        if next(looks) == 2:
            loop.call_soon_threadsafe(seen.set)
            assert first_done.wait(30)
        return found

    monkeypatch.setattr(TableDraws, "get", slow)
    app.script.gate = asyncio.Event()
    app.script.say("first", "asked twice")
    first = asyncio.ensure_future(ask(app, row="r", draws="reuse"))
    await app.script.asked.wait()
    second = asyncio.ensure_future(ask(app, row="r", draws="reuse"))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(seen.wait(), 0.5)
    app.script.gate.set()
    assert (await first)[0] == "first"
    first_done.set()
    assert (await second)[0] == "first"
    assert len(app.script.requests) == 1


async def test_who_records_asks_while_another_reads_what_is_kept(app: Application) -> None:
    app.script.say("old", "new")
    await ask(app, row="r", draws="reuse")
    got = await asyncio.gather(ask(app, row="r", draws="reuse"), ask(app, row="r", draws="record"))
    assert got[0][0] in ("old", "new") and got[1][0] == "new"
    assert (await ask(app, row="r", draws="replay"))[0] == "new"


async def test_when_the_one_who_asks_is_cancelled_another_asks(app: Application) -> None:
    app.script.gate = asyncio.Event()
    app.script.say("for the second")
    first = asyncio.ensure_future(ask(app, row="r", draws="reuse"))
    await app.script.asked.wait()
    second = asyncio.ensure_future(ask(app, row="r", draws="reuse"))
    await asyncio.sleep(0.05)
    first.cancel()
    app.script.gate.set()
    assert (await second)[0] == "for the second"
    with pytest.raises(asyncio.CancelledError):
        await first
    assert app.script.cancelled == 1


def test_of_two_answers_to_one_draw_the_first_is_kept(tmp_path: Path) -> None:
    engine = open_meta(f"sqlite:///{tmp_path / 'meta.db'}")
    store, draw = TableDraws(engine), Draw("r", 0, 0)
    assert store.get("p", "k") is None
    assert store.put("p", "k", "sha256:a", "sha256:m", draw, b"first", replace=False) == b"first"
    assert store.put("p", "k", "sha256:a", "sha256:m", draw, b"second", replace=False) == b"first"
    assert store.get("p", "k") == b"first"
    assert store.put("p", "k", "sha256:a", "sha256:m", draw, b"third", replace=True) == b"third"
    assert store.get("p", "k") == b"third"
    assert store.get("another", "k") is None
    engine.dispose()
