"""Prompts as Opik's SDK makes and reads them: versions of the registry's.

    POST /prompts, /prompts/versions      a version; one that says the same is there already
    POST /prompts/versions/retrieve       what the name alone means; or by commit, `v1` …, or an environment: what its release uses
    GET  /prompts, /prompts/{id}/versions all, and the versions of one, the newest first

A text is a message of the user, and a prompt's id its name. A commit is the start of a digest, and a version's number tells the order in
which versions came. Their metadata are the parameters, which count: another model is another version. In texts stands `{{ name }}` and
nothing else, so it is the same whether theirs reads it as Mustache or as Jinja.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from windlass.core.actor import Actor
from windlass.core.artifacts import PromptBody, make_version
from windlass.core.digest import canonical, short
from windlass.core.errors import Invalid
from windlass.core.operations.prompts import GET, PromptQuery, PromptVersion
from windlass.core.operations.registry import ARTIFACTS, PUSH, VERSIONS, ArtifactQuery, ArtifactSummary, Bundle, VersionQuery
from windlass.core.ref import check_label, check_name, parse_ref
from windlass.doors.opik_wire import BASE, Heard, Told, not_taken, page_of, serving, text_of
from windlass.doors.otlp import Intake
from windlass.platform import Platform
from windlass.sdk.importing.prompt_bodies import body_of, is_plain

WORKSPACE = "opik"
COMMIT = 8  # hex digits
LARGEST = 200  # of a page
CHAT, TEXT = "chat", "text"
TYPES = (None, "mustache", "jinja2")
_COMMIT, _NUMBER = re.compile("[0-9a-f]{4,64}"), re.compile("v[1-9][0-9]{0,8}")


class OpikPrompts:
    """The door.

    Args:
        platform: has the prompts.
        intake: knows who asks, by the key that stands for theirs.
    """

    def __init__(self, platform: Platform, intake: Intake) -> None:
        self._platform = platform
        self._intake = intake

    def routes(self) -> list[Route]:
        listed = (
            ("GET", "", self._all, None), ("POST", "", self._make, "write"), ("POST", "/versions", self._add, "write"),
            ("POST", "/versions/retrieve", self._retrieve, None), ("GET", "/{id}/versions", self._versions, None),
        )  # fmt: skip
        return [
            Route(f"{BASE}/prompts{path}", serving(self._intake, ask, needs=needs), methods=[method]) for method, path, ask, needs in listed
        ]

    async def _make(self, heard: Heard) -> Response:
        said = heard.said
        about = {"description": said.get("description"), "message": said.get("change_description")}
        name = text_of(said, "name")
        await self._push(heard.actor, name, said, said.get("template_structure"), about)
        return Response(status_code=201, headers={"location": f"{BASE}/prompts/{name}"})

    async def _add(self, heard: Heard) -> Any:
        said = heard.said.get("version")
        if not isinstance(said, dict):
            raise Invalid("there is no version", where="version", remedy="send what Opik's SDK does")
        about, name = {"message": said.get("change_description")}, text_of(heard.said, "name")
        digest = await self._push(heard.actor, name, said, heard.said.get("template_structure"), about)
        return await self._told(heard.actor, PromptQuery(f"prompt/{name}@{digest}", heard.actor.project))

    async def _push(self, actor: Actor, name: str, said: Told, structure: Any, about: Told) -> str:
        """Its digest. Raises `Invalid`."""
        check_name(name, what="name of a prompt")
        not_taken(said, tags="leave tags out", environments="a release moves to an environment: `windlass promote`")
        if said.get("type") not in TYPES or structure not in (None, TEXT, CHAT):
            raise Invalid("this is no kind of prompt", where="type", remedy="take mustache or jinja2, and text or chat")
        neutral = {field: str(value) for field, value in about.items() if value} | ({"structure": CHAT} if structure == CHAT else {})
        body = _body(text_of(said, "template"), said.get("metadata"), structure == CHAT)
        version = make_version("prompt", name, body, neutral=neutral, project=actor.project)
        snapshot = await asyncio.to_thread(self._platform.blobs.put, canonical({}))
        await self._platform.ask(PUSH, actor, Bundle(actor.project, WORKSPACE, (version,), snapshot))
        return version.digest

    async def _retrieve(self, heard: Heard) -> Any:
        said, project = heard.said, heard.actor.project
        not_taken(said, mask_id="leave masks out: a branch label of a prompt is what is tried out here")
        name = check_name(text_of(said, "name"), what="name of a prompt")
        commit, number, environment = (said.get(field) for field in ("commit", "version_number", "environment"))
        query = PromptQuery(f"prompt/{name}", project)
        if commit:
            if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
                raise Invalid("this is no commit", where="commit", remedy="give the start of a version's digest")
            query.ref += f"@{commit}"
        elif number:
            if not isinstance(number, str) or not _NUMBER.fullmatch(number):
                raise Invalid("this is no number of a version", where="version_number", remedy="give v1, v2 …")
            query.number = int(number[1:])
        elif environment:
            query.ref += f":{check_label(str(environment))}"
        return await self._told(heard.actor, query)

    async def _all(self, heard: Heard) -> Any:
        page, size = page_of(heard.request, LARGEST)
        asked, actor = heard.request.query_params.get("name", ""), heard.actor
        found, cursor = list[ArtifactSummary](), None
        while True:
            told = await self._platform.ask(ARTIFACTS, actor, ArtifactQuery(actor.project, "prompt", cursor=cursor, limit=LARGEST))
            found += [one for one in told.items if asked.lower() in one.name]
            if not (cursor := told.next):
                break
        some: list[Told] = [
            {"id": one.name, "name": one.name, "description": one.description or None, "version_count": one.versions, "tags": []}
            for one in found[(page - 1) * size : page * size]
        ]
        return {"page": page, "size": len(some), "total": len(found), "content": some, "sortableBy": []}

    async def _versions(self, heard: Heard) -> Any:
        page, size = page_of(heard.request, LARGEST)
        remedy = "leave it out: all versions are told, and Python chooses"
        not_taken(dict(heard.request.query_params), filters=remedy, search=remedy)
        name, actor = check_name(heard.request.path_params["id"], what="name of a prompt"), heard.actor
        digests, cursor = list[str](), None
        while True:
            told = await self._platform.ask(VERSIONS, actor, VersionQuery(f"prompt/{name}", actor.project, cursor, LARGEST))
            digests += [one.digest for one in told.items]
            if not (cursor := told.next):
                break
        some = [PromptQuery(f"prompt/{name}@{digest}", actor.project) for digest in digests[(page - 1) * size : page * size]]
        content = [await self._told(actor, query) for query in some]
        return {"page": page, "size": len(content), "total": len(digests), "content": content, "sortableBy": []}

    async def _told(self, actor: Actor, query: PromptQuery) -> Told:
        """A version as one of theirs. Raises `Invalid` for one whose texts their SDK cannot fill in."""
        found: PromptVersion = await self._platform.ask(GET, actor, query)
        ref, messages = parse_ref(found.ref, project=actor.project), found.body.messages
        if found.rows or not all(is_plain(m.text) for m in messages):
            why = "has examples" if found.rows else "has more in its texts than {{ name }}"
            raise Invalid(f"prompt/{ref.name} {why}", where="prompt", remedy=f'windlass.prompt("{ref.name}") renders it')
        version = await asyncio.to_thread(self._platform.versions.get, ref.project, ref.kind, ref.name, ref.digest or "")
        chat = len(messages) != 1 or messages[0].role != "user" or version.neutral.get("structure") == CHAT
        said = [{"role": m.role, "content": m.text} for m in messages]
        return {
            "id": found.ref, "prompt_id": ref.name, "commit": short(ref.digest or "", COMMIT), "version_number": f"v{found.number}",
            "template": msgspec.json.encode(said).decode() if chat else messages[0].text, "metadata": found.body.parameters or None,
            "type": "mustache", "template_structure": CHAT if chat else TEXT, "environments": list(found.labels), "tags": [],
            "change_description": version.neutral.get("message") or None, "variables": sorted(found.body.inputs),
        }  # fmt: skip


def _body(template: str, metadata: Any, chat: bool) -> PromptBody:
    """Raises `Invalid` naming the field."""
    prompt: Any = template
    if chat:
        try:
            prompt = msgspec.json.decode(template, type=list[Any])
        except (msgspec.DecodeError, RecursionError) as e:
            raise Invalid("a chat is a list of messages as JSON", where="template", remedy="give role and content of each") from e
    remedy = "write it in a workspace, where texts are Jinja, and `windlass push` it"
    try:
        if "{{{" in template:  # text for one, an unescaped name for the other
            raise Invalid("they have more in their texts than {{ name }}")
        return body_of(prompt, metadata)
    except Invalid as e:
        raise Invalid(f"prompts are taken here unless {e.message}", where="template", remedy=remedy) from e
