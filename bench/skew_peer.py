"""Evidently's four ways to compare embeddings, each with its defaults; run by its own Python (see `bench.skew`). Reads one job a line,
answers one line: alarms and seconds of each way. `model` is what its metric takes when nobody says otherwise."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import pandas as pd
from evidently.legacy.metrics.data_drift.embedding_drift_methods import distance, mmd, model, ratio

from bench.skew_worlds import World


def frame(rows: Any) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[f"d{i}" for i in range(rows.shape[1])])


def method(name: str, evaluation: int) -> Any:
    return {"model": model(bootstrap=evaluation < 1000), "distance": distance(), "mmd": mmd(), "ratio": ratio()}[name]


def work(job: dict[str, Any]) -> dict[str, Any]:
    alarms, seconds = dict.fromkeys(job["ways"], 0), dict.fromkeys(job["ways"], 0.0)
    for seed in range(job["repeats"]):
        world = World(seed, **job["scenario"])
        reference = world.evaluation(job["evaluation"])
        days = [world.production(job["production"], job["copies"]) for _ in range(job["days"])]
        for name in job["ways"]:
            start = time.process_time()
            alarms[name] += any(bool(method(name, len(reference))(frame(day), frame(reference))[1]) for day in days)
            seconds[name] += (time.process_time() - start) / job["repeats"]
    return {"alarms": alarms, "seconds": seconds}


if __name__ == "__main__":
    np.seterr(all="ignore")
    for line in sys.stdin:
        print(json.dumps(work(json.loads(line))), flush=True)
