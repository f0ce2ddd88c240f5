"""Types as JSON Schemas: outputs, arguments, and which field of an output a person reads."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any, dataclass_transform

import msgspec

from windlass.core.errors import Invalid, RunFailed

TEXT = "x-windlass-text"


class _Text:
    """The default of a field that is an output's text; taken away before the class is made."""


def text() -> Any:
    """Marks the field of an `Output` that a chat client is shown: `text: str = w.text()`."""
    return _Text()


@dataclass_transform(field_specifiers=(text, msgspec.field), kw_only_default=True)
class _OutputMeta(type(msgspec.Struct)):  # type: ignore[misc]
    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> Any:
        marked = [field for field, value in namespace.items() if isinstance(value, _Text)]
        if len(marked) > 1:
            raise Invalid(f"{name} marks {len(marked)} fields as its text", where=name, remedy="mark one with w.text()")
        for field in marked:
            del namespace[field]
        made = super().__new__(cls, name, bases, namespace, **options)
        if marked:
            _TEXT_FIELDS[made] = marked[0]
        return made


_TEXT_FIELDS: dict[type, str] = {}


class Output(msgspec.Struct, metaclass=_OutputMeta, kw_only=True):
    """What a component, chain or agent returns: fields by name and type. Immutable by convention, compared by value."""


def schema_of(kind: Any) -> dict[str, Any]:
    """The JSON Schema of a Python type, self-contained. Raises `Invalid` for a type that has none."""
    if kind is Any or kind is inspect.Parameter.empty:
        return {}
    try:
        (schema,), components = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    except (TypeError, NotImplementedError) as e:
        raise Invalid(
            f"{_name(kind)} has no JSON Schema: {str(e).splitlines()[0]}",
            remedy="use Output, dataclasses, TypedDicts, lists, dicts, str, numbers, bool",
        ) from e
    _mark(kind, components)
    if schema.get("$ref") == f"#/$defs/{_name(kind)}":
        schema = components.pop(_name(kind))
    used = str(schema) + str(components)
    components = {k: v for k, v in components.items() if f"#/$defs/{k}" in used}
    return {**schema, "$defs": components} if components else dict(schema)


def _mark(kind: Any, components: dict[str, Any]) -> None:
    """Marks the text field of every `Output` in these components, and drops titles, which say nothing to a model."""
    by_name = {t.__name__: field for t, field in _TEXT_FIELDS.items()}
    for name, schema in components.items():
        schema.pop("title", None)
        field = by_name.get(name)
        if field and field in schema.get("properties", {}):
            schema["properties"][field] = {**schema["properties"][field], TEXT: True}


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", None) or str(kind)


def signature_schema(function: Callable[..., Any], *, skip: tuple[str, ...] = ()) -> tuple[dict[str, Any], Any]:
    """The JSON Schema of a function's arguments as one object, and its return annotation. Raises `Invalid` naming the argument
    for *args, **kwargs and positional-only ones."""
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as e:
        raise Invalid(f"an annotation of {function.__qualname__} names {e.name!r}, which is not defined") from e
    properties: dict[str, Any] = {}
    required: list[str] = []
    definitions: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name in skip:
            continue
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise Invalid(f"argument {name!r} of {function.__qualname__} cannot be given by name", remedy="name every argument")
        schema = schema_of(hints.get(name, Any))
        definitions.update(schema.pop("$defs", {}))
        if parameter.default is parameter.empty:
            required.append(name)
        elif parameter.default is not None or schema:
            schema = {**schema, "default": msgspec.to_builtins(parameter.default)}
        properties[name] = schema
    found: dict[str, Any] = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    if definitions:
        found["$defs"] = definitions
    return found, hints.get("return", Any)


def from_json(value: Any, kind: Any, who: str) -> Any:
    """A JSON value as its type. Raises `RunFailed` saying what came and what was wanted."""
    if kind is None or kind is Any:
        return value
    try:
        return msgspec.convert(value, kind, dec_hook=loaded)
    except (msgspec.ValidationError, TypeError, ValueError) as e:
        raise RunFailed(f"{who} answered what is not a {_name(kind)}: {e}") from e


def loaded(kind: type, value: Any) -> Any:
    """A JSON value as a type that msgspec does not know: what has `model_validate` (Pydantic)."""
    validate = getattr(kind, "model_validate", None)
    if callable(validate):
        return validate(value)
    raise TypeError(f"{kind.__name__} cannot be made from JSON")
