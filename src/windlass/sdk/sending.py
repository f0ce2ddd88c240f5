"""Spans on their way out of an application: a bounded queue, one thread, and a spool for what a process could not send.

A server that is away costs memory up to a bound and nothing else: no call waits, nothing is raised, one warning is logged.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import threading
import time
import uuid
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span

BATCH = 512  # spans in one request
QUEUED = 50_000  # spans that wait to be encoded
UNSENT = 64_000_000  # bytes that wait for a server that is away, in memory and again in the spool
PAUSE = 0.5  # seconds between looks
PATIENCE = 30.0  # seconds, at most, between two tries
LAST_TRY = 2.0  # seconds for the server when the process ends

log = logging.getLogger("windlass")


class Sender(SpanProcessor):
    """Sends ended spans to `<url>/v1/traces`. `dropped` counts what no room was left for."""

    def __init__(self, url: str, key: str | None, spool: Path | None = None) -> None:
        self.dropped = 0
        self._url = url.rstrip("/") + "/v1/traces"
        headers = {"content-type": "application/x-protobuf", **({"authorization": f"Bearer {key}"} if key else {})}
        self._client = httpx2.Client(headers=headers, timeout=10.0)
        self._spool = (spool or default_spool()) / hashlib.sha256(self._url.encode()).hexdigest()[:16]
        self._queue: deque[ReadableSpan] = deque()
        self._unsent: deque[tuple[bytes, int]] = deque()  # requests, and how many spans each holds
        self._unsent_bytes = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._idle = threading.Condition()
        self._busy = False
        self._stopped = False
        self._warned = False
        self._failures = 0
        self._pid = 0
        self._start()
        atexit.register(self.shutdown)

    def _start(self) -> None:
        """The thread of this process: a fork leaves its parent's behind."""
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._work, name="windlass-traces", daemon=True)
        self._thread.start()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        pass

    def on_end(self, span: ReadableSpan) -> None:
        if self._stopped or not (span.context and span.context.trace_flags.sampled):
            return
        if self._pid != os.getpid():
            self._queue.clear()  # the parent sends those
            self._unsent.clear()
            self._start()
        if len(self._queue) >= QUEUED:
            self.dropped += 1
            return
        self._queue.append(span)
        if len(self._queue) >= BATCH:
            self._wake.set()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until everything is sent; whether it was."""
        until = time.monotonic() + timeout_millis / 1000
        self._failures = 0
        while time.monotonic() < until:
            self._wake.set()
            with self._idle:
                if not (self._queue or self._unsent or self._busy):
                    return True
                self._idle.wait(0.05)
            if self._failures:
                return False
        return False

    def shutdown(self) -> None:
        """Send what is left, or spool it. Called at the end of the process."""
        if self._stopped or self._pid != os.getpid():
            return
        self.force_flush(int(LAST_TRY * 1000))
        self._stopped = True
        self._wake.set()
        self._thread.join(LAST_TRY)
        self._encode(len(self._queue))
        if self._unsent:
            self._save()
        if self.dropped:
            log.warning("windlass: %d spans were dropped: %s was away too long", self.dropped, self._url)

    def _work(self) -> None:
        self._load()
        while not self._stopped:
            self._wake.wait(PAUSE if not self._failures else min(PATIENCE, PAUSE * 2**self._failures))
            self._wake.clear()
            self._busy = True
            while (self._queue or self._unsent) and not self._stopped:
                if not self._unsent:
                    self._encode(BATCH)
                if not self._post():
                    break
            self._busy = False
            with self._idle:
                self._idle.notify_all()

    def _encode(self, most: int) -> None:
        some: list[ReadableSpan] = []
        while self._queue and len(some) < most:
            some.append(self._queue.popleft())
        for start in range(0, len(some), BATCH):
            batch = some[start : start + BATCH]
            try:
                self._hold(encode_spans(batch).SerializePartialToString(), len(batch))
            except Exception as e:  # an attribute that cannot be encoded must not stop the rest
                self.dropped += len(batch)
                log.warning("windlass: spans could not be encoded: %s", e)

    def _hold(self, data: bytes, spans: int) -> None:
        if self._unsent_bytes + len(data) > UNSENT:
            self.dropped += spans
            return
        self._unsent.append((data, spans))
        self._unsent_bytes += len(data)

    def _post(self) -> bool:
        """Send the first batch; False when the server is away. What the server refuses for good is dropped with a warning."""
        if not self._unsent:
            return True
        data, spans = self._unsent[0]
        try:
            answer: Any = self._client.post(self._url, content=data)
        except httpx2.HTTPError as e:
            return self._away(str(e) or type(e).__name__)
        if answer.status_code == 429 or answer.status_code >= 500:
            return self._away(f"it answered {answer.status_code}")
        self._unsent.popleft()
        self._unsent_bytes -= len(data)
        self._failures = 0
        if answer.status_code >= 400:
            self.dropped += spans
            self._warn(f"{self._url} refuses spans ({answer.status_code}): {answer.text[:200]}")
        return True

    def _away(self, why: str) -> bool:
        # what waits in the queue goes on to be encoded, so that the queue has room
        self._encode(len(self._queue))
        self._failures = min(self._failures + 1, 10)
        self._warn(f"{self._url} is away ({why}); spans wait and are sent when it is back")
        return False

    def _warn(self, sentence: str) -> None:
        """Once for each process."""
        if not self._warned:
            self._warned = True
            log.warning("windlass: %s", sentence)

    def _save(self) -> None:
        """Write what is unsent where the next process finds it."""
        try:
            self._spool.mkdir(parents=True, exist_ok=True, mode=0o700)
            room = UNSENT - sum(p.stat().st_size for p in self._spool.glob("*.otlp"))
            for data, spans in self._unsent:
                if (room := room - len(data)) < 0:
                    self.dropped += spans
                    continue
                partial = self._spool / f".{uuid.uuid4().hex}"
                with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(data)
                partial.rename(self._spool / f"{time.time_ns()}-{uuid.uuid4().hex[:8]}.otlp")
        except OSError as e:
            log.warning("windlass: unsent spans could not be kept: %s", e)

    def _load(self) -> None:
        """Take up what earlier processes could not send."""
        for path in sorted(self._spool.glob("*.otlp")):
            taken = path.with_suffix(f".{os.getpid()}")
            try:
                path.rename(taken)  # of two processes one has it
                self._hold(taken.read_bytes(), 0)
                taken.unlink()
            except OSError:
                continue
        if self._unsent:
            self._wake.set()


def default_spool() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "windlass" / "spool"
