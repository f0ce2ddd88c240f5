"""Prompts for applications that render them by themselves."""

from __future__ import annotations

from typing import Any

import msgspec

from windlass.core.actor import Actor
from windlass.core.artifacts import PromptBody, Version
from windlass.core.errors import Invalid, NotFound
from windlass.core.operations.prompts import PromptQuery, PromptVersion
from windlass.core.ref import Ref, is_name, parse_ref
from windlass.govern.permissions import guard
from windlass.registry.datasets import Datasets
from windlass.registry.versions import Versions


class Prompts:
    """Service of prompts. Who may call an application may have the prompts it is made of."""

    def __init__(self, versions: Versions, datasets: Datasets) -> None:
        self._versions = versions
        self._datasets = datasets

    def get(self, actor: Actor, query: PromptQuery) -> PromptVersion:
        """Operation `prompts.get`: the version that a digest, a label or a number names; `production` is what production's release uses.
        Raises `Forbidden`, `NotFound`, `Invalid` for what is no prompt."""
        ref = parse_ref(query.ref, project=query.project, kind="prompt")
        guard(actor, "call", ref.project, f"{ref.kind}/{ref.name}")
        if ref.kind != "prompt":
            raise Invalid(f"{ref.short} is no prompt", where="ref", remedy="write prompt/name, with :label or @digest")
        if query.number is not None:
            ref = Ref(ref.kind, ref.name, self._numbered(ref, query.number), None, ref.project)
        exact = self._versions.resolve(ref)
        version = self._versions.get(exact.project, exact.kind, exact.name, exact.digest or "")
        body = msgspec.convert(version.body, PromptBody)
        there, labels = self._versions.in_order(exact)
        number = there.index(version.digest) + 1
        note, tags = version.neutral.get("message"), version.neutral.get("tags")
        said = {k: v for k, v in tags.items() if isinstance(v, str)} if isinstance(tags, dict) else {}
        examples = tuple(self._examples(version, body))
        return PromptVersion(str(exact), body, examples, number, len(there), labels, note if isinstance(note, str) else "", said)

    def ref_of(self, project: str, name: str, number: int) -> str | None:
        """The exact ref of a version by its number, from 1; None where there is none. For what is received, which asked for leave."""
        if not is_name(name):
            return None
        there, _ = self._versions.in_order(Ref("prompt", name, None, None, project))
        return str(Ref("prompt", name, there[number - 1], None, project)) if 0 < number <= len(there) else None

    def _numbered(self, ref: Ref, number: int) -> str:
        """The digest of the version with a number. Raises `Invalid`, `NotFound`."""
        if ref.digest or ref.label:
            raise Invalid(f"{ref.short} names a version already", where="number", remedy="give a number or a label, not both")
        there, _ = self._versions.in_order(ref)
        if not there or not 0 <= number <= len(there):
            what = f"has no version {number}" if there else "is not there"
            raise NotFound(f"prompt/{ref.name} {what}", remedy=f"it has 1 to {len(there)}" if there else "push it first")
        return there[number - 1]

    def _examples(self, version: Version, body: PromptBody) -> list[dict[str, Any]]:
        if body.fewshot is None:
            return []
        link = next((x for x in version.links if x.digest == body.fewshot), None)
        if link is None:
            raise NotFound(f"{version.ref.short} has no link to its examples", remedy="windlass verify")
        return list(self._datasets.rows(self._versions.get(version.project, link.kind, link.name, link.digest)))
