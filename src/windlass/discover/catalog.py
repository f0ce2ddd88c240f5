"""The models there are, as lists for people: what this installation can call, and the whole catalog with filters.

Knows the providers' table, the price table and the facts. Only the local servers are asked, for what they have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import msgspec

from windlass.core.actor import Actor
from windlass.core.ids import now_ns
from windlass.core.operations import Empty
from windlass.core.operations.discover import CatalogEntry, CatalogPage, CatalogQuery, ModelFacts
from windlass.core.operations.runs import ModelEntry, ModelList
from windlass.discover.facts import Facts
from windlass.discover.fitting import affordable, cursor, fits, ordering, position
from windlass.discover.providers import Probed, Provider, Providers, probe
from windlass.govern.permissions import guard
from windlass.govern.prices import Prices, at


class Catalog:
    """Lists models. In `models`, a provider that cannot be called is one entry, `provider/…`, that says why not."""

    def __init__(self, providers: Providers, prices: Prices, facts: Facts | None = None) -> None:
        self._providers = providers
        self._prices = prices
        self._facts = facts or Facts()

    async def models(self, actor: Actor, params: Empty) -> ModelList:
        """Operation `models.list`. Raises `Forbidden`."""
        guard(actor, "read", actor.project)
        probed = await probe(self._providers)
        return ModelList(tuple(await asyncio.to_thread(self.entries, probed)))

    async def search(self, actor: Actor, query: CatalogQuery) -> CatalogPage:
        """Operation `models.search`: what fits, of all that is known. Raises `Forbidden`, `Invalid`."""
        guard(actor, "read", actor.project)
        probed = await probe(self._providers)
        return await asyncio.to_thread(self.page, query, probed)

    def entries(self, probed: Sequence[Probed] = ()) -> list[ModelEntry]:
        """The baseline first, then what can be called, then what cannot; each by name."""
        found = [entry for name, provider in self._providers.table.items() for entry in self._of(name, provider, probed)]
        found.sort(key=lambda e: (not e.available, e.id))
        return [ModelEntry("baseline", "baseline", True, "", 0.0, 0.0, "built in"), *found]

    def page(self, query: CatalogQuery, probed: Sequence[Probed] = ()) -> CatalogPage:
        """One page of what fits. Raises `Invalid` for a cursor that is not ours."""
        query = msgspec.structs.replace(query, provider=query.provider and self._name(query.provider))
        now, unpriced, found = now_ns(), 0, []
        for facts in self._known(probed):
            if fits(facts, query) and not (query.available and self._why_not(facts.provider)):
                entry = self._priced(facts, now)
                verdict = affordable(entry, query)
                unpriced += verdict == "unpriced"
                if verdict == "yes":
                    found.append(entry)
        key = ordering(query.sort)
        found.sort(key=key)
        after = position(query.cursor) if query.cursor else None
        rest = [e for e in found if after is None or key(e) > after]
        items = tuple(rest[: query.limit])
        more = cursor(key(items[-1])) if len(rest) > query.limit else None
        return CatalogPage(items=items, total=len(found), unpriced=unpriced, next=more, sources=self._facts.sources())

    def _name(self, provider: str) -> str:
        """A provider as its models are listed: as the table has it, else as the catalog calls it."""
        return provider if provider in self._providers.table else self._facts.provider(provider)

    def _known(self, probed: Sequence[Probed]) -> Iterator[ModelFacts]:
        """The catalogued, and what this installation knows by name only: local models, those of providers.toml, those with a price."""
        catalogued = self._facts.all()
        yield ModelFacts("baseline", "baseline", "the built-in baseline")
        yield from catalogued
        there = {(f.provider, f.id) for f in catalogued}
        for name, provider in self._providers.table.items():
            answer = next((p for p in probed if p.provider == name), None)
            local = answer.models if answer else ()
            for model in sorted({*local} if provider.local else {*provider.models, *self._prices.models(name)}):
                if (name, model) not in there:
                    # an installation may call a provider by another name than the catalog
                    facts = self._facts.find(name, model) or ModelFacts(name, model, model)
                    yield msgspec.structs.replace(facts, provider=name, id=model)

    def _why_not(self, provider: str) -> str:
        if provider == "baseline":
            return ""
        row = self._providers.table.get(provider)
        return self._providers.why_not(row) if row else "not in providers.toml"

    def _priced(self, facts: ModelFacts, now: int) -> CatalogEntry:
        """The user's price, else the price table's, else the one its facts list; `price_source` says which."""
        if facts.provider == "baseline":
            return CatalogEntry("baseline", facts, True, "", 0.0, 0.0, "built in")
        why_not = self._why_not(facts.provider)
        entry = CatalogEntry(f"{facts.provider}/{facts.id}", facts, not why_not, why_not)
        if (rates := self._prices.rates(facts.provider, facts.id, now)) is not None:
            entry.input_price = None if rates.input is None else at(rates.input, 0)
            entry.output_price = None if rates.output is None else at(rates.output, 0)
            entry.price_source = self._prices.source(facts.provider, facts.id)
        elif facts.listed is not None:
            entry.input_price, entry.output_price, entry.price_source = facts.listed.input, facts.listed.output, facts.source
        return entry

    def _of(self, name: str, provider: Provider, probed: Sequence[Probed]) -> list[ModelEntry]:
        if why := self._providers.why_not(provider):
            return [ModelEntry(f"{name}/…", name, False, why)]
        if provider.local:
            answer = next((p for p in probed if p.provider == name), None)
            if answer is None or answer.why_not:
                return [ModelEntry(f"{name}/…", name, False, answer.why_not if answer else "not asked yet")]
            return [self._entry(name, model) for model in answer.models]
        listed = sorted({*provider.models, *self._prices.models(name)})
        return [self._entry(name, model) for model in listed]

    def _entry(self, provider: str, model: str) -> ModelEntry:
        rates = self._prices.rates(provider, model, now_ns())
        if rates is None:
            return ModelEntry(f"{provider}/{model}", provider, True)
        source = self._prices.source(provider, model)
        return ModelEntry(
            f"{provider}/{model}", provider, True, "", None if rates.input is None else at(rates.input, 0),
            None if rates.output is None else at(rates.output, 0), source,
        )  # fmt: skip
