"""A judgement, and what a gate makes of many: `Score` and `Verdict`.

An unmeasured score is `unmeasured` with a reason, never 0. A verdict is data: evaluate makes it, deploy reads it, and
nobody else needs to know how it was reached.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Decision = Literal["promote", "block", "inconclusive"]


class Score(msgspec.Struct, frozen=True, omit_defaults=True):
    """`value` is None exactly when `unmeasured` says why (an error, a refusal, a timeout)."""

    evaluator: str
    value: float | None = None
    unmeasured: str | None = None
    explanation: str | None = None


class Interval(msgspec.Struct, frozen=True):
    """Bounds of an estimate at `level` (0.95). From a confidence sequence where `anytime`."""

    low: float
    high: float
    level: float = 0.95
    anytime: bool = False


class GuardResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """One guard's outcome. Scores are means over rows measured in both arms; `settled_after` rows the evidence crossed
    its bound, None while it has not; `needs` the rows that would settle it, where it can be said; `evidence` the
    e-process after each judged row (base 1.0), thinned to at most 400 points for the picture: `[rows, e]`."""

    name: str
    evaluator: str
    decision: Decision
    candidate: float | None = None
    base: float | None = None
    difference: float | None = None
    interval: Interval | None = None
    margin: float | None = None
    floor: float | None = None
    measured: int = 0
    unmeasured: int = 0
    settled_after: int | None = None
    needs: int | None = None
    sentence: str = ""
    evidence: tuple[tuple[int, float], ...] = ()


class RowChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """A row whose score differs between the arms."""

    row: str
    guard: str
    base: float
    candidate: float
    label: str = ""


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One reason why scores of the candidate are unmeasured: in how many rows, and one of them."""

    error: str
    rows: int
    row: str


class LeftOut(msgspec.Struct, frozen=True, omit_defaults=True):
    """A row that was not counted, because what runs was shown it: it stands, as row `other`, in `where`."""

    row: str
    where: str
    other: str
    likeness: float


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """The gate's answer. `base` is None for a first release. `error` bounds the chance of this verdict for a candidate
    worse than a margin, however often one looks. `identical` rows met byte-identical requests and kept their draws."""

    id: str
    project: str
    suite: str
    candidate: str
    base: str | None
    decision: Decision
    error: float
    guards: tuple[GuardResult, ...]
    rows: int
    identical: int
    calls: int
    cost: float | None
    created_ns: int
    changes: tuple[RowChange, ...] = ()
    failures: tuple[Failure, ...] = ()  # the most frequent first
    left_out: tuple[LeftOut, ...] = ()
    candidate_evaluation: str | None = None
    base_evaluation: str | None = None
    environment: str = "production"
    manifest: dict[str, Any] = {}

    @property
    def exit_code(self) -> int:
        """0 promote, 1 block, 3 inconclusive (4 is an error, 2 a usage error)."""
        return {"promote": 0, "block": 1, "inconclusive": 3}[self.decision]


def in_percent(share: float) -> str:
    """A share as people say it: `7 %`, `0.4 %`."""
    amount = share * 100
    return f"{amount:.1f} %" if 0 < amount < 9.95 and round(amount, 1) % 1 else f"{amount:.0f} %"
