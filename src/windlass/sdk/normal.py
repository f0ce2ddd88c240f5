"""The normal form of Python source: what it does, not how it is written. Normaliser version 1.

A node becomes `[class, {field: value}]`. Positions, comments, formatting, docstrings and type comments are gone. Fields that are
None or an empty list are left out, so that optional fields which later Pythons add change nothing. `tests/sdk/code_vectors.json`
freezes digests; a change of this form needs a new version number.
"""

from __future__ import annotations

import ast
from typing import Any

from windlass.core.digest import digest_json

VERSION = "1"
_LEFT_OUT = {"type_comment", "kind", "ctx", "type_ignores"}
_BODIES = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def normal(node: ast.AST, *, docstring: bool = False, annotations: bool = True) -> Any:
    """The normal form of a node as JSON. `docstring` keeps that of the outermost node (a model reads it); without `annotations`
    those of a function's arguments and result are left out."""
    return _Normaliser(docstring, annotations).node(node, outermost=True)


def normal_digest(node: ast.AST, *, docstring: bool = False, annotations: bool = True) -> str:
    return digest_json(normal(node, docstring=docstring, annotations=annotations))


class _Normaliser:
    def __init__(self, docstring: bool, annotations: bool) -> None:
        self._docstring = docstring
        self._annotations = annotations

    def node(self, node: ast.AST, *, outermost: bool = False) -> Any:
        fields: dict[str, Any] = {}
        for name, value in ast.iter_fields(node):
            if name in _LEFT_OUT or (isinstance(node, ast.Constant) and name == "value"):
                continue
            if name == "body" and isinstance(node, _BODIES) and isinstance(value, list):
                value = self._without_docstring(node, value, keep=self._docstring and outermost)
            if not self._annotations and self._is_annotation(node, name):
                continue
            if value is None or value == []:
                continue
            fields[name] = self._value(value)
        if isinstance(node, ast.Constant):
            fields["value"] = _constant(node.value)
        return [type(node).__name__, fields]

    def _value(self, value: Any) -> Any:
        if isinstance(value, ast.AST):
            return self.node(value)
        if isinstance(value, list):
            return [self._value(v) for v in value]
        return value if isinstance(value, (str, bool)) else _constant(value)

    @staticmethod
    def _without_docstring(node: ast.AST, body: list[Any], *, keep: bool) -> list[Any]:
        first = body[0] if body else None
        is_doc = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
        return body[1:] if is_doc and not keep else body

    @staticmethod
    def _is_annotation(node: ast.AST, field: str) -> bool:
        if isinstance(node, ast.arg):
            return field == "annotation"
        return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and field == "returns"


def _constant(value: Any) -> Any:
    """A constant under its type, so that 1, 1.0, True and "1" differ; numbers as Python writes them, which is exact."""
    if value is None or isinstance(value, (bool, str)):
        return {type(value).__name__: value}
    if value is Ellipsis:
        return {"Ellipsis": True}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    return {type(value).__name__: repr(value)}
