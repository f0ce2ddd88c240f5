"""Checking JSON values against JSON Schemas, with sentences people understand; and which field of an output is its text."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import msgspec

from windlass.core.digest import canonical
from windlass.core.errors import Invalid
from windlass.sdk.output import TEXT


def complaint(schema: dict[str, Any], value: Any) -> str | None:
    """What is wrong with the value, naming the field: None when it fits. Raises `Invalid` for a broken schema."""
    for error in _validator(canonical(schema)).iter_errors(value):
        field = ".".join(str(p) for p in error.instance_path)
        return f"{field}: {error.message}" if field else str(error.message)
    return None


@lru_cache(maxsize=512)
def _validator(schema: bytes) -> Any:
    import jsonschema_rs  # 3 MB, only where something is checked

    try:
        return jsonschema_rs.validator_for(json.loads(schema))
    except (ValueError, jsonschema_rs.ValidationError) as e:
        raise Invalid(f"the schema is not a JSON Schema: {e}") from e


def object_of(inputs: dict[str, Any]) -> dict[str, Any]:
    """A schema of arguments by name, from each input's schema; those without a default are required."""
    required = sorted(name for name, schema in inputs.items() if not (isinstance(schema, dict) and "default" in schema))
    return {"type": "object", "properties": inputs, "required": required, "additionalProperties": False}


def check_arguments(schema: dict[str, Any], arguments: dict[str, Any], who: str) -> None:
    """Raises `Invalid` when arguments do not fit, also for one that the schema does not list."""
    listed = schema.get("properties", {})
    if unknown := sorted(set(arguments) - set(listed)):
        raise Invalid(f"{who} takes no {unknown[0]!r}", remedy="it takes " + (", ".join(listed) or "nothing"))
    if missing := [name for name in schema.get("required", []) if name not in arguments]:
        raise Invalid(f"{who} needs {missing[0]!r}", remedy="it takes " + ", ".join(listed))
    if (wrong := complaint(schema, arguments)) is not None:
        raise Invalid(f"the input of {who} is wrong at {wrong}")


def sole_string(schema: dict[str, Any]) -> str | None:
    """The name of the one string that a target takes, where it can be called with nothing else."""
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    names = required if len(required) == 1 else list(properties) if len(properties) == 1 else []
    return names[0] if names and _may_be_string(properties.get(names[0], {})) else None


def text_field(schema: dict[str, Any] | None) -> str | None:
    """The property that is an output's text: the marked one, the only string, or the string named `text`."""
    properties = _resolve(schema or {}, schema or {}).get("properties", {})
    marked = [name for name, p in properties.items() if isinstance(p, dict) and p.get(TEXT)]
    strings = [name for name, p in properties.items() if _is_string(p)]
    if marked or len(strings) == 1:
        return str((marked or strings)[0])
    return "text" if "text" in strings or not properties else None


def text_of(output: Any, schema: dict[str, Any] | None) -> str:
    """What a chat client is shown of an output: its text field, or itself, or its JSON."""
    if isinstance(output, str):
        return output
    if output is None:
        return ""
    field = text_field(schema)
    if field and isinstance(output, dict) and isinstance(output.get(field), str):
        return str(output[field])
    return msgspec.json.encode(output).decode()


def _may_be_string(schema: Any) -> bool:
    kind = schema.get("type", "string") if isinstance(schema, dict) else "string"
    return kind == "string" or (isinstance(kind, list) and "string" in kind)


def _is_string(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("type") == "string"


def _resolve(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """The schema behind a local `$ref`, which msgspec writes for named types."""
    ref = schema.get("$ref")
    if not isinstance(ref, str) or not ref.startswith("#/"):
        return schema
    found: Any = root
    for part in ref[2:].split("/"):
        found = found.get(part, {}) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}
