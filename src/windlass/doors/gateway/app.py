"""The gateway's ASGI application: routes, who calls, which way an answer is made, and errors in the caller's dialect.

    POST /v1/chat/completions · /v1/responses · /v1/embeddings         OpenAI's dialect
    POST /v1/messages · /v1/messages/count_tokens                      Anthropic's dialect
    GET  /v1/models · /v1/models/{id}                                  both read it
    POST /invoke/{release}                                             typed JSON

The name of a route of the project comes first. Else a model with a provider in front (`openai/gpt-5-mini`, `baseline`) is called as
it is; any other name is a release (`answer`, `answer:staging`, `answer@3f9a`) or a ref with its kind (`component/reply`). Applications
that were written for a provider name its models alone: `gpt-5-mini` at OpenAI's paths is that model, where the table of prices knows it
and no release has its name.
Raw ASGI and msgspec: this is a hot path.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from windlass.core.actor import Actor
from windlass.core.errors import Forbidden, Invalid, ModelFailed, NotFound, WindlassError
from windlass.core.ids import now_ns
from windlass.core.message import Usage
from windlass.core.operations.routes import PREFIX
from windlass.core.operations.runs import ModelEntry
from windlass.core.ref import KINDS, Ref, parse_ref
from windlass.doors.gateway.answers import FACES, Face, Runs, answer_invoke, answer_model, answer_release
from windlass.doors.gateway.calls import Call
from windlass.doors.gateway.exchange import JSON, ClientGone, Exchange, Receive, Scope, Send
from windlass.doors.gateway.relay import Relay, speaks
from windlass.doors.gateway.routed import Asked, Routed
from windlass.govern.reservations import Reservations, released
from windlass.govern.sizes import most_out, tokens_in
from windlass.runtime.context import Records
from windlass.runtime.models import Model, Models, RemoteModel, RoutedModel

Authenticate = Callable[[Mapping[str, str]], Actor]  # lower-case headers → who; raises Unauthenticated; must not block
Guard = Callable[[Actor, str, str], None]  # actor, action, project: raises Forbidden
Listed = Callable[[Actor], Awaitable[tuple[Sequence[str], Sequence[ModelEntry]]]]  # names of releases, models

BODY_LIMIT = 64 * 2**20
PATIENCE = 60  # seconds for which clients wait by themselves before they try again
ROUTES = {
    "/v1/chat/completions": ("openai", "/chat/completions", "chat"),
    "/v1/embeddings": ("openai", "/embeddings", "embeddings"),
    "/v1/responses": ("openai", "/responses", "responses"),
    "/v1/messages": ("anthropic", "/messages", "chat"),
    "/v1/messages/count_tokens": ("anthropic", "/messages/count_tokens", "count_tokens"),
}
# by path, and what lies below those that end in a slash
OTHERS = {"/v1/models": "GET", "/v1/models/": "GET", "/invoke/": "POST"}
_BELOW = tuple(path for path in OTHERS if path.endswith("/"))
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_log = logging.getLogger("windlass.gateway")


class Gateway:
    """The gateway door.

    Args:
        models: finds models, and their providers' addresses.
        runs: the executor.
        records: where spans go; must not wait.
        authenticate: who sends these headers.
        guard: asked for `call` in the actor's project before anything is done.
        listed: what `/v1/models` shows the actor.
        keep: keeps bytes in the blob store, for files sent inline to a model of another dialect.
        limits: what calls are held to.
    """

    def __init__(
        self, *, models: Models, runs: Runs, records: Records, authenticate: Authenticate, guard: Guard, listed: Listed,
        keep: Callable[[bytes], str] | None = None, body_limit: int = BODY_LIMIT, limits: Reservations | None = None,
    ) -> None:  # fmt: skip
        self._models = models
        self._runs = runs
        self._records = records
        self._authenticate = authenticate
        self._guard = guard
        self._listed = listed
        self._keep = keep
        self._limit = body_limit
        self._limits = limits
        self._relay = Relay(models.http, models.price, records)
        self._routed = Routed(models, records)
        self._watching: set[Exchange] = set()

    @staticmethod
    def serves(path: str) -> bool:
        """Whether a path is the gateway's."""
        return path in ROUTES or path in OTHERS or path.startswith(_BELOW)

    def stop(self) -> None:
        """Tell everyone who waits for an answer that there will be none."""
        for exchange in list(self._watching):
            exchange.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, self._watching)
        route = ROUTES.get(exchange.path)
        anthropic = route[0] == "anthropic" if route else "anthropic-version" in exchange.headers
        face = FACES.get(route[1] if route else "") or FACES["/messages" if anthropic else "/chat/completions"]
        try:
            await self._answer(exchange, route)
        except ClientGone:
            return
        except WindlassError as e:
            await _tell(exchange, face, e, plain=exchange.path.startswith("/invoke/"))
        except Exception:
            _log.exception("a defect in the gateway, at %s", exchange.path)
            defect = WindlassError("something went wrong inside the gateway", remedy="the server's log says more")
            await _tell(exchange, face, defect, plain=exchange.path.startswith("/invoke/"))

    async def _answer(self, exchange: Exchange, route: tuple[str, str, str] | None) -> None:
        actor = self._authenticate(exchange.headers)
        self._guard(actor, "call", actor.project)
        run = self._runs.running(actor.run) if actor.run else None
        call = Call(actor, exchange.headers, route[2] if route else "invoke", run)
        exchange.trace = call.trace_id.encode()
        if route is not None and exchange.method == "POST":
            await self._model_call(exchange, call, *route[:2])
        elif exchange.path.startswith("/v1/models") and exchange.method == "GET":
            exchange.trace = b""
            await self._list(exchange, actor)
        elif exchange.path.startswith("/invoke/") and exchange.method == "POST":
            target = self._target(exchange.path.removeprefix("/invoke/"), actor)
            assert target is not None
            self._narrow(actor, f"{target.kind}/{target.name}")
            self._look(exchange, call, target)
            await answer_invoke(exchange, call, self._runs, target, _json(await exchange.body(self._limit)))
        else:
            raise NotFound(f"there is nothing at {exchange.method} {exchange.path}", remedy="the gateway's paths are under /v1 and /invoke")

    async def _model_call(self, exchange: Exchange, call: Call, dialect: str, path: str) -> None:
        raw = await exchange.body(self._limit)
        try:
            fields = _fields.decode(raw)
            call.model = msgspec.json.decode(fields.get("model", msgspec.Raw(b"null")), type=str)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
            raise Invalid(f"the body must be a JSON object with a 'model': {e}", where="model") from e
        face = FACES.get(path)
        target = self._target(call.model, call.actor) if "/" not in call.model or call.model.split("/")[0] in KINDS else None
        if call.model == "baseline" or call.model.startswith("baseline@"):
            target = None
        if target is not None and await self._models.route(call.model, call.actor.project):
            target = None
        elif target is not None and await self._is_providers(dialect, call.model, target):
            call.model, target = f"{dialect}/{call.model}", None
        if target is not None:
            self._narrow(call.actor, f"{target.kind}/{target.name}")
            if face is None:
                raise Invalid(
                    f"a release cannot be called at {exchange.path}",
                    remedy="use /v1/chat/completions, /v1/responses, /v1/messages or /invoke",
                )
            self._look(exchange, call, target)
            await answer_release(exchange, call, self._runs, target, face, _json(raw), self._keep)
            return
        self._narrow(call.actor, f"model/{call.model.removeprefix(PREFIX)}")
        model = await self._models.choose(call.model, call.caller())
        call.provider = model.provider
        if self._limits and not self._limits.idle:
            provider, name = self._models.priced(model, call.actor.project)
            call.held = await self._limits.reserve(call.wanted(call.model, provider, name), lambda: _sized(raw, fields, path))
        with released(call.held):
            exchange.told = call.held.headers if call.held else []
            await self._ask(exchange, call, model, dialect, path, raw, dict(fields))

    async def _ask(
        self, exchange: Exchange, call: Call, model: Model, dialect: str, path: str, raw: bytes, fields: dict[str, Any]
    ) -> None:  # fmt: skip
        """By a route, byte for byte, or translated."""
        face = FACES.get(path)
        if isinstance(model, RoutedModel):
            await self._routed.answer(exchange, call, model, Asked(dialect, path, face, raw, fields, self._keep))
            return
        if isinstance(model, RemoteModel) and speaks(model.endpoint.provider, dialect, path):
            await self._relay.pass_on(exchange, call, model.endpoint, path, fields, model.name)
            return
        if face is None:
            raise _not_spoken(exchange.path, path, model.provider)
        body = _json(raw)
        request = msgspec.structs.replace(face.request_of(body, self._keep), model=call.model)
        await answer_model(exchange, call, model, face, request, body, self._records, self._models.price)

    def _look(self, exchange: Exchange, call: Call, target: Ref) -> None:
        """Refuse a run that could ask nothing, before it begins; each call of a model in it sets aside what it needs by itself."""
        if self._limits and not self._limits.idle:
            release = str(target) if target.kind == "release" else None
            exchange.told = self._limits.look(call.wanted("", release=release))

    async def _is_providers(self, dialect: str, name: str, target: Ref) -> bool:
        """Whether a name alone is a model of the provider whose dialect is spoken. Only one that is known to be: a misspelt release
        must not send what it was asked abroad."""
        known = not set(name) & set("/@:") and self._models.price(dialect, name, Usage(0, 0), now_ns()) is not None
        return known and not await self._runs.knows(target)

    def _target(self, text: str, actor: Actor) -> Ref:
        """What a name means: a release in production unless it says otherwise, or a ref with its kind."""
        target = parse_ref(text, project=actor.project, kind="release")
        if target.kind == "release" and target.digest is None and target.label is None:
            target = Ref("release", target.name, None, "production", target.project)
        if target.project != actor.project:
            self._guard(actor, "call", target.project)
        return target

    def _narrow(self, actor: Actor, what: str) -> None:
        """A key with scopes opens only those."""
        if actor.scopes and what not in actor.scopes:
            raise Forbidden(f"this key does not open {what}", remedy="use a key without scopes, or with this one among them")

    async def _list(self, exchange: Exchange, actor: Actor) -> None:
        """Models as both dialects' clients read them."""
        releases, entries = await self._listed(actor)
        rows = [_row(name, "windlass") for name in releases]
        rows += [_row(e.id, e.provider) for e in entries if e.available]
        if actor.scopes:
            rows = [r for r in rows if {f"release/{r['id']}", f"model/{r['id']}"} & set(actor.scopes)]
        wanted = exchange.path.removeprefix("/v1/models").lstrip("/")
        if not wanted:
            ends = {"first_id": rows[0]["id"], "last_id": rows[-1]["id"]} if rows else {}
            await exchange.respond(200, msgspec.json.encode({"object": "list", "data": rows, "has_more": False, **ends}))
            return
        row = next((r for r in rows if r["id"] == wanted), None)
        if row is None:
            raise NotFound(f"there is no model {wanted!r} here", remedy="GET /v1/models lists them")
        await exchange.respond(200, msgspec.json.encode(row))


def _row(name: str, owner: str) -> dict[str, Any]:
    return {
        "id": name, "object": "model", "created": 0, "owned_by": owner, "type": "model", "display_name": name,
        "created_at": "1970-01-01T00:00:00Z",
    }  # fmt: skip


def _not_spoken(whole: str, path: str, provider: str) -> Invalid:
    """Why a path that is not translated cannot serve a model. Tokens are not guessed at: who plans by a count needs the model's own."""
    if path == "/messages/count_tokens":
        remedy = "ask without a count; the answer's usage tells what it took"
        return Invalid(f"{provider} does not say how many tokens a request has before it is asked", where="model", remedy=remedy)
    return Invalid(f"{whole} only passes through, and {provider} does not speak it", where="model")


def _json(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw) if raw.strip() else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise Invalid(f"the body is not JSON: {e}") from e


def _sized(raw: bytes, fields: Mapping[str, msgspec.Raw], path: str) -> tuple[int, int]:
    """About how many tokens a request has, and at most its answer; one of embeddings or of a count has none."""
    known = {n: msgspec.json.decode(fields[n]) for n in ("max_completion_tokens", "max_tokens", "max_output_tokens", "n") if n in fields}
    return tokens_in(raw), 0 if path in ("/embeddings", "/messages/count_tokens") else most_out(known)


def status_of(error: WindlassError) -> int:
    """The HTTP status of an error: a provider's own where it said that the request was wrong or too much."""
    told = error.details.get("status")
    if isinstance(error, ModelFailed) and told in (400, 404, 413, 422, 429):
        return int(told)
    if isinstance(error, ModelFailed) and error.details.get("timeout"):
        return 504
    return error.status


async def _tell(exchange: Exchange, face: Face, error: WindlassError, *, plain: bool) -> None:
    """The error as its caller reads it; inside the stream where one has begun."""
    status = status_of(error)
    if error.details.get("spent") and face is FACES["/messages"]:
        status = 402
    if exchange.begun:
        await exchange.write((exchange.error_event or face.error_event)(error, status))
        await exchange.end()
        return
    headers = [JSON]
    if (wait := error.details.get("retry_after_s")) is not None:
        headers.append((b"retry-after", str(max(0, round(wait))).encode()))
    if "limit" in error.details and not 0 <= (wait if wait is not None else -1) <= PATIENCE:
        headers.append((b"x-should-retry", b"false"))  # official clients go by it: nothing is mended so soon
    await exchange.respond(status, msgspec.json.encode(error.as_dict()) if plain else face.error_body(error, status), headers)
