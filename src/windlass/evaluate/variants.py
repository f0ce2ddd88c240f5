"""A target with another model: the same prompts, code, tools and documents, by new versions of all that reach the model.

A variant is what a push would make of the workspace with the other model written in it: the same bodies, so the same digests.
Whoever pushes it later finds its answers recorded. It is registered beside its original, and no label points to it, so that
nothing takes it for the newest.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Engine

from windlass.core.actor import Actor
from windlass.core.artifacts import BODIES, Link, ModelBody, Version, make_version
from windlass.core.errors import Invalid
from windlass.core.models import named, written
from windlass.registry.registration import register
from windlass.registry.versions import Versions
from windlass.store.meta import write

CALLS = ("component", "agent")  # kinds that name a model


class Part(NamedTuple):
    """A component or agent in a target, and the model it calls."""

    version: Version
    model: Link

    @property
    def name(self) -> str:
        return f"{self.version.kind}/{self.version.name}"


class Variants:
    """Makes variants of one target.

    Args:
        versions: the registry's.
        engine: where variants are registered.
        target: what runs now: a chain, an agent or a component.
        part: `component/name` of the one whose model changes; the only one by default. Raises `Invalid` when that is not clear.
    """

    def __init__(self, versions: Versions, engine: Engine, target: Version, part: str | None = None) -> None:
        self._versions = versions
        self._engine = engine
        self._target = target
        self._closure = versions.closure(target.ref)
        self.part = self._chosen(part)

    @property
    def model(self) -> str:
        """The id of the model the part calls now."""
        body: ModelBody = msgspec.convert(self._model.body, ModelBody)
        return written(body)

    @property
    def kinds(self) -> set[str]:
        """Of all that the target uses."""
        return {v.kind for v in self._closure}

    @property
    def structured(self) -> bool:
        """Whether the part's answers must fit a schema."""
        prompt = next((v for v in self._closure if v.kind == "prompt" and v.digest == self.part.version.body["prompt"]), None)
        return bool(self.part.version.body.get("output") or (prompt and prompt.body.get("output")))

    @property
    def _model(self) -> Version:
        return next(v for v in self._closure if v.digest == self.part.model.digest and v.kind == self.part.model.kind)

    def make(self, actor: Actor, model: str, why: str) -> Version:
        """The target with `model` in the part, registered. The target itself where that is its model."""
        new = model_version(model, self._target.project)
        if new.digest == self._model.digest:
            return self._target
        replaced: dict[tuple[str, str], Version] = {(self._model.kind, self._model.digest): new}
        made = self._with(self._target, replaced, why)
        with write(self._engine) as c:
            for version in replaced.values():
                register(c, actor, version, snapshot=self._snapshot(version))
        return made

    def _with(self, version: Version, replaced: dict[tuple[str, str], Version], why: str) -> Version:
        """A version with all that reaches the model through the part replaced; itself where nothing does."""
        key = (version.kind, version.digest)
        if key in replaced:
            return replaced[key]
        links, swapped = [], {}
        for link in version.links:
            if link.relation == "uses" and self._reaches(link, version):
                other = self._with(self._part(link), replaced, why)
                swapped[link.digest] = other.digest
                link = Link(link.relation, other.kind, other.name, other.digest, link.role)
            links.append(link)
        if not swapped:
            return version
        body = msgspec.convert(_with_digests(version.body, swapped), BODIES[version.kind])
        neutral = {**version.neutral, "variant_of": version.digest, "made_for": why}
        made = make_version(version.kind, version.name, body, links=tuple(links), neutral=neutral, project=version.project)
        replaced[key] = made
        return made

    def _reaches(self, link: Link, version: Version) -> bool:
        """Whether a link leads to the part, or from the part to its model."""
        if version.ref == self.part.version.ref:
            return link == self.part.model
        part = self._part(link)
        return part.ref == self.part.version.ref or any(k.relation == "uses" and self._reaches(k, part) for k in part.links)

    def _part(self, link: Link) -> Version:
        return next(v for v in self._closure if (v.kind, v.name, v.digest) == (link.kind, link.name, link.digest))

    def _snapshot(self, version: Version) -> str | None:
        """The snapshot its original's code runs from."""
        original = version.neutral.get("variant_of")
        return self._versions.snapshot(version.project, version.kind, version.name, original) if original else None

    def _chosen(self, given: str | None) -> Part:
        where = self._target.ref.short
        parts = [Part(v, next(k for k in v.links if k.role == "model")) for v in self._closure if v.kind in CALLS]
        parts = [p for p in parts if p.model.kind == "model"]  # a tuned model is no choice among models
        names = sorted(p.name for p in parts)
        if not parts:
            raise Invalid(f"{where} calls no model of a provider, so there is none to choose", remedy="name another suite")
        if given is None and len(parts) > 1:
            raise Invalid(f"{where} calls models in {', '.join(names)}", remedy=f"say which one is to change: --part {names[0]}")
        found = next((p for p in parts if given in (None, p.name, p.version.name)), None)
        if found is None:
            raise Invalid(f"{where} has no part {given!r} that calls a model", remedy="it has " + ", ".join(names))
        return found


def model_version(model: str, project: str) -> Version:
    """The version of a model by its id, as a push would make it. Raises `Invalid`."""
    name, body, description = named(model)
    return make_version("model", name, body, neutral={"description": description} if description else {}, project=project)


def _with_digests(value: Any, swapped: dict[str, str], field: str = "") -> Any:
    """A body with digests replaced. `uses` stays sorted, as it is where it is identity."""
    if isinstance(value, str):
        return swapped.get(value, value)
    if isinstance(value, dict):
        return {k: _with_digests(v, swapped, k) for k, v in value.items()}
    if isinstance(value, list):
        changed = [_with_digests(v, swapped) for v in value]
        return sorted(changed) if field == "uses" else changed
    return value
