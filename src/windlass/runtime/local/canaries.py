"""The service that asks canaries: does an exported artifact, loaded in a fresh process, answer as it did when it was made?"""

from __future__ import annotations

import asyncio

from windlass.core.actor import Actor
from windlass.core.operations.weights import WeightsCheck, WeightsShow
from windlass.govern.permissions import guard
from windlass.registry.weights import WeightsStore, manifest_of
from windlass.runtime.local.models import LocalModels


class Canaries:
    """Service of the check before serving."""

    def __init__(self, weights: WeightsStore, models: LocalModels) -> None:
        self._weights = weights
        self._models = models

    async def check(self, actor: Actor, asked: WeightsShow) -> WeightsCheck:
        """Operation `weights.check`. Raises `NotFound`, `Unavailable` without PyTorch, `ModelFailed` for what cannot be loaded."""
        guard(actor, "run", asked.project)
        version = await asyncio.to_thread(self._weights.find, asked.which, asked.project)
        return await self._models.check(version.ref.short, manifest_of(version) or "")
