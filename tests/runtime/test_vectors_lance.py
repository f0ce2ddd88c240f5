"""The store of vectors in Lance, held against the exact one: recall, filters, order, versions, and what may happen to a build."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.runtime.runners import MemoryBlobs
from tests.runtime.test_vectors import CHUNKS, Counting, Encoders, chunk
from tests.store.tiny_disk import run_on_tiny_disk

from windlass.core.artifacts import IndexBody, Version, make_version
from windlass.core.digest import digest_json
from windlass.core.encoding import HYBRID, LANCE, LanceSettings, endpoint_identity
from windlass.core.errors import Invalid, Unavailable
from windlass.runtime.retrieval import Chunk, Retrieval
from windlass.runtime.vectors import Vectors

lance = pytest.importorskip("lance", reason="pylance is not installed: pip install 'windlass[lance]'", exc_type=ImportError)

from windlass.runtime.vectors_lance import GRAPHS, SPARE, LanceVectors  # noqa: E402

DIMENSIONS = 64
SMALL = LanceSettings(exact_below=200)  # so that few rows have a graph
RECALL = 0.98


class Drawn:
    """An encoder of the texts "0", "1", …: half of them in clusters, half anywhere. A text "x=y" has the vector of y."""

    dimensions = DIMENSIONS

    def __init__(self) -> None:
        self.identity = endpoint_identity("drawn/one", DIMENSIONS)
        self.digest = digest_json(self.identity)
        self.given: list[str] = []

    def encode(self, texts: Sequence[str]) -> Any:
        self.given += texts
        return np.array([vector_of(int(t.rpartition("=")[2])) for t in texts], np.float32).reshape(len(texts), DIMENSIONS)

    def encode_query(self, text: str) -> Any:
        return vector_of(int(text), noise=7)


def vector_of(n: int, noise: int = 0) -> Any:
    middle = np.random.default_rng(n % 40 if n % 2 else n).normal(size=DIMENSIONS)
    found = middle + 0.5 * np.random.default_rng((n, noise)).normal(size=DIMENSIONS)
    return (found / np.linalg.norm(found)).astype(np.float32)


def version(name: str, texts: Sequence[str], settings: LanceSettings = SMALL, encoder: Any = None) -> Version:
    body = IndexBody(
        "sha256:" + "0" * 64, digest_json(list(texts)), {"name": "x"}, LANCE, msgspec.to_builtins(settings), (encoder or Drawn()).identity
    )
    return make_version("index", name, body)


def texts_of(numbers: Sequence[int]) -> list[str]:
    return [str(n) for n in numbers]


def built(folder: Path, index: Version, texts: Sequence[str]) -> LanceVectors:
    store = LanceVectors(folder)
    store.build(index, Drawn(), texts)
    return store


def exact(folder: Path, index: Version, texts: Sequence[str]) -> Vectors:
    store = Vectors(folder)
    store.build(index, Drawn(), texts)
    return store


def table(folder: Path, at: Version | None = None) -> Any:
    (found,) = folder.glob("lance/*/table.lance")
    return lance.dataset(str(found), version=at.digest.removeprefix("sha256:") if at else None)


def recall(found: Any, truth: Any, index: Version, k: int, filters: Sequence[Sequence[int] | None]) -> float:
    hits = total = 0
    for n, allowed in enumerate(filters):
        question = Drawn().encode_query(str(100_000 + n))
        best = [place for place, _ in truth.nearest(index, question, k, allowed)]
        ours = [place for place, _ in found.nearest(index, question, k, allowed)]
        assert len(ours) == len(best) == len(set(ours)) and (allowed is None or set(ours) <= set(allowed))
        hits, total = hits + len(set(best) & set(ours)), total + len(best)
    return hits / total


def test_recall_against_exact_search_with_and_without_a_filter(tmp_path: Path) -> None:
    texts = texts_of(range(6000))
    index = version("docs", texts, LanceSettings())
    store, truth = built(tmp_path, index, texts), exact(tmp_path, index, texts)
    assert table(tmp_path, index).describe_indices()[0].num_rows_indexed == 6000  # so that it is the graph that is searched
    draw = np.random.default_rng(5)
    everything: list[Sequence[int] | None] = [None] * 60
    a_twentieth = [sorted(draw.choice(6000, 300, replace=False).tolist()) for _ in range(60)]
    one_cluster = [list(range(c, 6000, 40)) for c in (1, 9, 21)] * 10  # all that fits is together, and mostly far from the question
    a_few = [sorted(draw.choice(6000, 12, replace=False).tolist()) for _ in range(20)]
    for filters in (everything, a_twentieth, one_cluster, a_few):
        assert recall(store, truth, index, 10, filters) >= RECALL
    assert recall(store, truth, index, 200, everything[:10] + a_twentieth[:10]) >= RECALL


def test_few_texts_are_compared_exactly_and_order_as_in_the_exact_store(tmp_path: Path) -> None:
    texts = [*texts_of(range(150)), *texts_of(range(20)), *(f"again={n}" for n in range(20))]
    index = version("docs", texts)
    store, truth = built(tmp_path, index, texts), exact(tmp_path, index, texts)
    assert table(tmp_path, index).describe_indices() == []
    for n in range(20):
        for allowed in (None, list(range(0, 190, 3)), []):
            assert store.nearest(index, vector_of(n), 7, allowed) == truth.nearest(index, vector_of(n), 7, allowed)
    assert [place for place, _ in store.nearest(index, vector_of(3), 3)] == [3, 153, 173]


def test_what_is_equally_near_comes_by_place_in_a_graph_too(tmp_path: Path) -> None:
    """The same text at many places is one row, and other texts may have the same vector."""
    texts = [*(f"again={n}" for n in range(SPARE)), *texts_of(range(600)), "3", "again=3", *(f"more {n}=3" for n in range(5)), "3"]
    index = version("docs", texts)
    store = built(tmp_path, index, texts)
    assert table(tmp_path, index).describe_indices() != []
    same = [3, SPARE + 3, *range(SPARE + 600, SPARE + 608)]
    assert [place for place, _ in store.nearest(index, vector_of(3), 10)] == same
    assert [place for place, _ in store.nearest(index, vector_of(3), 4)] == same[:4]
    assert [place for place, _ in store.nearest(index, vector_of(3), 4, same[3:])] == same[3:7]
    assert store.nearest(index, vector_of(3), 30) == LanceVectors(tmp_path).nearest(index, vector_of(3), 30)


def test_a_refresh_writes_only_what_changed_and_going_back_gives_the_same_answers(tmp_path: Path) -> None:
    draw, encoder = np.random.default_rng(1), Drawn()
    numbers = list(range(900))
    versions: list[tuple[Version, list[str], Any]] = []
    for step in range(12):
        texts = texts_of(numbers)
        index = version("docs", texts)
        encoder.given.clear()
        store = LanceVectors(tmp_path)
        new = {str(n) for n in numbers} - {t for _, before, _ in versions for t in before}
        before = {p.name for p in tmp_path.glob("lance/*/table.lance/data/*")}
        assert store.build(index, encoder, texts) == len(encoder.given) == len(new)
        assert before <= {p.name for p in tmp_path.glob("lance/*/table.lance/data/*")}
        truth = exact(tmp_path, index, texts)
        assert table(tmp_path).count_rows() == len(set(texts))
        assert recall(store, truth, index, 10, [None] * 8 + [range(0, len(texts), 20)] * 8) >= RECALL
        versions.append((index, texts, [store.nearest(index, vector_of(n, 3), 10) for n in range(10)]))
        gone = set(draw.choice(numbers, 60, replace=False).tolist())
        numbers = [n for n in numbers if n not in gone] + list(range(1000 * (step + 1), 1000 * (step + 1) + 130))
        draw.shuffle(numbers)  # places change, texts do not
    kept = {v["version"] for v in table(tmp_path).versions()}
    assert len(kept) <= len(versions) + 1  # no pile of versions
    assert len(table(tmp_path).describe_indices()[0].segments) <= GRAPHS
    encoder.given.clear()
    for index, _, answers in versions:
        again = LanceVectors(tmp_path)
        assert again.built(index) and [again.nearest(index, vector_of(n, 3), 10) for n in range(10)] == answers
    assert encoder.given == []


def test_a_refresh_of_few_texts_makes_no_graph_anew(tmp_path: Path) -> None:
    texts = texts_of(range(1000))
    first = version("docs", texts)
    built(tmp_path, first, texts)
    graphs = set(tmp_path.glob("lance/*/table.lance/_indices/*"))
    later = version("docs", [*texts[50:], *texts_of(range(2000, 2050))])
    store = built(tmp_path, later, [*texts[50:], *texts_of(range(2000, 2050))])
    assert set(tmp_path.glob("lance/*/table.lance/_indices/*")) == graphs
    assert [place for place, _ in store.nearest(later, vector_of(2007), 1)] == [957]  # found all the same


POINTS = {
    "encoding": "Drawn.encode",
    "writing": "vectors_lance.Encoded.vectors",
    "written": "vectors_lance._graphed",
    "graph": "vectors_lance._rows",  # called before the write and after the pin
    "named": "np.save",
    "cleaned": "lance.LanceDataset.cleanup_old_versions",
}
KILLED = """
import os, signal, sys
from pathlib import Path
import lance, numpy as np
from windlass.runtime import vectors_lance
from tests.runtime.test_vectors_lance import Drawn, later_version
where, left = sys.argv[2].rpartition("."), int(sys.argv[3])
holder = eval(where[0]); whole = getattr(holder, where[2])
def cut_off(*given, **more):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(*given, **more)
setattr(holder, where[2], cut_off)
index, texts = later_version()
vectors_lance.LanceVectors(Path(sys.argv[1])).build(index, Drawn(), texts)
"""


def later_version(settings: LanceSettings = SMALL) -> tuple[Version, list[str]]:
    texts = texts_of([*range(200, 1000), *range(5000, 5300)])
    return version("docs", texts, settings), texts


@pytest.mark.parametrize(
    ("point", "calls"), [("encoding", 0), ("encoding", 3), ("writing", 0), ("written", 0), ("graph", 1), ("cleaned", 0), ("named", 0)]
)
def test_a_build_that_is_killed_leaves_the_older_version_and_is_gone_on_with(tmp_path: Path, point: str, calls: int) -> None:
    texts = texts_of(range(1000))
    first = version("docs", texts)
    before = [built(tmp_path, first, texts).nearest(first, vector_of(n, 3), 10) for n in range(10)]
    command = [sys.executable, "-c", KILLED, str(tmp_path), POINTS[point], str(calls)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    later, new = later_version()
    store = LanceVectors(tmp_path)
    assert not store.built(later)
    assert [store.nearest(first, vector_of(n, 3), 10) for n in range(10)] == before
    encoder = Drawn()
    assert (
        store.build(later, encoder, new)
        == len(encoder.given)
        == {("encoding", 0): 300, ("encoding", 3): 300 - 3 * 64}.get((point, calls), 0)
    )
    assert table(tmp_path).count_rows() == len(new)
    assert recall(store, exact(tmp_path, later, new), later, 10, [None] * 10 + [range(0, 1100, 20)] * 10) >= RECALL
    assert [store.nearest(first, vector_of(n, 3), 10) for n in range(10)] == before


@pytest.mark.parametrize("point", ["writing", "written"])
def test_the_first_build_is_killed(tmp_path: Path, point: str) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), POINTS[point], "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    index, texts = later_version()
    store = LanceVectors(tmp_path)
    assert not store.built(index) and store.build(index, Drawn(), texts) == 0
    assert recall(store, exact(tmp_path, index, texts), index, 10, [None] * 10) >= RECALL


@pytest.mark.parametrize("what", ["data/*", "_versions/*", "_indices/*/*", "_refs/tags/*", "../*.npy"])
@pytest.mark.parametrize("how", ["nonsense", "gone", "half", "empty"])
def test_damage_is_found_and_mended_without_encoding(tmp_path: Path, what: str, how: str) -> None:
    texts = texts_of(range(600))
    first, (later, new) = version("docs", texts), later_version()
    built(tmp_path, first, texts), built(tmp_path, later, new)
    (folder,) = tmp_path.glob("lance/*/table.lance")
    damaged = [p for p in folder.glob(what) if p.is_file()]
    assert damaged
    for path in damaged:
        if how == "gone":
            path.unlink()
        else:
            path.write_bytes({"nonsense": b"nonsense" * 40, "empty": b"", "half": path.read_bytes()[: path.stat().st_size // 2]}[how])
    store, encoder = LanceVectors(tmp_path), Drawn()
    for index, some in ((first, texts), (later, new)):
        with pytest.raises(Unavailable, match="made again at the next search"):
            store.nearest(index, vector_of(1), 5)
        assert not store.built(index)
        assert store.build(index, encoder, some) == 0
        assert recall(store, exact(tmp_path, index, some), index, 10, [None] * 10) >= RECALL
        if index is first and what != "../*.npy":
            assert not store.built(later)  # what was damaged is gone for all versions
            with pytest.raises(Unavailable, match="made again"):
                store.nearest(later, vector_of(1), 5)
    assert encoder.given == [] and store.nearest(first, vector_of(1), 5)


REFUSED = """
import resource, sys
from pathlib import Path
from windlass.runtime.vectors_lance import LanceVectors
from tests.runtime.test_vectors_lance import Drawn, Unavailable, texts_of, vector_of, version
texts = texts_of(range(800))
index, store = version("docs", texts), LanceVectors(Path(sys.argv[1]))
store.build(index, Drawn(), texts)
asked = vector_of(1)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (5, hard))
try:
    store.nearest(index, asked, 3)
except Unavailable as e:
    print(e.message)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(store.built(index), len(store.nearest(index, asked, 3)))
"""


def test_a_machine_that_refuses_is_no_damage(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", REFUSED, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False)
    first, second = done.stdout.splitlines()
    assert "cannot be read" in first and "Too many open files" in first and second == "True 3", done.stderr


FULL = """
import contextlib, sys
from pathlib import Path
from windlass.runtime.vectors import encoded
from windlass.runtime.vectors_lance import LanceVectors
from tests.runtime.test_vectors_lance import Drawn, Unavailable, texts_of, vector_of, version
folder, encoder = Path(sys.argv[1]), Drawn()
store, texts, new = LanceVectors(folder), texts_of(range(250)), texts_of(range(50, 300))
first, later = version("docs", texts), version("docs", new)
store.build(first, encoder, texts)
before = store.nearest(first, vector_of(1), 5)
kept = contextlib.ExitStack()
kept.enter_context(encoded(folder, encoder, new))  # open, so that it is not SQLite that finds no room
with (folder / "filler").open("wb") as filler:
    try:
        filler.write(bytes(2**20))
    except OSError:
        pass
for path in (folder / "filler",) * 2:
    try:
        store.build(later, encoder, new)
        print("built")
    except Unavailable as e:
        print(e.message, "|", store.built(first), store.nearest(first, vector_of(1), 5) == before)
    path.unlink(missing_ok=True)
print(len(set(encoder.given)) == len(encoder.given), len(store.nearest(later, vector_of(1), 5)))
"""


def test_a_full_disk_is_said_and_gone_on_with(tmp_path: Path) -> None:
    full, done, last = run_on_tiny_disk(tmp_path, FULL).splitlines()
    assert (
        "the vectors cannot be written" in full
        and "No space left" in full
        and full.endswith("| True True")
        and done == "built"
        and last == "True 5"
    )


def test_a_table_of_many_dead_rows_is_written_anew(tmp_path: Path) -> None:
    """The graph keeps what was removed from it."""
    texts = texts_of(range(1000))
    for gone in range(0, 800, 100):
        index = version("docs", texts[gone:])
        store = built(tmp_path, index, texts[gone:])
        there = table(tmp_path)
        assert there.count_rows() == 1000 - gone
        assert 2 * sum(f.num_deletions for f in there.get_fragments()) <= 1000 - gone
        assert recall(store, exact(tmp_path, index, texts[gone:]), index, 10, [None] * 5) >= RECALL


BUILDING = """
import sys
from pathlib import Path
from windlass.runtime.vectors_lance import LanceVectors
from tests.runtime.test_vectors_lance import Drawn, texts_of, version
texts = texts_of(range(int(sys.argv[2]), int(sys.argv[2]) + 800))
print(LanceVectors(Path(sys.argv[1])).build(version("docs", texts), Drawn(), texts))
"""


def test_processes_that_build_at_once(tmp_path: Path) -> None:
    """Two the same version, and one another version of the same index: each text is encoded once, and is there once."""
    begins = (0, 0, 100)
    running = [subprocess.Popen([sys.executable, "-c", BUILDING, str(tmp_path), str(b)], stdout=subprocess.PIPE, text=True) for b in begins]
    told = [int(p.communicate(timeout=120)[0]) for p in running]
    assert [p.returncode for p in running] == [0, 0, 0] and sum(told) == 900
    for begin in (0, 100):
        texts = texts_of(range(begin, begin + 800))
        index = version("docs", texts)
        assert table(tmp_path, index).count_rows() == 800
        assert recall(LanceVectors(tmp_path), exact(tmp_path, index, texts), index, 10, [None] * 20) >= RECALL


FORKING = """
import os, sys, warnings
from pathlib import Path
from windlass.core.errors import Unavailable
from windlass.runtime.vectors_lance import LanceVectors
from tests.runtime.test_vectors_lance import Drawn, texts_of, vector_of, version
warnings.simplefilter("ignore")
texts = texts_of(range(800))
index, store = version("docs", texts), LanceVectors(Path(sys.argv[1]))
store.build(index, Drawn(), texts)
store.nearest(index, vector_of(1), 3)
if (child := os.fork()) == 0:
    try:
        store.nearest(index, vector_of(1), 3)
    except Unavailable as e:
        os._exit(7 if "forked" in str(e) else 8)
    os._exit(9)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(store.nearest(index, vector_of(1), 3)))
"""


def test_a_fork_is_told_instead_of_waiting_for_ever(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FORKING, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["7", "3"], done.stderr


def test_a_vector_of_another_length_and_an_index_of_nothing(tmp_path: Path) -> None:
    texts = texts_of(range(600))
    index, nothing = version("docs", texts), version("docs", [])
    store = built(tmp_path, index, texts)
    for of in (index, nothing):
        store.build(of, Drawn(), [] if of is nothing else texts)
        with pytest.raises(Invalid, match="the question has 3 dimensions, and the index 64"):
            store.nearest(of, vector_of(1)[:3], 5)
    assert store.nearest(nothing, vector_of(1), 5) == []
    assert len(store.nearest(index, vector_of(1), 5)) == 5
    with pytest.raises(Invalid, match="settings of an index of engine lance are malformed"):
        store.build(make_version("index", "docs", IndexBody("a", "b", {}, LANCE, {"kind": "FLAT"}, Drawn().identity)), Drawn(), texts)


def index_of(blobs: MemoryBlobs, chunks: list[Chunk], encoder: Counting, engine: str) -> Version:
    data = blobs.put(b"\n".join(msgspec.json.encode(c) for c in chunks))
    settings = msgspec.to_builtins(LanceSettings(exact_below=100)) if engine == LANCE else {}
    return make_version("index", "docs", IndexBody("sha256:" + "0" * 64, data, {"name": "x"}, engine, settings, encoder.identity))


def test_a_search_finds_what_the_exact_engine_finds_and_both_share_what_was_encoded(tmp_path: Path) -> None:
    blobs, encoder = MemoryBlobs(), Counting()
    retrieval = Retrieval(tmp_path, blobs, Encoders(encoder))
    chunks = [*CHUNKS, chunk(900, CHUNKS[0].text, tenant="t1")]
    plain, graph = (index_of(blobs, chunks, encoder, engine) for engine in (HYBRID, LANCE))
    assert plain.digest != graph.digest and not retrieval.ready(graph)
    assert retrieval.prepare(plain) == len(CHUNKS) and retrieval.prepare(graph) == 0 and retrieval.ready(graph)
    for where in (None, {"tenant": "t3"}, {"tenant": "nobody"}):
        for how in ("words", "meaning", "both"):
            ours, theirs = (retrieval.search(i, "a dog in a red car", 10, where, how=how) for i in (graph, plain))  # type: ignore[arg-type]
            assert [p["key"] for p in ours] == [p["key"] for p in theirs]
            assert [p["score"] for p in ours] == pytest.approx([p["score"] for p in theirs], abs=2e-6)
    assert os.listdir(tmp_path / "lance")
    retrieval.close()
