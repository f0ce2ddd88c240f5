"""Who may knock. A page on the web must not drive a server on this machine."""

from __future__ import annotations

import socket

import pytest
from tests.doors.server import Server


@pytest.mark.parametrize("host", ["evil.example", "evil.example:4747", "127.0.0.1.evil.example", "[::ffff:1.2.3.4]", "0", ""])
def test_a_name_that_is_not_ours_is_turned_away(server: Server, host: str) -> None:
    """DNS rebinding: the browser believes that evil.example is this machine."""
    with server.owner() as http:
        for path in ("/", "/healthz", "/api/v1/system/status", "/v1/models"):
            assert http.get(path, headers={"host": host}).status_code == 403


def test_of_two_hosts_none_is_believed(server: Server) -> None:
    for hosts in (("evil.example", "127.0.0.1"), ("127.0.0.1", "evil.example")):
        lines = "".join(f"Host: {host}\r\n" for host in hosts)
        assert b" 403 " in spoken(server, f"GET /healthz HTTP/1.1\r\n{lines}Connection: close\r\n\r\n")


def spoken(server: Server, text: str) -> bytes:
    """What the server answers to exactly these characters."""
    port = int(server.address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(text.encode("latin-1"))
        return b"".join(iter(lambda: connection.recv(65_536), b""))


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "LOCALHOST", "[::1]:80"])
def test_our_names_are_ours(server: Server, host: str) -> None:
    with server.owner() as http:
        assert http.get("/api/v1/system/status", headers={"host": host}).status_code == 200


def test_the_one_time_link_opens_a_session_once(server: Server) -> None:
    from windlass.govern.sessions import Sessions

    link = f"/?once={Sessions(server.home / 'run').make_link()}"
    with server.http() as first, server.http() as second:
        opened = first.get(link)
        assert (opened.status_code, opened.headers["location"]) == (303, "/")
        cookie = opened.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert first.get("/").status_code == 200
        assert first.get("/api/v1/system/status").status_code == 200
        again = second.get(link)
        assert again.status_code == 401
        assert "used already" in again.text
        assert "set-cookie" not in again.headers
        assert second.get("/api/v1/system/status").status_code == 401


@pytest.fixture
def browser(server: Server):
    """A client with a session's cookie, as a browser has it."""
    from windlass.govern.sessions import Sessions

    with server.http() as http:
        http.get(f"/?once={Sessions(server.home / 'run').make_link()}")
        yield http


SIMPLE = (
    {"content-type": "text/plain"},
    {"content-type": "application/x-www-form-urlencoded"},
    {"content-type": "application/json"},
)


@pytest.mark.parametrize("kind", SIMPLE, ids=lambda k: k["content-type"])
@pytest.mark.parametrize(
    "where",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "http://["},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {},
    ],
    ids=str,
)
def test_a_page_on_the_web_changes_nothing(server: Server, browser, kind: dict[str, str], where: dict[str, str]) -> None:
    with server.client() as client:
        before = client.keys.list()
        answer = browser.post("/api/v1/keys/create", content=b'{"name": "stolen", "role": "developer"}', headers={**kind, **where})
        assert answer.status_code == 403
        assert client.keys.list() == before
    for path in ("/gates", "/evaluations", "/logout", "/playground/run"):
        assert browser.post(path, content=b"suite=x", headers={**kind, **where}).status_code in (401, 403, 404, 405)


def test_an_empty_key_beside_the_cookie_excuses_nothing(server: Server, browser) -> None:
    for headers in ({"x-api-key": ""}, {"authorization": ""}, {"authorization": "Bearer"}):
        answer = browser.post("/api/v1/keys/create", json={"name": "stolen"}, headers=headers)
        assert answer.status_code in (401, 403)
    assert browser.get("/api/v1/system/status", headers={"x-api-key": ""}).status_code == 401


def test_the_gateway_and_otlp_too_want_to_know_where_a_cookie_comes_from(server: Server, browser) -> None:
    asked = {"model": "baseline", "messages": [{"role": "user", "content": "hello"}]}
    assert browser.post("/v1/chat/completions", json=asked).status_code == 403
    assert browser.post("/v1/messages", json=asked).status_code == 403
    assert browser.post("/invoke/answer", json={}).status_code == 403
    assert browser.post("/v1/traces", json={}).status_code == 403
    assert browser.post("/v1/chat/completions", json=asked, headers={"origin": server.address}).status_code == 200


def test_cookies_of_other_programs_are_no_obstacle(server: Server, browser) -> None:
    ours = "; ".join(f"{c.name}={c.value}" for c in browser.cookies.jar)
    browser.cookies.clear()
    for others in ('theme={"dark": true}; ', "a b=c; ", "=; ;; ", 'x="unclosed; '):
        assert browser.get("/api/v1/system/status", headers={"cookie": others + ours}).status_code == 200


def test_logging_out_ends_the_session(server: Server, browser) -> None:
    cookie = "; ".join(f"{c.name}={c.value}" for c in browser.cookies.jar)
    assert browser.post("/logout").status_code == 403
    assert browser.post("/logout", headers={"origin": server.address}).status_code == 303
    assert server.http().get("/api/v1/system/status", headers={"cookie": cookie}).status_code == 401


def test_behind_tls_the_cookie_stays_there(server: Server) -> None:
    host = "127.0.0.1:443"
    with server.http(host=host) as http:
        for scheme, kept in (("https", True), ("http", False)):
            answer = http.post(
                "/login",
                content=f"key={server.token}".encode(),
                headers={"origin": f"{scheme}://{host}", "content-type": "application/x-www-form-urlencoded"},
            )
            assert answer.status_code == 303
            assert ("secure" in answer.headers["set-cookie"].lower()) is kept


def test_nothing_invites_other_origins(server: Server) -> None:
    """No preflight succeeds, so no request that needs one is ever sent."""
    asked = {"origin": "https://evil.example", "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    with server.http() as http:
        for path in ("/api/v1/runs/start", "/v1/chat/completions", "/v1/traces", "/invoke/answer", "/", "/healthz"):
            answer = http.options(path, headers=asked)
            assert not [name for name in answer.headers if name.startswith("access-control")]
            assert path == "/healthz" or answer.status_code >= 400


def test_our_own_page_may(server: Server, browser) -> None:
    made = browser.post("/api/v1/keys/create", json={"name": "mine"}, headers={"origin": server.address, "sec-fetch-site": "same-origin"})
    assert made.status_code == 200
    assert made.json()["secret"].startswith("wl_")


def test_pages_cannot_be_framed_or_scripted(server: Server, browser) -> None:
    headers = browser.get("/").headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("key", ["wrong", "Bearer", "wlo_" + "x" * 43, "wl_nothing", "wl_8d12636493cc_nothing"])
def test_a_wrong_key_is_nobody(server: Server, key: str) -> None:
    with server.http(authorization=f"Bearer {key}") as http:
        for path in ("/api/v1/system/status", "/v1/models"):
            answer = http.get(path)
            assert answer.status_code == 401
            assert path.startswith("/v1") or answer.headers["www-authenticate"] == "Bearer"
            assert key == "Bearer" or key not in answer.text
        assert http.post("/v1/traces", content=b"", headers={"content-type": "application/x-protobuf"}).status_code == 401


def test_a_callers_key_calls_and_nothing_else(server: Server) -> None:
    with server.client() as client:
        key = client.keys.create("app")
        with server.http(authorization=f"Bearer {key.secret}") as http:
            assert http.get("/v1/models").status_code == 200
            for method, path in (("GET", "/api/v1/artifacts/list"), ("GET", "/api/v1/traces/list"), ("GET", "/api/v1/keys/list")):
                refused = http.request(method, path)
                assert refused.status_code == 403
                assert "may not" in refused.json()["error"]["message"]
            client.keys.revoke(key.id)
            assert http.get("/v1/models").status_code == 401


def test_the_token_is_only_the_users(server: Server) -> None:
    for name in ("token", "run/secret"):
        assert (server.home / name).stat().st_mode & 0o777 == 0o600
    assert server.home.stat().st_mode & 0o777 == 0o700


def test_somebody_unknown_sees_the_log_in_page_and_nothing_more(server: Server) -> None:
    with server.http() as http:
        for path in ("/", "/artifacts", "/traces", "/status", "/artifacts.json"):
            answer = http.get(path)
            assert answer.status_code == 401, path
            assert str(server.home) not in answer.text
        form = http.post(
            "/login", content=b"key=wrong", headers={"content-type": "application/x-www-form-urlencoded", "origin": server.address}
        )
        assert form.status_code == 401
