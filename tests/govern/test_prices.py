"""Prices: dated, tiered, cached tokens apart; unknown is None; a user's own come first."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import pytest

from windlass.core.errors import Invalid
from windlass.core.message import Usage
from windlass.govern.prices import Prices

NOW = int(datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.UTC).timestamp() * 1e9)
TABLE = Path(__file__).parents[2] / "src/windlass/govern/prices.json"


def test_tokens_are_priced_by_class() -> None:
    prices = Prices()
    assert prices.price("openai", "gpt-5-mini", Usage(1_000_000, 1_000_000), NOW) == pytest.approx(0.25 + 2.0)
    assert prices.price("openai", "gpt-5-mini", Usage(1_000_000, 0, cached=1_000_000), NOW) == pytest.approx(0.025)
    assert prices.price("openai", "gpt-5-mini-2025-08-07", Usage(1000, 10, reasoning=8), NOW) == pytest.approx((1000 * 0.25 + 10 * 2) / 1e6)
    sonnet = prices.price("anthropic", "claude-sonnet-4-5-20250929", Usage(30_000, 0, cached=10_000, cache_write=10_000), NOW)
    assert sonnet == pytest.approx((10_000 * 3 + 10_000 * 0.3 + 10_000 * 3.75) / 1e6)


def test_a_long_prompt_costs_its_tier_for_every_token() -> None:
    prices = Prices()
    below, above = (prices.price("google", "gemini-2.5-pro", Usage(n, 0), NOW) for n in (200_000, 200_001))
    assert below == pytest.approx(200_000 * 1.25 / 1e6) and above == pytest.approx(200_001 * 2.5 / 1e6)
    assert prices.price("gemini", "gemini-2.5-pro", Usage(1000, 0), NOW) == prices.price(
        "gcp.gemini", "gemini-2.5-pro", Usage(1000, 0), NOW
    )


def test_a_price_is_that_of_the_day(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('[["mine/m"]]\ninput = 2.0\noutput = 4.0\nfrom = 2026-06-01\n\n[["mine/m"]]\ninput = 1.0\noutput = 1.0\n')
    prices = Prices(file)
    day = lambda *d: int(datetime.datetime(*d, tzinfo=datetime.UTC).timestamp() * 1e9)  # noqa: E731
    assert prices.price("mine", "m", Usage(1_000_000, 0), day(2026, 5, 31, 23, 59)) == 1.0
    assert prices.price("mine", "m", Usage(1_000_000, 0), day(2026, 6, 1)) == 2.0


def test_unknown_is_none_and_the_baseline_is_free() -> None:
    prices = Prices()
    assert prices.price("openai", "gpt-99", Usage(1, 1), NOW) is None
    assert prices.price("ollama", "llama3", Usage(1, 1), NOW) is None
    assert prices.price("openai", "gpt-5-mini", Usage(), NOW) is None
    assert prices.price("baseline", "baseline@1", Usage(1000, 1000), NOW) == 0.0
    assert prices.source("openai", "gpt-99") == "" and re.match(
        r"genai-prices .*, 20\d\d-\d\d-\d\d$", prices.source("openai", "gpt-5-mini")
    )


def test_a_users_prices_come_first(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('["openai/gpt-5-mini"]\ninput = 9.0\noutput = 9.0\n\n["ollama/*"]\ninput = 0\noutput = 0\n')
    prices = Prices(file)
    assert prices.price("openai", "gpt-5-mini", Usage(1_000_000, 0, cached=500_000), NOW) == pytest.approx(9.0)
    assert prices.price("ollama", "anything:7b", Usage(5, 5), NOW) == 0.0 and prices.source("ollama", "x") == "prices.toml"
    assert prices.price("openai", "gpt-5", Usage(1_000_000, 0), NOW) not in (None, 9.0)


@pytest.mark.parametrize(
    "text", ['["a/b"]\ninput = "x"\noutput = 1\n', '["a/b"]\ninput = 1\n', '["a/b"]\ninput=1\noutput=1\ninpt=3\n', "[oops"]
)
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text)
    with pytest.raises(Invalid) as e:
        Prices(file)
    assert str(file) in str(e.value)


def test_every_row_of_the_table_can_be_read_and_found() -> None:
    assert TABLE.stat().st_size < 400_000 and b"MIT" in TABLE.read_bytes()[:400]
    prices = Prices()
    rows = 0
    for provider in ("openai", "anthropic", "google", "groq", "mistral", "openrouter", "deepseek", "x-ai", "together", "aws", "azure"):
        for model in prices.models(provider):
            rates = prices.rates(provider, model, NOW)
            assert rates is not None and (rates.cost(Usage(1000, 0)) or 0) >= 0
            rows += 1
    assert rows > 500
