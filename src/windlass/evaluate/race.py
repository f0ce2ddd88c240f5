"""The rule of a bake-off: who is out, who is left standing, whom to take. Pure: scores in, decisions out.

Every arm is asked the same rows in the same order. An arm is out as soon as the bet against "not worse than another by more than the
margin" wins on a guard, where the other is the arm that runs now, or one that costs no more. The bets are those of the gate (`stats`),
so one may look after every row; the error is split over all pairs and guards, so the chance that any arm is wrongly out is at most
that. An arm below a guard's floor is out in the same way.

Whom to take: of those left, the cheapest that is not behind the best by more than a guard's margin on any guard; of equally cheap
ones the quickest. That is a choice, not a proof: the gate decides about what is pushed.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median, quantiles

import msgspec

from windlass.core.artifacts import Guard
from windlass.evaluate.stats import Bet


class Line(msgspec.Struct):
    """An arm in the race. `scores` by row, then by guard: the mean over repeats, None where unmeasured; `worst` the same with what is
    unmeasured as the worst there is. `cost` of its answers so far in US dollars, None when a price is not known; `latencies` in
    seconds."""

    model: str
    scores: dict[str, dict[str, float | None]] = {}
    worst: dict[str, dict[str, float]] = {}
    cost: float | None = 0.0
    latencies: list[float] = []
    reference: bool = False

    @property
    def per_row(self) -> float | None:
        return None if self.cost is None or not self.scores else self.cost / len(self.scores)

    @property
    def latency(self) -> float | None:
        return median(self.latencies) if self.latencies else None

    @property
    def latency_95(self) -> float | None:
        return quantiles(self.latencies, n=20, method="inclusive")[-1] if len(self.latencies) > 1 else self.latency

    def mean(self, guard: str) -> float | None:
        """Over the rows it was measured on."""
        known = [v for row in self.scores.values() if (v := row.get(guard)) is not None]
        return fmean(known) if known else None

    def sure(self, guard: str) -> float:
        """Over all its rows, unmeasured ones as the worst there is: what speaks for it must not rest on what is not known."""
        values = [row[guard] for row in self.worst.values()]
        return fmean(values) if values else 0.0

    def per_success(self, guard: str) -> float | None:
        """US dollars for one point of a guard's score; None when the price or every success is missing."""
        gained = sum(v for row in self.scores.values() if (v := row.get(guard)) is not None)
        return self.cost / gained if self.cost is not None and gained > 0 else None


class Race:
    """The bets between arms.

    Args:
        guards: of the suite; those with a margin or a floor decide.
        ranges: of each guard's evaluator.
        error: the chance that any arm is wrongly out.
        arms: how many take part.
    """

    def __init__(self, guards: Sequence[Guard], ranges: dict[str, tuple[float, float]], error: float, arms: int) -> None:
        self.guards = tuple(guards)
        self._ranges = ranges
        bets = max(1, arms * (arms - 1) * sum(g.margin is not None for g in guards) + arms * sum(g.floor is not None for g in guards))
        self._enough = bets / error
        self._bets: dict[tuple[str, str, str], Bet] = {}
        self._seen: dict[tuple[str, str, str], int] = {}

    def out(self, lines: Sequence[Line], rows: Sequence[str]) -> dict[str, str]:
        """Which of these arms are out after `rows`, asked in this order, and why; also what runs now, where a better one costs no more."""
        found: dict[str, str] = {}
        for line in lines:
            if why := self._below(line, rows) or self._beaten(line, lines, rows):
                found[line.model] = why
        return found

    def _below(self, line: Line, rows: Sequence[str]) -> str:
        for g in self.guards:
            if g.floor is not None and g.floor > self._ranges[g.name][0]:
                low, high = self._ranges[g.name]
                values = {r: v for r in rows if (v := line.scores.get(r, {}).get(g.name)) is not None}
                if self._wins((line.model, "", g.name), (low, high), g.floor, values, rows):
                    return f"below {g.floor:g} on {g.name}, shown after {len(rows)} rows"
        return ""

    def _beaten(self, line: Line, lines: Sequence[Line], rows: Sequence[str]) -> str:
        for other in sorted(lines, key=lambda o: not o.reference):
            if other.model == line.model or not (other.reference or _no_dearer(other, line)):
                continue
            for g in self.guards:
                if g.margin is None:
                    continue
                low, high = self._ranges[g.name]
                differences = {r: mine - theirs for r in rows if (mine := line.scores.get(r, {}).get(g.name)) is not None
                               and (theirs := other.scores.get(r, {}).get(g.name)) is not None}  # fmt: skip
                if self._wins((line.model, other.model, g.name), (low - high, high - low), -g.margin, differences, rows):
                    than = "than what runs now" if other.reference else f"than {other.model}, which costs no more"
                    return f"worse on {g.name} {than}; shown after {len(rows)} rows"
        return ""

    def _wins(
        self, key: tuple[str, str, str], bounds: tuple[float, float], null: float, values: dict[str, float], rows: Sequence[str]
    ) -> bool:
        """Whether the bet that values lie below `null` has won. Only rows that were not seen yet are taken."""
        bet = self._bets.setdefault(key, Bet(*bounds, null, "below"))
        for row in rows[self._seen.get(key, 0) :]:
            if row in values:
                bet.see(values[row])
        self._seen[key] = len(rows)
        # what the first rows showed, all rows together must not deny
        return bet.capital >= self._enough and sum(values.values()) < null * len(values)


def _no_dearer(one: Line, other: Line) -> bool:
    """Whether the one costs no more a row, as far as both were asked. A price nobody knows is no reason to drop another."""
    if one.per_row is None:
        return False
    return other.per_row is None or one.per_row <= other.per_row


def frontier(lines: Sequence[Line], guard: str) -> set[str]:
    """The models than which no other is better on the guard, cheaper and quicker at once: at least as good in all, better in one."""
    known = [
        (n, m, c, t) for n in lines if (m := n.mean(guard)) is not None and (c := n.per_row) is not None and (t := n.latency) is not None
    ]
    return {
        line.model
        for line, mean, cost, time in known
        if not any(
            m >= mean and c <= cost and t <= time and (m > mean or c < cost or t < time) for other, m, c, t in known if other is not line
        )
    }


class Choice(msgspec.Struct, frozen=True):
    """Whom to take: None when nobody can be. `best` has the highest score on the first guard."""

    line: Line | None
    best: Line | None
    why_not: str = ""


def choose(lines: Sequence[Line], guards: Sequence[Guard]) -> Choice:
    """Of arms that were asked all rows, the one to take."""
    deciding = [g for g in guards if g.margin is not None] or list(guards)
    fit = [n for n in lines if all(g.floor is None or n.sure(g.name) >= g.floor for g in guards)]
    if not fit:
        floors = " and ".join(f"{g.floor:g} on {g.name}" for g in guards if g.floor is not None)
        return Choice(None, None, f"none reaches {floors}" if lines else "none was asked every row")
    first = deciding[0].name
    best = max(fit, key=lambda n: (n.sure(first), -(n.per_row if n.per_row is not None else float("inf"))))
    near = [n for n in fit if all(best.sure(g.name) - n.sure(g.name) <= (g.margin or 0.0) + 1e-12 for g in deciding)]
    priced = [n for n in near if n.per_row is not None]
    if not priced:
        return Choice(None, best, f"{best.model} is best, and its price is not known: set it in prices.toml")
    return Choice(min(priced, key=lambda n: (n.per_row, n.latency or 0.0, n.model)), best)
