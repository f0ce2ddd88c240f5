"""Who it is: the owner's token, keys, tokens of runs and grants, and browser sessions, each turned into an `Actor`.

A key's secret is `wl_<id>_<random>` and is stored as its SHA-256 only: it holds 256 random bits, so nothing slower is
needed. What tokens say is in `tokens`; what an actor may do is not known here.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, func, insert, or_, select, update

from windlass.core.actor import OWNER, Actor
from windlass.core.errors import Conflict, Invalid, NotFound, Unauthenticated, Unavailable
from windlass.core.ids import now_ns
from windlass.core.operations import Empty
from windlass.core.operations.system import KeyChange, KeyInfo, KeyList, KeyQuery, KeyRequest
from windlass.core.ref import KINDS, check_name
from windlass.govern import audit
from windlass.govern.openid import LONGEST, looks_like_token
from windlass.govern.people import PREFIX, People
from windlass.govern.permissions import ROLES, guard, ruling
from windlass.govern.sessions import Sessions
from windlass.govern.standby import LOOK_SECONDS, Standby, StandbyKey
from windlass.govern.tokens import Tokens
from windlass.store.meta import read, write
from windlass.store.tables import audit as entries
from windlass.store.tables import keys

KEPT_SECONDS = 2.0  # how long a key that was revoked in another process may still open this one
KEPT = 10_000
_ACTED = select(entries.c.actor, func.max(entries.c.at_ns).label("at")).group_by(entries.c.actor)
GIVE = "give a key in the header `Authorization: Bearer …`; `windlass keys create` makes one"


class Actors:
    """Finds who sends a request. One per process.

    Args:
        engine: the relational store, for keys.
        sessions: browser sessions.
        owner_secrets: the token of the data folder, and the owner key where one was given.
        signing_key: what run tokens are signed with.
        cookie: the name of the session cookie.
        people: who comes by an OpenID provider; None where nobody does.
        standby: keys for when the store is away; None where then nobody comes in by one.
    """

    def __init__(
        self, engine: Engine, sessions: Sessions, owner_secrets: tuple[str, ...], signing_key: bytes, cookie: str,
        people: People | None = None, standby: Standby | None = None,
    ) -> None:  # fmt: skip
        self._standby = standby
        self._engine = engine
        self.sessions = sessions
        self.people = people
        self._owners = tuple(s.encode() for s in owner_secrets)
        self._signing_key = signing_key
        self.tokens = Tokens(signing_key)
        self.cookie = cookie
        self._known: dict[str, tuple[Actor, str, float]] = {}  # digest of a secret → actor, key id, until

    def authenticate(self, headers: Mapping[str, str]) -> Actor:
        """Who sends these headers (names in lower case): by key, run token or the owner's token in `Authorization` or
        `x-api-key`, else by session cookie. Raises `Unauthenticated`."""
        if (secret := _credential(headers)) is not None:
            return self.of_secret(secret)
        if secret := self.session_secret(headers):
            return self._of_session(secret)
        raise Unauthenticated("this needs a key", remedy=GIVE)

    def of_secret(self, secret: str) -> Actor:
        """Who holds this secret. Raises `Unauthenticated`."""
        if secret.startswith("wlr_"):
            return self._of_run(secret)
        if secret.startswith("wlg_"):
            return self._of_grant(secret)
        if any(hmac.compare_digest(secret.encode(), owner) for owner in self._owners):
            return OWNER
        if secret.startswith("wl_"):
            return self._of_key(secret)
        if self.people and looks_like_token(secret):
            return self._of_token(secret, self.people)
        raise Unauthenticated("this key is not known here", remedy=GIVE)

    def session_secret(self, headers: Mapping[str, str]) -> str | None:
        """The session cookie's value, if there is one. Cookies of other programs on this host come along, of any form."""
        for pair in headers.get("cookie", "").split(";"):
            name, _, value = pair.strip().partition("=")
            if name == self.cookie:
                return value
        return None

    def log_in(self, secret: str) -> str:
        """Open a session for the holder of a key; returns the cookie's value. Raises `Unauthenticated`."""
        actor = self.of_secret(secret)
        if actor.role in ("run", "grant"):
            raise Unauthenticated(f"a {actor.role} cannot log in", remedy="use a key")
        if actor.id.startswith(PREFIX):
            raise Unauthenticated("a provider's token is for programs", remedy="log in with its button, or use a key")
        if actor == OWNER:
            return self.sessions.open(secret=self._mark(secret.encode()))
        return self.sessions.open(key=actor.id.removeprefix("key:"))

    def create(self, actor: Actor, params: KeyRequest) -> KeyInfo:
        """Operation `keys.create`: the only time the secret is told. Raises `Forbidden`, `Invalid`."""
        guard(actor, "admin", params.project)
        _check(params)
        identity = secrets.token_hex(6)
        secret = f"wl_{identity}_{secrets.token_urlsafe(32)}"
        info = KeyInfo(identity, params.name, params.role, params.project, now_ns(), params.expires_ns, None, params.scopes)
        with write(self._engine) as c:
            c.execute(
                insert(keys).values(
                    id=identity, name=params.name, role=params.role, project=params.project, hash=_digest(secret), actor=actor.id,
                    scopes=msgspec.json.encode(params.scopes).decode(), created_ns=info.created_ns, expires_ns=params.expires_ns,
                )
            )  # fmt: skip
            audit.record(c, actor, "keys.create", params.project, f"key:{identity}", name=params.name, role=params.role)
        return msgspec.structs.replace(info, secret=secret)

    def list(self, actor: Actor, params: Empty) -> KeyList:
        """Operation `keys.list`: every key, newest first, without secrets. Raises `Forbidden`."""
        guard(actor, "admin", actor.project)
        with read(self._engine) as c:
            acted = {row.actor: row.at for row in c.execute(_ACTED)}
            found = tuple(_info(row) for row in c.execute(select(keys).order_by(keys.c.created_ns.desc())))
        for info in found:
            info.acted_ns = acted.get(f"key:{info.id}")
        return KeyList(found, acted.get(OWNER.id))

    def change(self, actor: Actor, params: KeyChange) -> KeyInfo:
        """Operation `keys.change`. Raises `Forbidden`, `NotFound`, `Invalid`; `Conflict` where nobody could let people in any more."""
        guard(actor, "admin", actor.project)
        if params.role is None and params.expires_ns is None and not params.forever:
            raise Invalid("nothing is to be changed", remedy="give a role, or an end")
        with write(self._engine) as c:
            info = _find(c, params.id)
            guard(actor, "admin", info.project)
            if info.revoked_ns is not None:
                raise Invalid(f"the key {info.name!r} was revoked, for good", remedy="make another")
            role = params.role or info.role
            expires = None if params.forever else params.expires_ns or info.expires_ns
            _check(KeyRequest(info.name, role, info.project, info.scopes, params.expires_ns))
            if role != "owner" or params.expires_ns is not None:
                _keep_an_owner(c, actor, info)
            said = {"before": [info.role, _time(info.expires_ns)], "after": [role, _time(expires)]}
            c.execute(update(keys).where(keys.c.id == info.id).values(role=role, expires_ns=expires))
            audit.record(c, actor, "keys.change", info.project, f"key:{info.id}", name=info.name, **said)
        self._forget(info.id)
        info.role, info.expires_ns = role, expires
        return info

    def revoke(self, actor: Actor, params: KeyQuery) -> KeyInfo:
        """Operation `keys.revoke`, of a key by its id or the end of it; again is harmless. Raises `Forbidden`, `NotFound`,
        `Invalid`; `Conflict` where nobody could let people in any more."""
        guard(actor, "admin", actor.project)
        with write(self._engine) as c:
            info = _find(c, params.id)
            guard(actor, "admin", info.project)
            if info.revoked_ns is None:
                _keep_an_owner(c, actor, info)
                info.revoked_ns = now_ns()
                c.execute(update(keys).where(keys.c.id == info.id).values(revoked_ns=info.revoked_ns))
                audit.record(c, actor, "keys.revoke", info.project, f"key:{info.id}", name=info.name)
        self._forget(info.id)
        return info

    def _forget(self, id: str) -> None:
        """What is remembered of a key; other processes do within `KEPT_SECONDS`."""
        self._known = {d: known for d, known in self._known.items() if known[1] != id}
        if self._standby:
            self._standby.stale()

    def key(self, id: str) -> KeyInfo:
        """A key by its id, or the end of it where only one ends so. Raises `NotFound`, `Invalid`."""
        with read(self._engine) as c:
            return _find(c, id)

    def _of_run(self, token: str) -> Actor:
        said = self.tokens.read_run(token, GIVE)
        return Actor(
            f"run:{said.run}", "run", said.project, run=said.run, evaluation=said.evaluation, payer=said.payer, user=said.user,
            release=said.release,
        )  # fmt: skip

    def _of_grant(self, token: str) -> Actor:
        said = self.tokens.read_grant(token)
        return Actor(f"grant:{said.grant}", "grant", said.project, grant=said.grant)

    def _of_key(self, secret: str) -> Actor:
        digest = _digest(secret)
        if (known := self._known.get(digest)) and known[2] > time.monotonic():
            return known[0]
        identity = secret.removeprefix("wl_").partition("_")[0]
        looked = self._standby is not None and self._standby.fresh  # what it says is a look old already
        return self._keep(digest, self._of_key_id(identity, digest), identity, KEPT_SECONDS - LOOK_SECONDS if looked else KEPT_SECONDS)

    def _of_token(self, token: str, people: People) -> Actor:
        digest = _digest(token[: LONGEST + 1])
        if (known := self._known.get(digest)) and known[2] > time.monotonic():
            return known[0]
        actor = people.of_token(token)
        return self._keep(digest, actor, actor.id)

    def _keep(self, digest: str, actor: Actor, identity: str, seconds: float = KEPT_SECONDS) -> Actor:
        if len(self._known) >= KEPT:
            self._known.clear()
        self._known[digest] = (actor, identity, time.monotonic() + seconds)
        return actor

    def _of_key_id(self, identity: str, digest: str | None) -> Actor:
        """The actor of a key that still holds; with its secret's digest checked where one is given. Raises `Unavailable` where neither the
        store nor its local copy says: the key may be one that was made since."""
        key = self._kept_key(identity)
        if key is None or (digest is not None and not hmac.compare_digest(key.hash, digest)):
            raise Unauthenticated("this key is not known here", remedy=GIVE)
        info = key.info
        if info.revoked_ns is not None:
            raise Unauthenticated(f"the key {info.name!r} was revoked", remedy=GIVE)
        if info.expires_ns is not None and info.expires_ns <= now_ns():
            raise Unauthenticated(f"the key {info.name!r} has expired", remedy=GIVE)
        return actor_of(info)

    def _kept_key(self, identity: str) -> StandbyKey | None:
        """A key as the local copy has it where that is fresh, else as the store has it, else as the copy had it last: the gateway's loop
        must not wait for a store that does not answer."""
        spare = self._standby.key(identity) if self._standby else None
        if spare and self._standby and (self._standby.fresh or self._standby.away):
            return spare
        if self._standby and (why := self._standby.away):
            raise Unavailable(f"this key is not in the local copy, and {why}", remedy="it may be new; try again when the store is back")
        try:
            with read(self._engine) as c:
                row = c.execute(select(keys).where(keys.c.id == identity)).first()
        except Unavailable:
            if spare is None:
                raise
            return spare
        return StandbyKey(_info(row), row.hash) if row is not None else None

    def _of_session(self, secret: str) -> Actor:
        session = self.sessions.find(secret)
        if session is None:
            raise Unauthenticated("this session has ended", remedy="log in again")
        if session.key is not None and session.key.startswith(PREFIX) and self.people:
            return self.people.of_session(session.key, session)
        if session.key is not None:
            return self._of_key_id(session.key, None)
        if session.secret is not None and session.secret not in {self._mark(owner) for owner in self._owners}:
            raise Unauthenticated("this session was opened with a key that holds no longer", remedy="log in again")
        return OWNER

    def _mark(self, secret: bytes) -> str:
        """What a session keeps of the owner's secret that opened it, so that it ends when that is changed."""
        return hmac.digest(self._signing_key, b"session\0" + secret, "sha256").hex()

    def able(self, c: Connection, permission: str, project: str) -> dict[str, str]:
        """Who may do this now, by actor: the owner, every key that holds, and everybody who logged in."""
        return people(c, permission, project) | (self.people.able(c, permission, project) if self.people else {})


def actor_of(key: KeyInfo) -> Actor:
    """Who shows this key."""
    return Actor(f"key:{key.id}", key.role, key.project, key.scopes)


def people(c: Connection, permission: str, project: str) -> dict[str, str]:
    """Who may do this now, by actor: the owner, and every key that holds, with its name."""
    found = {OWNER.id: "owner"}
    for row in c.execute(select(keys).where(keys.c.revoked_ns.is_(None)).order_by(keys.c.created_ns)):
        key = _info(row)
        live = key.expires_ns is None or key.expires_ns > now_ns()
        if live and ruling(actor_of(key), permission, project).allowed:
            found[f"key:{key.id}"] = f"{key.name} (key:{key.id[-6:]})"
    return found


def _credential(headers: Mapping[str, str]) -> str | None:
    """The secret given; None where no header for one is there. An empty one is a wrong one."""
    given = headers.get("authorization")
    if given is None:
        return headers.get("x-api-key")
    if given[:7].lower() != "bearer ":
        raise Unauthenticated("only `Bearer` is understood in Authorization", remedy=GIVE)
    return given[7:].strip()


def _find(c: Connection, id: str) -> KeyInfo:
    found = list(c.execute(select(keys).where(keys.c.id.endswith(id, autoescape=True)).limit(2))) if id else []
    if not found:
        raise NotFound(f"there is no key {id!r}", remedy="`windlass keys list` lists them")
    if len(found) > 1:
        raise Invalid(f"several keys end with {id!r}", remedy="write more of its id")
    return _info(found[0])


def _keep_an_owner(c: Connection, actor: Actor, info: KeyInfo) -> None:
    """Raises `Conflict` where this was the last key of an owner. Whoever has the data folder, or started the server with an owner's
    key, is an owner without one, and may."""
    if actor.id == OWNER.id or info.role != "owner":
        return
    k = keys.c
    live = (k.role == "owner", k.id != info.id, k.revoked_ns.is_(None), or_(k.expires_ns.is_(None), k.expires_ns > now_ns()))
    if c.execute(select(k.id).where(*live).limit(1)).first() is None:
        raise Conflict(
            f"{info.name!r} is the last key of an owner: nobody else could let people in", where=f"key:{info.id}",
            remedy="make another owner's key first, or do it on the machine that has the data folder",
        )  # fmt: skip


def _time(ns: int | None) -> str | None:
    """A time as the audit keeps one: nanoseconds are no safe number of JSON."""
    return None if ns is None else str(ns)


def _check(params: KeyRequest) -> None:
    if not params.name.strip() or len(params.name) > 100:
        raise Invalid("a key needs a name of 1 to 100 characters", where="name")
    if params.role in ("run", "grant"):
        raise Invalid(f"a {params.role} gets its tokens by itself", where="role", remedy="choose owner, developer, viewer or caller")
    if params.role not in ROLES:
        raise Invalid(f"{params.role!r} is no role", where="role", remedy="choose owner, developer, viewer or caller")
    if params.expires_ns is not None and params.expires_ns <= now_ns():
        raise Invalid("this key would have expired already", where="expires_ns")
    check_name(params.project, what="project")
    for scope in params.scopes:
        kind, _, name = scope.partition("/")
        if kind not in KINDS or not name:
            raise Invalid(f"{scope!r} is not a scope", where="scopes", remedy="write kind/name, such as release/answer")


def _info(row: Row[Any]) -> KeyInfo:
    mapping = row._mapping
    fields = {n: mapping[n] for n in ("id", "name", "role", "project", "created_ns", "expires_ns", "revoked_ns")}
    return KeyInfo(**fields, made_by=mapping["actor"], scopes=tuple(msgspec.json.decode(mapping["scopes"])))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
