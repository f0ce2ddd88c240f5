"""A server that speaks S3 (moto), and something between it and us that fails as networks and servers do."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY, SECRET = "AKIAWINDLASSTESTS", "s3cret-of-the-bucket"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}

Fault = str | bytes | float | None  # see `Between.plan`


class S3Server:
    """With a client of another make, which looks at what lies there."""

    def __init__(self) -> None:
        import boto3  # and moto: half a second, which who imports this for a constant need not spend
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        _, self.port = self._server.get_host_and_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.client = boto3.client(
            "s3", endpoint_url=self.endpoint, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1"
        )

    def bucket(self, name: str) -> str:
        self.client.create_bucket(Bucket=name)
        return name

    def close(self) -> None:
        self._server.stop()


class Between:
    """Passes requests on. `plan(method, n)` says what becomes of the n-th request of a method: None to pass it on, "500", "503", "403"
    or "404" for an answer, "drop" to hang up at once, "half" to hang up in the middle of the answer, "short" to end it early as if it
    were whole, bytes to answer instead, or seconds to wait first."""

    def __init__(self, port: int) -> None:
        self.plan: Callable[[str, int], Fault] = lambda method, n: None
        self.seen: dict[str, int] = {}
        between, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                with lock:
                    n = between.seen[self.command] = between.seen.get(self.command, 0) + 1
                fault = between.plan(self.command, n)
                if fault == "drop":
                    self.close_connection = True
                    return self.connection.close()
                if isinstance(fault, float):
                    time.sleep(fault)
                if isinstance(fault, str) and fault.isdigit():
                    said = f"<Error><Code>Oops</Code><AWSAccessKeyId>{KEY}</AWSAccessKeyId><Secret>{SECRET}</Secret></Error>".encode()
                    return self._answer(int(fault), {}, said)
                if self.headers.get("transfer-encoding"):
                    raise AssertionError("no request of ours is chunked")
                up = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                up.request(self.command, self.path, body, dict(self.headers))
                answer = up.getresponse()
                data = answer.read()
                headers = {k: v for k, v in answer.getheaders() if k.lower() not in ("content-length", "transfer-encoding", "connection")}
                if self.command == "HEAD":
                    headers["content-length"] = answer.getheader("content-length") or "0"
                if isinstance(fault, bytes):
                    data = fault
                self._answer(answer.status, headers, data, fault)

            def _answer(self, status: int, headers: dict[str, str], data: bytes, fault: Fault = None) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if self.command != "HEAD":
                    self.send_header("content-length", str(len(data) // 2 if fault == "short" else len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data[: len(data) // 2] if fault in ("half", "short") else data)
                if fault == "half":
                    self.close_connection = True
                    self.connection.close()

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def between(server: S3Server) -> Iterator[Between]:
    made = Between(server.port)
    try:
        yield made
    finally:
        made.close()
