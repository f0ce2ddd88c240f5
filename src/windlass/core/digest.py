"""Identity by content: RFC 8785 canonical JSON under a tagged SHA-256.

A digest is written `sha256:` and 64 hex digits. The tag stands in every digest so that another algorithm can come
without silently splitting the store. People see the first six digits (`short`).
Knows nothing of artifacts; see `artifacts.py` for what is hashed.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec
import rfc8785

from windlass.core.errors import Invalid

TAG = "sha256:"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


_EXACT = 2**53
_sorted = msgspec.json.Encoder(order="sorted").encode


def canonical(value: Any) -> bytes:
    """The RFC 8785 bytes of a JSON value. Raises `Invalid` for what JSON cannot hold (NaN, bytes, integers beyond 2^53)."""
    try:
        # 26 times faster, and the same where there is no number with a fraction and no key beyond ASCII (RFC 8785 orders by UTF-16)
        return _sorted(value) if _simple(value) else rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, RecursionError, UnicodeEncodeError, TypeError) as e:
        raise Invalid(f"not a canonical JSON value: {e}") from e


def _simple(value: Any) -> bool:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-_EXACT < value < _EXACT)
    if kind is dict:
        return all(type(k) is str and k.isascii() and _simple(v) for k, v in value.items())
    return (kind is list or kind is tuple) and all(_simple(v) for v in value)


def digest_bytes(data: bytes) -> str:
    """The tagged digest of bytes as they are (a file, a blob)."""
    return TAG + hashlib.sha256(data).hexdigest()


def digest_json(value: Any) -> str:
    """The tagged digest of a JSON value's canonical form."""
    return digest_bytes(canonical(value))


def is_digest(text: str) -> bool:
    """Whether the text is a whole digest, tag included."""
    return bool(_DIGEST.match(text))


def short(digest: str, length: int = 6) -> str:
    """The first hex digits, for people."""
    return digest.removeprefix(TAG)[:length]
