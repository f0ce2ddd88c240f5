"""Logging in by a certified OpenID provider, and a server as `windlass up` starts it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from starlette.requests import Request
from tests.doors.cli.conftest import Shell
from tests.doors.server import Server, until
from tests.govern.openid_server import CLIENTS, SECRET, Certified, free_port, installed

from windlass.core.errors import Unavailable
from windlass.doors.openid import OpenIdLogin
from windlass.store.home import Home

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not installed(), reason="there is no OpenID provider here: make .stamps/openid installs one"),
]
RULES = """
[[provider.rule]]
claims = { groups = "ml-team" }
role = "developer"
project = "shop"

[[provider.rule]]
claims = { email = "bob@a.example" }
role = "owner"
"""


class Setup:
    """A server, and the provider by which people come."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.provider = Certified(folder, self.address)
        self.home = Home(folder / "home").path
        self.write()
        self.server = Server(self.home, port=self.port, env={"OIDC_SECRET": SECRET}, workers=2)

    def write(self, rules: str = RULES) -> None:
        secret = 'client_secret_env = "OIDC_SECRET"'
        each = "".join(
            f'[[provider]]\nname = "{id}"\nissuer = "{self.provider.issuer}"\nclient_id = "{id}"\n{secret}\n{rules}\n' for id in CLIENTS
        )
        robots = f'[[provider]]\nname = "robots"\nissuer = "{self.provider.issuer}"\naudience = "https://windlass.test"\n'
        rule = '[[provider.rule]]\nclaims = { sub = "robot", scope = "api" }\nrole = "developer"\nproject = "shop"\n'
        (self.home / "oidc.toml").write_text(each + robots + rule)

    def there(self, http: httpx2.Client, name: str = "windlass", **query: str) -> str:
        """Where the provider is found by whoever presses the button."""
        answer = http.get(f"/login/{name}", params=query)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    def log_in(self, who: str, name: str = "windlass", **query: str) -> tuple[httpx2.Client, httpx2.Response]:
        http = self.server.http()
        back = self.provider.log_in(self.there(http, name, **query), who)
        return http, http.get(back.removeprefix(self.address))

    def stop(self) -> None:
        self.server.stop()
        self.provider.stop()


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    made = Setup(tmp_path_factory.mktemp("openid"))
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def usual(setup: Setup) -> Iterator[None]:
    yield
    setup.write()
    setup.provider.groups("ann", "ml-team", "staff")


@pytest.mark.parametrize("name", ["windlass", "by-es", "by-ed"])
def test_somebody_logs_in(setup: Setup, name: str) -> None:
    http, landed = setup.log_in("ann", name)
    assert landed.status_code == 200 and 'content="0;url=/"' in landed.text
    cookies = landed.headers.get_list("set-cookie")
    session = next(c for c in cookies if not c.startswith(f"windlass_{setup.port}_login"))
    assert "SameSite=strict" in session and "HttpOnly" in session and "Max-Age=43200" in session
    assert next(c for c in cookies if "_login=" in c).startswith(f'windlass_{setup.port}_login=""')
    assert http.get("/").status_code == 200
    assert http.get("/people").status_code == 403  # a developer
    with setup.server.client() as client:
        person = next(p for p in client.people.list().items if p.id == f"oidc:{name}:ann")
    assert (person.name, person.role, person.project) == ("Ann Lee (ann@a.example)", "developer", "shop")


def test_the_way_there_keeps_nothing_readable_and_leads_only_there(setup: Setup) -> None:
    with setup.server.http() as http:
        answer = http.get("/login/windlass")
        where = urlsplit(answer.headers["location"])
        assert f"{where.scheme}://{where.netloc}" == setup.provider.issuer
        assert parse_qs(where.query)["redirect_uri"] == [f"{setup.address}/login/windlass/back"]
        cookie = answer.headers["set-cookie"]
        assert "SameSite=lax" in cookie and "HttpOnly" in cookie and "Path=/login" in cookie and "Max-Age=600" in cookie
        assert SECRET not in str(answer.headers)


@pytest.mark.parametrize(
    "back",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "evil",
        "/é",
        "/" + "x" * 2000,
    ],
)
def test_nobody_is_led_elsewhere_afterwards(setup: Setup, back: str) -> None:
    _, landed = setup.log_in("ann", back=back)
    assert 'content="0;url=/"' in landed.text and "evil" not in landed.text


def test_where_people_come_back_to_is_not_what_a_request_says(setup: Setup) -> None:
    actors: Any = SimpleNamespace(cookie="windlass", tokens=None)
    people: Any = SimpleNamespace(ways=lambda: (("company", "Example Inc."),))

    def asked(host: str) -> Request:
        return Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [(b"host", host.encode())]})

    here = OpenIdLogin(actors, people, "")
    assert here._base(asked("localhost:4747")) == "http://localhost:4747" and here._base(asked("[::1]:80")) == "http://[::1]:80"
    for host in ("windlass.example.com", "10.0.0.1:4747", ""):
        with pytest.raises(Unavailable, match="does not know where people reach it"):
            here._base(asked(host))
    public = OpenIdLogin(actors, people, "https://windlass.example.com/")
    assert public._base(asked("evil.example")) == "https://windlass.example.com"
    (way,) = public.ways("/audit", b"last=7d")
    assert (way.name, way.url) == ("Example Inc.", "https://windlass.example.com/login/company?back=%2Faudit%3Flast%3D7d")


def test_one_goes_on_where_one_was(setup: Setup) -> None:
    _, landed = setup.log_in("ann", back="/audit?action=keys.&last=7d")
    assert 'content="0;url=/audit?action=keys.&amp;last=7d"' in landed.text


def test_a_token_by_hmac_lets_nobody_in(setup: Setup) -> None:
    http, landed = setup.log_in("ann", "by-hmac")
    assert landed.status_code == 401 and "is not signed as it must be" in landed.text
    assert http.get("/").status_code == 401


def test_whom_no_rule_lets_in_stays_out(setup: Setup) -> None:
    http, landed = setup.log_in("bob")  # whose e-mail address the provider has not verified
    assert landed.status_code == 403
    assert "looked at: groups (no match), email (not verified)" in landed.text and "bob@" not in landed.text and "staff" not in landed.text
    assert http.get("/").status_code == 401


def test_a_log_in_is_of_one_browser_and_once(setup: Setup) -> None:
    mine, theirs = setup.server.http(), setup.server.http()
    back = setup.provider.log_in(setup.there(mine), "ann").removeprefix(setup.address)
    other = setup.provider.log_in(setup.there(theirs), "ann").removeprefix(setup.address)
    assert "was not begun in this browser" in setup.server.http().get(back).text  # no cookie
    assert "belongs to another log-in" in theirs.get(back).text  # somebody else's
    assert "was not begun in this browser" in mine.get(back.replace("/windlass/", "/by-es/")).text  # another provider
    kept = dict(mine.cookies)
    assert mine.get(back).status_code == 200
    assert "was not begun in this browser" in mine.get(back).text  # replayed: the cookie is gone
    again = setup.server.http(cookie="; ".join(f"{n}={v}" for n, v in kept.items()))
    assert "used already, or is too old" in again.get(back).text  # replayed with it: the provider knows
    assert theirs.get(other.replace("code=", "code=x")).status_code == 401
    assert theirs.get("/").status_code == 401


def test_a_rule_that_goes_ends_what_is_open(setup: Setup) -> None:
    http, _ = setup.log_in("ann")
    assert [http.get("/").status_code for _ in range(4)] == [200] * 4  # by both workers
    setup.write(RULES.replace("ml-team", "ml-gone"))
    answers = [http.get("/") for _ in range(4)]
    assert [a.status_code for a in answers] == [401] * 4 and "No rule of oidc.toml lets Ann Lee" in answers[0].text
    setup.write('[[provider.rule]]\nclaims = "all"\n')
    answer = http.get("/")
    assert answer.status_code == 401 and "Expected `object`, got `str`" in answer.text and str(setup.home) not in answer.text
    assert setup.server.owner().get("/people").status_code == 200
    assert "Nobody comes by an OpenID provider until this is mended" in setup.server.owner().get("/people").text
    setup.write()
    assert http.get("/").status_code == 200


def test_groups_that_change_count_from_the_next_log_in_on(setup: Setup) -> None:
    first, _ = setup.log_in("ann")
    setup.provider.groups("ann", "staff")
    assert first.get("/").status_code == 200
    assert setup.log_in("ann")[1].status_code == 403
    assert first.get("/").status_code == 401


def test_whoever_is_blocked_is_out_of_every_process_within_two_seconds(setup: Setup, tmp_path: Path) -> None:
    http, _ = setup.log_in("ann")
    token = setup.provider.token("https://windlass.test")
    robot = setup.server.http(authorization=f"Bearer {token}")
    assert [robot.get("/api/v1/artifacts/list?project=shop").status_code for _ in range(4)] == [200] * 4
    shell = Shell(tmp_path)
    shell.env |= {"WINDLASS_URL": setup.address, "WINDLASS_KEY": setup.server.token}
    for id in ("oidc:windlass:ann", "robots:robot"):
        shell("people", "block", id)
    assert [http.get("/").status_code for _ in range(4)] == [401] * 4
    time.sleep(2.0)
    answers = [robot.get("/api/v1/artifacts/list?project=shop") for _ in range(4)]
    assert [a.status_code for a in answers] == [401] * 4 and "robot is blocked here" in answers[0].text
    assert setup.log_in("ann")[1].status_code == 401
    rows = {p["id"]: p for p in shell.json("people", "list")["items"]}
    assert rows["oidc:windlass:ann"]["blocked_by"] == "owner" and not rows["oidc:windlass:ann"].get("sessions")
    assert "blocked" in shell("people", "list").stdout
    assert "comes in as developer" in shell("people", "admit", "oidc:windlass:ann").stdout
    shell("people", "admit", "oidc:robots:robot")
    assert setup.log_in("ann")[1].status_code == 200


def test_a_machine_in_ci_works_with_its_providers_token(setup: Setup, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.env |= {"WINDLASS_URL": setup.address, "WINDLASS_KEY": setup.provider.token("https://windlass.test")}
    shell("init", "shop")
    shell.cwd = tmp_path / "shop"
    toml = shell.cwd / "windlass.toml"
    toml.write_text('project = "shop"\n' + "\n".join(line for line in toml.read_text().splitlines() if not line.startswith("project")))
    assert "new" in shell("push").stdout
    assert "may not admin" in shell("keys", "list", code=1).stderr
    with setup.server.http(authorization=f"Bearer {shell.env['WINDLASS_KEY']}") as http:
        asked = {"model": "baseline", "messages": [{"role": "user", "content": "hello"}]}
        assert http.post("/v1/chat/completions", json=asked).status_code == 200
        assert http.get("/v1/models", headers={"x-api-key": shell.env["WINDLASS_KEY"]}).status_code == 200
    wrong = setup.server.http(authorization=f"Bearer {setup.provider.token('https://other.test')}")
    for path in ("/v1/models", "/api/v1/artifacts/list?project=shop"):
        answer = wrong.get(path)
        assert answer.status_code == 401 and "made for somebody else" in answer.text
    owner = Shell(tmp_path)
    owner.env |= {"WINDLASS_URL": setup.address, "WINDLASS_KEY": setup.server.token}
    pushed = owner.json("audit", "list", "--action", "registry.push", "--project", "shop")["items"][0]
    assert pushed["actor"] == "oidc:robots:robot" and pushed["name"] == "robot"


def test_the_command_says_what_is_set_up(setup: Setup, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.env |= {"WINDLASS_URL": setup.address, "WINDLASS_KEY": setup.server.token}
    told = shell("people", "providers", "--reach").stdout
    assert "windlass  http://localhost" in told and "ready" in told and "secret from the variable OIDC_SECRET" in told
    assert "machines, with tokens for https://windlass.test" in told and "groups = ml-team  →  developer in shop" in told
    assert SECRET not in told + shell("people", "providers", "--json").stdout


def test_nothing_secret_is_in_what_is_kept(setup: Setup) -> None:
    http, _ = setup.log_in("ann")
    cookie = http.cookies[f"windlass_{setup.port}"]
    token = setup.provider.token("https://windlass.test")
    assert setup.server.http(authorization=f"Bearer {token}").get("/v1/models").status_code == 200
    files = [p for p in setup.home.rglob("*") if p.is_file()]
    for path in files:
        content = path.read_bytes()
        for secret in (SECRET, cookie, token, token.rpartition(".")[2]):
            assert secret.encode() not in content, path
    assert len(files) > 10


def test_a_provider_that_is_gone_stops_nobody_with_a_key(tmp_path: Path) -> None:
    setup = Setup(tmp_path)
    try:
        key = setup.server.client().keys.create("ann", "developer").secret
        token = setup.provider.token("https://windlass.test")
        setup.provider.stop()
        with setup.server.http() as http:
            answer = http.get("/login/windlass")
            assert answer.status_code == 503 and "the provider windlass cannot be asked" in answer.text.replace("The", "the")
            for path in ("/v1/models", "/api/v1/artifacts/list?project=shop"):
                answer = http.get(path, headers={"authorization": f"Bearer {token}"})
                assert answer.status_code == 503 and "cannot be asked" in answer.text
            form = {"origin": setup.address, "content-type": "application/x-www-form-urlencoded"}
            assert http.post("/login", content=f"key={key}", headers=form).status_code == 303
            assert http.get("/").status_code == 200
    finally:
        setup.server.stop()


def test_a_server_whose_file_is_wrong_does_not_begin(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").path
    (home / "oidc.toml").write_text('[[provider]]\nname = "company"\nissuer = "http://id.example.com"\nclient_id = "x"\n')
    server = Server(home, ready=False)
    until(lambda: server.process.poll() is not None, 60)
    said = server.process.communicate()[1]
    assert "the issuer of company is no address of a provider" in said and "oidc.toml: provider 1" in said
