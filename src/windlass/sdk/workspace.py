"""A workspace: a folder with `windlass.toml`. Finds it, reads it, lists its files, reads its data and prompts.

project = "default"            name = "helpdesk"            app = "app.py"  (or a list)
description = "…"              branch = "main"              on_inconclusive = "ask" | "fail"
[releases]                     answer = "chain/answer"      (besides every suite's target)
secrets = ["NAME", …]          names only, never values
[mcp.shop]                     command = ["python", "shop.py"] | url = "https://…"   (a server whose tools `w.mcp("shop", …)` names)
                               secrets = ["NAME"]          bearer = "NAME"           read = ["look"]: tools that only read
"""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from pathspec import GitIgnoreSpec

from windlass.core.artifacts import McpServer
from windlass.core.errors import Invalid, NotFound
from windlass.core.ref import check_name

FILE = "windlass.toml"
NEVER = {".git", ".venv", "venv", "__pycache__", "node_modules", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".windlass"}
SNAPSHOT = {".py", ".md", ".prompty", ".json", ".toml", ".txt", ".yaml", ".yml"}


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`windlass.toml`."""

    name: str
    project: str = "default"
    description: str = ""
    app: str | list[str] = "app.py"
    branch: str = "main"
    on_inconclusive: Literal["ask", "fail"] = "ask"
    releases: dict[str, str] = {}
    secrets: list[str] = []
    mcp: dict[str, McpServer] = {}

    @property
    def apps(self) -> list[str]:
        return [self.app] if isinstance(self.app, str) else self.app


class Folder:
    """A workspace on disk. Raises `Invalid` with file and line for a manifest that is wrong."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.manifest = self._read()

    def _read(self) -> Manifest:
        path = self.root / FILE
        try:
            table = tomllib.loads(path.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
            raise Invalid(f"not TOML: {e}", where=FILE) from e
        if unknown := sorted(set(table) - set(Manifest.__struct_fields__)):
            near = difflib.get_close_matches(unknown[0], Manifest.__struct_fields__, 1)
            raise Invalid(
                f"{unknown[0]!r} is not a field",
                where=FILE,
                remedy=f"did you mean {near[0]!r}?" if near else "fields: " + ", ".join(Manifest.__struct_fields__),
            )
        try:
            manifest = msgspec.convert(table, Manifest)
        except msgspec.ValidationError as e:
            raise Invalid(str(e), where=FILE) from e
        check_name(manifest.name)
        check_name(manifest.project, what="project")
        for name, server in manifest.mcp.items():
            _check_server(name, server)
        for app in manifest.apps:
            if not (self.root / app).is_file():
                raise Invalid(f"app {app!r} is not there", where=FILE, remedy="name the file that makes your components and chains")
        return manifest

    def files(self, read: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
        """Files a snapshot holds, by workspace path: code, prompts, schemas and other small text; of data and all else only what code
        reads (`read`, by path, with who reads it); nothing that git ignores. Raises `Invalid` where code reads what git ignores."""
        ignored: dict[Path, GitIgnoreSpec] = {}  # by the folder whose .gitignore says so
        for folder, folders, names in os.walk(self.root):
            here = Path(folder)
            folders[:] = sorted(set(folders) - NEVER)
            if ".gitignore" in names:
                lines = (here / ".gitignore").read_text("utf-8", "replace").splitlines()
                ignored[here.relative_to(self.root)] = GitIgnoreSpec.from_lines(lines)
            for path in (here / n for n in sorted(names)):
                relative = path.relative_to(self.root)
                reader = read.get(relative.as_posix())
                wanted = reader or (path.suffix in SNAPSHOT and relative.parts[0] != "data")
                if not wanted or not path.is_file() or path.is_symlink():
                    continue
                said = next((f for f in relative.parents if f in ignored and ignored[f].match_file(relative.relative_to(f))), None)
                if said is None:
                    yield relative.as_posix(), path
                elif reader:
                    raise Invalid(
                        f"{reader} reads {relative}, which .gitignore leaves out: it would not be there where the code runs",
                        where=(said / ".gitignore").as_posix(), remedy="except it there, or give its path by a setting and not in code",
                    )  # fmt: skip

    def read_text(self, path: str, where: str) -> str:
        """A text file of the workspace. Raises `Invalid` where it is missing, outside, or not UTF-8 (with the byte's place)."""
        full = (self.root / path).resolve()
        if not full.is_relative_to(self.root):
            raise Invalid(f"{path!r} lies outside the workspace", where=where)
        try:
            return full.read_bytes().decode("utf-8")
        except FileNotFoundError:
            raise Invalid(f"there is no file {path!r}", where=where, remedy=_near(self.root, path)) from None
        except UnicodeDecodeError as e:
            line = e.object[: e.start].count(b"\n") + 1
            raise Invalid(
                f"byte 0x{e.object[e.start]:02x} at offset {e.start} is not UTF-8", where=f"{path}:{line}", remedy="save the file as UTF-8"
            ) from e

    def source(self) -> dict[str, Any]:
        """The git commit of the folder and whether it differs, where it is in git."""
        try:
            run = subprocess.run(["git", "-C", str(self.root), "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
            status = subprocess.run(
                ["git", "-C", str(self.root), "status", "--porcelain", "."], capture_output=True, text=True, check=True, timeout=10
            )
        except (OSError, subprocess.SubprocessError):
            return {}
        return {"commit": run.stdout.strip(), "dirty": bool(status.stdout.strip())}


def _check_server(name: str, server: McpServer) -> None:
    where = f"{FILE}: [mcp.{name}]"
    if not re.fullmatch(r"[a-z][a-z0-9]{0,29}", name):
        raise Invalid(f"{name!r} cannot be the name of a server", where=where, remedy="use lower-case letters and digits")
    if bool(server.command) == bool(server.url):
        raise Invalid("a server has a command or a url", where=where, remedy='write command = ["python", "shop.py"], or url = "https://…"')
    if server.url and not re.match(r"https://|http://(127\.0\.0\.1|localhost|\[::1\])[:/]", server.url):
        raise Invalid("the address of a server is https, or on this machine", where=where)
    if server.url and server.secrets:
        raise Invalid("an address is given no environment", where=where, remedy='name the key it is shown: bearer = "NAME"')
    if server.command and server.bearer:
        raise Invalid("a command is shown no key", where=where, remedy='name what is in its environment: secrets = ["NAME"]')


def _near(root: Path, path: str) -> str | None:
    near = difflib.get_close_matches(path, [p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()][:5000], 1)
    return f"did you mean {near[0]!r}?" if near else None


def find_workspace(start: Path) -> Folder:
    """The workspace that `start` lies in. Raises `NotFound` with the way to make one."""
    for folder in [start.resolve(), *start.resolve().parents]:
        if (folder / FILE).is_file():
            return Folder(folder)
    raise NotFound("there is no windlass.toml here or above", where=str(start), remedy="make a workspace with `windlass init`")
