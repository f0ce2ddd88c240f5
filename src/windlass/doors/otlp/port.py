"""The port for gRPC, which costs nothing until somebody comes: grpcio takes 14 MB of each process that loads it.

The supervisor holds the listening socket, as it does for HTTP, so it is shared by all workers and outlives them. What comes in is handed
on, byte by byte, to a gRPC server that this process starts behind a Unix socket when the first connection comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from pathlib import Path
from typing import TYPE_CHECKING, cast

from windlass.doors.otlp.intake import Intake

if TYPE_CHECKING:
    from windlass.doors.otlp.grpc import Services

BUFFER = 256_000  # bytes that wait for one side of a connection, beyond which the other is not read
PIECE = 65_536  # bytes read at once, into the same place: bytes of another size each time would scatter the heap
_log = logging.getLogger("windlass.otlp")


class Port:
    """The doors' end of the port.

    Args:
        intake: takes what is sent.
        listening: the socket, which listens already.
        path: where this process's own gRPC server is to be.
    """

    def __init__(self, intake: Intake, listening: socket.socket, path: Path) -> None:
        self._intake = intake
        self._listening = listening
        self._path = path
        self._server: asyncio.Server | None = None
        self._services: Services | None = None
        self._starting = asyncio.Lock()

    async def open(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(lambda: _Caller(self), sock=self._listening)

    async def close(self, seconds: float) -> None:
        """Take no further connection; calls under way may end, in so many seconds."""
        if self._server:
            self._server.close()
        if self._services:
            await self._services.stop(seconds)

    async def behind(self) -> str:
        """Where the gRPC server is; it is started when it is first asked for."""
        async with self._starting:
            if self._services is None:
                from windlass.doors.otlp.grpc import Services

                self._services = await Services.start(self._intake, self._path)
        return str(self._path)


class _End(asyncio.BufferedProtocol):
    """One of the two ends of a connection; what comes in here goes out at the other. Who says no more wants to hear no more: neither side
    of gRPC closes its half alone."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _End | None = None
        self._piece = memoryview(bytearray(PIECE))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are none by their class
        self.transport.set_write_buffer_limits(BUFFER)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._piece

    def buffer_updated(self, nbytes: int) -> None:
        if self.other and self.other.transport:
            self.other.transport.write(bytes(self._piece[:nbytes]))

    def pause_writing(self) -> None:
        if self.other and self.other.transport:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other and self.other.transport:
            with contextlib.suppress(RuntimeError):  # it is closing
                self.other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if self.other and self.other.transport:
            self.other.transport.close()


class _Caller(_End):
    """The end of somebody who came."""

    def __init__(self, port: Port) -> None:
        super().__init__()
        self._port = port
        self._joining: asyncio.Task[None] | None = None
        self._early: list[bytes] = []  # what came before there was another end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport
        self.transport.pause_reading()
        self._joining = asyncio.get_running_loop().create_task(self._join(self.transport))

    def buffer_updated(self, nbytes: int) -> None:
        if self.other is None and self.transport:
            self._early.append(bytes(self._piece[:nbytes]))
            self.transport.pause_reading()  # uvloop begins to read after it was told not to
        else:
            super().buffer_updated(nbytes)

    async def _join(self, transport: asyncio.Transport) -> None:
        try:
            inner = _End()
            inner.other = self
            path = await self._port.behind()
            await asyncio.get_running_loop().create_unix_connection(lambda: inner, path)
        except Exception:
            _log.exception("gRPC cannot be served")
            transport.close()
            return
        assert inner.transport
        if transport.is_closing():  # they left meanwhile
            inner.transport.close()
            return
        inner.transport.writelines(self._early)
        self._early, self.other = [], inner
        transport.resume_reading()
