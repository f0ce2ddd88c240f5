"""Spans as wide rows, what a person reads of one, and the port of the store: DuckDB here, ClickHouse behind the same port later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from windlass.core.operations.traces import LiveFigures, LiveQuery, Trace, TracePage, TraceQuery, TraceShow
from windlass.store.journal import Position

SHORT = 400  # characters of an input or output in a list


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


def readable(text: str | None) -> str:
    """What a person reads of an input or output: the text in it, shortened."""
    if not text:
        return ""
    try:
        shown = _said(msgspec.json.decode(text)) or text
    except msgspec.DecodeError:
        shown = text
    return shown if len(shown) <= SHORT else shown[:SHORT] + "…"


def _said(value: Any) -> str | None:
    """The text of a value: of messages the last one's of the user, of an object its `text` or only text."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        messages = [m for m in value if isinstance(m, dict) and "role" in m]
        asked = [m for m in messages if m["role"] == "user"] or messages
        parts = asked[-1].get("parts", asked[-1].get("content")) if asked else value
        if isinstance(parts, str):
            return parts
        pieces = [p for p in parts if isinstance(p, dict) and p.get("type") == "text"] if isinstance(parts, list) else []
        texts = [p.get("text", p.get("content")) for p in pieces]
        return "\n".join(t for t in texts if isinstance(t, str)) or None
    if isinstance(value, dict):
        if isinstance(value.get("messages"), list):
            return _said(value["messages"])
        strings = [v for v in value.values() if isinstance(v, str)]
        return value["text"] if isinstance(value.get("text"), str) else strings[0] if len(strings) == 1 else None
    return None
