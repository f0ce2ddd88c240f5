"""Saved views: those of a page beside its filter, all of them on a page, and the form that keeps one."""

from __future__ import annotations

from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.errors import Invalid
from windlass.core.operations.views import REMOVE_VIEW, SAVE_VIEW, VIEWS, SavedView, ViewPage, ViewQuery, ViewRemove, ViewSave
from windlass.doors.web.render import Asker, Handler, query, respond

NOT_KEPT = ("cursor", "limit", "follow")


class ViewShown(msgspec.Struct, frozen=True):
    view: SavedView
    url: str


class ViewsShown(msgspec.Struct, frozen=True):
    """Of one page. `here` is what it is asked now, as an address has it, empty where that is nothing to keep."""

    page: str
    here: str
    items: tuple[ViewShown, ...]


class ViewsContext(msgspec.Struct):
    items: tuple[ViewShown, ...]
    me: str


async def shown(request: Request, ask: Asker, page: ViewPage) -> ViewsShown:
    found = await ask(VIEWS, ViewQuery(ask.actor.project, page))
    here = {k: v for k, v in request.query_params.items() if v and k not in NOT_KEPT}
    return ViewsShown(page, query("", **here).removeprefix("?"), tuple(map(_shown, found.items)))


def _shown(view: SavedView) -> ViewShown:
    return ViewShown(view, query(f"/{view.page}", **view.asked))


async def views(request: Request, ask: Asker) -> Response:
    found = await ask(VIEWS, ViewQuery(ask.actor.project))
    return respond(request, "views.html", ViewsContext(tuple(map(_shown, found.items)), ask.actor.id), nav="traces", title="Saved views")


async def save(request: Request, ask: Asker) -> Response:
    """Raises `Invalid`."""
    form = {k: str(v).strip() for k, v in (await request.form()).items()}
    given = {
        "name": form.get("name", ""), "page": form.get("page", ""), "asked": dict(parse_qsl(form.get("asked", ""))),
        "shared": bool(form.get("shared")), "project": ask.actor.project,
    }  # fmt: skip
    try:
        asked = msgspec.convert(given, ViewSave)
    except msgspec.ValidationError as e:
        remedy = "a name has up to 80 characters, and no line breaks"
        raise Invalid("this view cannot be kept", where=str(e)[:100], remedy=remedy) from None
    return RedirectResponse(_shown(await ask(SAVE_VIEW, asked)).url, 303)


async def remove(request: Request, ask: Asker) -> Response:
    form = await request.form()
    await ask(REMOVE_VIEW, ViewRemove(str(form.get("name") or ""), bool(form.get("shared")), ask.actor.project))
    return RedirectResponse("/views", 303)


PAGES: tuple[tuple[str, Handler], ...] = (("/views", views),)
FORMS: tuple[tuple[str, Handler], ...] = (("/views", save), ("/views/remove", remove))
