"""OpenID Connect: sends somebody to a provider, believes what comes back only where it is proven, and says what was claimed.

What the claims are worth, the rules of `oidc.toml` say; whose they are and who is blocked, `people`. Nothing is asked of anybody, and no
library is loaded, as long as the file names no provider.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec

from windlass.core.errors import Invalid, NotFound, Unauthenticated, Unavailable
from windlass.govern.openid_file import FILE, OpenIdFile, Provider, claim, parse_openid_file

if TYPE_CHECKING:
    from windlass.govern.openid_wire import Wire

LONGEST = 16_384  # characters of a token
LEEWAY = 30.0  # seconds by which two clocks may differ
LOGIN_SECONDS = 600
AGAIN = "begin again"


class Pending(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A log-in under way, as its browser keeps it, signed: until when (UTC seconds), and where to go on afterwards."""

    provider: str
    state: str
    nonce: str
    verifier: str
    redirect: str
    back: str
    expires: int


class OpenId:
    """Providers of one data folder.

    Raises `Invalid` at once for an `oidc.toml` that is wrong; one that becomes so refuses whoever comes by it."""

    def __init__(self, home: Path, environ: Mapping[str, str]) -> None:
        self._home = home
        self._environ = environ
        self._path = home / FILE
        self._read: tuple[bytes, OpenIdFile] = (b"", OpenIdFile())
        self._wire: Wire | None = None
        self.providers()

    def providers(self) -> tuple[Provider, ...]:
        """What the file says now. Raises `Invalid`."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return ()
        except OSError as e:
            raise Invalid(f"log-in by OpenID Connect: the file cannot be read: {e.strerror}", where=str(self._path)) from e
        if content != self._read[0]:
            self._read = (content, parse_openid_file(content.decode("utf-8", "replace"), str(self._path)))
        return self._read[1].provider

    def provider(self, name: str) -> Provider:
        """One of them. Raises `NotFound`, `Invalid`."""
        for provider in self.providers():
            if provider.name == name:
                return provider
        raise NotFound(f"there is no provider {name[:40]!r}", where=FILE)

    def wire(self) -> Wire:
        """Made when first needed. Raises `Unavailable` where the library is not installed."""
        if self._wire is None:
            try:
                import cryptography  # noqa: F401

                from windlass.govern.openid_wire import Wire
            except ImportError as e:
                raise Unavailable("log-in by OpenID Connect is not installed here", remedy='pip install "windlass[oidc]"') from e
            self._wire = Wire()
        return self._wire

    def why_not(self, provider: Provider, *, reach: bool = False) -> str:
        """What keeps a provider from working, in a sentence; nothing where nothing is known to. With `reach`, it is asked."""
        try:
            wire = self.wire()
            provider.secret(self._environ, self._home)
            if reach:
                wire.published(provider)
        except (Unavailable, Invalid) as e:
            return str(e)
        return "" if provider.rule else "it has no rule, so nobody comes in by it"

    def begin(self, name: str, redirect: str, back: str) -> tuple[str, Pending]:
        """Where to send somebody who wants to log in, and what their browser keeps meanwhile. Raises `Unauthenticated` where nobody logs in
        by that name, `Unavailable`."""
        provider = self._by_which_people_come(name)
        published = self.wire().published(provider)
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        asked = {
            "response_type": "code", "client_id": provider.client_id, "redirect_uri": redirect, "scope": provider.scopes, "state": state,
            "nonce": nonce, "code_challenge": _challenge(verifier), "code_challenge_method": "S256",
        }  # fmt: skip
        parts = urlsplit(published.authorization_endpoint)
        query = f"{parts.query}&{urlencode(asked)}" if parts.query else urlencode(asked)
        expires = int(time.time()) + LOGIN_SECONDS
        return urlunsplit(parts._replace(query=query)), Pending(provider.name, state, nonce, verifier, redirect, back, expires)

    def finish(self, name: str, pending: Pending | None, said: Mapping[str, str]) -> tuple[Provider, dict[str, Any]]:
        """The claims of somebody who came back. `said` is the query of the address.

        Raises `Unauthenticated` for what was not begun by this browser, or is not proven; `Unavailable`."""
        provider = self._by_which_people_come(name)
        if pending is None or pending.provider != provider.name or pending.expires < time.time():
            raise Unauthenticated("this log-in was not begun in this browser, or too long ago", remedy=AGAIN)
        if not hmac.compare_digest(pending.state.encode(), said.get("state", "").encode()):
            raise Unauthenticated("this answer belongs to another log-in", remedy=AGAIN)
        published = self.wire().published(provider)
        if said.get("iss", published.issuer) != published.issuer or (
            published.authorization_response_iss_parameter_supported and "iss" not in said
        ):
            raise Unauthenticated("this answer comes from another provider", remedy=AGAIN)
        if "error" in said:
            why = _printable(said.get("error_description") or said["error"])
            raise Unauthenticated(f"{provider.name} did not let you in: {why}", remedy=AGAIN)
        if not said.get("code"):
            raise Unauthenticated(f"{provider.name} sent nothing to know you by", remedy=AGAIN)
        secret = provider.secret(self._environ, self._home)
        tokens = self.wire().tokens_of(provider, secret, said["code"], pending.verifier, pending.redirect)
        claims = self._proven(provider, str(tokens.get("id_token") or ""), provider.client_id)
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), pending.nonce.encode()):
            raise Unauthenticated("this token was made for another log-in", remedy=AGAIN)
        if claims.get("azp", provider.client_id) != provider.client_id:
            raise Unauthenticated("this token was made for another application", remedy=AGAIN)
        return provider, self._whole(provider, claims, str(tokens.get("access_token") or ""))

    def bearer(self, token: str) -> tuple[Provider, dict[str, Any]]:
        """The claims of whoever shows this token as a key. Raises `Unauthenticated`, `Unavailable`, `Invalid`."""
        if len(token) > LONGEST:
            raise Unauthenticated(f"this token is longer than {LONGEST:,} characters")
        issuer, audiences = _for_whom(token)
        spoken = [p for p in self.providers() if p.audience and p.issuer == issuer]
        if not spoken:
            raise Unauthenticated("this token is of no provider that is known here", remedy="an owner names those in oidc.toml")
        provider = next((p for p in spoken if p.audience in audiences), spoken[0])
        claims = self._proven(provider, token, provider.audience)
        if claims["iat"] + provider.hours * 3600 <= time.time():
            raise Unauthenticated(f"this token is older than {provider.hours} hours", remedy=f"ask {provider.name} for another")
        return provider, claims

    def _by_which_people_come(self, name: str) -> Provider:
        for provider in self.providers():
            if provider.name == name and provider.client_id:
                return provider
        raise Unauthenticated("nobody logs in by that name here", remedy="use a key")

    def _whole(self, provider: Provider, claims: dict[str, Any], access_token: str) -> dict[str, Any]:
        """With what a provider tells only beside the token, where a rule looks at it. The token counts for more."""
        wanted = (*provider.looked_at(), "email", "name")
        if all(claim(claims, name) is not None for name in wanted):
            return claims
        more = self.wire().userinfo(provider, access_token)
        if more and more.get("sub") != claims["sub"]:
            raise Unauthenticated(f"{provider.name} told of somebody else", remedy=AGAIN)
        return more | claims

    def _proven(self, provider: Provider, token: str, audience: str) -> dict[str, Any]:
        """A token's claims, once its signature and everything it must say are right. Raises `Unauthenticated`, `Unavailable`."""
        wire = self.wire()
        import jwt  # loaded with the wire

        from windlass.govern.openid_wire import ALGORITHMS

        if len(token) > LONGEST:
            raise Unauthenticated(f"this token is longer than {LONGEST:,} characters")
        who = f"this token of {provider.name}"
        try:
            head = jwt.get_unverified_header(token)
            if head.get("alg") not in ALGORITHMS:
                raise Unauthenticated(f"{who} is not signed as it must be", remedy=f"sign by {', '.join(ALGORITHMS)}")
            claims: dict[str, Any] = jwt.decode(
                token, wire.key(provider, head.get("kid")), ALGORITHMS, audience=audience, issuer=provider.issuer, leeway=LEEWAY,
                options={"require": ["iss", "aud", "exp", "iat", "sub"]},
            )  # fmt: skip
        except jwt.ExpiredSignatureError:
            raise Unauthenticated(f"{who} has expired") from None
        except jwt.ImmatureSignatureError:
            raise Unauthenticated(f"{who} is not valid yet", remedy="do the clocks agree?") from None
        except jwt.InvalidAudienceError:
            raise Unauthenticated(f"{who} was made for somebody else, not for {audience}") from None
        except jwt.InvalidIssuerError:
            raise Unauthenticated(f"{who} is of another issuer") from None
        except jwt.MissingRequiredClaimError as e:
            raise Unauthenticated(f"{who} does not say its {e.claim}") from None
        except jwt.exceptions.InvalidSubjectError:
            raise Unauthenticated(f"{who} does not say whose it is") from None
        except (jwt.PyJWTError, ValueError):
            raise Unauthenticated(f"{who} is not genuine") from None
        _whose(claims, who)
        return claims


def looks_like_token(secret: str) -> bool:
    """Whether a secret is a JSON Web Token by its form: three parts, of which the first begins with a brace."""
    return secret.startswith("eyJ") and secret.count(".") == 2


def _whose(claims: Mapping[str, Any], who: str) -> None:
    """Raises `Unauthenticated` for a token whose subject is none, or whose times are no numbers."""
    sub = claims["sub"]
    if not (isinstance(sub, str) and 0 < len(sub) <= 255 and sub.isprintable() and sub.strip()):
        raise Unauthenticated(f"{who} does not say whose it is")
    if not all(isinstance(claims[name], int | float) for name in ("exp", "iat")):
        raise Unauthenticated(f"{who} is not genuine")


def _for_whom(token: str) -> tuple[str, tuple[str, ...]]:
    """Issuer and audiences that a token says, of which nothing is proven: only to know whose keys to hold it against."""
    try:
        body = token.split(".")[1]
        said = msgspec.json.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        audiences = said["aud"] if isinstance(said["aud"], list) else [said["aud"]]
        return str(said["iss"]), tuple(map(str, audiences))
    except (IndexError, KeyError, TypeError, ValueError, msgspec.DecodeError):
        raise Unauthenticated("this is no token that says for whom it is") from None


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:200]).strip()
