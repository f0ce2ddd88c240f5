"""How the baseline model fills an output schema from what it read. Deterministic; always a valid instance or an error.

The rules, by type and by the field's name: text takes the extract (a field named like a citation takes the first key, one
named like a quote the first sentence); a list of text takes the keys (or, named like quotes or points, the sentences); a list
of objects gets one per passage used; true means an answer was found (false for a name such as `unanswerable`); a confidence
is the share of the question covered; another number is the first number in the extract, else the smallest allowed; an enum
takes the value with most words in common with the question and the extract. What is optional and unknown is left out.
"""

from __future__ import annotations

import re
from typing import Any

from windlass.core.errors import ModelFailed
from windlass.runtime.models.baseline_reader import Extract
from windlass.runtime.models.baseline_text import terms

_CITES = re.compile(r"symbol|source|citation|cite|reference|key|\bids?\b|_ids?$|document|passage|link|entry|entries", re.IGNORECASE)
_QUOTES = re.compile(r"quote|evidence|excerpt|sentence|point|fact|bullet", re.IGNORECASE)
_NEGATIVE = re.compile(r"^(no_|not_|un)|unknown|abstain|refus|missing|insufficient|cannot", re.IGNORECASE)
_SURE = re.compile(r"confiden|certain|score|probab|relevan", re.IGNORECASE)
_COUNTS = re.compile(r"count|number_of|num_|total", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_DEPTH = 12


def fill(schema: dict[str, Any], extract: Extract, question: str) -> Any:
    """An instance of `schema`. Raises `ModelFailed` naming the place where these rules cannot reach a valid one."""
    import jsonschema_rs  # 3 MB, only where something is filled

    value = _Filler(schema, question).value(schema, extract, "", 0)
    try:
        problem = next(jsonschema_rs.iter_errors(schema, value), None)
    except (jsonschema_rs.ValidationError, ValueError) as e:
        raise ModelFailed(f"the output schema is not a JSON Schema: {e}", where="output_schema") from e
    if problem is not None:
        place = "/" + "/".join(str(p) for p in problem.instance_path)
        raise ModelFailed(
            f"the baseline model cannot fill this output schema: {problem.message}",
            where=place,
            remedy="loosen the schema there, or use another model",
        )
    return value


class _Filler:
    def __init__(self, root: dict[str, Any], question: str) -> None:
        self.root = root
        self.question = question

    def value(self, schema: Any, extract: Extract, name: str, depth: int) -> Any:
        schema = self._resolve(schema)
        if depth > _DEPTH or not isinstance(schema, dict):
            return None
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._enum(schema["enum"], extract)
        kind = _kind(schema, extract)
        if kind == "object":
            return self._object(schema, extract, depth)
        if kind == "array":
            return self._array(schema, extract, name, depth)
        if kind == "string":
            return _text(schema, extract, name)
        if kind == "boolean":
            return extract.answered != bool(_NEGATIVE.search(name))
        if kind in ("number", "integer"):
            return _number(schema, extract, name, whole=kind == "integer")
        return None

    def _resolve(self, schema: Any) -> Any:
        """Follow local references and choose among alternatives: null when nothing was found and null is allowed."""
        for _ in range(_DEPTH):
            if not isinstance(schema, dict):
                return schema
            if isinstance(schema.get("$ref"), str):
                schema = self._pointed(schema["$ref"])
            elif choices := schema.get("anyOf") or schema.get("oneOf"):
                rest = {k: v for k, v in schema.items() if k not in ("anyOf", "oneOf")}
                solid = [c for c in choices if not (isinstance(c, dict) and c.get("type") == "null")]
                schema = {**rest, **(solid or choices)[0], "nullable": len(solid) < len(choices)}
            elif parts := schema.get("allOf"):
                merged: dict[str, Any] = {k: v for k, v in schema.items() if k != "allOf"}
                for part in parts:
                    merged = _merged(merged, self._resolve(part))
                schema = merged
            else:
                return schema
        return schema

    def _pointed(self, pointer: str) -> Any:
        target: Any = self.root
        for step in pointer.removeprefix("#").strip("/").split("/"):
            step = step.replace("~1", "/").replace("~0", "~")
            if step:
                target = target.get(step) if isinstance(target, dict) else None
        return target

    def _enum(self, values: list[Any], extract: Extract) -> Any:
        seen = set(terms(self.question)) | set(terms(extract.text))
        return max(values, key=lambda v: len(seen & set(terms(str(v)))))  # the first of equals

    def _object(self, schema: dict[str, Any], extract: Extract, depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        required = schema.get("required") or []
        filled: dict[str, Any] = {}
        for field in dict.fromkeys([*properties, *required]):
            value = self.value(properties.get(field, {"type": "string"}), extract, field, depth + 1)
            if field in required or value not in (None, "", []):
                filled[field] = value
        return filled

    def _array(self, schema: dict[str, Any], extract: Extract, name: str, depth: int) -> list[Any]:
        items = self._resolve(schema.get("items", {"type": "string"}))
        low, high = schema.get("minItems", 0), schema.get("maxItems", 1_000_000)
        if isinstance(items, dict) and _kind(items, extract) == "object":
            singles = [Extract(True, (source,), extract.confidence) for source in extract.sources] if extract.answered else []
            found: list[Any] = [self._object(items, single, depth + 1) for single in singles]
        elif isinstance(items, dict) and "enum" in items:
            found = [self._enum(items["enum"], extract)] if extract.answered else []
        elif isinstance(items, dict) and _kind(items, extract) == "string":
            quotes = [s for _, taken in extract.sources for s in taken] if extract.answered else []
            chosen = quotes if _QUOTES.search(name) and not _CITES.search(name) else extract.keys
            found = [_fitted(text, items) for text in chosen]
        else:
            found = []
        while len(found) < min(low, 100):
            found.append(self.value(items, extract, name, depth + 1))
        return found[:high]


def _merged(a: dict[str, Any], b: Any) -> dict[str, Any]:
    if not isinstance(b, dict):
        return a
    both = {**a, **b}
    if "properties" in a and "properties" in b:
        both["properties"] = {**a["properties"], **b["properties"]}
    if "required" in a and "required" in b:
        both["required"] = [*a["required"], *b["required"]]
    return both


def _kind(schema: dict[str, Any], extract: Extract) -> str:
    declared = schema.get("type")
    nullable = schema.get("nullable", False) or (isinstance(declared, list) and "null" in declared)
    if nullable and not extract.answered:
        return "null"
    if isinstance(declared, list):
        declared = next((d for d in declared if d != "null"), "null")
    if declared is None:
        declared = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(declared)


def _text(schema: dict[str, Any], extract: Extract, name: str) -> str:
    if _QUOTES.search(name):
        chosen = extract.sources[0][1][0] if extract.answered and extract.sources[0][1] else ""
    elif _CITES.search(name):
        chosen = extract.keys[0] if extract.keys else ""
    else:
        chosen = extract.text
    return _fitted(chosen, schema)


def _fitted(text: str, schema: dict[str, Any]) -> str:
    longest = schema.get("maxLength")
    return text[:longest] if isinstance(longest, int) else text


def _number(schema: dict[str, Any], extract: Extract, name: str, *, whole: bool) -> float | int:
    low, high = schema.get("minimum"), schema.get("maximum")
    written = _NUMBER.search(extract.text) if extract.answered else None
    if _SURE.search(name):
        value = round(extract.confidence, 2) * (high if high is not None and high > 1 else 1)
    elif _COUNTS.search(name):
        value = len(extract.keys)
    elif written:
        value = float(written[0])
    else:
        value = low if low is not None else 0
    if low is not None:
        value = max(low, value)
    if high is not None:
        value = min(high, value)
    return int(value) if whole or value == int(value) else float(value)
