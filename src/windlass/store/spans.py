"""Spans as wide rows, and the port of the store that keeps them. DuckDB here; ClickHouse behind the same port later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from windlass.core.operations.traces import LiveFigures, LiveQuery, Trace, TracePage, TraceQuery, TraceShow
from windlass.store.journal import Position


class SpanRow(msgspec.Struct):
    """One span as it is stored. Times are UTC nanoseconds; `cost` in US dollars, None when unknown."""

    project: str
    trace_id: str
    span_id: str
    parent: str | None
    name: str
    kind: str
    start_ns: int
    end_ns: int
    receipt_ns: int
    status: str
    status_message: str
    service: str
    digest: str  # of the span's content: the same again is dropped, another is a revision
    model: str | None = None
    provider: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_cached: int | None = None
    cost: float | None = None
    input: str | None = None
    output: str | None = None
    session: str | None = None
    user: str | None = None
    release: str | None = None
    environment: str | None = None
    evaluation: str | None = None
    row: str | None = None
    versions: list[str] = []
    attributes: str = "{}"
    events: str = "[]"


class SpanStore(Protocol):
    """Appends rows with the journal's position in one transaction; answers what pages ask. Not safe for threads."""

    def write(self, day: str, rows: Sequence[SpanRow], writer: str, position: Position) -> int:
        """Append to the file of a day (YYYY-MM-DD of receipt). Returns how many were new."""
        ...

    def positions(self) -> dict[str, Position]: ...
    def traces(self, query: TraceQuery) -> TracePage: ...
    def trace(self, query: TraceShow) -> Trace: ...
    def live(self, query: LiveQuery) -> LiveFigures: ...
    def counts(self) -> dict[str, int]: ...
    def rest(self) -> None: ...
    def close(self) -> None: ...


class Spans(Protocol):
    """What doors ask: the same questions, answered after everything that was synced before they were asked."""

    async def traces(self, query: TraceQuery) -> TracePage: ...
    async def trace(self, query: TraceShow) -> Trace: ...
    async def live(self, query: LiveQuery) -> LiveFigures: ...
    async def counts(self) -> dict[str, int]: ...
    async def close(self) -> None: ...
