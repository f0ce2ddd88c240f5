"""The list of models: what can be called first, with prices; what cannot says why."""

from __future__ import annotations

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
