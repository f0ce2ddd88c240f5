"""What a trace's calls of models come to: by model, and the dearest of them."""

from __future__ import annotations

import msgspec

from windlass.core.operations import Operation


class CostsShow(msgspec.Struct, omit_defaults=True):
    """`id` as in `TraceShow`."""

    id: str
    project: str = "default"


class CallsCost(msgspec.Struct, omit_defaults=True):
    """What calls of one model come to, or one call, of the step `span`. Tokens are None where none of them told; `cost` in US dollars, None
    where one has no price, which `unpriced` counts; `share` of what is known of the whole, from 0 to 1. Of three or more calls of a model
    `first_in` and `last_in` are the tokens that the first and the last were sent."""

    name: str
    calls: int
    tokens_in: int | None = None
    cached: int | None = None
    tokens_out: int | None = None
    cost: float | None = None
    share: float | None = None
    span: str = ""
    unpriced: int = 0
    first_in: int = 0
    last_in: int = 0


class TraceCosts(msgspec.Struct, omit_defaults=True):
    """Of all calls of models and encoders in a trace, however many; one that two steps tell of is one. `cost` adds up those that have a
    price. `models` and `steps`, the dearest first; steps where there are several. `sent` are tokens that models were sent, `cached` how
    many of them came from a cache, None where nobody told. `failed` calls cost `lost` US dollars."""

    trace_id: str
    cost: float = 0.0
    models: tuple[CallsCost, ...] = ()
    steps: tuple[CallsCost, ...] = ()
    sent: int = 0
    cached: int | None = None
    failed: int = 0
    lost: float = 0.0


TRACE_COSTS = Operation("traces.costs", "GET", CostsShow, TraceCosts, "read")
