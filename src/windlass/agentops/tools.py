"""The catalog of tools: what there is, how definitions changed, which agents and grants use which version."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, func, select

from windlass.agentops.definitions import changes
from windlass.agentops.reach import agents_using, live_grants
from windlass.agentops.switches import sentence_of
from windlass.core.actor import Actor
from windlass.core.artifacts import Version
from windlass.core.errors import NotFound
from windlass.core.ids import now_ns
from windlass.core.operations.tools import ToolDetail, ToolName, ToolPage, ToolQuery, ToolState, ToolVersion
from windlass.core.ref import Ref
from windlass.govern.permissions import guard
from windlass.registry.versions import effects, fetch, newest
from windlass.store.meta import read
from windlass.store.tables import stops, versions

SHOWN = 50  # versions of one tool
Uses = dict[str, list[str]]  # who uses it, by `tool/name@digest`


class Tools:
    """Service of the catalog."""

    def __init__(self, engine: Engine, now: Callable[[], int] = now_ns) -> None:
        self._engine = engine
        self._now = now

    def list(self, actor: Actor, query: ToolQuery) -> ToolPage:
        """Operation `tools.list`."""
        guard(actor, "read", query.project)
        v = versions.c
        found = select(v.name, func.count().label("n")).where(v.project == query.project, v.kind == "tool")
        if query.search:
            found = found.where(v.name.contains(query.search.lower(), autoescape=True))
        if query.cursor:
            found = found.where(v.name > query.cursor)
        with read(self._engine) as c:
            rows = c.execute(found.group_by(v.name).order_by(v.name).limit(query.limit + 1)).all()
            granted = self._grants(c, query.project)
            items = tuple(self._state(c, query.project, r.name, r.n, granted) for r in rows[: query.limit])
        return ToolPage(items=items, next=items[-1].name if len(rows) > query.limit else None)

    def show(self, actor: Actor, query: ToolName) -> ToolDetail:
        """Operation `tools.show`. Raises `NotFound`."""
        guard(actor, "read", query.project)
        v = versions.c
        mine = (v.project == query.project, v.kind == "tool", v.name == query.name)
        with read(self._engine) as c:
            rows = c.execute(select(versions).where(*mine).order_by(v.created_ns.desc(), v.digest).limit(SHOWN + 1)).all()
            if not rows:
                raise NotFound(f"there is no tool/{query.name}", remedy="`windlass tools list` lists them")
            count = c.execute(select(func.count()).select_from(versions).where(*mine)).scalar_one()
            granted, used = self._grants(c, query.project), agents_using(c, query.project, "tool", query.name)
            state = self._state(c, query.project, query.name, count, granted)
        bodies = [msgspec.json.decode(r.body) for r in rows]
        shown = []
        for number, row in enumerate(rows[:SHOWN]):
            ref = str(Ref("tool", row.name, row.digest, None, query.project))
            differs = changes(bodies[number + 1], bodies[number]) if number + 1 < len(rows) else ()
            shown.append(ToolVersion(ref, row.created_ns, row.actor, differs, tuple(used.get(row.digest, ())), tuple(granted.get(ref, ()))))
        return ToolDetail(state, bodies[0]["parameters"], tuple(shown))

    def _state(self, c: Connection, project: str, name: str, count: int, granted: Uses) -> ToolState:
        ref = Ref("tool", name, None, None, project)
        version: Version = fetch(c, msgspec.structs.replace(ref, digest=newest(c, ref)))
        body: dict[str, Any] = version.body
        at = c.execute(select(versions.c.created_ns).where(*_is(version))).scalar_one()
        stop = c.execute(
            select(stops).where(stops.c.project == project, stops.c.subject.in_(("all", f"tool/{name}", str(version.ref))))
        ).first()
        widest, by = effects(c, version)
        listing = {g for tool, ids in granted.items() if tool.startswith(f"{ref}@") for g in ids}
        agents = sorted({a for found in agents_using(c, project, "tool", name).values() for a in found})
        return ToolState(
            name, str(version.ref), body["name"], body["description"], widest, count, at, tuple(body.get("secrets", ())),
            tuple(agents), len(listing), sentence_of(stop, whole=True) if stop else "", by, stop.subject if stop else "",
        )  # fmt: skip

    def _grants(self, c: Connection, project: str) -> Uses:
        """Grants that live, by the tools they list."""
        found: Uses = defaultdict(list)
        for grant in live_grants(c, project, self._now()):
            for tool in grant.tools:
                found[tool.tool].append(grant.id)
        return found


def _is(version: Version) -> tuple[Any, ...]:
    v = versions.c
    return v.project == version.project, v.kind == version.kind, v.name == version.name, v.digest == version.digest
