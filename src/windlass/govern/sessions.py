"""Browser sessions and the one-time links that open them: files in `run/`, named by the hash of a secret.

A link is spent by removing its file, so of several processes one wins. Knows no keys: a session says on whose behalf it
was opened, and `actors` decides whether that still holds. Light, since the supervisor makes links without the stores.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

import msgspec

from windlass.core.ids import now_ns

LINK_SECONDS = 24 * 3600
SESSION_SECONDS = 30 * 24 * 3600


class Session(msgspec.Struct, frozen=True, omit_defaults=True):
    """`key` is the id of the key that opened it, or of the person whom a provider vouched for; None for the owner. `secret` marks which of
    the owner's secrets did; None for a link."""

    expires_ns: int
    key: str | None = None
    secret: str | None = None
    began_ns: int = 0


def cookie_name(address: str | None) -> str:
    """The session cookie's name. Browsers share cookies between the ports of a host, so the port is in it."""
    port = (address or "").rpartition(":")[2]
    return f"windlass_{port}" if port.isdigit() else "windlass"


class Sessions:
    """Links and sessions of one data folder; `run` is its folder of that name."""

    def __init__(self, run: Path) -> None:
        self._links = run / "links"
        self._sessions = run / "sessions"
        for folder in (self._links, self._sessions):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def make_link(self) -> str:
        """A secret that opens one owner's session, once, within a day. Links made before it and never used are void."""
        for old in _kept(self._links):
            old.unlink(missing_ok=True)
        return _keep(self._links, Session(now_ns() + LINK_SECONDS * 10**9))

    def spend(self, link: str) -> bool:
        """Whether this link was good; it never is again."""
        path = self._links / _name(link)
        found = _read(path)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        return found is not None

    def open(self, key: str | None = None, secret: str | None = None, seconds: int = SESSION_SECONDS) -> str:
        """A new session's secret, for a cookie. Sessions that have ended are cleared away."""
        for path in _kept(self._sessions):
            if _read(path) is None:
                path.unlink(missing_ok=True)
        now = now_ns()
        return _keep(self._sessions, Session(now + seconds * 10**9, key, secret, now))

    def by_key(self) -> dict[str, list[Session]]:
        """Sessions that have not ended, by the key or person they are of; the newest first."""
        found: dict[str, list[Session]] = {}
        for session in filter(None, map(_read, _kept(self._sessions))):
            if session.key is not None:
                found.setdefault(session.key, []).append(session)
        return {key: sorted(opened, key=lambda s: -s.began_ns) for key, opened in found.items()}

    def close_of(self, key: str) -> None:
        """End every session of a key or a person."""
        for path in _kept(self._sessions):
            if (session := _read(path)) is not None and session.key == key:
                path.unlink(missing_ok=True)

    def find(self, secret: str) -> Session | None:
        """The session of a cookie; None when there is none or it has ended."""
        return _read(self._sessions / _name(secret))

    def close(self, secret: str) -> None:
        (self._sessions / _name(secret)).unlink(missing_ok=True)


def _name(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _kept(folder: Path) -> list[Path]:
    """What is whole there; another process may be about to add one."""
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def _keep(folder: Path, session: Session) -> str:
    secret = secrets.token_urlsafe(32)
    path = folder / _name(secret)
    partial = folder / f".{path.name}"
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(msgspec.json.encode(session))
    partial.replace(path)
    return secret


def _read(path: Path) -> Session | None:
    try:
        session = msgspec.json.decode(path.read_bytes(), type=Session)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return session if session.expires_ns > now_ns() else None
