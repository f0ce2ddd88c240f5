"""The record of what was done, by whom, to what: a hash chain, appended in the transaction that does it.

Each entry's hash is SHA-256 over the canonical JSON of the entry and the hash before it, so a changed or missing entry breaks
every later one.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from windlass.core.actor import Actor
from windlass.core.digest import canonical, digest_json
from windlass.core.ids import now_ns
from windlass.store.tables import audit

GENESIS = "sha256:" + "0" * 64


def _hash(seq: int, at_ns: int, actor: str, action: str, project: str, subject: str, details: str, previous: str) -> str:
    return digest_json([seq, str(at_ns), actor, action, project, subject, details, previous])


def record(connection: Connection, actor: Actor, action: str, project: str, subject: str, **details: Any) -> int:
    """Append one entry; returns its number. `connection` must be a write transaction; secrets do not belong in `details`."""
    last = connection.execute(select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)).first()
    seq, previous = (last.seq + 1, last.hash) if last else (1, GENESIS)
    at, text = now_ns(), canonical(details).decode()
    digest = _hash(seq, at, actor.id, action, project, subject, text, previous)
    connection.execute(
        audit.insert().values(
            seq=seq, at_ns=at, actor=actor.id, action=action, project=project, subject=subject, details=text, previous=previous, hash=digest
        )
    )
    return seq


def verify(connection: Connection) -> str | None:
    """The first disagreement of the chain in a sentence; None when it holds."""
    previous, expected = GENESIS, 1
    for e in connection.execute(select(audit).order_by(audit.c.seq)):
        if e.seq != expected:
            return f"entry {expected} is missing"
        if e.previous != previous or e.hash != _hash(e.seq, e.at_ns, e.actor, e.action, e.project, e.subject, e.details, e.previous):
            return f"entry {e.seq} was changed"
        previous, expected = e.hash, expected + 1
    return None
