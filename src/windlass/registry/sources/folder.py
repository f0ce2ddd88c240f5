"""A folder of this machine: every file is a row with its path as key, its digest and, where it is text, the text.

Links are not followed, wherever they lead: what they point to is not in the folder. What is no file (a pipe, a device) is left out too.
The data folder is never read: it holds the token and the signing key.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from windlass.core.errors import Forbidden, Invalid, Unavailable
from windlass.core.ids import now_ns
from windlass.core.operations.pins import PinAdd
from windlass.core.pin import Column, Engine, Snapshot, Spec
from windlass.registry.sources.source import Gone, Incoming, wants_no_query

MOST_TEXT = 4_000_000  # bytes of a file whose text is kept
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe would wait for who writes to it
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
        if parts and (parts.query or parts.fragment):
            raise Invalid("? and # end the path of an address", where="--from", remedy="write %3F and %23, or the path alone")
        try:
            path = Path(unquote(parts.path, errors="strict") if parts else address).expanduser()
            endpoint = path.resolve().as_uri() if path.is_absolute() else ""
        except (RuntimeError, ValueError) as e:  # nobody's home, a NUL, bytes that are not UTF-8
            raise Invalid(f"this is no path: {e}", where="--from", remedy="give the whole path of a folder") from None
        if not endpoint:
            raise Invalid("the server does not know what this path starts from", where=str(path), remedy="give the whole path")
        return Spec("folder", endpoint, source=name)

    @contextmanager
    def read(self, spec: Spec, at: Snapshot | None) -> Iterator[Incoming]:
        root = Path(unquote(urlsplit(spec.endpoint).path))
        real = self._check(root)
        try:
            top = os.open(real, FOLDER)
        except PermissionError:
            raise Unavailable("the server may not read this folder", where=str(root), remedy="let its user read it") from None
        except OSError as e:
            raise Gone(f"there is no such folder any more: {e.strerror}", where=str(root)) from None
        try:
            incoming = Incoming(iter(()), Snapshot(now_ns()), f"uid {os.getuid()}")
            incoming.columns = COLUMNS
            incoming.rows = _rows(top, incoming.problems)
            yield incoming
        finally:
            os.close(top)

    def _check(self, root: Path) -> Path:
        """Where the path leads: one that has become a link since it was recorded counts as that. Raises `Forbidden`, `Gone`, `Invalid`."""
        try:
            real, home = root.resolve(), self._home.resolve()
        except (RuntimeError, OSError):  # a link that leads to itself
            raise Gone("there is no such folder", where=str(root)) from None
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
        except PermissionError:
            raise Unavailable("the server may not read this folder", where=str(root), remedy="let its user read it") from None
        return real


def _rows(top: int, problems: list[str]) -> Iterator[dict[str, Any]]:
    """Every file below an open folder, in the order of names, so that problems come in the same order each time."""
    waiting = [PurePosixPath()]
    while waiting:
        path = waiting.pop()
        try:
            folder = _opened(top, path)
        except OSError as e:
            problems.append(f"{_said(path)} cannot be read: {_why(e)}")
            continue
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda e: e.name)
            for entry in entries:
                below = path / entry.name
                if entry.is_symlink():
                    problems.append(f"{_said(below)} is a link, which is not followed")
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(below)
                elif row := _row(folder, below, problems):
                    yield row
        except OSError as e:
            problems.append(f"{_said(path)} cannot be read: {_why(e)}")
        finally:
            os.close(folder)


def _opened(top: int, path: PurePosixPath) -> int:
    """A folder below another, opened step by step: between a look at it and its opening it may have become a link to anywhere."""
    folder = os.open(".", FOLDER, dir_fd=top)
    for part in path.parts:
        try:
            below = os.open(part, FOLDER, dir_fd=folder)
        finally:
            os.close(folder)
        folder = below
    return folder


def _row(folder: int, path: PurePosixPath, problems: list[str]) -> dict[str, Any] | None:
    """The row of a file, `path` being its place below the whole; None, and a problem, where there is none."""
    if (name := _said(path)) != str(path):
        problems.append(f"{name} has a name that is not UTF-8")
        return None
    try:
        handle = os.open(path.name, FILE, dir_fd=folder)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                problems.append(f"{name} is no file")
                return None
            head = file.read(MOST_TEXT + 1)
            digest, size = hashlib.sha256(head), len(head)
            while piece := file.read(2**20):
                digest.update(piece)
                size += len(piece)
    except OSError as e:
        problems.append(f"{name} cannot be read: {_why(e)}")
        return None
    row: dict[str, Any] = {"key": name, "sha256": digest.hexdigest(), "bytes": size}
    if size <= MOST_TEXT and b"\0" not in head:
        try:
            row["text"] = head.decode("utf-8")
        except UnicodeDecodeError:
            pass  # by its digest only
    return row


def _why(e: OSError) -> str:
    return "it became a link" if e.errno == errno.ELOOP else str(e.strerror)


def _said(path: PurePosixPath) -> str:
    """The path as text, which a name that is not UTF-8 is not."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return repr(os.fsencode(path))
    return str(path)
