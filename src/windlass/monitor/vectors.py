"""Vectors on a grid, and how far they are from others.

Components are rounded to whole steps so that a product of two vectors is a sum of whole numbers below 2²⁴, which float32 adds without
error in any order: a distance has the same bits alone or in a batch, with any library and on any machine. Rounding moves a cosine by
about 0.0001.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEPS = 4000  # of a vector of length 1: 4000² < 2²⁴
BLOCK = 2048  # rows compared at once
Grid = NDArray[np.int16]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def grid(vectors: NDArray[np.floating]) -> Grid:
    """Vectors of length 1 in whole steps. One of no length stays 0: it is at distance 1 of everything."""
    wide = vectors.astype(np.float64, copy=False)
    lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))[:, None]
    steps: Grid = np.rint(wide / np.where(lengths > 0, lengths, 1) * STEPS).astype(np.int16)
    return steps


def unit(steps: Grid) -> NDArray[np.float32]:
    """Vectors of about length 1."""
    found: NDArray[np.float32] = steps.astype(np.float32) / np.float32(STEPS)
    return found


def nearest(rows: Grid, others: Grid, apart: bool = False) -> tuple[Floats, NDArray[np.int64]]:
    """The cosine distance of each row to the nearest of the others, and which it is. `apart`: the others are the rows themselves, and
    none is its own neighbour."""
    table = np.ascontiguousarray(others.T.astype(np.float32))
    distances, places = np.empty(len(rows)), np.empty(len(rows), np.int64)
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK].astype(np.float32) @ table
        if apart:
            block[np.arange(len(block)), start + np.arange(len(block))] = -np.inf
        best = block.argmax(axis=1)
        places[start : start + BLOCK] = best
        distances[start : start + BLOCK] = 1 - block[np.arange(len(block)), best].astype(np.float64) / STEPS**2
    return distances, places
