"""Stores of vectors: `hybrid@1`, which compares all, and `lance@1`, which follows a graph. Seconds to build, milliseconds for a query and
recall@10 against the exact answer, with and without a filter that lets 5 % through, bytes on disk; then a version of which 1 % changed.

    python -m bench.vectors [--rows 100000]       vectors of 384 numbers in clusters of 100; --rows 1000000 needs 10 GB of disk
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from windlass.core.artifacts import IndexBody, Version, make_version
from windlass.core.digest import digest_json
from windlass.core.encoding import HYBRID, LANCE, LanceSettings, endpoint_identity
from windlass.runtime.vectors import Vectors, VectorStore, encoded
from windlass.runtime.vectors_lance import LanceVectors

DIMENSIONS, K, QUERIES, CLUSTER = 384, 10, 200, 100


class Drawn:
    """Gives the rows of a matrix: a text is the number of its row."""

    dimensions = DIMENSIONS

    def __init__(self, count: int) -> None:
        self.identity = endpoint_identity("drawn/one", DIMENSIONS)
        self.digest = digest_json(self.identity)
        self._draw = np.random.default_rng(1)
        self._middles = self._draw.normal(size=(max(1, count // CLUSTER), DIMENSIONS)).astype(np.float32)
        self._matrix = self.some(count)

    def some(self, count: int) -> Any:
        found = self._middles[self._draw.integers(0, len(self._middles), count)]
        for start in range(0, count, 50_000):
            part = found[start : start + 50_000]
            part += 0.6 * self._draw.standard_normal(part.shape, dtype=np.float32)
            part /= np.linalg.norm(part, axis=1, keepdims=True)
        return found

    def encode(self, texts: Sequence[str]) -> Any:
        return self._matrix[[int(t) for t in texts]]

    def encode_query(self, text: str) -> Any:
        return self._matrix[int(text)]


def index(engine: str, texts: Sequence[str], encoder: Drawn) -> Version:
    settings = msgspec.to_builtins(LanceSettings()) if engine == LANCE else {}
    return make_version("index", "drawn", IndexBody("sha256:" + "0" * 64, digest_json(list(texts)), {}, engine, settings, encoder.identity))


def size(folder: Path) -> int:
    return sum(p.stat().st_blocks * 512 for p in [*folder.glob("*.npy"), *folder.glob("lance/**/*")] if p.is_file())


def asked(store: VectorStore, of: Version, questions: Any, allowed: Sequence[int] | None) -> tuple[float, list[set[int]]]:
    """The median of a query in milliseconds, and what was found."""
    store.nearest(of, questions[0], K, allowed)
    took, found = [], []
    for question in questions:
        began = time.perf_counter()
        near = store.nearest(of, question, K, allowed)
        took.append(time.perf_counter() - began)
        found.append({place for place, _ in near})
    return round(sorted(took)[len(took) // 2] * 1000, 1), found


def measure(folder: Path, engine: str, store: VectorStore, encoder: Drawn, count: int, truth: dict[str, Any], questions: Any) -> None:
    texts = [str(n) for n in range(count - count // 100)]
    later = [*texts[count // 100 :], *(str(n) for n in range(len(texts), count))]  # 1 % went, 1 % came
    of, before = index(engine, texts, encoder), size(folder)
    began = time.perf_counter()
    store.build(of, encoder, texts)
    told: dict[str, Any] = {"engine": engine, "rows": len(texts), "build_s": round(time.perf_counter() - began, 1)}
    told["mb_on_disk"] = round((size(folder) - before) / 1e6)
    few = sorted(np.random.default_rng(2).choice(len(texts), len(texts) // 20, replace=False).tolist())
    for name, allowed in (("all", None), ("filter_5%", few)):
        told[f"{name}_p50_ms"], found = asked(store, of, questions, allowed)
        best = truth.setdefault(name, found)  # the exact store comes first
        told[f"{name}_recall@{K}"] = round(sum(len(a & b) for a, b in zip(found, best, strict=True)) / (K * len(best)), 4)
        assert all(len(a) == K for a in found)
    newer, before = index(engine, later, encoder), size(folder)
    began = time.perf_counter()
    store.build(newer, encoder, later)
    told["refresh_1%_s"], told["refresh_mb"] = round(time.perf_counter() - began, 1), round((size(folder) - before) / 1e6)
    told["after_refresh_p50_ms"], found = asked(store, newer, questions, None)
    best = truth.setdefault("later", found)
    told[f"after_refresh_recall@{K}"] = round(sum(len(a & b) for a, b in zip(found, best, strict=True)) / (K * len(best)), 4)
    told["process_peak_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 1)
    store.close()
    print(json.dumps(told), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    count = parser.parse_args().rows
    encoder = Drawn(count)
    questions = encoder.some(QUERIES)
    with tempfile.TemporaryDirectory(prefix="bench-vectors-") as name:
        folder = Path(name)
        began = time.perf_counter()
        with encoded(folder, encoder, [str(n) for n in range(count)]):
            print(json.dumps({"vectors": count, "kept_s": round(time.perf_counter() - began, 1)}), flush=True)
        truth: dict[str, Any] = {}
        measure(folder, HYBRID, Vectors(folder), encoder, count, truth, questions)
        if importlib.util.find_spec("lance") is None:
            print(json.dumps({"engine": LANCE, "left out": 'not installed: pip install "windlass[lance]"'}))
            return
        measure(folder, LANCE, LanceVectors(folder), encoder, count, truth, questions)


if __name__ == "__main__":
    main()
