"""In which order a route's upstreams are asked: the same for the same caller, and by the route's weights over all callers.

Weighted rendezvous hashing: each upstream draws a number from the hash of the caller and its own name, and the largest is first. So a
change of one weight moves only the callers that it must, and no state is kept anywhere. https://en.wikipedia.org/wiki/Rendezvous_hashing
"""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple

import msgspec

from windlass.core.operations.routes import Route, RouteUpstream


class Caller(msgspec.Struct, frozen=True):
    """For whom a model is asked. `row` names a row and repeat of an evaluation: then nobody's call is sticky, and each arm meets the same
    upstream."""

    project: str
    trace: str = ""
    user: str | None = None
    session: str | None = None
    row: str | None = None


class Key(NamedTuple):
    """What is hashed, and whose it is, in a word."""

    of: str
    text: str


def key_of(route: Route, caller: Caller) -> Key:
    """By what a route chooses for a caller."""
    if caller.row is not None:
        return Key("row", caller.row)
    if route.sticky == "user" and caller.user:
        return Key("user", caller.user)
    if route.sticky != "trace" and caller.session:
        return Key("session", caller.session)
    return Key("trace", caller.trace)


def order(name: str, route: Route, key: Key) -> list[RouteUpstream]:
    """All upstreams, tier by tier, each tier by the key's hash."""
    return sorted(route.upstreams, key=lambda u: (u.tier, -_score(name, key, u)))


def _score(name: str, key: Key, upstream: RouteUpstream) -> float:
    data = "\0".join((name, key.of, key.text, upstream.model)).encode("utf-8", "surrogatepass")
    drawn = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")
    return upstream.weight / -math.log((drawn + 0.5) / 2**64) if drawn < 2**64 - 1 else math.inf
