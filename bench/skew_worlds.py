"""Sentence-like vectors with known truth, for Windlass and its peers alike: topics of Zipf shares on a cone, rows of one topic about 0.5
alike, all of length 1. Needs numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np

DIMENSIONS, TOPICS = 384, 20
SCENARIOS: dict[str, dict[str, float]] = {
    "no shift": {},
    "2 % unseen topic": {"unseen": 0.02},
    "5 % unseen topic": {"unseen": 0.05},
    "10 % unseen topic": {"unseen": 0.10},
    "mean shift 0.10": {"shift": 0.10},
    "one topic tripled": {"tripled": 4},
}


class World:
    """One draw of topics, and rows of them."""

    def __init__(self, seed: int, unseen: float = 0.0, shift: float = 0.0, tripled: float = 0) -> None:
        self._chance = np.random.default_rng(seed)
        common = _unit(self._chance.standard_normal(DIMENSIONS))
        own = [_unit(self._chance.standard_normal(DIMENSIONS)) for _ in range(TOPICS + 1)]
        self._topics = np.array([_unit(0.6 * common + 0.8 * one) for one in own], np.float32)
        shares = 1 / np.arange(1, TOPICS + 1)
        self._evaluated = shares / shares.sum()
        if tripled:
            shares[int(tripled) - 1] *= 3
        self._asked = shares / shares.sum()
        self._unseen, self._shift = unseen, (shift * _unit(self._chance.standard_normal(DIMENSIONS))).astype(np.float32)

    def evaluation(self, rows: int) -> Any:
        return self._rows(self._chance.choice(TOPICS, rows, p=self._evaluated))

    def production(self, rows: int, copies: int = 1) -> Any:
        """Rows of production, each session being so many rows that are nearly the same."""
        topics = self._chance.choice(TOPICS, -(-rows // copies), p=self._asked)
        topics[self._chance.random(len(topics)) < self._unseen] = TOPICS
        found = self._rows(topics, self._shift)
        if copies > 1:
            found = np.repeat(found, copies, axis=0)[:rows]
            found = found + 0.02 / DIMENSIONS**0.5 * self._chance.standard_normal(found.shape, np.float32)
        return found

    def _rows(self, topics: Any, shift: Any = 0) -> Any:
        noise = self._chance.standard_normal((len(topics), DIMENSIONS), np.float32) / np.float32(DIMENSIONS**0.5)
        found = self._topics[topics] + noise + shift
        return found / np.linalg.norm(found, axis=1, keepdims=True)


def _unit(vector: Any) -> Any:
    return vector / np.linalg.norm(vector)
