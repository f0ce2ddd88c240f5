"""Runs of datasets that Langfuse's and Opik's SDKs made: traces that name one, in the words of Langfuse, whose came first. What such a run
is called, and where what is said of it as a whole is kept: in a trace whose id is made of the run's, and which is in no list of traces.
"""

from __future__ import annotations

import hashlib

import msgspec

from windlass.core.span import DATASET_RUN

RUN_ID, RUN_NAME = "langfuse.experiment.id", "langfuse.experiment.name"
DATASET, ITEM = "langfuse.experiment.dataset.id", "langfuse.experiment.item.id"
DESCRIPTION, METADATA = "langfuse.experiment.description", "langfuse.experiment.metadata"
VERSION = "langfuse.experiment.item.version"


def dataset_id(name: str) -> str:
    """What their SDKs know a dataset by; it stands in the traces of its runs."""
    return f"dataset/{name}"


def run_id(project: str, dataset: str, name: str) -> str:
    """The id of a run by its name: 16 hex digits, which their Python SDK works out alike, so it may never change."""
    told = msgspec.json.encode(["langfuse-experiment-v1", project, dataset, name])
    return hashlib.sha256(told).hexdigest()[:16]


def run_trace(project: str, run: str) -> str:
    """The trace that has what is said of the run as a whole: 32 hex digits."""
    return hashlib.sha256(f"windlass dataset run\0{project}\0{run}".encode()).hexdigest()[:32]


def evaluation(run: str) -> str:
    """What the spans of that trace name as their evaluation."""
    return DATASET_RUN + run
