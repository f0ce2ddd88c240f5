"""`windlass models`: what can be called as ever; with a word or an option, the catalog."""

from __future__ import annotations

from tests.doors.cli.conftest import Shell


def test_without_options_it_lists_what_can_be_called(shell: Shell) -> None:
    shown = shell("models").stdout.splitlines()
    assert shown[1].split()[:2] == ["baseline", "ready"]
    assert "OPENAI_API_KEY is not set" in "\n".join(shown)
    assert shell.json("models")["items"][0] == {
        "id": "baseline", "provider": "baseline", "available": True, "input_price": 0.0, "output_price": 0.0, "price_source": "built in",
    }  # fmt: skip


def test_the_catalog_is_filtered_sorted_and_paged(shell: Shell) -> None:
    asked = ("models", "--provider", "mistral", "--open", "--can", "tools, vision", "--min-context", "100000", "--sort", "price")
    found = shell.json(*asked, "--region", "EU", "--max-input-price", "0.2", "--limit", "2")
    prices = [e["input_price"] for e in found["items"]]
    assert prices == sorted(prices) and max(prices) <= 0.2 and len(prices) == 2 < found["total"]
    assert all({"tools", "vision"} <= set(e["facts"]["can"]) and e["facts"]["context"] >= 100_000 for e in found["items"])
    rest = shell(*asked, "--max-input-price", "0.2", "--cursor", found["next"]).stdout
    assert "mistral/" in rest and found["items"][0]["id"] + " " not in rest
    assert "from models.dev 20" in rest
    assert all(e["facts"]["licence"] == "MIT" for e in shell.json("models", "--licence", "mit")["items"])


def test_the_unpriced_are_counted_and_unknown_is_said(shell: Shell) -> None:
    assert "more whose price nobody told" in shell("models", "--provider", "groq", "--max-input-price", "5").stdout
    assert "unknown" in shell("models", "--provider", "groq").stdout


def test_a_whole_id_shows_all_that_is_known_with_sources_and_days(shell: Shell) -> None:
    shown = shell("models", "openai/gpt-5").stdout
    assert "400,000" in shown and "genai-prices" in shown and "models.dev, 20" in shown
    assert "Aider Polyglot" in shown and "aider.chat/docs/leaderboards/, 2025-08-23" in shown
    assert "data goes to" in shown


def test_all_is_the_whole_catalog_and_ready_what_can_be_called(shell: Shell) -> None:
    assert shell.json("models", "--all", "--limit", "1")["total"] > 1000
    assert {e["id"] for e in shell.json("models", "--ready")["items"] if not e["id"].startswith(("ollama/", "vllm/", "llamacpp/"))} == {
        "baseline",
        "baseline/lead",
        "baseline/silent",
    }


def test_what_is_written_wrongly_is_told(shell: Shell) -> None:
    assert "did you mean 'tools'?" in shell("models", "--can", "tols", code=1).stderr
    assert "sort by id, price" in shell("models", "--sort", "cheap", code=1).stderr
    assert "start from the first page" in shell("models", "--all", "--cursor", "x", code=1).stderr
    assert "0 models" in shell("models", "no such model").stdout
