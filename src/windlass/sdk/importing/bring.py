"""Brings history here: page by page, spans as OTLP and then what was said of them; what was kept is remembered, so that it goes on where
it was cut off and is cheap when done again.

How far it came is in a file of the user's cache, without which everything is read again: what is here already is dropped by the server.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from windlass.core.errors import Busy, Invalid, NotFound, TooLarge, Unavailable, WindlassError, error_from_dict
from windlass.core.operations.traces import GIVE_SCORE, TRACE, ScoreRequest, TraceShow
from windlass.sdk.client import Client
from windlass.sdk.importing import langfuse, mlflow, phoenix
from windlass.sdk.importing.foreign import Foreign
from windlass.sdk.importing.prompt_links import PromptLinks
from windlass.sdk.importing.source import Left, Marks, Source
from windlass.sdk.importing.spans import request

BYTES = 4_000_000  # of one request to us, about
TRIES = 8  # to hand a request to a server of ours that is busy
Say = Callable[[str, int, int], None]
"""`(step, done, total)`; total 0 where nobody knows it."""


class LeftBehind(msgspec.Struct, frozen=True):
    """What was not carried, how many of it, and why."""

    what: str
    why: str
    count: int


class Brought(msgspec.Struct):
    """What came of it. `spans` were sent and taken, those that were here already too. `dry`: nothing was sent, and all this would be."""

    product: str
    version: str
    address: str
    traces: int = 0
    spans: int = 0
    scores: int = 0
    prompts: int = 0  # versions that are new here; dry: that would be
    datasets: int = 0  # that have something new here
    rows: int = 0  # of them
    projects: dict[str, int] = {}  # of theirs, by traces
    left: list[LeftBehind] = []
    went_on: bool = False
    dry: bool = False


class _Kept(msgspec.Struct):
    """How far it came. `probe` is a trace that must be here, or the server is not the one it was."""

    since_ns: int = 0
    marks: Marks = {}
    probe: str | None = None


def source_of(product: str, address: str, environ: Mapping[str, str] = os.environ) -> Source:
    """Raises `Invalid` for a product or an address that is none."""
    if product == "mlflow":
        return mlflow.MLflow(Foreign("MLflow", address, mlflow.headers_of(environ), mlflow.TOKEN))
    if product == "phoenix":
        return phoenix.Phoenix(Foreign("Phoenix", address, phoenix.headers_of(environ), phoenix.KEY))
    if product == "langfuse":
        return langfuse.Langfuse(Foreign("Langfuse", address, langfuse.headers_of(environ), langfuse.VARIABLES))
    raise Invalid(f"{product[:40]!r} is not read here", where="product", remedy="name mlflow, phoenix, langfuse or litellm")


def bring(
    client: Client, source: Source, address: str, *, since_ns: int = 0, project: str | None = None, again: bool = False, dry: bool = False,
    say: Say = lambda step, done, total: None, folder: Path | None = None,
) -> Brought:  # fmt: skip
    """Bring what is there after what was brought before.

    Args:
        client: of the project it comes into; its key must be one of that project.
        since_ns: nothing that began earlier.
        project: of theirs, by name or id; None for all.
        again: from the beginning, for scores that were given since.
        dry: count, and send nothing.
        folder: where it is remembered how far it came.

    Raises `NotFound`, `Unauthenticated`, `Unavailable`, `Invalid` for their server, and what our own answers. What was brought until then
    stays, and the same again goes on.
    """
    done = Brought(source.product, source.version(), address, dry=dry)
    memory = _Memory(folder or _folder(), (source.product, address, client.address, client.project, project or ""))
    kept = _Kept() if again or dry else memory.read()
    if kept.marks and (since_ns < kept.since_ns or not _is_here(client, kept.probe)):
        kept = _Kept()
    done.went_on = bool(kept.marks)
    kept.since_ns = since_ns if not kept.marks else kept.since_ns
    left: Counter[Left] = Counter()
    say(f"reading {source.product}", 0, 0)
    came = source.versioned(client, left, again=again, dry=dry)  # first, so that spans can be linked to it
    done.prompts, done.datasets, done.rows = came.prompts, came.datasets, came.rows
    links = PromptLinks(lambda project, name, number: came.refs.get((name, number)))
    for page in source.pages(kept.marks, since_ns, project):
        if not dry:
            left.update(_send(client, source.product, page.project, page.spans, links))
            left.update(_score(client, page.scores))
            kept.marks = page.marks
            kept.probe = page.spans[0].trace_id.hex() if page.spans else kept.probe
            memory.write(kept)
        left.update(page.left)
        done.traces += page.traces
        done.spans += len(page.spans)
        done.scores += len(page.scores)
        done.projects[page.project] = done.projects.get(page.project, 0) + page.traces
        say("traces", done.traces, 0)
    left.update(source.rest())
    done.left = [LeftBehind(what, why, count) for (what, why), count in sorted(left.items())]
    refused = sum(count for (what, _), count in left.items() if what == REFUSED_SPANS)
    done.spans -= refused
    done.scores -= sum(count for (what, _), count in left.items() if what == REFUSED_SCORES)
    return done


REFUSED_SPANS, REFUSED_SCORES = "spans that Windlass refused", "scores that Windlass refused"


def _is_here(client: Client, probe: str | None) -> bool:
    if probe is None:
        return True
    try:
        client.call(TRACE, TraceShow(probe, client.project, limit=1))
    except NotFound:
        return False
    except WindlassError:  # a key that may only send
        return True
    return True


def _send(client: Client, product: str, project: str, spans: list[Span], links: PromptLinks) -> Counter[Left]:
    """Hand spans to our own door. Returns what it refused. Raises `Unavailable` and what it answers."""
    left: Counter[Left] = Counter()
    for some in _requests(spans):
        try:
            sent = request(some, product.lower(), project)
            links.link(client.project, sent)
            told = ExportTraceServiceResponse.FromString(_post(client, sent.SerializeToString())).partial_success
        except (TooLarge, Invalid) as e:  # one of them, which must not stop the others
            middle = len(some) // 2
            if not middle:
                left[Left(REFUSED_SPANS, e.message[:200])] += 1
            for half in (some[:middle], some[middle:]) if middle else ():
                left.update(_send(client, product, project, half, links))
            continue
        if told.rejected_spans:
            left[Left(REFUSED_SPANS, told.error_message[:200])] += told.rejected_spans
    return left


def _requests(spans: list[Span]) -> Iterator[list[Span]]:
    some, size = list[Span](), 0
    for span in spans:
        if some and size + span.ByteSize() > BYTES:
            yield some
            some, size = [], 0
        some.append(span)
        size += span.ByteSize()
    if some:
        yield some


def _post(client: Client, body: bytes) -> bytes:
    for tried in range(1, TRIES + 1):
        answer = client.transport.send("POST", "/v1/traces", body=body, kind="application/x-protobuf")
        told = b"".join(answer.body)
        if answer.status < 300:
            return told
        if answer.status not in (429, 503) or tried == TRIES:
            raise error_from_dict({"error": {"message": _sentence(told)}}, answer.status)
        after = answer.headers.get("retry-after", "")
        time.sleep(max(float(after) if after.isdecimal() else 0.0, random.uniform(0.2, 0.5) * tried))
    raise AssertionError("the last try returns or raises")


def _sentence(status: bytes) -> str:
    """What our door says: the message of a google.rpc.Status, its second field."""
    at = status.find(b"\x12") + 1
    while at < len(status) and status[at] & 0x80:
        at += 1
    return status[at + 1 :].decode("utf-8", "replace")[:300]


def _score(client: Client, scores: list[ScoreRequest]) -> Counter[Left]:
    left: Counter[Left] = Counter()
    for score in scores:
        score.project = client.project
        for tried in range(1, TRIES + 1):
            try:
                client.call(GIVE_SCORE, score)
                break
            except (Invalid, NotFound) as e:
                left[Left(REFUSED_SCORES, e.message[:200])] += 1
                break
            except (Busy, Unavailable):
                if tried == TRIES:
                    raise
                time.sleep(random.uniform(0.2, 0.5) * tried)
    return left


class _Memory:
    """How far it came, in a file."""

    def __init__(self, folder: Path, of: tuple[str, ...]) -> None:
        self._path = folder / (hashlib.sha256("\0".join(of).encode()).hexdigest()[:24] + ".json")

    def read(self) -> _Kept:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Kept)
        except (OSError, msgspec.DecodeError):
            return _Kept()

    def write(self, kept: _Kept) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = self._path.with_suffix(".partial")
        partial.write_bytes(msgspec.json.encode(kept))
        partial.replace(self._path)


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "windlass" / "imports"
