"""One look of a monitor: what came since is taken into its watch, a sample of it is judged, and what is found is kept with how far it
came, in one transaction. A look that was cut off is begun again and finds the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Engine, Row, delete, func, insert, select, update

from windlass.core.artifacts import EvaluatorBody, MonitorBody, Version
from windlass.core.digest import short
from windlass.core.errors import StoreAway, WindlassError
from windlass.core.ids import now_ns, uuid7
from windlass.core.monitoring import Instrument
from windlass.core.operations.monitors import Exemplar, JudgeState, MonitorState, TopicSeen
from windlass.monitor.alerts import Alerts, Noted
from windlass.monitor.baseline import Baseline, build
from windlass.monitor.findings import found_events
from windlass.monitor.ground import Ground, Grounds
from windlass.monitor.inputs import of_run
from windlass.monitor.map import drawn
from windlass.monitor.monitors import Findings, body_of, encoded, first_state, read_monitor
from windlass.monitor.online import Online, can_judge, judged, sampled
from windlass.monitor.rows import Row as Input
from windlass.monitor.settings import Settings
from windlass.monitor.skew import Watch
from windlass.runtime.encoders import Encoder, Encoders
from windlass.runtime.library import body_of as body
from windlass.store.meta import read, write
from windlass.store.spans import Arrival, ArrivalQuery, ScoreQuery
from windlass.store.tables import looks, monitors, sightings
from windlass.traces.query import Traces

KEPT_TEXT = 2_000  # characters of an input that are kept for topics
MOST_JUDGED = 200  # runs in one look
PAGE = 1000
MAPPED = 400  # runs in the map
MOST_TEXTS = 50_000  # runs whose texts are kept
SHOWN = 500  # characters of an exemplar


class Kept(msgspec.Struct):
    """A watch as it is kept."""

    baseline: Baseline
    texts: dict[str, str]  # of the evaluation's rows, by key, for the map
    watch: bytes | None = None


class _Found(NamedTuple):
    """What a look makes."""

    state: MonitorState
    kept: Kept
    findings: Findings
    runs: list[tuple[Arrival, str]]
    arrived: str
    key: str
    anew: bool


class Looking:
    """Looks. One at a time for each monitor: of two at once, one is kept."""

    def __init__(
        self, *, engine: Engine, grounds: Grounds, traces: Traces, encoders: Encoders, online: Online, alerts: Alerts,
        now: Callable[[], int] = now_ns,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._grounds = grounds
        self._traces = traces
        self._encoders = encoders
        self._online = online
        self._alerts = alerts
        self._now = now

    async def run(self, project: str, id: str) -> None:
        """Look once. `id` begins with the monitor's name. What went wrong is kept and shown."""
        name = id.partition(" ")[0]
        with read(self._engine) as c:
            row = c.execute(select(monitors).where(monitors.c.project == project, monitors.c.name == name)).first()
            version = read_monitor(c, project, name) if row is not None else None
        if row is None or version is None or row.status == "paused":
            return
        known = msgspec.json.decode(row.body, type=MonitorState)
        try:
            found = await self._look(version, row, known)
            told = await asyncio.to_thread(self._keep, project, row, version, known, found)
        except StoreAway:
            raise  # it is begun again
        except WindlassError as e:
            self._failed(project, row, known, e)
            return
        except Exception as e:
            defect = WindlassError(f"a defect in Windlass ended the look: {type(e).__name__}", remedy="the log of `jobs` says more")
            self._failed(project, row, known, defect)
            raise
        for noted in told:
            self._alerts.begin(noted)

    async def _look(self, version: Version, row: Row[Any], known: MonitorState) -> _Found:
        rules = body_of(version)
        ground = await self._grounds.find(version.project, rules)
        encoder = await asyncio.to_thread(self._encoders.recorded, rules.encoder)
        anew = row.baseline != ground.key or row.state is None
        why = _why_anew(known, ground, rules) if anew and row.baseline else known.why_anew
        if anew:
            kept = await asyncio.to_thread(self._measured, ground, rules, encoder)
        else:
            kept = msgspec.msgpack.decode(row.state, type=Kept)
        runs, arrived = await self._arrived(version.project, rules, ground, None if anew else row.arrived)
        state = msgspec.structs.replace(
            first_state(version), status="idle", dataset=str(ground.suite.dataset.ref), rows=kept.baseline.rows,
            since_ns=self._now() if anew else known.since_ns, why_anew=why, looked_ns=self._now(),
        )  # fmt: skip
        state, findings = await asyncio.to_thread(self._watched, version, rules, kept, encoder, runs, state, anew)
        state = msgspec.structs.replace(state, judges=await self._judged(version.project, rules, ground, runs))
        return _Found(state, kept, findings, runs, arrived, ground.key, anew)

    def _measured(self, ground: Ground, rules: MonitorBody, encoder: Encoder) -> Kept:
        """The evaluation rows, measured."""
        rows = self._grounds.rows(ground)
        low, high = ground.suite.range(ground.suite.body.guards[0].name)
        texts = [r.text for r in rows]
        measured = build(rows, encoder.encode(texts), Instrument(encoder.digest), rules.seed, (low, high))
        return Kept(measured, {r.key: r.text[:SHOWN] for r in rows})

    async def _arrived(self, project: str, rules: MonitorBody, ground: Ground, cursor: str | None) -> tuple[list[tuple[Arrival, str]], str]:
        """Runs that came, each with what it was asked."""
        query = ArrivalQuery(project, rules.release, rules.service, None if rules.service else rules.environment, cursor, PAGE)
        found: list[tuple[Arrival, str]] = []
        while True:
            page = await self._traces.arrivals(query)
            for run in page.items:
                if run.receipt_ns >= ground.since_ns and (text := of_run(run.input, ground.schema)):
                    found.append((run, text))
            query.cursor = page.cursor
            if not page.more:
                return found, page.cursor

    def _watched(
        self,
        version: Version,
        rules: MonitorBody,
        kept: Kept,
        encoder: Encoder,
        runs: Sequence[tuple[Arrival, str]],
        state: MonitorState,
        anew: bool,
    ) -> tuple[MonitorState, Findings]:
        watch = Watch(kept.baseline, Settings(alpha=rules.error, unseen=rules.tolerance), kept.watch)
        inputs = [Input(r.trace_id, text, r.session or "", r.start_ns) for r, text in runs]
        watch.see(inputs, encoder.encode, Instrument(encoder.digest))
        kept.watch = watch.state()
        state = msgspec.structs.replace(state, look=watch.look())
        texts = partial(self._texts, version.project, version.name, {r.trace_id: (text, r.start_ns) for r, text in runs})
        said = dict[str, tuple[str, int]]()

        def spoken(ids: Sequence[str]) -> dict[str, str]:
            said.update(texts(ids))
            return {id: said[id][0] for id in ids if id in said}

        topics = tuple(
            TopicSeen(t, tuple(Exemplar(id, said[id][0][:SHOWN], said[id][1]) for id in t.exemplars if id in said))
            for t in watch.topics(spoken)
        )  # fmt: skip
        earlier = [] if anew else self._newest(version.project, version.name)
        newest = [*earlier, *(r.trace_id for r, _ in runs)][-MAPPED:]
        points, share = drawn(kept.baseline, kept.texts, texts(newest), encoder.encode, watch.unlike)
        return state, Findings(topics, points, share)

    def _newest(self, project: str, name: str) -> list[str]:
        """The last runs seen before, oldest first."""
        k = sightings.c
        with read(self._engine) as c:
            found = select(k.trace).where(k.project == project, k.monitor == name).order_by(k.place.desc()).limit(MAPPED)
            return list(c.execute(found).scalars())[::-1]

    def _texts(self, project: str, name: str, fresh: dict[str, tuple[str, int]], ids: Sequence[str]) -> dict[str, tuple[str, int]]:
        """What runs were asked and when: of those that just came, and of earlier ones."""
        found = {id: fresh[id] for id in ids if id in fresh}
        missing = [id for id in ids if id not in found]
        k = sightings.c
        with read(self._engine) as c:
            for start in range(0, len(missing), PAGE):
                some = missing[start : start + PAGE]
                rows = c.execute(select(k.trace, k.text, k.start_ns).where(k.project == project, k.monitor == name, k.trace.in_(some)))
                found |= {r.trace: (r.text, r.start_ns) for r in rows}
        return found

    async def _judged(
        self, project: str, rules: MonitorBody, ground: Ground, runs: Sequence[tuple[Arrival, str]]
    ) -> tuple[JudgeState, ...]:
        """Judge a sample of what came, and say what all judgements of the release in production show."""
        able = {n: v for n, v in ground.suite.evaluators.items() if can_judge(v) and (rules.judges is None or n in rules.judges)}
        if not able or not rules.sample or rules.service:
            return ()
        chosen = sampled((r for r, _ in runs), rules.sample)[-MOST_JUDGED:]
        await self._online.judge(project, rules.environment, chosen, able)
        release = str(ground.release)
        asked = ScoreQuery(project, rules.release, environment=rules.environment, monitors=True)
        seen = [s for s in await self._traces.scores(asked) if s.release == release]
        found = []
        for name, version in able.items():
            evaluator: EvaluatorBody = body(version)
            mine = [s for s in seen if s.evaluator == name]
            args = (evaluator.range, ground.evaluated.get(name), rules.margin, rules.error / len(able))
            found.append(await asyncio.to_thread(judged, name, mine, *args))
        return tuple(found)

    def _keep(self, project: str, row: Row[Any], version: Version, known: MonitorState, found: _Found) -> list[Noted]:
        """Keep a look, unless another was kept meanwhile. Returns what people are to be told."""
        m, at = monitors.c, self._now()
        here = (m.project == project, m.name == version.name)
        before = msgspec.json.decode(row.findings, type=Findings).topics if row.findings and not found.anew else ()
        with write(self._engine) as c:
            status = c.execute(select(m.status).where(*here, m.revision == row.revision)).scalar()
            if status is None:
                return []
            values = {
                "status": "paused" if status == "paused" else "idle", "revision": row.revision + 1, "baseline": found.key,
                "state": msgspec.msgpack.encode(found.kept), "arrived": found.arrived, "looked_ns": at, "body": encoded(found.state),
                "findings": encoded(found.findings),
            }  # fmt: skip
            c.execute(update(monitors).where(*here).values(**values))
            self._enter(c, project, version.name, found)
            if found.state.look:
                seen = {"digest": version.digest, "baseline": found.key, "at_ns": at, "body": encoded(found.state.look)}
                c.execute(insert(looks).values(id=uuid7(), project=project, monitor=version.name, **seen))
            told = found_events(project, known, found.state, before, found.findings.topics)
            return [self._alerts.note(c, event) for event in told]

    @staticmethod
    def _enter(c: Connection, project: str, name: str, found: _Found) -> None:
        """Remember what runs were asked, for as many as topics may be made of."""
        k = sightings.c
        here = (k.project == project, k.monitor == name)
        if found.anew:
            c.execute(delete(sightings).where(*here))
        place = c.execute(select(func.max(k.place)).where(*here)).scalar() or 0
        fresh = {run.trace_id: (run, text) for run, text in found.runs}
        known: set[str] = set()
        ids = list(fresh)
        for start in range(0, len(ids), PAGE):
            known |= set(c.execute(select(k.trace).where(*here, k.trace.in_(ids[start : start + PAGE]))).scalars())
        rows = [
            {"project": project, "monitor": name, "trace": run.trace_id, "place": number, "baseline": found.key, "start_ns": run.start_ns,
             "release": run.release, "session": run.session, "text": text[:KEPT_TEXT]}
            for number, (run, text) in enumerate((f for id, f in fresh.items() if id not in known), place + 1)
        ]  # fmt: skip
        if rows:
            c.execute(insert(sightings), rows)
        c.execute(delete(sightings).where(*here, k.place <= place + len(rows) - MOST_TEXTS))

    def _failed(self, project: str, row: Row[Any], known: MonitorState, error: WindlassError) -> None:
        """Keep why it could not look. What came stays where it is, for the next look."""
        m = monitors.c
        state = msgspec.structs.replace(known, problem=error.as_dict(), looked_ns=self._now())
        with write(self._engine) as c:
            here = (m.project == project, m.name == row.name)
            status = c.execute(select(m.status).where(*here)).scalar()
            c.execute(update(monitors).where(*here).values(status="paused" if status == "paused" else "idle", body=encoded(state)))
            told = [self._alerts.note(c, event) for event in found_events(project, known, state, (), ())]
        for noted in told:
            self._alerts.begin(noted)


def _why_anew(known: MonitorState, ground: Ground, rules: MonitorBody) -> str:
    """Why a watch begins anew, in a sentence."""
    now = str(ground.suite.dataset.ref)
    if known.dataset and known.dataset != now:
        before, after = (short(ref.rpartition("@")[2]) for ref in (known.dataset, now))
        return f"It began anew when production was let out by other rows: {before} → {after}."
    if known.look is None:
        return "It began anew with other rules."
    return "It began anew: what is compared, or how, is another than before."
