"""Which model a name means, and the ones that live at a provider.

`Models.choose` is the only way to a model that serves somebody: by a route where one answers for its name. `Models.find` is a model as it
is at its provider. Knows providers, dialects and prices only by their ports; no prompts.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from functools import partial

import msgspec

from windlass.core.errors import Invalid, ModelFailed, NotFound, Unavailable
from windlass.core.ids import now_ns
from windlass.core.message import Delta, ModelReply, ModelRequest, Usage, user
from windlass.core.models import BARS, BASELINE
from windlass.core.operations.routes import PREFIX, Route
from windlass.core.weights import LOCAL
from windlass.discover.providers import Endpoint, Providers
from windlass.discover.routes import RouteTable
from windlass.runtime.local import LocalModels
from windlass.runtime.models import dialect_anthropic, dialect_openai
from windlass.runtime.models.bars import Bars
from windlass.runtime.models.choosing import Caller
from windlass.runtime.models.dialect import Blobs, DialectCodec, StreamReader
from windlass.runtime.models.http import Http
from windlass.runtime.models.model import Model
from windlass.runtime.models.routed import RoutedModel
from windlass.runtime.models.routing import Routing, limits_of
from windlass.runtime.models.upstreams import Upstreams

Price = Callable[[str, str, Usage, int], float | None]  # provider, model, usage, UTC nanoseconds → US dollars
CODECS: dict[str, DialectCodec] = {"openai": dialect_openai, "anthropic": dialect_anthropic}
_BASELINE = {BASELINE, BARS[BASELINE], f"{BASELINE}/1"}  # further names of the baseline itself


class Models:
    """Finds models. One per process.

    Args:
        providers: the table and the environment its keys come from.
        price: what usage costs, or None for unknown.
        http: the shared way out.
        blobs: bytes by digest, for images and files.
        bars: the built-in models.
        local: models whose weights are on this machine.
        routes: of all projects; without them every model is asked as it is.
        upstreams: what is known of those that routes lead to.
    """

    def __init__(
        self, providers: Providers, price: Price, http: Http, blobs: Blobs | None = None, bars: Bars | None = None,
        local: LocalModels | None = None, routes: RouteTable | None = None, upstreams: Upstreams | None = None,
    ) -> None:  # fmt: skip
        self._routes = routes
        self._upstreams = upstreams or Upstreams()
        self.providers = providers
        self.http = http
        self.price = price
        self._blobs = blobs
        self._bars = bars or Bars()
        self._local = local

    async def choose(self, model_id: str, caller: Caller) -> Model:
        """The model of an id for somebody: by the route of that name in the caller's project, else as `find` gives it. Raises as `find`;
        `NotFound` for `route/name` where there is none, `Unavailable` where the routes were never read."""
        if (found := await self.route(model_id, caller.project)) is not None:
            return self._routed(model_id, *found, caller)
        if model_id.startswith(PREFIX):
            raise NotFound(f"project {caller.project} has no {model_id}", remedy="windlass routes lists them")
        return self.find(model_id, caller.project)

    async def route(self, model_id: str, project: str) -> tuple[str, Route] | None:
        """The route of that name, or of `route/name`, with its name; None where there is none. Waits for nobody but once a second."""
        if self._routes is None:
            return None
        if self._routes.stale:
            await self._routes.fresh()
        return self._routes.find(project, model_id)

    def _routed(self, model_id: str, name: str, route: Route, caller: Caller) -> RoutedModel:
        limits = limits_of(route, self.http.timeouts)
        find = partial(self.find, project=caller.project, http=self.http.under(limits))
        begin = partial(Routing, name, route, caller, self._upstreams, find, limits, self.price)
        return RoutedModel(model_id, route, begin)

    def find(self, model_id: str, project: str = "", *, http: Http | None = None) -> Model:
        """The model of an id such as `baseline` or `openai/gpt-5-mini`, with the keys of a project. Raises `Invalid` for what is no id,
        `NotFound` with a near miss for an unknown provider, `Unavailable` naming the variable that would hold its key."""
        if model_id in _BASELINE:
            return self._bars.find(BASELINE)
        provider, slash, name = model_id.partition("/")
        if provider == BASELINE:
            return self._bars.find(name)
        if provider == LOCAL and slash:
            if self._local is None:
                raise Unavailable("no weights were given to this process")
            return self._local.find(name)
        if not slash:
            self.providers.get(provider, project)
            raise Invalid(f"{model_id!r} names a provider and no model", remedy=f"write {provider}/<model>")
        endpoint = self.providers.endpoint(provider, project, name)
        if not name:
            raise Invalid(f"{model_id!r} names no model", remedy=f"write {provider}/<model>")
        return RemoteModel(model_id, name, endpoint, http or self.http, self.price, self._blobs)

    def priced(self, model: Model, project: str) -> tuple[str, str]:
        """Provider and name by whose price a call is bounded before it is made: behind a route, the dearest upstream, or one of which
        nobody knows the price."""
        found, most = ("", ""), -1.0
        for id in [u.model for u in model.route.upstreams] if isinstance(model, RoutedModel) else [model.id]:
            provider, _, name = id.partition("/")
            with contextlib.suppress(NotFound):  # what is built in
                provider = self.providers.get(provider, project).priced_as or provider
            priced = provider, name or provider
            cost = self.price(*priced, Usage(1000, 1000), now_ns())
            if cost is None:
                return priced
            if cost > most:
                found, most = priced, cost
        return found

    async def probe(self, endpoint: Endpoint, model: str = "") -> tuple[str, ...]:
        """Whether a provider takes its key: by the list of its models, or by a short answer of one. Where a provider has no such list, only
        what its credentials need is fetched. Raises `ModelFailed`."""
        if model:
            asked = ModelRequest(model=f"{endpoint.provider.name}/{model}", messages=(user("Say yes."),), parameters={"max_tokens": 16})
            await RemoteModel(asked.model, model, endpoint, self.http, self.price, None).complete(asked, timeout_s=60.0)
            return ()
        if "no_models" in endpoint.provider.quirks:
            if endpoint.signer is not None:
                await endpoint.signer.headers("GET", endpoint.base_url, {}, b"", self.http.post_form)
            return ()
        try:
            listed = _listing.decode(await self.http.get(endpoint, "/models"))
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ModelFailed(f"{endpoint.provider.name} answered with no list of models", where=endpoint.base_url) from None
        return tuple(sorted(m.id for m in listed.data))

    async def close(self) -> None:
        self._upstreams.close()
        await self.http.close()
        if self._local is not None:
            await self._local.close()


class _Listed(msgspec.Struct):
    id: str


class _Listing(msgspec.Struct):
    data: list[_Listed]


_listing = msgspec.json.Decoder(_Listing)


class RemoteModel:
    """A model at a provider, spoken to in the provider's dialect."""

    def __init__(self, model_id: str, name: str, endpoint: Endpoint, http: Http, price: Price, blobs: Blobs | None) -> None:
        self.id = model_id
        self.name = name
        self.endpoint = endpoint
        self.provider = endpoint.provider.name
        self._codec = CODECS[endpoint.provider.dialect]
        self._http = http
        self._price = price
        self._blobs = blobs

    async def complete(self, request: ModelRequest, *, timeout_s: float | None = None) -> ModelReply:
        """One answer. Raises `ModelFailed`; `Invalid` for what the dialect cannot say."""
        body = self._codec.encode(request, self.name, self.endpoint.provider, self._blobs, stream=False)
        began = time.monotonic_ns()
        data = await self._http.fetch(self.endpoint, self._codec.path, body, timeout_s=timeout_s)
        try:
            reply = self._codec.decode(data, self.endpoint.provider)
        except ModelFailed as e:
            raise self._cleaned(e) from None
        return self._finished(reply, began, None)

    async def stream(self, request: ModelRequest, *, timeout_s: float | None = None) -> AsyncIterator[Delta]:
        """Its pieces as they come, then the whole reply. Raises `ModelFailed`, also for a stream that ends before its end."""
        body = self._codec.encode(request, self.name, self.endpoint.provider, self._blobs, stream=True)
        reader = self._codec.reader(self.endpoint.provider)
        began = time.monotonic_ns()
        first: int | None = None
        sent = 0
        events = self._http.events(self.endpoint, self._codec.path, body, timeout_s=timeout_s, over=lambda: reader.over)
        try:
            async with contextlib.aclosing(events):
                async for event, data in events:
                    for delta in reader.feed(event, data):
                        first = first or time.monotonic_ns() - began
                        sent += len(delta.text)
                        yield delta
            if not reader.done:
                what = f"broke the stream off after {sent} characters" if first else "answered with nothing"
                raise ModelFailed(f"{self.provider} {what}", where=self.endpoint.base_url, provider=self.provider)
            yield Delta(reply=self._finished(reader.reply(), began, first))
        except ModelFailed as e:
            e.details |= _used(reader)
            raise self._cleaned(e) from None

    def _finished(self, reply: ModelReply, began: int, first: int | None) -> ModelReply:
        cost = self._price(self.endpoint.provider.priced_as or self.provider, self.name, reply.usage, now_ns())
        return msgspec.structs.replace(
            reply, model=reply.model or self.name, latency_ns=time.monotonic_ns() - began, first_token_ns=first, cost=cost
        )

    def _cleaned(self, error: ModelFailed) -> ModelFailed:
        """The error with this address and without the key, should the provider have echoed it."""
        where = error.where or self.endpoint.base_url
        return ModelFailed(self.endpoint.redact(error.message), where=where, remedy=error.remedy, **error.details)


def _used(reader: StreamReader) -> dict[str, int]:
    """Tokens of an answer that broke off, as far as it told them: they are paid for all the same."""
    try:
        usage = reader.reply().usage
    except ModelFailed:
        return {}
    told = {"input_tokens": usage.input, "output_tokens": usage.output}
    return {name: count for name, count in told.items() if count is not None}
