"""What calls under a grant have spent, as counters in the store. They change only in the transaction that allows a call, so that racing
calls never exceed a bound; what was set aside and not needed is given back when the call has ended. A call whose end nobody sees
(a killed process) keeps what it set aside."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from windlass.core.grant import Spent
from windlass.store.tables import grant_spent

CALLS, MILLISECONDS, MICRODOLLARS, USES, DENIED = "calls", "milliseconds", "microdollars", "uses ", "denied "


def spent(c: Connection, grant: str) -> Spent:
    """What a grant's calls have spent so far."""
    return _spent(_counters(c, grant))


def spent_and_denied(c: Connection, grant: str) -> tuple[Spent, int]:
    """The same, and how many calls were denied."""
    found = _counters(c, grant)
    return _spent(found), sum(n for name, n in found.items() if name.startswith(DENIED))


def spend(c: Connection, grant: str, before: Spent, after: Spent) -> None:
    """Write what one allowed call sets aside. `before` was read in this transaction."""
    old, new = _names(before), _names(after)
    for name, amount in new.items():
        if amount != old.get(name, 0):
            _add(c, grant, name, amount - old.get(name, 0))


def give_back(c: Connection, grant: str, milliseconds: int, microdollars: int) -> None:
    """Take back what a call did not need of what it had set aside; less than 0 where it needed more."""
    for name, amount in ((MILLISECONDS, milliseconds), (MICRODOLLARS, microdollars)):
        if amount:
            _add(c, grant, name, -amount)


def count_denied(c: Connection, grant: str, what: str) -> int:
    """Count one denied call of a kind; returns how many there were."""
    _add(c, grant, DENIED + what, 1)
    return _counters(c, grant)[DENIED + what]


def _counters(c: Connection, grant: str) -> dict[str, int]:
    found = c.execute(select(grant_spent.c.counter, grant_spent.c.amount).where(grant_spent.c.grant == grant))
    return {row.counter: row.amount for row in found}


def _spent(counters: dict[str, int]) -> Spent:
    uses = {name.removeprefix(USES): n for name, n in counters.items() if name.startswith(USES)}
    return Spent(counters.get(CALLS, 0), counters.get(MILLISECONDS, 0), counters.get(MICRODOLLARS, 0), uses)


def _names(spent: Spent) -> dict[str, int]:
    fixed = {CALLS: spent.calls, MILLISECONDS: spent.milliseconds, MICRODOLLARS: spent.microdollars}
    return fixed | {USES + tool: n for tool, n in spent.uses.items()}


def _add(c: Connection, grant: str, counter: str, amount: int) -> None:
    mine = (grant_spent.c.grant == grant, grant_spent.c.counter == counter)
    if not c.execute(update(grant_spent).where(*mine).values(amount=grant_spent.c.amount + amount)).rowcount:
        c.execute(insert(grant_spent).values(grant=grant, counter=counter, amount=amount))
