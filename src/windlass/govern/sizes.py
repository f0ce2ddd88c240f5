"""How large a request is, and its answer may be, in tokens: before anybody counted them."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from windlass.core.message import ModelRequest

BYTES_A_TOKEN = 3  # of a request; English has some 4, code 3, Chinese 2 to 3
MEDIA_TOKENS = 2000  # set aside for an image or a file that is sent inline
OUTPUT_TOKENS = 4096  # set aside for an answer whose length nobody bounds
_INLINE = re.compile(rb"[A-Za-z0-9+/=_-]{512,}")


def tokens_in(request: bytes) -> int:
    """About how many tokens a request of this many bytes has, rather too many than too few."""
    media = 0
    if b"base64" in request:
        request, media = _INLINE.subn(b"", request)
    return -(-len(request) // BYTES_A_TOKEN) + media * MEDIA_TOKENS


def tokens_of(request: ModelRequest) -> tuple[int, int]:
    """Of a request in our words: about how many tokens it has, and at most its answer."""
    text = msgspec.json.encode((request.messages, request.tools, request.output_schema))
    return tokens_in(text), most_out(request.parameters)


def most_out(fields: Any) -> int:
    """The most tokens that answers may have, by a request's fields; `OUTPUT_TOKENS` each where it bounds none."""
    found = [v for n in ("max_completion_tokens", "max_tokens", "max_output_tokens") if isinstance(v := fields.get(n), int) and v > 0]
    n = fields.get("n")
    return (found[0] if found else OUTPUT_TOKENS) * (n if isinstance(n, int) and n > 1 else 1)
