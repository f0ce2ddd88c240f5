"""A sample of rows of bounded size: those whose number, which belongs to the row, is smallest. Portions make no difference to it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from windlass.monitor.vectors import Grid


class SampleState(msgspec.Struct):
    """The rows by rising number."""

    ids: list[str] = []
    orders: list[float] = []
    steps: bytes = b""


class Sample:
    """Holds at most `most` rows with their vectors."""

    def __init__(self, most: int, dimensions: int, state: SampleState | None = None) -> None:
        state = state or SampleState()
        self.most = most
        self.ids = list(state.ids)
        self.orders = np.array(state.orders, np.float64)
        self.steps: Grid = np.frombuffer(state.steps, np.int16).reshape(-1, dimensions)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def state(self) -> SampleState:
        return SampleState(list(self.ids), self.orders.tolist(), self.steps.tobytes())

    def add(self, ids: Sequence[str], orders: NDArray[np.float64], steps: Grid) -> None:
        """Offer rows."""
        near = np.flatnonzero(orders < self.orders[-1]) if len(self) >= self.most else np.arange(len(ids))
        if not len(near):
            return
        names = [*self.ids, *(ids[i] for i in near.tolist())]
        numbers = np.concatenate([self.orders, orders[near]])
        kept = np.argsort(numbers, kind="stable")[: self.most]
        self.steps = np.concatenate([self.steps, steps[near]])[kept]
        self.ids = [names[i] for i in kept.tolist()]
        self.orders = numbers[kept]

    def clear(self) -> None:
        self.ids, self.orders, self.steps = [], self.orders[:0], self.steps[:0]
