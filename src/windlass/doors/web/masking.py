"""Masking: what is taken out of what is observed, and a place to try it. What is tried is kept nowhere."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.operations.masking import MASK_TRY, MASKING, Masked, MaskQuery, MaskRules, MaskTry
from windlass.doors.web.render import Asker, Handler, respond


class MaskingContext(msgspec.Struct, omit_defaults=True):
    """`masked` is what became of a text that was tried."""

    rules: MaskRules
    masked: Masked | None = None


async def show(request: Request, ask: Asker) -> Response:
    context = MaskingContext(await ask(MASKING, MaskQuery(ask.actor.project)))
    return respond(request, "masking.html", context, nav="masking", title="Masking")


async def attempt(request: Request, ask: Asker) -> Response:
    """By POST, so that the text is in no address and in no history."""
    text = str((await request.form()).get("text") or "")[:100_000]
    masked = await ask(MASK_TRY, MaskTry(text, ask.actor.project))
    context = MaskingContext(await ask(MASKING, MaskQuery(ask.actor.project)), masked)
    return respond(request, "masking.html", context, nav="masking", title="Masking")


PAGES: tuple[tuple[str, Handler], ...] = (("/masking", show),)
FORMS: tuple[tuple[str, Handler], ...] = (("/masking/try", attempt),)
