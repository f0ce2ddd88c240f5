"""Why an answer came: the release that gave it, the verdict and move that let that out, every version, and the passages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Engine, select

from windlass.core import span as names
from windlass.core.actor import Actor
from windlass.core.operations.traces import Given, TraceShow, Why
from windlass.core.ref import parse_ref
from windlass.core.span import Span
from windlass.deploy.rollout_rows import rolled_out
from windlass.govern.permissions import guard
from windlass.registry import origins
from windlass.store.meta import read
from windlass.store.tables import label_moves
from windlass.traces.query import Traces

PASSAGES = 20


class Reasons:
    """Service of `traces.why`: joins what happened with what was let out."""

    def __init__(self, engine: Engine, traces: Traces) -> None:
        self._engine = engine
        self._traces = traces

    async def why(self, actor: Actor, query: TraceShow) -> Why:
        """Operation `traces.why`. Raises `NotFound`, `Invalid` when the id is ambiguous."""
        guard(actor, "read", query.project)
        trace = await self._traces.show(actor, query)
        release = trace.summary.release
        verdict, released = None, None
        if release:
            verdict, released = await asyncio.to_thread(self._let_out, query.project, release, trace.summary.start_ns)
        rows = await asyncio.to_thread(self._rows, query.project, trace.summary.trace_id)
        return Why(trace.summary, release, trace.versions, verdict, released, tuple(passages(trace.spans)), rows)

    def _rows(self, project: str, trace: str) -> tuple[str, ...]:
        with read(self._engine) as c:
            return tuple(f"{name}#{key}" for name, key in origins.rows_of(c, project, trace))

    def _let_out(self, project: str, release: str, at_ns: int) -> tuple[str | None, int | None]:
        """The verdict of the last move before then that put this release somewhere, and when."""
        ref = parse_ref(release, project=project)
        m = label_moves.c
        with read(self._engine) as c:
            row = c.execute(
                select(m.verdict, m.at_ns)
                .where(
                    m.project == project, m.kind == "release", m.name == ref.name, m.after == ref.digest, m.at_ns <= at_ns,
                    m.how.in_(("promote", "rollback", "override", "rollout")),
                )
                .order_by(m.id.desc())
                .limit(1)
            ).first()  # fmt: skip
            if row is not None:
                return row.verdict, row.at_ns
            return next(((r.verdict, r.created_ns) for r in rolled_out(c, ref, at_ns)), (None, None))


def passages(spans: Sequence[Span]) -> list[Given]:
    """What searches found, in the order it was given."""
    found: dict[tuple[str, str | None], Given] = {}
    for span in spans:
        if span.attributes.get(names.KIND) != "retrieval":
            continue
        for passage in _list(span.attributes.get(names.OUTPUT)):
            key, score = passage.get("key"), passage.get("score")
            if key:
                index = next((v for v in span.attributes.get(names.VERSIONS) or () if v.startswith("index/")), None)
                given = Given(str(key), str(passage.get("symbol") or key), index, score if isinstance(score, (int, float)) else None)
                found.setdefault((given.key, index), given)
    return list(found.values())[:PASSAGES]


def _list(text: Any) -> list[dict[str, Any]]:
    try:
        value = msgspec.json.decode(text) if isinstance(text, str) else None
    except (msgspec.DecodeError, RecursionError):  # it was shortened
        return []
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
