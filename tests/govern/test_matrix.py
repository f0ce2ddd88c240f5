"""The matrix of authorisation: every operation, every other route, asked as nobody, as each role and as somebody of another project.

Default deny. What is judged is what happened: what was refused has told nothing and left nothing. An operation or a route without a row in
`questions.py` fails here. What may be done is told by the table of `test_permissions.py`, which was written apart from the code.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from tests.govern import questions
from tests.govern.questions import LATER, MORE, MORE_ELSEWHERE, Asked
from tests.govern.test_permissions import TABLE
from tests.govern.world import MARK, World

from windlass.core.errors import Forbidden, WindlassError
from windlass.core.operations import OPERATIONS
from windlass.core.operations.query import encode
from windlass.doors.api import routes
from windlass.doors.app import Application
from windlass.doors.gateway import app as gateway
from windlass.doors.otlp import senders as otlp
from windlass.doors.web import app as web

pytestmark = pytest.mark.slow
NAMED = ("owner", "developer", "viewer", "caller", "run", "grant", "scoped", "revoked", "nobody")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# whoever asks is told this, and why that gives nothing away
PUBLIC = {
    "GET /healthz": "that it runs, for what watches it",
    "GET /static": "style sheets and scripts, which are in the wheel",
    "GET /api/v1/openapi.json": "what can be asked, which is in the wheel; not what there is",
    "GET /api/is-alive/ping": "that it runs, for Opik's SDK",
    "GET /api/is-alive/ver": "which version of Opik's server it speaks like",
    "GET /{workspace}/experiments/{name}/compare": "an address that Opik's SDK prints, which leads to a page",
    "GET /{workspace}/projects/{project}/datasets/{name}/items": "likewise",
    "GET /api/v1/session/redirect/projects/": "an address that Opik's SDK prints, which leads to a page",
    "GET /project/{project}/traces/{id}": "one that Langfuse's prints, likewise",
    "GET /project/{project}/experiments/results": "likewise",
    "GET /project/{project}/datasets/dataset/{name}/runs/{run}": "likewise",
    "POST /login": "the form by which nobody becomes somebody",
    "GET /login/{name}": "the way to an OpenID provider that is named on the log-in page",
    "GET /login/{name}/back": "the way back, by which nobody becomes somebody",
    "POST /logout": "it ends the session whose cookie came along, and no other",
}
# what has no project of its own: what somebody does in theirs changes it
OUTSIDE_A_PROJECT = {"blobs", "audit", "outcomes", "grant_spent", "review_decisions", "tune_points", "handed_over", "journal", "indexes"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("matrix"))
    yield made
    made.close()


def may(role: str, permission: str) -> bool:
    """What the policy says, in the project `default`."""
    if role in ("nobody", "revoked"):
        return False
    if role == "scoped":  # a developer's key, for release/answer: operations are asked of a whole project
        return permission in ("call", "trace")
    return permission in TABLE[role].split()


def params(name: str, asked: dict[str, Any]) -> Any:
    return msgspec.convert(asked, OPERATIONS[name].params)


def ask(world: World, role: str, name: str, asked: dict[str, Any]) -> bytes:
    """Ask the service itself. Raises what it raises."""
    op = OPERATIONS[name]
    actor = world.actor(role)

    async def done() -> bytes:
        if op.streams:
            return b"".join([msgspec.json.encode(piece) async for piece in world.platform.stream(op, actor, params(name, asked))])
        return msgspec.json.encode(await world.platform.ask(op, actor, params(name, asked)))

    return world.transport.run(done())  # type: ignore[no-any-return]


def by_api(world: World, role: str, name: str, asked: dict[str, Any]) -> tuple[int, bytes]:
    op = OPERATIONS[name]
    given = params(name, asked)
    query = dict(encode(given)) if op.verb == "GET" else None
    answer = world.send(role, op.verb, op.path, b"" if op.verb == "GET" else msgspec.json.encode(asked), query=query)
    return answer.status, b"".join(answer.body)


def twin(route: str, asked: Asked) -> Asked:
    return asked._replace(path="/index.json" if route == "/" else f"{asked.path}.json")


def others(world: World) -> dict[str, Asked]:
    """Every request that is no operation, by its route."""
    pages = questions.pages(world)
    return {
        **questions.doors(world),
        **{f"GET {route}": asked for route, asked in pages.items()},
        **{f"GET {route}.json": twin(route, asked) for route, asked in pages.items()},
        **{f"POST {route}": asked for route, asked in questions.forms(world).items()},
    }


# nothing is without a row


def test_every_operation_has_a_row(world: World) -> None:
    assert questions.operations(world).keys() == OPERATIONS.keys()
    assert MORE.keys() | MORE_ELSEWHERE.keys() == {name for name, op in OPERATIONS.items() if op.also}


def test_every_other_route_has_a_row(world: World) -> None:
    stopping = world.app._stopping
    found = set()
    for route in routes(world.platform, stopping):
        if route.path not in {op.path for op in OPERATIONS.values()}:
            methods = route.methods - {"HEAD"}
            found.add(f"{'ANY' if len(methods) > 1 else next(iter(methods))} {route.path}")
    for route in world.app._rest.routes:  # type: ignore[attr-defined]
        if route.path.startswith(
            ("/mcp", "/log", "/api/public", "/api/v1/private", "/api/is-alive", "/api/v1/session/", "/project", "/{workspace}")
        ):
            methods = route.methods - {"HEAD"}
            found.add(f"{'ANY' if len(methods) > 1 else next(iter(methods))} {route.path}")
    found |= {f"POST {path}" for path in gateway.ROUTES} | {f"{method} {path}" for path, method in gateway.OTHERS.items()}
    assert questions.doors(world).keys() == found | {"GET /healthz", "GET /static"} | {f"POST {path}" for path in otlp.PATHS}
    assert questions.pages(world).keys() == {path for path, _ in web.PAGES}
    assert questions.forms(world).keys() == {path for path, _ in web.FORMS}


def test_the_application_sends_requests_nowhere_else() -> None:
    """A further door in `Application` needs rows in `questions.doors`."""
    lines = [line.strip() for line in inspect.getsource(Application.__call__).splitlines()]
    assert [line for line in lines if line.startswith(("if path", "elif ", "else:"))] == [
        'if path == "/healthz":', "elif Otlp.serves(scope):", "elif Gateway.serves(path):", "else:",
    ]  # fmt: skip


# what is refused has told nothing and left nothing


@pytest.mark.parametrize("role", ["owner", "developer", "viewer", "caller", "run", "grant", "scoped"])
def test_a_service_refuses_whom_the_policy_refuses(world: World, role: str) -> None:
    before = world.state()
    for name, asked in questions.operations(world).items():
        if not may(role, OPERATIONS[name].permission):
            with pytest.raises(Forbidden) as refused:
                ask(world, role, name, asked)
            assert MARK not in str(refused.value), name
    assert world.state() == before


@pytest.mark.parametrize("role", NAMED)
def test_the_api_refuses_whom_the_policy_refuses(world: World, role: str) -> None:
    before = world.state()
    refused = 0
    for name, asked in questions.operations(world).items():
        if not may(role, OPERATIONS[name].permission):
            status, body = by_api(world, role, name, asked)
            assert status == (401 if role in ("nobody", "revoked") else 403), (name, status, body)
            assert MARK.encode() not in body or role == "revoked", name  # a revoked key is told its own name
            refused += 1
    assert world.state() == before
    assert refused or role == "owner"


@pytest.mark.parametrize("role", NAMED)
def test_other_doors_refuse_whom_the_policy_refuses(world: World, role: str) -> None:
    before = world.state()
    for route, asked in others(world).items():
        if route in PUBLIC or asked.needs == "nothing" or (asked.needs == "grant" and role == "grant") or may(role, asked.needs):
            continue
        answer = world.send(role, *asked[1:])
        body = b"".join(answer.body)
        nothing = (404,) if route == "POST /weights" and may(role, "read") else ()  # it looks for them first, and there are none
        assert answer.status in (401 if role in ("nobody", "revoked") else 403, *nothing), (route, answer.status, body[:300])
        assert MARK.encode() not in body or role == "revoked", route
    assert world.state() == before


def test_nobody_gets_in_by_any_method(world: World) -> None:
    """Not by one that a route does not have either."""
    before = world.state()
    paths = {asked.path: route for route, asked in others(world).items()} | {op.path: name for name, op in OPERATIONS.items()}
    for path, route in paths.items():
        for method in METHODS:
            if (
                f"{method} {route.split()[-1]}" in PUBLIC
                or (method == "HEAD" and f"GET {route.split()[-1]}" in PUBLIC)
                or path == "/healthz"
            ):
                continue
            answer = world.send("nobody", method, path, b"{}" if method in ("POST", "PUT", "PATCH") else b"")
            assert answer.status in (401, 404, 405), (method, path, answer.status)
            assert MARK.encode() not in b"".join(answer.body), (method, path)
    assert world.state() == before


def test_what_is_public_tells_nothing_of_what_there_is(world: World) -> None:
    before = world.state()
    doors = questions.doors(world)
    assert {route for route, asked in doors.items() if asked.needs in ("public", "leads", "login", "logout")} == PUBLIC.keys()
    for route in PUBLIC:
        answer = world.send("nobody", *doors[route][1:])
        body = b"".join(answer.body)
        assert answer.status == {"login": 401, "logout": 403, "leads": 307}.get(doors[route].needs, 200), (route, answer.status)
        assert MARK.encode() not in body and str(world.home.path).encode() not in body, route
    assert world.state() == before


@pytest.mark.parametrize("name", sorted(MORE))
def test_some_questions_need_more(world: World, name: str) -> None:
    more, needed = MORE[name]
    asked = questions.operations(world)[name] | more
    before = world.state()
    with pytest.raises(Forbidden, match=f"may not {needed}"):
        ask(world, "developer", name, {k: v for k, v in asked.items() if v is not None})
    assert world.state() == before


def test_a_key_for_one_release_is_shown_that_one_alone(world: World) -> None:
    listed = msgspec.json.decode(b"".join(world.send("scoped", "GET", "/v1/models").body))
    assert [row["id"] for row in listed["data"]] == ["answer"]
    assert world.send("scoped", "GET", "/v1/models/baseline").status == 404


# somebody of another project


def test_a_developer_of_another_project_is_refused_here(world: World) -> None:
    before = world.state()
    for name, asked in questions.operations(world).items():
        if asked.get("project") == "default":
            with pytest.raises(Forbidden) as refused:
                ask(world, "other", name, asked)
            assert MARK not in str(refused.value)
    assert world.state() == before


NAMES = ("suite", "name", "data", "release", "which", "queue", "base")


def _named(field: str, value: Any) -> Any:
    """A ref or a name with this project in front."""
    if not isinstance(value, str) or field in ("project", "source"):
        return value
    return f"default/{value}" if "/" in value or field in NAMES else value


@pytest.mark.parametrize("way", ["by id", "by ref"])
def test_ids_and_refs_of_this_project_open_nothing_from_another(world: World, way: str) -> None:
    """They ask about their own project, with ids of this one, or with refs that name this one."""
    before = world.state("default")
    for name, asked in questions.operations(world).items():
        theirs = asked | ({"project": "other"} if "project" in asked else {})
        if way == "by ref":
            theirs = {field: _named(field, value) for field, value in theirs.items()}
        theirs = msgspec.json.decode(msgspec.json.encode(theirs).replace(MARK.encode(), b"theirs"))
        try:
            told = ask(world, "other", name, theirs)
        except WindlassError as e:
            told = str(e).encode()
        assert MARK.encode() not in told, (name, told)
    after = world.state("default")
    changed = {part for part in before if before[part] != after[part]}
    assert changed <= OUTSIDE_A_PROJECT, changed


# a role gets exactly what its permission says; last, since this changes the world


@pytest.mark.parametrize("role", ["grant", "owner", "run", "caller", "viewer", "scoped", "developer"])
def test_a_role_gets_what_the_policy_gives_it(world: World, role: str) -> None:
    for name, asked in questions.operations(world).items():
        if may(role, OPERATIONS[name].permission):
            status, body = by_api(world, role, name, asked)
            if role == "scoped":  # no operation is about release/answer, which alone this key is for; it sends of the whole project
                assert status == (200 if OPERATIONS[name].permission == "trace" else 403), (name, status, body[:300])
                continue
            assert status not in (401, 403), (name, status, body[:300])
            if role == "owner" or OPERATIONS[name].permission == "read":
                wanted = LATER.get(name, ({200}, ""))[0]
                assert status in wanted, (name, status, body[:300])
    for route, request in others(world).items():
        if may(role, request.needs) or (request.needs == "grant" and role == "grant"):
            answer = world.send(role, *request[1:])
            body = b"".join(answer.body)
            if role == "scoped" and request.needs == "call":  # a key for release/answer alone
                assert (answer.status == 200) == (route in ("POST /invoke/", "GET /v1/models", "GET /v1/models/")), (
                    route,
                    answer.status,
                    body,
                )
                continue
            assert answer.status not in (401, 403), (route, answer.status, body[:300])
            if request.method == "GET" and request.needs == "read":
                assert answer.status == (303 if route == "GET /gates/{id}" else 404 if "/weights" in route else 200), (
                    route,
                    answer.status,
                    body[:300],
                )
