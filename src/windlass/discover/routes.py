"""The routes of projects: kept in the store, and in memory for whoever asks models.

`RouteTable` answers from memory. It looks at most every second whether a version is newer than what it has, and goes on with what it has
when the store is away. Knows no upstream's state; what processes tell of it comes from `route_health`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, func, insert, select, update

from windlass.core.actor import Actor
from windlass.core.errors import Conflict, Invalid, NotFound, Unavailable, WindlassError
from windlass.core.ids import now_ns
from windlass.core.models import BASELINE
from windlass.core.operations.routes import (
    PREFIX,
    Route,
    RouteKept,
    RouteList,
    RouteQuery,
    RouteSet,
    RouteShow,
    UpstreamHealth,
    WorkerHealth,
)
from windlass.core.ref import KINDS, check_name
from windlass.core.weights import LOCAL
from windlass.discover.providers import Providers
from windlass.discover.route_health import read_health
from windlass.govern import audit
from windlass.govern.permissions import guard
from windlass.store.meta import read, write
from windlass.store.tables import routes as table
from windlass.store.tables import versions

FRESH_S = 1.0  # what was read so long ago is good
LATE_S = 2.0  # what was read longer ago is read again before it is used
PATIENCE_S = 0.5  # how long a store that does not answer is waited for
AWAY_S = 0.05  # the same once it was found away: calls must not be slow for it
FIRST_S = 10.0  # the same while nothing is known yet
MOST = 500  # routes of one project

_log = logging.getLogger("windlass.routes")
_route = msgspec.json.Decoder(Route)
Spare = Callable[[], Mapping[str, dict[str, Route]] | None]


class RouteTable:
    """Routes by project and name. One per process. `spare`: what a local copy says of them, for a process that begins while the store is
    away."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic, spare: Spare = lambda: None) -> None:
        self._engine = engine
        self._clock = clock
        self._spare = spare
        self._known: dict[str, dict[str, Route]] = {}
        self._version = 0
        self._read_at: float | None = None
        self._tried_at = float("-inf")
        self._reading: asyncio.Future[None] | None = None
        self._away = False
        self._lock = threading.Lock()  # a service that changed a route reads too, on a thread of its own

    @property
    def stale(self) -> bool:
        """Whether `fresh` has something to do."""
        return self._clock() - self._tried_at >= FRESH_S

    async def fresh(self) -> None:
        """Have what the store says now, or go on with what was last known. Raises `Unavailable` where nothing was ever known."""
        now = self._clock()
        if self._reading is None or self._reading.done():
            if now - self._tried_at < FRESH_S:
                return
            self._tried_at = now
            self._reading = asyncio.ensure_future(asyncio.to_thread(self.load))
            self._reading.add_done_callback(self._told)
        hangs = now - self._tried_at > PATIENCE_S  # others have waited for it already
        if self._read_at is not None and (hangs or now - self._read_at < LATE_S):
            return
        patience = FIRST_S if self._read_at is None else AWAY_S if self._away else PATIENCE_S
        await asyncio.wait((self._reading,), timeout=patience)
        if self._read_at is None:
            raise Unavailable("the routes cannot be read: the store is away", remedy="ask again when it is back", retry_after_s=2)

    def load(self) -> None:
        """Read what is newer than what is known. Blocks. Raises `Unavailable` where the store is away and no copy says."""
        with self._lock:
            began = self._clock()
            try:
                self._load(began)
            except Unavailable:
                if self._read_at is not None or (copied := self._spare()) is None:
                    raise
                self._known, self._read_at = dict(copied), began

    def _load(self, began: float) -> None:
        with read(self._engine) as c:
            newest = c.execute(select(func.max(table.c.version))).scalar() or 0
            rows = c.execute(select(table).where(table.c.version > self._version).order_by(table.c.version)).all() if newest else []
        for row in rows:
            named = dict(self._known.get(row.project, {}))
            named.pop(row.name, None)
            if row.body is not None:
                named[row.name] = _route.decode(row.body)
            self._known = {**self._known, row.project: named}  # never changed in place: others read it meanwhile
            self._version = row.version
        self._read_at = began

    def find(self, project: str, model: str) -> tuple[str, Route] | None:
        """The route that answers for this id in a project, with its name; None where none does."""
        if not (named := self._known.get(project)):
            return None
        name = model.removeprefix(PREFIX)
        route = named.get(name)
        return None if route is None else (name, route)

    async def names(self, project: str) -> list[str]:
        """Of a project's routes. Raises as `fresh`."""
        await self.fresh()
        return sorted(self._known.get(project, {}))

    def _told(self, reading: asyncio.Future[None]) -> None:
        error = None if reading.cancelled() else reading.exception()
        if error is not None and not self._away:
            _log.warning("routes are as they were last known: %s", error)
        self._away = error is not None


class Routes:
    """Operations `routes.set`, `routes.list`, `routes.show` and `routes.remove`.

    Args:
        engine: the relational store.
        known: what this process answers from, so that it is right at once.
        providers: whom this installation can call.
        run: the folder in which processes tell what they have seen.
    """

    def __init__(self, engine: Engine, known: RouteTable, providers: Providers, run: Path) -> None:
        self._engine = engine
        self._table = known
        self._providers = providers
        self._run = run

    def set(self, actor: Actor, asked: RouteSet) -> RouteKept:
        """Raises `Forbidden`; `Invalid` and `NotFound` for upstreams that are none; `Conflict` for the name of a release."""
        guard(actor, "deploy", asked.project)
        self._check(asked.name, asked.route)
        with write(self._engine) as c:
            if "/" not in asked.name and _is_release(c, asked.project, asked.name):
                remedy = "choose another name: who calls it would get a model where a release answered"
                raise Conflict(f"{asked.name} is the name of a release", where="name", remedy=remedy)
            count = select(func.count()).select_from(table).where(table.c.project == asked.project, table.c.body.is_not(None))
            if (c.execute(count).scalar() or 0) >= MOST:
                raise Invalid(f"there are {MOST} routes already", where="name", remedy="windlass routes remove those that nobody needs")
            row = _keep(c, actor, asked.project, asked.name, msgspec.json.encode(asked.route).decode())
            said = [f"{u.model} {u.weight:g} in tier {u.tier}" for u in asked.route.upstreams]
            audit.record(c, actor, "routes.set", asked.project, f"route/{asked.name}", upstreams=said, digest=asked.route.digest())
        self._reload()
        return self._kept(row)

    def list(self, actor: Actor, query: RouteQuery) -> RouteList:
        """Raises `Forbidden`."""
        guard(actor, "read", query.project)
        seen = read_health(self._run)
        with read(self._engine) as c:
            there = (table.c.project == query.project, table.c.body.is_not(None))
            rows = c.execute(select(table).where(*there).order_by(table.c.name)).all()
            shadowed = {r.name for r in rows if "/" not in r.name and _is_release(c, query.project, r.name)}
        return RouteList(tuple(self._kept(r, seen, shadowed) for r in rows))

    def show(self, actor: Actor, query: RouteShow) -> RouteKept:
        """Raises `Forbidden`, `NotFound`."""
        name = query.name.removeprefix(PREFIX)
        found = self.list(actor, RouteQuery(query.project)).items
        kept = next((k for k in found if k.name == name), None)
        if kept is None:
            raise _none(query.name)
        return kept

    def remove(self, actor: Actor, asked: RouteShow) -> RouteKept:
        """Calls of its name go where they went without it. Raises `Forbidden`, `NotFound`."""
        guard(actor, "deploy", asked.project)
        name = asked.name.removeprefix(PREFIX)
        with write(self._engine) as c:
            row = c.execute(select(table).where(table.c.project == asked.project, table.c.name == name)).first()
            if row is None or row.body is None:
                raise _none(asked.name)
            _keep(c, actor, asked.project, name, None)
            audit.record(c, actor, "routes.remove", asked.project, f"route/{name}")
        self._reload()
        return self._kept(row)

    def _reload(self) -> None:
        """What is durable stays so where it cannot be read again at once: every process looks by itself."""
        with contextlib.suppress(WindlassError):
            self._table.load()

    def _kept(self, row: Row[Any], seen: Sequence[WorkerHealth] = (), shadowed: Collection[str] = ()) -> RouteKept:
        route = _route.decode(row.body)
        problems = [f"{u.model}: {why}" for u in route.upstreams if (why := self._why_not(u.model))]
        if row.name in shadowed:
            problems.append(f"there is a release {row.name} too: calls of that name are answered by this route")
        health = tuple(
            msgspec.structs.replace(w, upstreams=mine) for w in seen if (mine := _of(w.upstreams, row.project, row.name, route))
        )  # fmt: skip
        return RouteKept(row.name, route, row.actor, row.at_ns, route.digest(), tuple(problems), health)

    def _why_not(self, model: str) -> str:
        """Why an upstream cannot be called from here now; empty where it can, as far as is known."""
        provider = model.partition("/")[0]
        if provider in (BASELINE, LOCAL):
            return ""
        row = self._providers.table.get(provider)
        return self._providers.why_not(row) if row else f"there is no model provider {provider!r}"

    def _check(self, name: str, route: Route) -> None:
        """Raises `Invalid`, `NotFound`."""
        plain = "/" not in name
        if plain:
            check_name(name)
        if name == BASELINE or name.startswith((f"{BASELINE}/", f"{LOCAL}/", PREFIX)) or (not plain and name.partition("/")[0] in KINDS):
            raise Invalid(
                f"{name!r} cannot be a route", where="name", remedy="take a plain word, or a provider's model such as openai/gpt-5"
            )
        for number, upstream in enumerate(route.upstreams):
            where = f"upstreams[{number}].model"
            if upstream.model.startswith(PREFIX) or ("/" not in upstream.model and upstream.model != BASELINE):
                remedy = "write provider/model: a route leads to models, not to other routes"
                raise Invalid(f"{upstream.model!r} is no upstream", where=where, remedy=remedy)
            if any(u.model == upstream.model for u in route.upstreams[:number]):
                raise Invalid(f"{upstream.model} is named twice", where=where, remedy="give it one weight in one tier")
            provider, _, model = upstream.model.partition("/")
            if provider not in (BASELINE, LOCAL):
                self._providers.get(provider)
            if "/" in upstream.model and not model:
                raise Invalid(f"{upstream.model!r} names no model", where=where, remedy=f"write {provider}/<model>")


def _keep(c: Connection, actor: Actor, project: str, name: str, body: str | None) -> Row[Any]:
    version = (c.execute(select(func.max(table.c.version))).scalar() or 0) + 1
    values = {"body": body, "version": version, "actor": actor.id, "at_ns": now_ns()}
    mine = (table.c.project == project, table.c.name == name)
    if not c.execute(update(table).where(*mine).values(**values)).rowcount:
        c.execute(insert(table).values(project=project, name=name, **values))
    return c.execute(select(table).where(*mine)).one()


def _is_release(c: Connection, project: str, name: str) -> bool:
    mine = (versions.c.project == project, versions.c.kind == "release", versions.c.name == name)
    return c.execute(select(versions.c.name).where(*mine).limit(1)).first() is not None


def _of(seen: tuple[UpstreamHealth, ...], project: str, name: str, route: Route) -> tuple[UpstreamHealth, ...]:
    """What was seen of a route's upstreams, without times that are over: nothing is told while nobody calls."""
    models, now = {u.model for u in route.upstreams}, now_ns()
    mine = (h for h in seen if h.project == project and h.route == name and h.model in models)
    return tuple(h if h.until_ns > now else msgspec.structs.replace(h, until_ns=0) for h in mine)


def _none(name: str) -> NotFound:
    return NotFound(f"there is no route {name!r}", where="name", remedy="windlass routes lists them")
