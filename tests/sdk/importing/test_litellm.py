"""LiteLLM's config.yaml into a real installation: each line is told of, keys go into the store alone, again changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from windlass.core.errors import Invalid
from windlass.doors.local import open_local
from windlass.sdk.client import Client
from windlass.sdk.importing.litellm import ConfigImport, bring_config

CONFIG = """\
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: azure/gpt-4o-eu
      api_base: https://eu.openai.azure.com/
      api_key: os.environ/AZURE_EU_KEY
      api_version: "2024-10-21"
      weight: 2
  - model_name: gpt-4o
    litellm_params:
      model: azure/gpt-4o-us
      api_base: https://us.openai.azure.com/
      api_key: planted-clear-azure-0123456789
      api_version: "2024-10-21"
  - model_name: gpt-4o
    litellm_params: {model: gpt-4o, api_key: os.environ/OPENAI_API_KEY}
  - model_name: claude
    litellm_params:
      model: bedrock/converse/eu.anthropic.claude-sonnet-4-5-20250929-v1:0
      aws_access_key_id: AKIDEXAMPLE
      aws_secret_access_key: planted-clear-aws-0123456789
      aws_region_name: eu-central-1
      temperature: 0.2
  - model_name: groq/llama-3
    litellm_params: {model: groq/llama-3, api_key: os.environ/TEAM_GROQ}
  - model_name: local
    litellm_params: {model: openai/qwen3, api_base: "http://10.0.0.5:8000/v1", api_key: planted-clear-local-0123456789}
  - model_name: llama
    litellm_params: {model: ollama/llama3.2, api_base: "http://10.0.0.6:11434"}
  - model_name: odd
    litellm_params: {model: watsonx/granite, api_key: planted-of-nobody}
  - litellm_params: 7
router_settings: {routing_strategy: least-busy, redis_password: planted-redis}
general_settings: {master_key: planted-master, database_url: "postgresql://u:planted-db@h/db", no_such_thing: planted-x}
environment_variables: {AZURE_EU_KEY: planted-from-variables-0123456789}
"""
ENVIRON = {"TEAM_GROQ": "planted-from-environ-0123456789"}


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with open_local(tmp_path / "home", "default") as found:
        yield found


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def state(client: Client) -> dict[str, tuple[str, ...]]:
    return {p.name: tuple(k.id for k in p.keys) for p in client.providers.list().items if p.keys}


def test_every_line_is_told_of(client: Client, config: Path, tmp_path: Path) -> None:
    dry = bring_config(client, config, dry=True, environ=ENVIRON)
    assert state(client) == {} and dry.dry
    done = bring_config(client, config, environ=ENVIRON)
    assert (done.carried, done.left, done.routes, done.keys) == (dry.carried, dry.left, dry.routes, dry.keys) and done.keys == 5
    lines = CONFIG.splitlines()
    for told in (*done.carried, *done.left):
        if (last := told.where.rpartition(".")[2]) and not last.endswith("]"):
            assert last in lines[told.line - 1], told
    left = {told.where: told.said for told in done.left}
    assert "watsonx" in left["model_list[7]"] and "no litellm_params.model" in left["model_list[8]"]
    assert left["general_settings.no_such_thing"] == "there is nothing of the kind here"
    assert {"model_list[3].litellm_params.temperature", "router_settings.routing_strategy", "general_settings.master_key"} <= left.keys()
    assert {r.name: [u.model for u in r.upstreams] for r in done.routes} == {
        "gpt-4o": ["azure-deployments/gpt-4o-eu", "azure-deployments-us/gpt-4o-us", "openai/gpt-4o"],
        "claude": ["bedrock/eu.anthropic.claude-sonnet-4-5-20250929-v1:0"],
        "local": ["openai-10-0-0-5-8000/qwen3"],
        "llama": ["ollama-10-0-0-6-11434/llama3.2"],
    }
    assert done.routes[0].upstreams[0].settings == {"weight": 2}


def test_again_changes_nothing_and_what_came_can_be_called(client: Client, config: Path) -> None:
    bring_config(client, config, environ=ENVIRON)
    first = state(client)
    seen = len(client.audit.list(action="providers.").items)
    bring_config(client, config, environ=ENVIRON)
    assert state(client) == first and len(client.audit.list(action="providers.").items) == seen == 6
    found = {p.name: p for p in client.providers.list().items}
    assert found["bedrock"].ready and found["bedrock"].address == "https://bedrock-runtime.eu-central-1.amazonaws.com/openai/v1"
    assert found["ollama-10-0-0-6-11434"].address == "http://10.0.0.6:11434/v1" and found["groq"].ready
    assert found["azure-deployments-us"].address == "https://us.openai.azure.com/openai"
    assert not found["openai"].ready  # its key is the environment's, which has none here


def test_what_a_name_means_is_a_route(client: Client, config: Path) -> None:
    config.write_text(CONFIG.replace("router_settings: {", "router_settings: {fallbacks: [{gpt-4o: [claude]}], "))
    bring_config(client, config, environ=ENVIRON)
    found = {r.name: r.route for r in client.routes.list().items}
    assert set(found) == {"gpt-4o", "claude", "local", "llama"}
    assert [(u.model, u.weight, u.tier) for u in found["gpt-4o"].upstreams] == [
        ("azure-deployments/gpt-4o-eu", 2.0, 1), ("azure-deployments-us/gpt-4o-us", 1.0, 1), ("openai/gpt-4o", 1.0, 1),
        ("bedrock/eu.anthropic.claude-sonnet-4-5-20250929-v1:0", 1.0, 2),
    ]  # fmt: skip
    bring_config(client, config, environ=ENVIRON)
    assert {r.name: r.route for r in client.routes.list().items} == found


def test_no_key_is_repeated(client: Client, config: Path, tmp_path: Path) -> None:
    done: ConfigImport = bring_config(client, config, environ=ENVIRON)
    told = msgspec.json.encode(done).decode() + repr(done) + json.dumps(msgspec.to_builtins(client.providers.list()))
    assert "planted" not in told
    for file in (tmp_path / "home").rglob("*"):
        if file.is_file():
            assert b"planted" not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("model_list: [", "not YAML"), ("a: 1", "no model_list"), ("- 1", "no model_list"), ("model_list: planted", "not a list"),
        ("x: !!python/object:os.system planted\nmodel_list: []", "not YAML"),
    ],
)  # fmt: skip
def test_what_is_no_config_is_refused_and_not_repeated(client: Client, tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(Invalid, match=complaint) as caught:
        bring_config(client, path)
    assert "planted" not in str(caught.value)
    with pytest.raises(Invalid, match="cannot be read"):
        bring_config(client, tmp_path / "nowhere.yaml")
