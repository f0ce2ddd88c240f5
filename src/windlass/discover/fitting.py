"""Which models fit a query, and in which order: filters over facts, limits on prices, keys of pages. Asks nobody."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from typing import Literal

from windlass.core.errors import Invalid
from windlass.core.operations.discover import CatalogEntry, CatalogQuery, ModelFacts, Places, Sort

MEMBERS = frozenset((
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU", "LV", "MT", "NL", "PL",
    "PT", "RO", "SE", "SI", "SK",
))  # fmt: skip
WITHIN = {
    "EU": MEMBERS,
    "EEA+CH": MEMBERS | {"EU", "CH", "IS", "LI", "NO"},
    "EUROPE": MEMBERS | {"EU", "EEA+CH", "CH", "GB", "IS", "LI", "NO"},
}

Affordable = Literal["yes", "no", "unpriced"]
Key = tuple[float, str]


def stays_in(places: Places | None, region: str) -> bool:
    """Whether data stays in a region, by default or because one can choose it. Not known is no."""
    if places is None:
        return False
    region = region.upper()
    inside = {place.upper() for place in (*WITHIN.get(region, ()), region)}
    default, choices = ({place.upper() for place in given} for given in (places.default, places.choices))
    return (bool(default) and default <= inside) or bool(choices & inside)


def fits(facts: ModelFacts, query: CatalogQuery) -> bool:
    """Whether a model passes every filter but those on prices and availability. What is not known does not pass."""
    if query.provider and facts.provider != query.provider:
        return False
    if query.search:
        text = f"{facts.provider}/{facts.id} {facts.name} {facts.family} {facts.base}".casefold()
        if not all(word in text for word in query.search.casefold().split()):
            return False
    if query.min_context is not None and (facts.context or 0) < query.min_context:
        return False
    if query.licence and facts.licence.casefold() != query.licence.casefold():
        return False
    if query.open_weights is not None and facts.open_weights is not query.open_weights:
        return False
    if query.region and not stays_in(facts.places, query.region):
        return False
    return set(query.can) <= set(facts.can)


def affordable(entry: CatalogEntry, query: CatalogQuery) -> Affordable:
    """Whether a model costs no more than asked; `unpriced` when a price that is limited is not known."""
    limits = ((entry.input_price, query.max_input_price), (entry.output_price, query.max_output_price))
    limited = [(price, most) for price, most in limits if most is not None]
    if any(price is not None and price > most for price, most in limited):
        return "no"
    return "unpriced" if any(price is None for price, _ in limited) else "yes"


def ordering(sort: Sort) -> Callable[[CatalogEntry], Key]:
    """The key to sort by: cheapest, largest or newest first, what is not known last, then by id."""
    return {
        "id": lambda e: (0.0, e.id),
        "price": lambda e: (math.inf if e.input_price is None else e.input_price, e.id),
        "context": lambda e: (-float(e.facts.context) if e.facts.context else math.inf, e.id),
        "released": lambda e: (-_day(e.facts.released) if e.facts.released else math.inf, e.id),
    }[sort]


def _day(text: str) -> float:
    """A date, or the first day of a month."""
    return float(datetime.date.fromisoformat(text if len(text) == 10 else f"{text}-01").toordinal())


def cursor(key: Key) -> str:
    return f"{key[0]!r}:{key[1]}"


def position(given: str) -> Key:
    """The key after which a page begins. Raises `Invalid` for a cursor that `cursor` did not make."""
    number, _, identity = given.partition(":")
    try:
        key = (float(number), identity)
    except ValueError:
        key = (math.nan, "")
    if math.isnan(key[0]) or not identity:
        raise Invalid("this cursor is not one of ours", remedy="start from the first page")
    return key
