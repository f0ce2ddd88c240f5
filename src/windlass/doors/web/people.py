"""People: who there is, by which keys or providers, with which roles until when; making, changing and revoking a key, blocking a person."""

from __future__ import annotations

from typing import cast

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.actor import Role
from windlass.core.errors import Invalid
from windlass.core.ids import now_ns
from windlass.core.operations import Empty
from windlass.core.operations.people import (
    PEOPLE,
    PEOPLE_ADMIT,
    PEOPLE_BLOCK,
    PROVIDERS,
    Person,
    PersonQuery,
    ProviderQuery,
    ProviderState,
)
from windlass.core.operations.system import KEY_CHANGE, KEY_CREATE, KEY_REVOKE, KEYS, KeyChange, KeyInfo, KeyList, KeyQuery, KeyRequest
from windlass.doors.web.render import Asker, Handler, respond

DAY_NS = 86_400 * 10**9
DAYS = ((0, "never"), (1, "in 1 day"), (30, "in 30 days"), (90, "in 90 days"), (365, "in a year"))
ROLES: tuple[Role, ...] = ("caller", "viewer", "developer", "owner")


class PeopleContext(msgspec.Struct, omit_defaults=True):
    """`made` was just made, and is shown this once. `ended` are keys that open nothing any more; `days` and `roles` for the forms. `people`
    came by one of the `providers`; `wrong` is what is wrong with the file that names those."""

    keys: KeyList
    ended: tuple[str, ...]
    project: str
    days: tuple[tuple[int, str], ...] = DAYS
    roles: tuple[Role, ...] = ROLES
    people: tuple[Person, ...] = ()
    providers: tuple[ProviderState, ...] = ()
    wrong: str = ""
    made: KeyInfo | None = None


async def _page(request: Request, ask: Asker, made: KeyInfo | None = None) -> Response:
    keys = await ask(KEYS, Empty())
    now = now_ns()
    ended = tuple(k.id for k in keys.items if k.revoked_ns or (k.expires_ns and k.expires_ns <= now))
    context = PeopleContext(keys, ended, ask.actor.project, made=made, people=(await ask(PEOPLE, Empty())).items)
    try:
        context.providers = (await ask(PROVIDERS, ProviderQuery())).items
    except Invalid as e:
        context.wrong = str(e)
    return respond(request, "people.html", context, nav="people", title="People")


async def show(request: Request, ask: Asker) -> Response:
    return await _page(request, ask)


async def create(request: Request, ask: Asker) -> Response:
    """Shows the secret once, on the page that answers the form: it is in no address and in no history."""
    form = await request.form()

    def text(field: str) -> str:
        return str(form.get(field) or "").strip()

    days = int(text("days")) if text("days").isdigit() else 0
    scopes = tuple(s for part in text("only").split(",") if (s := part.strip()))
    expires = now_ns() + days * DAY_NS if 0 < days < 3660 else None
    asked = KeyRequest(text("name"), cast(Role, text("role") or "caller"), text("project") or ask.actor.project, scopes, expires)
    response = await _page(request, ask, await ask(KEY_CREATE, asked))
    response.headers["cache-control"] = "no-store"
    return response


async def change(request: Request, ask: Asker) -> Response:
    role = str((await request.form()).get("role") or "")
    await ask(KEY_CHANGE, KeyChange(request.path_params["id"], cast(Role, role) if role else None))
    return RedirectResponse("/people", 303)


async def revoke(request: Request, ask: Asker) -> Response:
    await ask(KEY_REVOKE, KeyQuery(request.path_params["id"]))
    return RedirectResponse("/people", 303)


async def block(request: Request, ask: Asker) -> Response:
    await ask(PEOPLE_BLOCK, PersonQuery(request.path_params["id"]))
    return RedirectResponse("/people", 303)


async def admit(request: Request, ask: Asker) -> Response:
    await ask(PEOPLE_ADMIT, PersonQuery(request.path_params["id"]))
    return RedirectResponse("/people", 303)


PAGES: tuple[tuple[str, Handler], ...] = (("/people", show),)
FORMS: tuple[tuple[str, Handler], ...] = (
    ("/people/keys", create),
    ("/people/keys/{id}/change", change),
    ("/people/keys/{id}/revoke", revoke),
    ("/people/{id:path}/block", block),
    ("/people/{id:path}/admit", admit),
)
