"""What every command shares: which server it speaks to, how it prints, how it ends.

A server is found as `Client` finds it. Where none has the data folder, the command takes the folder's lock and opens the same
platform in its own process.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from windlass.core.errors import Unavailable, WindlassError
from windlass.sdk.servers import configured_server, default_home, local_server

if TYPE_CHECKING:
    from rich.console import Console

    from windlass.sdk.client import Client
    from windlass.sdk.workspace import Manifest


WIDTH = 160  # where the output is no terminal
NEVER_BROKEN = 34  # characters of a cell that stands on one line
NO_STYLE = "[none][/none]"
# controls of C0 and C1; zero-width characters and joiners, bidirectional controls, tags and what else the block of tags holds
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


class Session:
    """One command at work.

    Args:
        json: print one JSON value and nothing else.
        home: the data folder; a server elsewhere is not asked when it is given.
        project: of refs that name none; the workspace's where not given.
        debug: show tracebacks.
    """

    def __init__(self, *, json: bool = False, home: Path | None = None, project: str | None = None, debug: bool = False) -> None:
        self.json = json
        self.debug = debug
        self.error_code = 1
        self._home = home
        self._project = project
        self._ends = contextlib.ExitStack()

    @property
    def home(self) -> Path:
        return (self._home or default_home()).expanduser().absolute()

    @cached_property
    def console(self) -> Console:
        from rich.console import Console

        return Console(highlight=False, emoji=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDTH)

    @cached_property
    def project(self) -> str:
        """The project: as given, else the workspace's one stands in, else `default`."""
        if self._project:
            return self._project
        return self.manifest.project if self.manifest else "default"

    @cached_property
    def manifest(self) -> Manifest | None:
        """What the workspace one stands in says of itself; None where there is none."""
        folder = workspace_here()
        if folder is None:
            return None
        from windlass.sdk.workspace import Folder

        try:
            return Folder(folder).manifest
        except WindlassError:  # a command that needs the workspace says what is wrong with it
            return None

    @cached_property
    def client(self) -> Client:
        """The client. Raises `Unavailable`, `Conflict` when another process has the data folder."""
        from windlass.sdk.client import Client
        from windlass.sdk.transport import HttpTransport

        server = (configured_server() if self._home is None else None) or local_server(self.home)
        if server:
            client = Client(project=self.project, transport=HttpTransport(server.url, server.key))
            self._ends.callback(client.close)
            return client
        require_server("no server runs here, and this installation is only the client")
        from windlass.doors.local import open_local

        return self._ends.enter_context(open_local(self.home, self.project))

    @property
    def address(self) -> str | None:
        """Where pages are; None without a server."""
        address = self.client.address
        return address if address.startswith("http") else None

    def link(self, path: str) -> str:
        """A page's address, or its path where no server runs."""
        return f"{self.address or ''}{path}"

    def print(self, *texts: str) -> None:
        """Lines for a person, with markup; nothing under `--json`."""
        if not self.json:
            for text in texts:
                self.console.print(text)

    def result(self, value: Any) -> None:
        """The one JSON value; nothing for a person."""
        if self.json:
            sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")
            sys.stdout.flush()

    def warn(self, sentence: str) -> None:
        print(f"windlass: {sentence}", file=sys.stderr)

    def table(self, columns: Iterable[str], rows: Iterable[Iterable[str]], *, right: frozenset[int] = frozenset()) -> None:
        """A plain table, columns apart by two spaces."""
        if self.json:
            return
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
        if not (cells := [list(row) for row in rows]):
            return
        for number, column in enumerate(columns):
            short = all(len(row[number]) <= NEVER_BROKEN for row in cells)
            table.add_column(column, justify="right" if number in right else "left", overflow="fold", no_wrap=short)
        for row in cells:
            table.add_row(*(Text(printable(cell)) for cell in row))
        self.console.print(table, soft_wrap=False)

    def close(self) -> None:
        self._ends.close()


def printable(text: str) -> str:
    """Text that cannot steer a terminal, turn its lines around or hide: what a model or a user wrote, without control characters but tabs
    and line ends, and without those that people do not see."""
    return _CONTROLS.sub("", text)


def plain(text: str) -> str:
    """Text to print as it is, though it may look like markup. Exact, which `rich.markup.escape` is not where backslashes are."""
    text = printable(text)
    body = text.rstrip("\\")
    slashes = len(text) - len(body)
    # an empty tag after a bracket keeps it from beginning one; after backslashes, which a tag halves, there is one to halve them
    return body.replace("[", rf"\[{NO_STYLE}") + ("\\" * 2 * slashes + NO_STYLE if slashes else "")


def require_server(what: str) -> None:
    """Raises `Unavailable` where Windlass is installed without its server."""
    if any(importlib.util.find_spec(name) is None for name in ("granian", "starlette", "sqlalchemy", "duckdb", "dbos")):
        remedy = 'pip install "windlass[server]", or name a server: windlass login URL, or WINDLASS_URL and WINDLASS_KEY'
        raise Unavailable(what, remedy=remedy)


def workspace_here(start: Path | None = None) -> Path | None:
    """The workspace the current folder lies in."""
    here = (start or Path.cwd()).resolve()
    return next((p for p in (here, *here.parents) if (p / "windlass.toml").is_file()), None)


Command = Callable[..., int | None]
