"""What proves to a provider who calls: a key, AWS credentials, Google's or Microsoft's; where it comes from, and how it is sent.

What was given here comes before the environment, a project's own before what every project uses, the newest first. Knows no table and
no wire; `sigv4` and `oauth` sign and fetch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from windlass.core.errors import Invalid, WindlassError
from windlass.discover.oauth import Post, Tokens, entra_tokens, google_file, google_tokens
from windlass.discover.sigv4 import signed

Auth = Literal["bearer", "x-api-key", "api-key", "none", "azure", "google", "aws"]
# by kind, the fields that go with a secret and are none, and the variables for them
FIELDS: dict[Auth, dict[str, str]] = {
    "azure": {"tenant_id": "AZURE_TENANT_ID", "client_id": "AZURE_CLIENT_ID"},
    "aws": {"access_key_id": "AWS_ACCESS_KEY_ID"},
}
SECRETS: dict[Auth, str] = {"azure": "AZURE_CLIENT_SECRET", "aws": "AWS_SECRET_ACCESS_KEY"}
GOOGLE_FILE = "GOOGLE_APPLICATION_CREDENTIALS"
AWS_SERVICE = "bedrock"


class StoredKey(msgspec.Struct, frozen=True):
    """A key that was given here, opened. `project` is empty for all; `problem` is why it could not be opened."""

    id: str
    project: str
    provider: str
    secret: str
    given_ns: int
    like: str = ""
    fields: dict[str, str] = {}
    ends: str = ""
    problem: str = ""

    def __repr__(self) -> str:
        return f"StoredKey({self.id!r}, {self.provider!r})"


class Credential(msgspec.Struct, frozen=True):
    """`source` says where it comes from; `id` is that of a key given here."""

    secret: str
    source: str
    fields: dict[str, str] = {}
    id: str = ""
    session_token: str = ""

    def __repr__(self) -> str:
        return f"Credential({self.source!r})"


class Signer(Protocol):
    """Makes the headers of one request that depend on it, or on the time."""

    @property
    def secrets(self) -> tuple[str, ...]: ...

    async def headers(self, method: str, url: str, headers: Mapping[str, str], body: bytes, post: Post) -> dict[str, str]: ...

    def forget(self) -> None:
        """It was refused."""
        ...


class AwsSigner:
    """Signature Version 4 over each request."""

    def __init__(self, credential: Credential, region: str) -> None:
        self._credential = credential
        self._region = region

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(s for s in (self._credential.secret, self._credential.session_token) if s)

    async def headers(self, method: str, url: str, headers: Mapping[str, str], body: bytes, post: Post) -> dict[str, str]:
        given = self._credential
        return signed(
            method, url, headers, body, access_key_id=given.fields["access_key_id"], secret_access_key=given.secret,
            region=self._region, service=AWS_SERVICE, session_token=given.session_token,
        )  # fmt: skip

    def forget(self) -> None:
        return None


class TokenSigner:
    """A bearer token, fetched when it is needed."""

    def __init__(self, tokens: Tokens, extra: Mapping[str, str] = {}) -> None:
        self._tokens = tokens
        self._extra = dict(extra)

    @property
    def secrets(self) -> tuple[str, ...]:
        return self._tokens.secrets

    async def headers(self, method: str, url: str, headers: Mapping[str, str], body: bytes, post: Post) -> dict[str, str]:
        return {"Authorization": f"Bearer {await self._tokens.get(post)}", **self._extra}

    def forget(self) -> None:
        self._tokens.forget()


def from_environment(auth: Auth, keys: Sequence[str], environ: Mapping[str, str]) -> Credential | None:
    """What the environment has for a provider, the first of its variables that is set. Raises `Invalid` for a file that cannot be read."""
    for name in keys:
        if not (value := environ.get(name, "")):
            continue
        if auth == "google" and name == GOOGLE_FILE:
            return Credential(_file(Path(value), name), f"the file that {name} names")
        return Credential(value, f"{name} in the environment")
    if auth == "google" and (home := environ.get("HOME")):
        known = Path(environ.get("CLOUDSDK_CONFIG") or f"{home}/.config/gcloud") / "application_default_credentials.json"
        return Credential(_file(known, "application default credentials"), "application default credentials") if known.is_file() else None
    names = FIELDS.get(auth, {})
    if names and (secret := environ.get(SECRETS[auth], "")) and all(environ.get(v) for v in names.values()):
        fields = {field: environ[variable] for field, variable in names.items()}
        session = environ.get("AWS_SESSION_TOKEN", "") if auth == "aws" else ""
        return Credential(secret, f"{SECRETS[auth]} in the environment", fields, session_token=session)
    return None


def _file(path: Path, what: str) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as e:
        told = e.strerror if isinstance(e, OSError) else "not text"
        raise Invalid(f"the file of {what} cannot be read: {told}", where=str(path)) from e


def check(auth: Auth, secret: str, fields: Mapping[str, str]) -> dict[str, str]:
    """The fields to keep beside a secret that somebody gives: some stand in a file of credentials. Raises `Invalid`, which does not
    repeat the secret."""
    if auth == "google" and secret.lstrip().startswith("{"):
        file = google_file(secret)
        said = {"client_email": file.client_email, "project": file.project_id or file.quota_project_id}
        return {k: v for k, v in said.items() if v} | dict(fields)
    if any(ord(c) < 33 or ord(c) > 126 for c in secret):
        raise Invalid("a key has no blanks, line ends or other signs in it", where="secret", remedy="copy it again, alone")
    some = [name for name in FIELDS.get(auth, {}) if name in fields]
    if some and len(some) < len(FIELDS[auth]):
        missing = ", ".join(name for name in FIELDS[auth] if name not in fields)
        raise Invalid(f"{', '.join(some)} needs {missing} beside it", where="fields")
    return dict(fields)


def signer_of(auth: Auth, provider: str, credential: Credential, region: str, authority: str) -> Signer | None:
    """What signs each request; None for a key that is sent as it is. Raises `Invalid` for credentials that are none."""
    if auth == "aws" and "access_key_id" in credential.fields:
        return AwsSigner(credential, region)
    if auth == "google" and credential.secret.lstrip().startswith("{"):
        file = google_file(credential.secret)
        extra = {"x-goog-user-project": file.quota_project_id} if file.quota_project_id else {}
        return TokenSigner(google_tokens(provider, file), extra)
    if auth == "azure" and "tenant_id" in credential.fields:
        given = credential.fields
        return TokenSigner(entra_tokens(provider, given["tenant_id"], given["client_id"], credential.secret, authority))
    return None


def key_headers(auth: Auth, key: str) -> dict[str, str]:
    """How a key is sent that is sent as it is."""
    if not key or auth == "none":
        return {}
    if auth in ("bearer", "google", "aws"):
        return {"Authorization": f"Bearer {key}"}
    return {"api-key" if auth == "azure" else auth: key}


def google_project(credential: Credential | None) -> str:
    """The project that Google credentials name; empty where they name none."""
    if credential is None or not credential.secret.lstrip().startswith("{"):
        return ""
    try:
        file = google_file(credential.secret)
    except WindlassError:
        return ""
    return file.project_id or file.quota_project_id
