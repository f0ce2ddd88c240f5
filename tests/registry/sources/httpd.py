"""A web server in a thread, which answers each path as a test says and remembers what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Answer(NamedTuple):
    """`cut`: close the connection after so many bytes, though the head announced all of them."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = {}
    cut: int | None = None


class Asked(NamedTuple):
    path: str
    headers: Mapping[str, str]


class Httpd:
    """`pages` are answers by path; `gate`, where a test sets it, is asked first and answers instead unless it gives None."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.pages: dict[str, Answer] = {}
        self.asked: list[Asked] = []
        self.gate: Callable[[Asked], Answer | None] = lambda asked: None
        self._server = ThreadingHTTPServer((host, 0), _handler(self))
        self.host = host
        self.port = self._server.server_address[1]
        self.base = f"http://{host}:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def put(self, path: str, body: bytes = b"", status: int = 200, cut: int | None = None, **headers: str) -> str:
        """The URL of what is put there."""
        self.pages[path] = Answer(body, status, {k.replace("_", "-"): v for k, v in headers.items()}, cut)
        return self.base + path

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(site: Httpd) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(self.path, dict(self.headers))
            site.asked.append(asked)
            answer = site.gate(asked) or site.pages.get(self.path.partition("?")[0]) or Answer(b"nothing here", 404)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body if answer.cut is None else answer.body[: answer.cut])
            self.close_connection = self.close_connection or answer.cut is not None

        do_POST = do_GET

        def log_message(self, *_: object) -> None: ...

    return Handler
