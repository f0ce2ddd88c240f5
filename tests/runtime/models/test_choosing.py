"""Choice by hash: shares within binomial bounds, and only those move that must."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.core.operations.routes import Route, RouteUpstream
from windlass.runtime.models.choosing import Caller, Key, key_of, order

MANY = 4000


def route(*weights: float, **more: object) -> Route:
    return Route(tuple(RouteUpstream(f"p{n}/m", w) for n, w in enumerate(weights)), **more)  # type: ignore[arg-type]


def firsts(r: Route, name: str = "fast", many: int = MANY) -> list[str]:
    return [order(name, r, Key("user", f"u{n}"))[0].model for n in range(many)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=5), st.text("abc", min_size=1, max_size=5))
def test_shares_are_those_of_the_weights(weights: list[float], name: str) -> None:
    """Each share within 5 standard deviations of a binomial: of all examples together, one in 10,000 runs would fail by chance, and
    the hash is no chance."""
    seen = firsts(route(*weights), name)
    for n, weight in enumerate(weights):
        share = weight / sum(weights)
        assert abs(seen.count(f"p{n}/m") - MANY * share) <= 5 * math.sqrt(MANY * share * (1 - share)) + 1


def test_the_next_one_is_by_weight_too() -> None:
    """When the first of three equal ones is away, its callers are divided over the others, and no other caller moves."""
    three = route(1, 1, 1)
    orders = [[u.model for u in order("fast", three, Key("user", f"u{n}"))] for n in range(MANY)]
    seconds = [o[1] for o in orders if o[0] == "p0/m"]
    assert abs(seconds.count("p1/m") / len(seconds) - 0.5) < 0.08
    without = Route(three.upstreams[1:])
    assert all(o[0] == order("fast", without, Key("user", f"u{n}"))[0].model for n, o in enumerate(orders) if o[0] != "p0/m")


@given(st.floats(0.1, 10), st.floats(1.01, 5))
@settings(max_examples=25, deadline=None)
def test_a_larger_weight_takes_callers_and_moves_none_between_the_others(weight: float, more: float) -> None:
    before, after = firsts(route(weight, 1, 1), many=500), firsts(route(weight * more, 1, 1), many=500)
    assert all(b == a or a == "p0/m" for b, a in zip(before, after, strict=True))


def test_tiers_come_first_and_names_of_routes_divide_anew() -> None:
    r = Route(
        (RouteUpstream("a/m", tier=2), RouteUpstream("b/m", weight=0.001), RouteUpstream("c/m", tier=2), RouteUpstream("d/m", tier=3))
    )
    for n in range(50):
        models = [u.model for u in order("fast", r, Key("trace", str(n)))]
        assert models[0] == "b/m" and set(models[1:3]) == {"a/m", "c/m"} and models[3] == "d/m"
    assert firsts(route(1, 1), "fast", 64) != firsts(route(1, 1), "slow", 64)


def test_the_choice_is_frozen() -> None:
    """Callers must not move when Windlass is brought up to date. Of equal weights the larger hash is first, which blake2b alone tells."""
    assert "".join(order("fast", route(1, 1), Key("user", f"u{n}"))[0].model[1] for n in range(8)) == "10100011"


@pytest.mark.parametrize(
    ("sticky", "caller", "key"),
    [
        ("user", Caller("p", "t", "ann", "s"), Key("user", "ann")),
        ("user", Caller("p", "t", None, "s"), Key("session", "s")),
        ("user", Caller("p", "t"), Key("trace", "t")),
        ("session", Caller("p", "t", "ann", "s"), Key("session", "s")),
        ("session", Caller("p", "t", "ann"), Key("trace", "t")),
        ("trace", Caller("p", "t", "ann", "s"), Key("trace", "t")),
        ("user", Caller("p", "t", "ann", "s", "r1#0"), Key("row", "r1#0")),
    ],
)
def test_whose_calls_stay_together(sticky: str, caller: Caller, key: Key) -> None:
    assert key_of(route(1, sticky=sticky), caller) == key
