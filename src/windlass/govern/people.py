"""People who come by OpenID Connect, and machines that do: who they are, what the rules make of them, and who is blocked.

What a provider told of somebody is kept as far as rules look at it, so that a rule that is changed holds at once for whoever is logged in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec
from sqlalchemy import Connection, Engine, Row, func, insert, select, update

from windlass.core.actor import Actor, Role
from windlass.core.errors import Forbidden, Invalid, NotFound, Unauthenticated, WindlassError
from windlass.core.ids import now_ns
from windlass.core.operations import Empty
from windlass.core.operations.people import (
    Person,
    PersonList,
    PersonQuery,
    PersonSession,
    ProviderList,
    ProviderQuery,
    ProviderRule,
    ProviderState,
)
from windlass.govern import audit
from windlass.govern.openid import OpenId, Pending
from windlass.govern.openid_file import Provider, claim
from windlass.govern.permissions import guard, ruling
from windlass.govern.sessions import Session, Sessions
from windlass.store.meta import read, write
from windlass.store.tables import audit as entries
from windlass.store.tables import people

PREFIX = "oidc:"
HOUR_NS = 3600 * 10**9
AGAIN = "log in again"
_ACTED = (
    select(entries.c.actor, func.max(entries.c.at_ns).label("at"))
    .where(entries.c.actor.startswith(PREFIX), entries.c.action != "people.login")
    .group_by(entries.c.actor)
)


class People:
    """Service of people, and what finds out who one is.

    Args:
        engine: the relational store.
        sessions: browser sessions.
        openid: what proves who comes.
    """

    def __init__(self, engine: Engine, sessions: Sessions, openid: OpenId) -> None:
        self._engine = engine
        self._sessions = sessions
        self.openid = openid

    def ways(self) -> tuple[tuple[str, str], ...]:
        """Name and title of each provider by which people log in; none where the file cannot be read."""
        try:
            return tuple((p.name, p.title or p.name) for p in self.openid.providers() if p.client_id)
        except Invalid:
            return ()

    # who it is

    def log_in(self, name: str, pending: Pending | None, said: Mapping[str, str]) -> tuple[str, int]:
        """Open a session for somebody who came back from a provider; gives the cookie's value, and its seconds.

        Raises `Unauthenticated`, `Unavailable`; `Forbidden` for one whom no rule lets in, which says what was looked at."""
        provider, claims = self.openid.finish(name, pending, said)
        id, now = _id(provider, claims), now_ns()
        rule = provider.ruled(claims)
        with write(self._engine) as c:
            row = c.execute(select(people).where(people.c.id == id)).first()
            if row is None and rule is None:
                raise _unruled(provider, claims)  # whoever has an account there leaves nothing here
            told = _told(provider, claims) | {"last_ns": now}
            if rule and (row is None or row.blocked_ns is None):
                told["login_ns"] = now
            if row is None:
                c.execute(insert(people).values(id=id, first_ns=now, blocked_by="", **told))
            else:
                c.execute(update(people).where(people.c.id == id).values(**told))
            if rule and "login_ns" in told:
                actor = Actor(id, rule.role, rule.project)
                audit.record(c, actor, "people.login", rule.project, id, name=told["name"], role=rule.role)
        if row is not None:
            _refuse_blocked(row)
        if rule is None:
            raise _unruled(provider, claims)
        seconds = provider.hours * 3600
        return self._sessions.open(key=id, seconds=seconds), seconds

    def of_session(self, id: str, session: Session) -> Actor:
        """Who this session is of, if they still may come in. Raises `Unauthenticated`, `Invalid` while `oidc.toml` is wrong."""
        row = self._row(id)
        if row is None:
            raise Unauthenticated("this session has ended", remedy=AGAIN)
        provider, actor = self._actor(row)
        if session.began_ns + provider.hours * HOUR_NS <= now_ns():
            raise Unauthenticated("this session has ended", remedy=AGAIN)
        return actor

    def of_token(self, token: str) -> Actor:
        """Who shows this token as a key. Raises `Unauthenticated`, `Unavailable`, `Invalid`."""
        provider, claims = self.openid.bearer(token)
        id, now = _id(provider, claims), now_ns()
        row = self._row(id)
        if row is not None:
            _refuse_blocked(row)
        rule = provider.ruled(claims)
        if rule is None:
            raise Unauthenticated(str(_unruled(provider, claims)))
        told = _told(provider, claims)
        if row is None or (row.login_ns is None and (row.last_ns + HOUR_NS < now or row.claims != told["claims"])):
            self._note(id, told | {"last_ns": now})
        return Actor(id, rule.role, rule.project)

    def able(self, c: Connection, permission: str, project: str) -> dict[str, str]:
        """Who may do this now, by actor, of those who have logged in: a machine is nobody who can be asked."""
        found = {}
        for row in c.execute(select(people).where(people.c.login_ns.is_not(None)).order_by(people.c.first_ns)):
            try:
                _, actor = self._actor(row)
            except WindlassError:
                continue
            if ruling(actor, permission, project).allowed:
                found[row.id] = f"{row.name} ({row.id})"
        return found

    def find(self, id: str) -> Person:
        """Somebody by their id, or the end of it. Raises `NotFound`, `Invalid`."""
        with read(self._engine) as c:
            return self._person(_find(c, id))

    # the service

    def list(self, actor: Actor, params: Empty) -> PersonList:
        """Operation `people.list`. Raises `Forbidden`."""
        guard(actor, "admin", actor.project)
        opened = self._sessions.by_key()
        with read(self._engine) as c:
            acted = {row.actor: row.at for row in c.execute(_ACTED)}
            found = [self._person(row) for row in c.execute(select(people).order_by(people.c.last_ns.desc()))]
        for person in found:
            person.acted_ns = acted.get(person.id)
            if person.role:
                person.sessions = tuple(PersonSession(s.began_ns, s.expires_ns) for s in opened.get(person.id, ()))
        return PersonList(tuple(found))

    def block(self, actor: Actor, params: PersonQuery) -> Person:
        """Operation `people.block`: they come in no more, and are logged out everywhere. Raises `Forbidden`, `NotFound`, `Invalid`."""
        return self._block(actor, params.id, True)

    def admit(self, actor: Actor, params: PersonQuery) -> Person:
        """Operation `people.admit`: the rules say again whether they come in. Raises `Forbidden`, `NotFound`, `Invalid`."""
        return self._block(actor, params.id, False)

    def providers(self, actor: Actor, params: ProviderQuery) -> ProviderList:
        """Operation `people.providers`. Raises `Forbidden`; `Invalid` where `oidc.toml` is wrong."""
        guard(actor, "admin", actor.project)
        return ProviderList(tuple(self._state(p, params.reach) for p in self.openid.providers()))

    def _block(self, actor: Actor, id: str, blocked: bool) -> Person:
        guard(actor, "admin", actor.project)
        with write(self._engine) as c:
            row = _find(c, id)
            if (row.blocked_ns is not None) != blocked:
                c.execute(
                    update(people)
                    .where(people.c.id == row.id)
                    .values(blocked_ns=now_ns() if blocked else None, blocked_by=actor.id if blocked else "")
                )
                audit.record(c, actor, "people.block" if blocked else "people.admit", actor.project, row.id, name=row.name)
                row = _find(c, row.id)
        if blocked:
            self._sessions.close_of(row.id)
        return self._person(row)

    def _state(self, provider: Provider, reach: bool) -> ProviderState:
        rules = tuple(ProviderRule(dict(rule.claims), cast(Role, rule.role), rule.project) for rule in provider.rule)
        where = f"the variable {provider.client_secret_env}" if provider.client_secret_env else ""
        where = f"the file {provider.client_secret_file}" if provider.client_secret_file else where
        return ProviderState(
            provider.name, provider.issuer, rules, provider.hours, provider.client_id, where,
            f"/login/{provider.name}/back" if provider.client_id else "", provider.audience, self.openid.why_not(provider, reach=reach),
        )  # fmt: skip

    def _person(self, row: Row[Any]) -> Person:
        person = Person(
            row.id, row.name, row.provider, row.first_ns, row.last_ns, machine=row.login_ns is None, blocked_ns=row.blocked_ns,
            blocked_by=row.blocked_by,
        )  # fmt: skip
        try:
            _, actor = self._actor(row)
            person.role, person.project = actor.role, actor.project
        except WindlassError as e:
            person.why = e.message
        return person

    def _actor(self, row: Row[Any]) -> tuple[Provider, Actor]:
        """Who this is by what is known of them. Raises `Unauthenticated`, `Invalid`."""
        _refuse_blocked(row)
        try:
            provider = self.openid.provider(row.provider)
        except NotFound:
            raise Unauthenticated(f"oidc.toml names no provider {row.provider!r} any more", remedy="use a key") from None
        if provider.issuer != row.issuer:
            raise Unauthenticated(f"{row.provider} is another provider now", remedy=AGAIN)
        rule = provider.ruled(msgspec.json.decode(row.claims))
        if rule is None:
            raise Unauthenticated(f"no rule of oidc.toml lets {row.name} in any more", remedy=AGAIN)
        return provider, Actor(row.id, rule.role, rule.project)

    def _row(self, id: str) -> Row[Any] | None:
        with read(self._engine) as c:
            return c.execute(select(people).where(people.c.id == id)).first()

    def _note(self, id: str, told: dict[str, Any]) -> None:
        """A machine that came, to the hour: so that an owner sees it and can block it."""
        with write(self._engine) as c:
            if not c.execute(update(people).where(people.c.id == id).values(**told)).rowcount:
                c.execute(insert(people).values(id=id, first_ns=told["last_ns"], blocked_by="", **told))


def _id(provider: Provider, claims: Mapping[str, Any]) -> str:
    return f"{PREFIX}{provider.name}:{claims['sub']}"


def _told(provider: Provider, claims: Mapping[str, Any]) -> dict[str, Any]:
    kept = msgspec.json.encode(provider.kept(claims)).decode()
    return {"provider": provider.name, "issuer": provider.issuer, "name": _name(claims), "claims": kept}


def _name(claims: Mapping[str, Any]) -> str:
    """How people are called: it decides nothing, and may be the same for two."""
    said = [v for n in ("name", "preferred_username", "email") if isinstance(v := claims.get(n), str) and v.strip()]
    told = [said[0], *({said[-1]} - {said[0]})] if said else [str(claims["sub"])]
    text = told[0] if len(told) == 1 else f"{told[0]} ({told[1]})"
    return "".join(c if c.isprintable() else " " for c in text[:200]).strip()


def _refuse_blocked(row: Row[Any]) -> None:
    if row.blocked_ns is not None:
        raise Unauthenticated(f"{row.name} is blocked here", remedy="ask an owner")


def _unruled(provider: Provider, claims: Mapping[str, Any]) -> Forbidden:
    """Says which claims were looked at, and nothing of what they say."""
    names = provider.looked_at()
    looked = ", ".join(f"{n} ({_how(claims, n)})" for n in names) or "nothing, since there is no rule"
    return Forbidden(
        f"{provider.title or provider.name} knows you, but no rule lets you in here; looked at: {looked}",
        remedy="an owner adds a rule to oidc.toml",
    )


def _how(claims: Mapping[str, Any], name: str) -> str:
    if claim(claims, name) is None:
        return "not told"
    return "not verified" if name == "email" and claims.get("email_verified") not in (True, "true") else "no match"


def _find(c: Connection, id: str) -> Row[Any]:
    exact = c.execute(select(people).where(people.c.id == id)).first()
    found = [exact] if exact else list(c.execute(select(people).where(people.c.id.endswith(id, autoescape=True)).limit(2))) if id else []
    if not found:
        raise NotFound(f"nobody here is {id[:100]!r}", remedy="`windlass people list` lists who came by a provider")
    if len(found) > 1:
        raise Invalid(f"several people end with {id!r}", remedy="write more of their id")
    return found[0]
