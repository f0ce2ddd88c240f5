"""The API as OpenAPI 3.1, made from the operations; `/api/v1/openapi.json`."""

from __future__ import annotations

from typing import Any

import msgspec

import windlass
from windlass.core.operations import OPERATIONS, Operation

ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "where": {"type": "string"},
                "remedy": {"type": "string"},
                "details": {"type": "object"},
            },
        }
    },
}


def document() -> dict[str, Any]:
    """The whole description, as JSON."""
    kinds = [kind for op in OPERATIONS.values() for kind in (op.params, op.result)]
    found, schemas = msgspec.json.schema_components(list(dict.fromkeys(kinds)), ref_template="#/components/schemas/{name}")
    schema = dict(zip(dict.fromkeys(kinds), found, strict=True))
    return {
        "openapi": "3.1.0",
        "info": {"title": "Windlass", "version": windlass.__version__},
        "paths": {op.path: {op.verb.lower(): _operation(op, schema, schemas)} for op in OPERATIONS.values()},
        "components": {
            "schemas": {**schemas, "Error": ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}],
    }


def _operation(operation: Operation[Any, Any], schema: dict[Any, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    answer = "text/event-stream" if operation.streams else "application/json"
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.name.partition(".")[0]],
        "x-permission": operation.permission,
        "responses": {
            "200": {"description": "the result", "content": {answer: {"schema": schema[operation.result]}}},
            "default": {"description": "an error", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}},
        },
    }
    if operation.verb == "POST":
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema[operation.params]}}}
        return described
    whole = schemas[operation.params.__name__]
    described["parameters"] = [
        {"name": name, "in": "query", "required": name in whole.get("required", ()), "schema": part}
        for name, part in whole.get("properties", {}).items()
    ]
    return described
