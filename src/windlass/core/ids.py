"""Identifiers that are made, not derived: UUIDv7 for rows, W3C trace and span ids, nanosecond clocks.

UUIDv7 follows RFC 9562 §5.7: 48 bits of milliseconds, then 12 bits of a fraction of the millisecond (method 3), then
random bits, so ids of one process sort by time.
"""

from __future__ import annotations

import os
import secrets
import threading
import time

_lock = threading.Lock()
_last = 0


def now_ns() -> int:
    """UTC nanoseconds since 1970, the only form in which times are stored."""
    return time.time_ns()


def uuid7() -> str:
    """A new UUIDv7 as 36 characters; strictly increasing within a process."""
    global _last
    with _lock:
        stamp = time.time_ns() * 4096 // 1_000_000  # milliseconds with 12 bits of fraction
        _last = stamp = max(stamp, _last + 1)
    high = (stamp >> 12) << 16 | 0x7000 | (stamp & 0xFFF)
    low = 0x8000_0000_0000_0000 | secrets.randbits(62)
    text = f"{high:016x}{low:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def trace_id() -> str:
    """32 hex digits, never all zero (W3C Trace Context)."""
    return (os.urandom(16) if (made := os.urandom(16)) == bytes(16) else made).hex()


def span_id() -> str:
    """16 hex digits, never all zero."""
    return (os.urandom(8) if (made := os.urandom(8)) == bytes(8) else made).hex()
