"""Why a trace cost so much."""

from __future__ import annotations

from typing import Any

import pytest

from windlass.core.span import StoredSpan
from windlass.doors.web.costs import costs_of


def call(identity: int, parent: int | None, start: int, end: int, **told: Any) -> StoredSpan:
    over = f"{parent:016x}" if parent is not None else None
    return StoredSpan("a" * 32, f"{identity:016x}", f"s{identity}", start, end, over, **({"kind": "model"} | told))


def test_of_no_calls_nothing_is_told() -> None:
    assert costs_of(()) is None
    assert costs_of((call(1, None, 0, 9, kind="chain", cost=3.0),)) is None


def test_models_and_steps_the_dearest_first_and_every_call_once() -> None:
    costs = costs_of((
        call(1, None, 0, 99, kind="agent"),
        call(2, 1, 1, 20, model="big", tokens_in=1_000, tokens_out=10, tokens_cached=500, cost=2.0),  # the application's account of it
        call(3, 2, 2, 19, model="big", tokens_in=1_000, tokens_out=10, tokens_cached=500, cost=1.0),
        call(4, 1, 30, 40, model="big", tokens_in=3_000, tokens_out=20, cost=2.0, response="r"),
        call(5, 1, 31, 39, model="big", tokens_in=3_000, tokens_out=20, cost=1.5, response="r"),
        call(6, 1, 50, 60, model="big", tokens_in=9_000, tokens_out=30, cost=0.5, status="error"),
        call(7, 1, 70, 71, model="small", kind="embedding", tokens_in=5, cost=0.25),
    ))  # fmt: skip
    assert costs is not None
    assert [(m.name, m.calls, m.tokens_in, m.cached, m.tokens_out, m.cost) for m in costs.models] == [
        ("big", 3, 13_000, 500, 60, 3.0), ("small", 1, 5, None, None, 0.25),
    ]  # fmt: skip
    assert [m.share for m in costs.models] == [pytest.approx(3 / 3.25), pytest.approx(0.25 / 3.25)]
    assert [(s.name, s.span[-1]) for s in costs.steps] == [("s5", "5"), ("s3", "3"), ("s6", "6"), ("s7", "7")]
    assert costs.told == (
        "big was sent 1,000 tokens first and 9,000 in the end: each call sends again what came before.",
        "4% of the 13,000 tokens that were sent came from a cache.",
        "1 call failed, for $0.50.",
    )


def test_what_has_no_price_is_unknown_and_said() -> None:
    costs = costs_of((call(1, None, 0, 9, model="own", tokens_in=10), call(2, None, 10, 19, model="own", cost=1.0), call(3, None, 20, 29)))
    assert costs is not None
    assert [(m.name, m.cost, m.share) for m in costs.models] == [("own", None, None), ("s3", None, None)]
    assert costs.told == ("What own, s3 cost is unknown, for want of tokens or of a price, and not in the sum.",)
    told = costs_of((call(1, None, 0, 9, model="m", tokens_in=5_000, tokens_cached=0, cost=1.0),))
    assert told is not None and told.told == ("0% of the 5,000 tokens that were sent came from a cache.",)
    untold = costs_of((call(1, None, 0, 9, model="m", tokens_in=5_000, cost=1.0),))
    assert untold is not None and untold.told == ()
