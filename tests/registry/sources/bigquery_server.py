"""bqemulator, which answers as BigQuery does from a DuckDB, and a door before it that adds what it leaves out.

What the emulator does: GoogleSQL, jobs, pages, types, and `FOR SYSTEM_TIME AS OF` over tables that were changed, which is what the tests
are about. What it does not, though BigQuery does:

- it never says which tables a statement reads (`referencedTables`), so that a test says it;
- every data set knows its past for 168 hours, whatever it was made with;
- it lets everybody in;
- a dry run of a script runs the script;
- it answers a moment it no longer knows with status 500 and words of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

PROJECT = "shop-eu"
ROOT = Path(__file__).parents[3]


def bqemulator() -> Path | None:
    """The program in the environment of its own that `make .stamps/bqemulator` makes, or None."""
    program = ROOT / ".bench/bigquery/bin/bqemulator"
    return program if program.exists() else None


class BigQueryServer:
    """`reads` are the tables (`data_set.table`) that the next statements are said to read; `hours`, where it is set, for how long data sets
    are said to know their past; `refuse` may answer a request, by its path and body, with a status and a sentence instead."""

    def __init__(self, program: Path) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="windlass-bigquery-"))
        for extension in program.parents[1].glob(
            "lib/python*/site-packages/duckdb_extension_spatial/extensions/*/spatial.duckdb_extension"
        ):
            folder = self._home / ".duckdb/extensions" / extension.parent.name / _platform(program)
            folder.mkdir(parents=True)
            (folder / extension.name).symlink_to(extension)
        self._process = subprocess.Popen(
            [
                str(program), "start", "--rest-port", "0", "--grpc-port", "0", "--project", PROJECT,
                "--log-level", "info", "--log-format", "json",
            ],
            env=os.environ | {"HOME": str(self._home)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.emulator = self._address()
        self.reset()
        self._door = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._door.serve_forever, daemon=True).start()
        self.address = f"127.0.0.1:{self._door.server_address[1]}"
        self.client = bigquery.Client(PROJECT, AnonymousCredentials(), client_options={"api_endpoint": self.emulator})  # type: ignore[no-untyped-call]

    def _address(self) -> str:
        assert self._process.stdout is not None
        seen = []
        for line in self._process.stdout:
            seen.append(line)
            if found := re.search(r"running on (http://\S+)", line):
                threading.Thread(target=self._process.stdout.read, daemon=True).start()  # so that it never waits for us
                return found[1]
        raise AssertionError("bqemulator did not start: " + "".join(seen))

    def reset(self) -> None:
        self.reads: tuple[str, ...] = ()
        self.hours: int | None = None
        self.refuse: Callable[[str, dict[str, Any]], tuple[int, str] | None] = lambda path, body: None
        self.asked: list[dict[str, Any]] = []

    def sql(self, statement: str) -> list[Any]:
        """Run at the emulator itself."""
        return [tuple(row.values()) for row in self.client.query(statement).result()]

    def close(self) -> None:
        self._door.shutdown()
        self._door.server_close()
        self.client.close()  # type: ignore[no-untyped-call]
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._home)

    def amend(self, body: Any) -> Any:
        """What BigQuery would have said in addition."""
        if body.get("kind") == "bigquery#dataset" and self.hours is not None:
            body["maxTimeTravelHours"] = str(self.hours)
        if "statistics" in body:
            parts = [name.split(".") for name in self.reads]
            tables = [{"projectId": PROJECT, "datasetId": d, "tableId": t} for d, t in parts]
            body["statistics"].setdefault("query", {})["referencedTables"] = tables
        return body


def _platform(program: Path) -> str:
    asked = "import duckdb; print(duckdb.sql('PRAGMA platform').fetchone()[0])"
    return subprocess.run([str(program.parent / "python"), "-c", asked], capture_output=True, text=True, check=True).stdout.strip()


def _handler(server: BigQueryServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(sent) if sent else {}
            server.asked.append(body)
            if refused := server.refuse(self.path, body):
                status, said = refused
                error = {"code": status, "message": said, "errors": [{"reason": "said", "message": said}]}
                return self._answer(status, {"error": error})
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(server.emulator + self.path, sent or None, headers, method=self.command)
            try:
                with urllib.request.urlopen(request) as answer:
                    self._answer(answer.status, server.amend(json.load(answer)))
            except urllib.error.HTTPError as e:
                self._answer(e.code, json.load(e))

        do_GET = do_POST = _pass_on

        def _answer(self, status: int, body: Any) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None: ...

    return Handler
