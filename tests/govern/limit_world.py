"""A node of limits: a data folder's standby copy, counters and leases over a store that tests share, as one process has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from windlass.core.actor import OWNER
from windlass.core.message import Message, ModelReply, Usage
from windlass.core.operations.limits import LimitRequest, LimitState
from windlass.govern.counters import Counters
from windlass.govern.leases import Leases
from windlass.govern.limits import Limits
from windlass.govern.prices import Prices
from windlass.govern.reservations import Held, Reservations, Wanted
from windlass.govern.standby import Standby

CALL = Wanted("default", "key:a", None, None, "openai/gpt-4o", "openai", "gpt-4o")


class Node:
    """One process of the node whose data folder is `home`."""

    def __init__(self, engine: Engine, home: Path) -> None:
        home.mkdir(exist_ok=True)
        folder = home / "run" / "limits"
        self.standby = Standby(home, b"k" * 32, lambda c, ref: [])
        self.standby.open(engine)
        self.reservations = Reservations(self.standby, Prices(), lambda: Counters(folder), lambda c: Leases(engine, c, folder))
        self.limits = Limits(engine, self.standby, self.reservations.counted)

    def set(self, measured: Any, amount: float, window: Any = "day", subject: str = "project", **more: Any) -> LimitState:
        return self.limits.set(OWNER, LimitRequest(subject, measured, amount, window, **more))

    async def hold(self, given: int = 10, most: int = 10, call: Wanted = CALL, **of: Any) -> Held | None:
        return await self.reservations.reserve(call._replace(**of), lambda: (given, most))

    def uses(self) -> list[tuple[float, float]]:
        from windlass.core.operations.limits import LimitQuery

        return [(u.used, u.reserved) for x in self.limits.list(OWNER, LimitQuery()).items for u in x.uses]

    def close(self) -> None:
        self.reservations.close()


def answered(tokens_in: int | None, tokens_out: int | None, cost: float | None = None) -> ModelReply:
    return ModelReply(Message("assistant", ()), "stop", Usage(tokens_in, tokens_out), cost=cost)
