"""Policies: which rule excludes which model, and what is not known."""

from __future__ import annotations

from pathlib import Path

import pytest

from windlass.core.errors import Invalid
from windlass.core.operations.discover import CatalogEntry, ModelFacts, Places
from windlass.discover.policy import excluded, parse_policy, read_policy

POLICY = """
[[rule]]
name = "personal data stays in the EU"
when.data_class = ["personal"]
regions = ["EU"]

[[rule]]
name = "weights under licences we know"
when.open_weights = true
licences = ["Apache-2.0", "MIT"]

[[rule]]
name = "not these"
not_providers = ["rogue"]
not_models = ["acme/*-preview"]

[[rule]]
name = "not too dear"
max_output_price = 20
"""
RULES = parse_policy(POLICY, "policy.toml")


def entry(provider: str = "acme", id: str = "one", price: float | None = 1.0, **facts: object) -> CatalogEntry:
    given = {"open_weights": False, "places": Places("https://acme.example", "2026-01-01", ("DE",))} | facts
    return CatalogEntry(f"{provider}/{id}", ModelFacts(provider, id, **given), True, "", price, price)  # type: ignore[arg-type]


def broken(one: CatalogEntry, data_class: str | None = None) -> tuple[str, str] | None:
    found = excluded(one, RULES, data_class, local=("ollama",))
    return (found.rule, found.why) if found else None


def test_a_model_that_breaks_no_rule_takes_part() -> None:
    assert broken(entry(), "personal") is None


def test_regions_hold_for_the_class_of_data_they_name_and_for_data_nobody_classed() -> None:
    american = entry(places=Places("https://acme.example", "2026-01-01", ("US",)))
    assert broken(american, "public") is None
    assert broken(american, "personal") == ("personal data stays in the EU", "its data stays in US, not in EU")
    assert broken(american) == broken(american, "personal")
    assert broken(entry(places=None), "personal") == ("personal data stays in the EU", "where its data goes is not known")


def test_what_runs_on_this_machine_keeps_its_data_there() -> None:
    assert broken(entry("ollama", "llama", places=None), "personal") is None
    assert broken(entry("baseline", "baseline", places=None), "personal") is None


def test_licences_hold_for_open_weights_and_where_nobody_told_which_they_are() -> None:
    rule = "weights under licences we know"
    assert broken(entry(open_weights=True, licence="apache-2.0")) is None
    assert broken(entry(open_weights=True, licence="Llama 4")) == (rule, "its licence is Llama 4, not Apache-2.0 or MIT")
    assert broken(entry(open_weights=True)) == (rule, "its licence is not known, not Apache-2.0 or MIT")
    assert broken(entry(open_weights=None)) == (rule, "its licence is not known, not Apache-2.0 or MIT")


def test_providers_and_models_by_name() -> None:
    assert broken(entry("rogue")) == ("not these", "rogue is ruled out")
    assert broken(entry(id="two-preview")) == ("not these", "acme/two-preview is ruled out")


def test_a_price_that_is_not_known_does_not_pass_a_limit() -> None:
    assert broken(entry(price=25.0)) == ("not too dear", "its price for output is $25 per million tokens, above $20")
    assert broken(entry(price=None)) == ("not too dear", "its price for output is not known")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[rule]]\nname = ""\nlicences = ["MIT"]\n', "has no name"),
        ('[[rule]]\nname = "x"\n', "demands nothing"),
        ('[[rule]]\nname = "x"\nlicense = ["MIT"]\n', "license"),
        ('[[rules]]\nname = "x"\n', "rules"),
        ("[[rule]\n", "cannot be read"),
    ],
)
def test_a_broken_policy_says_what_is_wrong(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(text)
    with pytest.raises(Invalid, match=said) as raised:
        read_policy(tmp_path / "policy.toml")
    assert str(tmp_path / "policy.toml") in str(raised.value.where)
