"""The built-in models beside the baseline: what each answers, word for word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from windlass.core.errors import NotFound, Unavailable
from windlass.core.message import ModelRequest, system, user
from windlass.discover.providers import load_providers
from windlass.runtime.encoders import Encoders
from windlass.runtime.models import Bars, Http, Retries, Timeouts
from windlass.runtime.models.baseline_reader import NO_ANSWER, NO_CONTEXT

HOME = Path(__file__).parents[3] / ".stamps" / "home" / "encoders"
PASSAGES = """[shutil.rmtree] Delete an entire directory tree. Path must point to a directory.
[os.remove] Remove a file. It raises an error for a folder.
[random.shuffle] Put the elements of a list in random order, in place."""
TOLD = "Answer in one sentence, from one passage. If they don't answer it, say so."
SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "symbols": {"type": "array", "items": {"type": "string"}}},
    "required": ["text", "symbols"],
}


async def said(bar: str, question: str, context: str = PASSAGES, bars: Bars | None = None) -> str:
    request = ModelRequest(f"baseline/{bar}", (system(TOLD), user(f"{question}\n\n{context}")))
    reply = await (bars or Bars()).find(bar).complete(request)
    assert reply.cost == 0.0
    return reply.message.text


async def test_silent_never_answers() -> None:
    assert await said("silent", "How do I delete a directory tree?") == NO_ANSWER
    assert await said("silent", "How do I delete a directory tree?", "nothing") == NO_CONTEXT


async def test_lead_copies_what_stands_first_whatever_is_asked() -> None:
    expected = "Delete an entire directory tree. [shutil.rmtree]"
    assert await said("lead", "How do I shuffle a list?") == expected == await said("lead", "How do I bake bread?")
    assert await said("lead", "How do I bake bread?", "nothing") == NO_CONTEXT


async def test_lead_fills_a_schema_and_says_so_piece_by_piece() -> None:
    request = ModelRequest("baseline/lead", (system(TOLD), user(f"How?\n\n{PASSAGES}")), output_schema=SCHEMA)
    reply = await Bars().find("lead@1").complete(request)
    assert json.loads(reply.message.text) == {"text": "Delete an entire directory tree.", "symbols": ["shutil.rmtree"]}
    deltas = [d async for d in Bars().find("lead").stream(request)]
    assert "".join(d.text for d in deltas) == reply.message.text and deltas[-1].reply and deltas[-1].reply.model == "lead@1"


def test_each_is_found_by_its_name_and_by_its_number() -> None:
    assert Bars().find("lead").id == Bars().find("lead@1").id == "baseline/lead@1"
    assert Bars().find("baseline").id == Bars().find("baseline@1").id == "baseline"
    with pytest.raises(NotFound, match="no built-in model baseline/oracle"):
        Bars().find("oracle")


def encoders(folder: Path) -> Encoders:
    return Encoders(folder, load_providers(None, {}), Http(Timeouts(1, 1, 1, 1), Retries(1)))


async def test_minilm_finds_by_meaning_what_shares_no_word(tmp_path: Path) -> None:
    bars = Bars(encoders(HOME))
    if not encoders(HOME).minilm_installed:
        pytest.skip("MiniLM is not installed: make .stamps/encoder")
    assert await said("minilm", "How do I erase a folder and everything below it?", bars=bars) == (
        "Delete an entire directory tree. [shutil.rmtree]"
    )
    assert await said("minilm", "Which wine goes with fish?", bars=bars) == NO_ANSWER
    assert await said("minilm", "Which wine goes with fish?", "nothing", bars=bars) == NO_CONTEXT


async def test_minilm_without_its_weights_says_how_to_have_them(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"minilm|MiniLM") as raised:
        await said("minilm", "Anything?", bars=Bars(encoders(tmp_path)))
    assert "windlass encoders install minilm" in (raised.value.remedy or "")
