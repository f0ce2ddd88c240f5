"""The list of models: what can be called first, with prices; what cannot says why. The catalog: all that is known, by pages."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import pytest
from tests.scripted_provider import ScriptedProvider

from windlass.core.actor import OWNER, Actor
from windlass.core.errors import Forbidden
from windlass.core.operations import Empty
from windlass.core.operations.discover import CatalogPage, CatalogQuery, Sort
from windlass.discover.catalog import Catalog
from windlass.discover.providers import Probed, Provider, Providers, load_providers
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
        assert {e.id for e in listed.items if e.available} == {"baseline", "baseline/lead", "baseline/silent", "ollama/scripted-small"}
        with pytest.raises(Forbidden):
            await catalog.models(Actor("c", "caller"), Empty())


def page(query: CatalogQuery, prices: Path | None = None, environ: dict[str, str] | None = None, *probed: Probed) -> CatalogPage:
    catalog = Catalog(load_providers(None, environ or {"OPENAI_API_KEY": "k"}), Prices(prices))
    return catalog.page(query, probed)


def test_the_catalog_has_what_cannot_be_called_and_says_why() -> None:
    found = page(CatalogQuery(search="gemini-2.5-pro", limit=200))
    by_id = {e.id: e for e in found.items}
    assert by_id["gemini/gemini-2.5-pro"].why_not == "GEMINI_API_KEY or GOOGLE_API_KEY is not set"
    assert by_id["sap/gemini-2.5-pro"].why_not == "not in providers.toml" and not by_id["sap/gemini-2.5-pro"].available
    assert found.total == len(found.items) == len(by_id) and found.sources[0].name == "models.dev"
    ready = page(CatalogQuery(available=True, limit=200))
    assert {e.facts.provider for e in ready.items} == {"openai", "baseline"} and all(e.available for e in ready.items)
    assert page(CatalogQuery(provider="x-ai")).total == page(CatalogQuery(provider="xai")).total > 0
    assert page(CatalogQuery(provider="nobody")).items == ()


def test_a_price_is_the_users_then_the_tables_then_that_of_the_facts_then_unknown(tmp_path: Path) -> None:
    own = tmp_path / "prices.toml"
    own.write_text('["openai/gpt-5-mini"]\ninput = 9.0\noutput = 9.5\n')
    found = {e.id: e for e in page(CatalogQuery(search="gpt-5-mini", limit=200), own).items}
    assert (found["openai/gpt-5-mini"].input_price, found["openai/gpt-5-mini"].price_source) == (9.0, "prices.toml")
    assert found["azure/gpt-5-mini"].price_source.startswith("genai-prices")
    scaleway = page(CatalogQuery(provider="scaleway", limit=1)).items[0]
    assert scaleway.facts.listed and scaleway.input_price == scaleway.facts.listed.input
    assert scaleway.price_source.startswith("models.dev, 20")
    nobody = next(e for e in page(CatalogQuery(provider="meta")).items if e.facts.listed is None)
    assert (nobody.input_price, nobody.output_price, nobody.price_source) == (None, None, "")


def test_a_limit_on_the_price_leaves_out_the_unpriced_and_counts_them() -> None:
    whole, cheap = page(CatalogQuery(provider="groq")), page(CatalogQuery(provider="groq", max_input_price=1000.0))
    unknown = [e for e in whole.items if e.input_price is None]
    assert whole.unpriced == 0 and unknown
    assert cheap.unpriced == len(unknown) and cheap.total == whole.total - len(unknown)
    assert all(e.input_price is not None for e in cheap.items)


def test_pages_follow_one_another_without_gap_or_repetition() -> None:
    for sort in get_args(Sort):
        query = CatalogQuery(search="claude", sort=sort, limit=23)
        seen: list[str] = []
        while True:
            found = page(query)
            seen += [e.id for e in found.items]
            if found.next is None:
                break
            query = msgspec.structs.replace(query, cursor=found.next)
        assert len(seen) == len(set(seen)) == found.total > 46, sort


def test_local_models_and_those_the_facts_do_not_know_are_there_by_name() -> None:
    local = page(CatalogQuery(provider="ollama"), None, None, Probed("ollama", ("llama3.2",)))
    assert [(e.id, e.available, e.input_price, e.facts.source) for e in local.items] == [("ollama/llama3.2", True, None, "")]
    assert page(CatalogQuery(provider="ollama")).items == ()
    own = Provider("https://example.org/v1", name="mine", models=("lumen",))
    mine = Catalog(Providers({"mine": own}, {}), Prices()).page(CatalogQuery(search="mine/lumen"))
    assert [e.id for e in mine.items] == ["mine/lumen"]


async def test_who_may_not_read_may_not_search() -> None:
    catalog = Catalog(load_providers(None, {}), Prices())
    assert (await catalog.search(OWNER, CatalogQuery(limit=1))).total > 1000
    with pytest.raises(Forbidden):
        await catalog.search(Actor("c", "caller"), CatalogQuery())
