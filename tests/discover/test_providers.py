"""The providers' table, keys from the environment, a user's own table, and local servers that are asked over real HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.scripted_provider import ScriptedProvider

from windlass.core.errors import Invalid, NotFound, Unavailable
from windlass.discover.providers import load_providers, probe


def test_every_shipped_provider_can_be_called_with_its_key_and_says_what_is_missing_without() -> None:
    bare = load_providers(None, {})
    for name, provider in bare.table.items():
        environ = dict.fromkeys(provider.keys[-1:], "secret-value") | (
            {provider.base_env: "http://127.0.0.1:1/v1/"} if provider.base_env else {}
        )
        endpoint = load_providers(None, environ).endpoint(name)
        assert endpoint.base_url.startswith("http") and not endpoint.base_url.endswith("/")
        assert ("secret-value" in str(endpoint.headers)) == (provider.auth != "none")
        assert "secret-value" not in repr(endpoint)
        if provider.keys:
            with pytest.raises(Unavailable, match=provider.keys[0] if provider.base_url else str(provider.base_env)):
                bare.endpoint(name)
    assert bare.detected()["openai"] == "OPENAI_API_KEY is not set" and "ollama" not in bare.detected()


def test_how_a_key_is_sent() -> None:
    environ = {
        "OPENAI_API_KEY": "a",
        "ANTHROPIC_API_KEY": "b",
        "AZURE_OPENAI_API_KEY": "c",
        "AZURE_OPENAI_BASE_URL": "https://x.example/openai/v1",
    }
    providers = load_providers(None, environ)
    assert providers.endpoint("openai").headers == {"Authorization": "Bearer a"}
    assert providers.endpoint("anthropic").headers == {"anthropic-version": "2023-06-01", "x-api-key": "b"}
    assert providers.endpoint("azure").headers == {"api-key": "c"}
    assert providers.endpoint("azure").base_url == "https://x.example/openai/v1"
    assert providers.endpoint("openai").redact("bad key a!") == "b[key]d key [key]!"


def test_a_users_table_adds_and_overrides_field_by_field(tmp_path: Path) -> None:
    table = tmp_path / "providers.toml"
    table.write_text('[openai]\nbase_url = "https://proxy.example/v1"\n\n[mine]\nbase_url = "http://127.0.0.1:9/v1"\nkeys = ["MINE_KEY"]\n')
    providers = load_providers(table, {"OPENAI_API_KEY": "a", "MINE_KEY": "m"})
    assert providers.endpoint("openai").base_url == "https://proxy.example/v1" and providers.get("openai").quirks == (
        "max_completion_tokens",
    )
    assert providers.endpoint("mine").headers == {"Authorization": "Bearer m"}
    with pytest.raises(NotFound, match="did you mean 'groq'"):
        providers.get("grok1")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[openai\n", "TOML"),
        ("openai = 3\n", "not a table"),
        ('[mine]\nkeys = ["K"]\n', "base_url"),
        ('[openai]\nbase_ulr = "x"\n', "base_ulr"),
        ('[openai]\ndialect = "klingon"\n', "klingon"),
    ],
)
def test_a_broken_table_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    table = tmp_path / "providers.toml"
    table.write_text(text)
    with pytest.raises(Invalid, match=complaint) as e:
        load_providers(table, {})
    assert str(table) in str(e.value)


async def test_local_servers_are_found_and_their_absence_is_no_error() -> None:
    async with ScriptedProvider() as provider:
        environ = {
            "OLLAMA_BASE_URL": provider.url,
            "VLLM_BASE_URL": provider.url.replace("/v1", "/nothing"),
            "LLAMACPP_BASE_URL": "http://127.0.0.1:1/v1",
        }
        found = {p.provider: p for p in await probe(load_providers(None, environ), timeout_s=2)}
    assert found["ollama"].models == ("scripted-small",) and not found["ollama"].why_not
    assert "not as a model server" in found["vllm"].why_not
    assert "nothing answers" in found["llamacpp"].why_not
