"""What is known of models: limits with their source, names of providers, where data goes; broken files are told."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import msgspec
import pytest

from windlass.core.errors import Invalid
from windlass.discover.facts import FOLDER, Facts

SHIPPED = Facts()


def test_a_known_model_has_its_limits_with_source_and_day() -> None:
    found = SHIPPED.find("openai", "gpt-5-mini")
    assert found is not None
    assert (found.context, found.output_limit, found.open_weights) == (400_000, 128_000, False)
    assert re.fullmatch(r"models\.dev, 20\d\d-\d\d-\d\d", found.source)
    assert {"tools", "structured", "vision"} <= set(found.can) and "temperature" in found.cannot


@pytest.mark.parametrize(
    ("name", "model", "provider"),
    [
        ("google", "gemini-2.5-pro", "gemini"), ("gemini", "gemini-2.5-pro", "gemini"), ("gcp.gemini", "gemini-2.5-pro", "gemini"),
        ("gcp.vertex_ai", "gemini-2.5-pro", "vertex"), ("vertex", "gemini-2.5-pro", "vertex"), ("x_ai", "grok-4.3", "xai"),
        ("x-ai", "grok-4.3", "xai"), ("azure.ai.openai", "gpt-5", "azure"), ("mistral_ai", "mistral-large-latest", "mistral"),
        ("aws.bedrock", "amazon.nova-pro-v1:0", "bedrock"), ("openai", "GPT-5-mini", "openai"),
    ],
)  # fmt: skip
def test_a_provider_is_found_by_each_of_its_names(name: str, model: str, provider: str) -> None:
    found = SHIPPED.find(name, model)
    assert found is not None and found.provider == provider


def test_what_is_not_there_is_not_known() -> None:
    assert SHIPPED.find("openai", "gpt-77") is None
    assert SHIPPED.find("nobody", "gpt-5") is None
    assert SHIPPED.provider("nobody") == "nobody"


def test_every_shipped_figure_has_its_source() -> None:
    days = re.compile(r"20\d\d-\d\d(-\d\d)?")
    for facts in SHIPPED.all():
        assert facts.source and facts.name
        assert bool(facts.licence) is bool(facts.licence_source) and bool(facts.retires) is bool(facts.retires_source), facts.id
        for score in facts.benchmarks:
            assert score.source.startswith("https://") and "artificialanalysis" not in score.source
            assert not score.date or days.fullmatch(score.date)
        if facts.places:
            assert facts.places.source.startswith("https://") and days.fullmatch(facts.places.date)
            assert facts.places.default or facts.places.choices
    assert all(s.licence and s.url and (s.as_of or any(c.isdigit() for c in s.name)) for s in SHIPPED.sources())
    assert (FOLDER / "models.json").stat().st_size < 700_000


def test_an_id_that_names_a_place_goes_there() -> None:
    europe, anywhere, any_region = (
        SHIPPED.find("bedrock", f"{prefix}anthropic.claude-haiku-4-5-20251001-v1:0") for prefix in ("eu.", "global.", "")
    )
    assert europe and anywhere and any_region and europe.places and anywhere.places and any_region.places
    assert (europe.places.default, europe.places.choices) == (("EU",), ())
    assert anywhere.places.default == ("any",)
    assert any_region.places.default == () and "EU" in any_region.places.choices


def test_it_is_read_once_also_by_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    decode = msgspec.json.decode
    monkeypatch.setattr(msgspec.json, "decode", lambda *a, **k: reads.append(1) or decode(*a, **k))
    facts = Facts()
    assert reads == [], "not on import, and not before somebody asks"
    threads = [threading.Thread(target=facts.find, args=("openai", "gpt-5")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reads) == 1


GOOD = {"sources": [{"name": "m", "url": "u", "licence": "MIT"}], "bases": {}, "models": {}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "truncated"),
        (json.dumps({"models": {}}), "sources"),
        (json.dumps({**GOOD, "sources": []}), "names no source"),
        (json.dumps({**GOOD, "models": {"a/b": {"base": "c/d"}}}), "a/b is based on c/d"),
        (json.dumps({**GOOD, "models": {"a/b": {"context": "large"}}}), "a/b: Expected `int"),
        (None, "No such file"),
    ],
)
def test_a_catalog_that_cannot_be_read_says_why_and_what_to_do(tmp_path: Path, text: str | None, said: str) -> None:
    (tmp_path / "places.toml").write_text("")
    if text is not None:
        (tmp_path / "models.json").write_text(text)
    with pytest.raises(Invalid, match=re.escape(said)) as e:
        Facts(tmp_path).all()
    assert "models.json" in str(e.value.where) and "convert_models.py" in str(e.value.remedy)


def test_places_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "models.json").write_text(json.dumps(GOOD))
    (tmp_path / "places.toml").write_text('[a]\nsource = "s"\ndate = "d"\nplace = "EU"\n')
    with pytest.raises(Invalid, match="place"):
        Facts(tmp_path).all()
