"""What a stop halts, of what is there now: agents, tools, and grants that live. Also which agents use which version of a tool."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection, select

from windlass.agentops.switches import ALL, GRANT
from windlass.core.grant import Grant
from windlass.core.operations.grants import Halted, Reach
from windlass.core.ref import Ref
from windlass.registry.versions import newest
from windlass.store.tables import grants, links, versions

NAMED = 100  # of each that are named; all are counted


class Reaching:
    """Finds what stops halt, in one state of the store: what they share is read once."""

    def __init__(self, c: Connection, project: str, now: int) -> None:
        self._c = c
        self._project = project
        self._grants = live_grants(c, project, now)

    def of(self, subject: str) -> Reach:
        """What a stop of it halts."""
        if subject == ALL:
            agents = {f"agent/{name}" for name in self._names("agent")} | {g.agent for g in self._grants}
            return _reach(agents, (f"tool/{name}" for name in self._names("tool")), self._grants)
        if subject.startswith(GRANT):
            return _reach((), (), [g for g in self._grants if g.id == subject.removeprefix(GRANT)])
        name, _, digest = subject.partition("@")
        kind, _, bare = name.rpartition("/")
        if kind not in ("tool", "index"):
            mine = [g for g in self._grants if g.agent == subject]
            known = kind == "agent" and bare in self._names("agent")
            return _reach([subject] if known or mine else [], (), mine)
        listing = [g for g in self._grants if any(t.tool == subject or (not digest and t.tool.startswith(f"{name}@")) for t in g.tools)]
        used = agents_using(self._c, self._project, kind, bare)
        agents = {a for at, users in used.items() if not digest or at == digest for a in users}
        return _reach(agents | {g.agent for g in listing}, [name] if bare in self._names(kind) else [], listing)

    def _names(self, kind: str) -> set[str]:
        v = versions.c
        return set(self._c.execute(select(v.name).where(v.project == self._project, v.kind == kind).distinct()).scalars())


def _reach(agents: Iterable[str], tools: Iterable[str], halted: Iterable[Grant]) -> Reach:
    by_name, tool_names, live = sorted(agents), sorted(tools), list(halted)
    named = tuple(Halted(g.id, g.agent, g.task) for g in live[:NAMED])
    return Reach(len(by_name), len(tool_names), len(live), tuple(by_name[:NAMED]), tuple(tool_names[:NAMED]), named)


def live_grants(c: Connection, project: str, now: int) -> list[Grant]:
    """The grants that live, oldest first."""
    alive = (grants.c.project == project, grants.c.revoked_ns.is_(None), grants.c.expires_ns > now)
    return [
        msgspec.json.decode(body, type=Grant) for body in c.execute(select(grants.c.body).where(*alive).order_by(grants.c.id)).scalars()
    ]


def agents_using(c: Connection, project: str, kind: str, name: str) -> dict[str, list[str]]:
    """Agents whose newest version uses this tool or index, by the digest it uses."""
    k = links.c
    found: dict[str, list[str]] = defaultdict(list)
    asked = select(k.name, k.digest, k.to_digest).where(
        k.project == project, k.kind == "agent", k.to_kind == kind, k.to_name == name, k.relation == "uses"
    )
    for row in c.execute(asked.distinct().order_by(k.name)):
        if newest(c, Ref("agent", row.name, None, None, project)) == row.digest:
            found[row.to_digest].append(f"agent/{row.name}")
    return found
