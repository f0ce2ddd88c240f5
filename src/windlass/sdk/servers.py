"""Which server a client speaks to: what it is told, then `WINDLASS_URL` and `WINDLASS_KEY`, then a login, then the local data folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import msgspec

from windlass.core.errors import Unavailable


class Server(NamedTuple):
    url: str
    key: str | None


def default_home() -> Path:
    """The data folder: `WINDLASS_HOME`, or `~/.local/share/windlass`."""
    named = os.environ.get("WINDLASS_HOME")
    return Path(named).expanduser() if named else Path.home() / ".local" / "share" / "windlass"


def login_file() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "windlass" / "login.toml"


def save_login(url: str, key: str) -> Path:
    """Remember a server and its key, in a file only the user can read."""
    path = login_file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(f"url = {msgspec.json.encode(url).decode()}\nkey = {msgspec.json.encode(key).decode()}\n")
    path.chmod(0o600)
    return path


def local_server(home: Path) -> Server | None:
    """The server that holds a data folder on this machine, with its owner's token; None when none does."""
    try:
        data = (home / "lock").read_bytes()
        token = (home / "token").read_text().strip()
        holder = msgspec.json.decode(data)
    except (OSError, msgspec.DecodeError):
        return None
    address = holder.get("address") if isinstance(holder, dict) else None
    if not address or not _alive(holder.get("pid")):
        return None
    return Server(str(address), token)


def _alive(pid: object) -> bool:
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def find_server(url: str | None = None, key: str | None = None, home: Path | None = None) -> Server:
    """The server to speak to. Raises `Unavailable` when there is none."""
    if found := configured_server(url, key):
        return found
    if found := local_server(home or default_home()):
        return Server(found.url, key or found.key)
    raise Unavailable("no Windlass is running here", remedy="start it with `windlass up`, or set WINDLASS_URL and WINDLASS_KEY")


def configured_server(url: str | None = None, key: str | None = None) -> Server | None:
    """The server named by argument, environment or login; None when none is."""
    key = key or os.environ.get("WINDLASS_KEY")
    if url or (url := os.environ.get("WINDLASS_URL")):
        return Server(url, key)
    path = login_file()
    if path.exists():
        import tomllib

        table = tomllib.loads(path.read_text())
        return Server(table["url"], key or table.get("key"))
    return None
