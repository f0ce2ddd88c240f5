"""What is served: batches, load tests."""

from __future__ import annotations

import time
from typing import Any

from windlass.core.errors import error_from_dict
from windlass.core.operations.batches import (
    BATCH,
    BATCHES,
    CANCEL_BATCH,
    RESUME_BATCH,
    START_BATCH,
    Batch,
    BatchId,
    BatchPage,
    BatchQuery,
    BatchRequest,
    BatchResume,
)
from windlass.core.operations.loadtests import (
    CANCEL_LOADTEST,
    LOADTEST,
    LOADTESTS,
    START_LOADTEST,
    LoadRequest,
    LoadTest,
    LoadTestId,
    LoadTestPage,
    LoadTestQuery,
    Objectives,
)
from windlass.core.operations.query import taken
from windlass.sdk.nouns.group import POLL_SECONDS, Group


class Batches(Group):
    def start(self, target: str, data: str, **more: Any) -> Batch:
        """Run a release, or what else can be run, over every row of a dataset; begun when this returns. `more` are the fields of
        `BatchRequest`. Operation `batches.start`."""
        return self._client.call(START_BATCH, taken(BatchRequest, {"target": target, "data": data, "project": self._project} | more))

    def list(self, cursor: str | None = None, limit: int = 50) -> BatchPage:
        """Newest first. Operation `batches.list`."""
        return self._client.call(BATCHES, BatchQuery(self._project, cursor, limit))

    def show(self, id: str) -> Batch:
        """Operation `batches.show`, by the id or a part of it."""
        return self._client.call(BATCH, BatchId(id, self._project))

    def cancel(self, id: str) -> Batch:
        """Begin no further row. Operation `batches.cancel`."""
        return self._client.call(CANCEL_BATCH, BatchId(id, self._project))

    def resume(self, id: str, budget: float | None = None, again: bool = False) -> Batch:
        """Go on with rows that have no answer; `again` with those that failed too. Operation `batches.resume`."""
        return self._client.call(RESUME_BATCH, BatchResume(id, self._project, budget, again))

    def wait(self, id: str) -> Batch:
        """Until it has ended. Raises what it failed by."""
        while (batch := self.show(id)).status in ("queued", "running"):
            time.sleep(POLL_SECONDS)
        if batch.status == "failed" and batch.error:
            raise error_from_dict(batch.error)
        return batch


class LoadTests(Group):
    def start(self, target: str, data: str, objectives: Objectives, **more: Any) -> LoadTest:
        """Ask a release at a rate, and hold it against objectives; begun when this returns. `more` are the fields of `LoadRequest`.
        Operation `loadtests.start`."""
        return self._client.call(START_LOADTEST, LoadRequest(target, data, objectives, self._project, **more))

    def list(self, cursor: str | None = None, limit: int = 50) -> LoadTestPage:
        """Newest first. Operation `loadtests.list`."""
        return self._client.call(LOADTESTS, LoadTestQuery(self._project, cursor, limit))

    def show(self, id: str) -> LoadTest:
        """Operation `loadtests.show`, by the id or a part of it."""
        return self._client.call(LOADTEST, LoadTestId(id, self._project))

    def cancel(self, id: str) -> LoadTest:
        """Operation `loadtests.cancel`."""
        return self._client.call(CANCEL_LOADTEST, LoadTestId(id, self._project))

    def wait(self, id: str) -> LoadTest:
        """Until it has ended. Raises what it failed by."""
        while (test := self.show(id)).status in ("queued", "running"):
            time.sleep(POLL_SECONDS)
        if test.status == "failed" and test.error:
            raise error_from_dict(test.error)
        return test
