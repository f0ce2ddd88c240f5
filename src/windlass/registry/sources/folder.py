"""A folder of this machine: every file is a row with its path as key, its digest and, where it is text, the text.

Links are not followed, wherever they lead: what they point to is not in the folder. What is no file (a pipe, a device) is left out too.
The data folder is never read: it holds the token and the signing key.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from windlass.core.errors import Forbidden, Invalid, Unavailable
from windlass.core.ids import now_ns
from windlass.core.operations.pins import PinAdd
from windlass.core.pin import Column, Engine, Snapshot, Spec
from windlass.registry.sources.source import Gone, Incoming, wants_no_query

MOST_TEXT = 4_000_000  # bytes of a file whose text is kept
COLUMNS = (Column("key", "text", False), Column("sha256", "text", False), Column("bytes", "number", False), Column("text", "text", True))


class Folder:
    """`Source` of folders."""

    engine: ClassVar[Engine] = "folder"
    repeatable: ClassVar[bool] = False

    def __init__(self, home: Path, roots: tuple[Path, ...]) -> None:
        self._home = home
        self._roots = roots

    def parse(self, address: str, asked: PinAdd, name: str) -> Spec:
        wants_no_query(asked)
        if asked.key != ("key",):
            raise Invalid("the key of a file is its path", where=asked.name, remedy="leave out --key")
        parts = urlsplit(address) if address.lower().startswith("file:") else None
        if parts and parts.netloc not in ("", "localhost"):
            raise Invalid(f"{parts.netloc} is another machine", where="--from", remedy="write file:///path")
        path = Path(unquote(parts.path) if parts else address).expanduser()
        if not path.is_absolute():
            raise Invalid("the server does not know what this path starts from", where=str(path), remedy="give the whole path")
        return Spec("folder", path.resolve().as_uri(), source=name)

    @contextmanager
    def read(self, spec: Spec, at: Snapshot | None) -> Iterator[Incoming]:
        root = Path(unquote(urlsplit(spec.endpoint).path))
        self._check(root)
        incoming = Incoming(iter(()), Snapshot(now_ns()), f"uid {os.getuid()}")
        incoming.columns = COLUMNS
        incoming.rows = _rows(root, incoming.problems)
        yield incoming

    def _check(self, root: Path) -> None:
        """Raises `Forbidden`, `Gone`, `Invalid`. A path that has become a link since it was recorded counts as where it leads."""
        real, home = root.resolve(), self._home.resolve()
        if real == home or home in real.parents or real in home.parents:
            raise Forbidden("this is the data folder of Windlass, or holds it", where=str(root), remedy="pin a folder beside it")
        allowed = [r.resolve() for r in self._roots]
        if allowed and not any(real == r or r in real.parents for r in allowed):
            raise Forbidden("pins may not read this folder", where=str(root), remedy="the setting pin_folders says which they may")
        try:
            if not root.exists():
                raise Gone("there is no such folder", where=str(root))
            if not root.is_dir():
                raise Invalid("this is a file, not a folder", where=str(root), remedy="pin the folder it lies in")
            os.scandir(root).close()
        except PermissionError:
            raise Unavailable("the server may not read this folder", where=str(root), remedy="let its user read it") from None


def _rows(root: Path, problems: list[str]) -> Iterator[dict[str, Any]]:
    """Every file below, in the order of names, so that problems come in the same order each time."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda e: e.name)
        except OSError as e:
            problems.append(f"{_name(root, folder)} cannot be read: {e.strerror}")
            continue
        for entry in entries:
            path = Path(entry.path)
            if entry.is_symlink():
                problems.append(f"{_name(root, path)} is a link, which is not followed")
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            elif row := _row(root, path, problems):
                yield row


def _row(root: Path, path: Path, problems: list[str]) -> dict[str, Any] | None:
    name = _name(root, path)
    try:
        name.encode()
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe would wait for who writes to it
    except UnicodeEncodeError:
        problems.append(f"{os.fsencode(path.name)!r} has a name that is not UTF-8")
        return None
    except OSError as e:
        problems.append(f"{name} cannot be read: {e.strerror}")
        return None
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            problems.append(f"{name} is no file")
            return None
        head = file.read(MOST_TEXT + 1)
        digest, size = hashlib.sha256(head), len(head)
        while piece := file.read(2**20):
            digest.update(piece)
            size += len(piece)
    row: dict[str, Any] = {"key": name, "sha256": digest.hexdigest(), "bytes": size}
    if size <= MOST_TEXT and b"\0" not in head:
        try:
            row["text"] = head.decode("utf-8")
        except UnicodeDecodeError:
            pass  # by its digest only
    return row


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
