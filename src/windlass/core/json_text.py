"""Text that others sent and that may be JSON."""

from __future__ import annotations

from typing import Any

import msgspec


def json_said(text: str) -> Any:
    """What JSON text says; other text as it is, and so what is nested more deeply than it can be read."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return text
