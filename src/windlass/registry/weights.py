"""Weights in the registry: a folder of files becomes a manifest and a version; what was tuned here becomes an adapter and a model.

A callable set of weights is a version of `model/local--<name>` whose body holds the manifest's digest, so a component names it as it
names any model. What it was trained on stands in its links, and the gate leaves those rows out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, select

from windlass.core.actor import Actor
from windlass.core.artifacts import AdapterBody, Link, ModelBody, Version, make_version
from windlass.core.digest import TAG
from windlass.core.errors import Invalid, NotFound
from windlass.core.models import named
from windlass.core.operations.weights import WeightsAdd, WeightsPage, WeightsQuery, WeightsShow, WeightsState
from windlass.core.ref import Ref, check_name, parse_ref
from windlass.core.weights import LOCAL, Shape, Weights, check_path, decode_weights, encode_weights, local_identity, read_header
from windlass.govern import audit
from windlass.govern.permissions import guard
from windlass.registry import labels
from windlass.registry.registration import register
from windlass.registry.versions import Versions, fetch
from windlass.store.blobs import BlobStore
from windlass.store.meta import read, write
from windlass.store.tables import versions

MAIN = "main"
PREFIX = f"{LOCAL}--"
HEADER_BYTES = 2**20


class WeightsStore:
    """Service of weights."""

    def __init__(self, engine: Engine, found: Versions, blobs: BlobStore) -> None:
        self._engine = engine
        self._versions = found
        self._blobs = blobs

    def add(self, actor: Actor, asked: WeightsAdd) -> WeightsState:
        """Operation `weights.add`. Raises `Invalid` for files that were not uploaded, are no model, or could run something."""
        guard(actor, "write", asked.project)
        check_name(asked.name)
        if not asked.licence.strip():
            raise Invalid("weights need a licence", where=asked.name, remedy="--licence Apache-2.0, or what their card says")
        self._check_files(asked)
        weights = Weights("model", dict(sorted(asked.files.items())), asked.licence.strip())
        manifest = self._blobs.put(encode_weights(weights))
        neutral = {"description": asked.description, "source": asked.source, "licence": weights.licence}
        version = model_of(asked.name, manifest, asked.project, {k: v for k, v in neutral.items() if v})
        with write(self._engine) as c:
            register(c, actor, version)
            point(c, actor, version)
            audit.record(c, actor, "weights.add", asked.project, version.ref.short, licence=weights.licence)
        return self._state(version)

    def _check_files(self, asked: WeightsAdd) -> None:
        for path in asked.files:
            check_path(path)
        if gone := self._blobs.missing(asked.files.values()):
            path = next(p for p, d in asked.files.items() if d == gone[0])
            raise Invalid(f"the bytes of {path} were not uploaded", where=asked.name)
        tensors = [p for p in asked.files if p.endswith(".safetensors")]
        if not tensors:
            raise Invalid("there is no safetensors file among these", where=asked.name, remedy="save the model with safetensors")
        for needed in ("config.json", "tokenizer.json"):
            if needed not in asked.files:
                raise Invalid(f"there is no {needed} among these files", where=asked.name, remedy="save model and tokenizer in one folder")
        for path in tensors:
            self.shape(asked.files[path], path)

    def shape(self, digest: str, where: str) -> Shape:
        """What a safetensors file holds. Raises `Invalid` for one that was cut off."""
        path = self._blobs.local(digest)
        with path.open("rb") as file:
            start = file.read(HEADER_BYTES)
            length = int.from_bytes(start[:8], "little") + 8
            if HEADER_BYTES < length <= path.stat().st_size:
                start += file.read(length - HEADER_BYTES)
        return read_header(start, path.stat().st_size, where)

    def keep(self, c: Connection, actor: Actor, adapter: Version, weights: Weights, neutral: dict[str, Any]) -> Version | None:
        """Register what was tuned, in the transaction that says so: the adapter, and what can be called with it; None for a reward
        model, which answers nobody."""
        register(c, actor, adapter)
        point(c, actor, adapter)
        if weights.role == "reward":
            return None
        links = [Link("derived-from", "adapter", adapter.name, adapter.digest, "adapter")]
        links += [k for k in adapter.links if k.relation == "trained-on"]
        model = model_of(adapter.name, str(adapter.body["weights"]), adapter.project, neutral, links)
        register(c, actor, model)
        point(c, actor, model)
        return model

    def list(self, actor: Actor, query: WeightsQuery) -> WeightsPage:
        """Operation `weights.list`: newest first."""
        guard(actor, "read", query.project)
        v = versions.c
        local = v.name.startswith(PREFIX, autoescape=True)
        found = select(v.kind, v.name, v.digest, v.created_ns).where(
            v.project == query.project, ((v.kind == "model") & local) | (v.kind == "adapter")
        )
        if query.cursor:
            if not query.cursor.isdigit():
                raise Invalid("this cursor is not one of ours", remedy="start from the first page")
            found = found.where(v.created_ns < int(query.cursor))
        with read(self._engine) as c:
            rows = c.execute(found.order_by(v.created_ns.desc()).limit(query.limit + 1)).all()
            known = [fetch(c, Ref(r.kind, r.name, r.digest, None, query.project)) for r in rows[: query.limit]]
        # a tuned model is shown once, as what can be called
        states = [self._state(x) for x in known]
        shown = tuple(s for s, x in zip(states, known, strict=True) if x.kind == "model" or s.role == "reward")
        return WeightsPage(items=shown, next=str(rows[query.limit - 1].created_ns) if len(rows) > query.limit else None)

    def show(self, actor: Actor, query: WeightsShow) -> WeightsState:
        """Operation `weights.show`. Raises `NotFound`."""
        guard(actor, "read", query.project)
        return self._state(self.find(query.which, query.project))

    def find(self, which: str, project: str) -> Version:
        """The version that an id, a ref or a name means. Raises `NotFound`, `Invalid`."""
        if which.startswith(f"{LOCAL}/") and len(which.partition("@")[2]) == 64:
            name, body, _ = named(which)
            wanted = make_version("model", name, body, project=project)
            return self._versions.get(project, "model", name, wanted.digest)
        which = which.removeprefix(f"{LOCAL}/")
        if "/" in which:
            ref = parse_ref(which, project=project)
        else:
            name, at, digits = which.partition("@")
            if at:
                return self._by_digits(name, digits, project)
            ref = self._newest(name, project)
        ref = self._versions.resolve(ref)
        version = self._versions.get(ref.project, ref.kind, ref.name, ref.digest or "")
        if manifest_of(version) is None:
            raise Invalid(f"{version.ref.short} has no weights here", remedy="windlass weights list")
        return version

    def _newest(self, name: str, project: str) -> Ref:
        try:
            return self._versions.resolve(Ref("model", PREFIX + name, None, None, project))
        except NotFound:
            try:
                return self._versions.resolve(Ref("adapter", name, None, None, project))
            except NotFound:
                raise NotFound(
                    f"there are no weights {name!r} here", remedy="windlass weights list, or bring them: windlass weights add"
                ) from None

    def _by_digits(self, name: str, digits: str, project: str) -> Version:
        """By the first digits of the manifest's digest."""
        v = versions.c
        with read(self._engine) as c:
            rows = c.execute(
                select(v.kind, v.name, v.digest).where(
                    v.project == project, v.name.in_([PREFIX + name, name]), v.kind.in_(["model", "adapter"])
                )
            ).all()
            found = [fetch(c, Ref(r.kind, r.name, r.digest, None, project)) for r in rows]
        fit = {m: x for x in found if (m := manifest_of(x)) and m.removeprefix(TAG).startswith(digits) and len(digits) >= 4}
        if len(fit) != 1:
            raise NotFound(f"{len(fit) or 'no'} weights are {name}@{digits}", remedy="windlass weights list says all digits")
        return next(iter(fit.values()))

    def weights(self, version: Version) -> Weights:
        """The manifest of a version that has one."""
        return self.manifest(manifest_of(version) or "")

    def manifest(self, digest: str) -> Weights:
        """Raises `NotFound` where it is not here, `Invalid` for what is none."""
        return decode_weights(self._blobs.get(digest), digest)

    def sizes(self, weights: Weights) -> tuple[int, int]:
        """Bytes of all files, and how many numbers the tensors have."""
        shapes = [self.shape(d, p) for p, d in weights.files.items() if p.endswith(".safetensors")]
        return sum(self._blobs.local(d).stat().st_size for d in weights.files.values()), sum(s.numbers for s in shapes)

    def _state(self, version: Version) -> WeightsState:
        manifest = manifest_of(version) or ""
        weights = self.manifest(manifest)
        size, numbers = self.sizes(weights)
        with read(self._engine) as c:
            t = versions.c
            at = c.execute(
                select(t.created_ns).where(
                    t.project == version.project, t.kind == version.kind, t.name == version.name, t.digest == version.digest
                )
            ).scalar_one()
        name = version.name.removeprefix(PREFIX)
        trained = tuple(
            sorted(str(Ref(k.kind, k.name, k.digest, None, version.project)) for k in version.links if k.relation == "trained-on")
        )
        said = version.neutral
        return WeightsState(
            ref=str(version.ref), name=name, role=weights.role, manifest=manifest, licence=weights.licence, files=weights.files, size=size,
            numbers=numbers, created_ns=at, id="" if weights.role == "reward" else f"{LOCAL}/{local_identity(name, manifest)}",
            base=str(said.get("base", "")), method=str(said.get("method", "")), description=str(said.get("description", "")),
            source=str(said.get("source", "")), trained_on=trained, tune=str(said.get("tune", "")), checked=weights.canary is not None,
        )  # fmt: skip


def point(c: Connection, actor: Actor, version: Version) -> None:
    """Have `main` name this version."""
    before = labels.current(c, version.ref, MAIN)
    if before != version.digest:
        labels.move_label(c, actor, version.ref, MAIN, before, how="branch")


def model_of(name: str, manifest: str, project: str, neutral: dict[str, Any], links: Sequence[Link] = ()) -> Version:
    """The model that these weights are, as a push that names it would make it."""
    artifact, body, _ = named(f"{LOCAL}/{local_identity(name, manifest)}")
    return make_version("model", artifact, body, links=tuple(links), neutral=neutral, project=project)


def manifest_of(version: Version) -> str | None:
    """The digest of the manifest a version's weights have; None for one without."""
    if version.kind == "adapter":
        return msgspec.convert(version.body, AdapterBody).weights
    if version.kind == "model" and version.body.get("provider") == LOCAL:
        return TAG + msgspec.convert(version.body, ModelBody).model.rpartition("@")[2]
    return None
