"""ClickHouse's own engine (chDB) behind its HTTP protocol, in a process that can be killed.

What chDB lacks of a server is the door; this is as much of it as clickhouse-connect uses. `ClickHouseServer.plan` makes it fail.
"""

from __future__ import annotations

import gzip
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.registry.sources.postgresql_server import free_port

OURS = {"query", "database", "user", "password", "client_protocol_version", "compress", "decompress", "http_headers_progress_interval_ms"}
OURS |= {"session_id", "query_id", "send_progress_in_http_headers", "wait_end_of_query", "enable_http_compression", "default_format"}
PASSWORD = "s3cret-of-clickhouse"


class ClickHouseServer:
    """Started with `start`, killed with `kill`; what it acknowledged is there again after that."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.clickhouse_server", str(self._folder), str(self.port)]
        self._process = subprocess.Popen(command, cwd=Path(__file__).parents[1])
        until = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=5).read()
                return
            except OSError:
                assert time.monotonic() < until and self._process.poll() is None, "it does not start"
                time.sleep(0.1)

    def setting(self, database: str = "windlass") -> str:
        return f"clickhouse://windlass@127.0.0.1:{self.port}/{database}"

    def plan(self, fault: str) -> None:
        """What becomes of the next insert: `refuse`, `forget` to do it and hang up, `late` to hang up and do it a second later."""
        urllib.request.urlopen(f"http://127.0.0.1:{self.port}/plan?{fault}", timeout=5).read()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def serve(folder: str, port: int) -> None:
    from chdb import session

    engine = session.Session(folder)
    engine.query("CREATE DATABASE IF NOT EXISTS windlass")
    lock = threading.Lock()
    planned: list[str] = []

    def run(given: dict[str, str], body: bytes) -> bytes:
        """One statement with its settings and values, as text that the engine reads."""
        sql = given.get("query", "")
        data = body if sql else b""
        sql = sql or body.decode()
        with lock:
            if database := given.get("database"):
                engine.query(f"USE `{database}`")
            for name, value in given.items():
                if name not in OURS:
                    text = value.replace("\\", "\\\\").replace("'", "\\'")
                    engine.query(f"SET {name} = '{text}'" if name.startswith("param_") else f"SET {name} = '{value}'")
            native = sql.rstrip().endswith("FORMAT Native")
            sql = sql.rstrip().removesuffix("FORMAT Native") if native else sql
            try:
                found = engine.query((sql.encode() + b"\n" + data).decode() if data else sql, "Native" if native else "TabSeparated")
                return bytes(found.bytes())
            finally:
                for name in given:
                    if name not in OURS and not name.startswith("param_"):
                        engine.query(f"SET {name} = DEFAULT")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if urlsplit(self.path).path == "/plan":
                planned.append(urlsplit(self.path).query)
            self._answer(200, b"Ok.\n")

        def do_POST(self) -> None:
            given = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            if (kind := self.headers.get("content-type") or "").startswith("multipart/form-data"):
                form = BytesParser(policy=HTTP).parsebytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + body)
                for part in form.iter_parts():
                    given[str(part.get_param("name", header="content-disposition"))] = part.get_payload(decode=True).decode()  # type: ignore[union-attr]
                body = b""
            if PASSWORD.encode() not in _basic(self.headers.get("authorization", "")):
                return self._answer(403, b"Code: 516. DB::Exception: windlass: Authentication failed: password is incorrect")
            fault = planned.pop(0) if planned and (given.get("query", "").encode() or body).startswith(b"INSERT INTO spans") else ""
            if fault == "refuse":
                return self._answer(500, b"Code: 241. DB::Exception: Memory limit exceeded")
            if fault == "late":
                threading.Timer(1.0, run, (given, body)).start()
                return self._hang_up()
            try:
                answer = run(given, body)
            except Exception as e:
                return self._answer(500, str(e).encode())
            return self._hang_up() if fault == "forget" else self._answer(200, answer)

        def _hang_up(self) -> None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        def _answer(self, status: int, data: bytes) -> None:
            self.send_response(status)
            if status != 200:
                self.send_header("x-clickhouse-exception-code", "1")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


def _basic(header: str) -> bytes:
    import base64

    return base64.b64decode(header.partition(" ")[2] or b"")


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
