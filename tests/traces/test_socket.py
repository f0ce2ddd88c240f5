"""Whatever is wrong with a question, who asked is told so at once: no answer at all stands for a projector that has ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from windlass.core.errors import Invalid, NotFound, WindlassError
from windlass.core.operations.traces import FieldQuery, TextShow, TraceQuery, TraceShow
from windlass.traces.socket import RemoteSpans, listen


async def asked(folder: Path, name: str, params: Any, answer: Any = None) -> Any:
    """What who asks is told, where the projector answers so."""
    heard: list[str] = []

    async def ask(name: str, params: Any) -> Any:
        heard.append(name)
        if isinstance(answer, Exception):
            raise answer
        return answer

    server = await listen(folder / "s", ask)
    try:
        return await getattr(RemoteSpans(folder / "s"), name)(params)
    finally:
        server.close()
        assert len(heard) <= 1, "it is not asked again"


@pytest.mark.parametrize(
    ("name", "params", "where"),
    [
        ("traces", TraceQuery(cursor=["a"]), "cursor"),  # type: ignore[arg-type]
        ("traces", TraceQuery(since_ns="soon"), "since_ns"),  # type: ignore[arg-type]
        ("traces", TraceQuery(limit=10**9), "limit"),
        ("trace", TraceShow(7), "id"),  # type: ignore[arg-type]
        ("trace", TraceShow("ab" * 16, span="zz"), "span"),
        ("text", TextShow("ab" * 16, "cd" * 8, "nothing"), "of"),  # type: ignore[arg-type]
        ("fields", FieldQuery(field={"a": 1}), "field"),  # type: ignore[arg-type]
    ],
)
async def test_a_badly_typed_question_is_refused_with_its_place(tmp_path: Path, name: str, params: Any, where: str) -> None:
    with pytest.raises(Invalid) as refused:
        await asked(tmp_path, name, params)
    assert refused.value.where == where


async def test_a_defect_is_told_as_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(WindlassError, match="log has it") as told:
        await asked(tmp_path, "traces", TraceQuery(), RuntimeError("kept for the log"))
    assert told.value.status == 500 and "kept for the log" not in str(told.value)
    assert told.value.details["id"] in caplog.text and "kept for the log" in caplog.text


async def test_refusals_and_answers_come_through(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        await asked(tmp_path, "traces", TraceQuery(), NotFound("nowhere"))
    assert (await asked(tmp_path, "traces", TraceQuery(), {"items": []})).items == ()
