"""A prompt as an application uses it that renders by itself."""

from __future__ import annotations

from typing import Any

import msgspec

from windlass.core.artifacts import PromptBody
from windlass.core.operations import Operation
from windlass.core.operations.registry import RefQuery


class PromptVersion(msgspec.Struct, omit_defaults=True):
    """A version with all that rendering needs. `ref` is exact; `rows` are its few-shot examples in key order."""

    ref: str
    body: PromptBody
    rows: tuple[dict[str, Any], ...] = ()


GET = Operation("prompts.get", "GET", RefQuery, PromptVersion, "call")
