"""Keys of providers, given and taken here: who may, what is kept, and whether a provider takes them. What is given never comes out."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from sqlalchemy import Engine

from windlass.core.actor import Actor
from windlass.core.errors import Invalid, WindlassError
from windlass.core.ids import now_ns
from windlass.core.operations import Empty
from windlass.core.operations.providers import (
    ModelProvider,
    ModelProviderList,
    ModelProviderQuery,
    ProviderKey,
    ProviderKeyQuery,
    ProviderKeyRequest,
    ProviderTest,
    ProviderTested,
    Rekeyed,
)
from windlass.core.ref import KINDS, check_name
from windlass.discover.credentials import FIELDS, SECRETS, StoredKey, check
from windlass.discover.providers import Endpoint, Provider, Providers
from windlass.govern import audit
from windlass.govern.permissions import guard
from windlass.govern.provider_keys import KeptKey, KeptKeys, ends_of
from windlass.store.meta import write

LONGEST = 20_000  # characters of a secret: files of credentials have some three thousand
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_ADDRESS = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+(/[A-Za-z0-9._~/{}-]*)?")
_BUILT_IN = {"baseline", "local", *KINDS}

Probe = Callable[[Endpoint, str], Awaitable[tuple[str, ...]]]  # endpoint, model or nothing → models it lists


def stored_of(kept: KeptKeys) -> Callable[[], Sequence[StoredKey]]:
    """The keys as `Providers` takes them; made anew only where they changed."""
    last: tuple[Sequence[KeptKey], tuple[StoredKey, ...]] = ((), ())

    def stored() -> Sequence[StoredKey]:
        nonlocal last
        known = kept.all()
        if known is not last[0]:
            made = (StoredKey(k.id, k.project, k.provider, k.secret, k.given_ns, k.like, k.fields, k.ends, k.problem) for k in known)
            last = known, tuple(made)
        return last[1]

    return stored


class ProviderKeys:
    """The operations on providers.

    Args:
        engine: the relational store.
        providers: the table, which asks for `kept`.
        kept: the keys.
        probe: asks a provider for its models, or a model for one token. Raises `ModelFailed`.
    """

    def __init__(self, engine: Engine, providers: Providers, kept: KeptKeys, probe: Probe) -> None:
        self._engine = engine
        self._providers = providers
        self._kept = kept
        self._probe = probe

    def list(self, actor: Actor, params: ModelProviderQuery) -> ModelProviderList:
        """Operation `providers.list`. Raises `Forbidden`."""
        guard(actor, "read", params.project)
        known = self._kept.all()
        newest = next(iter(self._kept.keyring.marks), "")
        old = sum(1 for k in known if k.sealed_by and k.sealed_by != newest)
        shown = [k for k in known if k.project in ("", params.project)]
        items = tuple(self._state(p, params.project, shown) for p in self._providers.all(params.project))
        return ModelProviderList(items, self._kept.keyring.where if known else "", old)

    def give(self, actor: Actor, params: ProviderKeyRequest) -> ProviderKey:
        """Operation `providers.key`. Raises `Forbidden`, `NotFound` for a provider that is none, `Invalid`."""
        guard(actor, "admin", params.project or actor.project)
        secret = params.secret.strip()
        fields = self._checked(params, secret)
        key = KeptKey(
            secrets.token_hex(6), params.project, params.provider, params.like, fields, secret, _ends(secret), params.note.strip(),
            now_ns(), actor.id, "",
        )  # fmt: skip
        with write(self._engine) as c:
            if (same := self._kept.same(c, key.project, key.provider, secret)) is not None:
                key = msgspec.structs.replace(same, fields=fields, note=key.note or same.note, like=key.like or same.like)
                if key == same:
                    return _shown(same)
                self._kept.describe(c, key)
            else:
                self._kept.add(c, key)
            subject = f"provider-key:{key.id}"
            said = {"provider": key.provider, "ends": key.ends, "fields": key.fields, "like": key.like, "every_project": not key.project}
            audit.record(c, actor, "providers.key", key.project or actor.project, subject, **said)
        self._kept.forget()
        return _shown(key)

    def remove(self, actor: Actor, params: ProviderKeyQuery) -> ProviderKey:
        """Operation `providers.remove`. Raises `Forbidden`, `NotFound`, `Invalid`."""
        guard(actor, "admin", actor.project)
        with write(self._engine) as c:
            key = self._kept.find(c, params.id)
            guard(actor, "admin", key.project or actor.project)
            self._kept.remove(c, key.id)
            project = key.project or actor.project
            audit.record(c, actor, "providers.remove", project, f"provider-key:{key.id}", provider=key.provider, ends=key.ends)
        self._kept.forget()
        return _shown(key)

    def rekey(self, actor: Actor, params: Empty) -> Rekeyed:
        """Operation `providers.rekey`: all keys are sealed anew. Raises `Forbidden`, `Invalid` where one cannot be opened."""
        guard(actor, "admin", actor.project)
        with write(self._engine) as c:
            self._kept.keyring.renew()
            sealed = self._kept.reseal(c)
            audit.record(c, actor, "providers.rekey", actor.project, "provider-keys", sealed=sealed)
        self._kept.forget()
        return Rekeyed(sealed, self._kept.keyring.where)

    async def test(self, actor: Actor, params: ProviderTest) -> ProviderTested:
        """Operation `providers.test`. Raises `Forbidden`, `NotFound` for a provider that is none."""
        guard(actor, "admin", params.project)
        provider = self._providers.get(params.provider, params.project)
        began = time.monotonic()
        source = ""
        try:
            endpoint = self._providers.endpoint(params.provider, params.project, params.model)
            source = endpoint.source
            models = await self._probe(endpoint, params.model)
        except WindlassError as e:
            said = f"{e.message} ({e.remedy})" if e.remedy else e.message
            return ProviderTested(provider.name, False, said, source, (time.monotonic() - began) * 1e3)
        took = (time.monotonic() - began) * 1e3
        if params.model:
            said = f"{params.model} answered"
        elif "no_models" in provider.quirks:
            said = "its credentials are in order as far as can be seen without a call; name a model to be sure"
        else:
            said = f"it took the key, and lists {len(models)} models"
        return ProviderTested(provider.name, True, said, source, took, models[:20])

    def _state(self, provider: Provider, project: str, known: Sequence[KeptKey]) -> ModelProvider:
        try:
            credentials = self._providers.credentials(provider, project)
            problem = ""
        except WindlassError as e:
            credentials, problem = [], e.message
        why = problem or self._providers.why_not(provider, project)
        used = credentials[0].id if credentials else ""
        own = tuple(
            msgspec.structs.replace(_shown(k), in_use=k.id == used) for k in known if k.provider in (provider.name, provider.keys_of)
        )
        address = ""
        if not why:
            endpoint = self._providers.endpoint(provider.name, project)
            address = endpoint.base_url
        of_kind = (*(v for v in FIELDS.get(provider.auth, {}).values()), *((SECRETS[provider.auth],) if provider.auth in SECRETS else ()))
        blanks = tuple(v for variables in provider.blanks.values() for v in variables)
        variables = tuple(dict.fromkeys((*provider.keys, *of_kind, *blanks, *((provider.base_env,) if provider.base_env else ()))))
        return ModelProvider(
            provider.name, provider.dialect, not why, why, credentials[0].source if credentials else "", address, provider.local,
            own[0].like if own and provider.name not in self._providers.table else "", variables, provider.takes, own,
            self._providers.refusals.get(provider.name),
        )  # fmt: skip

    def _checked(self, params: ProviderKeyRequest, secret: str) -> dict[str, str]:
        """The fields to keep. Raises `Invalid`, `NotFound`."""
        if params.project:
            check_name(params.project, what="project")
        if len(secret) > LONGEST:
            raise Invalid(f"a key of more than {LONGEST} characters is none", where="secret")
        if len(params.note) > 200:
            raise Invalid("a note has at most 200 characters", where="note")
        if params.like:
            if params.provider in self._providers.table or params.provider in _BUILT_IN or not _NAME.fullmatch(params.provider):
                raise Invalid(
                    f"{params.provider!r} cannot be the name of a further provider", where="provider",
                    remedy="small letters, digits and hyphens, at most 40, and no name that is taken",
                )  # fmt: skip
            provider = self._providers.get(params.like)
            if params.like not in self._providers.table:
                raise Invalid(f"{params.like!r} is itself like another", where="like", remedy="name one of the table")
        else:
            provider = self._providers.get(params.provider, params.project)
        if provider.auth == "none" and not params.like:
            raise Invalid(f"{params.provider} takes no key", remedy="its address is set in its variable, or in providers.toml")
        if not secret and not (params.like and "base_url" in params.fields):
            raise Invalid(
                "the key is empty", where="secret", remedy="give one; only a further provider with an address of its own needs none"
            )
        for name, value in params.fields.items():
            if name not in provider.takes:
                raise Invalid(f"{provider.name} takes no field {name!r}", where="fields", remedy="fields: " + ", ".join(provider.takes))
            if not value or len(value) > 500 or not value.isprintable():
                raise Invalid(f"the field {name} is empty or not plain text", where=f"fields.{name}")
            if name in ("base_url", "endpoint") and not _ADDRESS.fullmatch(value):
                remedy = "write https://host/path, without a query or a password"
                raise Invalid(f"the field {name} is no address", where=f"fields.{name}", remedy=remedy)
        return check(provider.auth, secret, params.fields) if secret else dict(params.fields)


def _ends(secret: str) -> str:
    """Of a file of credentials its last characters tell nothing: it has an address to tell it by."""
    return "" if secret.startswith("{") else ends_of(secret)


def _shown(k: KeptKey) -> ProviderKey:
    return ProviderKey(k.id, k.provider, k.project, k.given_ns, k.actor, k.ends, k.note, k.like, k.fields, problem=k.problem)
