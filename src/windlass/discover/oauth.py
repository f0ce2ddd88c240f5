"""Short-lived tokens that providers want instead of a key: Google's, for a service account or a person's application default
credentials (RFC 7523, RFC 6749), and Microsoft Entra's, for a client's secret. Each is fetched when first needed, kept in memory, and
fetched again before it ends.
"""

from __future__ import annotations

import asyncio
import base64
import time
import urllib.parse
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from windlass.core.errors import Invalid, ModelFailed

Post = Callable[[str, bytes], Awaitable[tuple[int, bytes]]]  # address, form → status, body
GOOGLE_TOKENS = "https://oauth2.googleapis.com/token"
GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
ENTRA_AUTHORITY = "https://login.microsoftonline.com"
ENTRA_SCOPE = "https://cognitiveservices.azure.com/.default"
EARLY_SECONDS = 300.0  # before its end a token is fetched anew
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class Token(msgspec.Struct, frozen=True):
    """`until` is when it is over, on `time.monotonic`."""

    text: str
    until: float


class Tokens:
    """The tokens of one credential.

    Args:
        provider: whose they are, for errors.
        address: where they are fetched.
        form: what is posted there; made anew for each.
        secrets: what must not be in an error.
    """

    def __init__(self, provider: str, address: str, form: Callable[[], Mapping[str, str]], secrets: tuple[str, ...]) -> None:
        self._provider = provider
        self._address = address
        self._form = form
        self._secrets = secrets
        self._token: Token | None = None
        self._past: deque[str] = deque(maxlen=4)  # tokens of calls that may still be under way
        self._fetching: tuple[asyncio.AbstractEventLoop, asyncio.Task[Token]] | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown."""
        return (*self._secrets, *self._past)

    def forget(self) -> None:
        """The provider refused the token: fetch another next time."""
        self._token = None

    async def get(self, post: Post) -> str:
        """A token that holds for a while. Raises `ModelFailed` when there is none; one that still holds is used on where a new one cannot
        be had."""
        now = time.monotonic()
        if self._token is not None and self._token.until - now > EARLY_SECONDS:
            return self._token.text
        try:
            self._token = await self._once(post)
            if self._token.text not in self._past:
                self._past.append(self._token.text)
        except ModelFailed:
            if self._token is None or self._token.until <= now:
                raise
        return self._token.text

    async def _once(self, post: Post) -> Token:
        """One fetch for all who wait on this event loop; who gives up does not end it for the others."""
        loop = asyncio.get_running_loop()
        if self._fetching is None or self._fetching[0] is not loop or self._fetching[1].done():
            self._fetching = loop, loop.create_task(self._fetch(post))
        return await asyncio.shield(self._fetching[1])

    async def _fetch(self, post: Post) -> Token:
        began = time.monotonic()
        try:
            status, body = await post(self._address, urllib.parse.urlencode(self._form()).encode())
        except (TimeoutError, OSError) as e:
            raise self._failed(f"could not be asked for a token: {self._clean(str(e) or type(e).__name__)}") from None
        try:
            said = msgspec.json.decode(body)
        except msgspec.DecodeError:
            said = None
        token = said.get("access_token") if isinstance(said, dict) else None
        if status != 200 or not isinstance(token, str) or not token:
            raise self._failed(f"gave no token ({status}){self._clean(_sentence(said))}", status=status)
        seconds = said.get("expires_in", 3600)
        return Token(token, began + (float(seconds) if isinstance(seconds, int | float | str) and str(seconds).isdigit() else 3600.0))

    def _failed(self, what: str, **details: Any) -> ModelFailed:
        return ModelFailed(
            f"{self._provider}: {urllib.parse.urlsplit(self._address).netloc} {what}", where=self._address,
            remedy=f"check the credentials of {self._provider}: `windlass providers` says where they come from", provider=self._provider,
            **details,
        )  # fmt: skip

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[key]")
        return text


def _sentence(said: Any) -> str:
    """What an OAuth error says: its code and its description."""
    if not isinstance(said, dict):
        return ""
    parts = [said[k] for k in ("error", "error_description") if isinstance(said.get(k), str)]
    return f": {': '.join(parts)[:400]}" if parts else ""


class GoogleFile(msgspec.Struct):
    """What Google's files of credentials say, of both kinds that are understood here."""

    type: str
    client_email: str = ""
    private_key: str = ""
    private_key_id: str = ""
    project_id: str = ""
    token_uri: str = ""
    client_id: str = ""
    client_secret: str = ""
    refresh_token: str = ""
    quota_project_id: str = ""


def google_file(text: str) -> GoogleFile:
    """Raises `Invalid`, which repeats nothing of the file."""
    try:
        found = msgspec.json.decode(text, type=GoogleFile)
    except msgspec.DecodeError:
        raise Invalid("this is no file of Google credentials", remedy="give the JSON of a service account's key") from None
    needs = {
        "service_account": ("client_email", "private_key"),
        "authorized_user": ("client_id", "client_secret", "refresh_token"),
    }.get(found.type)
    if needs is None:
        raise Invalid(
            f"Google credentials of type {found.type[:40]!r} are not understood", remedy="service_account and authorized_user are"
        )
    if missing := [name for name in needs if not getattr(found, name)]:
        raise Invalid(f"these Google credentials have no {' and no '.join(missing)}", remedy="give the whole file")
    found.token_uri = found.token_uri or GOOGLE_TOKENS
    if not found.token_uri.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise Invalid("these Google credentials name an address for tokens that is not https", where="token_uri")
    if found.type == "service_account":
        _private(found.private_key)
    return found


def google_tokens(provider: str, file: GoogleFile) -> Tokens:
    """Of a service account, by a signed assertion; of a person, by the refresh token."""
    if file.type == "service_account":
        return Tokens(provider, file.token_uri, lambda: {"grant_type": _JWT_BEARER, "assertion": assertion(file)}, (file.private_key,))
    form = {
        "grant_type": "refresh_token",
        "client_id": file.client_id,
        "client_secret": file.client_secret,
        "refresh_token": file.refresh_token,
    }
    return Tokens(provider, file.token_uri, lambda: form, (file.client_secret, file.refresh_token))


def entra_tokens(provider: str, tenant: str, client: str, secret: str, authority: str = "") -> Tokens:
    """Of an application registered in Microsoft Entra, by its secret."""
    address = f"{(authority or ENTRA_AUTHORITY).rstrip('/')}/{urllib.parse.quote(tenant, safe='')}/oauth2/v2.0/token"
    form = {"grant_type": "client_credentials", "client_id": client, "client_secret": secret, "scope": ENTRA_SCOPE}
    return Tokens(provider, address, lambda: form, (secret,))


def assertion(file: GoogleFile, now: float | None = None) -> str:
    """A JWT signed RS256 that says who asks, for an hour."""
    at = int(time.time() if now is None else now)
    claims = {"iss": file.client_email, "scope": GOOGLE_SCOPE, "aud": file.token_uri, "iat": at, "exp": at + 3600}
    header = {"alg": "RS256", "typ": "JWT"} | ({"kid": file.private_key_id} if file.private_key_id else {})
    return rs256(msgspec.json.encode(header), msgspec.json.encode(claims), file.private_key)


def rs256(header: bytes, payload: bytes, private_key: str) -> str:
    """A compact JWS (RFC 7515, RFC 7518 3.3) over these bytes as they are."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    said = f"{_base64url(header)}.{_base64url(payload)}"
    return f"{said}.{_base64url(_private(private_key).sign(said.encode(), PKCS1v15(), SHA256()))}"


def _private(pem: str) -> Any:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise Invalid("the private key of these Google credentials is no RSA key in PEM", where="private_key", remedy="give the whole file")
    return key


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
