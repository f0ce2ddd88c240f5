"""The service of tunings: what is asked is checked and kept before it begins; the work goes on from its last whole checkpoint after a
crash; what comes of it is registered only when it answers in a fresh process as it did where it was trained.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, insert, select, update

from windlass.core.actor import Actor
from windlass.core.artifacts import Version
from windlass.core.errors import Conflict, Invalid, StoreAway, WindlassError
from windlass.core.ids import now_ns, uuid7
from windlass.core.operations.evaluation import IdQuery
from windlass.core.operations.tuning import Points, PointsQuery, Tune, TunePage, TunePoint, TuneQuery, TuneRequest
from windlass.core.ref import Ref, check_name, parse_ref
from windlass.evaluate.experiments import read_suite
from windlass.evaluate.outcomes import whole_id
from windlass.govern.permissions import guard
from windlass.jobs.work import Jobs
from windlass.registry.datasets import Datasets
from windlass.registry.versions import Versions
from windlass.registry.weights import WeightsStore
from windlass.runtime.local.environment import need_torch
from windlass.store.meta import read, write
from windlass.store.tables import tune_points, tunes, versions
from windlass.tune.following import is_held
from windlass.tune.inputs import Inputs, prepare, refuse_leaks
from windlass.tune.working import Ended, Working

REINFORCED = ("grpo", "rloo")
OPEN = ("queued", "running", "checking")


class Tunes:
    """Service of tunings. Starting one is quick; `run` does the work, in the process that works.

    Args:
        folder: where each has its files, `<id>/`.
        working: how the work is done.
        ended: told in the transaction in which a tuning ends badly; returns what is to be done after it.
    """

    def __init__(
        self, engine: Engine, found: Versions, datasets: Datasets, weights: WeightsStore, jobs: Jobs, folder: Path, working: Working,
        ended: Ended,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._versions = found
        self._datasets = datasets
        self._weights = weights
        self._jobs = jobs
        self._folder = folder
        self._working = working
        self._ended = ended

    def start(self, actor: Actor, request: TuneRequest) -> Tune:
        """Operation `tune.start`. Raises `NotFound`; `Invalid` for rows or parameters that cannot be tuned with; `Conflict` for rows that
        a suite tests with; `Unavailable` without PyTorch."""
        guard(actor, "run", request.project)
        need_torch("nothing can be tuned here")
        check_name(request.name)
        _check(request)
        base = self._weights.find(request.base, request.project)
        if self._weights.weights(base).role == "reward":
            raise Invalid("a reward model is not tuned further", where=base.ref.short, remedy="name what it was made of")
        reward = self._reward(request)
        data = self._version(request.data, request.project, "dataset")
        prompt = self._version(request.prompt, request.project, "prompt") if request.prompt else None
        made = prepare(self._datasets.rows(data), request, data.ref.short, prompt)
        refuse_leaks(made.raw, sorted(prompt.body["inputs"]) if prompt else [request.question], self._tests(request))
        tune = Tune(
            id=uuid7(), project=request.project, request=request, status="queued", created_ns=now_ns(), base=str(base.ref),
            data=str(data.ref), reward=str(reward.ref) if reward else None, prompt=str(prompt.ref) if prompt else None,
            rows=len(made.train), heldout_rows=len(made.heldout), steps=request.parameters.steps, actor=actor.id,
        )  # fmt: skip
        with write(self._engine) as c:
            c.execute(
                insert(tunes).values(
                    id=tune.id, project=tune.project, name=request.name, actor=_text(actor), body=_text(tune), status=tune.status,
                    created_ns=tune.created_ns,
                )
            )  # fmt: skip
            self._jobs.hand_over(c, "tune", tune.project, tune.id)
        self._jobs.begin("tune", tune.project, tune.id)
        return tune

    def _reward(self, request: TuneRequest) -> Version | None:
        if request.method not in REINFORCED:
            if request.reward:
                raise Invalid(f"{request.method} takes no reward model", remedy="leave --reward out")
            return None
        if not request.reward:
            raise Invalid(f"{request.method} needs a reward model", remedy="windlass tune reward makes one; name it with --reward")
        found = self._weights.find(request.reward, request.project)
        if self._weights.weights(found).role != "reward":
            raise Invalid(f"{found.ref.short} is no reward model", remedy="windlass tune reward makes one")
        return found

    def _version(self, text: str, project: str, kind: str) -> Version:
        ref = self._versions.resolve(parse_ref(text, project=project, kind=kind))
        return self._versions.get(ref.project, ref.kind, ref.name, ref.digest or "")

    def inputs(self, tune: Tune) -> Inputs:
        """The rows of a tuning, the same each time: of the versions that it began with."""
        data = self._version(tune.data, tune.project, "dataset")
        prompt = self._version(tune.prompt, tune.project, "prompt") if tune.prompt else None
        return prepare(self._datasets.rows(data), tune.request, data.ref.short, prompt)

    def _tests(self, request: TuneRequest) -> list[tuple[str, list[dict[str, Any]]]]:
        names = [parse_ref(s, project=request.project, kind="suite") for s in request.suites]
        if not names:
            v = versions.c
            with read(self._engine) as c:
                found = c.execute(select(v.name).where(v.project == request.project, v.kind == "suite").distinct()).scalars()
                names = [Ref("suite", name, None, None, request.project) for name in sorted(found)]
        suites = [read_suite(self._versions, ref) for ref in names]
        return [(s.version.ref.short, list(self._datasets.rows(s.dataset, s.body.split))) for s in suites]

    def show(self, actor: Actor, query: IdQuery) -> Tune:
        """Operation `tune.show`. Raises `NotFound`, `Invalid` when ambiguous."""
        guard(actor, "read", query.project)
        with read(self._engine) as c:
            return self._find(c, query)

    def _find(self, c: Connection, query: IdQuery) -> Tune:
        """By its id or a part of it; by a name, the newest of it."""
        t = tunes.c
        named = select(t.body).where(t.project == query.project, t.name == query.id).order_by(t.id.desc()).limit(1)
        if (body := c.execute(named).scalar_one_or_none()) is None:
            id = whole_id(c, tunes, query.project, query.id, "tuning")
            body = c.execute(select(t.body).where(t.id == id)).scalar_one()
        return _decode(body)

    def list(self, actor: Actor, query: TuneQuery) -> TunePage:
        """Operation `tune.list`: newest first."""
        guard(actor, "read", query.project)
        t = tunes.c
        found = select(t.body).where(t.project == query.project)
        found = found.where(t.name == query.name) if query.name else found
        found = found.where(t.id < query.cursor) if query.cursor else found
        with read(self._engine) as c:
            bodies = list(c.execute(found.order_by(t.id.desc()).limit(query.limit + 1)).scalars())
        items = tuple(_decode(b) for b in bodies[: query.limit])
        return TunePage(items=items, next=items[-1].id if len(bodies) > query.limit else None)

    def points(self, actor: Actor, query: PointsQuery) -> Points:
        """Operation `tune.points`: figures of the steps after one, in order."""
        guard(actor, "read", query.project)
        p = tune_points.c
        with read(self._engine) as c:
            tune = self._find(c, IdQuery(query.id, query.project))
            found = c.execute(select(p.step, p.body).where(p.tune == tune.id, p.step > query.after).order_by(p.step)).all()
        items = tuple(TunePoint(r.step, msgspec.json.decode(r.body, type=dict[str, float])) for r in found)
        return Points(tune.id, tune.status, tune.step, items)

    def cancel(self, actor: Actor, query: IdQuery) -> Tune:
        """Operation `tune.cancel`: its process is ended; its checkpoints stay. Raises `Conflict` for one that has ended."""
        guard(actor, "run", query.project)
        with write(self._engine) as c:
            tune = self._find(c, query)
            if tune.status not in OPEN:
                raise Conflict(f"this tuning is {tune.status}; there is nothing to cancel", where=tune.id[-8:])
            tune = msgspec.structs.replace(tune, status="cancelled", finished_ns=now_ns())
            _keep(c, tune)
        return tune

    def resume(self, actor: Actor, query: IdQuery) -> Tune:
        """Operation `tune.resume`: go on from the last whole checkpoint. Raises `Conflict` for one that is done, or being worked on."""
        guard(actor, "run", query.project)
        need_torch("nothing can be tuned here")
        with write(self._engine) as c:
            tune = self._find(c, query)
            if tune.status == "done":
                raise Conflict("this tuning is done", where=tune.id[-8:], remedy="start a new one")
            if tune.status in OPEN and is_held(self._folder / tune.id):
                raise Conflict("this tuning is being worked on", where=tune.id[-8:], remedy="cancel it first")
            number = tune.resumed + 1
            tune = msgspec.structs.replace(tune, status="queued", resumed=number, error=None, finished_ns=None)
            _keep(c, tune)
            self._jobs.hand_over(c, "tune", tune.project, f"{tune.id} {number}")
        self._jobs.begin("tune", tune.project, f"{tune.id} {number}")
        return tune

    async def run(self, project: str, id: str) -> None:
        """Bring a tuning, with whose id `id` begins, to its end, or to an error that it keeps. Goes on where it was cut off."""
        id, _, number = id.partition(" ")
        with read(self._engine) as c:
            row = c.execute(select(tunes.c.body, tunes.c.actor).where(tunes.c.id == id)).one()
        tune, actor = _decode(row.body), msgspec.json.decode(row.actor, type=Actor)
        if tune.status not in OPEN or tune.resumed != int(number or 0):  # whoever goes on with it is another piece of work
            return
        box = [msgspec.structs.replace(tune, status="running", started_ns=tune.started_ns or now_ns())]

        def save(changed: Tune) -> None:
            box[0] = changed
            with write(self._engine) as c:
                if _is_wanted(c, changed):
                    _keep(c, changed)

        def wanted() -> bool:
            with read(self._engine) as c:
                return _is_wanted(c, box[0])

        try:
            await asyncio.to_thread(save, box[0])
            made = await asyncio.to_thread(self.inputs, tune)
            folder = self._folder / id
            await self._working.run(actor, box[0], made, folder, save, wanted)
            await asyncio.to_thread(_tidy, folder)
        except StoreAway:
            raise  # it is begun again
        except WindlassError as e:
            await asyncio.to_thread(self._fail, box[0], e)
        except Exception as e:
            defect = WindlassError(f"a defect in Windlass ended it: {type(e).__name__}", remedy="the log of `jobs` says more")
            await asyncio.to_thread(self._fail, box[0], defect)
            raise

    def _fail(self, tune: Tune, error: WindlassError) -> None:
        failed = msgspec.structs.replace(tune, status="failed", error=error.as_dict(), finished_ns=now_ns())
        with write(self._engine) as c:
            if not _is_wanted(c, tune):
                return
            _keep(c, failed)
            after = self._ended(c, failed, error)
        after()


def _check(request: TuneRequest) -> None:
    p = request.parameters
    if request.method in REINFORCED and p.batch % p.generations:
        raise Invalid(
            f"a batch of {p.batch} answers is no multiple of {p.generations} answers to a prompt",
            where="--batch", remedy=f"--batch {max(1, p.batch // p.generations) * p.generations}",
        )  # fmt: skip
    if p.learning_rate is not None and not p.learning_rate > 0:
        raise Invalid("the learning rate must be above 0", where="--learning-rate")


def _tidy(folder: Path) -> None:
    """What is registered needs no folder; the log stays."""
    for name in ("checkpoints", "export", "scratch"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _is_wanted(c: Connection, tune: Tune) -> bool:
    """Whether nobody has cancelled this work, or gone on with the tuning in another."""
    now = _decode(c.execute(select(tunes.c.body).where(tunes.c.id == tune.id)).scalar_one())
    return now.status != "cancelled" and now.resumed == tune.resumed


def _keep(c: Connection, tune: Tune) -> None:
    c.execute(update(tunes).where(tunes.c.id == tune.id).values(body=_text(tune), status=tune.status))


def _decode(body: str) -> Tune:
    return msgspec.json.decode(body, type=Tune)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
