"""What this installation can call, as a list for people: the baseline, and the models of every provider, with prices.

Knows the providers' table and the price table. Only `models` asks somebody: the local servers, for what they have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from windlass.core.actor import Actor
from windlass.core.ids import now_ns
from windlass.core.operations import Empty
from windlass.core.operations.runs import ModelEntry, ModelList
from windlass.discover.providers import Probed, Provider, Providers, probe
from windlass.govern.permissions import guard
from windlass.govern.prices import Prices, at


class Catalog:
    """Lists models. A provider that cannot be called is one entry, `provider/…`, that says why not."""

    def __init__(self, providers: Providers, prices: Prices) -> None:
        self._providers = providers
        self._prices = prices

    async def models(self, actor: Actor, params: Empty) -> ModelList:
        """Operation `models.list`. Raises `Forbidden`."""
        guard(actor, "read", actor.project)
        probed = await probe(self._providers)
        return ModelList(tuple(await asyncio.to_thread(self.entries, probed)))

    def entries(self, probed: Sequence[Probed] = ()) -> list[ModelEntry]:
        """The baseline first, then what can be called, then what cannot; each by name."""
        found = [entry for name, provider in self._providers.table.items() for entry in self._of(name, provider, probed)]
        found.sort(key=lambda e: (not e.available, e.id))
        return [ModelEntry("baseline", "baseline", True, "", 0.0, 0.0, "built in"), *found]

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
