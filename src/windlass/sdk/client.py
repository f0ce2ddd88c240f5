"""The client: everything Windlass can do, from Python. One typed method for each operation, grouped by noun.

client = windlass.Client()                      the server that WINDLASS_URL, a login or the local data folder names
client.run("release/answer:production", "How do I sort a dict?").text
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from windlass.core.errors import Unavailable, error_from_dict
from windlass.core.operations import (
    Empty,
    Operation,
    discover,
    registry,
    runs,
    system,
)
from windlass.core.operations.query import encode, taken
from windlass.core.operations.sql import SQL, SqlAnswer, SqlQuery
from windlass.sdk.collect import collect
from windlass.sdk.nouns.agents import Approvals, Grants, Stops, Tools
from windlass.sdk.nouns.data import Artifacts, Datasets, Indexes, Pins, Prompts, Versions
from windlass.sdk.nouns.governing import Audit, Erasures, Keys, Limits, Masking, People, Policy
from windlass.sdk.nouns.models import Bakeoffs, Tunes, Weights
from windlass.sdk.nouns.production import Alerts, Logs, Metrics, Monitors, Sessions, Traces, Views
from windlass.sdk.nouns.proof import Evaluations, Gates, Releases, Reviews, Rollouts
from windlass.sdk.nouns.providing import Providers
from windlass.sdk.nouns.routing import Routes
from windlass.sdk.nouns.serving import Batches, LoadTests
from windlass.sdk.servers import find_server
from windlass.sdk.transport import Answer, HttpTransport, Transport
from windlass.sdk.upload import send_rows

P = TypeVar("P", bound=msgspec.Struct)
R = TypeVar("R")


class Client:
    """Speaks to one server as one actor, about one project.

    Args:
        url: the server's address; found by itself where not given (see `servers`).
        key: the key to show.
        project: the project that refs without one belong to.
        transport: another way to the server, such as `InProcessTransport`.
    """

    def __init__(
        self, url: str | None = None, key: str | None = None, *, project: str = "default", transport: Transport | None = None
    ) -> None:
        if transport is None:
            server = find_server(url, key)
            transport = HttpTransport(server.url, server.key)
        self.transport = transport
        self.project = project
        self.artifacts = Artifacts(self)
        self.datasets = Datasets(self)
        self.indexes = Indexes(self)
        self.pins = Pins(self)
        self.prompts = Prompts(self)
        self.grants = Grants(self)
        self.stops = Stops(self)
        self.limits = Limits(self)
        self.approvals = Approvals(self)
        self.tools = Tools(self)
        self.versions = Versions(self)
        self.bakeoffs = Bakeoffs(self)
        self.evaluations = Evaluations(self)
        self.reviews = Reviews(self)
        self.gates = Gates(self)
        self.releases = Releases(self)
        self.batches = Batches(self)
        self.loadtests = LoadTests(self)
        self.routes = Routes(self)
        self.rollouts = Rollouts(self)
        self.traces = Traces(self)
        self.logs = Logs(self)
        self.metrics = Metrics(self)
        self.views = Views(self)
        self.sessions = Sessions(self)
        self.monitors = Monitors(self)
        self.alerts = Alerts(self)
        self.keys = Keys(self)
        self.people = People(self)
        self.providers = Providers(self)
        self.policy = Policy(self)
        self.audit = Audit(self)
        self.masking = Masking(self)
        self.erasures = Erasures(self)
        self.weights = Weights(self)
        self.tunes = Tunes(self)

    @property
    def address(self) -> str:
        return self.transport.address

    def close(self) -> None:
        self.transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def sql(self, sql: str = "", **more: Any) -> SqlAnswer:
        """One SELECT over `spans`, `traces`, `scores`, `logs` and `ledger` of this project; without one the answer says what they have.
        `more` are the fields of `SqlQuery`. `pandas.DataFrame(a.rows, columns=[c.name for c in a.columns])` is a dataframe. Operation
        `traces.sql`."""
        return self.call(SQL, taken(SqlQuery, {"sql": sql, "project": self.project} | more))

    def call(self, operation: Operation[P, R], params: P) -> R:
        """Do one operation. Raises the error the server answered, or `Unavailable`."""
        data = b"".join(self._send(operation, params).body)
        try:
            return msgspec.json.decode(data, type=operation.result)
        except msgspec.DecodeError as e:
            raise Unavailable(
                f"the server answered what is no {operation.result.__name__}: {e}", where=self.address, remedy="is it the same version?"
            ) from e

    def stream(self, operation: Operation[P, R], params: P) -> Iterator[R]:
        """The events of an operation that streams. Closing the iterator cancels it."""
        answer = self._send(operation, params)
        decoder = msgspec.json.Decoder(operation.result)
        pending = b""
        for piece in answer.body:
            pending += piece
            *events, pending = pending.split(b"\n\n")
            for event in events:
                if event.startswith(b"data: "):
                    yield decoder.decode(event[6:])

    def _send(self, operation: Operation[P, R], params: P) -> Answer:
        if operation.verb == "GET":
            answer = self.transport.send("GET", operation.path, query=encode(params))
        else:
            answer = self.transport.send("POST", operation.path, body=msgspec.json.encode(params))
        self._check(answer)
        return answer

    @staticmethod
    def _check(answer: Answer) -> None:
        if answer.status >= 400:
            data = b"".join(answer.body)
            try:
                body = msgspec.json.decode(data)
            except msgspec.DecodeError:
                body = {}
            raise error_from_dict(body if isinstance(body, dict) else {}, answer.status)

    def run(
        self, target: str, input: Any = None, *, session: str | None = None, user: str | None = None, grant: str | None = None
    ) -> runs.RunResult:
        """Run a component, chain, agent, tool, index or release once; by the `grant` alone, where one is named. Operation `runs.start`."""
        return self.call(runs.RUN, runs.RunRequest(target, input, self.project, session, user, grant))

    def run_stream(
        self, target: str, input: Any = None, *, session: str | None = None, user: str | None = None, grant: str | None = None
    ) -> Iterator[runs.RunPiece]:
        """`run` as it happens: text, then the result. Raises the run's error. Operation `runs.stream`."""
        for piece in self.stream(runs.RUN_STREAM, runs.RunRequest(target, input, self.project, session, user, grant)):
            if piece.error:
                raise error_from_dict(piece.error)
            yield piece

    def models(self) -> runs.ModelList:
        """Models this installation can call. Operation `models.list`."""
        return self.call(runs.MODELS, Empty())

    def search_models(self, query: discover.CatalogQuery | None = None) -> discover.CatalogPage:
        """Models of the catalog that fit, also those this installation cannot call. Operation `models.search`."""
        return self.call(discover.SEARCH, query or discover.CatalogQuery())

    def push(
        self,
        folder: Path | str = ".",
        *,
        branch: str | None = None,
        dry: bool = False,
        over: bool = False,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> tuple[registry.PushReport, list[str]]:
        """Register a workspace: import it in a child process, upload what is missing, register all or nothing. Returns the report,
        and a sentence for each row that was left out. `over`: also over rows that were changed on the server. `progress` is told
        `(step, done, total)`. Operation `registry.push`."""
        say = progress or (lambda step, done, total: None)
        say("reading", 0, 1)
        with collect(Path(folder).resolve(), branch=branch) as found:
            bundle = found.bundle
            bundle.dry, bundle.over = dry, over
            if not dry:
                missing = self.call(registry.BLOBS_MISSING, registry.BlobQuery(tuple(sorted(found.blobs)))).missing
                for number, digest in enumerate(missing, 1):
                    say("uploading", number, len(missing))
                    self.put_blob(digest, found.blobs[digest].read_bytes())
                for version in (v for v in bundle.versions if v.kind in ("dataset", "fewshot")):
                    send_rows(self.call, version, found.rows, partial(say, f"rows of {version.name}"))
            say("registering", 1, 1)
            return self.call(registry.PUSH, bundle), found.warnings

    def put_blob(self, digest: str, data: bytes) -> None:
        """Upload bytes under their digest."""
        self._check(self.transport.send("PUT", f"/api/v1/blobs/{digest}", body=data, kind="application/octet-stream"))

    def get_blob(self, digest: str) -> Iterator[bytes]:
        """Bytes by digest, piece by piece; asked for when the first is."""

        def pieces() -> Iterator[bytes]:
            answer = self.transport.send("GET", f"/api/v1/blobs/{digest}")
            self._check(answer)
            yield from answer.body

        return pieces()

    def status(self) -> system.Status:
        """Operation `system.status`."""
        return self.call(system.STATUS, Empty())
