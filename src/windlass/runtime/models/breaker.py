"""A circuit breaker: an upstream that fails is left alone for a while, then asked once before it is trusted again.

    closed ──(enough failures within the window)──► open ──(open_s later)──► half-open ──(answered)──► closed
                                                      ▲                          └─────(failed)──────────┘ open

Knows nothing of what is asked. Times are seconds of a clock that only goes forward. One thread.
"""

from __future__ import annotations

from collections import deque

from windlass.core.operations.routes import BreakerState, RouteBreaker

SLICES = 10  # of the window: failures are counted by slices of time, so that memory does not grow with traffic


class Breaker:
    """`until` is when an open breaker lets one call try. `rests_until` is what the upstream asked for by Retry-After."""

    def __init__(self) -> None:
        self.state: BreakerState = "closed"
        self.until = 0.0
        self.rests_until = 0.0
        self.since = 0.0
        self._trying = False
        self._slices: deque[list[float]] = deque()  # [begin, answered, failed]

    def refusal(self, now: float) -> str:
        """Why no call may be made now; empty where one may. Changes nothing."""
        if now < self.rests_until:
            return f"it asked to be left alone for {_seconds(self.rests_until - now)} more"
        if self.state == "open" and now < self.until:
            return f"its breaker is open for {_seconds(self.until - now)} more"
        if self.state != "closed" and self._trying:
            return "its breaker is half-open, and one call tries it"
        return ""

    def begin(self, now: float) -> bool:
        """A call is made, which `refusal` let through. It ends with one of the next three, which are told what this returns: whether it is
        the one that tries."""
        if self.state == "open":
            self._turn("half-open", now)
        self._trying = self.state == "half-open"
        return self._trying

    def answered(self, now: float, rule: RouteBreaker, trying: bool = False) -> None:
        """The call was answered, if only by a word on the request."""
        if trying and self.state == "half-open":
            self._trying = False
            self._slices.clear()
            self._turn("closed", now)
        elif self.state == "closed":
            self._slice(now, rule.window_s)[1] += 1

    def failed(self, now: float, rule: RouteBreaker, trying: bool = False) -> None:
        """The call failed by the upstream's fault."""
        if trying and self.state == "half-open":
            self._open(now, rule)
        if self.state != "closed":  # another call tries it, or it began before it opened
            return
        self._slice(now, rule.window_s)[2] += 1
        failed = sum(s[2] for s in self._slices)
        if failed >= rule.failures and failed >= rule.share * sum(s[1] + s[2] for s in self._slices):
            self._open(now, rule)

    def left(self, trying: bool = False) -> None:
        """The call ended without a word on the upstream: whoever asked went away."""
        if trying and self.state == "half-open":
            self._trying = False

    def rest(self, until: float) -> None:
        """The upstream asked to be left alone until then."""
        self.rests_until = max(self.rests_until, until)

    def _open(self, now: float, rule: RouteBreaker) -> None:
        self._trying = False
        self._slices.clear()
        self.until = now + rule.open_s
        self._turn("open", now)

    def _turn(self, state: BreakerState, now: float) -> None:
        self.state, self.since = state, now

    def _slice(self, now: float, window_s: float) -> list[float]:
        while self._slices and self._slices[0][0] <= now - window_s:
            self._slices.popleft()
        if not self._slices or now - self._slices[-1][0] >= window_s / SLICES:
            self._slices.append([now, 0, 0])
        return self._slices[-1]


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
