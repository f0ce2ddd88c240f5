"""Streams as providers send them, through the gateway: byte for byte where it passes them on, in meaning where it translates."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.doors.gateway.conformance import Check, Gateway, Player, cases, checks, run
from tests.doors.gateway.conftest import Live, serving
from tests.scripted_provider import ScriptedProvider

CASES = cases()


@contextlib.asynccontextmanager
async def between(folder: Path, player: Player) -> AsyncIterator[tuple[Live, Gateway, aiohttp.ClientSession]]:
    """A gateway that sends both dialects to the player."""
    url = f"http://127.0.0.1:{player.port}/v1"
    table = f'[openai]\nbase_url = "{url}"\nbase_env = ""\n\n[anthropic]\nbase_url = "{url}"\n'
    async with serving(folder, table, ScriptedProvider(), total_s=30) as live, aiohttp.ClientSession() as session:
        yield live, Gateway(live.url, "wk-caller", {"openai": "openai/gpt-5-mini", "anthropic": "anthropic/claude-sonnet-4-5"}), session


async def wrong(folder: Path, chosen: list[Check]) -> dict[str, list[str]]:
    """What is wrong, by the name of the check."""
    async with Player() as player, between(folder, player) as (_, gateway, session):
        found = {check.name: await run(check, gateway, player, session) for check in chosen}
    return {name: told for name, told in found.items() if told}


@pytest.mark.parametrize("dialect", ["openai", "anthropic", "responses"])
async def test_what_passes_through_is_the_providers_own(tmp_path: Path, dialect: str) -> None:
    chosen = [c for c in checks(CASES) if c.native and c.case.dialect == dialect]
    assert chosen and await wrong(tmp_path, chosen) == {}


@pytest.mark.parametrize("client", ["openai", "anthropic", "responses"])
async def test_what_is_translated_says_the_same(tmp_path: Path, client: str) -> None:
    chosen = [c for c in checks(CASES) if not c.native and c.client == client]
    assert chosen and await wrong(tmp_path, chosen) == {}
