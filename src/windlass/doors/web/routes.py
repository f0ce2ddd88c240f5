"""Routes: where calls of each name go, how each upstream does as each worker sees it, and the form that changes one."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.errors import Invalid
from windlass.core.operations.query import taken
from windlass.core.operations.routes import (
    REMOVE_ROUTE,
    ROUTE,
    ROUTES,
    SET_ROUTE,
    RouteKept,
    RouteQuery,
    RouteSet,
    RouteShow,
    RouteUpstream,
    UpstreamHealth,
)
from windlass.doors import format as words
from windlass.doors.web.render import Asker, Handler, respond

EXAMPLE = """\
[[upstreams]]
model = "openai/gpt-5-mini"
weight = 80

[[upstreams]]
model = "azure/gpt-5-mini"
weight = 20

[[upstreams]]
model = "anthropic/claude-haiku-4-5"
tier = 2

[timeouts]
first_token_s = 20
"""


class UpstreamShown(msgspec.Struct, frozen=True):
    """`share` of its tier's calls, 0 to 1; `seen` by each worker."""

    upstream: RouteUpstream
    share: float
    seen: tuple[tuple[str, UpstreamHealth], ...]


class RouteShown(msgspec.Struct, frozen=True):
    """`rules` are all it says besides its upstreams, in a few words each."""

    kept: RouteKept
    upstreams: tuple[UpstreamShown, ...]
    rules: tuple[tuple[str, str], ...]


class RoutesContext(msgspec.Struct):
    """`name` and `text` are what the form holds."""

    items: tuple[RouteShown, ...]
    name: str
    text: str


async def show(request: Request, ask: Asker) -> Response:
    project, editing = ask.actor.project, request.query_params.get("edit", "")
    found = await ask(ROUTES, RouteQuery(project))
    text = toml(msgspec.to_builtins((await ask(ROUTE, RouteShow(editing, project))).route)) if editing else EXAMPLE
    context = RoutesContext(tuple(map(_shown, found.items)), editing, text)
    return respond(request, "routes.html", context, nav="routes", title="Routes")


async def keep(request: Request, ask: Asker) -> Response:
    """Raises `Invalid` saying what is wrong with the text."""
    form = await request.form()
    try:
        said = tomllib.loads(str(form.get("text") or "").replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as e:
        raise Invalid(f"the route is not TOML: {e}", where="text", remedy="write it as the example on the page") from None
    name = str(form.get("name") or "").strip()
    await ask(SET_ROUTE, taken(RouteSet, {"name": name, "route": said, "project": ask.actor.project}))
    return RedirectResponse("/routes", 303)


async def remove(request: Request, ask: Asker) -> Response:
    form = await request.form()
    await ask(REMOVE_ROUTE, RouteShow(str(form.get("name") or ""), ask.actor.project))
    return RedirectResponse("/routes", 303)


def _shown(kept: RouteKept) -> RouteShown:
    upstreams = kept.route.upstreams
    totals: dict[int, float] = {}
    for u in upstreams:
        totals[u.tier] = totals.get(u.tier, 0.0) + u.weight
    drawn = tuple(
        UpstreamShown(u, u.weight / totals[u.tier], tuple((w.process, h) for w in kept.health for h in w.upstreams if h.model == u.model))
        for u in sorted(upstreams, key=lambda u: u.tier)
    )
    return RouteShown(kept, drawn, tuple(words.route_rules(kept.route)))


def toml(route: dict[str, Any]) -> str:
    """A route as the text that makes it."""
    plain = [f"{k} = {_value(v)}" for k, v in route.items() if k != "upstreams" and not isinstance(v, dict)]
    lines = [*plain, *([""] if plain else [])]
    for upstream in route["upstreams"]:
        lines += ["[[upstreams]]", *(f"{k} = {_value(v)}" for k, v in upstream.items()), ""]
    for name, table in route.items():
        if isinstance(table, dict) and table:
            lines += [f"[{name}]", *(f"{k} = {_value(v)}" for k, v in table.items()), ""]
    return "\n".join(lines)


def _value(value: Any) -> str:
    """Numbers, texts, truth values and lists of texts are written as in JSON."""
    return msgspec.json.encode(value).decode()


PAGES: tuple[tuple[str, Handler], ...] = (("/routes", show),)
FORMS: tuple[tuple[str, Handler], ...] = (("/routes", keep), ("/routes/remove", remove))
