"""Tokens that are signed and kept nowhere: `wlr_…` names a run, `wlg_…` a grant, `wll_…` a log-in under way. What one opens is not
known here.

Each kind is signed under its own name, so that none passes for the other, and is written in one way only.
"""

from __future__ import annotations

import base64
import hmac
import time
from typing import TypeVar

import msgspec

from windlass.core.errors import Unauthenticated
from windlass.govern.openid import Pending

C = TypeVar("C", bound=msgspec.Struct)
LONGEST = 4096  # characters of a token


class RunClaim(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a run token says: the run, the evaluation it belongs to, until when (UTC seconds), and whose limits its calls count against."""

    run: str
    project: str
    expires: int
    evaluation: str | None = None
    payer: str | None = None
    user: str | None = None
    release: str | None = None


class GrantClaim(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a grant token says: the grant, whose it is, and until when (UTC seconds)."""

    grant: str
    project: str
    agent: str
    expires: int


class Tokens:
    """Makes and reads tokens under one signing key."""

    def __init__(self, signing_key: bytes) -> None:
        self._key = signing_key

    def run(
        self, run: str, project: str, seconds: float, evaluation: str | None = None, *,
        payer: str | None = None, user: str | None = None, release: str | None = None,
    ) -> str:  # fmt: skip
        """A token that opens only what this run uses, for so long. Its calls count against limits of `payer`, `user` and `release`."""
        until = int(time.time() + seconds) + 1
        return self._made("wlr_", b"run token", RunClaim(run, project, until, evaluation, payer, user and user[:200], release))

    def grant(self, grant: str, project: str, agent: str, expires: int) -> str:
        """A token that opens only this grant, until then (UTC seconds)."""
        return self._made("wlg_", b"grant token", GrantClaim(grant, project, agent, expires))

    def login(self, pending: Pending) -> str:
        """What a browser keeps of a log-in by a provider until it comes back."""
        return self._made("wll_", b"log-in", pending)

    def read_login(self, token: str) -> Pending | None:
        """None for what is not genuine, or no log-in."""
        try:
            return self._read("wll_", b"log-in", token, Pending, "log-in", "") if token.startswith("wll_") else None
        except Unauthenticated:
            return None

    def read_run(self, token: str, remedy: str) -> RunClaim:
        """Raises `Unauthenticated`."""
        claim = self._read("wlr_", b"run token", token, RunClaim, "run token", remedy)
        if claim.expires < time.time():
            raise Unauthenticated("this run token has ended", remedy="a run's token ends with the run")
        return claim

    def read_grant(self, token: str) -> GrantClaim:
        """Raises `Unauthenticated`."""
        claim = self._read("wlg_", b"grant token", token, GrantClaim, "grant token", "ask whoever gave it for another")
        if claim.expires <= time.time():
            raise Unauthenticated("this grant token has expired", remedy="ask whoever gave it for another")
        return claim

    def _made(self, prefix: str, kind: bytes, claim: msgspec.Struct) -> str:
        data = msgspec.json.encode(claim)
        return f"{prefix}{_b64(data)}.{_b64(self._sign(kind, data))}"

    def _read(self, prefix: str, kind: bytes, token: str, claim: type[C], what: str, remedy: str) -> C:
        text, _, signature = token.removeprefix(prefix).partition(".")
        try:
            data = _unb64(text) if len(token) <= LONGEST else b""
            if _b64(data) != text or not hmac.compare_digest(_b64(self._sign(kind, data)).encode(), signature.encode()):
                raise ValueError("not what was signed")
            return msgspec.json.decode(data, type=claim)
        except (ValueError, msgspec.DecodeError):
            raise Unauthenticated(f"this {what} is not genuine", remedy=remedy) from None

    def _sign(self, kind: bytes, data: bytes) -> bytes:
        return hmac.digest(self._key, kind + b"\0" + data, "sha256")


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
