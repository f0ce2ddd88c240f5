"""Langfuse's prompts, as `prompts.py` brings them."""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import quote

from windlass.core.artifacts import Version, make_version
from windlass.core.errors import Invalid, NotFound
from windlass.sdk.client import Client
from windlass.sdk.importing.foreign import Foreign
from windlass.sdk.importing.prompt_bodies import body_of
from windlass.sdk.importing.prompts import Refs, bring
from windlass.sdk.importing.source import Left

PATH = "/api/public/v2/prompts"
PAGE = 100


def bring_prompts(client: Client, server: Foreign, left: Counter[Left], *, dry: bool) -> tuple[Refs, int]:
    """Bring all prompts. Returns which is which, and how many versions are new here. Raises what reading and pushing do."""
    refs, new, page = Refs(), 0, 1
    while True:
        try:
            told = server.get(PATH, [("page", str(page)), ("limit", str(PAGE))])
        except (NotFound, Invalid):  # of before there were any
            return refs, new
        for said in told["data"]:
            name = str(said["name"])

            def version(number: int, name: str = name) -> Version:
                return _version(client, name, _told(server, name, number), number)

            new += bring(client, "langfuse", name, sorted(int(n) for n in said["versions"]), version, refs, left, dry=dry)
        page += 1
        if page > int((told.get("meta") or {}).get("totalPages", 0)):
            return refs, new


def _told(server: Foreign, name: str, number: int) -> dict[str, Any]:
    told: dict[str, Any] = server.get(f"{PATH}/{quote(name, safe='')}", [("version", str(number))])
    return told


def _version(client: Client, name: str, said: dict[str, Any], number: int) -> Version:
    """Raises `Invalid` for what cannot be said here."""
    body = body_of(said.get("prompt"), said.get("config"))
    note = f"version {number} in Langfuse" + (f": {said['commitMessage']}" if said.get("commitMessage") else "")
    return make_version("prompt", name, body, neutral={"message": note}, project=client.project)
