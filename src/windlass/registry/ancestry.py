"""What a version of a name came from: what it says it was derived from, and what its branches pointed to before it."""

from __future__ import annotations

from collections import deque

from sqlalchemy import Connection, select

from windlass.core.artifacts import Version
from windlass.core.ref import MAIN, Ref
from windlass.registry.versions import fetch
from windlass.store.tables import label_moves, links

FARTHEST = 10_000  # versions looked at


def common_version(c: Connection, ours: Ref, theirs: Ref) -> Ref | None:
    """The version nearest to `theirs` that `ours` came from too; None where they have none in common."""
    mine = set(ancestors(c, ours))
    return next((ref for ref in ancestors(c, theirs) if ref in mine), None)


def last_pushed(c: Connection, ref: Ref) -> Version | None:
    """The nearest version that a workspace pushed, among what this one came from; None where there is none."""
    for near in ancestors(c, ref):
        version = fetch(c, near)
        if "workspace" in version.neutral:
            return version
    return None


def ancestors(c: Connection, ref: Ref) -> list[Ref]:
    """A version and what it came from, nearest first."""
    found, waiting = {ref: None}, deque([ref])
    while waiting and len(found) < FARTHEST:
        for parent in parents(c, waiting.popleft()):
            if parent not in found:
                found[parent] = None
                waiting.append(parent)
    return list(found)


def parents(c: Connection, ref: Ref) -> list[Ref]:
    """The versions that one came from at once: more than one where branches were merged."""
    k, m = links.c, label_moves.c
    derived = select(k.to_digest, k.to_name, k.to_kind).where(
        k.project == ref.project, k.kind == ref.kind, k.name == ref.name, k.digest == ref.digest, k.relation == "derived-from",
        k.to_kind == ref.kind,
    )  # fmt: skip
    found = [Ref(row.to_kind, row.to_name, row.to_digest, None, ref.project) for row in c.execute(derived)]
    named = (m.project == ref.project, m.kind == ref.kind, m.name == ref.name, m.how == "branch")
    for move in c.execute(select(m.label, m.before, m.id).where(*named, m.after == ref.digest).order_by(m.id)).all():
        before = move.before
        if before is None and move.label != MAIN:  # a new branch begins where main was
            on_main = select(m.after).where(*named, m.label == MAIN, m.id < move.id).order_by(m.id.desc()).limit(1)
            before = c.execute(on_main).scalar()
        if before is not None and before != ref.digest:
            found.append(Ref(ref.kind, ref.name, before, None, ref.project))
    return list(dict.fromkeys(found))
