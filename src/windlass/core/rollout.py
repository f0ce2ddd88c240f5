"""Which arm of a rollout answers whom: a published function of the rollout, the caller and the share, so that every process, and an
application by itself, comes to the same answer without asking.

The caller's *place* is the first 64 bits, big-endian, of SHA-256 over the UTF-8 text `<rollout id>\\n<unit>`, where the unit is
`user:<id>`, `session:<id>` or `trace:<hex>`. The candidate answers exactly those whose place lies below share × 2^64. So a share that is
raised moves callers from base to candidate and nobody back, and two rollouts part callers independently of each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

import msgspec

from windlass.core.errors import Invalid

By = Literal["user", "session"]
Mode = Literal["canary", "ab", "shadow"]
Arm = Literal["base", "candidate"]

WHOLE = 10_000  # a share is counted in hundredths of a percent
SHADOW = "shadow/"  # how the evaluation begins to which runs of a shadow belong: they are in no figures of users


class Assigned(msgspec.Struct, frozen=True):
    """Who answers one call, as its spans say it. `stage` is the how many-th share it is of the rollout, from 1; a `shadow` runs beside the
    answer and answers nobody."""

    rollout: str
    stage: int
    arm: Arm
    place: int
    shadow: bool = False

    def __str__(self) -> str:
        return f"{self.rollout} {self.stage} {self.arm} {self.place:016x}"


def parse_assigned(text: str | None) -> Assigned | None:
    """What `str` of one says; None for what is none."""
    parts = (text or "").split(" ")
    if len(parts) != 4 or not parts[1].isdecimal() or parts[2] not in ("base", "candidate"):
        return None
    try:
        return Assigned(parts[0], int(parts[1]), "base" if parts[2] == "base" else "candidate", int(parts[3], 16))
    except ValueError:
        return None


def unit_of(by: By, user: str | None, session: str | None, trace: str) -> str:
    """Who is kept on one arm: by the user where one is told, else the session, else the call alone; by the session the other way round."""
    known = {"user": user, "session": session}
    other: By = "session" if by == "user" else "user"
    kind = next((k for k in (by, other) if known[k]), None)
    return f"{kind}:{known[kind]}" if kind else f"trace:{trace}"


def place_of(rollout: str, unit: str) -> int:
    """From 0 to 2^64 − 1."""
    return int.from_bytes(hashlib.sha256(f"{rollout}\n{unit}".encode()).digest()[:8], "big")


def arm_of(place: int, share: int) -> Arm:
    """`share` in hundredths of a percent."""
    return "candidate" if place * WHOLE < share << 64 else "base"


def chance_of(place: int, share: int, seen: Iterable[int] = ()) -> float:
    """The chance, before its place was known any better, that a unit is on the candidate at a share: the share itself for one that was not
    seen before. One that was seen at other shares is known to lie above or below those, and 0 or 1 is no chance at all: its arm is no
    lot, so it says nothing of the difference."""
    low, high = 0, WHOLE
    for other in seen:
        if arm_of(place, other) == "candidate":
            high = min(high, other)
        else:
            low = max(low, other)
    return min(1.0, max(0.0, (share - low) / (high - low)))


def hundredths(share: float) -> int:
    """A share in percent as it is counted. Raises `Invalid` outside (0, 100], and for one that is finer than it is counted."""
    counted = round(share * 100) if 0 < share <= 100 else 0
    if not counted or abs(counted / 100 - share) > 1e-9:
        raise Invalid(f"{share:g} is no share", where="share", remedy="give percent above 0 up to 100, by hundredths: 5, 12.5")
    return counted
