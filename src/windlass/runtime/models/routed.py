"""A model behind a route: what a component of a release asks, and the gateway."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from windlass.core.digest import digest_json
from windlass.core.message import Delta, ModelReply, ModelRequest
from windlass.core.operations.routes import PREFIX, Route
from windlass.runtime.models.model import Model
from windlass.runtime.models.routing import Routing


class RoutedModel:
    """`Model` whose calls go by a route, for one caller. What it is asked is put to one upstream after the other, never again once a piece
    of the answer was given out. `routing` is of the last call."""

    provider = PREFIX.rstrip("/")

    def __init__(self, model_id: str, route: Route, begin: Callable[..., Routing]) -> None:
        self.id = model_id
        self.route = route
        self.routing: Routing | None = None
        self._begin = begin

    def begin(self, **how: Any) -> Routing:
        """A new call; `how` are `Routing`'s own options."""
        self.routing = self._begin(**how)
        return self.routing

    async def complete(self, request: ModelRequest, *, timeout_s: float | None = None) -> ModelReply:
        """One answer. Raises what the last upstream raised; `Busy` and `Unavailable` where none could be asked."""
        routing = self.begin(timeout_s=timeout_s)
        async for attempt in routing:
            async with attempt:
                reply = await attempt.model.complete(request, timeout_s=attempt.left_s(stream=False))
                return _of(reply, attempt.upstream.model, routing)
        raise AssertionError("a routing ends by an answer or an error")

    async def stream(self, request: ModelRequest, *, timeout_s: float | None = None) -> AsyncIterator[Delta]:
        """Text as it comes, then the whole reply. Raises as `complete`."""
        begun = False
        routing = self.begin(timeout_s=timeout_s, begun=lambda: begun)
        async for attempt in routing:
            async with attempt:
                left_s = attempt.left_s(stream=True)
                async with contextlib.aclosing(attempt.model.stream(request, timeout_s=left_s)) as deltas:  # type: ignore[type-var]
                    async for delta in deltas:
                        begun = True
                        if delta.reply is not None:
                            delta = msgspec.structs.replace(delta, reply=_of(delta.reply, attempt.upstream.model, routing))
                        yield delta
                return


def _of(reply: ModelReply, upstream: str, routing: Routing) -> ModelReply:
    """The reply, with who gave it and what the attempts before it came to."""
    cost = None if reply.cost is None or routing.spent is None else reply.cost + routing.spent
    return msgspec.structs.replace(reply, upstream=upstream, cost=cost)


def drawn_by(model: Model, digest: str) -> str:
    """What a draw is named by: the digest of the model's version; behind a route also that of the route, since another one asks others."""
    return digest_json([digest, model.route.digest()]) if isinstance(model, RoutedModel) else digest


def lost_of(model: Model) -> float | None:
    """Dollars of a call that nobody answered; None where attempts that told their tokens have no price."""
    return model.routing.spent if isinstance(model, RoutedModel) and model.routing is not None else 0.0


def routed(model: Model) -> dict[str, Any]:
    """What the span of a call says of its route; empty where it went by none."""
    return model.routing.attributes() if isinstance(model, RoutedModel) and model.routing is not None else {}
