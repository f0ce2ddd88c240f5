"""Which trace a row of a dataset was made from: the row says it in its field `origin`, and here it is found from the trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert, select

from windlass.core.ids import now_ns
from windlass.core.ref import Ref
from windlass.store.tables import origins

FIELD = "origin"  # of a row: {"trace": id, …}; says nothing to whoever answers the row


def trace_of(row: Mapping[str, Any]) -> str | None:
    """The trace that a row says it was made from."""
    origin = row.get(FIELD)
    trace = origin.get("trace") if isinstance(origin, dict) else None
    return trace if isinstance(trace, str) else None


def keep(c: Connection, dataset: Ref, traces: Mapping[str, str]) -> None:
    """Remember where rows came from, `key → trace`; harmless when repeated."""
    t = origins.c
    for key, trace in traces.items():
        where = (t.project == dataset.project, t.trace == trace, t.name == dataset.name, t.key == key)
        if c.execute(select(t.at_ns).where(*where)).first() is None:
            c.execute(insert(origins).values(project=dataset.project, trace=trace, name=dataset.name, key=key, at_ns=now_ns()))


def rows_of(c: Connection, project: str, trace: str) -> list[tuple[str, str]]:
    """Names of datasets and keys of the rows that were made from a trace."""
    t = origins.c
    found = c.execute(select(t.name, t.key).where(t.project == project, t.trace == trace).order_by(t.name, t.key))
    return [(row.name, row.key) for row in found]
