"""Providers for tests: a certified one that runs in node, and one in this process that signs and says whatever a test wants."""

from __future__ import annotations

import atexit
import base64
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx2
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

MODULES = Path(os.environ.get("WINDLASS_OPENID_PROVIDER") or Path(__file__).parents[2] / ".bench" / "openid")
SECRET = "the-clients-secret-of-the-tests: 100% & more"
CLIENTS = {"windlass": "RS256", "by-es": "ES256", "by-ed": "EdDSA", "by-hmac": "HS256"}


def installed() -> bool:
    return shutil.which("node") is not None and (MODULES / "node_modules" / "oidc-provider").is_dir()


class Keys:
    """One private key of each kind, and their public halves as a provider publishes them."""

    def __init__(self, mark: str = "1") -> None:
        self.private: dict[str, Any] = {
            "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "ES256": ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate(),
        }
        self.kids = {alg: f"{alg.lower()}-{mark}" for alg in self.private}

    def jwks(self, *, private: bool = False) -> dict[str, Any]:
        kinds = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}
        keys = []
        for alg, key in self.private.items():
            shown = key if private else key.public_key()
            keys.append(kinds[alg].to_jwk(shown, as_dict=True) | {"kid": self.kids[alg], "use": "sig", "alg": alg})
            keys[-1].pop("key_ops", None)
        return {"keys": keys}

    def sign(self, claims: dict[str, Any], alg: str = "RS256", **head: Any) -> str:
        return jwt.encode(claims, self.private[alg], alg, headers={"kid": self.kids[alg]} | head)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Certified:
    """panva's oidc-provider. At `localhost`, which is another site than 127.0.0.1 is to a browser.

    Args:
        folder: where its settings are.
        windlass: where the server under test answers.
        conform: whether claims come from its userinfo endpoint alone, as the specification has it.
    """

    def __init__(self, folder: Path, windlass: str, *, conform: bool = True) -> None:
        self.port = free_port()
        self.issuer = f"http://localhost:{self.port}"
        self.file = folder / "provider.json"
        self.keys = Keys()
        clients = [
            {
                "client_id": id, "client_secret": SECRET, "redirect_uris": [f"{windlass}/login/{id}/back"],
                "grant_types": ["authorization_code"], "response_types": ["code"], "id_token_signed_response_alg": alg,
            }
            for id, alg in CLIENTS.items()
        ]  # fmt: skip
        clients.append(
            {
                "client_id": "robot",
                "client_secret": SECRET,
                "redirect_uris": [],
                "grant_types": ["client_credentials"],
                "response_types": [],
            }
        )
        self.settings: dict[str, Any] = {
            "issuer": self.issuer, "port": self.port, "clients": clients, "jwks": self.keys.jwks(private=True), "conform": conform,
            "accounts": {
                "ann": {"name": "Ann Lee", "email": "ann@a.example", "email_verified": True, "groups": ["ml-team", "staff"]},
                "bob": {"name": "Bob Ray", "email": "bob@a.example", "email_verified": False, "groups": ["staff"]},
            },
        }  # fmt: skip
        self.write()
        self.process = subprocess.Popen(
            ["node", str(Path(__file__).with_name("openid_provider.mjs")), str(MODULES), str(self.file)],
            stdout=subprocess.PIPE, stderr=(folder / "provider.log").open("w"), text=True,
        )  # fmt: skip
        atexit.register(self.process.kill)  # also when its test fails before it stops it
        assert self.process.stdout
        while (line := self.process.stdout.readline()).strip() != "ready":
            assert line, (folder / "provider.log").read_text()

    def write(self) -> None:
        self.file.write_text(json.dumps(self.settings))

    def groups(self, who: str, *groups: str) -> None:
        self.settings["accounts"][who]["groups"] = groups
        self.write()

    def token(self, audience: str) -> str:
        """What a machine gets for its own credentials."""
        basic = base64.b64encode(f"robot:{httpx2.QueryParams({'x': SECRET})}".replace("x=", "").encode()).decode()
        answer = httpx2.post(
            f"{self.issuer}/token", data={"grant_type": "client_credentials", "resource": audience, "scope": "api"},
            headers={"authorization": f"Basic {basic}"},
        )  # fmt: skip
        return str(answer.json()["access_token"])

    def log_in(self, url: str, who: str) -> str:
        """Go where somebody was sent, log in there, agree, and say where one is sent back to."""
        with httpx2.Client() as http:
            answer = http.get(url)
            for _ in range(12):
                while answer.is_redirect:
                    at = str(answer.url.join(answer.headers["location"]))
                    if not at.startswith(self.issuer):
                        return at
                    answer = http.get(at)
                assert answer.status_code == 200, answer.text
                prompt = "login" if 'name="login"' in answer.text else "consent"
                form = {"prompt": prompt, "login": who, "password": "x"} if prompt == "login" else {"prompt": prompt}
                answer = http.post(str(answer.url), data=form)
        raise AssertionError("the provider never sent back")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


class Scripted:
    """A provider in this process. What it publishes and signs may be changed at any time; `asked` counts by path."""

    def __init__(self, keys: Keys | None = None) -> None:
        self.keys = keys or Keys()
        self.asked: dict[str, int] = {}
        self.nonces: dict[str, str] = {}  # by code
        self.change: Any = lambda claims: claims
        self.sign: Any = lambda claims: self.keys.sign(claims)
        self.answers: dict[str, tuple[int, bytes]] = {}  # instead of what it would say
        self.hang = 0.0
        self.forms: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None: ...

            def do_GET(self) -> None:
                outer._answer(self)

            def do_POST(self) -> None:
                outer._answer(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def published(self) -> dict[str, Any]:
        parts = {"authorization_endpoint": "/auth", "token_endpoint": "/token", "jwks_uri": "/jwks"}
        return {"issuer": self.issuer, **{name: self.issuer + path for name, path in parts.items()}}

    def claims(self, **given: Any) -> dict[str, Any]:
        now = int(time.time())
        said = {"iss": self.issuer, "aud": "windlass", "sub": "ann", "iat": now, "exp": now + 300, "groups": ["ml-team"], **given}
        return {name: value for name, value in said.items() if value is not None}

    def come_back(self, url: str, **more: str) -> dict[str, str]:
        """What a provider would send somebody back with, who was sent to this address."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        code = f"code-{len(self.nonces)}"
        self.nonces[code] = asked["nonce"]
        return {"code": code, "state": asked["state"], **more}

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        path = urlsplit(request.path).path
        self.asked[path] = self.asked.get(path, 0) + 1
        sent = request.rfile.read(int(request.headers.get("content-length") or 0))
        time.sleep(self.hang)
        status, body = self.answers.get(path) or self._usual(path, sent)
        try:
            request.send_response(status)
            request.send_header("content-type", "application/json")
            request.send_header("content-length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)
        except OSError:
            pass  # whoever asked is gone

    def _usual(self, path: str, sent: bytes) -> tuple[int, bytes]:
        if path == "/.well-known/openid-configuration":
            return 200, json.dumps(self.published()).encode()
        if path == "/jwks":
            return 200, json.dumps(self.keys.jwks()).encode()
        if path == "/token":
            form = dict(parse_qsl(sent.decode()))
            self.forms.append(form)
            claims = self.change(self.claims(nonce=self.nonces.get(form["code"], "")))
            return 200, json.dumps({"id_token": self.sign(claims), "token_type": "Bearer"}).encode()
        return 404, b"{}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def scripted(keys: Keys | None = None) -> Iterator[Scripted]:
    made = Scripted(keys)
    try:
        yield made
    finally:
        made.stop()
