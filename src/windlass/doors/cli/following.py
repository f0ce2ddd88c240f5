"""`traces --follow`: traces as they come."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from windlass.core.errors import Unavailable
from windlass.core.operations.traces import TracePage, TraceSummary
from windlass.doors import format as words
from windlass.doors.cli.session import Session, plain

EVERY = 1.0  # seconds between an answer and the next question
PAGES = 25  # of what came meanwhile, that are read
REMEMBERED = 20_000  # ids, of the newest


def follow(session: Session, asked: dict[str, Any], pause: Callable[[float], None] = time.sleep) -> None:
    """Print traces that fit, the newest last, until somebody ends it."""
    try:
        for trace in arriving(session.client.traces.list, asked, pause, session.warn):
            if session.json:
                sys.stdout.write(msgspec.json.encode(trace).decode() + "\n")
                sys.stdout.flush()
            else:
                failed = "[red]error[/red]  " if trace.status == "error" else ""
                said = plain(" ".join((trace.input or trace.name).split())[:90])
                when = time.strftime("%H:%M:%S", time.localtime(trace.start_ns / 1e9))
                session.print(f"{trace.trace_id[:8]}  [dim]{when}  {words.duration(trace.duration_ns)}[/dim]  {failed}{said}")
    except KeyboardInterrupt:
        return


def arriving(
    ask: Callable[..., TracePage], asked: dict[str, Any], pause: Callable[[float], None], warn: Callable[[str], None]
) -> Iterator[TraceSummary]:
    """Those that are there, as many as `limit`, and then each that comes; every one once. While the server is away it is asked again."""
    widely = asked | {"limit": 200}
    first = _patient(ask, widely, pause, warn)
    seen = dict.fromkeys(t.trace_id for t in first.items)
    yield from reversed(first.items[: asked.get("limit", 20)])
    while True:
        pause(EVERY)
        new = list[TraceSummary]()
        page = _patient(ask, widely, pause, warn)
        for number in range(PAGES):
            fresh = [t for t in page.items if t.trace_id not in seen]
            new += fresh
            if len(fresh) < len(page.items) or not page.next:
                break
            if number == PAGES - 1:
                warn(f"more came than is told: these are the newest {len(new):,}")
                break
            page = _patient(ask, widely | {"cursor": page.next}, pause, warn)
        for trace in reversed(new):
            seen[trace.trace_id] = None
            yield trace
        for old in list(seen)[: max(0, len(seen) - REMEMBERED)]:
            del seen[old]


def _patient(
    ask: Callable[..., TracePage], asked: dict[str, Any], pause: Callable[[float], None], warn: Callable[[str], None]
) -> TracePage:
    told = False
    while True:
        try:
            return ask(**asked)
        except Unavailable as e:
            if not told:
                warn(f"{e.message}; it is asked again")
            told = True
            pause(EVERY)
