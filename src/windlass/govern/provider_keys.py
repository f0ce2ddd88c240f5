"""Keys of model providers as the store has them: sealed there, opened in memory, effective in every process within `KEPT_SECONDS`.

While the store is away, what was known last goes on: a call never waits for it longer than `PATIENCE_SECONDS`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, delete, insert, select, update

from windlass.core.errors import Invalid, NotFound, Unavailable, WindlassError
from windlass.govern.keyring import Keyring
from windlass.govern.standby import SealedKey
from windlass.store.meta import read
from windlass.store.tables import provider_keys

KEPT_SECONDS = 2.0  # how long a key that was removed in another process may still be used here
PATIENCE_SECONDS = 0.25
ENDS, LONG_ENOUGH = 4, 20  # characters that are shown, of a key that has at least so many


class KeptKey(msgspec.Struct, frozen=True):
    """One key, opened; `problem` is why not."""

    id: str
    project: str
    provider: str
    like: str
    fields: dict[str, str]
    secret: str
    ends: str
    note: str
    given_ns: int
    actor: str
    sealed_by: str
    problem: str = ""

    def __repr__(self) -> str:
        return f"KeptKey({self.id!r}, {self.provider!r})"


class KeptKeys:
    """All keys, newest first. One per process.

    Args:
        engine: the relational store.
        keyring: what opens them.
        spare: what a local copy has of them, sealed, for a process that begins while the store is away.
    """

    def __init__(self, engine: Engine, keyring: Keyring, spare: Callable[[], Sequence[SealedKey] | None] = lambda: None) -> None:
        self._engine = engine
        self._spare = spare
        self.keyring = keyring
        self._lock = threading.Lock()
        self._known: tuple[KeptKey, ...] | None = None
        self._until = 0.0
        self._epoch = 0
        self._reading: threading.Thread | None = None

    def all(self) -> Sequence[KeptKey]:
        """Those known now. Raises `StoreAway` where the store could never be asked, and no copy says."""
        known = self._known
        if known is None:
            return self._first()
        if time.monotonic() < self._until:
            return known
        with self._lock:
            if self._reading is None or not self._reading.is_alive():
                self._reading = threading.Thread(target=self._again, name="provider-keys", daemon=True)
                self._reading.start()
            reading = self._reading
        reading.join(PATIENCE_SECONDS)
        return known if self._known is None else self._known

    def _first(self) -> tuple[KeptKey, ...]:
        epoch = self._epoch
        try:
            return self._read(epoch)
        except Unavailable:
            if (copied := self._spare()) is None:
                raise
        found = tuple(self._opened(row) for row in sorted(copied, key=lambda k: (-k.given_ns, k.id)))
        self._known, self._until = found, time.monotonic() + KEPT_SECONDS
        return found

    def forget(self) -> None:
        """Something was changed here: ask the store before the next call."""
        self._epoch += 1
        self._known, self._until = None, 0.0

    def _again(self) -> None:
        try:
            self._read(self._epoch)
        except WindlassError:
            self._until = time.monotonic() + KEPT_SECONDS  # the store is away: go on, and do not ask it at every call

    def _read(self, epoch: int) -> tuple[KeptKey, ...]:
        with read(self._engine) as c:
            rows = list(c.execute(select(provider_keys).order_by(provider_keys.c.given_ns.desc(), provider_keys.c.id.desc())))
        found = tuple(self._opened(row) for row in rows)
        if epoch == self._epoch:  # else it was read before a change
            self._known, self._until = found, time.monotonic() + KEPT_SECONDS
        return found

    def _opened(self, row: Row[Any] | SealedKey) -> KeptKey:
        secret, problem = "", ""
        if row.sealed:
            try:
                secret = self.keyring.open(row.sealed, purpose(row.id, row.project, row.provider))
            except WindlassError as e:
                problem = f"{e.message}; {e.remedy}" if e.remedy else e.message
        return KeptKey(
            row.id, row.project, row.provider, row.like, msgspec.json.decode(row.fields, type=dict[str, str]), secret, row.ends, row.note,
            row.given_ns, row.actor, self.keyring.sealed_by(row.sealed), problem,
        )  # fmt: skip

    def find(self, c: Connection, id: str) -> KeptKey:
        """One by its id or the end of it. Raises `NotFound`, `Invalid`."""
        rows = list(c.execute(select(provider_keys).where(provider_keys.c.id.endswith(id, autoescape=True)).limit(2))) if id else []
        if not rows:
            raise NotFound(f"there is no key {id!r} of a provider", remedy="`windlass providers` lists them")
        if len(rows) > 1:
            raise Invalid(f"several keys end with {id!r}", remedy="write more of its id")
        return self._opened(rows[0])

    def same(self, c: Connection, project: str, provider: str, secret: str) -> KeptKey | None:
        """The key with this secret, for the same provider and project, that is there already."""
        at = (provider_keys.c.project == project, provider_keys.c.provider == provider)
        return next(
            (k for row in c.execute(select(provider_keys).where(*at)) if (k := self._opened(row)).secret == secret and not k.problem), None
        )

    def add(self, c: Connection, key: KeptKey) -> None:
        """Enter one. `c` is a write transaction."""
        sealed = self.keyring.seal(key.secret, purpose(key.id, key.project, key.provider)) if key.secret else ""
        c.execute(
            insert(provider_keys).values(
                id=key.id, project=key.project, provider=key.provider, like=key.like, fields=_json(key.fields), sealed=sealed,
                ends=key.ends, note=key.note, given_ns=key.given_ns, actor=key.actor,
            )
        )  # fmt: skip

    def describe(self, c: Connection, key: KeptKey) -> None:
        """Keep other fields and another note with one."""
        wanted = provider_keys.c.id == key.id
        c.execute(update(provider_keys).where(wanted).values(fields=_json(key.fields), note=key.note, like=key.like))

    def remove(self, c: Connection, id: str) -> None:
        c.execute(delete(provider_keys).where(provider_keys.c.id == id))

    def reseal(self, c: Connection) -> int:
        """Seal all that can be opened under the key that seals now. Returns how many."""
        done = 0
        for row in list(c.execute(select(provider_keys).where(provider_keys.c.sealed != ""))):
            key = self._opened(row)
            if key.problem:
                raise Invalid(
                    f"the key {row.id} of {row.provider} cannot be opened: {key.problem}", remedy="remove it first, or bring its key"
                )
            sealed = self.keyring.seal(key.secret, purpose(row.id, row.project, row.provider))
            c.execute(update(provider_keys).where(provider_keys.c.id == row.id).values(sealed=sealed))
            done += 1
        return done


def purpose(id: str, project: str, provider: str) -> str:
    """What a key is sealed for: it opens in no other row, project or provider."""
    return _json(["provider key", id, project, provider])


def ends_of(secret: str) -> str:
    """What may be shown of a secret."""
    return secret[-ENDS:] if len(secret) >= LONG_ENOUGH else ""


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()
