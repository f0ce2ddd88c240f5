"""Registering one version, in the transaction of whoever made it: a push, or an edit on the server."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from windlass.core.actor import Actor
from windlass.core.artifacts import Version
from windlass.core.digest import canonical
from windlass.core.ids import now_ns
from windlass.registry.references import Key
from windlass.store.tables import links, versions


def is_registered(c: Connection, project: str, key: Key) -> bool:
    v = versions.c
    found = select(v.digest).where(v.project == project, v.kind == key[0], v.name == key[1], v.digest == key[2])
    return c.execute(found).first() is not None


def register(c: Connection, actor: Actor, version: Version, *, snapshot: str | None = None) -> None:
    """Register a version with its links; one that is there already stays as it came."""
    if is_registered(c, version.project, (version.kind, version.name, version.digest)):
        return
    key = {"project": version.project, "kind": version.kind, "name": version.name, "digest": version.digest}
    c.execute(
        insert(versions).values(
            **key,
            body=canonical(version.body).decode(),
            neutral=canonical(version.neutral).decode(),
            snapshot=snapshot,
            created_ns=now_ns(),
            actor=actor.id,
        )
    )
    rows = [
        {**key, "relation": k.relation, "role": k.role, "to_kind": k.kind, "to_name": k.name, "to_digest": k.digest}
        for k in sorted(set(version.links))
    ]
    if rows:
        c.execute(insert(links), rows)
