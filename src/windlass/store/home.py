"""The data folder: its layout, its format number, its lock and its token.

    FORMAT  lock  token  windlass.db  audit.anchors  blobs/  journal/  spans/  indexes/  run/  logs/

One server holds the lock; the file says where it answers, so that a command can find it.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from pathlib import Path

import msgspec

from windlass.core.errors import Conflict, Invalid, Unavailable

FORMAT = 1
FOLDERS = ("blobs", "journal", "spans", "indexes", "run", "logs")
WRITTEN = ("settings.toml", "providers.toml", "prices.toml", "policy.toml", "sources.toml", "masking.toml")
LOOK_SECONDS = 0.5  # how long somebody who only looks at the lock may keep it from us
PARTS_SECONDS = 10.0  # how long the parts of a server that was killed may take to end by themselves


class Holder(msgspec.Struct):
    """Who holds the lock. `address` is None for a command that works in its own process."""

    pid: int
    address: str | None = None


class Home:
    """A data folder, made where there is none.

    Raises `Invalid` for a folder that is something else or of a newer format, `Unavailable` when it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        try:
            self._make()
        except OSError as e:
            raise Unavailable(
                f"the data folder cannot be used: {e.strerror}", where=str(self.path), remedy="name another with --home"
            ) from e
        self._lock: int | None = None
        self.parts: int | None = None

    def _make(self) -> None:
        marker = self.path / "FORMAT"
        if not marker.exists():
            foreign = self.path.exists() and any(not _ours(p.name) for p in self.path.iterdir())
            if foreign and not marker.exists():  # else somebody made it meanwhile: the marker comes first
                raise Invalid(
                    "this folder is not empty and not a Windlass data folder", where=str(self.path), remedy="name another with --home"
                )
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path.chmod(0o700)  # also a folder that was there, empty
            partial = self.path / f"FORMAT.{secrets.token_hex(4)}"
            partial.write_text(f"{FORMAT}\n")
            partial.replace(marker)
        text = marker.read_text(errors="replace").strip()
        if not re.fullmatch("[0-9]{1,9}", text):
            raise Invalid("the format of this data folder cannot be read", where=str(marker), remedy="restore it from a backup")
        if int(text) > FORMAT:
            raise Invalid(
                f"this data folder is of format {text}, newer than this Windlass ({FORMAT})",
                where=str(self.path),
                remedy="upgrade Windlass",
            )
        for folder in FOLDERS:
            (self.path / folder).mkdir(exist_ok=True, mode=0o700)

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.path / 'windlass.db'}"

    @property
    def jobs_url(self) -> str:
        """The database of work under way, apart from the tables: it is rewritten a lot and need not be kept."""
        return f"sqlite:///{self.path / 'jobs.db'}"

    @property
    def socket(self) -> Path:
        """Where the projector answers."""
        return self.path / "run" / "projector.sock"

    def token(self) -> str:
        """The owner's token on this machine: made once, in a file only the user can read."""
        return self._secret("token", "wlo_" + secrets.token_urlsafe(32))

    def signing_key(self) -> bytes:
        """What run tokens and session cookies are signed with; never leaves the folder."""
        return bytes.fromhex(self._secret("run/secret", secrets.token_hex(32)))

    def _secret(self, name: str, fresh: str) -> str:
        """What a file holds; made with `fresh` where there is none. It appears whole or not at all, and the first wins."""
        path = self.path / name
        if not path.exists():
            partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(fresh + "\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(partial, path)
            except FileExistsError:
                pass
            finally:
                partial.unlink()
        text = path.read_text().strip()
        if not text:
            raise Unavailable("a secret of this data folder is empty", where=str(path), remedy="delete the file; it is made again")
        return text

    def lock(self, address: str | None = None) -> None:
        """Take the folder for this process. Raises `Conflict` saying who has it.

        `parts` is then a descriptor for processes started to work in the folder: whoever inherits it keeps the next taker
        waiting, so that nothing of a server that was killed still writes here when another begins.
        """
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        if not _take(handle, LOOK_SECONDS):
            os.close(handle)
            holder = self.holder()
            where = f"at {holder.address}" if holder and holder.address else f"as process {holder.pid}" if holder else "elsewhere"
            raise Conflict(
                f"another Windlass has this data folder, {where}", where=str(self.path), remedy="stop it, or name another with --home"
            )
        parts = os.open(self.path / "run" / "parts.lock", os.O_RDWR | os.O_CREAT, 0o600)
        if not _take(parts, PARTS_SECONDS):
            os.close(parts)
            os.close(handle)
            raise Conflict(
                "parts of a server that was killed have not ended yet", where=str(self.path), remedy="try again, or end those processes"
            )
        self._lock, self.parts = handle, parts
        self.announce(address)

    def announce(self, address: str | None) -> None:
        """Say where the holder of the lock answers."""
        assert self._lock is not None, "take the lock first"
        data = msgspec.json.encode(Holder(os.getpid(), address))
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, data, 0)

    def unlock(self) -> None:
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None
        if self.parts is not None:
            os.close(self.parts)
            self.parts = None

    def holder(self) -> Holder | None:
        """Who holds the folder now; None when nobody does."""
        try:
            handle = os.open(self.path / "lock", os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            data = os.pread(handle, 4096, 0)
            try:
                return msgspec.json.decode(data, type=Holder)
            except msgspec.DecodeError:
                return Holder(0)
        finally:
            os.close(handle)
        return None

    def server_address(self) -> str | None:
        """Where the server of this folder answers; None when none runs."""
        holder = self.holder()
        return holder.address if holder else None


def _ours(name: str) -> bool:
    """What may lie in a folder that is about to become a data folder: what an owner writes, and a start that was cut off."""
    return name in WRITTEN or name.startswith("FORMAT.")


def _take(handle: int, seconds: float) -> bool:
    """Take a lock, waiting so long: for somebody who only looks whether it is held, or for somebody who ends."""
    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.02)
        else:
            return True
