"""The model catalog: what is known of each model, from where and as of when, and the question for those that fit."""

from __future__ import annotations

from typing import Literal

import msgspec

from windlass.core.operations import Limit, Operation, Page

Capability = Literal["tools", "reasoning", "structured", "attachments", "temperature", "vision", "audio", "video", "pdf"]
Sort = Literal["id", "price", "context", "released"]


class Benchmark(msgspec.Struct, frozen=True, omit_defaults=True):
    """A published score. `how` is the variant, split or harness it was measured with; `date` is empty where the source has none."""

    name: str
    score: float
    source: str  # an address
    unit: str = ""
    how: str = ""
    date: str = ""


class ListedPrice(msgspec.Struct, frozen=True, omit_defaults=True):
    """US dollars per million tokens, for short inputs, as the source of the facts has them."""

    input: float | None = None
    output: float | None = None
    cached: float | None = None
    cache_write: float | None = None


class Places(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a provider processes what it is sent: `default` unless one chooses, `choices` if one does. Countries as ISO 3166
    writes them, `EU`, `EEA+CH` (with Switzerland), `Europe` (with the United Kingdom too), `APAC`, or `any`. Empty: not known."""

    source: str  # an address
    date: str  # of the page, or of the day it was read
    default: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    how: str = ""  # how one chooses, and for what it holds


class ModelFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a model at a provider. What is empty or None is not known. `can` and `cannot` are what the source states:
    a capability in neither is not known either. Dates are YYYY-MM-DD or YYYY-MM."""

    provider: str
    id: str  # as the provider writes it
    name: str = ""
    family: str = ""
    base: str = ""  # the model it is: one base may be offered by many
    context: int | None = None
    input_limit: int | None = None
    output_limit: int | None = None
    inputs: tuple[str, ...] = ()  # text, image, audio, video, pdf
    outputs: tuple[str, ...] = ()
    can: tuple[Capability, ...] = ()
    cannot: tuple[Capability, ...] = ()
    open_weights: bool | None = None
    licence: str = ""  # of the weights: an SPDX id, or the name its maker gave it
    licence_source: str = ""
    weights: str = ""
    knowledge: str = ""
    released: str = ""
    status: str = ""  # alpha, beta, deprecated
    retires: str = ""
    retires_source: str = ""
    listed: ListedPrice | None = None
    benchmarks: tuple[Benchmark, ...] = ()  # of its base
    places: Places | None = None
    source: str = ""  # with its date; empty when nothing but the name is known


class CatalogQuery(msgspec.Struct, omit_defaults=True):
    """Filters combine with and; what is not known does not pass one. `search`: every word of it, in the id, name, family or base.
    Prices in US dollars per million tokens. `can`: all of these. `region`: where the data stays, by default or by choice."""

    search: str | None = None
    provider: str | None = None
    max_input_price: float | None = None
    max_output_price: float | None = None
    min_context: int | None = None
    can: tuple[Capability, ...] = ()
    licence: str | None = None
    region: str | None = None
    open_weights: bool | None = None
    available: bool = False  # only what this installation can call now
    sort: Sort = "id"
    cursor: str | None = None
    limit: Limit = 50


class CatalogEntry(msgspec.Struct, omit_defaults=True):
    """One model with what it costs and whether it can be called. A price that nobody told is None."""

    id: str  # as one writes it: openai/gpt-5-mini
    facts: ModelFacts
    available: bool
    why_not: str = ""
    input_price: float | None = None
    output_price: float | None = None
    price_source: str = ""  # with its date


class CatalogSource(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    url: str
    licence: str
    commit: str = ""
    as_of: str = ""


class CatalogPage(Page):
    """`total` fit the query; `unpriced` more fit but for a limit on the price, as theirs is not known."""

    items: tuple[CatalogEntry, ...]
    total: int = 0
    unpriced: int = 0
    sources: tuple[CatalogSource, ...] = ()


SEARCH = Operation("models.search", "GET", CatalogQuery, CatalogPage, "read")
