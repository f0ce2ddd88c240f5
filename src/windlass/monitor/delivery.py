"""Deliveries: one event on its way to one address, tried again until it arrives, is unwanted, or has been tried for a day.

A delivery's body and id never change, so that a receiver can tell a repeat. What is known of it stands in the table: the attempts made,
and when the next is due. The moment of it is moved on before an attempt begins, so whoever finds it due after a crash tries again.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from sqlalchemy import Engine, Row, select, update

from windlass.core.artifacts import AlertBody
from windlass.core.ids import now_ns
from windlass.core.operations.alerts import Attempt, Delivery
from windlass.monitor import mail, webhook
from windlass.monitor.due import LEASE_NS, attempts_of
from windlass.monitor.receipt import Receipt
from windlass.monitor.variables import value_of
from windlass.store.meta import write
from windlass.store.tables import deliveries

KIND = "delivery"
TRIES = 8
FIRST_PAUSE = 30.0
LONGEST_PAUSE = 12 * 3600.0  # so that eight attempts take a day

log = logging.getLogger(__name__)


class Deliveries:
    """Sends what `note` wrote down.

    Args:
        environ: where secrets are.
        smtp_url, smtp_from: as the settings say.
        now: the time, in nanoseconds since 1970.
    """

    def __init__(
        self, engine: Engine, environ: Mapping[str, str], smtp_url: str = "", smtp_from: str = "", now: Callable[[], int] = now_ns
    ) -> None:
        self._engine = engine
        self._environ = environ
        self._smtp_url = smtp_url
        self._smtp_from = smtp_from
        self._now = now

    def problems(self, body: AlertBody) -> tuple[str, ...]:
        """What keeps an alert from reaching anybody now, a sentence each."""
        found = webhook.problem(body.webhook, body.secret, self._environ) if body.webhook else ""
        more = mail.problem(self._smtp_url, self._smtp_from, self._environ) if body.email else ""
        return tuple(said for said in (found, more) if said)

    async def run(self, project: str, id: str) -> None:
        """One attempt; `id` is the delivery's, and how many were made before. One that was made meanwhile is not made again."""
        delivery, made = id.split(" ")[:2]
        row = await asyncio.to_thread(self._take, delivery, int(made))
        if row is None:
            return
        began, at = time.monotonic(), self._now()
        try:
            receipt = await self._send(row)
        except Exception as e:  # a defect of ours must not end the attempts
            log.exception("delivery %s", delivery)
            receipt = Receipt(False, f"a defect in Windlass: {type(e).__name__}; the server's log says more")
        took = int(1000 * (time.monotonic() - began))
        await asyncio.to_thread(self._keep, row, receipt, at, took)

    def _take(self, id: str, made: int) -> Row[Any] | None:
        """The delivery, unless this attempt of it was made already."""
        with write(self._engine) as c:
            row = c.execute(select(deliveries).where(deliveries.c.id == id)).first()
            if row is None or row.status != "waiting" or len(attempts_of(row)) != made:
                return None
            c.execute(update(deliveries).where(deliveries.c.id == id).values(next_ns=self._now() + LEASE_NS))
            return row

    async def _send(self, row: Row[Any]) -> Receipt:
        body = row.body.encode()
        if row.channel == "email":
            if said := mail.problem(self._smtp_url, self._smtp_from, self._environ):
                return Receipt(False, said)
            return await mail.send(self._smtp_url, self._smtp_from, row.address, row.id, body, self._environ)
        if said := webhook.problem(row.address, row.secret, self._environ):
            return Receipt(False, said)
        secret = value_of(row.secret, self._environ)
        receipt = await webhook.send(row.address, webhook.signing_key(secret, row.secret), row.id, body)
        said = receipt.said.replace(secret, "[secret]").replace(secret.removeprefix(webhook.PREFIX), "[secret]")  # it may be said back
        return msgspec.structs.replace(receipt, said=said)

    def _keep(self, row: Row[Any], receipt: Receipt, at: int, took_ms: int) -> None:
        """Write down what came of an attempt, and when the next is due."""
        attempt = Attempt(at, "delivered" if receipt.delivered else "failed", receipt.said, receipt.status, took_ms)
        attempts = (*attempts_of(row), attempt)
        status = "delivered" if receipt.delivered else "stopped" if receipt.final else "failed" if len(attempts) >= row.tries else "waiting"
        due = self._now() + int(pause(len(attempts), receipt.wait_s) * 1e9) if status == "waiting" else None
        with write(self._engine) as c:
            values = {"status": status, "attempts": msgspec.json.encode(attempts).decode(), "next_ns": due}
            c.execute(update(deliveries).where(deliveries.c.id == row.id).values(**values))


def pause(made: int, asked_s: float | None = None, chance: Callable[[], float] = random.random) -> float:
    """Seconds after so many attempts until the next: four times as long each time, spread so that many do not come at once; at
    least what the receiver asked for."""
    usual: float = min(FIRST_PAUSE * 4 ** (made - 1), LONGEST_PAUSE) * (0.8 + 0.4 * chance())
    return max(usual, asked_s or 0.0)


def delivery_of(row: Row[Any]) -> Delivery:
    return Delivery(row.id, row.alert, row.channel, row.address, row.status, attempts_of(row), row.created_ns, row.next_ns)
