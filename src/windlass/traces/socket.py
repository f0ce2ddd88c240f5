"""The way to the projector: questions and answers on a Unix socket, each a length (u32, little-endian) and JSON.

A question is `{"name": …, "params": …}`; an answer `{"ok": …}` or an error in the one shape. Light, since it is in every process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from windlass.core.errors import Unavailable, WindlassError, error_from_dict
from windlass.core.ids import uuid7
from windlass.core.operations.calls import CallGraph, CallsShow
from windlass.core.operations.costs import CostsShow, TraceCosts
from windlass.core.operations.figures import Figures, FiguresQuery
from windlass.core.operations.ledger import LedgerAudit, LedgerAudited, LedgerPage, LedgerQuery
from windlass.core.operations.logs import LogPage, LogQuery
from windlass.core.operations.metrics import MetricPage, MetricQuery, MetricShow, MetricTold
from windlass.core.operations.query import complaint
from windlass.core.operations.sessions import SessionPage, SessionQuery
from windlass.core.operations.traces import (
    FieldQuery,
    Fields,
    LiveFigures,
    LiveQuery,
    Remapped,
    SpanText,
    TextShow,
    Trace,
    TracePage,
    TraceQuery,
    TraceShow,
)
from windlass.core.operations.trees import TraceTree, TreeShow
from windlass.core.span import StoredSpan
from windlass.store.spans import (
    ArrivalQuery,
    Arrivals,
    CommonQuery,
    Forget,
    MentionQuery,
    Portion,
    PortionQuery,
    RecentQuery,
    ScoreQuery,
    ScoreSeen,
    SubjectQuery,
    Theirs,
    TrialQuery,
    Trials,
)

RESTART_SECONDS = 3.0  # how long a question waits for a projector that is being started again
ANSWER_SECONDS = 120.0
LARGEST = 256_000_000  # bytes of an answer
QUESTIONS: dict[str, type[Any] | None] = {
    "traces": TraceQuery, "fields": FieldQuery, "trace": TraceShow, "tree": TreeShow, "calls": CallsShow, "costs": CostsShow,
    "text": TextShow, "recent": RecentQuery,
    "live": LiveQuery, "figures": FiguresQuery, "logs": LogQuery, "metrics": MetricQuery, "metric": MetricShow,
    "arrivals": ArrivalQuery, "trials": TrialQuery, "scores": ScoreQuery,
    "sessions": SessionQuery, "counts": None, "theirs": SubjectQuery, "common": CommonQuery, "forget": Forget,
    "mentions": MentionQuery, "portion": PortionQuery,
    "remap": None, "ledger": LedgerQuery, "audit": LedgerAudit,
}  # fmt: skip

T = TypeVar("T")
_log = logging.getLogger("windlass.projector")


class Question(msgspec.Struct):
    name: str
    params: msgspec.Raw = msgspec.Raw(b"null")


class RemoteSpans:
    """`Spans` of the projector process."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def traces(self, query: TraceQuery) -> TracePage:
        return await self._ask("traces", query, TracePage)

    async def fields(self, query: FieldQuery) -> Fields:
        return await self._ask("fields", query, Fields)

    async def logs(self, query: LogQuery) -> LogPage:
        return await self._ask("logs", query, LogPage)

    async def trace(self, query: TraceShow) -> Trace:
        return await self._ask("trace", query, Trace)

    async def recent(self, query: RecentQuery) -> list[StoredSpan]:
        return await self._ask("recent", query, list[StoredSpan])

    async def tree(self, query: TreeShow) -> TraceTree:
        return await self._ask("tree", query, TraceTree)

    async def calls(self, query: CallsShow) -> CallGraph:
        return await self._ask("calls", query, CallGraph)

    async def costs(self, query: CostsShow) -> TraceCosts:
        return await self._ask("costs", query, TraceCosts)

    async def text(self, query: TextShow) -> SpanText:
        return await self._ask("text", query, SpanText)

    async def live(self, query: LiveQuery) -> LiveFigures:
        return await self._ask("live", query, LiveFigures)

    async def figures(self, query: FiguresQuery) -> Figures:
        return await self._ask("figures", query, Figures)

    async def metrics(self, query: MetricQuery) -> MetricPage:
        return await self._ask("metrics", query, MetricPage)

    async def metric(self, query: MetricShow) -> MetricTold:
        return await self._ask("metric", query, MetricTold)

    async def arrivals(self, query: ArrivalQuery) -> Arrivals:
        return await self._ask("arrivals", query, Arrivals)

    async def trials(self, query: TrialQuery) -> Trials:
        return await self._ask("trials", query, Trials)

    async def scores(self, query: ScoreQuery) -> list[ScoreSeen]:
        return await self._ask("scores", query, list[ScoreSeen])

    async def sessions(self, query: SessionQuery) -> SessionPage:
        return await self._ask("sessions", query, SessionPage)

    async def counts(self) -> dict[str, int]:
        found: dict[str, int] = await self._ask("counts", None, dict[str, int])
        return found

    async def theirs(self, query: SubjectQuery) -> Theirs:
        return await self._ask("theirs", query, Theirs)

    async def common(self, query: CommonQuery) -> list[str]:
        return await self._ask("common", query, list[str])

    async def forget(self, asked: Forget) -> int:
        return await self._ask("forget", asked, int)

    async def mentions(self, query: MentionQuery) -> int:
        return await self._ask("mentions", query, int)

    async def portion(self, query: PortionQuery) -> Portion:
        return await self._ask("portion", query, Portion)

    async def remap(self) -> Remapped:
        return await self._ask("remap", None, Remapped)

    async def ledger(self, query: LedgerQuery) -> LedgerPage:
        return await self._ask("ledger", query, LedgerPage)

    async def audit(self, asked: LedgerAudit) -> LedgerAudited:
        return await self._ask("audit", asked, LedgerAudited)

    async def close(self) -> None:
        pass

    async def _ask(self, name: str, params: Any, kind: type[T]) -> T:
        """One question. Raises what the projector answers, or `Unavailable` when it does not."""
        data = msgspec.json.encode({"name": name, "params": params})
        until = time.monotonic() + RESTART_SECONDS
        while True:
            try:
                answer = await asyncio.wait_for(self._once(data), ANSWER_SECONDS)
                break
            except (OSError, EOFError, TimeoutError) as e:
                if time.monotonic() > until:
                    remedy = "it is started again by itself; try again in a moment"
                    raise Unavailable("the projector does not answer", remedy=remedy) from e
            await asyncio.sleep(0.1)
        found = msgspec.json.decode(answer, type=dict[str, msgspec.Raw])
        if "ok" not in found:
            raise error_from_dict(msgspec.json.decode(answer))
        return msgspec.json.decode(found["ok"], type=kind)

    async def _once(self, data: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(str(self._socket))
        try:
            await _write(writer, data)
            return await _read(reader)
        finally:
            writer.close()


async def listen(socket: Path, ask: Callable[[str, Any], Awaitable[Any]]) -> asyncio.Server:
    """Answer on a socket that only this user reaches."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            try:
                asked = await _read(reader)
                answer = msgspec.json.encode({"ok": await _answered(asked, ask)})
            except WindlassError as e:
                answer = msgspec.json.encode(e.as_dict())
            await _write(writer, answer)
        writer.close()

    await asyncio.to_thread(socket.unlink, missing_ok=True)
    server = await asyncio.start_unix_server(serve, str(socket))
    await asyncio.to_thread(socket.chmod, 0o600)
    return server


async def _answered(asked: bytes, ask: Callable[[str, Any], Awaitable[Any]]) -> Any:
    """Raises `WindlassError` for whatever goes wrong: who asks would take a question without an answer for a projector that has ended, and
    ask it again."""
    try:
        question = msgspec.json.decode(asked, type=Question)
        kind = QUESTIONS[question.name]
        params = msgspec.json.decode(question.params, type=kind) if kind else None
    except msgspec.ValidationError as e:  # a door took what it was given as it is
        raise complaint(e) from e
    try:
        return await ask(question.name, params)
    except WindlassError:
        raise
    except Exception as e:
        number = uuid7()
        _log.exception("defect %s in an answer to %r", number, question.name)
        remedy = f"the projector's log has it under {number}"
        raise WindlassError("something went wrong inside Windlass", remedy=remedy, id=number) from e


async def _read(reader: asyncio.StreamReader) -> bytes:
    length = int.from_bytes(await reader.readexactly(4), "little")
    if length > LARGEST:
        raise EOFError
    return await reader.readexactly(length)


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(len(data).to_bytes(4, "little") + data)
    await writer.drain()
