"""How often skew is shown: where there is none, and where there is some. Windlass's watch, looked at after every row, beside Evidently
0.7.23, which is asked once with all rows (and once a day where it says so). Then the seconds it takes.

    python -m bench.skew [--quick] [--part alarms|seconds] [--repeats 500] [--peer-repeats 40]

Vectors are synthetic and of known truth (`bench.skew_worlds`). An alarm of the watch is any of its scores or comparisons, without regard
to tolerances; its alpha is 5 % over the whole life of a watch. Seconds are of one processor thread.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from bench.peers import environment

EVIDENTLY = ("evidently==0.7.23", "pandas<3")
WAYS = ("model", "distance", "mmd", "ratio")
SIZES, PRODUCTION = (500, 250, 100, 1000), 2000
DAYS, A_DAY = 90, 100
APART = 10_000  # names of production rows are no names of evaluation rows
LARGE = (1_000, 10_000, 100_000, 1_000_000)


def watched(seed: int, scenario: dict[str, float], evaluation: int, production: int, copies: int = 1, sessions: bool = False) -> int:
    """After which row the watch alarmed first; 0 when it never did."""
    from bench.skew_worlds import World
    from windlass.core.monitoring import Instrument
    from windlass.monitor.baseline import build
    from windlass.monitor.rows import EvaluationRow
    from windlass.monitor.skew import Watch

    world = World(seed, **scenario)
    rows = [EvaluationRow(_name(i), _name(i)) for i in range(evaluation)]
    watch = Watch(build(rows, world.evaluation(evaluation), Instrument(), seed))
    vectors = world.production(production, copies)
    for start, stop in zip((0, 250, 500, 1000), (250, 500, 1000, production), strict=True):  # no need to go on after an alarm
        watch.see(*_rows(vectors, start, stop, copies if sessions else 0))
        if since := watch.alarmed():
            return since
    return 0


def _rows(vectors: Any, start: int, stop: int, session: int = 0, offset: int = 0) -> tuple[list[Any], Any]:
    """Rows by their numbers, and what gives their vectors."""
    from windlass.monitor.rows import Row

    places = {_name(APART + offset + i): i for i in range(start, stop)}
    rows = [Row(name, name, f"s{i // session}" if session else "") for name, i in places.items()]
    return rows, lambda texts: vectors[[places[text] for text in texts]]


def _name(number: int) -> str:
    """A number as a text of one length in letters: digits alone make no text of its own."""
    return "".join(chr(97 + number // 26**k % 26) for k in range(5))


class Peer:
    """Evidently in its own Python."""

    def __init__(self) -> None:
        python = environment("evidently", *EVIDENTLY) / "python"
        self._process = subprocess.Popen([python, "-m", "bench.skew_peer"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **job: Any) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        job = {"scenario": {}, "days": 1, "copies": 1, "ways": WAYS, **job}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(60)


def cells(sizes: Sequence[int]) -> Iterator[tuple[str, dict[str, Any]]]:
    from bench.skew_worlds import SCENARIOS

    for size in sizes:
        for name, scenario in SCENARIOS.items():
            yield name, {"scenario": scenario, "evaluation": size, "production": PRODUCTION}
    for copies in (3, 10):
        for sessions in (True, False):
            told = f"no shift, sessions of {copies} near-identical rows, {'known' if sessions else 'not known'}"
            yield told, {"scenario": {}, "evaluation": 500, "production": PRODUCTION, "copies": copies, "sessions": sessions}
    yield f"no shift, {DAYS} days of {A_DAY} rows", {"scenario": {}, "evaluation": 250, "production": DAYS * A_DAY}


def table(pool: Any, peer: Peer, sizes: Sequence[int], repeats: int, peer_repeats: int) -> None:
    print(f"Alarms in % of {repeats} worlds (rows until the alarm, median), and of {peer_repeats} for Evidently\n")
    print("| production | evaluation rows | Windlass | " + " | ".join(f"Evidently {way}" for way in WAYS) + " |")
    print("|---|---|---|" + "---|" * len(WAYS))
    for name, cell in cells(sizes):
        found = pool.map_async(partial(watched, **cell), range(repeats), chunksize=5)
        daily = cell["production"] == DAYS * A_DAY
        job = {k: v for k, v in cell.items() if k != "sessions"} | ({"production": A_DAY, "days": DAYS} if daily else {})
        # a way that needs a second a day is not asked ninety times
        theirs = peer.ask(**job, repeats=peer_repeats, ways=("model", "distance") if daily else WAYS)["alarms"]
        ours = sorted(since for since in found.get() if since)
        when = f" ({ours[len(ours) // 2]:,})" if len(ours) > 0.1 * repeats else ""
        told = [f"{100 * theirs[way] / peer_repeats:.0f}" if way in theirs else "" for way in WAYS]
        print(f"| {name} | {cell['evaluation']:,} | {100 * len(ours) / repeats:.1f}{when} | {' | '.join(told)} |", flush=True)


def times(peer: Peer, sizes: Sequence[int]) -> None:
    from bench.skew_worlds import World
    from windlass.core.monitoring import Instrument
    from windlass.monitor.baseline import build
    from windlass.monitor.rows import EvaluationRow
    from windlass.monitor.skew import Watch

    print("\nSeconds of a processor, 500 evaluation rows, vectors given; Windlass: all rows seen, all looks, the verdict and the topics\n")
    print("| production rows | Windlass | state on disk | " + " | ".join(f"Evidently {way}" for way in WAYS) + " |")
    print("|---|---|---|" + "---|" * len(WAYS))
    for size in sizes:
        world = World(1, unseen=0.05)
        baseline = build([EvaluationRow(_name(i), _name(i)) for i in range(500)], world.evaluation(500), Instrument())
        watch, seconds = Watch(baseline), 0.0
        for start in range(0, size, 10_000):
            vectors = world.production(min(10_000, size - start))
            rows, encode = _rows(vectors, 0, len(vectors), offset=start)
            begun = time.process_time()
            watch.see(rows, encode)
            seconds += time.process_time() - begun
        begun = time.process_time()
        watch.look()
        watch.topics(lambda ids: {i: i for i in ids})
        seconds += time.process_time() - begun
        ways = WAYS if size <= 1000 else WAYS[:2] if size <= 100_000 else ()
        theirs = peer.ask(evaluation=500, production=size, repeats=1, ways=ways)["seconds"] if ways else {}
        told = [f"{theirs[way]:.1f}" if way in theirs else "" for way in WAYS]
        print(f"| {size:,} | {seconds:.1f} | {len(watch.state()) / 1e6:.1f} MB | {' | '.join(told)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=500)
    parser.add_argument("--peer-repeats", type=int, default=20)
    parser.add_argument("--part", choices=("alarms", "seconds"))
    given = parser.parse_args()
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    peer = Peer()
    repeats, peer_repeats, sizes = (20, 5, (250,)) if given.quick else (given.repeats, given.peer_repeats, SIZES)
    if given.part != "seconds":
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            table(pool, peer, sizes, repeats, peer_repeats)
    if given.part != "alarms":
        times(peer, LARGE[:2] if given.quick else LARGE)
    peer.close()


if __name__ == "__main__":
    main()
