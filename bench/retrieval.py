"""Retrieval on the helpdesk's questions: recall@10 and nDCG@10 by words, by meaning and both, with and without a filter; time for a query;
time to refresh an index of which 1 % changed.

    python -m bench.retrieval [--home FOLDER]     a data folder in which minilm is installed (make test puts one into .stamps/home)
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from windlass.core.artifacts import IndexBody, Version, make_version
from windlass.core.encoding import HYBRID, MINILM
from windlass.runtime.encoders import MiniLM
from windlass.runtime.retrieval import Chunk, How, Retrieval
from windlass.sdk.index import by_paragraph
from windlass.store.blobs_folder import FolderBlobs

ROOT = Path(__file__).parents[1]
K = 10


class OneEncoder:
    def __init__(self, encoder: MiniLM) -> None:
        self._encoder = encoder

    def recorded(self, identity: dict[str, Any]) -> MiniLM:
        assert identity == self._encoder.identity
        return self._encoder


def chunks_of(documents: list[dict[str, Any]]) -> list[Chunk]:
    found = []
    for d in documents:
        cuts = list(by_paragraph(size=600).cut(d["text"]))
        for n, cut in enumerate(cuts, 1):
            key = d["key"] if len(cuts) == 1 else f"{d['key']}#{n}"
            fields = {"module": str(d["key"]).partition(".")[0]}
            found.append(Chunk(key, d["key"], d["text"][cut.begin : cut.end].strip(), d.get("symbol"), (cut.begin, cut.end), None, fields))
    return found


def index_of(blobs: FolderBlobs, chunks: list[Chunk]) -> Version:
    data = b"".join(msgspec.json.encode(c) + b"\n" for c in chunks)
    return make_version("index", "stdlib", IndexBody("sha256:" + "0" * 64, blobs.put(data), {"name": "x"}, HYBRID, {}, MINILM))


def measure(retrieval: Retrieval, index: Version, rows: list[dict[str, Any]], how: How, filtered: bool) -> dict[str, Any]:
    recall, gain, took = 0.0, 0.0, []
    for row in rows:
        wanted = set(row["symbols"])
        where = {"module": sorted({s.partition(".")[0] for s in wanted})} if filtered else None
        began = time.perf_counter()
        found = retrieval.search(index, row["question"], K, where, how=how)
        took.append(time.perf_counter() - began)
        seen, hits = set[str](), []
        for passage in found:
            symbol = passage.get("symbol")
            hits.append(symbol in wanted and symbol not in seen)
            seen.add(str(symbol))
        recall += any(hits)
        ideal = sum(1 / math.log2(i + 2) for i in range(min(len(wanted), K)))
        gain += sum(1 / math.log2(i + 2) for i, hit in enumerate(hits) if hit) / ideal
    took.sort()
    return {"how": how, "filtered": filtered, "questions": len(rows), f"recall@{K}": round(recall / len(rows), 3),
            f"ndcg@{K}": round(gain / len(rows), 3), "p50_ms": round(took[len(took) // 2] * 1000, 1)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, default=ROOT / ".stamps" / "home")
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT / "examples" / "helpdesk"))
    from stdlib import documents

    rows = [json.loads(line) for line in (ROOT / "examples/helpdesk/data/questions.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["symbols"] and row["split"] == "test"]
    chunks = chunks_of(list(documents()))
    with tempfile.TemporaryDirectory(prefix="bench-retrieval-") as name:
        folder = Path(name)
        blobs = FolderBlobs(folder / "blobs")
        retrieval = Retrieval(folder / "indexes", blobs, OneEncoder(MiniLM(given.home / "encoders")))
        index = index_of(blobs, chunks)
        began = time.perf_counter()
        encoded = retrieval.prepare(index)
        print(json.dumps({"chunks": len(chunks), "encoded": encoded, "seconds": round(time.perf_counter() - began, 1)}), flush=True)
        changed = [msgspec.structs.replace(c, text=c.text + " Changed.") if n % 100 == 0 else c for n, c in enumerate(chunks)]
        later = index_of(blobs, changed)
        began = time.perf_counter()
        encoded = retrieval.prepare(later)
        retrieval.search(later, "warm", 1)
        print(json.dumps({"refreshed": "1 % changed", "encoded": encoded, "seconds": round(time.perf_counter() - began, 2)}), flush=True)
        hows: tuple[How, ...] = ("words", "meaning", "both")
        for filtered in (False, True):
            for how in hows:
                print(json.dumps(measure(retrieval, index, rows, how, filtered)), flush=True)


if __name__ == "__main__":
    main()
