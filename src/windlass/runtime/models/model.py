"""The port: what every model can do, whoever provides it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from windlass.core.message import Delta, ModelReply, ModelRequest


class Model(Protocol):
    """A model that can be asked. Both methods raise `ModelFailed` for whatever the provider did wrong and `Invalid` for what
    it can never be asked; a refusal is a reply that stopped with `refusal`. Cancelling, or closing the iterator, cancels
    the call upstream. `timeout_s` bounds the whole call in seconds."""

    id: str  # as one writes it: openai/gpt-5-mini, baseline
    provider: str

    async def complete(self, request: ModelRequest, *, timeout_s: float | None = None) -> ModelReply: ...

    def stream(self, request: ModelRequest, *, timeout_s: float | None = None) -> AsyncIterator[Delta]:
        """Its pieces as they come; the last delta carries the whole reply."""
        ...
