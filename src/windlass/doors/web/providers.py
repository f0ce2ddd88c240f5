"""Providers: which can be called and why not, where their keys come from, and forms to give, test and remove one. No key is ever shown."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.errors import Invalid
from windlass.core.operations import Empty
from windlass.core.operations.providers import (
    GIVE_PROVIDER_KEY,
    MODEL_PROVIDERS,
    REKEY_PROVIDERS,
    REMOVE_PROVIDER_KEY,
    TEST_PROVIDER,
    ModelProvider,
    ModelProviderQuery,
    ProviderKeyQuery,
    ProviderKeyRequest,
    ProviderTest,
    ProviderTested,
    Rekeyed,
)
from windlass.doors.web.render import Asker, Handler, respond


class ProvidersContext(msgspec.Struct, omit_defaults=True):
    """`ready` have what they need or were given a key, `others` not; `names` are what the form offers. `chosen` is filled in there,
    `tested` and `rekeyed` is what was just done."""

    ready: tuple[ModelProvider, ...]
    others: tuple[ModelProvider, ...]
    names: tuple[str, ...]
    project: str
    sealed_in: str = ""
    old: int = 0
    chosen: str = ""
    takes: tuple[str, ...] = ()
    tested: ProviderTested | None = None
    rekeyed: Rekeyed | None = None


async def _page(request: Request, ask: Asker, tested: ProviderTested | None = None, rekeyed: Rekeyed | None = None) -> Response:
    found = await ask(MODEL_PROVIDERS, ModelProviderQuery(ask.actor.project))
    chosen = (request.query_params.get("provider") or "").strip()[:60]
    context = ProvidersContext(
        ready=tuple(p for p in found.items if not p.local and (p.ready or p.keys)),
        others=tuple(p for p in found.items if p.local or not (p.ready or p.keys)),
        names=tuple(p.name for p in found.items if not p.local),
        project=ask.actor.project,
        sealed_in=found.sealed_in,
        old=found.old,
        chosen=chosen,
        takes=next((p.takes for p in found.items if p.name == chosen), ()),
        tested=tested,
        rekeyed=rekeyed,
    )
    return respond(request, "providers.html", context, nav="providers", title="Providers")


async def show(request: Request, ask: Asker) -> Response:
    return await _page(request, ask)


async def give(request: Request, ask: Asker) -> Response:
    """By POST, so that the key is in no address and in no history; the page that answers has it no more."""
    form = await request.form()

    def text(field: str) -> str:
        return str(form.get(field) or "").strip()

    fields = {}
    for line in text("fields").splitlines():
        name, equals, value = line.partition("=")
        if line.strip() and not equals:
            raise Invalid(f"{line[:40]!r} is no field", where="fields", remedy="write name=value, one a line")
        if line.strip():
            fields[name.strip()] = value.strip()
    project = ask.actor.project if text("only") else ""
    await ask(GIVE_PROVIDER_KEY, ProviderKeyRequest(text("provider"), text("secret"), project, fields, text("like"), text("note")))
    return RedirectResponse("/providers", 303)


async def remove(request: Request, ask: Asker) -> Response:
    await ask(REMOVE_PROVIDER_KEY, ProviderKeyQuery(request.path_params["id"]))
    return RedirectResponse("/providers", 303)


async def test(request: Request, ask: Asker) -> Response:
    model = str((await request.form()).get("model") or "").strip()
    return await _page(request, ask, tested=await ask(TEST_PROVIDER, ProviderTest(request.path_params["name"], ask.actor.project, model)))


async def rekey(request: Request, ask: Asker) -> Response:
    return await _page(request, ask, rekeyed=await ask(REKEY_PROVIDERS, Empty()))


PAGES: tuple[tuple[str, Handler], ...] = (("/providers", show),)
FORMS: tuple[tuple[str, Handler], ...] = (
    ("/providers/keys", give),
    ("/providers/keys/{id}/remove", remove),
    ("/providers/{name}/test", test),
    ("/providers/rekey", rekey),
)
