"""The client: everything Windlass can do, from Python. One typed method for each operation, grouped by noun.

client = windlass.Client()                      the server that WINDLASS_URL, a login or the local data folder names
client.run("release/answer:production", "How do I sort a dict?").text
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from windlass.core.errors import Unavailable, error_from_dict
from windlass.core.operations import (
    Empty,
    Operation,
    alerts,
    bakeoffs,
    datasets,
    deploy,
    discover,
    evaluation,
    graph,
    indexes,
    monitors,
    pins,
    registry,
    reviews,
    runs,
    system,
    traces,
    tuning,
    weights,
)
from windlass.core.operations.query import encode
from windlass.core.score import Verdict
from windlass.sdk.adding import add_file
from windlass.sdk.collect import collect
from windlass.sdk.modelfolder import read_folder, write_folder
from windlass.sdk.servers import find_server
from windlass.sdk.transport import Answer, HttpTransport, Transport
from windlass.sdk.upload import send_rows

P = TypeVar("P", bound=msgspec.Struct)
R = TypeVar("R")
POLL_SECONDS = 0.2


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
        self.versions = Versions(self)
        self.bakeoffs = Bakeoffs(self)
        self.evaluations = Evaluations(self)
        self.reviews = Reviews(self)
        self.gates = Gates(self)
        self.releases = Releases(self)
        self.traces = Traces(self)
        self.monitors = Monitors(self)
        self.alerts = Alerts(self)
        self.keys = Keys(self)
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

    def run(self, target: str, input: Any = None, *, session: str | None = None, user: str | None = None) -> runs.RunResult:
        """Run a component, chain, agent, tool, index or release once. Operation `runs.start`."""
        return self.call(runs.RUN, runs.RunRequest(target, input, self.project, session, user))

    def run_stream(self, target: str, input: Any = None, *, session: str | None = None, user: str | None = None) -> Iterator[runs.RunPiece]:
        """`run` as it happens: text, then the result. Raises the run's error. Operation `runs.stream`."""
        for piece in self.stream(runs.RUN_STREAM, runs.RunRequest(target, input, self.project, session, user)):
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


class _Group:
    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def _project(self) -> str:
        return self._client.project


class Artifacts(_Group):
    def list(self, kind: str | None = None, search: str | None = None, cursor: str | None = None, limit: int = 50) -> registry.ArtifactPage:
        """Operation `artifacts.list`."""
        return self._client.call(registry.ARTIFACTS, registry.ArtifactQuery(self._project, kind, search, cursor, limit))


class Datasets(_Group):
    def rows(
        self, ref: str, split: str | None = None, cursor: str | None = None, limit: int = 50, *, search: str | None = None
    ) -> datasets.RowsPage:
        """Rows of a dataset. Operation `datasets.rows`."""
        return self._client.call(datasets.ROWS, datasets.RowsQuery(ref, self._project, split, search, cursor, limit))

    def all(self, ref: str) -> Iterator[dict[str, Any]]:
        """Every row, in the order of keys, a page at a time."""
        page = self.rows(ref, limit=200)
        yield from page.items
        while page.next:
            page = self.rows(page.ref, cursor=page.next, limit=200)
            yield from page.items

    def edit(
        self,
        ref: str,
        set: Iterable[dict[str, Any]] = (),
        remove: Iterable[str] = (),
        *,
        expected: str | None = None,
        message: str = "",
        drift: bool = False,
    ) -> datasets.Edited:
        """Set and remove rows of `name:branch`. Operation `datasets.edit`."""
        asked = datasets.EditRequest(ref, tuple(set), tuple(remove), self._project, expected, message, drift)
        return self._client.call(datasets.EDIT, asked)

    def add(
        self,
        ref: str,
        file: Path | str,
        *,
        expected: str | None = None,
        message: str = "",
        drift: bool = False,
        tell: Callable[[str], None] = lambda problem: None,
        progress: Callable[[str, int, int], None] = lambda step, done, total: None,
    ) -> datasets.Edited:
        """Set the rows of a JSONL or CSV file of any size in `name:branch`, in one version or none; see `add_file`. Operations `rows.pack`,
        `datasets.edit`."""
        return add_file(
            self._client.call, self._project, ref, Path(file), expected=expected, message=message, drift=drift, tell=tell, progress=progress
        )

    def diff(self, a: str, b: str, only: str = "all", cursor: str | None = None, limit: int = 50) -> datasets.RowsDiff:
        """Rows that differ. Operation `datasets.diff`."""
        asked = {"a": a, "b": b, "project": self._project, "only": only, "cursor": cursor, "limit": limit}
        return self._client.call(datasets.ROWS_DIFF, msgspec.convert(asked, datasets.RowsDiffQuery))

    def merge(
        self,
        ours: str,
        theirs: str,
        *,
        base: str | None = None,
        choose: dict[str, Literal["ours", "theirs"]] | None = None,
        prefer: Literal["ours", "theirs"] | None = None,
        dry: bool = False,
    ) -> datasets.Merged:
        """Merge what `theirs` changed into the branch `ours`. Operation `datasets.merge`."""
        return self._client.call(datasets.MERGE, datasets.MergeRequest(ours, theirs, self._project, base, choose or {}, prefer, dry))

    def duplicates(
        self,
        ref: str,
        against: str | None = None,
        *,
        fields: Iterable[str] = (),
        near: float = 0.8,
        cursor: str | None = None,
        limit: int = 50,
    ) -> datasets.Duplicates:
        """Rows that say the same. Operation `datasets.duplicates`."""
        asked = datasets.DuplicatesQuery(ref, self._project, against, tuple(fields), near, cursor, limit)
        return self._client.call(datasets.DUPLICATES, asked)

    def harvest(self, ref: str, traces: Iterable[str], fields: dict[str, Any] | None = None, message: str = "") -> datasets.Edited:
        """Rows from traces. Operation `datasets.harvest`."""
        return self._client.call(datasets.HARVEST, datasets.HarvestRequest(ref, tuple(traces), fields or {}, self._project, message))


class Pins(_Group):
    """What reads a source returns when it has been read, and raises what went wrong; `progress` is told how many rows have come."""

    def add(self, name: str, source: str, *, progress: Callable[[int], None] = lambda rows: None, **what: Any) -> pins.PinDetail:
        """`what` are the further fields of `PinAdd`. Operation `pins.add`."""
        return self._detail(self._client.call(pins.ADD_PIN, pins.PinAdd(name, source, project=self._project, **what)), progress)

    def list(self, cursor: str | None = None, limit: int = 50) -> pins.PinPage:
        """Operation `pins.list`."""
        return self._client.call(pins.PINS, pins.PinQuery(self._project, cursor, limit))

    def show(self, name: str) -> pins.PinDetail:
        """Operation `pins.show`."""
        return self._client.call(pins.SHOW_PIN, pins.PinShow(name, self._project))

    def read(self, name: str, limit: int = 20) -> pins.PinRows:
        """Rows as they were pinned. Operation `pins.read`."""
        return self._client.call(pins.READ_PIN, pins.PinRead(name, limit, self._project))

    def compare(self, name: str, *, progress: Callable[[int], None] = lambda rows: None) -> pins.PinDifference:
        """What the source has now, held against what was pinned. Operation `pins.compare`."""
        job = self._done(self._client.call(pins.COMPARE_PIN, pins.PinCompare(name, self._project)), progress)
        assert job.difference is not None
        return job.difference

    def keep(self, name: str, *, now: bool = False, progress: Callable[[int], None] = lambda rows: None) -> pins.PinDetail:
        """Operation `pins.keep`."""
        return self._detail(self._client.call(pins.KEEP_PIN, pins.PinKeep(name, now, self._project)), progress)

    def job(self, id: str) -> pins.PinJob:
        """Operation `pins.job`."""
        return self._client.call(pins.PIN_JOB, pins.PinJobQuery(id, self._project))

    def _detail(self, job: pins.PinJob, progress: Callable[[int], None]) -> pins.PinDetail:
        job = self._done(job, progress)
        assert job.detail is not None
        return job.detail

    def _done(self, job: pins.PinJob, progress: Callable[[int], None]) -> pins.PinJob:
        while job.status in ("queued", "running"):
            time.sleep(POLL_SECONDS)
            job = self.job(job.id)
            progress(job.rows)
        if job.error:
            raise error_from_dict(job.error)
        return job


class Weights(_Group):
    def add(self, folder: Path, name: str, licence: str, description: str = "", source: str = "") -> weights.WeightsState:
        """Bring a folder with a model in: config, tokenizer, safetensors. Raises `Invalid` for what is none. Operation `weights.add`."""
        files = read_folder(folder)
        missing = self._client.call(registry.BLOBS_MISSING, registry.BlobQuery(tuple(sorted(set(files.values()))))).missing
        for path, digest in files.items():
            if digest in missing:
                self._client.put_blob(digest, (folder / path).read_bytes())
        return self._client.call(weights.ADD_WEIGHTS, weights.WeightsAdd(name, files, licence, self._project, description, source))

    def list(self, cursor: str | None = None, limit: int = 50) -> weights.WeightsPage:
        """Operation `weights.list`."""
        return self._client.call(weights.WEIGHTS, weights.WeightsQuery(self._project, cursor, limit))

    def show(self, which: str) -> weights.WeightsState:
        """By id, ref or name. Operation `weights.show`."""
        return self._client.call(weights.SHOW_WEIGHTS, weights.WeightsShow(which, self._project))

    def check(self, which: str) -> weights.WeightsCheck:
        """Load them in a fresh process, and see whether they answer as they did. Operation `weights.check`."""
        return self._client.call(weights.CHECK_WEIGHTS, weights.WeightsShow(which, self._project))

    def export(self, which: str, folder: Path) -> weights.WeightsState:
        """Write the files to a folder that is empty or not there, each checked against its digest."""
        found = self.show(which)
        write_folder(folder, {path: self._client.get_blob(digest) for path, digest in found.files.items()}, found.files)
        return found


class Tunes(_Group):
    def start(self, request: tuning.TuneRequest) -> tuning.Tune:
        """Begin to tune; `show` says how far it is. Operation `tune.start`."""
        return self._client.call(tuning.TUNE, request)

    def list(self, name: str | None = None, cursor: str | None = None, limit: int = 20) -> tuning.TunePage:
        """Operation `tune.list`."""
        return self._client.call(tuning.TUNES, tuning.TuneQuery(self._project, name, cursor, limit))

    def show(self, id: str) -> tuning.Tune:
        """Operation `tune.show`."""
        return self._client.call(tuning.SHOW_TUNE, evaluation.IdQuery(id, self._project))

    def points(self, id: str, after: int = -1) -> tuning.Points:
        """Figures of the steps after one. Operation `tune.points`."""
        return self._client.call(tuning.POINTS, tuning.PointsQuery(id, self._project, after))

    def cancel(self, id: str) -> tuning.Tune:
        """Operation `tune.cancel`."""
        return self._client.call(tuning.CANCEL_TUNE, evaluation.IdQuery(id, self._project))

    def resume(self, id: str) -> tuning.Tune:
        """Go on from the last whole checkpoint. Operation `tune.resume`."""
        return self._client.call(tuning.RESUME_TUNE, evaluation.IdQuery(id, self._project))

    def compare(self, id: str, suite: str, part: str | None = None, previous: str | None = None) -> tuning.TuneComparison:
        """Hold it against the frozen and the previous model; `compared` says how far that is. Operation `tune.compare`."""
        return self._client.call(tuning.COMPARE_TUNE, tuning.CompareTune(id, suite, self._project, part, previous))

    def compared(self, id: str) -> tuning.Comparisons:
        """Operation `tune.compared`."""
        return self._client.call(tuning.COMPARISONS, tuning.ComparisonsQuery(id, self._project))


class Indexes(_Group):
    def list(self) -> indexes.IndexList:
        """The newest version of each. Operation `indexes.list`."""
        return self._client.call(indexes.INDEXES, indexes.IndexesQuery(self._project))

    def show(self, ref: str) -> indexes.IndexDetail:
        """Operation `indexes.show`."""
        return self._client.call(indexes.INDEX, indexes.IndexQuery(ref, self._project))

    def chunks(self, ref: str, **filters: Any) -> indexes.ChunkPage:
        """Filters are the fields of `ChunksQuery`. Operation `indexes.chunks`."""
        return self._client.call(indexes.CHUNKS, indexes.ChunksQuery(ref, self._project, **filters))

    def search(
        self, ref: str, query: str, k: int = 10, where: dict[str, Any] | None = None, how: indexes.How | None = None
    ) -> indexes.Searched:
        """Search as applications do. Operation `indexes.search`."""
        return self._client.call(indexes.FIND, indexes.SearchRequest(ref, query, k, how, where or {}, self._project))

    def diff(self, a: str, b: str) -> indexes.IndexDiff:
        """Operation `indexes.diff`."""
        return self._client.call(indexes.INDEX_DIFF, indexes.IndexDiffQuery(a, b, self._project))


class Versions(_Group):
    def list(self, name: str, cursor: str | None = None, limit: int = 50) -> registry.VersionPage:
        """Versions of `kind/name`. Operation `versions.list`."""
        return self._client.call(registry.VERSIONS, registry.VersionQuery(name, self._project, cursor, limit))

    def show(self, ref: str) -> registry.VersionDetail:
        """Operation `versions.show`."""
        return self._client.call(registry.SHOW, registry.RefQuery(ref, self._project))

    def diff(self, a: str, b: str) -> registry.Diff:
        """Operation `versions.diff`."""
        return self._client.call(registry.DIFF, registry.DiffQuery(a, b, self._project))

    def lineage(self, ref: str, direction: str = "both", depth: int = 6) -> registry.Graph:
        """Operation `lineage.walk`."""
        asked = {"ref": ref, "direction": direction, "depth": depth, "project": self._project}
        return self._client.call(registry.LINEAGE, msgspec.convert(asked, registry.LineageQuery))

    def label(self, ref: str, digest: str, expected: str | None = None) -> registry.LabelState:
        """Move a branch label, `kind/name:label`. Operation `labels.move`."""
        return self._client.call(registry.MOVE_LABEL, registry.LabelMove(ref, digest, expected, self._project))

    def why(self, ref: str) -> graph.WhyVersion:
        """Where a version came from. Operation `versions.why`."""
        return self._client.call(graph.WHY_VERSION, graph.VersionQuestion(ref, self._project))

    def why_row(self, ref: str, key: str) -> graph.WhyRow:
        """Where a row of a dataset came from, and how it was answered. Operation `rows.why`."""
        return self._client.call(graph.WHY_ROW, graph.RowQuestion(ref, key, self._project))

    def impact(self, ref: str) -> graph.Impact:
        """What a change of it touches. Operation `versions.impact`."""
        return self._client.call(graph.IMPACT, graph.VersionQuestion(ref, self._project))

    def reproduce(self, what: str) -> graph.Reproduced:
        """Do a trace's run or a version's making again. Operation `versions.reproduce`."""
        return self._client.call(graph.REPRODUCE, graph.ReproduceRequest(what, self._project))

    def verify(self) -> registry.VerifyReport:
        """Re-derive every digest and link. Operation `registry.verify`."""
        return self._client.call(registry.VERIFY, registry.VerifyQuery(self._project))


class Bakeoffs(_Group):
    def start(self, request: bakeoffs.BakeoffRequest) -> bakeoffs.Bakeoff:
        """Operation `discover.start`."""
        return self._client.call(bakeoffs.DISCOVER, request)

    def show(self, id: str) -> bakeoffs.Bakeoff:
        """Operation `discover.show`."""
        return self._client.call(bakeoffs.BAKEOFF, evaluation.IdQuery(id, self._project))

    def list(self, suite: str | None = None, cursor: str | None = None, limit: int = 20) -> bakeoffs.BakeoffPage:
        """Operation `discover.list`."""
        return self._client.call(bakeoffs.BAKEOFFS, bakeoffs.BakeoffQuery(self._project, suite, cursor, limit))

    def measured(self, model: str | None = None, suite: str | None = None) -> bakeoffs.MeasuredPage:
        """What was measured of models here. Operation `models.measured`."""
        return self._client.call(bakeoffs.MEASURED, bakeoffs.MeasuredQuery(self._project, model, suite))


class Reviews(_Group):
    def add(
        self,
        queue: str,
        traces: Iterable[str] = (),
        *,
        items: Iterable[reviews.NewReview] = (),
        reason: str = "",
        suggested: dict[str, Any] | None = None,
        kind: reviews.ReviewKind | None = None,
        guidelines: str | None = None,
        raters: int | None = None,
    ) -> reviews.ReviewAdded:
        """Put traces to label, or any `items`, into a queue. Operation `reviews.add`."""
        each = tuple(reviews.NewReview((trace,), reason=reason, suggested=suggested or {}) for trace in traces)
        asked = reviews.ReviewAdd(queue, (*each, *items), kind, guidelines, raters, self._project)
        return self._client.call(reviews.ADD_REVIEWS, asked)

    def queues(self, cursor: str | None = None, limit: int = 50) -> reviews.ReviewPage:
        """The queues. Operation `reviews.list`."""
        return self._client.call(reviews.REVIEWS, reviews.ReviewsQuery(None, None, self._project, cursor, limit))

    def list(self, queue: str, state: str | None = None, cursor: str | None = None, limit: int = 50) -> reviews.ReviewPage:
        """Items of a queue. Operation `reviews.list`."""
        asked = {"queue": queue, "state": state, "project": self._project, "cursor": cursor, "limit": limit}
        return self._client.call(reviews.REVIEWS, msgspec.convert(asked, reviews.ReviewsQuery))

    def show(self, id: str) -> reviews.Review:
        """Operation `reviews.show`."""
        return self._client.call(reviews.REVIEW, reviews.ReviewQuery(id, self._project))

    def decide(
        self,
        id: str,
        fields: dict[str, Any] | None = None,
        *,
        choose: reviews.Choice | None = None,
        skip: str | None = None,
        undo: bool = False,
    ) -> reviews.Review:
        """Say what is right. Operation `reviews.decide`."""
        return self._client.call(reviews.DECIDE, reviews.ReviewDecide(id, fields, choose, skip, undo, self._project))

    def keep(self, queue: str, message: str = "") -> reviews.ReviewsKept:
        """A dataset version of what is decided. Operation `reviews.keep`."""
        return self._client.call(reviews.KEEP_REVIEWS, reviews.ReviewKeep(queue, message, self._project))


class Evaluations(_Group):
    def start(self, suite: str, target: str | None = None, *, fresh: bool = False) -> evaluation.Evaluation:
        """Operation `evaluations.start`."""
        return self._client.call(evaluation.EVALUATE, evaluation.EvaluateRequest(suite, target, self._project, fresh))

    def list(self, suite: str | None = None, cursor: str | None = None, limit: int = 50) -> evaluation.EvaluationPage:
        """Operation `evaluations.list`."""
        return self._client.call(evaluation.EVALUATIONS, evaluation.EvaluationQuery(self._project, suite, cursor, limit))

    def show(self, id: str) -> evaluation.Evaluation:
        """Operation `evaluations.show`."""
        return self._client.call(evaluation.EVALUATION, evaluation.IdQuery(id, self._project))

    def outcomes(self, id: str, only: str = "all", cursor: str | None = None, limit: int = 50) -> evaluation.OutcomePage:
        """Operation `evaluations.outcomes`."""
        asked = {"id": id, "project": self._project, "cursor": cursor, "limit": limit, "only": only}
        return self._client.call(evaluation.OUTCOMES, msgspec.convert(asked, evaluation.OutcomesQuery))

    def compare(self, a: str, b: str, only: str = "changed", cursor: str | None = None, limit: int = 50) -> evaluation.Comparison:
        """Operation `evaluations.compare`."""
        asked = {"a": a, "b": b, "project": self._project, "cursor": cursor, "limit": limit, "only": only}
        return self._client.call(evaluation.COMPARE, msgspec.convert(asked, evaluation.CompareQuery))


class Gates(_Group):
    def start(self, suite: str, candidate: str | None = None, environment: str = "production") -> evaluation.GateJob:
        """Operation `gate.start`."""
        return self._client.call(evaluation.GATE, evaluation.GateRequest(suite, candidate, self._project, environment))

    def show(self, id: str) -> evaluation.GateJob:
        """Operation `gate.show`."""
        return self._client.call(evaluation.GATE_JOB, evaluation.IdQuery(id, self._project))

    def verdicts(self, suite: str | None = None, cursor: str | None = None, limit: int = 50) -> evaluation.VerdictPage:
        """Operation `verdicts.list`."""
        return self._client.call(evaluation.VERDICTS, evaluation.VerdictQuery(self._project, suite, None, cursor, limit))

    def verdict(self, id: str) -> Verdict:
        """Operation `verdicts.show`."""
        return self._client.call(evaluation.VERDICT, evaluation.IdQuery(id, self._project))


class Releases(_Group):
    def promote(
        self,
        release: str,
        environment: str = "production",
        *,
        digest: str | None = None,
        verdict: str | None = None,
        override: str | None = None,
    ) -> deploy.Move:
        """Operation `releases.promote`."""
        return self._client.call(deploy.PROMOTE, deploy.PromoteRequest(release, environment, digest, verdict, override, self._project))

    def rollback(self, release: str, environment: str = "production") -> deploy.Move:
        """Operation `releases.rollback`."""
        return self._client.call(deploy.ROLLBACK, deploy.RollbackRequest(release, environment, self._project))

    def history(
        self, release: str | None = None, environment: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> deploy.History:
        """Operation `releases.history`."""
        return self._client.call(deploy.HISTORY, deploy.HistoryQuery(release, environment, self._project, cursor, limit))

    def list(self) -> deploy.ReleaseList:
        """Operation `releases.list`."""
        return self._client.call(deploy.RELEASES, deploy.ReleaseQuery(self._project))


class Traces(_Group):
    def list(self, **filters: Any) -> traces.TracePage:
        """Filters are the fields of `TraceQuery`. Operation `traces.list`."""
        return self._client.call(traces.TRACES, traces.TraceQuery(project=self._project, **filters))

    def show(self, id: str, cursor: str | None = None, limit: int = 200) -> traces.Trace:
        """Operation `traces.show`."""
        return self._client.call(traces.TRACE, traces.TraceShow(id, self._project, cursor, limit))

    def why(self, id: str) -> traces.Why:
        """Operation `traces.why`."""
        return self._client.call(traces.WHY, traces.TraceShow(id, self._project))

    def live(self, release: str | None = None, hours: int = 24) -> traces.LiveFigures:
        """Operation `traces.live`."""
        return self._client.call(traces.LIVE, traces.LiveQuery(self._project, release, hours))


class Monitors(_Group):
    def set(self, name: str, suite: str, **more: Any) -> monitors.MonitorState:
        """Make a monitor, or change one; `more` are the fields of `MonitorRequest`. Operation `monitors.set`."""
        asked = {"name": name, "suite": suite, "project": self._project} | more
        return self._client.call(monitors.SET_MONITOR, msgspec.convert(asked, monitors.MonitorRequest))

    def list(self, cursor: str | None = None, limit: int = 50) -> monitors.MonitorPage:
        """Operation `monitors.list`."""
        return self._client.call(monitors.MONITORS, monitors.MonitorQuery(self._project, cursor, limit))

    def show(self, name: str) -> monitors.MonitorDetail:
        """Operation `monitors.show`."""
        return self._client.call(monitors.MONITOR, monitors.MonitorName(name, self._project))

    def look(self, name: str, *, wait: bool = True) -> monitors.MonitorState:
        """Have it look at what came, and wait for what it says. Raises why it could not. Operation `monitors.look`."""
        state = self._client.call(monitors.LOOK_NOW, monitors.MonitorName(name, self._project))
        while wait and state.status == "looking":
            time.sleep(POLL_SECONDS)
            state = self.show(name).monitor
        if wait and state.problem:
            raise error_from_dict(state.problem)
        return state

    def pause(self, name: str, paused: bool = True) -> monitors.MonitorState:
        """Operation `monitors.pause`."""
        return self._client.call(monitors.PAUSE_MONITOR, monitors.MonitorPause(name, paused, self._project))

    def drift(self, name: str, hours: float = 168, against: float | None = None) -> monitors.DriftSeen:
        """The last hours against those before. Operation `monitors.drift`."""
        return self._client.call(monitors.DRIFT, monitors.DriftQuery(name, self._project, hours, against))

    def quality(self, release: str | None = None, **filters: Any) -> monitors.QualityOverTime:
        """Filters are the fields of `QualityQuery`. Operation `monitors.quality`."""
        return self._client.call(monitors.QUALITY, monitors.QualityQuery(self._project, release, **filters))


class Alerts(_Group):
    def set(self, name: str, **what: Any) -> alerts.AlertState:
        """The alert as it is to be, whole; `what` are the further fields of `AlertSet`. Operation `alerts.set`."""
        return self._client.call(alerts.SET_ALERT, alerts.AlertSet(name, project=self._project, **what))

    def list(self, cursor: str | None = None, limit: int = 50) -> alerts.AlertPage:
        """Operation `alerts.list`."""
        return self._client.call(alerts.ALERTS, alerts.AlertQuery(self._project, cursor, limit))

    def events(self, **filters: Any) -> alerts.EventPage:
        """Filters are the fields of `EventQuery`. Operation `alerts.events`."""
        return self._client.call(alerts.EVENTS, alerts.EventQuery(project=self._project, **filters))

    def show(self, event: str) -> alerts.EventDetail:
        """An event with its deliveries. Operation `alerts.show`."""
        return self._client.call(alerts.SHOW_EVENT, alerts.EventShow(event, self._project))

    def acknowledge(self, event: str, note: str = "") -> alerts.EventState:
        """Operation `alerts.acknowledge`."""
        return self._client.call(alerts.ACKNOWLEDGE, alerts.Acknowledge(event, note, self._project))

    def test(self, name: str) -> alerts.EventDetail:
        """Send a test event through one alert, and see what came of it. Operation `alerts.test`."""
        return self._client.call(alerts.TEST_ALERT, alerts.AlertTest(name, self._project))


class Keys(_Group):
    def create(self, name: str, role: Any = "caller", *, scopes: tuple[str, ...] = (), expires_ns: int | None = None) -> system.KeyInfo:
        """Operation `keys.create`."""
        return self._client.call(system.KEY_CREATE, system.KeyRequest(name, role, self._project, scopes, expires_ns))

    def list(self) -> system.KeyList:
        """Operation `keys.list`."""
        return self._client.call(system.KEYS, Empty())

    def revoke(self, id: str) -> system.KeyInfo:
        """Operation `keys.revoke`."""
        return self._client.call(system.KEY_REVOKE, system.KeyQuery(id))
