"""The list of models: what can be called first, with prices; what cannot says why."""

from __future__ import annotations

import pytest
from tests.scripted_provider import ScriptedProvider

from windlass.core.actor import OWNER, Actor
from windlass.core.errors import Forbidden
from windlass.core.operations import Empty
from windlass.discover.catalog import Catalog
from windlass.discover.providers import Probed, load_providers
from windlass.govern.prices import Prices


def test_the_list_says_what_can_be_called_and_why_not() -> None:
    catalog = Catalog(load_providers(None, {"OPENAI_API_KEY": "k"}), Prices())
    entries = catalog.entries([Probed("ollama", ("llama3.2",)), Probed("vllm", (), "nothing answers at http://127.0.0.1:8000/v1")])
    by_id = {e.id: e for e in entries}
    assert entries[0].id == "baseline" and entries[0].available and entries[0].input_price == 0
    mini = by_id["openai/gpt-5-mini"]
    assert mini.available and (mini.input_price, mini.output_price) == (0.25, 2.0) and mini.price_source.startswith("genai-prices")
    assert by_id["ollama/llama3.2"].available and by_id["ollama/llama3.2"].input_price is None
    assert not by_id["vllm/…"].available and "nothing answers" in by_id["vllm/…"].why_not
    assert by_id["llamacpp/…"].why_not == "not asked yet"
    assert by_id["anthropic/…"].why_not == "ANTHROPIC_API_KEY is not set"
    flags = [e.available for e in entries]
    assert flags == sorted(flags, reverse=True) and len(by_id) == len(entries)


async def test_who_may_read_gets_the_list_with_local_servers_in_it() -> None:
    away = "http://127.0.0.1:1/v1"
    async with ScriptedProvider() as provider:
        environ = {"OLLAMA_BASE_URL": provider.url, "VLLM_BASE_URL": away, "LLAMACPP_BASE_URL": away}
        catalog = Catalog(load_providers(None, environ), Prices())
        listed = await catalog.models(OWNER, Empty())
        assert {e.id for e in listed.items if e.available} == {"baseline", "ollama/scripted-small"}
        with pytest.raises(Forbidden):
            await catalog.models(Actor("c", "caller"), Empty())
