"""A policy for models: which may be used for which data. Rules are data; a model is excluded by the first it breaks, by name.

    [[rule]]
    name = "personal data stays in the EU"
    when.data_class = ["personal"]
    regions = ["EU"]

    [[rule]]
    name = "weights under licences we know"
    when.open_weights = true
    licences = ["Apache-2.0", "MIT"]

What is not known of a model does not pass: a rule about regions excludes a provider that nobody told the places of. What runs on this
machine keeps its data wherever the machine is, so it passes every rule about regions. Asks nobody.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path

from windlass.core.errors import Invalid
from windlass.core.models import BASELINE
from windlass.core.operations.bakeoffs import Excluded, Rule, When
from windlass.core.operations.discover import CatalogEntry
from windlass.discover.fitting import stays_in
from windlass.govern.policy import parse_policy_file, read_policy_file


def read_policy(path: Path) -> tuple[Rule, ...]:
    """The rules of a file. Raises `Invalid` naming what is wrong with it, or that it is not there."""
    if not path.exists():
        raise Invalid("the policy cannot be read: there is no such file", where=str(path))
    return checked(read_policy_file(path).rule, str(path))


def parse_policy(text: str, where: str) -> tuple[Rule, ...]:
    """The rules of a TOML text. Raises `Invalid`."""
    return checked(parse_policy_file(text, where).rule, where)


def checked(rules: tuple[Rule, ...], where: str) -> tuple[Rule, ...]:
    """The rules of a file, if each is one. Raises `Invalid`."""
    for rule in rules:
        if not rule.name.strip():
            raise Invalid("a rule has no name: whoever meets it must be told which it is", where=where)
        if not _demands(rule):
            raise Invalid(f"the rule {rule.name!r} demands nothing", where=where, remedy="say licences, regions, providers, … in it")
    return rules


def excluded(entry: CatalogEntry, rules: Sequence[Rule], data_class: str | None, local: Sequence[str]) -> Excluded | None:
    """The first rule that a model breaks, or None. `local` are the providers on this machine."""
    for rule in rules:
        if _holds_for(rule.when, entry, data_class) and (why := _breaks(rule, entry, entry.facts.provider in (BASELINE, *local))):
            return Excluded(entry.id, why, rule.name)
    return None


def _demands(rule: Rule) -> bool:
    return bool(
        rule.licences or rule.regions or rule.providers or rule.not_providers or rule.not_models
        or rule.max_input_price is not None or rule.max_output_price is not None
    )  # fmt: skip


def _holds_for(when: When, entry: CatalogEntry, data_class: str | None) -> bool:
    """A class nobody told is every class: whoever does not say what the data is may not slip through a rule about it."""
    if when.data_class and data_class is not None and data_class not in when.data_class:
        return False
    # nobody told whether its weights are open: then a rule about open ones holds for it, and one about closed ones too
    if when.open_weights is not None and entry.facts.open_weights not in (None, when.open_weights):
        return False
    return not when.provider or entry.facts.provider in when.provider


def _breaks(rule: Rule, entry: CatalogEntry, here: bool) -> str:
    """Why a model does not pass, or nothing."""
    facts = entry.facts
    if rule.providers and facts.provider not in rule.providers:
        return f"{facts.provider} is not among {', '.join(rule.providers)}"
    if facts.provider in rule.not_providers:
        return f"{facts.provider} is ruled out"
    if any(fnmatch.fnmatchcase(entry.id, pattern) for pattern in rule.not_models):
        return f"{entry.id} is ruled out"
    if rule.licences and facts.licence.casefold() not in {x.casefold() for x in rule.licences}:
        return f"its licence is {facts.licence or 'not known'}, not {' or '.join(rule.licences)}"
    if rule.regions and not here and not any(stays_in(facts.places, region) for region in rule.regions):
        known = facts.places and ", ".join((*facts.places.default, *facts.places.choices))
        return f"its data stays in {known}, not in {' or '.join(rule.regions)}" if known else "where its data goes is not known"
    return _too_dear(rule, entry)


def _too_dear(rule: Rule, entry: CatalogEntry) -> str:
    for what, price, most in (
        ("input", entry.input_price, rule.max_input_price),
        ("output", entry.output_price, rule.max_output_price),
    ):
        if most is not None and price is None:
            return f"its price for {what} is not known"
        if most is not None and price is not None and price > most:
            return f"its price for {what} is ${price:g} per million tokens, above ${most:g}"
    return ""
