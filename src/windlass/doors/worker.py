"""One process that serves requests: Granian on a listening socket that the supervisor holds, with a `Platform` of its own.

The socket is shared by all workers and outlives them, so while one is started again its callers wait instead of failing. So is the one
for gRPC.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import resource
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from socket import socket as listening_socket
from typing import Any

import uvloop
from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from windlass.doors.app import Application
from windlass.doors.loopback import is_loopback
from windlass.doors.otlp.port import Port
from windlass.platform import Platform
from windlass.settings import load_settings
from windlass.store.home import Home

BACKLOG = 1024
AT_ONCE = 4096  # requests under way; further ones wait. Most of them are streams, which wait themselves
DRAIN_SECONDS = 1.5  # how long requests under way may take to end after the server was told to
TELL_SECONDS = 1.0  # how long those that did not may take to be told so
GARBAGE = 10_000  # objects that came and did not go, between collections of the young
THREADS = 16  # of synchronous services


class Listening(Server):
    """Granian's embedded server on a socket that listens already."""

    def __init__(self, app: Any, socket: int, **options: Any) -> None:
        super().__init__(app, **options)
        self._inherited = socket

    def _init_shared_socket(self) -> None:
        self._shd: Any = SocketHolder(self._inherited, False, BACKLOG)  # type: ignore[call-arg]
        self._ssp = None


async def serve(home: Path, socket: int, host: str, address: str, name: str, grpc: int | None) -> None:
    """Serve until SIGTERM, then drain. Raises what opening the platform raises."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, "windlass"))
    # the key is taken out of the environment, so that nothing started from here inherits it
    owner_key = os.environ.pop("WINDLASS_OWNER_KEY", None)
    platform = Platform(Home(home), load_settings(home), address=address, owner_key=owner_key, name=name, commands=is_loopback(host))
    platform.standby.watch()
    application = Application(platform, host)
    server = Listening(
        application, socket, interface=Interfaces.ASGINL, http=HTTPModes.http1, log_enabled=False, websockets=False,
        backlog=BACKLOG, backpressure=AT_ONCE, http1_settings=HTTP1Settings(header_read_timeout=15_000),
    )  # fmt: skip
    port = Port(application.intake, listening_socket(fileno=grpc), home / "run" / f"{name}.sock") if grpc is not None else None
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if port:
        await port.open()
    _spare_the_collector()
    serving = asyncio.create_task(server.serve())
    ending = asyncio.create_task(stopped.wait())
    await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
    server.stop()  # type: ignore[no-untyped-call]
    await asyncio.gather(asyncio.wait({serving}, timeout=DRAIN_SECONDS), *([port.close(DRAIN_SECONDS)] if port else []))
    application.stop()
    await asyncio.wait({serving}, timeout=TELL_SECONDS)
    await platform.close()
    if serving.done():
        serving.result()  # what it failed with, where it did


def _spare_the_collector() -> None:
    """What start-up made lives as long as the process: a collection that walks it stops every request for some 50 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE, 10, 10)


def _allow_many_streams() -> None:
    """As many open files as this user may have: a stream is two, and systems often give 1,024 to who does not ask."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if most == resource.RLIM_INFINITY else most
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def main() -> None:
    parser = argparse.ArgumentParser(prog="windlass.doors.worker", description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--grpc", type=int)
    given = parser.parse_args()
    _allow_many_streams()
    uvloop.run(serve(given.home, given.socket, given.host, given.address, given.name, given.grpc))
    os._exit(0)  # connections that outlived the drain are cut; everything of ours is closed


if __name__ == "__main__":
    main()
