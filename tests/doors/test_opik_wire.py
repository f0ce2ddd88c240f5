"""How Opik's SDK is heard: bodies as any reader of JSON reads them, and big ones off the loop."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.errors import Invalid
from windlass.core.ids import uuid7
from windlass.core.operations.traces import TraceShow
from windlass.doors import opik
from windlass.doors.app import Application
from windlass.doors.opik_wire import aside, decoded, number_of
from windlass.doors.otlp.intake import INLINE
from windlass.platform import Platform
from windlass.sdk.importing.spans import FOREIGN_SPAN
from windlass.settings import Settings
from windlass.store.home import Home
from windlass.traces import opik_spans

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text('aä"\\\n[{,', max_size=5),
    lambda x: st.lists(x) | st.dictionaries(st.sampled_from("ab"), x),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["spans", "traces", "name"]), JSON), st.sampled_from([None, 2]))
def test_a_body_read_piece_by_piece_is_what_it_is_as_a_whole(body: dict[str, Any], indent: int | None) -> None:
    assert decoded(json.dumps(body, indent=indent).encode(), "spans") == body


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"spans": [1,]}', b'{"spans": [' + b"[" * 100_000, b"\xff", b'{"spans": ["\xff"]}', b"7"])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid, match="body"):
        decoded(body, "spans")


@pytest.mark.parametrize("value", [None, True, "1", [1], {}, 10**400, -(10**400)])
def test_what_is_no_number_is_no_score(value: Any) -> None:
    with pytest.raises(Invalid, match="number"):
        number_of({"value": value})


def test_the_work_on_a_big_body_is_done_beside_the_loop() -> None:
    async def where(size: int) -> bool:
        return await aside(size, threading.get_ident) == threading.get_ident()

    assert asyncio.run(where(INLINE)), "handing over a small one would cost more than it does"
    assert not asyncio.run(where(INLINE + 1))


def test_no_step_of_a_big_body_is_made_on_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its JSON to the bytes that go into the journal; of a small one there all of it is."""
    made: list[int] = []

    def step(told: Any, **more: Any) -> Any:
        made.append(threading.get_ident())
        return opik_spans.step(told, **more)

    monkeypatch.setattr(opik, "opik_spans", SimpleNamespace(**{**vars(opik_spans), "step": step}))

    async def sent(*inputs: str) -> tuple[int, set[int]]:
        platform = Platform(Home(tmp_path / "home"), Settings())
        app = Application(platform)
        headers = {"authorization": f"Bearer {platform.home.token()}"}
        spans = [{"id": uuid7(), "trace_id": uuid7(), "start_time": "2026-11-30T07:45:53Z", "input": text} for text in inputs]
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1", headers=headers) as http:
            answer = await http.post("/api/v1/private/spans/batch", json={"spans": spans})
        assert answer.status_code == 204, answer.text
        app.stop()
        await platform.close()
        return threading.get_ident(), {made.pop() for _ in range(2 * len(inputs))}

    loop, where = asyncio.run(sent("x", "y"))
    assert where == {loop}
    loop, where = asyncio.run(sent("x" * INLINE, "y"))
    assert loop not in where
    assert made == []


def test_what_came_before_a_start_is_looked_for_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1,200 spans of as many traces, where one at a time would keep all who send waiting; and what is told anew loses nothing."""
    asked: list[int] = []
    begun, trace = uuid7(), uuid7()
    whole = {"id": begun, "trace_id": trace, "start_time": "2026-11-30T07:45:53Z"}
    others = [{"id": uuid7(), "trace_id": uuid7(), "start_time": "2026-11-30T07:45:53Z"} for _ in range(1_199)]

    async def sent(*spans: Any) -> Any:
        """By a process that has just begun."""
        platform = Platform(Home(tmp_path / "home"), Settings())
        app, recent = Application(platform), platform.traces.recent

        async def counted(query: Any) -> Any:
            asked.append(len(query.spans))
            return await recent(query)

        monkeypatch.setattr(platform.traces, "recent", counted)
        headers = {"authorization": f"Bearer {platform.home.token()}"}
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1", headers=headers) as http:
            answer = await http.post("/api/v1/private/spans/batch", json={"spans": spans})
        assert answer.status_code == 204, answer.text
        (step,) = (await platform.traces.found(TraceShow(trace.replace("-", "")))).spans
        app.stop()
        await platform.close()
        return step.attributes

    asyncio.run(sent(whole | {"input": {"q": 1}, "name": "ask"}))
    assert asyncio.run(sent(whole | {"end_time": "2026-11-30T07:45:54Z", "output": {"a": 1}}, *others)) == {
        **{f"opik.{field}": value for field, value in whole.items()}, "opik.end_time": "2026-11-30T07:45:54Z",
        "opik.name": "ask", "opik.input": '{"q":1}', "opik.output": '{"a":1}', FOREIGN_SPAN: begun,
    }  # fmt: skip
    assert asked == [1, 500, 500, 200]


def test_of_several_workers_each_puts_an_update_to_what_the_others_took(tmp_path: Path) -> None:
    span, trace = uuid7(), uuid7()
    whole = {"id": span, "trace_id": trace, "start_time": "2026-11-30T07:45:53Z", "name": "ask", "input": "q"}

    async def sent() -> Any:
        platform = Platform(Home(tmp_path / "home"), Settings(workers=2))
        doors = [Application(platform), Application(platform)]
        headers = {"authorization": f"Bearer {platform.home.token()}"}
        for turn, (verb, path, body) in enumerate((
            ("POST", "spans/batch", {"spans": [whole]}), ("PATCH", f"spans/{span}", {"trace_id": trace, "output": "a"}),
            ("PATCH", f"spans/{span}", {"trace_id": trace, "model": "m"}), ("POST", "spans/batch", {"spans": [whole | {"metadata": "x"}]}),
            ("PATCH", f"spans/{span}", {"trace_id": trace, "provider": "p"}),
        )):  # fmt: skip
            transport = httpx2.ASGITransport(doors[turn % 2])
            async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as http:
                assert (await http.request(verb, f"/api/v1/private/{path}", json=body)).status_code == 204
        (step,) = (await platform.traces.found(TraceShow(trace.replace("-", "")))).spans
        for door in doors:
            door.stop()
        await platform.close()
        return {name: step.attributes.get(f"opik.{name}") for name in ("name", "input", "output", "model", "metadata", "provider")}

    assert asyncio.run(sent()) == {"name": "ask", "input": "q", "output": "a", "model": "m", "metadata": "x", "provider": "p"}
