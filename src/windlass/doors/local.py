"""Windlass in this process: the data folder's lock, a platform, and a client of it. For commands without a server, and for tests."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from windlass.doors.app import Application
from windlass.platform import Platform
from windlass.sdk.client import Client
from windlass.sdk.transport import InProcessTransport
from windlass.settings import load_settings
from windlass.store.home import Home


@contextlib.contextmanager
def open_local(folder: Path, project: str = "default") -> Iterator[Client]:
    """A client of a data folder that no server has. Raises `Conflict` when another process has it, `Invalid`, `Unavailable`."""
    # as the parts of a server: what a monitor's look computes is many small things, over which pools of threads wait for one another
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    home = Home(folder)
    home.lock()
    try:
        platform = Platform(home, load_settings(home.path))
        token = {"authorization": f"Bearer {home.token()}"}
        transport = InProcessTransport(Application(platform), headers=token)
        try:
            yield Client(project=project, transport=transport)
        finally:
            transport.run(platform.close())
            transport.close()
    finally:
        home.unlock()
