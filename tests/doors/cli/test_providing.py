"""Providers and their keys from the command line: a key comes by the standard input, is never shown, and is used at once."""

from __future__ import annotations

from tests.doors.cli.conftest import Shell
from tests.scripted_provider import ScriptedProvider

KEY = "sk-scripted-stored-key-4711"


async def test_a_key_is_given_used_tested_and_removed(shell: Shell) -> None:
    async with ScriptedProvider() as provider:
        import asyncio

        def work() -> None:
            assert "no key" in shell("providers").stdout or "without a key" in shell("providers").stdout
            given = shell("providers", "key", "openai", "--set", f"base_url={provider.url}", "--note", "mine", stdin=KEY + "\n")
            assert "ending in 4711" in given.stdout and KEY not in given.stdout + given.stderr
            listed = shell.json("providers", "list")
            (row,) = [p for p in listed["items"] if p["name"] == "openai"]
            assert row["ready"] and row["source"] == "given here, ends in 4711" and KEY not in str(listed)
            tested = shell.json("providers", "test", "openai")
            assert tested["ok"] and tested["models"] == ["scripted-small"]
            asked = shell.json("providers", "test", "openai", "--model", "m")
            assert asked["ok"] and provider.requests[-1].headers["Authorization"] == f"Bearer {KEY}"
            assert shell.json("providers", "rekey")["sealed"] == 1
            gone = shell.json("providers", "remove-key", row["keys"][0]["id"])
            assert gone["provider"] == "openai" and KEY not in str(gone)
            failed = shell("providers", "test", "openai", code=1)
            assert "OPENAI_API_KEY is not set" in failed.stdout

        await asyncio.to_thread(work)


def test_what_is_wrong_is_said_without_the_key(shell: Shell) -> None:
    wrong = shell("providers", "key", "opnai", stdin=KEY, code=1)
    assert "did you mean 'openai'" in wrong.stderr and KEY not in wrong.stderr
    empty = shell("providers", "key", "openai", stdin="\n", code=1)
    assert "the key is empty" in empty.stderr
    field = shell("providers", "key", "openai", "--set", "region", stdin=KEY, code=1)
    assert "write NAME=VALUE" in field.stderr
    assert shell("providers", "key", "openai", "a-key-as-argument", stdin=KEY, code=2)


def test_a_config_of_litellm(shell: Shell) -> None:
    (shell.folder / "config.yaml").write_text(
        "model_list:\n- model_name: a\n  litellm_params: {model: groq/llama, api_key: sk-clear-0123456789-abcd}\n"
        "general_settings: {master_key: sk-master-planted}\n"
    )
    dry = shell("import", "litellm", "config.yaml", "--dry-run")
    assert "1 key would be given" in dry.stdout and "route a → groq/llama" in dry.stdout
    assert not shell.json("providers")["items"][0].get("keys")
    done = shell("import", "litellm", "config.yaml")
    assert "1 key given" in done.stdout and "general_settings.master_key" in done.stdout
    assert "sk-clear" not in done.stdout + dry.stdout and "planted" not in done.stdout
    assert shell.json("import", "litellm", "config.yaml")["keys"] == 1
    assert [len(p["keys"]) for p in shell.json("providers")["items"] if p.get("keys")] == [1]
