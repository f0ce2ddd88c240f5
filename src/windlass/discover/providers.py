"""Model providers as data, and which of them this installation can call.

The table is `providers.toml` beside this file; a user's own table (`providers.toml` in the data folder) adds to it and
overrides field by field, and keys that were given here may add providers that are like one of it. Knows addresses and names of
environment variables; knows no wire format. `probe` is the only function that touches the network, and only the loopback addresses of
local servers.
"""

from __future__ import annotations

import asyncio
import difflib
import re
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from windlass.core.errors import Invalid, NotFound, Unavailable, WindlassError
from windlass.core.ids import now_ns
from windlass.discover.credentials import (
    FIELDS,
    Auth,
    Credential,
    Signer,
    StoredKey,
    from_environment,
    google_project,
    key_headers,
    signer_of,
)
from windlass.discover.hosting import Hosting

if TYPE_CHECKING:
    import aiohttp  # loaded when somebody is called: a seventh of a small command's time

Dialect = Literal["openai", "anthropic"]
Quirk = Literal["max_completion_tokens", "no_json_schema", "no_stream_usage", "no_models", "no_responses"]
KEPT_SECONDS = 1.0  # for which an endpoint is used again as it was made
BEHIND_SECONDS = 60.0  # for which a key that was refused comes after the others
_BLANK = re.compile(r"{([a-z_]+)}")
_ADDRESS = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+(/[A-Za-z0-9._~/-]*)?")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Provider(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One row of the table; `providers.toml` says what the fields mean. `models` are ids to offer in lists."""

    base_url: str
    dialect: Dialect = "openai"
    auth: Auth = "bearer"
    keys: tuple[str, ...] = ()
    base_env: str | None = None
    headers: dict[str, str] = {}
    quirks: tuple[Quirk, ...] = ()
    local: bool = False
    models: tuple[str, ...] = ()
    hosting: Hosting = ""
    blanks: dict[str, tuple[str, ...]] = {}
    defaults: dict[str, str] = {}
    keys_of: str = ""
    elsewhere: dict[str, str] = {}
    priced_as: str = ""
    name: str = ""

    @property
    def takes(self) -> tuple[str, ...]:
        """The fields that may be given with a key."""
        return (*self.blanks, *FIELDS.get(self.auth, {}), "base_url")


def _nothing() -> None:
    return None


class Endpoint(msgspec.Struct, frozen=True):
    """A provider with its address and credentials filled in. Never logged: `headers` hold the key. `signer` makes what else a request
    needs. `refused` is told when the provider did not take the key, and gives what to try instead. `secrets` are all that must not come
    back."""

    provider: Provider
    base_url: str
    headers: dict[str, str]
    key: str | None
    signer: Signer | None = None
    secrets: tuple[str, ...] = ()
    api_version: str = ""
    source: str = ""
    refused: Callable[[], Endpoint | None] = _nothing

    def __repr__(self) -> str:
        return f"Endpoint({self.provider.name!r}, {self.base_url!r})"

    def redact(self, text: str) -> str:
        """`text` without the key, should a provider echo it."""
        for secret in self._hidden():
            text = text.replace(secret, "[key]")
        return text

    def clean(self, data: bytes) -> bytes:
        """The same of bytes."""
        for secret in self._hidden():
            if (hidden := secret.encode()) in data:
                data = data.replace(hidden, b"[key]")
        return data

    def _hidden(self) -> tuple[str, ...]:
        """As they are; where there are several lines, as JSON writes them too."""
        given = (self.key or "", *self.secrets, *(self.signer.secrets if self.signer else ()))
        return tuple(form for s in given if s for form in ((s, msgspec.json.encode(s).decode()[1:-1]) if "\n" in s else (s,)))


class Providers:
    """The table, and where keys come from. Tests pass their own `environ`.

    Args:
        table: providers by name.
        environ: the environment of the server.
        stored: the keys that were given here; it must be quick, and is asked for each call.
    """

    def __init__(
        self, table: Mapping[str, Provider], environ: Mapping[str, str], stored: Callable[[], Sequence[StoredKey]] = tuple
    ) -> None:
        self.table = dict(table)
        self.refusals: dict[str, int] = {}  # provider → when it last refused a key, UTC nanoseconds
        self._environ = environ
        self._stored = stored
        self._behind: dict[str, float] = {}
        self._signers: dict[tuple[str, str, str, str], Signer | None] = {}
        self._made: dict[tuple[str, str, str], Endpoint] = {}
        self._made_of: tuple[Sequence[StoredKey], float] = ((), 0.0)  # of which keys, until when

    def get(self, name: str, project: str = "") -> Provider:
        """Raises `NotFound` with a near miss."""
        if name in self.table:
            return self.table[name]
        given = self._given(name, project)
        if given and given[0].like in self.table:
            alike = self.table[given[0].like]
            # at an address of its own it may be anybody's server: then nobody knows its prices
            priced = "" if "base_url" in given[0].fields else alike.priced_as or alike.name
            return msgspec.structs.replace(alike, name=name, keys=(), base_env=None, local=False, priced_as=priced)
        near = difflib.get_close_matches(name, [*self.table, "baseline"], 1)
        raise NotFound(
            f"there is no model provider {name!r}",
            remedy=f"did you mean {near[0]!r}?"
            if near
            else "providers: " + ", ".join(sorted(self.table)) + "; or add it to providers.toml",
        )

    def all(self, project: str = "") -> list[Provider]:
        """By name, with those that only keys given here name."""
        more = {key.provider for key in self._stored() if key.project in ("", project)} - self.table.keys()
        return [self.get(name, project) for name in sorted({*self.table, *more}) if name in self.table or self._alike(name, project)]

    def _alike(self, name: str, project: str) -> bool:
        given = self._given(name, project)
        return bool(given) and given[0].like in self.table

    def why_not(self, provider: Provider, project: str = "") -> str:
        """Why this provider cannot be called now, naming the variables that are missing; empty when it can."""
        try:
            return self._chosen(provider, project)[2]
        except WindlassError as e:
            return e.message

    def credentials(self, provider: Provider, project: str = "") -> list[Credential]:
        """What a call can use, in the order in which it is tried. Raises `Unavailable` where keys were given and none can be opened."""
        given = self._given(provider.name, project) or (self._given(provider.keys_of, project) if provider.keys_of else [])
        if given:
            usable = [key for key in given if not key.problem]
            if not usable:
                raise Unavailable(f"the key that was given cannot be used: {given[0].problem}")
            now = time.monotonic()
            usable.sort(key=lambda key: self._behind.get(key.id, 0.0) > now)  # stable: the newest first among either
            return [Credential(k.secret, f"given here{', ends in ' + k.ends if k.ends else ''}", k.fields, k.id) for k in usable]
        found = from_environment(provider.auth, provider.keys, self._environ)
        return [found] if found else []

    def endpoint(self, name: str, project: str = "", model: str = "") -> Endpoint:
        """Where and how to call a provider for a model, for a project. Raises `NotFound`; `Unavailable` when its key or address is not
        set, `Invalid` for credentials that are none."""
        stored, now = self._stored(), time.monotonic()
        if stored is not self._made_of[0] or now > self._made_of[1]:
            self._made.clear()
            self._made_of = stored, now + KEPT_SECONDS
        row = self.table.get(name)
        known = (name, project, model if row is None or row.elsewhere else "")
        if (found := self._made.get(known)) is None:
            found = self._made[known] = self._endpoint(name, project, model)
        return found

    def _endpoint(self, name: str, project: str, model: str) -> Endpoint:
        provider = self._serving(self.get(name, project), model)
        credentials, address, missing = self._chosen(provider, project)
        if missing:
            variable = missing.split(" ")[0]
            raise Unavailable(
                f"{name} cannot be called: {missing}",
                remedy=f"give its key: `windlass providers key {name}`; or set {variable} in the server's environment and restart it",
            )
        if not credentials:
            return Endpoint(provider, address, dict(provider.headers), None)
        chosen = credentials[0]
        signer = self._signer(provider, chosen)
        return Endpoint(
            provider, address, {**provider.headers, **({} if signer else key_headers(provider.auth, chosen.secret))},
            None if signer else chosen.secret or None, signer, tuple(c.secret for c in credentials if c.secret),
            self._blank(provider, "api_version", chosen), chosen.source, lambda: self._refuse(provider, project, model, chosen, signer),
        )  # fmt: skip

    def _serving(self, provider: Provider, model: str) -> Provider:
        """The row that has a model, where a cloud serves some makers' models in another way; under the provider's own name."""
        other = next((row for part, row in provider.elsewhere.items() if part in model), None)
        if other is None:
            return provider
        if provider.name in self.table:
            return msgspec.structs.replace(self.table[other], name=provider.name)
        return msgspec.structs.replace(self.table[other], name=provider.name, keys=(), base_env=None, priced_as=provider.priced_as)

    def detected(self) -> dict[str, str]:
        """Provider → `ready` or why not, for every provider that is not local. Asks nobody."""
        return {p.name: self.why_not(p) or "ready" for p in self.all() if not p.local}

    def _given(self, name: str, project: str) -> list[StoredKey]:
        """Keys given for a provider, newest first: the project's own, else those that every project uses."""
        found = [key for key in self._stored() if key.provider == name]
        own = [key for key in found if key.project == project and project] or [key for key in found if not key.project]
        return sorted(own, key=lambda key: -key.given_ns)

    def _chosen(self, provider: Provider, project: str) -> tuple[list[Credential], str, str]:
        """Credentials, address, and what is missing."""
        missing = []
        credentials = self.credentials(provider, project)
        if not credentials and provider.auth != "none" and provider.keys:
            missing.append(f"{' or '.join(provider.keys)} is not set")
        elif not credentials and provider.auth != "none" and provider.name not in self.table:
            missing.append("no key was given")
        address, blank = self._address(provider, credentials[0] if credentials else None)
        if blank:
            missing.append(f"{blank} is not set")
        signs = bool(credentials) and provider.auth == "aws" and "access_key_id" in credentials[0].fields
        if signs and not blank and not self._blank(provider, "region", credentials[0]):
            missing.append(f"{provider.blanks.get('region', ('AWS_REGION',))[0]} is not set")
        return credentials, address, " and ".join(missing)

    def _address(self, provider: Provider, credential: Credential | None) -> tuple[str, str]:
        """Where a provider answers, and the name of what is missing for it. What was given with a key goes with that key only. Raises
        `Invalid` for what would lead elsewhere."""
        given = credential.fields.get("base_url", "") if credential else ""
        chosen = given or self._environ.get(provider.base_env or "") or provider.base_url
        if not chosen:
            return "", provider.base_env or "base_url"
        for name in _BLANK.findall(chosen):
            value = self._blank(provider, name, credential).rstrip("/")
            if not value:
                return "", " or ".join(provider.blanks.get(name, (name,)))
            if not (_ADDRESS if name == "endpoint" else _WORD).fullmatch(value):
                raise Invalid(f"{value[:80]!r} cannot be the {name} of {provider.name}", where=name)
            chosen = chosen.replace(f"{{{name}}}", value)
        # Vertex AI's places that are no region have hosts of their own
        chosen = chosen.replace("//global-aiplatform.", "//aiplatform.")
        chosen = re.sub(r"//(us|eu)-aiplatform\.googleapis\.com", r"//aiplatform.\1.rep.googleapis.com", chosen)
        return chosen.rstrip("/"), ""

    def _blank(self, provider: Provider, name: str, credential: Credential | None) -> str:
        """What fills a blank of an address: given with the key, from the environment, as Google's credentials say, or the default."""
        given = credential.fields.get(name, "") if credential else ""
        told = next((v for variable in provider.blanks.get(name, ()) if (v := self._environ.get(variable))), "")
        if name == "project" and provider.auth == "google" and not given and not told:
            told = google_project(credential)
        return given or told or provider.defaults.get(name, "")

    def _signer(self, provider: Provider, credential: Credential) -> Signer | None:
        """Kept from call to call, since tokens are."""
        region, authority = self._blank(provider, "region", credential), self._environ.get("AZURE_AUTHORITY_HOST", "")
        known = (
            provider.name,
            f"{credential.id} {sorted(credential.fields.items())}",
            credential.secret + credential.session_token,
            region,
        )
        if known not in self._signers:
            if len(self._signers) >= 256:
                self._signers.clear()
            self._signers[known] = signer_of(provider.auth, provider.name, credential, region, authority)
        return self._signers[known]

    def _refuse(self, provider: Provider, project: str, model: str, credential: Credential, signer: Signer | None) -> Endpoint | None:
        """A key was not taken: those given beside it come first for a while. Gives the next one, if there is one that was not refused."""
        self.refusals[provider.name] = now_ns()
        self._made.clear()
        if signer is not None:
            signer.forget()
        if not credential.id:
            return None
        self._behind[credential.id] = time.monotonic() + BEHIND_SECONDS
        following = self.credentials(provider, project)[0]
        return self.endpoint(provider.name, project, model) if self._behind.get(following.id, 0.0) <= time.monotonic() else None


def load_providers(user_file: Path | None, environ: Mapping[str, str], stored: Callable[[], Sequence[StoredKey]] = tuple) -> Providers:
    """The shipped table, overlaid with the user's file where there is one. Raises `Invalid` naming file and provider."""
    rows: dict[str, dict[str, Any]] = _read(Path(__file__).with_name("providers.toml"))
    if user_file is not None and user_file.exists():
        for name, row in _read(user_file).items():
            rows[name] = {**rows.get(name, {}), **row}
    table: dict[str, Provider] = {}
    for name, row in rows.items():
        try:
            table[name] = msgspec.convert({**row, "name": name}, Provider)
        except msgspec.ValidationError as e:
            raise Invalid(
                f"provider {name!r}: {e}", where=str(user_file), remedy="see providers.toml in windlass/discover for the fields"
            ) from e
    return Providers(table, environ, stored)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        rows = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise Invalid(f"not readable as TOML: {e}", where=str(path)) from e
    for name, row in rows.items():
        if not isinstance(row, dict):
            raise Invalid(f"{name!r} is not a table", where=str(path), remedy=f"write [{name}] and its fields below")
    return rows


class Probed(msgspec.Struct, frozen=True):
    """What a local server answered: the ids of its models, or why it could not be asked."""

    provider: str
    models: tuple[str, ...]
    why_not: str = ""


async def probe(providers: Providers, *, timeout_s: float = 0.5) -> list[Probed]:
    """Ask every local provider for its models, at once, each within `timeout_s` seconds. Never raises for one that is away."""
    import aiohttp

    names = [name for name, p in sorted(providers.table.items()) if p.local]
    limits = aiohttp.ClientTimeout(total=timeout_s)
    async with aiohttp.ClientSession(timeout=limits, trust_env=False) as session:
        return list(await asyncio.gather(*(_ask(session, providers, name) for name in names)))


async def _ask(session: aiohttp.ClientSession, providers: Providers, name: str) -> Probed:
    import aiohttp

    endpoint = providers.endpoint(name)
    try:
        async with session.get(endpoint.base_url + "/models", headers=endpoint.headers) as response:
            listed = msgspec.json.decode(await response.read(), type=_Listing)
            return Probed(name, tuple(sorted(m.id for m in listed.data)))
    except (TimeoutError, aiohttp.ClientError):
        return Probed(name, (), f"nothing answers at {endpoint.base_url}")
    except msgspec.DecodeError:
        return Probed(name, (), f"{endpoint.base_url} answers, but not as a model server")


class _Model(msgspec.Struct):
    id: str


class _Listing(msgspec.Struct):
    data: list[_Model]
