"""Grants in the store: made by a person, shown with what was spent, revoked, and tokens that name them.

A grant never changes: another is made. Its digest is over all it says, and stands in the record of what was done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Engine, Row, insert, select, update

from windlass.agentops.arguments import closed
from windlass.agentops.deciding import Call, authorize, check_policies
from windlass.agentops.spending import spent_and_denied
from windlass.agentops.switches import GRANT, stopped
from windlass.core.actor import Actor
from windlass.core.digest import digest_bytes
from windlass.core.errors import Conflict, Forbidden, Invalid, NotFound
from windlass.core.grant import CallDecision, Grant, GrantedTool, Spent
from windlass.core.ids import now_ns, uuid7
from windlass.core.operations.grants import (
    CallCheck,
    GrantId,
    GrantPage,
    GrantQuery,
    GrantRequest,
    GrantState,
    GrantToken,
    TokenRequest,
)
from windlass.core.ref import Ref, check_name, parse_ref
from windlass.govern import audit
from windlass.govern.permissions import guard
from windlass.govern.tokens import Tokens
from windlass.registry.versions import fetch, newest, resolve
from windlass.store.meta import read, write
from windlass.store.tables import grants

CALLABLE = ("tool", "index")
WHOLE, SHORTEST = 36, 6  # characters of a grant's id
DAY_NS = 86_400 * 10**9
MOST_DENIED = 1_000  # calls of an agent outside, after which its grant opens nothing: a loop is not answered for ever
MOST_LIVE = 200  # grants of one agent that are asked for one call


class Grants:
    """Service of grants.

    Args:
        tokens: makes what an agent shows.
        now: UTC nanoseconds.
    """

    def __init__(self, engine: Engine, tokens: Tokens, now: Callable[[], int] = now_ns) -> None:
        self._engine = engine
        self._tokens = tokens
        self._now = now

    def make(self, actor: Actor, asked: GrantRequest) -> GrantState:
        """Operation `grants.make`. Raises `Forbidden`, `Invalid`, `NotFound` naming the tool, argument or agent."""
        guard(actor, "deploy", asked.project)
        now = self._now()
        expires = now + DAY_NS if asked.expires_ns is None else asked.expires_ns
        if expires <= now:
            raise Invalid("this grant would have expired already", where="expires_ns")
        with write(self._engine) as c:
            agent = _agent(c, asked.agent, asked.project)
            tools = tuple(_granted(c, t, asked.project, f"tools[{n}]") for n, t in enumerate(asked.tools))
            _check_once(tools)
            grant = Grant(
                uuid7(), agent, asked.task.strip(), tools, asked.project, asked.calls, asked.seconds, asked.dollars, expires, actor.id, now
            )
            try:
                check_policies(grant)
            except ValueError as e:
                raise Invalid(f"this grant cannot be written as a policy: {e}") from e
            digest = digest_of(grant)
            c.execute(
                insert(grants).values(
                    id=grant.id, project=grant.project, agent=agent, digest=digest, body=msgspec.json.encode(grant).decode(),
                    expires_ns=expires, created_ns=now, revoked_by="",
                )
            )  # fmt: skip
            names = [t.tool for t in tools]
            audit.record(c, actor, "grants.make", asked.project, f"grant:{grant.id}", agent=agent, digest=digest, tools=names)
        return GrantState(grant, digest, "live")

    def list(self, actor: Actor, query: GrantQuery) -> GrantPage:
        """Operation `grants.list`."""
        guard(actor, "read", query.project)
        found = select(grants).where(grants.c.project == query.project)
        if query.agent:
            found = found.where(grants.c.agent == query.agent)
        if query.state == "live":
            found = found.where(grants.c.revoked_ns.is_(None), grants.c.expires_ns > self._now())
        if query.cursor:
            found = found.where(grants.c.id < query.cursor)
        with read(self._engine) as c:
            rows = c.execute(found.order_by(grants.c.id.desc()).limit(query.limit + 1)).all()
            items = tuple(self._state(c, row) for row in rows[: query.limit])
        return GrantPage(items=items, next=rows[query.limit - 1].id if len(rows) > query.limit else None)

    def show(self, actor: Actor, query: GrantId) -> GrantState:
        """Operation `grants.show`. Raises `NotFound`."""
        guard(actor, "read", query.project)
        with read(self._engine) as c:
            return self._state(c, find(c, query.project, query.id))

    def revoke(self, actor: Actor, query: GrantId) -> GrantState:
        """Operation `grants.revoke`; again is harmless. It holds from the next call on. Raises `NotFound`."""
        guard(actor, "deploy", query.project)
        with write(self._engine) as c:
            row = find(c, query.project, query.id)
            if row.revoked_ns is None:
                c.execute(update(grants).where(grants.c.id == row.id).values(revoked_ns=self._now(), revoked_by=actor.id))
                audit.record(c, actor, "grants.revoke", query.project, f"grant:{row.id}", digest=row.digest)
            return self._state(c, find(c, query.project, row.id))

    def token(self, actor: Actor, asked: TokenRequest) -> GrantToken:
        """Operation `grants.token`. Raises `NotFound`, `Conflict` for a grant that no longer lives."""
        guard(actor, "deploy", asked.project)
        with write(self._engine) as c:
            row = find(c, asked.project, asked.id)
            if (state := self._word(row)) != "live":
                raise Conflict(f"this grant is {state}", remedy="make another")
            expires = min(self._now() + asked.seconds * 10**9, row.expires_ns) // 10**9
            audit.record(c, actor, "grants.token", asked.project, f"grant:{row.id}", expires=expires)
        return GrantToken(self._tokens.grant(row.id, asked.project, row.agent, expires), row.id, row.agent, expires * 10**9)

    def check(self, actor: Actor, asked: CallCheck) -> CallDecision:
        """Operation `grants.check`: the decision as it would be now; nothing is spent. Raises `NotFound`, `Invalid`."""
        guard(actor, "read", asked.project)
        with read(self._engine) as c:
            row = find(c, asked.project, asked.id)
            grant, (spent, _) = grant_of(row), spent_and_denied(c, row.id)
            ref = resolve(c, _callable(asked.tool, asked.project, "tool"))
            parameters = fetch(c, ref).body.get("parameters", {})
            agent = asked.agent or grant.agent
            call = Call(
                agent, str(ref), asked.arguments, self._now(), spent, parameters,
                stopped(c, asked.project, agent, f"{ref.kind}/{ref.name}", str(ref), GRANT + row.id), row.revoked_ns is not None,
            )  # fmt: skip
        return authorize(call, grant)

    def opened(self, actor: Actor, agent: str) -> Grant:
        """The grant that somebody's token opens, for the agent they say they are. Raises `Forbidden` for anybody else."""
        if actor.grant is None:
            raise Forbidden("an agent shows the token of its grant here", remedy="windlass grants token GRANT makes one")
        with read(self._engine) as c:
            row = find(c, actor.project, actor.grant)
            _, denied = spent_and_denied(c, row.id)
        grant = grant_of(row)
        if agent not in (grant.agent, grant.agent.removeprefix("agent/")):
            raise Forbidden(f"this token is of {grant.agent}, not of {agent[:100]}", remedy="use a token of this agent's grant")
        if (state := self._word(row)) != "live":
            raise Forbidden(f"the grant of this token is {state}", remedy="ask for another grant")
        if denied >= MOST_DENIED:
            raise Forbidden(f"{denied:,} calls of this grant were denied: it opens nothing any more", remedy="ask for another grant")
        return grant

    def _state(self, c: Connection, row: Row[Any]) -> GrantState:
        spent, denied = spent_and_denied(c, row.id)
        return GrantState(grant_of(row), row.digest, self._word(row), spent, denied, row.revoked_ns, row.revoked_by)

    def _word(self, row: Row[Any]) -> Literal["live", "expired", "revoked"]:
        if row.revoked_ns is not None:
            return "revoked"
        return "expired" if row.expires_ns <= self._now() else "live"


def find(c: Connection, project: str, id: str) -> Row[Any]:
    """A grant's row by its id, or by the end of it. Raises `NotFound`, `Invalid` where several end so."""
    mine = grants.c.project == project
    if len(id) == WHOLE:
        rows = c.execute(select(grants).where(mine, grants.c.id == id)).all()
    elif len(id) >= SHORTEST:
        rows = c.execute(select(grants).where(mine, grants.c.id.endswith(id, autoescape=True)).limit(2)).all()
    else:
        rows = []
    if len(rows) > 1:
        raise Invalid(f"several grants end in {id!r}", where="id", remedy="give more of it")
    if not rows:
        raise NotFound(f"there is no grant {id!r}", remedy="`windlass grants list` lists them")
    return rows[0]


def live(c: Connection, project: str, agent: str, now: int) -> Sequence[Row[Any]]:
    """The grants of an agent that live, newest first."""
    found = select(grants).where(
        grants.c.project == project, grants.c.agent == agent, grants.c.revoked_ns.is_(None), grants.c.expires_ns > now
    )
    return c.execute(found.order_by(grants.c.id.desc()).limit(MOST_LIVE)).all()


def grant_of(row: Row[Any]) -> Grant:
    return msgspec.json.decode(row.body, type=Grant)


def digest_of(grant: Grant) -> str:
    return digest_bytes(msgspec.json.encode(grant, order="sorted"))


def spent_of(c: Connection, row: Row[Any]) -> Spent:
    return spent_and_denied(c, row.id)[0]


def _agent(c: Connection, text: str, project: str) -> str:
    """Who a grant is for: an agent of the registry, or a name that none of them has."""
    kind, _, name = text.rpartition("/")
    check_name(name, what="name of an agent")
    if kind not in ("", "agent"):
        raise Invalid(f"{text!r} is no agent", where="agent", remedy="write agent/name, or the name of an agent that runs elsewhere")
    known = newest(c, Ref("agent", name, None, None, project)) is not None
    if kind and not known:
        raise NotFound(f"there is no {text}", where="agent", remedy="push it first, or give a name alone for an agent that runs elsewhere")
    if not kind and known:
        raise Invalid(f"{name!r} is an agent here", where="agent", remedy=f"write agent/{name}")
    return text


def _callable(text: str, project: str, where: str) -> Ref:
    ref = parse_ref(text, project=project, kind="tool")
    if ref.kind not in CALLABLE or ref.project != project:
        raise Invalid(f"{text!r} is no tool of this project", where=where, remedy="write tool/name, or tool/name@digest")
    return ref


def _granted(c: Connection, asked: GrantedTool, project: str, where: str) -> GrantedTool:
    """A tool of a grant with its whole digest, and what its schema does not list forbidden."""
    ref = resolve(c, _callable(asked.tool, project, f"{where}.tool"))
    if asked.arguments is None:
        return msgspec.structs.replace(asked, tool=str(ref))
    arguments = closed(asked.arguments, f"{where}.arguments")
    takes = fetch(c, ref).body.get("parameters", {}).get("properties", {})
    if takes and (unknown := sorted(set(arguments["properties"]) - set(takes))):
        raise Invalid(
            f"{ref.kind}/{ref.name} takes no {unknown[0]!r}",
            where=f"{where}.arguments",
            remedy="it takes " + (", ".join(sorted(takes)) or "nothing"),
        )
    return msgspec.structs.replace(asked, tool=str(ref), arguments=arguments)


def _check_once(tools: tuple[GrantedTool, ...]) -> None:
    seen: set[str] = set()
    for t in tools:
        if t.tool in seen:
            raise Invalid(f"{t.tool.partition('@')[0]} is listed twice", where="tools", remedy="say all of its arguments in one schema")
        seen.add(t.tool)
