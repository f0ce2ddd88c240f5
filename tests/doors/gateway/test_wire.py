"""Requests in the three interfaces, of whatever shape: understood, or refused with a sentence; never a defect."""

from __future__ import annotations

import copy
import tomllib
from typing import Any

import msgspec
import pytest
from tests.doors.gateway.conformance import FOLDER

from windlass.core.errors import Invalid
from windlass.core.message import ModelRequest
from windlass.doors.gateway.answers import FACES

ODD: list[Any] = [None, 0, 1.5, True, "", "x", [], [None], ["x"], [[]], [{}], {}, {"type": 5}, {"type": "x"}, {"x": []}]
PATHS = {"openai": "/chat/completions", "anthropic": "/messages", "responses": "/responses"}


def whole(client: str) -> dict[str, Any]:
    """A request that uses much of an interface: those of the transcripts about pictures, tools and schemas, in one."""
    found: dict[str, Any] = {}
    for name in ("anthropic_picture_and_tools", "openai_picture_and_tools", "anthropic_json_schema", "openai_json_schema"):
        found |= tomllib.loads((FOLDER / f"{name}.toml").read_text()).get("request", {}).get(client, {})
    more: dict[str, Any] = {"reasoning": {"effort": "low"}, "include": ["reasoning.encrypted_content"]} if client == "responses" else {}
    return {**found, **more}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for k, v in inside for p in ((*path, k), *places(v, (*path, k)))]


@pytest.mark.parametrize("client", list(PATHS))
def test_a_whole_request_is_understood(client: str) -> None:
    request = FACES[PATHS[client]].request_of(whole(client), lambda data: "sha256:x")
    assert len(request.tools) == 1 and request.output_schema and len(request.messages) >= 3


@pytest.mark.parametrize("client", list(PATHS))
def test_what_is_odd_in_any_place_is_refused_or_understood(client: str) -> None:
    """Every place of a request, with every odd value."""
    known = whole(client)
    wrong = {}
    for path in places(known):
        for odd in ODD:
            body = copy.deepcopy(known)
            held = body
            for key in path[:-1]:
                held = held[key]
            held[path[-1]] = copy.deepcopy(odd)
            try:
                request = FACES[PATHS[client]].request_of(body, lambda data: "sha256:x")
                assert msgspec.json.decode(msgspec.json.encode(request), type=ModelRequest)
            except Invalid as e:
                assert e.message and e.where
            except Exception as e:
                wrong[f"{path} = {odd!r}"] = repr(e)
    assert wrong == {}
