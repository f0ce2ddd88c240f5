"""What calls go on with while the relational store is away: keys, labels of releases with all they use, limits, routes, and keys of
providers as they are sealed, in a signed file.

A process that serves looks each second whether anything changed, by the newest entry of the audit and the newest move of a label, and
writes the file `standby` of the data folder anew where it did. It is signed by the data folder's key: one that was altered is refused, with
a sentence in the log, and then nothing is answered from it. Whoever can be asked for a key says *not here*, not *wrong*, of one that
the copy does not have, since it may be newer. Secrets are not in it in clear: a key stands as its hash, a provider's as it is sealed.
"""

from __future__ import annotations

import hmac
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, func, select

from windlass.core.artifacts import Version
from windlass.core.errors import Unavailable
from windlass.core.ids import now_ns
from windlass.core.operations.limits import LimitState
from windlass.core.operations.routes import Route
from windlass.core.operations.system import KeyInfo
from windlass.core.ref import Ref
from windlass.store.meta import HEAD, read
from windlass.store.tables import audit, keys, label_moves, labels, limit_uses, limits, provider_keys, routes

FILE = "standby"
LOOK_SECONDS = 1.0  # between two looks at the store
FRESH_SECONDS = 3.5  # since the last look that answered, longer than a slow one: so long what is in memory is what the store says
SLOW_SECONDS = 2.0  # a look that takes longer means that the store is away
_log = logging.getLogger("windlass.standby")

Closure = Callable[[Connection, Ref], list[Version]]


class StandbyKey(msgspec.Struct, frozen=True):
    info: KeyInfo
    hash: str


class SealedKey(msgspec.Struct, frozen=True):
    """A row of `provider_keys`."""

    id: str
    project: str
    provider: str
    like: str
    fields: str
    sealed: str
    ends: str
    note: str
    given_ns: int
    actor: str


class Copy(msgspec.Struct):
    """What the file says. `mark` is what the store had last when it was made, `head` the revision of its tables. `labels` map
    `project kind/name:label` of releases to digests, `routes` projects to routes by name; `nodes` is how many count calls against its
    limits, this one included."""

    mark: str = ""
    head: str = HEAD
    made_ns: int = 0
    keys: dict[str, StandbyKey] = {}
    labels: dict[str, str] = {}
    limits: tuple[LimitState, ...] = ()
    routes: dict[str, dict[str, Route]] = {}
    provider_keys: tuple[SealedKey, ...] = ()
    versions: tuple[Version, ...] = ()
    nodes: int = 1


_encode = msgspec.json.Encoder(order="deterministic").encode


class Standby:
    """The local copy, as one process has it.

    Args:
        home: the data folder.
        key: signs the file.
        closure: a version and all it uses; of releases that labels point to these go into the copy.
    """

    def __init__(self, home: Path, key: bytes, closure: Closure) -> None:
        self._path = home / FILE
        self._key = key
        self._closure = closure
        self._engine: Engine | None = None
        self._good = 0.0  # when the store last answered, on time.monotonic
        self._trying = 0.0
        self.problem = ""
        self._gate = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._versions: dict[Ref, Version] = {}
        self.generation = 0  # counts up when what is known changed
        self.copy: Copy | None = None
        self._looked = False
        self._take(self._read())

    def _take(self, copy: Copy | None) -> None:
        if copy is not None:
            self.copy, self._versions = copy, {v.ref: v for v in copy.versions}
            self.generation += 1

    def _read(self) -> Copy | None:
        """The file; None where there is none, or it is not as it was signed."""
        try:
            signature, _, data = self._path.read_bytes().partition(b"\n")
            if not hmac.compare_digest(signature, self._sign(data)):
                raise ValueError("it is not as it was signed")
            return msgspec.json.decode(data, type=Copy)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, msgspec.MsgspecError) as e:
            _log.error("the copy %s is not used: %s", self._path, e)
            return None

    def _sign(self, data: bytes) -> bytes:
        return hmac.digest(self._key, b"standby copy\0" + data, "sha256").hex().encode()

    @property
    def revision(self) -> str | None:
        """Of the store's tables when the copy was made; None where there is no copy."""
        return self.copy.head if self.copy else None

    def open(self, engine: Engine) -> None:
        """The store that it is a copy of."""
        self._engine = engine

    def watch(self) -> None:
        """Look each second from now on, in a thread of its own, until `close`."""
        self._thread = threading.Thread(target=self._watch, name="windlass-standby", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.is_set():
            self.look()
            self._ended.wait(LOOK_SECONDS)

    def look(self) -> None:
        """Look whether anything changed, and take it over. What fails is in `problem`."""
        assert self._engine is not None, "open comes first"
        with self._gate:
            self._trying = time.monotonic()
            try:
                with read(self._engine) as c:
                    mark = _mark(c)
                    changed = self.copy is None or self.copy.mark != mark or self.copy.head != HEAD or not self._looked
                    copy = self._made(c, mark) if changed else self.copy
            except Unavailable as e:
                self.problem = e.message
                self._good = 0.0
                return
            except Exception:
                _log.exception("a defect: the copy could not be made")
                self.problem = "the local copy could not be made; the log says why"
                return
            finally:
                began, self._trying = self._trying, 0.0
            self._looked = True
            if changed:
                self._take(copy)
            if self.problem:
                _log.warning("the store answers again")
            self.problem, self._good = "", began
            if changed and self._thread is not None:
                self._write()

    def _made(self, c: Connection, mark: str) -> Copy:
        found = {
            f"{r.project} {r.kind}/{r.name}:{r.label}": Ref(r.kind, r.name, r.digest, None, r.project)
            for r in c.execute(select(labels).where(labels.c.kind == "release"))
        }
        used = {v.ref: v for ref in set(found.values()) for v in self._used(c, ref)}
        rows = c.execute(select(keys)).mappings()
        known = {
            r["id"]: StandbyKey(
                KeyInfo(
                    r["id"], r["name"], r["role"], r["project"], r["created_ns"], r["expires_ns"], r["revoked_ns"],
                    tuple(msgspec.json.decode(r["scopes"])), made_by=r["actor"],
                ),
                r["hash"],
            )
            for r in rows
        }  # fmt: skip
        held = tuple(limit_of(r) for r in c.execute(select(limits).order_by(limits.c.project, limits.c.id)).mappings())
        live = select(func.count(limit_uses.c.node.distinct())).where(limit_uses.c.at_ns > now_ns() - 60 * 10**9)
        nodes = max(1, c.execute(live).scalar_one()) if held else 1
        return Copy(
            mark, HEAD, now_ns(), known, {n: r.digest or "" for n, r in found.items()}, held, _routes(c),
            tuple(SealedKey(**row) for row in c.execute(select(provider_keys).order_by(provider_keys.c.id)).mappings()),
            tuple(used[r] for r in sorted(used, key=str)), nodes,
        )  # fmt: skip

    def _used(self, c: Connection, ref: Ref) -> list[Version]:
        """Versions never change: those that are known are not read again."""
        todo, found = [ref], dict[Ref, Version]()
        while todo:
            if (at := todo.pop()) in found:
                continue
            if at not in self._versions:
                found.update({v.ref: v for v in self._closure(c, at)})
                continue
            found[at] = version = self._versions[at]
            todo += [Ref(x.kind, x.name, x.digest, None, at.project) for x in version.links if x.relation == "uses"]
        return list(found.values())

    def _write(self) -> None:
        """Put the copy in the place of the file, whole. A disk that is full is said in the log: calls go on."""
        data = _encode(self.copy)
        partial = self._path.with_name(f".{FILE}.{os.getpid()}.{threading.get_ident()}")
        try:
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(self._sign(data) + b"\n" + data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._path)
        except OSError as e:
            _log.error("the copy %s could not be written: %s", self._path, e)
            partial.unlink(missing_ok=True)

    def stale(self) -> None:
        """Something was changed by this process: what is in memory is not to be trusted before the next look."""
        self._good = 0.0

    @property
    def fresh(self) -> bool:
        """Whether what is in memory is what the store says, or was some moments ago."""
        return time.monotonic() - self._good < FRESH_SECONDS

    @property
    def away(self) -> str:
        """Why the store is not asked now: a sentence. Empty while it answers, and where nobody looks whether it is back."""
        if self._thread is None:
            return ""
        if self._trying and time.monotonic() - self._trying > SLOW_SECONDS:
            return "the store does not answer"
        return self.problem

    def key(self, id: str) -> StandbyKey | None:
        return self.copy.keys.get(id) if self.copy else None

    def label(self, ref: Ref) -> str | None:
        """The digest a release's label points to."""
        return self.copy.labels.get(f"{ref.project} {ref.kind}/{ref.name}:{ref.label}") if self.copy else None

    def routes(self) -> dict[str, dict[str, Route]] | None:
        """By project and name; None where there is no copy."""
        return self.copy.routes if self.copy else None

    def provider_keys(self) -> tuple[SealedKey, ...] | None:
        """As they are sealed; None where there is no copy."""
        return self.copy.provider_keys if self.copy else None

    def version(self, ref: Ref) -> Version | None:
        """An exact version of what a release uses."""
        return self._versions.get(ref)

    @property
    def serving(self) -> str:
        """What calls go by while the store is away: a sentence for people. Empty while it answers."""
        if not (why := self.away):
            return ""
        if self.copy is None:
            return f"{why}; there is no local copy to go on with"
        return f"{why}; calls go on by the local copy of keys, releases, routes and limits, and nothing can be changed"

    def close(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(LOOK_SECONDS)


def limit_of(row: Any) -> LimitState:
    """A row of the table; its amount in people's unit."""
    amount = row["amount"] / 1e9 if row["measured"] == "dollars" else row["amount"]
    return LimitState(
        row["id"], row["subject"], row["measured"], amount, row["period"], row["target"], row["unpriced"], row["project"], row["actor"],
        row["set_ns"],
    )  # fmt: skip


def _routes(c: Connection) -> dict[str, dict[str, Route]]:
    found: dict[str, dict[str, Route]] = {}
    for row in c.execute(select(routes).where(routes.c.body.is_not(None)).order_by(routes.c.project, routes.c.name)):
        found.setdefault(row.project, {})[row.name] = msgspec.json.decode(row.body, type=Route)
    return found


def _mark(c: Connection) -> str:
    """What changes when a key, a label, a limit or a route does."""
    seq = c.execute(select(func.max(audit.c.seq))).scalar()
    moved = c.execute(select(func.max(label_moves.c.id))).scalar()
    return f"{seq or 0} {moved or ''}"
