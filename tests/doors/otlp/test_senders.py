"""Exporters of other platforms: their paths, their ways to carry a key, and what they call their project."""

from __future__ import annotations

import base64
import os

import pytest
from google.rpc.status_pb2 import Status
from tests.doors.otlp.sent import PROTOBUF, good, kept, request, said
from tests.doors.server import Server

from windlass.core.errors import Unauthenticated
from windlass.doors.otlp.senders import FOREIGN_PROJECT, PATHS, SENDERS, key_of
from windlass.sdk.client import Client
from windlass.sdk.transport import HttpTransport
from windlass.traces.envelope import OTLP


def basic(name: str, key: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{key}".encode()).decode()


# who → path, headers with KEY in them, what they call their project
THEIRS = {
    "OpenTelemetry": ("/v1/traces", {"authorization": "Bearer KEY"}, ""),
    "Traceloop": ("/v1/traces", {"Authorization": "bearer KEY"}, ""),
    "Langfuse": ("/api/public/otel/v1/traces", {"authorization": "BASIC", "x-langfuse-ingestion-version": "4"}, ""),
    "Phoenix": ("/v1/traces", {"authorization": "Bearer KEY", "x-project-name": "their space"}, "their space"),
    "Phoenix, older": ("/v1/traces", {"api_key": "KEY", "x-project-name": "p"}, "p"),
    "Arize": ("/v1/traces", {"x-api-key": "KEY"}, ""),
    "MLflow": ("/v1/traces", {"authorization": "BASIC", "x-mlflow-experiment-id": "7"}, "7"),
    "Opik": ("/v1/private/otel/v1/traces", {"authorization": "KEY", "Comet-Workspace": "ws", "projectName": "p"}, "ws/p"),
    "Opik behind its proxy": ("/api/v1/private/otel/v1/traces", {"authorization": "KEY"}, ""),
    "LangSmith": ("/otel/v1/traces", {"x-api-key": "KEY", "Langsmith-Project": "p"}, "p"),
    "Weave": ("/otel/v1/traces", {"wandb-api-key": "KEY"}, ""),
    "Weave, older": ("/otel/v1/traces", {"authorization": "BASIC", "project_id": "team/p"}, "team/p"),
    "Weave's agents": ("/agents/otel/v1/traces", {"wandb-api-key": "KEY"}, ""),
    "Agenta": ("/api/otlp/v1/traces", {"authorization": "ApiKey KEY"}, ""),
    "Logfire": ("/v1/traces", {"authorization": "KEY"}, ""),
    "Logfire's logs": ("/v1/logs", {"authorization": "KEY"}, ""),
    "Logfire's metrics": ("/v1/metrics", {"authorization": "KEY"}, ""),
}


def carried(headers: dict[str, str], key: str) -> dict[str, str]:
    return {n: basic("public", key) if v == "BASIC" else v.replace("KEY", key) for n, v in headers.items()}


def in_project(server: Server, project: str) -> Client:
    return Client(transport=HttpTransport(server.address, server.token), project=project)


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    with in_project(server, "shop") as client:
        return client.keys.create("app").secret or ""


@pytest.mark.parametrize("who", THEIRS)
def test_theirs_are_taken_as_ours_are(server: Server, key: str, who: str) -> None:
    path, headers, project = THEIRS[who]
    name = os.urandom(6).hex()
    sent = request(good(name)).SerializeToString() if path.endswith("traces") else b""
    with server.http() as http:
        answer = http.post(path, content=sent, headers={**PROTOBUF, **carried(headers, key)})
        assert (answer.status_code, answer.content) == (200, b"")
    if sent:
        (resource,) = [r for q in kept(server.home, OTLP) for r in q.resource_spans if r.scope_spans[0].spans[0].name == name]
        assert said(resource.resource.attributes) == ({FOREIGN_PROJECT: project} if project else {})


@pytest.mark.parametrize("who", THEIRS)
def test_a_wrong_key_or_none_is_401_in_the_shape_of_otlp(server: Server, who: str) -> None:
    path, headers, _ = THEIRS[who]
    with server.http() as http:
        for given in (carried(headers, "wl_123456789abc_wrong"), carried(headers, "x"), {"authorization": "Digest x"}, {}):
            answer = http.post(path, content=request(good("x")).SerializeToString(), headers={**PROTOBUF, **given})
            assert (answer.status_code, answer.headers["content-type"]) == (401, "application/x-protobuf")
            told = Status.FromString(answer.content)
            assert (told.code, "wl_123456789abc" in told.message, bool(told.message)) == (16, False, True)
            assert str(server.home) not in told.message


def test_the_key_says_whose_project_it_is_and_nothing_else_does(server: Server, key: str) -> None:
    span = good("whose")
    headers = {"authorization": f"Bearer {key}", "x-project-name": "default", "x-mlflow-experiment-id": "default"}
    sent = request(span)
    sent.resource_spans[0].resource.attributes.add(key="openinference.project.name").value.string_value = "default"
    with server.http() as http:
        assert http.post("/v1/traces", content=sent.SerializeToString(), headers={**PROTOBUF, **headers}).status_code == 200
    for project, there in (("default", False), ("shop", True)):
        with in_project(server, project) as client:
            assert (span[0].hex() in {t.trace_id for t in client.traces.list(limit=200).items}) == there


def test_a_resource_that_names_their_project_is_marked(server: Server, key: str) -> None:
    sent = request(good("marked"))
    sent.resource_spans[0].resource.attributes.add(key="openinference.project.name").value.string_value = "theirs"
    with server.http() as http:
        answer = http.post("/v1/traces", content=sent.SerializeToString(), headers={**PROTOBUF, "authorization": f"Bearer {key}"})
        assert answer.status_code == 200
    (resource,) = [r for q in kept(server.home, OTLP) for r in q.resource_spans if r.scope_spans[0].spans[0].name == "marked"]
    assert said(resource.resource.attributes) == {"openinference.project.name": "theirs", FOREIGN_PROJECT: "theirs"}


def test_a_cookie_opens_our_own_paths_alone(server: Server) -> None:
    with server.http(origin=server.address) as http:
        http.post("/login", data={"key": server.token})
        answers = {path: http.post(path, content=b"", headers=PROTOBUF).status_code for path in PATHS}
    assert answers == {path: 200 if path.count("/") == 2 else 401 for path in PATHS}


def test_every_form_of_every_sender() -> None:
    for sender in SENDERS:
        assert key_of(sender, {}) is None
        for header in sender.headers:
            assert key_of(sender, {header: " k "}) == "k"
            assert key_of(sender, {header: "k", "authorization": "Bearer b"}) == "b"
        for broken in ("Basic !", "Basic " + base64.b64encode(b"no colon").decode(), "Basic /w==", "Nothing k"):
            with pytest.raises(Unauthenticated) as told:
                key_of(sender, {"authorization": broken})
            assert "colon" not in str(told.value)
    assert key_of(SENDERS[1], {"authorization": basic("public", "wl_a:b")}) == "wl_a:b"
