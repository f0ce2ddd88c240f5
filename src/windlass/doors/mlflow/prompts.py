"""Prompts as MLflow's SDKs register and load them: a prompt is a registered model of theirs, a version a model's. A version's number is by
when it came, from 1; the same text again is the same version.

    …    /api/2.0/mlflow/registered-models/create, get, search      a prompt is there from its first version on
    …    /api/2.0/mlflow/model-versions/create, get, search
    …    /api/2.0/mlflow/registered-models/alias                    GET, POST: a label; `latest` is the newest
    …    /api/2.0/mlflow/registered-models/set-tag                  what its newest version says already; of experiments it is anyway
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.routing import Route

from windlass.core.actor import Actor
from windlass.core.digest import canonical
from windlass.core.errors import Invalid, NotFound
from windlass.core.operations.prompts import GET, PromptQuery, PromptVersion
from windlass.core.operations.registry import (
    ARTIFACTS,
    MOVE_LABEL,
    PUSH,
    VERSIONS,
    ArtifactQuery,
    Bundle,
    LabelMove,
    VersionQuery,
    VersionSummary,
)  # fmt: skip
from windlass.core.ref import check_label, check_name, parse_ref
from windlass.doors.mlflow.door import V2, Asked, Door, Taken, cursor_in, number_in, text_in
from windlass.sdk.importing.mlflow_prompts import EXPERIMENTS, IS_PROMPT, tags_in, tags_of, version_of
from windlass.traces.mlflow_search import Clause, clauses

LATEST = "latest"
AT_ONCE, MOST = 100, 200  # prompts, or versions, of one answer


class Prompts:
    """A part of the door."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def routes(self) -> list[Route]:
        models, versions, route = f"{V2}/registered-models", f"{V2}/model-versions", self._door.route
        return [
            route("POST", f"{models}/create", self._create, "write"),
            route("GET", f"{models}/get", self._model),
            route("GET", f"{models}/search", self._models),
            route("POST", f"{models}/set-tag", self._set_tag),
            route("GET", f"{models}/alias", self._by_alias),
            route("POST", f"{models}/alias", self._set_alias, "write"),
            route("POST", f"{versions}/create", self._create_version, "write"),
            route("GET", f"{versions}/get", self._version),
            route("GET", f"{versions}/search", self._versions),
        ]

    async def _create(self, actor: Actor, asked: Asked) -> Any:
        """Nothing is kept of it: its tags come again with its first version."""
        name = check_name(text_in(asked, "name"), what="name of a prompt")
        _only_prompts(tags_in(asked.get("tags")))
        try:
            await self._found(actor, name)
        except NotFound:
            return {"registered_model": {"name": name, "tags": asked.get("tags") or []}}
        raise Taken(f"prompt/{name} is there already", where="name", remedy="register a version of it")

    async def _model(self, actor: Actor, asked: Asked) -> Any:
        name = text_in(asked, "name")
        return {"registered_model": _model(name, (await self._found(actor, name)).tags)}

    async def _models(self, actor: Actor, asked: Asked) -> Any:
        search = ""
        for c in clauses(str(asked.get("filter") or "")):
            search = _named(c) or search
        query = ArtifactQuery(actor.project, "prompt", search or None, cursor_in(asked), number_in(asked, "max_results", AT_ONCE, MOST))
        page, found = await self._door.ask(ARTIFACTS, actor, query), []
        for one in page.items:
            if all(_fits(c, one.name) for c in clauses(str(asked.get("filter") or ""))):
                about = {"description": one.description, "last_updated_timestamp": one.updated_ns // 10**6}
                found.append(_model(one.name, (await self._found(actor, one.name)).tags) | about)
        return {"registered_models": found, **({"next_page_token": page.next} if page.next else {})}

    async def _set_tag(self, actor: Actor, asked: Asked) -> Any:
        key, found = text_in(asked, "key"), await self._found(actor, text_in(asked, "name"))
        if key != EXPERIMENTS and found.tags.get(key) != asked.get("value"):
            remedy = "leave it out, or register a version with another text and this tag"
            raise Invalid("tags are a version's here, and stay as they came", where=f"tags.{key[:60]}", remedy=remedy)
        return {}

    async def _create_version(self, actor: Actor, asked: Asked) -> Any:
        name, tags = check_name(text_in(asked, "name"), what="name of a prompt"), tags_in(asked.get("tags"))
        _only_prompts(tags)
        try:
            version = version_of(name, tags, str(asked.get("description") or ""), actor.project)
        except Invalid as e:
            remedy = f"write it as prompts/{name}.md of a workspace, and push that"
            raise Invalid(f"this is no prompt that can be kept here: {e.message}", where=e.where or "tags", remedy=remedy) from e
        snapshot = await asyncio.to_thread(self._door.platform.blobs.put, canonical({}))
        await self._door.ask(PUSH, actor, Bundle(actor.project, "mlflow", (version,), snapshot))
        return {"model_version": _told(name, await self._found(actor, f"{name}@{version.digest}"))}

    async def _version(self, actor: Actor, asked: Asked) -> Any:
        name, number = text_in(asked, "name"), number_in(asked, "version", 0, 10**9)
        return {"model_version": _told(name, await self._found(actor, name, number))}

    async def _by_alias(self, actor: Actor, asked: Asked) -> Any:
        name, alias = text_in(asked, "name"), text_in(asked, "alias")
        found = await (self._found(actor, name) if alias == LATEST else self._found(actor, f"{name}:{check_label(alias)}", None))
        told = _told(name, found)
        return {"model_version": told | {"aliases": sorted({*told["aliases"], alias})}}

    async def _set_alias(self, actor: Actor, asked: Asked) -> Any:
        name, alias = text_in(asked, "name"), check_label(text_in(asked, "alias"))
        if alias == LATEST:
            raise Invalid("this is the newest version, and moves by itself", where="alias", remedy="take another name")
        to = parse_ref((await self._found(actor, name, number_in(asked, "version", 0, 10**9))).ref)
        page = await self._door.ask(VERSIONS, actor, VersionQuery(f"prompt/{name}", actor.project, limit=1))
        await self._door.ask(MOVE_LABEL, actor, LabelMove(f"prompt/{name}:{alias}", to.digest or "", page.labels.get(alias), actor.project))
        return {}

    async def _versions(self, actor: Actor, asked: Asked) -> Any:
        """Of one prompt, the newest first."""
        asks = clauses(str(asked.get("filter") or ""))
        name = next((str(c.value) for c in asks if (c.room, c.key, c.op) == ("", "name", "=")), "")
        if not name or any(c.key not in ("name", IS_PROMPT) for c in asks):
            raise Invalid("versions are told of one prompt, by its name", where="filter", remedy="write name = 'answer'")
        query = VersionQuery(f"prompt/{check_name(name)}", actor.project, cursor_in(asked), number_in(asked, "max_results", AT_ONCE, MOST))
        page = await self._door.ask(VERSIONS, actor, query)
        found = [(one, await self._found(actor, f"{name}@{one.digest}")) for one in page.items]
        told = [_told(name, version, one) for one, version in found]
        return {"model_versions": told, **({"next_page_token": page.next} if page.next else {})}

    async def _found(self, actor: Actor, name: str, number: int | None = 0) -> PromptVersion:
        """By name and number, where 0 is the newest, or by a ref without its kind."""
        if "@" in name or number is None:
            return await self._door.ask(GET, actor, PromptQuery(f"prompt/{name}", actor.project))
        return await self._door.ask(GET, actor, PromptQuery(f"prompt/{check_name(name)}", actor.project, number=number))


def _only_prompts(tags: dict[str, str]) -> None:
    if tags.get(IS_PROMPT) != "true":
        remedy = "models are artifacts of a workspace: docs/models.md"
        raise Invalid("models are not registered by MLflow's interface here, prompts are", where="tags", remedy=remedy)


def _model(name: str, tags: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "tags": _pairs({**tags, IS_PROMPT: "true"})}


def _told(name: str, found: PromptVersion, about: VersionSummary | None = None) -> dict[str, Any]:
    at = {"creation_timestamp": about.created_ns // 10**6, "user_id": about.actor} if about else {}
    return {
        "name": name, "version": str(found.number), "status": "READY", "description": found.note, "tags": _pairs(tags_of(name, found)),
        "aliases": sorted(found.labels), **at,
    }  # fmt: skip


def _pairs(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


def _named(c: Clause) -> str:
    """What a clause asks of a name. Raises `Invalid` for what cannot be asked of prompts."""
    if (c.room, c.key) == ("", "name") and c.op in ("=", "LIKE", "ILIKE"):
        return str(c.value).strip("%")
    if (c.key == IS_PROMPT and c.op == "=" and c.value == "true") or c.key in ("experiment_id", EXPERIMENTS):
        return ""  # a prompt is of its project, so of every experiment
    raise Invalid(
        f"prompts are not found by this here: {c.text[:80]!r}", where="filter", remedy="write name = 'answer', or name LIKE 'an%'"
    )


def _fits(c: Clause, name: str) -> bool:
    if c.key != "name":
        return True
    wanted, name = (str(c.value), name) if c.op != "ILIKE" else (str(c.value).lower(), name.lower())
    if c.op == "=":
        return name == wanted
    inside = wanted.strip("%")
    if wanted.startswith("%"):
        return name.endswith(inside) if not wanted.endswith("%") else inside in name
    return name.startswith(inside) if wanted.endswith("%") else name == inside
