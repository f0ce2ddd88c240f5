"""Something odd in the place of each part of what is sent."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

DEEP: Any = json.loads("[" * 400 + "]" * 400)
ODD = (None, True, 10**400, 1.5, "x", "3025-01-01T00:00:00Z", "[" * 5_000, [], [[1]], {"a": 1}, "a" * 300, DEEP)


def odd_ones(whole: Any) -> Iterator[tuple[list[Any], Any, Any]]:
    """Where it stands, what stands there, and all of it."""
    for place, odd in itertools.product(places(whole), ODD):
        sent = at = json.loads(json.dumps(whole))
        for step in place[:-1]:
            at = at[step]
        at[place[-1]] = odd
        yield place, odd, sent


def places(told: Any) -> Iterator[list[Any]]:
    for key in told if isinstance(told, dict) else range(len(told)) if isinstance(told, list) else ():
        yield [key]
        yield from ([key, *rest] for rest in places(told[key]))
