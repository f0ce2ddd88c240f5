"""The models there are, as lists for people: what this installation can call, and the whole catalog with filters.

Knows the providers' table, the price table and the facts. Only the local servers are asked, for what they have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

import msgspec

from windlass.core.actor import Actor
from windlass.core.encoding import MINILM_NAME
from windlass.core.ids import now_ns
from windlass.core.models import BARS, BASELINE, SAID, bar_id, named
from windlass.core.operations import Empty
from windlass.core.operations.discover import CatalogEntry, CatalogPage, CatalogQuery, ModelFacts
from windlass.core.operations.runs import ModelEntry, ModelList
from windlass.core.weights import LOCAL
from windlass.discover.facts import Facts
from windlass.discover.fitting import affordable, cursor, fits, ordering, position
from windlass.discover.providers import Probed, Provider, Providers, probe
from windlass.govern.permissions import guard
from windlass.govern.prices import Prices, at


class Catalog:
    """Lists models. In `models`, a provider that cannot be called is one entry, `provider/…`, that says why not.

    Args:
        providers: whom this installation can call.
        prices: what it costs.
        minilm: whether MiniLM is installed here.
        facts: of models; the shipped ones by default.
        weights: the licence of weights on this machine, by what follows `local/`. Raises `NotFound`.
        missing: what those lack to be run; empty for nothing.
    """

    def __init__(
        self, providers: Providers, prices: Prices, minilm: Callable[[], bool] = lambda: False, facts: Facts | None = None,
        weights: Callable[[str], str] | None = None, missing: Callable[[], str] = lambda: "",
    ) -> None:  # fmt: skip
        self._providers = providers
        self._prices = prices
        self._minilm = minilm
        self._facts = facts or Facts()
        self._weights = weights
        self._missing = missing

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

    @property
    def local(self) -> tuple[str, ...]:
        """The providers on this machine."""
        return (LOCAL, *(name for name, provider in self._providers.table.items() if provider.local))

    async def entries_of(self, models: Sequence[str], among: CatalogQuery | None) -> list[CatalogEntry]:
        """These models; where none is named, all that fit and can be called. Raises `Invalid`, `NotFound` for what is no model."""
        if models:
            return await asyncio.to_thread(lambda: [self.entry(m) for m in dict.fromkeys(models)])
        query = msgspec.structs.replace(among or CatalogQuery(), available=True, cursor=None)
        found, _ = await asyncio.to_thread(self._fitting, query, await probe(self._providers))
        return found

    def entry(self, model: str) -> CatalogEntry:
        """One model by its id, also one of which nothing but the name is known. Raises `Invalid`, `NotFound` for what is no model."""
        body = named(model).body
        if body.provider == BASELINE:
            return next(self._bar(facts) for facts in _bars() if BARS[facts.id] == body.model)
        if body.provider == LOCAL and self._weights is not None:
            facts = _on_this_machine(body.model, self._weights(body.model))
            return CatalogEntry(model, facts, not self._missing(), self._missing(), 0.0, 0.0, "this machine")
        self._providers.get(body.provider)
        facts = self._facts.find(body.provider, body.model) or ModelFacts(body.provider, body.model, body.model)
        return self._priced(msgspec.structs.replace(facts, provider=body.provider, id=body.model), now_ns())

    def entries(self, probed: Sequence[Probed] = ()) -> list[ModelEntry]:
        """The baseline first, then what can be called, then what cannot; each by name."""
        found = [entry for name, provider in self._providers.table.items() for entry in self._of(name, provider, probed)]
        built_in = [self._bar(facts) for facts in _bars()]
        bars = [ModelEntry(e.id, BASELINE, e.available, e.why_not, 0.0, 0.0, e.price_source) for e in built_in]
        found.sort(key=lambda e: e.id)
        return sorted([*bars, *found], key=lambda e: not e.available)

    def page(self, query: CatalogQuery, probed: Sequence[Probed] = ()) -> CatalogPage:
        """One page of what fits. Raises `Invalid` for a cursor that is not ours."""
        found, unpriced = self._fitting(query, probed)
        key = ordering(query.sort)
        after = position(query.cursor) if query.cursor else None
        rest = [e for e in found if after is None or key(e) > after]
        items = tuple(rest[: query.limit])
        more = cursor(key(items[-1])) if len(rest) > query.limit else None
        return CatalogPage(items=items, total=len(found), unpriced=unpriced, next=more, sources=self._facts.sources())

    def _fitting(self, query: CatalogQuery, probed: Sequence[Probed]) -> tuple[list[CatalogEntry], int]:
        """All that fit, in the order asked for, and how many more would but for a price that is not known."""
        query = msgspec.structs.replace(query, provider=query.provider and self._name(query.provider))
        now, unpriced, found = now_ns(), 0, []
        for facts in self._known(probed):
            if fits(facts, query) and not (query.available and self._why_not(facts)):
                entry = self._priced(facts, now)
                verdict = affordable(entry, query)
                unpriced += verdict == "unpriced"
                if verdict == "yes":
                    found.append(entry)
        found.sort(key=ordering(query.sort))
        return found, unpriced

    def _name(self, provider: str) -> str:
        """A provider as its models are listed: as the table has it, else as the catalog calls it."""
        return provider if provider in self._providers.table else self._facts.provider(provider)

    def _known(self, probed: Sequence[Probed]) -> Iterator[ModelFacts]:
        """The catalogued, and what this installation knows by name only: local models, those of providers.toml, those with a price."""
        catalogued = self._facts.all()
        yield from _bars()
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

    def _why_not(self, facts: ModelFacts) -> str:
        if facts.provider == BASELINE:
            return self._bar(facts).why_not
        row = self._providers.table.get(facts.provider)
        return self._providers.why_not(row) if row else "not in providers.toml"

    def _priced(self, facts: ModelFacts, now: int) -> CatalogEntry:
        """The user's price, else the price table's, else the one its facts list; `price_source` says which."""
        if facts.provider == BASELINE:
            return self._bar(facts)
        why_not = self._why_not(facts)
        entry = CatalogEntry(f"{facts.provider}/{facts.id}", facts, not why_not, why_not)
        if (rates := self._prices.rates(facts.provider, facts.id, now)) is not None:
            entry.input_price = None if rates.input is None else at(rates.input, 0)
            entry.output_price = None if rates.output is None else at(rates.output, 0)
            entry.price_source = self._prices.source(facts.provider, facts.id)
        elif facts.listed is not None:
            entry.input_price, entry.output_price, entry.price_source = facts.listed.input, facts.listed.output, facts.source
        return entry

    def _bar(self, facts: ModelFacts) -> CatalogEntry:
        """A built-in model: free, and there, but for the weights it needs."""
        missing = "windlass encoders install minilm" if facts.id == MINILM_NAME and not self._minilm() else ""
        return CatalogEntry(bar_id(facts.id), facts, not missing, missing, 0.0, 0.0, "built in")

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


def _on_this_machine(identity: str, licence: str) -> ModelFacts:
    """What is known of weights that somebody brought, or tuned."""
    said: dict[str, object] = {"provider": LOCAL, "id": identity, "name": identity.partition("@")[0], "licence": licence}
    said |= {
        "licence_source": "who brought them",
        "inputs": ("text",),
        "outputs": ("text",),
        "cannot": ("tools",),
        "source": "this machine",
    }
    return msgspec.convert({**said, "places": {"source": "this machine", "date": "", "default": ("this machine",)}}, ModelFacts)


def _bars() -> list[ModelFacts]:
    """The built-in models. They run here, and their code is under Windlass's own licence."""
    said: dict[str, object] = {"can": ("tools", "structured"), "licence": "Apache-2.0", "inputs": ("text",), "outputs": ("text",)}
    said |= {"source": "built in", "places": {"source": "built in", "date": "", "default": ("this machine",)}}
    return [msgspec.convert({"provider": BASELINE, "id": name, "name": SAID[name], **said}, ModelFacts) for name in BARS]
