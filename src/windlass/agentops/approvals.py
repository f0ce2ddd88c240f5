"""Calls that wait for a person. A request is for one call: this agent, this tool at its digest, these arguments, under this grant. The
first answer counts, and lets that call through once; a request that nobody answered in time is over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from sqlalchemy import Connection, Engine, Row, and_, func, insert, select, update

from windlass.core.actor import Actor
from windlass.core.errors import Conflict, Invalid, NotFound
from windlass.core.grant import Grant
from windlass.core.ids import now_ns, uuid7
from windlass.core.operations.approvals import Approval, ApprovalDecision, ApprovalPage, ApprovalQuery, State
from windlass.govern import audit
from windlass.govern.permissions import guard
from windlass.store.meta import read, write
from windlass.store.tables import approvals

MOST_WAITING = 5  # requests of one grant at once: an agent in a loop cannot bury those who decide
WHOLE, SHORTEST = 36, 6


class Told(Protocol):
    """Who is told of requests, in the transactions that make and end them."""

    def asked(self, c: Connection, project: str, approval: Approval) -> Callable[[], None]:
        """Returns what is to be done after the transaction."""
        ...

    def over(self, c: Connection, project: str, id: str, by: str, note: str) -> None: ...


class Nobody:
    """`Told` where nobody is."""

    def asked(self, c: Connection, project: str, approval: Approval) -> Callable[[], None]:
        return lambda: None

    def over(self, c: Connection, project: str, id: str, by: str, note: str) -> None:
        pass


class Approvals:
    """Service of approvals."""

    def __init__(self, engine: Engine, now: Callable[[], int] = now_ns, told: Told | None = None) -> None:
        self._engine = engine
        self._now = now
        self.told: Told = told or Nobody()

    def list(self, actor: Actor, query: ApprovalQuery) -> ApprovalPage:
        """Operation `approvals.list`."""
        guard(actor, "read", query.project)
        mine, now = approvals.c.project == query.project, self._now()
        waits = and_(mine, approvals.c.state == "waiting", approvals.c.expires_ns > now)
        found = select(approvals).where(waits if query.state == "waiting" else mine)
        if query.cursor:
            found = found.where(approvals.c.id < query.cursor)
        with read(self._engine) as c:
            rows = c.execute(found.order_by(approvals.c.id.desc()).limit(query.limit + 1)).all()
            waiting = c.execute(select(func.count()).select_from(approvals).where(waits)).scalar_one()
        more = rows[query.limit - 1].id if len(rows) > query.limit else None
        return ApprovalPage(items=tuple(_shown(r, now) for r in rows[: query.limit]), next=more, waiting=waiting)

    def decide(self, actor: Actor, asked: ApprovalDecision) -> Approval:
        """Operation `approvals.decide`. Raises `NotFound`, `Conflict` for one that is decided already, or over."""
        guard(actor, "deploy", asked.project)
        now = self._now()
        with write(self._engine) as c:
            row = _find(c, asked.project, asked.id)
            shown = _shown(row, now)
            if shown.state != "waiting":
                by = f" by {shown.decided_by}" if shown.decided_by else ""
                raise Conflict(f"this request is {shown.state}{by} already", remedy="`windlass approvals list` says what waits")
            state = "approved" if asked.allow else "denied"
            values = {"state": state, "decided_ns": now, "decided_by": actor.id, "note": asked.note.strip()}
            c.execute(update(approvals).where(approvals.c.id == row.id).values(**values))
            audit.record(
                c, actor, "approvals.decide", asked.project, f"approval:{row.id}", allow=asked.allow, grant=row.grant, call=row.call
            )
            self.told.over(c, asked.project, row.id, actor.id, "let through" if asked.allow else "denied")
            return _shown(_find(c, asked.project, row.id), now)

    def state(self, id: str) -> State:
        """How a request stands, for the call that waits for it."""
        with read(self._engine) as c:
            row = c.execute(select(approvals).where(approvals.c.id == id)).one()
        return _shown(row, self._now()).state

    def give_up(self, id: str) -> None:
        """Whoever waited is gone: nobody is to decide any more."""
        with write(self._engine) as c:
            open_still = (approvals.c.id == id, approvals.c.state.in_(("waiting", "approved")))
            row = c.execute(select(approvals).where(*open_still)).first()
            if row is not None:
                c.execute(update(approvals).where(*open_still).values(state="given-up"))
                self.told.over(c, row.project, id, row.agent, "it waits no longer")


def request(
    c: Connection, grant: Grant, tool: str, arguments: dict[str, Any], call: str, why: str, now: int, seconds: float
) -> Approval | None:
    """Ask for a person, in the transaction that found that one is needed. `call` is the digest of the arguments. Returns the request;
    None where too many wait already."""
    waits = (approvals.c.grant == grant.id, approvals.c.state == "waiting", approvals.c.expires_ns > now)
    if c.execute(select(func.count()).select_from(approvals).where(*waits)).scalar_one() >= MOST_WAITING:
        return None
    id, expires = uuid7(), now + int(seconds * 1e9)
    body = msgspec.json.encode({"task": grant.task, "arguments": arguments, "why": why}).decode()
    c.execute(
        insert(approvals).values(
            id=id, project=grant.project, grant=grant.id, agent=grant.agent, tool=tool, call=call, body=body, state="waiting",
            asked_ns=now, expires_ns=min(expires, grant.expires_ns or expires), decided_by="", note="",
        )
    )  # fmt: skip
    return _shown(c.execute(select(approvals).where(approvals.c.id == id)).one(), now)


def take(c: Connection, id: str, grant: Grant, tool: str, call: str, now: int) -> Approval:
    """Use an approval for the one call it is for, in the transaction that lets it through. What is returned is `used` only if it was
    approved, in time, for exactly this call, and never before."""
    row = c.execute(select(approvals).where(approvals.c.id == id)).one()
    same = (row.grant, row.tool, row.call, row.agent) == (grant.id, tool, call, grant.agent)
    if same and row.state == "approved" and now < row.expires_ns:
        c.execute(update(approvals).where(approvals.c.id == id).values(state="used"))
        return msgspec.structs.replace(_shown(row, now), state="used")
    shown = _shown(row, now)
    return msgspec.structs.replace(shown, state="expired" if shown.state in ("approved", "used") else shown.state)


def _find(c: Connection, project: str, id: str) -> Row[Any]:
    mine = approvals.c.project == project
    named = approvals.c.id == id if len(id) == WHOLE else approvals.c.id.endswith(id, autoescape=True)
    rows = c.execute(select(approvals).where(mine, named).limit(2)).all() if len(id) >= SHORTEST else []
    if len(rows) > 1:
        raise Invalid(f"several requests end in {id!r}", where="id", remedy="give more of it")
    if not rows:
        raise NotFound(f"there is no request {id!r}", remedy="`windlass approvals list` says what waits")
    return rows[0]


def _shown(row: Row[Any], now: int) -> Approval:
    body = msgspec.json.decode(row.body)
    state: State = "expired" if row.state in ("waiting", "approved") and row.expires_ns <= now else row.state
    return Approval(
        row.id, row.grant, row.agent, body["task"], row.tool, body["arguments"], body["why"], state, row.asked_ns, row.expires_ns,
        row.decided_ns, row.decided_by, row.note,
    )  # fmt: skip
