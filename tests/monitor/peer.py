"""Receivers of webhooks: a bare socket in a thread, which does with each request what a test says, well-behaved or not."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import NamedTuple


class Asked(NamedTuple):
    line: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[socket.socket], None]


def says(status: int, body: bytes = b"", **headers: str) -> Answer:
    """An ordinary answer."""
    head = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items())

    def answer(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 {status} X\r\n{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)

    return answer


class Peer:
    """`answers` are given one after the other, the last for ever."""

    def __init__(self, *answers: Answer, host: str = "127.0.0.1") -> None:
        self.answers = list(answers) or [says(200)]
        self.asked: list[Asked] = []
        self.ended = threading.Event()
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://{host}:{self.port}/hook"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, ValueError):
            file = connection.makefile("rb")
            line = file.readline().decode().strip()
            headers = {}
            while text := file.readline().decode().strip():
                name, _, value = text.partition(":")
                headers[name.lower()] = value.strip()
            self.asked.append(Asked(line, headers, file.read(int(headers.get("content-length", 0)))))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            answer(connection)

    def close(self) -> None:
        self.ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
