"""Calls that go by a route: the same two ways as without one, passing on or translating, tried at one upstream after the other.

One call is one span, whoever answered. An upstream that speaks the caller's dialect is passed through; of the others each says for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from windlass.core.errors import WindlassError
from windlass.core.message import ModelRequest, Usage
from windlass.core.operations.routes import Route
from windlass.doors.gateway.answers import FACES, Face, Translation
from windlass.doors.gateway.calls import Call
from windlass.doors.gateway.exchange import ClientGone, Exchange
from windlass.doors.gateway.relay import Passage, Refused, is_stream, speaks
from windlass.runtime.context import Records
from windlass.runtime.models import Model, Models, RemoteModel, RoutedModel
from windlass.runtime.models.routing import Attempt, Routing

VECTORS = "/embeddings"


class Asked:
    """What a caller wants: in which dialect and at which of its paths, whole and by its top-level fields."""

    def __init__(
        self, dialect: str, path: str, face: Face | None, raw: bytes, fields: dict[str, Any], keep: Callable[[bytes], str] | None
    ) -> None:
        self.dialect = dialect
        self.path = path
        self.face = face
        self.fields = fields
        self._raw = raw
        self._keep = keep
        self._said: tuple[ModelRequest, dict[str, Any]] | None = None

    def native(self, model: Model) -> bool:
        return isinstance(model, RemoteModel) and speaks(model.endpoint.provider, self.dialect, self.path)

    def translated(self, model: str) -> tuple[ModelRequest, dict[str, Any]]:
        """The request in our words, and its body. Raises `Invalid` for what cannot be said in them."""
        if self._said is None:
            assert self.face is not None
            body = msgspec.json.decode(self._raw)
            self._said = self.face.request_of(body, self._keep), body
        request, body = self._said
        return msgspec.structs.replace(request, model=model), body


class Routed:
    """Answers calls of routes, and writes their traces."""

    def __init__(self, models: Models, records: Records) -> None:
        self._http = models.http
        self._price = models.price
        self._records = records

    async def answer(self, exchange: Exchange, call: Call, model: RoutedModel, asked: Asked) -> None:
        """Ask one upstream after the other. Raises what the last one failed with, or why none could be asked."""
        routing = model.begin(fits=lambda m: _misfit(m, asked, model.route), begun=lambda: exchange.begun)
        way: Passage | Translation | None = None
        problem = ""
        try:
            async with exchange.watched():
                async for attempt in routing:
                    async with attempt:
                        exchange.upstream = attempt.upstream.model.encode("ascii", "replace")
                        call.provider = attempt.model.provider
                        way = self._way(exchange, asked, attempt, routing)
                        await self._carry(exchange, call, way, attempt)
        except ClientGone:
            problem = "the client left before its answer was whole"
            call.left = True
        except Refused as e:
            problem = e.message
            await exchange.respond(*e.answer)
        except WindlassError as e:
            problem = e.message
            raise
        finally:
            self._record(call, way, problem, routing)

    def _way(self, exchange: Exchange, asked: Asked, attempt: Attempt, routing: Routing) -> Passage | Translation:
        model = attempt.model
        if not (isinstance(model, RemoteModel) and asked.native(model)):
            assert asked.face is not None, "what cannot be translated fits no such upstream"
            return Translation(asked.face, *asked.translated(model.id), self._price)
        end = asyncio.get_running_loop().time() + attempt.left_s(stream=is_stream(asked.fields))
        http = self._http.under(routing.limits)
        return Passage(http, model.endpoint, asked.path, asked.fields, model.name, exchange.headers, end=end, strict=True)

    async def _carry(self, exchange: Exchange, call: Call, way: Passage | Translation, attempt: Attempt) -> None:
        if isinstance(way, Passage):
            await way.carry(exchange, call)
        else:
            await way.carry(exchange, call, attempt.model, attempt.left_s(stream=way.stream))

    def _record(self, call: Call, way: Passage | Translation | None, problem: str, routing: Routing) -> None:
        said, lost = routing.attributes(), routing.spent
        if way is None:  # nobody was asked
            self._records.record([call.span(None, None, problem, more=said)])
            return
        way.problem = problem
        if isinstance(way, Translation):
            self._records.record([way.span(call, said, lost)])
            return

        def price(provider: str, model: str, usage: Usage, at_ns: int) -> float | None:
            cost = self._price(provider, model, usage, at_ns)
            return None if cost is None or lost is None else cost + lost

        self._records.record([way.span(call, price, said)])


def _misfit(model: Model, asked: Asked, route: Route) -> str:
    """Why an upstream cannot be asked this; empty where it can."""
    if not asked.native(model) and asked.path not in FACES:
        return f"it does not speak {asked.path}"
    if asked.path == VECTORS and not route.same_vectors and _bare(model.id) != _bare(route.upstreams[0].model):
        return "its vectors are another model's, unless the route says same_vectors"
    return ""


def _bare(model: str) -> str:
    return model.rpartition("/")[2]
