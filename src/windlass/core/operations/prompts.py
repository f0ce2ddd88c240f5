"""A prompt as an application uses it that renders by itself."""

from __future__ import annotations

from typing import Any

import msgspec

from windlass.core.artifacts import PromptBody
from windlass.core.operations import Operation
from windlass.core.operations.registry import RefQuery


class PromptQuery(RefQuery, omit_defaults=True):
    """`number` instead of a label or digest: which version of the name, by when it came, from 1; 0 is the newest."""

    number: int | None = None


class PromptVersion(msgspec.Struct, omit_defaults=True):
    """A version with all that rendering needs. `ref` is exact; `rows` are its few-shot examples in key order; `number` is which version
    of its name it is, of `versions`. `note` and `tags` are what was said of it when it came."""

    ref: str
    body: PromptBody
    rows: tuple[dict[str, Any], ...] = ()
    number: int = 0
    versions: int = 0
    labels: tuple[str, ...] = ()
    note: str = ""
    tags: dict[str, str] = {}


GET = Operation("prompts.get", "GET", PromptQuery, PromptVersion, "call")
