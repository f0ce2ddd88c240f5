"""A small server that answers as it is told: what a real server was seen to answer, byte by byte, or a function. And a proxy that sees."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

import httpx2


class Asked(NamedTuple):
    verb: str
    path: str
    query: tuple[tuple[str, str], ...]
    body: str
    headers: dict[str, str]

    @property
    def key(self) -> str:
        """What makes it the same question: the order of what is in the address does not."""
        body = json.dumps(json.loads(self.body), sort_keys=True) if self.body else ""
        return json.dumps([self.verb, self.path, sorted(self.query), body])


class Told(NamedTuple):
    status: int
    kind: str
    body: bytes
    more: tuple[tuple[str, str], ...] = ()


Answer = Callable[[Asked], Told]


def told(value: object, status: int = 200, **more: str) -> Told:
    return Told(status, "application/json", json.dumps(value).encode(), tuple((k.replace("_", "-"), v) for k, v in more.items()))


@contextmanager
def served(answer: Answer) -> Iterator[str]:
    """Its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            headers = {k.lower(): v for k, v in self.headers.items()}
            said = answer(Asked(self.command, parts.path, tuple(parse_qsl(parts.query, keep_blank_values=True)), body, headers))
            self.send_response(said.status)
            for name, value in (("content-type", said.kind), ("content-length", str(len(said.body))), *said.more):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said.body)

        do_GET = do_POST = _do

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def replaying(file: Path) -> Answer:
    """What was seen; a question that was not asked then is told apart from one that the server had nothing for."""
    seen = {}
    for line in file.read_text().splitlines():
        entry = json.loads(line)
        seen[entry["asked"]] = Told(entry["status"], entry["kind"], _bytes(entry))

    def answer(asked: Asked) -> Told:
        return seen.get(asked.key) or Told(501, "text/plain", f"not asked when it was recorded: {asked.key}".encode())

    return answer


def _bytes(entry: dict[str, str]) -> bytes:
    return entry["text"].encode() if "text" in entry else base64.b64decode(entry["bytes"])


@contextmanager
def seen(upstream: str, file: Path) -> Iterator[str]:
    """A proxy before a real server. What it answered first to each question is written to the file in the end."""
    entries: dict[str, dict[str, object]] = {}
    client = httpx2.Client(timeout=60)

    def answer(asked: Asked) -> Told:
        kind = {"content-type": asked.headers["content-type"]} if "content-type" in asked.headers else {}
        got = client.request(asked.verb, upstream + asked.path, params=list(asked.query), content=asked.body.encode(), headers=kind)
        said = Told(got.status_code, got.headers.get("content-type", ""), got.content)
        try:
            body: dict[str, object] = {"text": said.body.decode()}
        except UnicodeDecodeError:
            body = {"bytes": base64.b64encode(said.body).decode()}
        entries.setdefault(asked.key, {"asked": asked.key, "status": said.status, "kind": said.kind, **body})
        return said

    try:
        with served(answer) as address:
            yield address
    finally:
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join(json.dumps(e) + "\n" for e in entries.values()))
