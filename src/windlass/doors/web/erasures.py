"""Erasures: what is held of a person, taking it out, and what came of it. Names come by POST: they are in no address and no history."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.errors import Invalid
from windlass.core.operations.erasures import (
    ERASE,
    ERASURE,
    ERASURES,
    PREVIEW_ERASURE,
    Erasure,
    ErasureId,
    ErasurePage,
    ErasurePreview,
    ErasureQuery,
    ErasureRequest,
)
from windlass.doors.web.render import Asker, Handler, respond


class ErasuresContext(msgspec.Struct, omit_defaults=True):
    """`preview` is what was found of `names`, and waits for somebody to say yes."""

    page: ErasurePage
    preview: ErasurePreview | None = None
    names: tuple[str, ...] = ()
    mentions: bool = False
    reason: str = ""


class ErasureContext(msgspec.Struct):
    erasure: Erasure


async def page(request: Request, ask: Asker) -> Response:
    found = await ask(ERASURES, ErasureQuery(ask.actor.project, request.query_params.get("cursor") or None))
    return respond(request, "erasures.html", ErasuresContext(found), nav="erasures", title="Erasures")


async def show(request: Request, ask: Asker) -> Response:
    found = await ask(ERASURE, ErasureId(request.path_params["id"], ask.actor.project))
    return respond(request, "erasure.html", ErasureContext(found), nav="erasures", title=f"Erasure {found.id[-8:]}")


async def _asked(request: Request, ask: Asker) -> ErasureRequest:
    form = await request.form()
    names = tuple(n for line in str(form.get("names") or "").splitlines() if (n := line.strip()))
    if not names:
        raise Invalid("nobody is named", where="names", remedy="write the user.id that their traces carry")
    try:
        return msgspec.convert(
            {"names": names, "project": ask.actor.project, "mentions": form.get("mentions") == "on",
             "reason": str(form.get("reason") or "").strip()},
            ErasureRequest,
        )  # fmt: skip
    except msgspec.ValidationError as e:
        raise Invalid(f"the form is wrong: {e}", where="names", remedy="at most 20 names of 300 characters") from e


async def preview(request: Request, ask: Asker) -> Response:
    asked = await _asked(request, ask)
    found = await ask(PREVIEW_ERASURE, asked)
    listed = await ask(ERASURES, ErasureQuery(ask.actor.project))
    context = ErasuresContext(listed, found, asked.names, asked.mentions, asked.reason)
    response = respond(request, "erasures.html", context, nav="erasures", title="Erasures")
    response.headers["cache-control"] = "no-store"
    return response


async def make(request: Request, ask: Asker) -> Response:
    made = await ask(ERASE, await _asked(request, ask))
    return RedirectResponse(f"/erasures/{made.id}", 303)


PAGES: tuple[tuple[str, Handler], ...] = (("/erasures", page), ("/erasures/{id}", show))
FORMS: tuple[tuple[str, Handler], ...] = (("/erasures/preview", preview), ("/erasures", make))
