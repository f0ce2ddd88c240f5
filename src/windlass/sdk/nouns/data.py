"""Datasets and what they are made of: pins, indexes, and every artifact's versions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from windlass.core.errors import error_from_dict
from windlass.core.operations import datasets, graph, indexes, pins, prompts, registry
from windlass.core.operations.query import taken
from windlass.sdk.adding import add_file
from windlass.sdk.nouns.group import POLL_SECONDS, Group


class Artifacts(Group):
    def list(self, kind: str | None = None, search: str | None = None, cursor: str | None = None, limit: int = 50) -> registry.ArtifactPage:
        """Operation `artifacts.list`."""
        return self._client.call(registry.ARTIFACTS, registry.ArtifactQuery(self._project, kind, search, cursor, limit))


class Versions(Group):
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
        return self._client.call(registry.LINEAGE, taken(registry.LineageQuery, asked))

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


class Prompts(Group):
    def get(self, ref: str, number: int | None = None) -> prompts.PromptVersion:
        """A prompt with all that rendering needs: `name:label` or `name@digest`, or `name` and which version of it, from 1. Operation
        `prompts.get`."""
        return self._client.call(prompts.GET, prompts.PromptQuery(ref, self._project, number=number))


class Datasets(Group):
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
        return self._client.call(datasets.ROWS_DIFF, taken(datasets.RowsDiffQuery, asked))

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


class Pins(Group):
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


class Indexes(Group):
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
