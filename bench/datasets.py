"""Versions of a dataset of 100,000 rows: what 100 scattered edits cost, import, difference, merge, and racing writers; DVC and MLflow in
the same run, each in its own environment.

    python -m bench.datasets [--rows 100000] [--alone]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from bench.peers import environment
from windlass.core.actor import OWNER
from windlass.core.operations.datasets import EditRequest, MergeRequest, RowsDiffQuery, RowsQuery
from windlass.platform import Platform
from windlass.settings import Settings
from windlass.store.home import Home

EDITS = 100
DVC, MLFLOW = "dvc==3.67.1", "mlflow==3.17.2"


def row(i: int) -> dict[str, Any]:
    words = random.Random(i).choices(WORDS, k=12)
    return {"key": f"q-{i:07}", "split": "test" if i % 5 else "dev", "question": " ".join(words) + "?", "symbols": [words[0]], "hard": None}


WORDS = [f"{a}{b}" for a in ("list", "dict", "string", "file", "path", "date", "time", "json", "parse", "sort") for b in "abcdefghijklmnop"]


def size(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def settled(platform: Platform) -> int:
    """Bytes of the data folder, after what SQLite wrote ahead is in its file."""
    with platform.engine.connect() as c:
        c.exec_driver_sql("COMMIT")
        c.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        c.exec_driver_sql("BEGIN")
    return size(platform.home.path)


def ours(folder: Path, count: int) -> dict[str, Any]:
    platform = Platform(Home(folder / "home"), Settings(), name=f"bench-{uuid.uuid4().hex}")
    edits = platform.edits
    rows = [row(i) for i in range(count)]
    began = time.perf_counter()
    edits.edit(OWNER, EditRequest("questions", tuple(rows)))
    imported = time.perf_counter() - began
    raw = sum(len(json.dumps(r)) + 1 for r in rows)
    took, grew = [], []
    first = platform.versions.resolve(_ref())
    for n in range(10):
        chosen = random.Random(n).sample(range(count), EDITS)
        changed = tuple({**row(i), "hard": f"edit {n}"} for i in chosen)
        before = settled(platform)
        began = time.perf_counter()
        edits.edit(OWNER, EditRequest("questions", changed))
        took.append(time.perf_counter() - began)
        grew.append(settled(platform) - before)
    began = time.perf_counter()
    found = platform.datasets.diff(OWNER, RowsDiffQuery(str(first), "questions", limit=200))
    differed = time.perf_counter() - began
    edits.edit(OWNER, EditRequest("questions:other", tuple({**row(i), "split": "other"} for i in range(0, count, count // EDITS))))
    edits.edit(OWNER, EditRequest("questions", tuple({**row(i), "hard": "yes"} for i in range(1, count, count // EDITS))))
    began = time.perf_counter()
    merged = edits.merge(OWNER, MergeRequest("questions", "questions:other", prefer="theirs"))
    return {
        "who": "windlass", "rows": count, "raw_bytes": raw, "import_rows_per_s": round(count / imported), "edit_ms": _ms(took),
        "edit_bytes": round(statistics.median(grew)), "edit_bytes_max": max(grew), "diff_ms": round(differed * 1000, 1),
        "diff_rows": found.rows.changed, "merge_ms": round((time.perf_counter() - began) * 1000, 1), "merge_rows": merged.rows.changed,
    }  # fmt: skip


def _ref() -> Any:
    from windlass.core.ref import parse_ref

    return parse_ref("dataset/questions")


def _ms(took: list[float]) -> float:
    return round(statistics.median(took) * 1000, 1)


def _race(folder: Path, writer: int) -> None:
    platform = Platform(Home(folder / "home"), Settings(), name=f"bench-{uuid.uuid4().hex}")
    for i in range(25):
        platform.edits.edit(
            OWNER, EditRequest("raced", ({"key": f"w{writer}-{i}", "n": i}, {"key": f"shared-{i % 5}", f"w{writer}": i}), drift=True)
        )


def racing(folder: Path, writers: int = 4) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    running = [context.Process(target=_race, args=(folder, w)) for w in range(writers)]
    began = time.perf_counter()
    for process in running:
        process.start()
    for process in running:
        process.join()
    platform = Platform(Home(folder / "home"), Settings(), name=f"bench-{uuid.uuid4().hex}")
    found = {r["key"] for r in platform.datasets.list(OWNER, RowsQuery("raced", limit=200)).items}
    wanted = {f"w{w}-{i}" for w in range(writers) for i in range(25)} | {f"shared-{i}" for i in range(5)}
    return {
        "who": "windlass, racing",
        "writers": writers,
        "edits": writers * 25,
        "rows_lost": len(wanted - found),
        "seconds": round(time.perf_counter() - began, 1),
    }


def dvc(folder: Path, count: int) -> dict[str, Any]:
    """`dvc add` of the file before and after the same edits."""
    bin_ = environment("dvc", DVC)
    folder = folder / "dvc"
    folder.mkdir()
    file = folder / "questions.jsonl"
    variables = {**os.environ, "PATH": f"{bin_}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}

    def run(*command: str) -> float:
        began = time.perf_counter()
        subprocess.run(command, cwd=folder, env=variables, check=True, capture_output=True)
        return time.perf_counter() - began

    run("git", "init", "-q")
    run("dvc", "init", "-q")
    rows = [row(i) for i in range(count)]
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    imported = run("dvc", "add", "questions.jsonl")
    took, grew = [], []
    for n in range(3):
        for i in random.Random(n).sample(range(count), EDITS):
            rows[i] = {**rows[i], "hard": f"edit {n}"}
        file.write_text("".join(json.dumps(r) + "\n" for r in rows))
        before = size(folder / ".dvc")
        took.append(run("dvc", "add", "questions.jsonl"))
        grew.append(size(folder / ".dvc") - before)
    return {"who": "dvc", "import_rows_per_s": round(count / imported), "edit_ms": _ms(took), "edit_bytes": round(statistics.median(grew)),
            "diff": "files only", "merge": "none"}  # fmt: skip


MLFLOW_SCRIPT = """
import json, os, sys, time
from pathlib import Path
import mlflow, mlflow.genai.datasets as d
folder, count = Path(sys.argv[1]), int(sys.argv[2])
mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
mlflow.set_experiment("bench")
made = d.create_dataset(name="questions", experiment_id=[mlflow.get_experiment_by_name("bench").experiment_id])
size = lambda: sum(p.stat().st_size for p in folder.glob("mlflow.db*"))
record = lambda i, hard: {"inputs": {"key": f"q-{i}", "question": f"question number {i} of many"}, "expectations": {"hard": hard}}
began = time.perf_counter()
for start in range(0, count, 1000):
    made.merge_records([record(i, "") for i in range(start, min(start + 1000, count))])
imported = time.perf_counter() - began
before, took = size(), []
for n in range(3):
    began = time.perf_counter()
    made.merge_records([record(i, f"edit {n}") for i in range(n, count, count // 100)])
    took.append(time.perf_counter() - began)
print(json.dumps({"who": "mlflow", "rows": count, "import_rows_per_s": round(count / imported), "edit_ms": round(sorted(took)[1] * 1000, 1),
    "edit_bytes": (size() - before) // 3, "versions": "none: rows are changed in place", "diff": "none", "merge": "none"}))
"""


def mlflow(folder: Path, count: int) -> dict[str, Any]:
    """Evaluation datasets of the open-source server, on SQLite; fewer rows, as its import is slow."""
    bin_ = environment("mlflow", MLFLOW)
    folder = folder / "mlflow"
    folder.mkdir()
    script = folder / "run.py"
    script.write_text(MLFLOW_SCRIPT)
    done = subprocess.run(
        [bin_ / "python", script, folder, str(count)],
        capture_output=True,
        text=True,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
    )
    if done.returncode:
        return {"who": "mlflow", "failed": done.stderr.strip().splitlines()[-1:]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--alone", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-rows-") as name:
        folder = Path(name)
        results = [ours(folder, given.rows), racing(folder)]
        for found in results:
            print(json.dumps(found), flush=True)
        if not given.alone:
            for peer, count in ((dvc, given.rows), (mlflow, min(given.rows, 10_000))):
                print(json.dumps(peer(folder, count)), flush=True)
    sys.exit(1 if results[1]["rows_lost"] else 0)


if __name__ == "__main__":
    main()
