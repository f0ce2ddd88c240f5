"""The one intake behind both faces of OTLP: who sends it, how much may be under way at once, and on disk before it is acknowledged."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType

from windlass.core.actor import Actor
from windlass.core.errors import Busy, Unauthenticated, Unavailable, WindlassError
from windlass.doors.otlp import wire
from windlass.doors.otlp.senders import Sender, key_of
from windlass.govern.masking import Masking
from windlass.govern.openid import looks_like_token
from windlass.sdk.importing.prompt_links import MARKS, PromptLinks
from windlass.store.journal import Journal
from windlass.traces.envelope import seal
from windlass.traces.masked import mask_otlp
from windlass.traces.refusals import Refusals

INLINE = 1_000_000  # bytes of a request beyond which its work is done on a thread, so that others are answered meanwhile
BUSY_SECONDS, AWAY_SECONDS = 1, 5  # after which it is worth trying again


class Intake:
    """Takes what is sent.

    Args:
        journal: where it becomes durable.
        authenticate: who sends these headers; raises `Unauthenticated`.
        guard: asked for `trace` in the actor's project.
        limit: bytes of a request, also after decompression.
        pending: bytes of all requests that are read, or wait for the journal, at once.
        masking: what is taken out before anything is kept.
        prompts: knows which versions of prompts spans name.
    """

    def __init__(
        self, journal: Journal, authenticate: Callable[[Mapping[str, str]], Actor], guard: Callable[[Actor, str, str], None], limit: int,
        pending: int, masking: Masking, prompts: PromptLinks | None = None,
    ) -> None:  # fmt: skip
        self.limit = limit
        self._journal = journal
        self._authenticate = authenticate
        self._guard = guard
        self._pending = max(pending, limit)  # one alone is never too many
        self._masking = masking
        self._prompts = prompts
        self._held = 0
        self._refusals = Refusals(journal, masking)
        # `accepted` and `rejected` are items of all signals. Of each signal: `traces.received`, `traces.accepted`, `traces.refused.REASON`,
        # where received is the sum of the others; and of whole requests `traces.requests` and `traces.turned_away.CODE`
        self.counts = Counter(accepted=0, rejected=0)

    async def admit(self, sender: Sender, headers: Mapping[str, str], permission: str | None = "trace") -> Actor:
        """Who sends these headers, and may do this in its project; None where what is asked for says what it needs. Raises
        `Unauthenticated`, `Forbidden`."""
        key = key_of(sender, headers)
        if key is not None:
            headers = {"authorization": f"Bearer {key}"}
        elif sender.base:  # a browser's cookie counts at our own paths only
            raise Unauthenticated("this needs a key", remedy="`windlass keys create` makes one")
        if key is not None and looks_like_token(key):  # its provider may have to be asked, which is not for the loop
            actor = await asyncio.to_thread(self._authenticate, headers)
        else:
            actor = self._authenticate(headers)
        if permission:
            self._guard(actor, permission, actor.project)
        return actor

    def share(self) -> Share:
        """A request's share of what may be under way; to be given back. Raises `Busy` where nothing is left."""
        if self._held >= self._pending:
            raise _busy()
        return Share(self)

    async def take(self, signal: wire.Signal, project: str, body: bytes, kind: str, foreign: str, reads_prompts: bool = False) -> bytes:
        """Keep what can be kept of a request; the answer. Of who reads prompts here, spans that name one are linked to its version. Raises
        `Invalid`, and `Unavailable` where it could not be made durable."""
        work, linked = self._made, reads_prompts and signal.name == "traces" and any(mark in body for mark in MARKS)
        if linked or len(body) > INLINE:
            payload, outcome = await asyncio.to_thread(work, signal, project, body, kind, foreign, linked)
        else:
            payload, outcome = work(signal, project, body, kind, foreign, linked)
        self._count(signal.name, "received", outcome.received)
        for reason, (count, _) in outcome.refused.items():
            self._count(signal.name, f"refused.{reason}", count)
        for (source, reason), count in outcome.by_source.items():
            self._refusals.items(project, source, signal.name, reason, count)
        if payload is not None:
            try:
                await self._journal.aappend(payload)
            except Unavailable:
                self._count(signal.name, "refused.unavailable", outcome.kept)
                self._refusals.items(project, "", signal.name, "unavailable", outcome.kept)
                raise
        self._count(signal.name, "accepted", outcome.kept)
        self.counts["accepted"] += outcome.kept
        self.counts["rejected"] += outcome.received - outcome.kept
        return wire.respond(signal, outcome, kind)

    def came(self, signal: str) -> None:
        """Count a request."""
        self._count(signal, "requests")

    def refuse(self, signal: str, project: str, source: str, reason: str, many: int) -> None:
        """Count items of a request that were refused before it became OTLP."""
        self._count(signal, "received", many)
        self._count(signal, f"refused.{reason}", many)
        self._refusals.items(project, source, signal, reason, many)
        self.counts["rejected"] += many

    def turned_away(self, signal: str, error: WindlassError, actor: Actor | None = None) -> None:
        """Count a request that was refused whole. Of an actor who may send it is in the ledger; nobody else writes anything to the disk."""
        self._count(signal, f"turned_away.{error.code}")
        if actor:
            self._refusals.request(actor.project, actor.id, signal, error.code)

    def close(self) -> None:
        """Hand what was counted to the journal, before that is closed."""
        self._refusals.flush()

    def _count(self, signal: str, what: str, many: int = 1) -> None:
        if many:
            self.counts[f"{signal}.{what}"] += many

    def _made(
        self, signal: wire.Signal, project: str, body: bytes, kind: str, foreign: str, linked: bool
    ) -> tuple[bytes | None, wire.Outcome]:
        """The journal's record, None where nothing is left to keep."""
        request, unreadable = wire.parse(signal, body, kind)
        outcome = wire.refuse(signal, request, unreadable)
        if not outcome.kept:
            return None, outcome
        wire.mark(signal, request, foreign)
        if linked and self._prompts:
            self._prompts.link(project, request)
        data = request.SerializeToString()
        masker = self._masking.of(project)
        if masker.may_find(data) and mask_otlp(request, masker):
            data = request.SerializeToString()
        return seal(project, data, signal.format), outcome


def wait_after(error: WindlassError) -> int | None:
    """After how many seconds to send it again; None for never."""
    return BUSY_SECONDS if isinstance(error, Busy) else AWAY_SECONDS if isinstance(error, Unavailable) else None


class Share:
    """How many bytes one request holds, of all that may be under way at once."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._bytes = 0

    def add(self, size: int) -> None:
        """Raises `Busy` where that is more than may be."""
        self._bytes += size
        self._intake._held += size
        if self._intake._held > self._intake._pending:
            raise _busy()

    def __enter__(self) -> Share:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._intake._held -= self._bytes


def _busy() -> Busy:
    return Busy("more is sent at once than can be written down", remedy=f"send it again after {BUSY_SECONDS} s", retry_after_s=BUSY_SECONDS)
