"""Azure, Vertex AI and Bedrock against servers that check what the real ones check: path, version, body, signature, token."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import re
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from tests.runtime.models.test_event_stream import chunk, frame
from tests.scripted_provider import Say, _anthropic, _openai

from windlass.core.errors import Invalid, ModelFailed, Unavailable
from windlass.core.message import ModelRequest, user
from windlass.discover.credentials import StoredKey
from windlass.discover.hosting import shaped
from windlass.discover.providers import load_providers
from windlass.govern.prices import Prices
from windlass.runtime.models import Http, Models, Retries

KEY = rsa.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
CLAUDE = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"


def sigv4_holds(request: web.Request, body: bytes) -> bool:
    """As AWS checks it: made anew from the request as it came, its path quoted once more."""
    head = request.headers.get("Authorization", "")
    found = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=(\w+)/(\d{8})/([\w-]+)/(\w+)/aws4_request, SignedHeaders=([\w;-]+), Signature=(\w{64})", head
    )
    if not found or found[1] != "AKIDEXAMPLE" or (found[3], found[4]) != ("eu-central-1", "bedrock"):
        return False
    lines = [request.method, urllib.parse.quote(request.raw_path.partition("?")[0], safe="/-_.~"), ""]
    lines += [f"{name}:{request.headers[name].strip()}" for name in found[5].split(";")]
    lines += ["", found[5], hashlib.sha256(body).hexdigest()]
    stamp = request.headers["X-Amz-Date"]
    scope = f"{found[2]}/{found[3]}/{found[4]}/aws4_request"
    key = ("AWS4" + SECRET).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"
    return hmac.compare_digest(hmac.new(key, text.encode(), hashlib.sha256).hexdigest(), found[6]) and "host" in found[5]


class Cloud:
    """All three, on one loopback port. `calls` are (path as sent, headers, body)."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Mapping[str, str], dict[str, Any]]] = []
        self.tokens: list[dict[str, str]] = []
        self.valid = "token-1"
        self.stream = b""
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.path.endswith("/token"):
            return self._token(dict(urllib.parse.parse_qsl(body.decode())))
        fields = json.loads(body)
        self.calls.append((request.raw_path, request.headers, fields))
        if request.path.startswith(("/model/", "/aws/")):
            return await self._bedrock(request, body, fields)
        if request.headers.get("Authorization") == f"Bearer {self.valid}" or request.headers.get("api-key") == "azure-key":
            whole = _anthropic.whole(fields, Say("hello")) if "anthropic_version" in fields else _openai.whole(fields, Say("hello"))
            if not fields.get("stream"):
                return web.json_response(whole)
            dialect = _anthropic if "anthropic_version" in fields else _openai
            return web.Response(body=b"".join(dialect.stream(fields, Say("hello there"))), content_type="text/event-stream")
        given = request.headers.get("Authorization") or request.headers.get("api-key")
        return web.json_response({"error": {"message": f"not with {given}"}}, status=401)

    def _token(self, form: dict[str, str]) -> web.Response:
        self.tokens.append(form)
        if "assertion" in form:
            said, _, signature = form["assertion"].rpartition(".")
            KEY.public_key().verify(base64.urlsafe_b64decode(signature + "=="), said.encode(), padding.PKCS1v15(), SHA256())
            claims = json.loads(base64.urlsafe_b64decode(said.split(".")[1] + "=="))
            assert claims["aud"] == f"{self.url}/token" and claims["iss"] == "sa@p-1.iam"
        elif form.get("client_secret") != "entra-secret":
            return web.json_response({"error": "invalid_client", "error_description": f"wrong: {form}"}, status=401)
        self.valid = f"token-{len(self.tokens)}"
        return web.json_response({"access_token": self.valid, "expires_in": 3599, "token_type": "Bearer"})

    async def _bedrock(self, request: web.Request, body: bytes, fields: dict[str, Any]) -> web.StreamResponse:
        if request.headers.get("Authorization") != "Bearer bedrock-api-key" and not sigv4_holds(request, body):
            return web.json_response({"message": "bad signature"}, status=403, headers={"x-amzn-ErrorType": "InvalidSignatureException:x"})
        if request.path.startswith("/aws/"):
            return web.json_response(_openai.whole(fields, Say("hello")))
        if not request.path.endswith("/invoke-with-response-stream"):
            return web.json_response(_anthropic.whole(fields, Say("hello")))
        response = web.StreamResponse(headers={"Content-Type": "application/vnd.amazon.eventstream"})
        await response.prepare(request)
        for at in range(0, len(self.stream), 37):
            await response.write(self.stream[at : at + 37])
        return response


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    made = Cloud()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@contextlib.asynccontextmanager
async def models(environ: dict[str, str], *stored: StoredKey) -> AsyncIterator[Models]:
    found = Models(load_providers(None, environ, lambda: stored), Prices().price, Http(retries=Retries(attempts=1)))
    try:
        yield found
    finally:
        await found.close()


def ask(model: str, **parameters: Any) -> ModelRequest:
    return ModelRequest(model, (user("hi"),), parameters)


AWS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "eu-central-1"}


async def test_bedrock_takes_our_signature(cloud: Cloud) -> None:
    environ = {**AWS, "BEDROCK_ANTHROPIC_BASE_URL": cloud.url, "BEDROCK_OPENAI_BASE_URL": f"{cloud.url}/aws/openai/v1"}
    async with models(environ) as found:
        reply = await found.find(f"bedrock/{CLAUDE}").complete(ask("x"))
        assert reply.message.text == "hello"
        path, _, body = cloud.calls[-1]
        assert path == f"/model/{CLAUDE.replace(':', '%3A')}/invoke"
        assert body["anthropic_version"] == "bedrock-2023-05-31" and "model" not in body and "stream" not in body
        assert (await found.find("bedrock/openai.gpt-oss-20b-1:0").complete(ask("x"))).message.text == "hello"
        assert cloud.calls[-1][0] == "/aws/openai/v1/chat/completions" and cloud.calls[-1][2]["model"] == "openai.gpt-oss-20b-1:0"
    async with models({**environ, "AWS_SECRET_ACCESS_KEY": SECRET[:-1] + "Z"}) as found:
        with pytest.raises(ModelFailed, match="403: bad signature") as caught:
            await found.find(f"bedrock/{CLAUDE}").complete(ask("x"))
        assert SECRET[:-1] not in str(caught.value)
    async with models({**environ, "AWS_BEARER_TOKEN_BEDROCK": "bedrock-api-key"}) as found:
        assert (await found.find(f"bedrock/{CLAUDE}").complete(ask("x"))).message.text == "hello"
    async with models({k: v for k, v in environ.items() if k != "AWS_REGION"}) as found:
        with pytest.raises(Unavailable, match="AWS_REGION is not set"):
            found.find(f"bedrock/{CLAUDE}")


async def test_bedrocks_frames_come_as_events(cloud: Cloud) -> None:
    events = [json.loads(block.partition(b"data: ")[2]) for block in _anthropic.stream({}, Say("hello there, grüß dich"))]
    cloud.stream = b"".join(map(chunk, events))
    async with models({**AWS, "BEDROCK_ANTHROPIC_BASE_URL": cloud.url}) as found:
        deltas = [d async for d in found.find(f"bedrock/{CLAUDE}").stream(ask("x"))]
        assert "".join(d.text for d in deltas) == "hello there, grüß dich"
        assert deltas[-1].reply is not None and deltas[-1].reply.usage.output
        assert cloud.calls[-1][0].endswith("/invoke-with-response-stream")
        throttled = frame(b'{"message": "too many"}', exception_type="throttlingException", message_type="exception")
        for ending, told in ((b"", "answered with nothing"), (cloud.stream[:50], "within a frame"), (throttled, "too many")):
            cloud.stream = chunk(events[0]) + ending
            with pytest.raises(ModelFailed, match=told):
                [d async for d in found.find(f"bedrock/{CLAUDE}").stream(ask("x"))]
        changed = bytearray(chunk(events[0]))
        changed[60] ^= 1
        cloud.stream = bytes(changed)
        with pytest.raises(ModelFailed, match="does not agree with its checksum"):
            [d async for d in found.find(f"bedrock/{CLAUDE}").stream(ask("x"))]


async def test_vertex_takes_a_token_for_a_service_account(cloud: Cloud) -> None:
    file = {"type": "service_account", "project_id": "p-1", "private_key_id": "k", "private_key": PEM, "client_email": "sa@p-1.iam"}
    given = json.dumps({**file, "token_uri": f"{cloud.url}/token"})
    environ = {"VERTEX_OPENAI_BASE_URL": f"{cloud.url}/endpoints/openapi", "VERTEX_ANTHROPIC_BASE_URL": cloud.url}
    stored = StoredKey("a", "", "vertex", given, 1)
    async with models(environ, stored) as found:
        assert (await found.find("vertex/gemini-2.5-flash").complete(ask("x"))).message.text == "hello"
        assert cloud.calls[-1][2]["model"] == "google/gemini-2.5-flash" and cloud.calls[-1][0] == "/endpoints/openapi/chat/completions"
        assert (await found.find("vertex/claude-sonnet-4-5@20250929").complete(ask("x"))).message.text == "hello"
        path, headers, body = cloud.calls[-1]
        assert path == "/publishers/anthropic/models/claude-sonnet-4-5%4020250929:rawPredict" and "anthropic-version" not in headers
        assert body["anthropic_version"] == "vertex-2023-10-16" and "model" not in body
        deltas = [d async for d in found.find("vertex/claude-sonnet-4-5@20250929").stream(ask("x"))]
        assert "".join(d.text for d in deltas) == "hello there" and cloud.calls[-1][0].endswith(":streamRawPredict")
        fetched = len(cloud.tokens)
        assert fetched == 1
        cloud.valid = "revoked-elsewhere"
        endpoint = found.providers.endpoint("vertex", model="gemini-2.5-flash")
        with pytest.raises(ModelFailed, match=r"401: not with Bearer \[key\]") as caught:
            await found.find("vertex/gemini-2.5-flash").complete(ask("x"))
        assert "token-" not in str(caught.value) and endpoint.signer is not None
        assert (await found.find("vertex/gemini-2.5-flash").complete(ask("x"))).message.text == "hello"  # with another token
        assert len(cloud.tokens) == fetched + 1


def test_where_vertex_answers() -> None:
    base = {"GOOGLE_OAUTH_ACCESS_TOKEN": "t", "GOOGLE_CLOUD_PROJECT": "p-1"}
    for location, host in (
        ("", "aiplatform.googleapis.com"),
        ("europe-west1", "europe-west1-aiplatform.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
    ):
        endpoint = load_providers(None, {**base, "GOOGLE_CLOUD_LOCATION": location}).endpoint("vertex")
        assert endpoint.base_url == f"https://{host}/v1/projects/p-1/locations/{location or 'global'}/endpoints/openapi"
    for odd in ("evil.example/x", "a@b", "..", "x y"):
        with pytest.raises(Invalid, match="cannot be the"):
            load_providers(None, {**base, "GOOGLE_CLOUD_LOCATION": odd}).endpoint("vertex")


async def test_azure_by_key_by_entra_and_by_deployment(cloud: Cloud) -> None:
    async with models({"AZURE_OPENAI_ENDPOINT": cloud.url + "/", "AZURE_OPENAI_API_KEY": "azure-key"}) as found:
        assert (await found.find("azure/my-deployment").complete(ask("x"))).message.text == "hello"
        assert cloud.calls[-1][0] == "/openai/v1/chat/completions" and cloud.calls[-1][2]["model"] == "my-deployment"
        assert (await found.find("azure-deployments/my deployment").complete(ask("x", max_tokens=5))).message.text == "hello"
        path, headers, body = cloud.calls[-1]
        assert path == "/openai/deployments/my%20deployment/chat/completions?api-version=2024-10-21"
        assert headers["api-key"] == "azure-key" and body["max_completion_tokens"] == 5
    entra = {"AZURE_TENANT_ID": "t-1", "AZURE_CLIENT_ID": "c-1", "AZURE_AUTHORITY_HOST": cloud.url}
    async with models({**entra, "AZURE_OPENAI_ENDPOINT": cloud.url, "AZURE_CLIENT_SECRET": "entra-secret"}) as found:
        assert (await found.find("azure-deployments/d").complete(ask("x"))).message.text == "hello"
        assert "api-key" not in cloud.calls[-1][1] and cloud.tokens[-1]["scope"].endswith("/.default")
    async with models({**entra, "AZURE_OPENAI_ENDPOINT": cloud.url, "AZURE_CLIENT_SECRET": "wrong-client-secret"}) as found:
        with pytest.raises(ModelFailed, match="invalid_client") as caught:
            await found.find("azure-deployments/d").complete(ask("x"))
        assert "wrong-client-secret" not in str(caught.value)


async def test_a_refused_key_makes_way_for_the_one_given_beside_it(cloud: Cloud) -> None:
    """The newest is used; while the provider does not take it, the call goes through with the one before, and no attempt is lost."""
    fields = {"base_url": f"{cloud.url}/v1"}
    old, new = (StoredKey(i, "", "openai", s, n, fields=fields) for n, (i, s) in enumerate((("old", "token-1"), ("new", "bad-new-key"))))
    async with models({}, old, new) as found:
        for _ in range(3):
            assert (await found.find("openai/m").complete(ask("x"))).message.text == "hello"
        sent = [headers["Authorization"] for _, headers, _ in cloud.calls]
        assert sent == ["Bearer bad-new-key", "Bearer token-1", "Bearer token-1", "Bearer token-1"]
        cloud.valid = "nobody"
        with pytest.raises(ModelFailed, match=r"not with Bearer \[key\]"):
            await found.find("openai/m").complete(ask("x"))


def test_whose_key_it_is() -> None:
    keys = (
        StoredKey("all", "", "openai", "k-all", 5, ends="-all"), StoredKey("own", "shop", "openai", "k-own", 1),
        StoredKey("far", "", "far", "k-far", 1, like="openai", fields={"base_url": "https://far.example/v1"}),
        StoredKey("bad", "shop", "groq", "", 1, problem="sealed elsewhere"),
    )  # fmt: skip
    found = load_providers(None, {"OPENAI_API_KEY": "k-env", "GROQ_API_KEY": "g-env", "OPENAI_BASE_URL": ""}, lambda: keys)
    assert (
        found.endpoint("openai").key == found.endpoint("openai", "other").key == "k-all" and found.endpoint("openai", "shop").key == "k-own"
    )
    assert found.endpoint("openai").source == "given here, ends in -all"
    assert found.endpoint("groq").source == "GROQ_API_KEY in the environment"
    with pytest.raises(Unavailable, match="sealed elsewhere"):  # the environment's is somebody else's
        found.endpoint("groq", "shop")
    far = found.endpoint("far")
    assert (far.base_url, far.key, far.provider.quirks) == ("https://far.example/v1", "k-far", ("max_completion_tokens",))
    assert far.provider.priced_as == ""  # it may be anybody's server
    assert "far" in {p.name for p in found.all()} and "k-" not in repr(keys) + repr(far)


@pytest.mark.parametrize("model", ["", ".", ".."])
def test_a_name_that_would_climb_out_of_its_path_is_refused(model: str) -> None:
    body = json.dumps({"model": model}).encode()
    for hosting in ("azure-deployments", "vertex-anthropic", "bedrock-anthropic"):
        path = "/chat/completions" if hosting == "azure-deployments" else "/messages"
        with pytest.raises(Invalid, match="names no model"):
            shaped(hosting, path, body, {}, provider="x")  # type: ignore[arg-type]


def test_what_a_host_has_not_is_refused_and_unknown_fields_go_through() -> None:
    for hosting, path in (
        ("bedrock-anthropic", "/messages/count_tokens"),
        ("vertex-anthropic", "/batches"),
        ("azure-deployments", "/responses"),
    ):
        with pytest.raises(Invalid, match=f"has no {path}"):
            shaped(hosting, path, b'{"model": "m"}', {}, provider="x")  # type: ignore[arg-type]
    body = b'{"model":"m","stream":true,"new_field":{"a":[1,2.50,"\xc3\xa9"]}}'
    done = shaped("bedrock-anthropic", "/messages", body, {"anthropic-beta": "a-1, b-2", "anthropic-version": "x"}, provider="x")
    assert b'"new_field":{"a":[1,2.50,"\xc3\xa9"]}' in done.body and done.headers == {}
    assert json.loads(done.body)["anthropic_beta"] == ["a-1", "b-2"] and "stream" not in json.loads(done.body)
    counted = shaped("vertex-anthropic", "/messages/count_tokens", b'{"model":"m"}', {}, provider="x")
    assert counted.path.endswith("/count-tokens:rawPredict") and json.loads(counted.body)["model"] == "m"
    assert shaped("", "/anything", body, {"a": "b"}, provider="x").body is body
