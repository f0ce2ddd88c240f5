"""Mirrors what came by OTLP to other endpoints, so that teams can run two platforms side by side: what is kept is what is sent on.

A follower for each target reads the journals, as the projector does, and remembers its own place: at least once, in the order of each
writer, on after a restart. It never keeps anybody waiting: what it cannot send waits in the journal, where it is anyway, and what waits
for longer than `forward_hours` is skipped, and counted. `python -m windlass.traces.forwarding HOME ADDRESS` is a process of its own, which
is there only where `forward_to` is set.
"""

from __future__ import annotations

import gzip
import http.client
import logging
import os
import random
import signal
import ssl
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from windlass.core.errors import Invalid
from windlass.core.ids import now_ns
from windlass.settings import load_settings
from windlass.store.home import Home
from windlass.store.journal import JournalReader
from windlass.store.segments import Position, Record
from windlass.traces.envelope import unseal
from windlass.traces.forward_targets import PATHS, Target, ready
from windlass.traces.forwarded import FOLDER, Kept, read_kept, write_kept

NICENESS = 5
PAUSE = 0.5  # seconds between looks when there is nothing to send
SAVE_SECONDS = 0.5  # after which the place is written again: what a kill makes it send twice
READ = 4_000_000  # bytes of the journal at once
MERGED = 1_000_000  # bytes of one request; a body that is larger goes alone
SECONDS = 30.0  # for one answer
LONGEST_WAIT = 60.0  # seconds between tries, where it asks for no more
LONGEST_ASKED = 600.0  # of what a Retry-After may ask
# it, or the key or address it was given, not what was sent: tried until it is taken
AWAY = (401, 403, 404, 408, 429, 502, 503, 504)
FAILED_TRIES = 5  # of a body that it fails on
SAY_SECONDS = 60.0  # between lines of the log that say the same
HOUR_NS = 3_600 * 10**9
_log = logging.getLogger("windlass.forwarding")


class Answer(NamedTuple):
    """`status` 0 where nobody answered; `why` says it without what was sent. `after`: seconds it asks to wait."""

    status: int
    why: str = ""
    after: float = 0.0


Post = Callable[[str, bytes], Answer]


class Follower:
    """Sends one target what it is to have.

    Args:
        journals: the folder of all writers.
        folder: where it remembers its place.
        target: where to.
        post: sends a path a body.
        hours: after which what waits is skipped.
    """

    def __init__(self, journals: Path, folder: Path, target: Target, post: Post, hours: float) -> None:
        self._reader = JournalReader(journals)
        self._folder = folder
        self._target = target
        self._post = post
        self._bound_ns = int(hours * HOUR_NS)
        self._saved = 0.0
        self._said: dict[str, float] = {}
        self.stop = threading.Event()
        folder.mkdir(mode=0o700, exist_ok=True)
        if (kept := read_kept(folder, target)) is None:  # from now on
            kept = Kept(target.url, now_ns(), {writer: self._reader.end(writer) for writer in self._reader.writers()})
        self.kept = kept
        self._save()

    def run(self) -> None:
        """Until `stop` is set."""
        while not self.stop.is_set():
            try:
                moved = self.step()
            except Exception:  # a disk that fails, a defect: what was not sent is still there
                self._say("broken", "what came could not be sent on to %s; trying again", self._target.url, trace=True)
                moved = False
                self.stop.wait(LONGEST_WAIT / 6)
            if not moved:
                self._save()
                self.stop.wait(PAUSE)
        self._save()

    def step(self) -> bool:
        """Send what each writer has by now, a piece of it. Whether there was anything."""
        moved = False
        for writer in self._reader.writers():
            at = self.kept.positions.get(writer, Position(0, 0))
            if at < self._reader.end(writer) and (records := self._reader.read(writer, at, READ)):
                self._pass(writer, records)
                moved = True
        return moved

    def _pass(self, writer: str, records: list[Record]) -> None:
        """Everything of these records. Ends early where it is to stop."""
        batch = Batch()
        for record in records:
            body = self._wanted(record)
            if body is not None and not batch.takes(body):
                if not self._send(batch):
                    return
                self._moved(writer, batch.end)
                batch = Batch()
            batch.add(body, record)
        if self._send(batch):
            self._moved(writer, batch.end)

    def _wanted(self, record: Record) -> Body | None:
        """What of a record is to be sent; None where it is of another kind or project, or too old."""
        try:
            kind, project, data = unseal(record.payload)
        except Invalid:  # of a newer Windlass
            return None
        if kind not in self._target.kinds or not data or (self._target.project or project) != project:
            return None
        if record.receipt_ns < now_ns() - self._bound_ns:
            self._skip()
            return None
        return Body(kind, data, record.receipt_ns)

    def _skip(self) -> None:
        self.kept.skipped += 1
        self._say("old", "bodies that waited too long are not sent to %s: %d so far", self._target.url, self.kept.skipped)

    def _moved(self, writer: str, position: Position | None) -> None:
        if position is not None:
            self.kept.positions[writer] = position
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self._save()

    def _send(self, batch: Batch) -> bool:
        """Until it has taken these bodies, or refused them, or they are too old. False where it is to stop before."""
        if not batch.bodies:
            return True
        packed, tried = gzip.compress(b"".join(b.data for b in batch.bodies), 1), 0
        while not self.stop.is_set():
            answer = self._post(PATHS[batch.kind], packed)
            tried += 1
            if 200 <= answer.status < 300:
                self._took(batch)
                return True
            if not (answer.status in AWAY or not answer.status or (answer.status >= 500 and tried < FAILED_TRIES)):
                if len(batch.bodies) > 1:  # one of them may be to blame
                    return all(self._send(alone) for alone in batch.alone())
                self._refused(answer)
                return True
            self._waits(answer, batch)
            self.stop.wait(min(LONGEST_ASKED, max(answer.after, _pause(tried))))
            if batch.bodies[-1].receipt_ns < now_ns() - self._bound_ns:
                for _ in batch.bodies:
                    self._skip()
                return True
        return False

    def _took(self, batch: Batch) -> None:
        self.kept.sent += len(batch.bodies)
        self.kept.sent_bytes += sum(len(b.data) for b in batch.bodies)
        if self.kept.problem:
            _log.warning("%s takes what is sent on to it again", self._target.url)
        self.kept.last_ns, self.kept.problem, self.kept.oldest_ns = now_ns(), "", None

    def _refused(self, answer: Answer) -> None:
        code = str(answer.status)
        self.kept.refused[code] = self.kept.refused.get(code, 0) + 1
        self._say(code, "%s refused a body with %s; it is not sent again: %d so far", self._target.url, code, self.kept.refused[code])
        self.kept.oldest_ns = None

    def _waits(self, answer: Answer, batch: Batch) -> None:
        self.kept.problem, self.kept.oldest_ns = answer.why, batch.bodies[0].receipt_ns
        self._say(f"away {answer.status}", "%s does not take what is sent on to it: %s; trying again", self._target.url, answer.why)
        self._save()

    def _say(self, what: str, message: str, *words: object, trace: bool = False) -> None:
        if time.monotonic() - self._said.get(what, -SAY_SECONDS) >= SAY_SECONDS:
            self._said[what] = time.monotonic()
            _log.warning(message, *words, exc_info=trace)

    def _save(self) -> None:
        self._saved = time.monotonic()
        write_kept(self._folder, self._target, self.kept)


class Body(NamedTuple):
    kind: int
    data: bytes
    receipt_ns: int


class Batch:
    """Bodies of a kind that go in one request: requests of OTLP one after the other are one. `end` is behind them, and behind what was
    passed over."""

    def __init__(self) -> None:
        self.bodies: list[Body] = []
        self.end: Position | None = None
        self._size = 0

    @property
    def kind(self) -> int:
        return self.bodies[0].kind

    def takes(self, body: Body) -> bool:
        return not self.bodies or (self.kind == body.kind and self._size + len(body.data) <= MERGED)

    def add(self, body: Body | None, record: Record) -> None:
        if body is not None:
            self.bodies.append(body)
            self._size += len(body.data)
        self.end = record.position

    def alone(self) -> list[Batch]:
        """Each body by itself."""
        made = [Batch() for _ in self.bodies]
        for batch, body in zip(made, self.bodies, strict=True):
            batch.bodies = [body]
        return made


def _pause(tried: int) -> float:
    """Seconds until the next try."""
    return min(LONGEST_WAIT, 0.5 * float(2 ** min(tried, 10))) * random.uniform(0.75, 1.25)


class Wire:
    """Posts to one target over a connection that is kept. No redirection is followed: what is sent is for the address that was named."""

    def __init__(self, target: Target, headers: Mapping[str, str]) -> None:
        parts = urlsplit(target.url)
        self._base = parts.path
        self._headers = {"content-type": "application/x-protobuf", "content-encoding": "gzip", "user-agent": "windlass", **headers}
        host = parts.hostname or ""
        if parts.scheme == "https":
            context = ssl.create_default_context()
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(host, parts.port, timeout=SECONDS, context=context)
        else:
            self._connection = http.client.HTTPConnection(host, parts.port, timeout=SECONDS)

    def post(self, path: str, body: bytes) -> Answer:
        fresh = self._connection.sock is None
        try:
            answer = self._once(path, body)
        except (OSError, http.client.HTTPException) as e:
            self._connection.close()
            if fresh:
                why = e.strerror if isinstance(e, OSError) and e.strerror else type(e).__name__
                return Answer(0, f"it does not answer: {why}")
            return self.post(path, body)  # one that was kept open, and that the other side has closed
        return answer

    def _once(self, path: str, body: bytes) -> Answer:
        self._connection.request("POST", self._base + path, body=body, headers=self._headers)
        got = self._connection.getresponse()
        while got.read(65_536):
            pass
        after = got.headers.get("retry-after", "")
        return Answer(got.status, f"it answers {got.status}", float(after) if after.isdecimal() and len(after) < 8 else 0.0)


def main(home: Path, own: str) -> None:
    """The process. Raises `Invalid` for a setting that is none; ends by SIGTERM."""
    settings = load_settings(home)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    os.nice(NICENESS - os.nice(0))  # who is being served comes first
    folder = Home(home).path
    followers = [
        Follower(folder / "journal", folder / FOLDER, target, Wire(target, headers).post, settings.forward_hours)
        for target, headers in ready(settings.forward_to, own)
    ]
    threads = [threading.Thread(target=f.run, name=f"windlass-forward-{n}", daemon=True) for n, f in enumerate(followers)]
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    for thread in threads:
        thread.start()
    ended.wait()
    for follower in followers:
        follower.stop.set()
    for thread in threads:
        thread.join(2.0)  # what is under way then is sent again


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
