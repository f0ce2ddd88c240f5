"""Where one row of a dataset came from and how it was answered: its changes by version, the trace it was made of, scores on it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Engine, select

from windlass.core.actor import Actor
from windlass.core.errors import NotFound
from windlass.core.operations.evaluation import Evaluation
from windlass.core.operations.graph import RowChanged, RowQuestion, RowScored, WhyRow
from windlass.core.ref import Ref, parse_ref
from windlass.core.score import Score
from windlass.govern.permissions import guard
from windlass.registry import origins
from windlass.registry.ancestry import parents
from windlass.registry.datasets import Datasets, changed_fields
from windlass.registry.versions import Versions, fetch
from windlass.store.meta import read
from windlass.store.tables import evaluations, links, outcomes, versions

Row = dict[str, Any]
FARTHEST = 200  # versions looked at
JUDGED = 10  # evaluations shown
LOOKED = 200  # evaluations looked at


class RowReasons:
    """Service of `rows.why`."""

    def __init__(self, engine: Engine, found: Versions, datasets: Datasets) -> None:
        self._engine = engine
        self._versions = found
        self._datasets = datasets

    async def why(self, actor: Actor, query: RowQuestion) -> WhyRow:
        """Operation `rows.why`. Raises `NotFound` for a row that is not in the version, nor was in those before it."""
        ref = parse_ref(query.ref, project=query.project, kind="dataset")
        guard(actor, "read", ref.project)
        return await asyncio.to_thread(self._why, self._versions.resolve(ref), query.key)

    def _why(self, ref: Ref, key: str) -> WhyRow:
        changes, rows, more = self._changes(ref, key)
        known = next((row for row in rows.values() if row is not None), None)
        if known is None:
            raise NotFound(f"{ref.short} has no row {key!r}, nor had a version before it", remedy="the page of the dataset lists its rows")
        return WhyRow(str(ref), key, rows[ref], tuple(changes), origins.trace_of(known), more, tuple(self._scored(ref, key)))

    def _changes(self, ref: Ref, key: str) -> tuple[list[RowChanged], dict[Ref, Row | None], bool]:
        """The versions that changed a row, newest first; the row in each version looked at, nearest first; whether there are more.
        As git does for a file: where branches were merged, the side that has the row as it is now is the one it came by."""
        find = self._datasets.through(ref.project, key)
        rows, seen, waiting, changes = dict[Ref, Row | None](), {ref}, deque([ref]), list[RowChanged]()
        while waiting and len(seen) <= FARTHEST:
            one = waiting.popleft()
            with read(self._engine) as c:
                came = parents(c, one)
                version, at, by = fetch(c, one), *_made(c, one)
                unread = [fetch(c, p) for p in came if p not in rows]
            for v in (version, *unread):
                rows.setdefault(v.ref, find(v))
            row = rows[one]
            same = next((p for p in came if rows[p] == row), None)
            before = row if same else rows[came[0]] if came else None
            if row != before:
                said, workspace = str(version.neutral.get("message") or ""), version.neutral.get("workspace")
                changes.append(RowChanged(str(one), _how(before, row), at, by, workspace, said, changed_fields(before, row)))
            further = [same] if same and row is not None else came
            waiting += [p for p in further if p not in seen]
            seen.update(further)
        return changes, rows, bool(waiting)

    def _scored(self, ref: Ref, key: str) -> list[RowScored]:
        """The newest evaluations that asked this row, by suites on this dataset."""
        e, o, found = evaluations.c, outcomes.c, list[RowScored]()
        with read(self._engine) as c:
            suites = _suites(c, ref)
            recent = c.execute(select(e.id, e.suite, e.summary).where(e.project == ref.project).order_by(e.id.desc()).limit(LOOKED)).all()
            for one in recent:
                if one.suite not in suites:
                    continue
                row = c.execute(
                    select(o.scores, o.trace, o.text, o.error).where(o.evaluation == one.id, o.row == key, o.repeat == 0)
                ).first()
                if row is None:
                    continue
                evaluation = msgspec.json.decode(one.summary, type=Evaluation)
                scores = msgspec.json.decode(row.scores, type=tuple[Score, ...])
                found.append(RowScored(one.id, evaluation.target, evaluation.created_ns, scores, row.trace, row.error or row.text))
                if len(found) == JUDGED:
                    break
        return found


def _how(before: Row | None, row: Row | None) -> Literal["added", "changed", "removed"]:
    if before is None:
        return "added"
    return "removed" if row is None else "changed"


def _made(c: Connection, ref: Ref) -> tuple[int, str]:
    v = versions.c
    same = (v.project == ref.project, v.kind == ref.kind, v.name == ref.name, v.digest == ref.digest)
    row = c.execute(select(v.created_ns, v.actor).where(*same)).one()
    return row.created_ns, row.actor


def _suites(c: Connection, ref: Ref) -> set[str]:
    """Suites that judge by any version of this dataset."""
    k = links.c
    named = (k.project == ref.project, k.kind == "suite", k.to_kind == ref.kind, k.to_name == ref.name)
    rows = c.execute(select(k.name, k.digest).where(*named).distinct())
    return {str(Ref("suite", name, digest, None, ref.project)) for name, digest in rows}
