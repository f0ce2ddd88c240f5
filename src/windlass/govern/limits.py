"""Limits: setting, removing and listing them, with what is used of each. Holding calls to them is `reservations`' affair."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import msgspec
from sqlalchemy import Connection, Engine, delete, insert, select, update

from windlass.core.actor import Actor
from windlass.core.errors import Invalid, NotFound
from windlass.core.ids import now_ns
from windlass.core.operations.limits import LimitId, LimitList, LimitQuery, LimitRequest, LimitState, LimitUse, said
from windlass.govern import audit
from windlass.govern.counters import Counters
from windlass.govern.leases import Leases, forget
from windlass.govern.people import PREFIX
from windlass.govern.permissions import guard
from windlass.govern.reservations import NANO, counter_of
from windlass.govern.standby import Standby, limit_of
from windlass.govern.windows import FOREVER, forecast, window_at
from windlass.store.meta import read, write
from windlass.store.tables import keys, limits

SHOWN = 200  # uses of one limit that are listed
LONGEST = 200  # characters of a user or a target
SUBJECTS = "write project, key:ID, key:*, user:NAME or user:*"


class Limits:
    """Service of limits.

    Args:
        engine: the relational store.
        standby: told when limits change.
        counted: the shared counters of this node, and what keeps them in step with the table.
    """

    def __init__(self, engine: Engine, standby: Standby, counted: Callable[[], tuple[Counters, Leases]]) -> None:
        self._engine = engine
        self._standby = standby
        self._counted = counted

    def set(self, actor: Actor, params: LimitRequest) -> LimitState:
        """Operation `limits.set`; of the same subject, target, measure and window again, its amount. Raises `Forbidden`, `Invalid`,
        `NotFound` for a key that is not there."""
        guard(actor, "admin", params.project)
        with write(self._engine) as c:
            asked = _checked(c, params)
            identity = identity_of(asked)
            mine = (limits.c.project == asked.project, limits.c.id == identity)
            amount = round(asked.amount * NANO) if asked.measured == "dollars" else int(asked.amount)
            values = {"amount": amount, "unpriced": asked.unpriced, "actor": actor.id, "set_ns": now_ns()}
            if not c.execute(update(limits).where(*mine).values(**values)).rowcount:
                of = {"subject": asked.subject, "target": asked.target, "measured": asked.measured, "period": asked.window}
                c.execute(insert(limits).values(project=asked.project, id=identity, **of, **values))
            found = limit_of(c.execute(select(limits).where(*mine)).mappings().one())
            audit.record(c, actor, "limits.set", asked.project, asked.subject, limit=identity, says=said(found), unpriced=asked.unpriced)
        self._standby.stale()
        return found

    def remove(self, actor: Actor, params: LimitId) -> LimitState:
        """Operation `limits.remove`: what was counted under it is forgotten. Raises `Forbidden`, `NotFound`, `Invalid`."""
        guard(actor, "admin", params.project)
        with write(self._engine) as c:
            found = _find(c, params)
            c.execute(delete(limits).where(limits.c.project == params.project, limits.c.id == found.id))
            forget(c, params.project, found.id)
            audit.record(c, actor, "limits.remove", params.project, found.subject, limit=found.id, says=said(found))
        self._standby.stale()
        found.removed = True
        return found

    def list(self, actor: Actor, query: LimitQuery) -> LimitList:
        """Operation `limits.list`: by subject, with what is used of the windows that are open now. Raises `Forbidden`."""
        guard(actor, "read", query.project)
        now = now_ns()
        with read(self._engine) as c:
            rows = c.execute(select(limits).where(limits.c.project == query.project).order_by(limits.c.subject, limits.c.id)).mappings()
            items = [x for x in map(limit_of, rows) if query.subject in (None, x.subject)]
            if not items:
                return LimitList(())
            named = {f"key:{r.id}": str(r.name) for r in c.execute(select(keys.c.id, keys.c.name))}
            counters, leases = self._counted()
            kept = leases.used(c, query.project, now)
        for item in items:
            item.name = named.get(item.subject, "")
            item.uses = _uses(item, kept, counters, leases.node, now)
        return LimitList(tuple(items))


def _uses(
    limit: LimitState, kept: Mapping[tuple[str, int, str], Mapping[str, int]], counters: Counters, node: str, now: int
) -> tuple[LimitUse, ...]:
    """What is used of a limit's open windows: by this node as it counts itself, by others as the table has it."""
    began, ends = window_at(limit.window, now)
    unit = NANO if limit.measured == "dollars" else 1
    each = limit.subject.endswith(":*")
    whose = {who for id, start, who in kept if id == limit.id and start == began} | (set() if each else {""})
    amount = round(limit.amount * unit)
    found = []
    for who in whose:
        count = counters.look(counter_of(limit.project, limit.id, began, who, ends, amount).need(0))
        nodes = kept.get((limit.id, began, who), {})
        used = max(count.used, nodes.get(node, 0)) + sum(n for name, n in nodes.items() if name != node)
        told = used / unit
        if limit.measured == "concurrency":
            told = 0.0
        found.append(
            LimitUse(
                began, None if ends >= FOREVER else ends, who, told, count.reserved / unit,
                None if limit.measured == "concurrency" else forecast(told, began, ends, now),
            )
        )  # fmt: skip
    return tuple(sorted(found, key=lambda u: (-u.used - u.reserved, u.who))[:SHOWN])


def _checked(c: Connection, params: LimitRequest) -> LimitRequest:
    """A request in its one form. Raises `Invalid`, `NotFound`."""
    if params.measured == "concurrency" and params.window != "ever":
        raise Invalid("calls at once have no window", where="window", remedy="leave it out")
    if params.measured != "dollars" and params.amount != int(params.amount):
        raise Invalid(f"{params.amount} {params.measured} cannot be counted", where="amount", remedy="write a whole number")
    if params.unpriced == "allow" and params.measured != "dollars":
        raise Invalid("only a limit of dollars asks for prices", where="unpriced", remedy="leave it out")
    kind, _, name = params.target.partition("/")
    if params.target and (kind not in ("model", "release") or not name or len(params.target) > LONGEST or set("@:") & set(name[:1])):
        raise Invalid(f"{params.target!r} is no target", where="target", remedy="write model/provider/name or release/name")
    if kind == "release" and set(name) & set("@:/"):
        raise Invalid("a limit holds for a release whatever its version", where="target", remedy=f"write release/{name.split('@')[0]}")
    return msgspec.structs.replace(params, subject=_subject(c, params.project, params.subject))


def _subject(c: Connection, project: str, text: str) -> str:
    kind, _, name = text.partition(":")
    if text in ("project", "key:*", "user:*"):
        return text
    if kind == "user" and name and len(name) <= LONGEST:
        return text
    if text.startswith(PREFIX) and len(text) <= LONGEST:
        return text
    if kind != "key" or not name:
        raise Invalid(f"{text!r} cannot be limited", where="subject", remedy=SUBJECTS)
    k = keys.c
    found = c.execute(select(k.id, k.project, k.role).where(k.id.endswith(name, autoescape=True)).limit(2)).all()
    if not found:
        raise NotFound(f"there is no key {name!r}", where="subject", remedy="`windlass keys list` lists them")
    if len(found) > 1:
        raise Invalid(f"several keys end with {name!r}", where="subject", remedy="write more of its id")
    if found[0].role != "owner" and found[0].project != project:
        raise Invalid(f"this key belongs to project {found[0].project}", where="subject", remedy="set its limit in that project")
    return f"key:{found[0].id}"


def identity_of(params: LimitRequest) -> str:
    """The id of a limit: over all it says but its amount."""
    of = "\0".join((params.project, params.subject, params.target, params.measured, params.window))
    return hashlib.blake2b(of.encode(), digest_size=6).hexdigest()


def _find(c: Connection, params: LimitId) -> LimitState:
    mine = (limits.c.project == params.project, limits.c.id.startswith(params.id, autoescape=True))
    found = c.execute(select(limits).where(*mine).limit(2)).mappings().all() if params.id else []
    if not found:
        raise NotFound(f"there is no limit {params.id!r}", remedy="`windlass limits list` lists them")
    if len(found) > 1:
        raise Invalid(f"several limits begin with {params.id!r}", remedy="write more of its id")
    return limit_of(found[0])
