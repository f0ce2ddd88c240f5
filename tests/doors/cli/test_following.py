"""`traces --follow`: every trace that comes is told once, in order, also when many come at once and while the server is away."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from windlass.core.errors import Unavailable
from windlass.core.operations.traces import TracePage, TraceSummary
from windlass.doors.cli import following
from windlass.doors.cli.following import arriving


class Listed:
    """A list of traces that grows by what is named each time somebody waits."""

    def __init__(self, *comes: int) -> None:
        self.there = list[int]()
        self.comes = iter(comes)
        self.waited = list[float]()
        self.away = 0
        self.asked = list[dict[str, Any]]()
        self.pause(0)

    def __call__(self, limit: int, cursor: str | None = None, **more: Any) -> TracePage:
        if self.away:
            self.away -= 1
            raise Unavailable("the server does not answer")
        self.asked.append(more)
        rest = [n for n in sorted(self.there, reverse=True) if cursor is None or n < int(cursor)]
        items = tuple(TraceSummary(f"{n:032x}", "run", "request", n, 1, "ok", 1) for n in rest[:limit])
        return TracePage(items=items, next=str(rest[limit - 1]) if len(rest) > limit else None)

    def pause(self, seconds: float) -> None:
        self.waited.append(seconds)
        count = next(self.comes, None)
        if count is None:
            raise KeyboardInterrupt
        self.there += range(len(self.there), len(self.there) + count)


def told(listed: Listed, limit: int = 20) -> tuple[list[int], list[str]]:
    said, warned = list[int](), list[str]()
    with pytest.raises(KeyboardInterrupt):
        for trace in arriving(listed, {"limit": limit, "filter": "x"}, listed.pause, warned.append):
            said.append(trace.start_ns)
    return said, warned


def test_each_is_told_once_and_the_newest_last() -> None:
    listed = Listed(30, 0, 3, 700, 0, 1)
    assert told(listed) == (list(range(10, 734)), [])
    assert set(listed.waited[1:]) == {following.EVERY} and all(a == {"filter": "x"} for a in listed.asked)


def test_of_nothing_the_first_is_told() -> None:
    assert told(Listed(0, 0, 2))[0] == [0, 1]


def test_what_arrives_late_is_told_too() -> None:
    listed = Listed(5, 0, 0)
    del listed.there[2]
    late = itertools.count()
    pause = listed.pause

    def wait(seconds: float) -> None:
        pause(seconds)
        if next(late) == 1:
            listed.there.append(2)

    listed.pause = wait  # type: ignore[method-assign]
    assert told(listed)[0] == [0, 1, 3, 4, 2]


def test_a_server_that_is_away_is_asked_again() -> None:
    listed = Listed(3, 1, 1, 1)
    listed.away = 2
    said, warned = told(listed)
    assert said == [0, 1, 2, 3, 4, 5] and len(warned) == 1 and "asked again" in warned[0]


def test_very_many_at_once_are_bounded_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PAGES", 2)
    said, warned = told(Listed(1, 1_000))
    assert said == [0, *range(601, 1_001)] and "newest 400" in warned[0]
