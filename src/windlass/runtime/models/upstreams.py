"""What this process knows of each upstream of each route: its breaker, who is under way there and who waits for a place.

What it has seen is told to a file at most once a second, for the page. One event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable

from windlass.core.ids import now_ns
from windlass.core.operations.routes import UpstreamHealth
from windlass.runtime.models.breaker import Breaker

TELL_S = 1.0
_log = logging.getLogger("windlass.routes")


class Places:
    """How many calls are under way, with a limit that is told anew each time; who waits is let in in the order of coming."""

    def __init__(self) -> None:
        self.taken = 0
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def take(self, limit: int | None, wait_s: float) -> bool:
        """Take a place; False when there was none for so long. A wait that is cancelled takes none."""
        if limit is None or (self.taken < limit and not self._waiting):
            self.taken += 1
            return True
        if wait_s <= 0:
            return False
        mine = (asyncio.get_running_loop().create_future(), limit)
        self._waiting.append(mine)
        try:
            async with asyncio.timeout(wait_s):
                await mine[0]
            return True
        except TimeoutError:
            return mine[0].done() and not mine[0].cancelled()  # a place may have come in the same moment
        except asyncio.CancelledError:
            if mine[0].done() and not mine[0].cancelled():
                self.give_back()
            raise
        finally:
            if mine in self._waiting:
                self._waiting.remove(mine)

    def give_back(self) -> None:
        self.taken -= 1
        while self._waiting and self.taken < self._waiting[0][1]:
            future, _ = self._waiting.popleft()
            if not future.done():
                self.taken += 1
                future.set_result(None)


class UpstreamState:
    """Of one upstream of one route."""

    def __init__(self, project: str, route: str, model: str) -> None:
        self.project = project
        self.route = route
        self.model = model
        self.breaker = Breaker()
        self.places = Places()
        self.asked = 0
        self.failed = 0
        self.last_failure = ""

    def health(self, now: float, now_wall_ns: int) -> UpstreamHealth:
        """At `now` of the clock, which is `now_wall_ns` in UTC."""

        def wall(at: float) -> int:
            return now_wall_ns + int((at - now) * 1e9)

        b = self.breaker
        until = max(b.until if b.state == "open" else 0.0, b.rests_until)
        return UpstreamHealth(
            self.project, self.route, self.model, b.state, self.asked, self.failed, self.places.taken, self.places.waiting,
            wall(b.since) if b.since else 0, wall(until) if until > now else 0, self.last_failure,
        )  # fmt: skip


class Upstreams:
    """All of them, by project, route and model.

    Args:
        tell: takes what was seen, at most every second; None where nobody reads it. Called on a thread.
        clock: seconds, only forward.
    """

    def __init__(
        self, tell: Callable[[tuple[UpstreamHealth, ...]], None] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.clock = clock
        self._tell = tell
        self._states: dict[tuple[str, str, str], UpstreamState] = {}
        self._due: asyncio.TimerHandle | None = None

    def of(self, project: str, route: str, model: str) -> UpstreamState:
        key = (project, route, model)
        if key not in self._states:
            self._states[key] = UpstreamState(*key)
        return self._states[key]

    def health(self) -> tuple[UpstreamHealth, ...]:
        now, wall = self.clock(), now_ns()
        return tuple(state.health(now, wall) for _, state in sorted(self._states.items()))

    def changed(self) -> None:
        """Something was seen: have it told soon."""
        if self._tell is None or self._due is not None:
            return
        self._due = asyncio.get_running_loop().call_later(TELL_S, self._send)

    def close(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _send(self) -> None:
        self._due = None
        assert self._tell is not None
        asyncio.get_running_loop().run_in_executor(None, self._told, self._tell, self.health())

    @staticmethod
    def _told(tell: Callable[[tuple[UpstreamHealth, ...]], None], seen: tuple[UpstreamHealth, ...]) -> None:
        try:
            tell(seen)
        except OSError as e:  # a full disk: calls go on
            _log.warning("what was seen of upstreams cannot be told: %s", e)
