"""The page of routes: what it writes of a route makes that route again."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec
import pytest

from windlass.core.operations.routes import Route
from windlass.doors import format as words
from windlass.doors.web.routes import EXAMPLE, toml

PLAIN: dict[str, Any] = {"upstreams": [{"model": "a/m", "weight": 2.5, "concurrency": 3}, {"model": 'b/"m"\\ü', "tier": 2}]}
ALL = {
    **PLAIN, "sticky": "trace", "fall_back_on": ["429", "context"], "same_vectors": True, "retries": {"attempts": 4, "base_s": 0.1},
    "timeouts": {"connect_s": 1.5, "attempt_s": 9, "queue_s": 0}, "breaker": {"failures": 9, "share": 1},
}  # fmt: skip


@pytest.mark.parametrize("said", [PLAIN, ALL, tomllib.loads(EXAMPLE)])
def test_a_route_is_written_as_what_makes_it(said: dict[str, Any]) -> None:
    route = msgspec.convert(said, Route)
    assert msgspec.convert(tomllib.loads(toml(msgspec.to_builtins(route))), Route) == route


def test_its_rules_are_told_in_words() -> None:
    told = dict(words.route_rules(msgspec.convert(ALL, Route)))
    assert told["goes on after"] == "429, context" and told["same upstream"] == "all calls of one trace"
    assert told["timeouts"] == "1.5 s to connect, 9 s a whole answer; 0 s for a place"
    assert told["breaker"].startswith("9 failures and 100% of calls")
