"""The API's description: a valid OpenAPI 3.1 document that says of every operation what it is given and gives."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import msgspec
import pytest
from tests.doors.server import Server

from windlass.core.operations import OPERATIONS


@pytest.fixture(scope="module")
def described(server: Server) -> dict[str, Any]:
    with server.owner() as http:
        answer = http.get("/api/v1/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def test_it_has_every_operation_and_nothing_else(described: dict[str, Any]) -> None:
    assert described["openapi"] == "3.1.0"
    assert {(path, verb) for path, verbs in described["paths"].items() for verb in verbs} == {
        (op.path, op.verb.lower()) for op in OPERATIONS.values()
    }
    ids = [operation["operationId"] for verbs in described["paths"].values() for operation in verbs.values()]
    assert sorted(ids) == sorted(OPERATIONS)


def test_whatever_it_points_to_is_there(described: dict[str, Any]) -> None:
    def pointers(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [p for part in value.values() for p in pointers(part)]
        return [p for part in value for p in pointers(part)] if isinstance(value, list) else []

    found = pointers(described)
    assert len(found) > len(OPERATIONS)
    for pointer in found:
        assert pointer.startswith("#/components/schemas/")
        assert pointer.removeprefix("#/components/schemas/") in described["components"]["schemas"]


def test_every_schema_is_json_schema(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    for name, schema in schemas.items():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
        assert name.isidentifier()


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_an_operation_says_what_it_is_given_and_gives(described: dict[str, Any], name: str) -> None:
    op = OPERATIONS[name]
    said = described["paths"][op.path][op.verb.lower()]
    kind = "text/event-stream" if op.streams else "application/json"
    assert set(said["responses"]["200"]["content"]) == {kind}
    assert "default" in said["responses"]
    if op.verb == "GET":
        fields = msgspec.structs.fields(op.params)
        assert {p["name"] for p in said["parameters"]} == {f.encode_name for f in fields}
        assert {p["name"] for p in said["parameters"] if p["required"]} == {f.encode_name for f in fields if f.required}
        assert all(p["in"] == "query" for p in said["parameters"])
    else:
        assert set(said["requestBody"]["content"]) == {"application/json"}


@pytest.mark.parametrize("name", ["system.status", "models.list", "artifacts.list", "keys.list", "traces.list", "registry.verify"])
def test_answers_are_as_described(server: Server, described: dict[str, Any], name: str) -> None:
    op = OPERATIONS[name]
    schema = described["paths"][op.path][op.verb.lower()]["responses"]["200"]["content"]["application/json"]["schema"]
    with server.owner() as http:
        answer = http.request(op.verb, op.path).json()
    jsonschema_rs.validator_for({**schema, "components": described["components"]}).validate(answer)


def test_errors_are_as_described(server: Server, described: dict[str, Any]) -> None:
    validator = jsonschema_rs.validator_for(described["components"]["schemas"]["Error"])
    with server.owner() as http, server.http() as nobody:
        for answer in (http.get("/api/v1/nothing"), http.get("/api/v1/runs/start"), nobody.get("/api/v1/system/status")):
            assert answer.status_code >= 400
            validator.validate(answer.json())
