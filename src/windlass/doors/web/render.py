"""One context, two faces: HTML through a template, JSON through msgspec. Knows nothing of what a page is about."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, urlencode

import jinja2
import msgspec
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from windlass.core.actor import Actor
from windlass.core.digest import short
from windlass.core.errors import Unauthenticated, WindlassError
from windlass.core.ids import now_ns
from windlass.core.operations import Operation
from windlass.core.ref import parse_ref
from windlass.doors import format as words

P = TypeVar("P", bound=msgspec.Struct)
R = TypeVar("R")


class Ask(Protocol):
    """Runs an operation for an actor: the only thing pages can do."""

    def __call__(self, operation: Operation[P, R], actor: Actor, params: P) -> Awaitable[R]: ...


class Asker:
    """`Ask` bound to one request's actor."""

    def __init__(self, ask: Ask, actor: Actor) -> None:
        self._ask = ask
        self.actor = actor

    async def __call__(self, operation: Operation[P, R], params: P) -> R:
        return await self._ask(operation, self.actor, params)


Handler = Callable[[Request, Asker], Awaitable[Response]]

NAVIGATION: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    ("", (("home", "Home", "/"),)),
    ("Discover", (("models", "Models", "/models"), ("bakeoffs", "Bake-offs", "/bakeoffs"))),
    (
        "Develop",
        (
            ("playground", "Playground", "/playground"),
            ("datasets", "Datasets", "/datasets"),
            ("pins", "Pins", "/pins"),
            ("indexes", "Indexes", "/indexes"),
            ("tunes", "Tuning", "/tunes"),
            ("artifacts", "Artifacts", "/artifacts"),
        ),
    ),
    (
        "Evaluate",
        (("evaluations", "Evaluations", "/evaluations"), ("verdicts", "Verdicts", "/verdicts"), ("reviews", "Review", "/reviews")),
    ),
    (
        "Deploy",
        (
            ("releases", "Releases", "/releases"),
            ("rollouts", "Rollouts", "/rollouts"),
            ("providers", "Providers", "/providers"),
            ("routes", "Routes", "/routes"),
            ("limits", "Limits and spend", "/limits"),
            ("batches", "Batches", "/batches"),
            ("loadtests", "Load tests", "/loadtests"),
        ),
    ),
    (
        "AgentOps",
        (
            ("tools", "Tools", "/tools"),
            ("grants", "Grants", "/grants"),
            ("stops", "Stops", "/stops"),
            ("approvals", "Approvals", "/approvals"),
            ("sessions", "Sessions", "/sessions"),
        ),
    ),
    (
        "Monitor",
        (
            ("dashboards", "Dashboard", "/dashboards"),
            ("traces", "Traces", "/traces"),
            ("logs", "Logs", "/logs"),
            ("metrics", "Metrics", "/metrics"),
            ("ledger", "Ledger", "/ledger"),
            ("sql", "SQL", "/sql"),
            ("monitors", "Monitors", "/monitors"),
            ("quality", "Quality", "/quality"),
            ("alerts", "Alerts", "/alerts"),
        ),
    ),
    (
        "Govern",
        (
            ("lineage", "Lineage", "/lineage"),
            ("people", "People", "/people"),
            ("policy", "Policy", "/policy"),
            ("audit", "Audit", "/audit"),
            ("masking", "Masking", "/masking"),
            ("erasures", "Erasures", "/erasures"),
            ("evidence", "Evidence", "/evidence"),
            ("status", "Installation", "/status"),
        ),
    ),
)


def version_url(ref: str) -> str:
    """The page of a version by its ref; of the artifact where the ref has no digest."""
    r = parse_ref(ref)
    return f"/artifacts/{r.kind}/{quote(r.name)}" + (f"/{short(r.digest, 12)}" if r.digest else "")


def row_url(row: str) -> str:
    """The page of a row, given as `dataset#key`."""
    name, _, key = row.partition("#")
    return f"/datasets/dataset/{quote(name)}/rows/{quote(key, safe='')}"


def query(path: str, **params: Any) -> str:
    """A path with a query string; None and empty are left out."""
    kept = {k: v for k, v in params.items() if v not in (None, "")}
    return f"{path}?{urlencode(kept)}" if kept else path


def _pretty(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _environment() -> jinja2.Environment:
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(
        ago=lambda ns: words.ago(ns, now_ns()),
        stamp=words.stamp,
        duration=words.duration,
        dollars=words.dollars,
        per_success=words.per_success,
        score=words.score,
        worth=words.worth,
        percent=words.percent,
        points=words.points,
        count=words.count,
        compact=words.compact,
        length_of=words.length,
        figure=words.figure,
        measured=words.measured,
        size=words.size,
        short_ref=words.short_ref,
        in_a_cell=_in_a_cell,
        linked=_linked,
        many=words.many,
        reach=words.reach,
        said=words.said,
        named=words.named,
        said_of=lambda details: {k: v for k, v in details.items() if v not in (None, "", [], {})},
        short_id=words.short_id,
        short=short,
        pretty=_pretty,
    )
    env.globals.update(version_url=version_url, row_url=row_url, query=query, navigation=NAVIGATION, parse_ref=parse_ref)
    return env


_ADDRESS = re.compile(r"https?://[^\s<>\"']*[^\s<>\"'.,;:!?)\]]")


def _linked(text: str) -> Markup:
    """Text in which addresses are links."""
    found, at = Markup(), 0
    for match in _ADDRESS.finditer(text):
        found += Markup("{}<a href='{}' rel='noopener noreferrer'>{}</a>").format(text[at : match.start()], match[0], match[0])
        at = match.end()
    return found + text[at:]


def _in_a_cell(ref: str) -> Markup:
    """A short ref that breaks before its digest, and nowhere else."""
    return Markup('<span class="ref">{}</span>').format(Markup("<wbr>@").join(words.short_ref(ref).split("@")))


_env = _environment()


def wants_json(request: Request) -> bool:
    """Whether this is the twin: the path ends in `.json`."""
    return request.url.path.endswith(".json")


def respond(request: Request, template: str, context: msgspec.Struct, *, nav: str, title: str, status: int = 200) -> Response:
    """The page, or its JSON twin."""
    if wants_json(request):
        return Response(msgspec.json.encode(context), status, media_type="application/json")
    here = f"{request.url.scheme}://{request.url.netloc}"  # by which the browser reaches this server: for commands that name it
    html = _env.get_template(template).render(
        c=context, nav=nav, title=title, path=request.url.path, params=dict(request.query_params), here=here
    )  # fmt: skip
    return HTMLResponse(html, status)


class ErrorContext(msgspec.Struct, omit_defaults=True):
    """What went wrong, in the one error shape."""

    status: int
    message: str
    where: str = ""
    remedy: str = ""


class LoginWay(msgspec.Struct):
    """A provider by which people log in."""

    name: str
    url: str


class LoginContext(msgspec.Struct):
    """Why somebody is asked to log in, and how they can besides by a key."""

    message: str
    ways: tuple[LoginWay, ...] = ()


class LandedContext(msgspec.Struct):
    """Where somebody who has just logged in goes on."""

    back: str


def respond_login(request: Request, error: WindlassError) -> Response:
    """An error of a log-in as the log-in page, where another way in may be chosen."""
    said = f"{error.message}: {error.remedy}" if error.remedy else error.message
    context = LoginContext(said[:1].upper() + said[1:], request.scope.get("state", {}).get("ways", ()))
    return respond(request, "login.html", context, nav="", title="Log in", status=error.status)


def respond_error(request: Request, error: WindlassError) -> Response:
    """An error as a page that says what, where and what to do; as JSON in the one error shape."""
    if wants_json(request):
        return Response(msgspec.json.encode(error.as_dict()), error.status, media_type="application/json")
    if isinstance(error, Unauthenticated):
        ways = request.scope.get("state", {}).get("ways", ())
        return respond(request, "login.html", LoginContext(error.message, ways), nav="", title="Log in", status=error.status)
    context = ErrorContext(error.status, error.message, error.where or "", error.remedy or "")
    return respond(request, "error.html", context, nav="", title="Something is wrong", status=error.status)
