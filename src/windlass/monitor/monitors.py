"""Monitors: what is watched, how it stands, what was found. Each is an artifact, so that whoever reads an alarm knows by which rules it
was raised; how far it looked is in the tables. The looking itself is `looking.py`'s.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, insert, select, update

from windlass.core.actor import Actor
from windlass.core.artifacts import Link, MonitorBody, Version, make_version
from windlass.core.errors import Conflict, Invalid, NotFound
from windlass.core.ids import uuid7
from windlass.core.monitoring import Look
from windlass.core.operations.monitors import (
    LookSeen,
    MonitorDetail,
    MonitorName,
    MonitorPage,
    MonitorPause,
    MonitorQuery,
    MonitorRequest,
    MonitorState,
    Point,
    TopicSeen,
)
from windlass.core.ref import ENVIRONMENTS, Ref, check_name, parse_ref
from windlass.evaluate.experiments import Suite, read_suite
from windlass.govern import audit
from windlass.govern.permissions import guard
from windlass.jobs.work import Jobs
from windlass.monitor.online import can_judge
from windlass.monitor.rounds import WORK, ask_for_look
from windlass.registry import labels, origins
from windlass.registry.lineage import release_of
from windlass.registry.registration import register
from windlass.registry.versions import Versions, fetch
from windlass.runtime.encoders import Encoders
from windlass.store.meta import read, write
from windlass.store.tables import looks, monitors

MAIN = "main"
DRAWN = 200  # looks in a drawing
LOOKED = 5_000  # looks read for it


class Findings(msgspec.Struct, omit_defaults=True):
    """What the last look found beyond its figures."""

    topics: tuple[TopicSeen, ...] = ()
    points: tuple[Point, ...] = ()
    kept: float = 0.0


class Monitors:
    """Service of monitors."""

    def __init__(self, engine: Engine, versions: Versions, encoders: Encoders, jobs: Jobs) -> None:
        self._engine = engine
        self._versions = versions
        self._encoders = encoders
        self._jobs = jobs

    def set(self, actor: Actor, asked: MonitorRequest) -> MonitorState:
        """Operation `monitors.set`: make a monitor, or a new version of one, which begins anew. Raises `NotFound`, `Invalid`,
        `Unavailable` for an encoder that is not here."""
        guard(actor, "write", asked.project)
        ref = Ref("monitor", check_name(asked.name), None, None, asked.project)
        suite = read_suite(self._versions, parse_ref(asked.suite, project=asked.project, kind="suite"))
        version = self._version(ref, asked, suite)
        with write(self._engine) as c:
            before = labels.current(c, ref, MAIN)
            register(c, actor, version)
            if before != version.digest:
                labels.move_label(c, actor, version.ref, MAIN, before, how="branch")
                audit.record(c, actor, "monitors.set", ref.project, f"monitor/{ref.name}", digest=version.digest, before=before)
            self._enter(c, version)
        return self.state(asked.project, asked.name)

    def _version(self, ref: Ref, asked: MonitorRequest, suite: Suite) -> Version:
        if asked.environment not in ENVIRONMENTS:
            raise Invalid(
                f"{asked.environment!r} is no environment", where="environment", remedy="environments: " + ", ".join(ENVIRONMENTS)
            )
        if asked.release and asked.service:
            raise Invalid("a monitor watches a release or a service, not both", where="service")
        release = None if asked.service else self._release(asked, suite)
        unknown = set(asked.judges or ()) - suite.evaluators.keys()
        if unknown:
            raise Invalid(f"{suite.version.ref.short} has no evaluator {min(unknown)!r}", remedy="it has " + ", ".join(suite.evaluators))
        if blind := [name for name in asked.judges or () if not can_judge(suite.evaluators[name])]:
            raise Invalid(f"{blind[0]!r} needs a row, which a run in production does not have", where="judges", remedy="leave it out")
        encoder = self._encoders.find(asked.encoder)
        body = MonitorBody(
            suite=suite.version.name, encoder=dict(encoder.identity), release=release, service=asked.service,
            environment=asked.environment, error=asked.error, tolerance=asked.tolerance, sample=asked.sample, judges=asked.judges,
            margin=asked.margin, seed=asked.seed,
        )  # fmt: skip
        links = (Link("uses", "suite", suite.version.name, suite.version.digest, "suite"),)
        return make_version("monitor", ref.name, body, links=links, neutral={"encoder": asked.encoder}, project=ref.project)

    def _release(self, asked: MonitorRequest, suite: Suite) -> str:
        """The release to watch: the one named, or the one that runs the suite's target."""
        if asked.release:
            ref = parse_ref(asked.release, project=asked.project, kind="release")
            self._versions.resolve(ref)
            return ref.name
        if isinstance(suite.body.target, dict):
            raise Invalid(
                "this suite's target is no version of ours", where=suite.version.ref.short,
                remedy="name the service that sends its traces: --service",
            )  # fmt: skip
        with read(self._engine) as c:
            return release_of(c, asked.project, suite.body.target)

    def _enter(self, c: Connection, version: Version) -> None:
        m = monitors.c
        here = c.execute(select(m.digest, m.body).where(m.project == version.project, m.name == version.name)).first()
        if here is None:
            state = first_state(version)
            c.execute(
                insert(monitors).values(
                    project=version.project, name=version.name, digest=version.digest, status="idle", revision=0, body=encoded(state),
                )
            )  # fmt: skip
        elif here.digest != version.digest:
            known = msgspec.json.decode(here.body, type=MonitorState)
            state = msgspec.structs.replace(first_state(version), status=known.status)
            c.execute(
                update(monitors)
                .where(m.project == version.project, m.name == version.name)
                .values(digest=version.digest, revision=m.revision + 1, body=encoded(state))
            )  # fmt: skip

    def list(self, actor: Actor, query: MonitorQuery) -> MonitorPage:
        """Operation `monitors.list`: by name."""
        guard(actor, "read", query.project)
        m = monitors.c
        with read(self._engine) as c:
            found = c.execute(
                select(m.body, m.status)
                .where(m.project == query.project, m.name > (query.cursor or ""))
                .order_by(m.name)
                .limit(query.limit + 1)
            ).all()
        items = tuple(_state(row) for row in found[: query.limit])
        return MonitorPage(items=items, next=items[-1].name if len(found) > query.limit else None)

    def show(self, actor: Actor, query: MonitorName) -> MonitorDetail:
        """Operation `monitors.show`. Raises `NotFound`."""
        guard(actor, "read", query.project)
        state = self.state(query.project, query.name)
        k, m = looks.c, monitors.c
        with read(self._engine) as c:
            kept = c.execute(select(m.findings, m.baseline).where(m.project == query.project, m.name == state.name)).one()
            here = (k.project == query.project, k.monitor == state.name, k.baseline == (kept.baseline or ""))
            rows = c.execute(select(k.at_ns, k.body).where(*here).order_by(k.id.desc()).limit(LOOKED)).all()[::-1]
            found = msgspec.json.decode(kept.findings, type=Findings) if kept.findings else Findings()
            topics = tuple(self._with_rows(c, query.project, t) for t in found.topics)
        step = -(-len(rows) // DRAWN) or 1
        chosen = [r for n, r in enumerate(rows) if (len(rows) - 1 - n) % step == 0]
        seen = tuple(LookSeen(r.at_ns, msgspec.json.decode(r.body, type=Look)) for r in chosen)
        return MonitorDetail(state, seen, topics, found.points, found.kept)

    @staticmethod
    def _with_rows(c: Connection, project: str, seen: TopicSeen) -> TopicSeen:
        """With the rows that were made of its exemplars since."""
        made = {e.trace: next((f"{name}#{key}" for name, key in origins.rows_of(c, project, e.trace)), None) for e in seen.exemplars}
        return TopicSeen(seen.topic, tuple(msgspec.structs.replace(e, row=made[e.trace]) for e in seen.exemplars))

    def look(self, actor: Actor, query: MonitorName) -> MonitorState:
        """Operation `monitors.look`: have it look now; `monitors.show` says when it has. Raises `NotFound`, `Conflict` when paused."""
        guard(actor, "run", query.project)
        state = self.state(query.project, query.name)
        if state.status == "paused":
            raise Conflict(f"monitor/{state.name} is paused", remedy=f"windlass monitor resume {state.name}")
        id = f"{state.name} {uuid7()}"
        with write(self._engine) as c:
            ask_for_look(c, self._jobs, query.project, state.name, id)
        self._jobs.begin(WORK, query.project, id)
        return self.state(query.project, query.name)

    def pause(self, actor: Actor, query: MonitorPause) -> MonitorState:
        """Operation `monitors.pause`. What comes meanwhile is seen when it goes on. Raises `NotFound`."""
        guard(actor, "write", query.project)
        state = self.state(query.project, query.name)
        m = monitors.c
        with write(self._engine) as c:
            values = {"status": "paused" if query.paused else "idle"}
            c.execute(update(monitors).where(m.project == query.project, m.name == state.name).values(**values))
            audit.record(c, actor, "monitors.pause", query.project, f"monitor/{state.name}", paused=query.paused)
        return self.state(query.project, query.name)

    def state(self, project: str, name: str) -> MonitorState:
        """How a monitor stands. Raises `NotFound`."""
        m = monitors.c
        with read(self._engine) as c:
            row = c.execute(select(m.body, m.status).where(m.project == project, m.name == name.removeprefix("monitor/"))).first()
        if row is None:
            raise NotFound(
                f"there is no monitor {name!r}", remedy="windlass monitor list; windlass monitor set NAME --suite SUITE makes one"
            )
        return _state(row)


def body_of(version: Version) -> MonitorBody:
    return msgspec.convert(version.body, MonitorBody)


def read_monitor(c: Connection, project: str, name: str) -> Version:
    """The version that is in force. Raises `NotFound`."""
    m = monitors.c
    digest = c.execute(select(m.digest).where(m.project == project, m.name == name)).scalar()
    if digest is None:
        raise NotFound(f"there is no monitor {name!r}")
    return fetch(c, Ref("monitor", name, digest, None, project))


def first_state(version: Version) -> MonitorState:
    """Of a monitor that has not looked yet."""
    body = body_of(version)
    return MonitorState(
        version.name, str(version.ref), body.suite, f"release/{body.release}" if body.release else str(body.service), body.environment,
        str(version.neutral.get("encoder", "")), body.error, body.tolerance, body.sample, "idle",
    )  # fmt: skip


def encoded(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()


def _state(row: Row[Any, Any]) -> MonitorState:
    found = msgspec.json.decode(row.body, type=MonitorState)
    return msgspec.structs.replace(found, status=row.status)
