"""What a release was shown must not test it: rows of a suite that stand, the same or nearly, among its examples or its training data."""

from __future__ import annotations

from collections.abc import Sequence

from windlass.core.ref import parse_ref
from windlass.core.score import LeftOut
from windlass.evaluate.experiments import Suite
from windlass.registry.datasets import Datasets
from windlass.registry.leaks import Leaks
from windlass.registry.versions import Versions

TRAINED = "trained-on"


class Leakage:
    """Finds the rows that a gate leaves out."""

    def __init__(self, versions: Versions, datasets: Datasets, leaks: Leaks) -> None:
        self._versions = versions
        self._datasets = datasets
        self._leaks = leaks

    def of(self, suite: Suite, releases: Sequence[str]) -> tuple[LeftOut, ...]:
        """Rows that these releases were shown, by key. A foreign application says nothing of what it was shown."""
        if isinstance(suite.body.target, dict):
            return ()
        parts = {p.digest: p for r in releases for p in self._versions.closure(parse_ref(r, project=suite.version.project))}
        shown = {d: p for d, p in parts.items() if p.kind == "fewshot"}
        for part in parts.values():
            for link in part.links:
                if link.relation == TRAINED and link.kind in ("dataset", "fewshot"):
                    shown[link.digest] = self._versions.get(part.project, link.kind, link.name, link.digest)
        if not shown:
            return ()
        rows = self._datasets.rows(suite.dataset, suite.body.split)
        found = self._leaks.of(rows, [shown[d] for d in sorted(shown)])
        return tuple(LeftOut(k, found[k].where.ref.short, found[k].other, found[k].likeness) for k in sorted(found))
