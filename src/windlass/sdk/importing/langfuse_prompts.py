"""Langfuse's prompts as versions of the registry, in their order: each has its number here too, unless two of a name say the same.

A prompt that is there already is not touched, but where it came this way before: then what is newer there is put after it. What the
registry's prompts cannot say (more than `{{ name }}`, placeholders, names of other letters) is left, and told.
"""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import quote

from windlass.core.artifacts import Version, make_version
from windlass.core.digest import canonical, digest_bytes
from windlass.core.errors import Forbidden, Invalid, NotFound
from windlass.core.operations.registry import PUSH, VERSIONS, Bundle, VersionQuery
from windlass.core.ref import is_name
from windlass.sdk.client import Client
from windlass.sdk.importing.foreign import Foreign
from windlass.sdk.importing.prompt_bodies import body_of
from windlass.sdk.importing.source import Left

PATH = "/api/public/v2/prompts"
PAGE = 100
WORKSPACE = "langfuse"

Refs = dict[tuple[str, int], str]  # name and number there → exact ref here


def bring_prompts(client: Client, server: Foreign, left: Counter[Left], dry: bool = False) -> tuple[Refs, int]:
    """Bring all prompts, or with `dry` see what would come. Returns which is which, and how many versions are new here. Raises what reading
    and pushing do."""
    refs, new, page = Refs(), 0, 1
    while True:
        try:
            told = server.get(PATH, [("page", str(page)), ("limit", str(PAGE))])
        except (NotFound, Invalid):  # of before there were any
            return refs, new
        for said in told["data"]:
            new += _bring(client, server, str(said["name"]), sorted(int(n) for n in said["versions"]), refs, left, dry)
        page += 1
        if page > int((told.get("meta") or {}).get("totalPages", 0)):
            return refs, new


def _bring(client: Client, server: Foreign, name: str, numbers: list[int], refs: Refs, left: Counter[Left], dry: bool) -> int:
    """One prompt, all of its versions or none."""
    try:
        if not is_name(name):
            raise Invalid("their names have other letters than lower-case ones, digits, '-', '_' and '.'")
        made = {number: _version(client, name, _told(server, name, number), number) for number in numbers}
        wanted = list(dict.fromkeys(version.digest for version in made.values()))
        here = _here(client, name)
        if here != wanted[: len(here)]:
            raise Invalid("a prompt of that name is here already, and says something else")
        by_digest = {version.digest: version for version in reversed(made.values())}
        for digest in [] if dry else wanted[len(here) :]:
            _push(client, by_digest[digest])
    except Forbidden:
        left[Left("prompts", "the key here may not write")] += 1
        return 0
    except Invalid as e:
        left[Left("prompts", e.message[:200])] += 1
        return 0
    if list(made) != list(range(1, len(wanted) + 1)):
        left[Left("prompts' numbers", "some were deleted there, or say the same: those after them are lower here")] += 1
    refs.update({(name, number): str(version.ref) for number, version in made.items()})
    return len(wanted) - len(here)


def _told(server: Foreign, name: str, number: int) -> dict[str, Any]:
    told: dict[str, Any] = server.get(f"{PATH}/{quote(name, safe='')}", [("version", str(number))])
    return told


def _version(client: Client, name: str, said: dict[str, Any], number: int) -> Version:
    """Raises `Invalid` for what cannot be said here."""
    body = body_of(said.get("prompt"), said.get("config"))
    note = f"version {number} in Langfuse" + (f": {said['commitMessage']}" if said.get("commitMessage") else "")
    return make_version("prompt", name, body, neutral={"message": note}, project=client.project)


def _here(client: Client, name: str) -> list[str]:
    """Digests of the versions there are, the oldest first."""
    found, cursor = list[str](), None
    while True:
        try:
            page = client.call(VERSIONS, VersionQuery(f"prompt/{name}", client.project, cursor, 200))
        except NotFound:
            return []
        found += [version.digest for version in page.items]
        if not (cursor := page.next):
            return found[::-1]


def _push(client: Client, version: Version) -> None:
    """One at a time: their order is their number."""
    snapshot = canonical({})
    client.put_blob(digest_bytes(snapshot), snapshot)
    client.call(PUSH, Bundle(client.project, WORKSPACE, (version,), digest_bytes(snapshot)))
