"""Whether two samples of vectors are of one distribution: the maximum mean discrepancy over random Fourier features, by permutation.

Gretton et al., JMLR 13 (2012); features by Rahimi and Recht (NIPS 2007), with the rate of the exact test (Choi and Kim, arXiv
2407.08976). The bandwidth is the median distance in the pooled sample, which no permutation changes, so the level is exact. Permutations
end as soon as ten of them were as large as what was seen, since then no level in use can be reached any more; the p-value counts that
(Besag and Clifford, Biometrika 78, 1991).
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

METHOD = "rff-mmd@1"
FREQUENCIES = 256
ENOUGH = 10  # permutations as large as what was seen, after which there is no need for more
CHUNK = 100  # permutations worked on at once
PAIRS = 1000  # for the median
Floats = NDArray[np.float32]


class Kernel(msgspec.Struct, frozen=True):
    """One comparison of a first sample with a second. `witness` is high for rows more frequent in the second; first sample first."""

    p: float
    mmd2: float  # unbiased, so it may lie below 0
    moved: float
    permutations: int
    witness: NDArray[np.float64]


def features(vectors: Floats, generator: np.random.Generator, frequencies: int = FREQUENCIES) -> Floats:
    """Cosines and sines under random frequencies whose scale is the median distance of random pairs; every row has length 1."""
    pairs = generator.integers(0, len(vectors), (PAIRS, 2))
    apart = vectors[pairs[:, 0]] - vectors[pairs[:, 1]]
    distances = np.sqrt((apart * apart).sum(axis=1))
    distances = distances[pairs[:, 0] != pairs[:, 1]]
    width = float(np.median(distances)) if len(distances) else 0.0
    directions = generator.standard_normal((vectors.shape[1], frequencies), np.float32) / np.float32(width or 1.0)
    angles = vectors @ directions
    both = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    return (both / np.float32(frequencies**0.5)).astype(np.float32, copy=False)


def compare(first: Floats, second: Floats, seed: int, most: int) -> Kernel:
    """The comparison with at most so many permutations. Same samples and seed, same result."""
    generator = np.random.default_rng(seed)
    m, n = len(first), len(second)
    rows = features(np.concatenate([first, second]), generator)
    total = rows.sum(axis=0, dtype=np.float64)
    of_first = rows[:m].sum(axis=0, dtype=np.float64)
    seen = float(_discrepancy(of_first[None], total, m, n)[0])
    as_large, done = 0, 0
    while done < most and as_large < ENOUGH:
        chosen = _chosen(generator, min(CHUNK, most - done), m, m + n)
        larger = _discrepancy(chosen @ rows, total, m, n) >= seen * (1 - 1e-6)  # a tie counts against
        until = int(np.searchsorted(np.cumsum(larger), ENOUGH - as_large))
        taken = min(until + 1, len(larger))
        as_large, done = as_large + int(larger[:taken].sum()), done + taken
    p = as_large / done if as_large >= ENOUGH else (1 + as_large) / (1 + done)
    mmd2, moved = _size(of_first / m, (total - of_first) / n, m, n)
    witness = rows @ ((total - of_first) / n - of_first / m).astype(np.float32)
    return Kernel(p, mmd2, moved, done, witness.astype(np.float64))


def _chosen(generator: np.random.Generator, permutations: int, m: int, rows: int) -> Floats:
    """Which rows count as the first sample, one permutation a row."""
    chosen = np.zeros((permutations, rows), np.float32)
    places = np.argpartition(generator.random((permutations, rows), np.float32), m - 1, axis=1)[:, :m]
    np.put_along_axis(chosen, places, np.float32(1), axis=1)
    return chosen


def _discrepancy(of_first: NDArray[np.floating], total: NDArray[np.float64], m: int, n: int) -> NDArray[np.float64]:
    gap = of_first / m - (total - of_first) / n
    found: NDArray[np.float64] = (gap * gap).sum(axis=1)
    return found


def _size(first: NDArray[np.float64], second: NDArray[np.float64], m: int, n: int) -> tuple[float, float]:
    """The unbiased discrepancy, and about the share of rows that is something else: how far the means lie apart, in units of how far one
    row of the first sample lies from their mean. It is below the true share where the new rows differ among themselves."""
    within_first = (m * m * float(first @ first) - m) / (m * (m - 1))
    within_second = (n * n * float(second @ second) - n) / (n * (n - 1))
    mmd2 = within_first + within_second - 2 * float(first @ second)
    spread = max(1e-4, 1 - within_first)  # of rows that are all alike it is rounding
    return mmd2, min(1.0, (max(0.0, mmd2) / spread) ** 0.5)
