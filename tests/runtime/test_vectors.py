"""Search by meaning: exact, also under filters; what was encoded once is not encoded again; never with another encoder."""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.runtime.runners import MemoryBlobs

from windlass.core.artifacts import IndexBody, Version, make_version
from windlass.core.digest import digest_json
from windlass.core.encoding import HYBRID, LANCE, LanceSettings, endpoint_identity
from windlass.core.errors import Invalid, Unavailable
from windlass.runtime.retrieval import Chunk, Retrieval, fuse
from windlass.runtime.vectors import Vectors

WORDS = ("cat", "dog", "car", "sea", "red")


class Counting:
    """An encoder whose vectors are counts of five words and a little of the text's hash; remembers what it was given."""

    dimensions = 8

    def __init__(self, name: str = "counting/one") -> None:
        self.identity = endpoint_identity(name, self.dimensions)
        self.digest = digest_json(self.identity)
        self.given: list[str] = []
        self.fails_after: int | None = None

    def encode(self, texts: Sequence[str]) -> Any:
        if self.fails_after is not None and len(self.given) >= self.fails_after:
            raise Unavailable("the provider is away")
        self.given += texts
        rows = [[text.count(w) for w in WORDS] + [b / 2550 for b in hashlib.sha256(text.encode()).digest()[:3]] for text in texts]
        made = np.array(rows, np.float32)
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    def encode_query(self, text: str) -> Any:
        return self.encode([text])[0]


class Encoders:
    def __init__(self, *encoders: Counting) -> None:
        self.known = {e.digest: e for e in encoders}

    def recorded(self, identity: dict[str, Any]) -> Any:
        return self.known[digest_json(identity)]


def chunk(n: int, text: str, **fields: Any) -> Chunk:
    return Chunk(f"k{n:04}", f"d{n // 10}", text, fields=fields)


def index(blobs: MemoryBlobs, chunks: list[Chunk], encoder: Counting) -> Version:
    data = blobs.put(b"\n".join(msgspec.json.encode(c) for c in chunks))
    return make_version("index", "docs", IndexBody("sha256:" + "0" * 64, data, {"name": "x"}, HYBRID, {}, encoder.identity))


CHUNKS = [chunk(n, f"{WORDS[n % 5]} {'and ' + WORDS[n % 3] if n % 4 else ''} number {n}", tenant=f"t{n % 7}") for n in range(400)]


@pytest.fixture
def encoder() -> Counting:
    return Counting()


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()


def test_the_nearest_are_those_of_an_exhaustive_comparison_and_under_filters(tmp_path: Path, blobs: MemoryBlobs, encoder: Counting) -> None:
    retrieval, docs = Retrieval(tmp_path, blobs, Encoders(encoder)), index(blobs, CHUNKS, encoder)
    matrix, question = encoder.encode([c.text for c in CHUNKS]), encoder.encode_query("a dog in a car")
    for where in (None, {"tenant": "t3"}, {"tenant": ["t1", "t2"], "document": "d5"}, {"tenant": "nobody"}):
        fits = [
            n for n, c in enumerate(CHUNKS)
            for has in [c.fields | {"document": c.document}]
            if all(has[f] in (v if isinstance(v, list) else [v]) for f, v in (where or {}).items())
        ]  # fmt: skip
        best = sorted(fits, key=lambda n: (-round(float(matrix[n] @ question), 5), n))[:10]
        found = retrieval.search(docs, "a dog in a car", 10, where, how="meaning")
        assert [round(p["score"], 4) for p in found] == pytest.approx([round(float(matrix[n] @ question), 4) for n in best], abs=2e-4)
        assert {p["key"] for p in found} <= {f"k{n:04}" for n in fits} and len(found) == min(10, len(fits))


def test_both_halves_are_joined_by_rank(tmp_path: Path, blobs: MemoryBlobs, encoder: Counting) -> None:
    assert fuse([(7, 3.0), (8, 2.0)], [(8, 0.9), (9, 0.1)]) == [(8, 1 / 62 + 1 / 61), (7, 1 / 61), (9, 1 / 62)]
    retrieval, docs = Retrieval(tmp_path, blobs, Encoders(encoder)), index(blobs, CHUNKS, encoder)
    words, meaning = (retrieval.search(docs, "dog number 31", 50, how=how) for how in ("words", "meaning"))
    scores: dict[str, float] = {}
    for ranking in (words, meaning):
        for rank, passage in enumerate(ranking, 1):
            scores[passage["key"]] = scores.get(passage["key"], 0) + 1 / (60 + rank)
    best = sorted(scores.items(), key=lambda s: (-s[1], s[0]))[:8]
    assert [(p["key"], p["score"]) for p in retrieval.search(docs, "dog number 31", 8)] == [
        (k, pytest.approx(s, abs=1e-6)) for k, s in best
    ]
    assert retrieval.search(docs, "  ", 3) == []
    assert {"key", "document", "text", "score", "tenant"} <= words[0].keys()


def test_a_refresh_encodes_only_what_changed(tmp_path: Path, blobs: MemoryBlobs, encoder: Counting) -> None:
    retrieval = Retrieval(tmp_path, blobs, Encoders(encoder))
    first = index(blobs, [*CHUNKS, chunk(900, CHUNKS[0].text)], encoder)
    assert retrieval.prepare(first) == len(encoder.given) == len(CHUNKS)  # the same text twice is encoded once
    assert retrieval.prepare(first) == 0
    changed = [msgspec.structs.replace(c, text=c.text + " sea") if n % 100 == 0 else c for n, c in enumerate(CHUNKS)][:-3]
    later = index(blobs, changed, encoder)
    encoder.given.clear()
    assert retrieval.prepare(later) == 4 and all(t.endswith(" sea") for t in encoder.given)
    encoder.given.clear()
    assert Retrieval(tmp_path, blobs, Encoders(encoder)).search(
        first, "cat", 1, how="meaning"
    )  # going back encodes nothing but the question
    assert encoder.given == ["cat"]


def test_an_encoder_that_fails_midway_is_gone_on_with(tmp_path: Path, blobs: MemoryBlobs, encoder: Counting) -> None:
    retrieval, docs = Retrieval(tmp_path, blobs, Encoders(encoder)), index(blobs, CHUNKS, encoder)
    encoder.fails_after = 200
    with pytest.raises(Unavailable, match="is away"):
        retrieval.search(docs, "cat", 1)
    assert not list(tmp_path.glob("*.npy")) and len(encoder.given) == 256
    encoder.fails_after = None
    assert retrieval.prepare(docs) == len(CHUNKS) - 256
    assert len(set(encoder.given)) == len(encoder.given) == len(CHUNKS)


def test_many_builders_at_once(tmp_path: Path, blobs: MemoryBlobs, encoder: Counting) -> None:
    docs = index(blobs, CHUNKS, encoder)
    found: list[Any] = []
    retrievals = [Retrieval(tmp_path, blobs, Encoders(encoder)) for _ in range(4)]
    threads = [threading.Thread(target=lambda r=r: found.append(r.search(docs, "red sea", 5))) for r in retrievals for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 8 and all(f == found[0] for f in found)


def test_another_encoder_is_refused(tmp_path: Path, blobs: MemoryBlobs, encoder: Counting) -> None:
    """Of the same length it would find nothing, and say nothing."""
    other = Counting("counting/two")
    retrieval, docs = Retrieval(tmp_path, blobs, Encoders(encoder, other)), index(blobs, CHUNKS, encoder)
    vector = [float(x) for x in encoder.encode_query("cat")]
    assert retrieval.search(docs, "cat", 3, vector=vector, encoder=encoder.digest, how="meaning") == retrieval.search(
        docs, "cat", 3, how="meaning"
    )
    with pytest.raises(Invalid, match="their vectors do not compare"):
        retrieval.search(docs, "cat", 3, vector=vector, encoder=other.digest)
    with pytest.raises(Invalid, match="it is not said what encoded"):
        retrieval.search(docs, "cat", 3, vector=vector)
    with pytest.raises(Invalid, match="the question has 3 dimensions, and the index 8"):
        retrieval.search(docs, "cat", 3, vector=vector[:3], encoder=encoder.digest)
    with pytest.raises(Invalid, match="has no length"):
        retrieval.search(docs, "cat", 3, vector=[0.0] * 8, encoder=encoder.digest)
    plain = make_version("index", "docs", IndexBody("sha256:" + "0" * 64, docs.body["chunks"], {"name": "x"}))
    with pytest.raises(Invalid, match="this index has no encoder"):
        retrieval.search(plain, "cat", 3, how="meaning")
    assert index(blobs, CHUNKS, other).digest != docs.digest


def test_damaged_vectors_are_said_and_made_again(tmp_path: Path, blobs: MemoryBlobs, encoder: Counting) -> None:
    retrieval, docs = Retrieval(tmp_path, blobs, Encoders(encoder)), index(blobs, CHUNKS, encoder)
    retrieval.prepare(docs)
    (matrix,) = tmp_path.glob("*.npy")
    for damage in (b"nonsense", b""):
        matrix.write_bytes(damage)
        retrieval = Retrieval(tmp_path, blobs, Encoders(encoder))
        with pytest.raises(Unavailable, match="made again at the next search"):
            retrieval.search(docs, "cat", 1)
        assert retrieval.search(docs, "cat", 1)
    (kept,) = tmp_path.glob("vectors-*.db")
    matrix.unlink()
    kept.write_bytes(b"nonsense" * 100)
    with pytest.raises(Unavailable, match="the vectors cannot be kept"):
        Retrieval(tmp_path, blobs, Encoders(encoder)).search(docs, "cat", 1)


def test_an_index_of_nothing_has_nothing(tmp_path: Path, blobs: MemoryBlobs, encoder: Counting) -> None:
    vectors, nothing = Vectors(tmp_path), index(blobs, [], encoder)
    assert vectors.build(nothing, encoder, []) == 0
    assert vectors.nearest(nothing, encoder.encode_query("cat"), 5) == []


def test_an_engine_that_is_not_installed_says_how_to_install_it(
    tmp_path: Path, blobs: MemoryBlobs, encoder: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = index(blobs, CHUNKS, encoder)
    body = plain.body | {"engine": LANCE, "settings": msgspec.to_builtins(LanceSettings())}
    graph = make_version("index", "docs", msgspec.convert(body, IndexBody))
    monkeypatch.setitem(sys.modules, "lance", None)  # what Python does for a module that cannot be had
    retrieval = Retrieval(tmp_path, blobs, Encoders(encoder))
    for asked in (lambda: retrieval.prepare(graph), lambda: retrieval.search(graph, "cat")):
        with pytest.raises(Unavailable, match="lance, which is not installed") as refused:
            asked()
        assert refused.value.remedy == 'pip install "windlass[lance]"'
    assert retrieval.search(graph, "cat", how="words") and encoder.given == []
