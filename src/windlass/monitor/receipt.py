"""What came of one attempt to tell somebody, whatever the channel."""

from __future__ import annotations

import email.utils
import re
import time

import msgspec

SHOWN = 200  # characters of what a receiver said
LONGEST_WAIT = 24 * 3600.0


class Receipt(msgspec.Struct, frozen=True):
    """`final`: the receiver wants no further attempt. `wait_s`: it asks for so long a pause."""

    delivered: bool
    said: str
    status: int | None = None
    final: bool = False
    wait_s: float | None = None


def shown(text: str) -> str:
    """The beginning of what a stranger said, on one line, without what could steer a terminal."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\s]+", " ", text[: 4 * SHOWN]).strip()[:SHOWN]


def retry_after(header: str | None) -> float | None:
    """Seconds a `Retry-After` header asks for, either form, at most a day; None where it asks for nothing that can be read."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(max(0.0, seconds), LONGEST_WAIT) if seconds == seconds else None
