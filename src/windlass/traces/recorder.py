"""Windlass's own spans on their way to the journal. `record` does not wait: a span is no acknowledgement. `keep` does.

On every call of the gateway, so what is done here is little: a span is packed (0.4 µs) and left for the journal's thread.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future

import msgspec

from windlass.core.errors import Unavailable
from windlass.core.span import Span
from windlass.govern.masking import Masker, Masking
from windlass.store.journal import Journal
from windlass.store.segments import Position
from windlass.traces.envelope import seal_spans
from windlass.traces.masked import masked_span

_log = logging.getLogger("windlass.traces")
_pack = msgspec.msgpack.Encoder(enc_hook=str).encode
_unpack = msgspec.msgpack.Decoder(Span).decode


class Recorder:
    """`Records` over a journal. Spans that come within its lazy moment become one record, masked before they do."""

    def __init__(self, journal: Journal, masking: Masking) -> None:
        self._journal = journal
        self._masking = masking
        self._lock = threading.Lock()
        self._pending: dict[str, list[bytes]] = {}

    def record(self, spans: Sequence[Span]) -> None:
        """Hand spans to the journal. A journal that cannot keep them says so in the log; the run goes on."""
        for span in spans:
            try:
                packed = _pack(span)
            except (TypeError, ValueError, OverflowError):
                _log.exception("a span was lost: it holds what cannot be stored")
                continue
            with self._lock:
                pending = self._pending.setdefault(span.project, [])
                pending.append(packed)
                first = len(pending) == 1
            if first:
                self._submit(span.project)

    async def keep(self, project: str, spans: Sequence[Span]) -> None:
        """Have spans on disk, masked, before it returns. Raises `Unavailable` where that cannot be."""
        masker = self._masking.of(project)
        await self._journal.aappend(seal_spans(project, [_masked(_pack(span), masker) for span in spans]))

    def _submit(self, project: str) -> None:
        try:
            self._journal.submit(functools.partial(self._sealed, project), urgent=False).add_done_callback(_complain)
        except Unavailable as e:  # it is being closed
            _log.error("spans were lost: %s", e)

    def _sealed(self, project: str) -> bytes:
        with self._lock:
            spans = self._pending.pop(project)
        masker = self._masking.of(project)
        return seal_spans(project, [_masked(packed, masker) for packed in spans])


def _masked(packed: bytes, masker: Masker) -> bytes:
    """A span without what is to be masked; on the journal's thread, since it takes longer than a call should wait."""
    if (narrowed := masker.narrowed(packed)) is None:
        return packed
    span = _unpack(packed)
    masked = masked_span(span, narrowed)
    return packed if masked is span else _pack(masked)


def _complain(future: Future[Position]) -> None:
    if error := future.exception():
        _log.error("spans were lost: %s", error)
