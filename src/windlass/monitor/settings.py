"""What one may choose about a watch."""

from __future__ import annotations

import math

import msgspec

from windlass.monitor.baseline import DISTANCE, SCORES
from windlass.monitor.direction import NAME as DIRECTION

FIRST_LOOK, DOUBLINGS = 250, 16  # counted rows at which whole distributions are compared first, and how often that doubles
EPOCH = 5000  # counted rows after which every score also starts afresh, so that a late change is not drowned by what came before
FROM_START = 0.75  # of a score's error; the rest is for fresh starts, the k-th of which has 6/π²k² of it
KERNEL = "distribution"


class Settings(msgspec.Struct, frozen=True):
    """`alpha` is the chance that anything ever alarms while production is as the evaluation rows are. `weights` split it: distance, the
    descriptors together, the comparison of whole distributions, and the direction.

    What is shown is severe only beyond a tolerance: an uncovered share of `unseen`, a share of traffic that moved of `moved`, a descriptor
    that moved for a share of `described` of the rows. Production is covered when at most `covered` of it may be uncovered.
    """

    alpha: float = 0.05
    weights: tuple[float, float, float, float] = (0.3, 0.1, 0.3, 0.3)
    unseen: float = 0.02
    moved: float = 0.02
    described: float = 0.10
    covered: float = 0.10

    def error(self, score: str) -> float:
        """The part of alpha that a score has."""
        distance, descriptors, kernel, direction = (w / sum(self.weights) * self.alpha for w in self.weights)
        return {DISTANCE: distance, KERNEL: kernel, DIRECTION: direction}.get(score, descriptors / (len(SCORES) - 1))

    def tolerance(self, score: str) -> float:
        return {DISTANCE: self.unseen, DIRECTION: self.unseen, KERNEL: self.moved}.get(score, self.described)

    @property
    def look_error(self) -> float:
        """The part of alpha of one comparison of whole distributions."""
        return self.error(KERNEL) / DOUBLINGS

    @property
    def permutations(self) -> int:
        """The fewest by which a comparison can alarm."""
        return math.ceil(1 / self.look_error - 1e-9) - 1


def start_share(start: int) -> float:
    """The part of a score's error for its urn from the start (0) or its fresh start of this number."""
    return (1 - FROM_START) * 6 / (math.pi * start) ** 2 if start else FROM_START


def next_look(counted: int) -> int | None:
    """The number of counted rows at which whole distributions are compared next."""
    return next((FIRST_LOOK << k for k in range(DOUBLINGS) if FIRST_LOOK << k > counted), None)
