"""A prompt as others' platforms have it, a text or messages with `{{ name }}` in them, as one of the registry."""

from __future__ import annotations

import re
from typing import Any

from windlass.core.artifacts import PromptBody, TemplateMessage
from windlass.core.errors import Invalid
from windlass.sdk.prompts import ENGINE

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_NAMED = re.compile(r"\{\{\s*([A-Za-z_]\w*)\s*\}\}")


def is_plain(text: str) -> bool:
    """Whether a text has nothing to fill in but `{{ name }}`."""
    left = _NAMED.sub("", text)
    return not any(mark in left for mark in ("{{", "{%", "{#"))


def body_of(prompt: Any, config: Any = None, output: Any = None) -> PromptBody:
    """A text, or a list of messages with `role` and `content`; `output` is the schema of an answer. Raises `Invalid` for what cannot be
    said here."""
    messages = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
    inputs, texts = dict[str, Any](), list[TemplateMessage]()
    for message in messages:
        told = message if isinstance(message, dict) else {}
        text, role = told.get("content"), ROLES.get(str(told.get("role")))
        if not isinstance(text, str) or role is None:
            raise Invalid("they have placeholders, or messages of other roles than system, user and assistant")
        if not is_plain(text):
            raise Invalid("they have more in their texts than {{ name }}")
        inputs |= {variable: {} for variable in _NAMED.findall(text)}
        texts.append(TemplateMessage(role, text))  # type: ignore[arg-type]
    if not isinstance(config or {}, dict) or not isinstance(output or {}, dict):
        raise Invalid("their settings of a model, or their form of an answer, are no object")
    return PromptBody(tuple(texts), inputs, ENGINE, config or {}, output or None)
