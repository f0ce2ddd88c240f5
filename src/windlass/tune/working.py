"""One tuning at work: files for its process, its reports kept as they come, its export proven in a fresh process and registered."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, delete, insert, update

from windlass.core.actor import Actor
from windlass.core.artifacts import AdapterBody, Link, Version, make_version
from windlass.core.digest import TAG
from windlass.core.errors import RunFailed, WindlassError
from windlass.core.ids import now_ns
from windlass.core.operations.tuning import Tune
from windlass.core.ref import Ref, parse_ref
from windlass.core.weights import CANARIES, LOCAL, Canary, Role, Weights, encode_weights, local_identity
from windlass.govern import audit
from windlass.registry.versions import Versions
from windlass.registry.weights import PREFIX, WeightsStore, manifest_of
from windlass.runtime.local import LocalModels
from windlass.store.blobs import BlobStore
from windlass.store.meta import write
from windlass.store.tables import tune_points, tunes
from windlass.tune.following import follow
from windlass.tune.inputs import Inputs
from windlass.tune.training.job import EXPORT, HELDOUT, TRAIN, Began, Exported, Job, Report, Row, Sampled, Saved, Stepped

Ended = Callable[[Connection, Tune, WindlassError], Callable[[], None]]
Save = Callable[[Tune], None]
SAMPLES = 60  # answers that are kept beside those from before and the newest


class Working:
    """Does the work of tunings.

    Args:
        models: where weights are laid out, and asked in fresh processes.
        threads: of one tuning.
        memory: bytes that one may take; 0 for what is free.
    """

    def __init__(
        self, engine: Engine, versions: Versions, weights: WeightsStore, blobs: BlobStore, models: LocalModels, threads: int, memory: int
    ) -> None:
        self._engine = engine
        self._versions = versions
        self._weights = weights
        self._blobs = blobs
        self._models = models
        self._threads = threads
        self._memory = memory

    async def run(self, actor: Actor, tune: Tune, made: Inputs, folder: Path, save: Save, wanted: Callable[[], bool]) -> None:
        """Train, prove, register. Raises what ends it."""
        job = await asyncio.to_thread(self._job, tune, made, folder)
        box = [tune]

        def told(report: Report) -> None:
            box[0] = self._told(box[0], report)
            save(box[0])

        exported = await follow(job, folder, told, wanted)
        if exported is None:
            return
        box[0] = msgspec.structs.replace(box[0], status="checking", step=box[0].steps, measure=exported.measure, weights=exported.weights)
        box[0].warnings = (*box[0].warnings, *(w for w in exported.warnings if w not in box[0].warnings))
        await asyncio.to_thread(save, box[0])
        base = await asyncio.to_thread(self._at, box[0].base)
        weights = await asyncio.to_thread(self._exported, box[0], base, exported, job.ask, folder / EXPORT)
        manifest = await asyncio.to_thread(self._blobs.put, encode_weights(weights))
        check = await self._models.check(f"{tune.request.name}@{manifest.removeprefix(TAG)[:6]}", manifest)
        if check.outcome != "same":
            raise RunFailed(
                f"the exported adapter, loaded in a fresh process: {check.why}", where=tune.request.name,
                remedy="it is not registered; a device or a library that repeats no result is the usual cause",
            )  # fmt: skip
        await asyncio.to_thread(self._register, actor, box[0], base, weights, manifest, check.why)

    def _at(self, ref: str) -> Version:
        found: Ref = parse_ref(ref)
        return self._versions.get(found.project, found.kind, found.name, found.digest or "")

    def _job(self, tune: Tune, made: Inputs, folder: Path) -> Job:
        """The process's files. Rows that lie there already stay as they are: were they changed, the run is not the same, and it says so."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "scratch").mkdir(exist_ok=True)
        for name, rows in ((TRAIN, made.train), (HELDOUT, made.heldout)):
            if not (folder / name).exists():
                _write(folder / name, rows)
        base = tuple(self._models.files.chain(manifest_of(self._at(tune.base)) or ""))
        reward = tuple(self._models.files.chain(manifest_of(self._at(tune.reward)) or "")) if tune.reward else ()
        return Job(
            tune.id, tune.request.method, tune.request.parameters, base, os.getpid(), reward, self._threads, self._memory,
            tune.fingerprint or None, tuple(r.turns[-1]["content"] for r in made.heldout[:CANARIES]),
        )  # fmt: skip

    def _told(self, tune: Tune, report: Report) -> Tune:
        """A tuning after a report."""
        replace = msgspec.structs.replace
        if isinstance(report, Began):
            with write(self._engine) as c:
                c.execute(delete(tune_points).where(tune_points.c.tune == tune.id, tune_points.c.step > report.resumed))
            return replace(
                tune, fingerprint=report.fingerprint, device=report.device, hardware=report.hardware, step=report.resumed,
                saved=report.resumed, warnings=(*tune.warnings, *report.notes),
                samples=tuple(s for s in tune.samples if s.step <= report.resumed and report.resumed),
            )  # fmt: skip
        if isinstance(report, Stepped):
            with write(self._engine) as c:
                c.execute(insert(tune_points).values(tune=tune.id, step=report.step, body=msgspec.json.encode(report.values).decode()))
            return replace(tune, step=report.step)
        if isinstance(report, Sampled):
            first = tuple(s for s in tune.samples if s.step == 0)
            return replace(tune, samples=(*first, *[s for s in tune.samples if s.step][-SAMPLES:], *report.items))
        return replace(tune, saved=report.step) if isinstance(report, Saved) else tune

    def _exported(self, tune: Tune, base: Version, exported: Exported, asked: tuple[str, ...], folder: Path) -> Weights:
        """The manifest of what was exported, its files kept as blobs."""
        files = {}
        for path in sorted(folder.iterdir()):
            with path.open("rb") as file:
                digest = TAG + hashlib.file_digest(file, "sha256").hexdigest()
            copy = folder.parent / f".{path.name}"
            shutil.copyfile(path, copy)
            self._blobs.put_file(copy, digest)
            files[path.name] = digest
        role: Role = "reward" if tune.request.method == "reward" else "adapter"
        canary = Canary(asked, exported.answers, exported.without, exported.device)
        licence = self._weights.weights(base).licence
        return Weights(role, files, licence, manifest_of(base) or "", canary)

    def _register(self, actor: Actor, tune: Tune, base: Version, weights: Weights, manifest: str, why: str) -> None:
        """The adapter, what can be called with it, and the end of the tuning: together or not at all."""
        request = tune.request
        body = AdapterBody(base.digest, manifest, request.method, msgspec.structs.asdict(request.parameters))
        data = parse_ref(tune.data)
        links = [
            Link("uses", base.kind, base.name, base.digest, "base"),
            Link("trained-on", data.kind, data.name, data.digest or "", "rows"),
        ]
        if tune.prompt:
            prompt = parse_ref(tune.prompt)
            links.append(Link("uses", prompt.kind, prompt.name, prompt.digest or "", "prompt"))
        if tune.reward:
            reward = parse_ref(tune.reward)
            links.append(Link("derived-from", reward.kind, reward.name, reward.digest or "", "reward"))
        neutral: dict[str, Any] = {
            "tune": tune.id, "method": request.method, "licence": weights.licence, "base": _named(base, manifest_of(base) or ""),
            "fingerprint": tune.fingerprint, "message": f"tuning {tune.id[-8:]} by {request.method}, licence {weights.licence}",
        }  # fmt: skip
        adapter = make_version("adapter", request.name, body, links=tuple(links), neutral=neutral, project=tune.project)
        with write(self._engine) as c:
            model = self._weights.keep(c, actor, adapter, weights, neutral)
            done = msgspec.structs.replace(
                tune, status="done", finished_ns=now_ns(), adapter=str(adapter.ref), canary=why, model=str(model.ref) if model else "",
                id_of_model=f"{LOCAL}/{local_identity(request.name, manifest)}" if model else "",
            )  # fmt: skip
            c.execute(update(tunes).where(tunes.c.id == tune.id).values(body=msgspec.json.encode(done).decode(), status="done"))
            audit.record(c, actor, "tune.done", tune.project, adapter.ref.short, tune=tune.id, data=tune.data)


def _named(version: Version, manifest: str) -> str:
    """Weights as people name them."""
    return f"{LOCAL}/{local_identity(version.name.removeprefix(PREFIX), manifest)}" if version.kind == "model" else version.ref.short


def _write(path: Path, rows: list[Row]) -> None:
    partial = path.with_name(f".{path.name}")
    partial.write_bytes(b"".join(msgspec.json.encode(r) + b"\n" for r in rows))
    partial.replace(path)
