"""Sentence-like vectors with known truth: topics of Zipf shares on a cone in 384 dimensions, rows of one topic about 0.5 alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from windlass.monitor.rows import EvaluationRow, Row

DIMENSIONS, TOPICS = 384, 20


class World:
    """Rows of one world. A row's text is its number, by which `encode` finds its vector; so descriptors say nothing of shifts."""

    def __init__(self, seed: int, unseen: float = 0.0, shift: float = 0.0, tripled: int | None = None, unseen_topics: int = 1) -> None:
        self.chance = np.random.default_rng(seed)
        self.common = _unit(self.chance.standard_normal(DIMENSIONS))
        self.topics = np.array([_unit(self.common * 0.6 + _unit(self.chance.standard_normal(DIMENSIONS)) * 0.8) for _ in range(TOPICS + 5)])
        shares = 1 / np.arange(1, TOPICS + 1)
        self.shares = shares / shares.sum()
        self.unseen, self.shift, self.unseen_topics = unseen, shift, unseen_topics
        self.direction = _unit(self.chance.standard_normal(DIMENSIONS))
        self.production_shares = self.shares.copy()
        if tripled is not None:
            self.production_shares[tripled] *= 3
            self.production_shares /= self.production_shares.sum()
        self.vectors: dict[str, np.ndarray] = {}
        self._count = 0

    def draw(self, rows: int, production: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Vectors and their topics; those from TOPICS on are unseen."""
        topic = self.chance.choice(TOPICS, rows, p=self.production_shares if production else self.shares)
        if production and self.unseen:
            new = self.chance.random(rows) < self.unseen
            topic[new] = TOPICS + self.chance.integers(0, self.unseen_topics, int(new.sum()))
        noise = self.chance.standard_normal((rows, DIMENSIONS)).astype(np.float32) / DIMENSIONS**0.5
        vectors = self.topics[topic].astype(np.float32) + noise
        if production and self.shift:
            vectors += (self.shift * self.direction).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), topic

    def evaluation(self, rows: int) -> tuple[list[EvaluationRow], np.ndarray]:
        vectors, topic = self.draw(rows)
        names = self.named(vectors)
        return [EvaluationRow(n, n, score=float(t % 4 != 0)) for n, t in zip(names, topic, strict=True)], vectors

    def production(self, rows: int) -> list[Row]:
        vectors, _ = self.draw(rows, production=True)
        return [Row(n, n) for n in self.named(vectors)]

    def named(self, vectors: np.ndarray) -> list[str]:
        """A text for each vector, by which it is found again."""
        names = [f"r{_letters(self._count + i)}" for i in range(len(vectors))]
        self._count += len(vectors)
        self.vectors.update(zip(names, vectors, strict=True))
        return names

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([self.vectors[t] for t in texts])


def _letters(number: int) -> str:
    """A number in letters, all of one length, since digits are what bursts are told apart without."""
    found = ""
    for _ in range(6):
        number, place = divmod(number, 26)
        found = chr(97 + place) + found
    return found


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
