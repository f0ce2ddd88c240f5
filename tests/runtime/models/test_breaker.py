"""The breaker held against what is promised of one, over any order of calls, and as sequences that people can read."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from windlass.core.operations.routes import RouteBreaker
from windlass.runtime.models.breaker import SLICES, Breaker

RULE = RouteBreaker(failures=3, share=0.5, window_s=10.0, open_s=5.0)


def call(breaker: Breaker, now: float, *, fails: bool) -> bool:
    """Make a call if one may be made; whether it was."""
    if breaker.refusal(now):
        return False
    trying = breaker.begin(now)
    if fails:
        breaker.failed(now, RULE, trying)
    else:
        breaker.answered(now, RULE, trying)
    return True


def test_it_opens_tries_once_and_closes() -> None:
    b = Breaker()
    assert all(call(b, t, fails=True) for t in (0.0, 1.0, 2.0))
    assert b.state == "open" and not call(b, 6.9, fails=False) and "open for 0.1 s" in b.refusal(6.9)
    trying = b.begin(7.0)
    assert trying and b.state == "half-open" and "one call tries it" in b.refusal(100.0)
    b.answered(7.5, RULE, trying)
    assert b.state == "closed" and not b.refusal(7.5)


def test_a_call_that_tries_and_fails_opens_it_anew() -> None:
    b = Breaker()
    for t in (0.0, 0.0, 0.0):
        call(b, t, fails=True)
    call(b, 5.0, fails=True)
    assert b.state == "open" and b.refusal(9.9) and not b.refusal(10.0)


def test_failures_among_many_answers_or_long_ago_do_not_open_it() -> None:
    b = Breaker()
    for _ in range(10):
        call(b, 0.0, fails=False)
    for _ in range(9):
        call(b, 1.0, fails=True)
    assert b.state == "closed", "9 of 19 are less than half"
    call(b, 1.0, fails=True)
    assert b.state == "open"
    b = Breaker()
    for t in (0.0, 11.0, 22.0, 33.0):
        call(b, t, fails=True)
    assert b.state == "closed"


def test_who_goes_away_while_it_tries_leaves_the_try_to_the_next() -> None:
    b = Breaker()
    for _ in range(3):
        call(b, 0.0, fails=True)
    b.left(b.begin(6.0))
    assert b.state == "half-open" and call(b, 6.0, fails=False) and b.state == "closed"


def test_what_began_before_it_opened_says_nothing_while_another_tries() -> None:
    b = Breaker()
    old = [b.begin(0.0), b.begin(0.0)]
    for _ in range(3):
        call(b, 0.0, fails=True)
    trying = b.begin(6.0)
    b.answered(6.1, RULE, old[0])
    b.left(old[1])
    assert b.state == "half-open" and b.refusal(6.2)
    b.failed(6.3, RULE, trying)
    assert b.state == "open"


class Calls(RuleBasedStateMachine):
    """Any calls, answers, failures and departures, while time goes on. `run` are the failures since the last answer."""

    under_way = Bundle("under_way")

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.now = 0.0
        self.tries = 0
        self.opened: float | None = None
        self.outcomes: list[tuple[float, bool]] = []  # of calls that ended while it was closed

    @rule(seconds=st.floats(0, 12))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: not self.breaker.refusal(self.now))
    @rule(target=under_way)
    def begin(self) -> tuple[bool, int]:
        was = self.breaker.state
        trying = self.breaker.begin(self.now)
        assert trying == (was != "closed")
        self.tries += trying
        return trying, self.tries

    @rule(call=consumes(under_way))
    def answered(self, call: tuple[bool, int]) -> None:
        was = self.breaker.state
        self.breaker.answered(self.now, RULE, self._end(call))
        if was == "half-open" and call[0]:
            assert self.breaker.state == "closed"
            self.outcomes.clear()
        elif was == "closed":
            self.outcomes.append((self.now, True))
            assert self.breaker.state == "closed", "an answer opens nothing"

    @rule(call=consumes(under_way))
    def failed(self, call: tuple[bool, int]) -> None:
        was = self.breaker.state
        self.breaker.failed(self.now, RULE, self._end(call))
        if was == "closed":
            self.outcomes.append((self.now, False))
            recent = [ok for t, ok in self.outcomes if t > self.now - RULE.window_s - RULE.window_s / SLICES]
            if self.breaker.state == "open":
                assert recent.count(False) >= RULE.failures
            certain = [ok for t, ok in self.outcomes if t > self.now - RULE.window_s + RULE.window_s / SLICES]
            if certain.count(False) >= RULE.failures and all(not ok for ok in recent):
                assert self.breaker.state == "open", "so many failures in a row within the window open it"
        if self.breaker.state == "open":
            self.opened = self.now if was != "open" else self.opened
            self.outcomes.clear()

    @rule(call=consumes(under_way))
    def left(self, call: tuple[bool, int]) -> None:
        was = self.breaker.state
        self.breaker.left(self._end(call))
        assert self.breaker.state == was

    def _end(self, call: tuple[bool, int]) -> bool:
        self.tries -= call[0]
        return call[0]

    @invariant()
    def one_tries_at_most(self) -> None:
        assert self.tries <= 1
        if self.breaker.state == "half-open":
            assert bool(self.breaker.refusal(self.now)) == (self.tries == 1)

    @invariant()
    def it_stays_open_for_its_time_and_no_longer(self) -> None:
        if self.breaker.state == "open":
            assert self.opened is not None
            assert bool(self.breaker.refusal(self.now)) == (self.now < self.opened + RULE.open_s)

    @invariant()
    def closed_lets_everybody_in(self) -> None:
        if self.breaker.state == "closed":
            assert not self.breaker.refusal(self.now)


Calls.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestCalls = Calls.TestCase
