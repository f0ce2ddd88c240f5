"""The socket that a server listens on: made once by the supervisor, shared by its workers, outliving each of them."""

from __future__ import annotations

import errno
import socket
from typing import NamedTuple

from windlass.core.errors import Conflict, Invalid, WindlassError

BACKLOG = 1024


class Listener(NamedTuple):
    """The socket that the workers share; `address` is for people, `local` for whoever is on this machine."""

    socket: socket.socket
    address: str
    local: str


def listen(host: str, port: int) -> Listener:
    """Listen. Raises `Conflict` when the port is taken, `Invalid` when there is no such address here."""
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # connections inherit it: without, each piece of a stream waits for the client's delayed acknowledgement, some 40 ms
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.bind(where)
    except OSError as e:
        if e.errno == errno.EADDRINUSE:
            raise Conflict(
                f"port {port} is in use",
                where=f"{host}:{port}",
                remedy=f"stop what uses it, or choose another: `windlass up --port {port + 1}`, `make up PORT={port + 1}`",
            ) from e
        raise Invalid(f"cannot listen here: {e.strerror or e}", where=f"{host}:{port}", remedy="choose another --host or --port") from e
    listening.listen(BACKLOG)
    port = listening.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
    return Listener(listening, f"http://{shown}:{port}", f"http://{everywhere.get(host, shown)}:{port}")


def listen_for_grpc(host: str, port: int | str) -> tuple[Listener | None, str]:
    """The socket for OTLP by gRPC, or why there is none: a server that takes it by HTTP alone is still one."""
    if isinstance(port, str):
        return None, ""
    try:
        return listen(host, port), ""
    except WindlassError as e:
        return None, f"not served, since {e.message}; set WINDLASS_GRPC_PORT to another, to 0 for any that is free, or to off"
