"""Questions to the graph: what a version came from, what a change of it touches, and whether it can be had again."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from windlass.core.operations import Operation
from windlass.core.score import Score


class VersionQuestion(msgspec.Struct, omit_defaults=True):
    ref: str
    project: str = "default"


class Source(msgspec.Struct, omit_defaults=True):
    """Something a version was made of or with; `relation` as in lineage."""

    ref: str
    relation: str
    role: str = ""


class Moved(msgspec.Struct, omit_defaults=True):
    """A label that was put on the version. `verdict` let it there, or `reason` says why without one."""

    label: str
    how: str
    at_ns: int
    actor: str
    verdict: str | None = None
    reason: str | None = None


class WhyVersion(msgspec.Struct, omit_defaults=True):
    """Where a version came from: who made it when, from which workspace or by which edit, of what, and where it was put since."""

    ref: str
    created_ns: int
    actor: str
    workspace: str | None = None
    message: str = ""
    sources: tuple[Source, ...] = ()
    moves: tuple[Moved, ...] = ()  # newest first
    traces: int = 0  # rows of it that were made from traces


class Touched(msgspec.Struct, omit_defaults=True):
    """A version that depends on the one in question. `steps` away; `answers` of the last seven days, for a release that is out."""

    ref: str
    kind: str
    steps: int
    labels: tuple[str, ...] = ()
    answers: int | None = None


class Impact(msgspec.Struct, omit_defaults=True):
    """What a change would touch, nearest first: versions that are labelled; `older` more are not. `suites` are to be run again."""

    ref: str
    touched: tuple[Touched, ...]
    suites: tuple[str, ...]
    answers: int  # of the last seven days, by releases that are out
    older: int = 0
    truncated: bool = False


class RowQuestion(msgspec.Struct, omit_defaults=True):
    ref: str
    key: str
    project: str = "default"


class RowChanged(msgspec.Struct, omit_defaults=True):
    """A version that added, changed or removed the row. `fields` are those that changed."""

    ref: str
    how: Literal["added", "changed", "removed"]
    at_ns: int
    actor: str
    workspace: str | None = None
    message: str = ""
    fields: tuple[str, ...] = ()


class RowScored(msgspec.Struct, omit_defaults=True):
    """What a target said of the row in an evaluation, and how it was judged."""

    evaluation: str
    target: str
    at_ns: int
    scores: tuple[Score, ...]
    trace: str | None = None
    said: str = ""


class WhyRow(msgspec.Struct, omit_defaults=True):
    """A row of a dataset: what it is in the version (None when it is there no more), what became of it, newest first; the trace it was
    made of; how it was answered and judged of late. `truncated`: it is older than what was looked at."""

    ref: str
    key: str
    row: dict[str, Any] | None
    changes: tuple[RowChanged, ...]
    trace: str | None = None
    truncated: bool = False
    scored: tuple[RowScored, ...] = ()


class ReproduceRequest(msgspec.Struct, omit_defaults=True):
    """`what` is a trace (its id or the start of it) or the ref of a version."""

    what: str
    project: str = "default"


class Step(msgspec.Struct, omit_defaults=True):
    """One thing that was done again. `same` is None where nothing can be said."""

    name: str
    said: str
    same: bool | None = None


class Reproduced(msgspec.Struct, omit_defaults=True):
    """`same`: every step came to what it came to before."""

    what: str
    same: bool
    steps: tuple[Step, ...]
    trace: str | None = None  # of the run that was done again


WHY_ROW = Operation("rows.why", "GET", RowQuestion, WhyRow, "read")
WHY_VERSION = Operation("versions.why", "GET", VersionQuestion, WhyVersion, "read")
IMPACT = Operation("versions.impact", "GET", VersionQuestion, Impact, "read")
REPRODUCE = Operation("versions.reproduce", "POST", ReproduceRequest, Reproduced, "run")
