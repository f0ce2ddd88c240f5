"""Spans on their way out of an application: a bounded queue, one thread, and a spool on disk while the server is away.

A server that is away costs memory and disk up to a bound and nothing else: no call waits, nothing is raised, one warning is logged. What
sends, and the format it is sent in, are loaded by the thread when there is something to send.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from windlass.sdk.encoding import encode
from windlass.sdk.spool import Spool

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span

BATCH = 512  # spans in one request
QUEUED = 50_000  # spans that wait to be encoded
UNSENT = 64_000_000  # bytes that wait for a server that is away, on disk, or in memory where nothing can be written
PAUSE = 0.5  # seconds between looks
PATIENCE = 30.0  # seconds, at most, between two tries
LAST_TRY = 2.0  # seconds for the server when the process ends

log = logging.getLogger("windlass")
_loading = threading.Lock()
if hasattr(os, "register_at_fork"):  # a child would wait for ever for a module that a thread was loading, which it has not
    os.register_at_fork(before=_loading.acquire, after_in_parent=_loading.release, after_in_child=_loading.release)


class Request(NamedTuple):
    """What is sent at once: the bytes, or the file that has them."""

    data: bytes | Path
    spans: int
    size: int


class Sender(SpanProcessor):
    """Sends ended spans to `<url>/v1/traces`. `dropped` counts what no room was left for."""

    def __init__(self, url: str, key: str | None, spool: Path | None = None) -> None:
        self.dropped = 0
        self._url = url.rstrip("/") + "/v1/traces"
        self._headers = {"content-type": "application/x-protobuf", **({"authorization": f"Bearer {key.strip()}"} if key else {})}
        self._client: Any = None
        folder = spool or default_spool()
        # a key says which project spans belong to, so what one has left is not for another; before, there was one folder for all of them
        self._spool = Spool(folder / _digest(f"{self._url}\n{key or ''}"), UNSENT, folder / _digest(self._url))
        self._queue: deque[ReadableSpan] = deque()
        self._unsent: deque[Request] = deque()
        self._unsent_bytes = 0  # of those in memory
        self._stopped = False
        self._warned = False
        self._failures = 0
        self._pid = 0
        self._start()
        atexit.register(self.shutdown)

    def _start(self) -> None:
        """The thread of this process: a fork leaves its parent's behind."""
        self._wake = threading.Event()  # of this process alone: another's may have been held by a thread that is not here
        self._idle = threading.Condition()
        self._busy = True  # until what earlier processes left is taken, also by one that has nothing to send itself
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
            self._unsent_bytes, self._client, self._spool = 0, None, self._spool.other()
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
        self._save()
        self.dropped += sum(r.spans for r in self._unsent if not isinstance(r.data, Path))
        self._spool.leave()
        if self.dropped:
            log.warning("windlass: %d spans were dropped: %s was away too long, or refused them", self.dropped, self._url)

    def _work(self) -> None:
        try:
            self._unsent.extend(Request(path, spans, 0) for path, spans in self._spool.take())
        finally:
            self._busy = False
        if self._unsent:
            self._wake.set()
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
            self._spool.hold()
            with self._idle:
                self._idle.notify_all()

    def _encode(self, most: int) -> None:
        some: list[ReadableSpan] = []
        while self._queue and len(some) < most:
            some.append(self._queue.popleft())
        for start in range(0, len(some), BATCH):
            batch = some[start : start + BATCH]
            data, rest = encode(batch)
            rare, bad = _rare(rest) if rest else (b"", 0)
            if bad:  # an attribute that cannot be encoded must not stop the rest
                self.dropped += bad
                log.warning("windlass: %d spans could not be encoded", bad)
            self._hold(data + rare, len(batch) - bad)

    def _hold(self, data: bytes, spans: int) -> None:
        if self._unsent_bytes + len(data) > UNSENT:
            self.dropped += spans
            return
        self._unsent.append(Request(data, spans, len(data)))
        self._unsent_bytes += len(data)

    def _post(self) -> bool:
        """Send the first request; False when the server is away. What the server refuses for good is dropped with a warning."""
        if not self._unsent:
            return True
        request = self._unsent[0]
        try:
            data = request.data.read_bytes() if isinstance(request.data, Path) else request.data
        except OSError:  # another process has sent it
            self._done(request)
            return True
        try:
            answer = self._sent(data)
        except OSError as e:
            return self._away(str(e) or type(e).__name__)
        if answer.status_code == 429 or answer.status_code >= 500:
            return self._away(f"it answered {answer.status_code}")
        self._done(request)
        self._failures = 0
        if answer.status_code >= 400:
            self.dropped += request.spans
            self._warn(f"{self._url} refuses spans ({answer.status_code}): {answer.text[:200]}")
        return True

    def _sent(self, data: bytes) -> Any:
        """The server's answer. Raises `OSError` where there is none."""
        with _loading:
            import httpx2
        try:
            if self._client is None:
                self._client = httpx2.Client(headers=self._headers, timeout=10.0)
            return self._client.post(self._url, content=data)
        except (httpx2.NetworkError, httpx2.TimeoutException, httpx2.RemoteProtocolError) as e:
            raise OSError(str(e) or type(e).__name__) from e
        except Exception as e:  # of a key or an address that cannot be sent: it would be told, and the thread must go on
            raise OSError(type(e).__name__) from None

    def _done(self, request: Request) -> None:
        self._unsent.popleft()
        self._unsent_bytes -= request.size
        if isinstance(request.data, Path):
            self._spool.done(request.data)

    def _away(self, why: str) -> bool:
        # what waits in the queue goes on to be encoded, so that the queue has room, and to the disk, so that a kill takes nothing
        self._encode(len(self._queue))
        self._save()
        self._failures = min(self._failures + 1, 10)
        self._warn(f"{self._url} is away ({why}); spans wait on disk and are sent when it is back")
        return False

    def _warn(self, sentence: str) -> None:
        """Once for each process."""
        if not self._warned:
            self._warned = True
            log.warning("windlass: %s", sentence)

    def _save(self) -> None:
        """Bring what is in memory to the disk, as far as there is room."""
        for number, request in enumerate(self._unsent):
            if isinstance(request.data, Path):
                continue
            try:
                path = self._spool.keep(request.data, request.spans)
            except OSError as e:  # it stays in memory
                self._warn(f"unsent spans cannot be kept on disk: {e}")
                return
            if path is None:
                return
            self._unsent[number] = Request(path, request.spans, 0)
            self._unsent_bytes -= request.size


def _rare(spans: list[ReadableSpan]) -> tuple[bytes, int]:
    """Spans as OpenTelemetry encodes them, and how many it cannot."""
    with _loading:
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    try:
        return encode_spans(spans).SerializePartialToString(), 0
    except Exception:
        if len(spans) == 1:
            return b"", 1
        middle = len(spans) // 2
        (first, lost), (second, more) = _rare(spans[:middle]), _rare(spans[middle:])
        return first + second, lost + more


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def default_spool() -> Path:
    """In the home folder; where there is none, as of a container's user that has no name, what waits stays in memory."""
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "windlass" / "spool"
    try:
        return Path.home() / ".cache" / "windlass" / "spool"
    except RuntimeError:
        return Path("/nonexistent/windlass/spool")  # by convention the home of those who have none
