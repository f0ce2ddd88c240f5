"""Points of metrics as rows. A point is what one series measured at one time; the port that keeps them is `SpanStore`.

The identity of a point is project, time and the digest of all it says: what an exporter sends again after a lost answer is byte for byte
the same, and is dropped. Another value of the same series, start and time is a revision, of which the newest counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from windlass.core.operations.metrics import PointType, Temporality
from windlass.store.spans import SpanRow


class PointRow(msgspec.Struct):
    """One point as it is stored. Times are UTC nanoseconds; `start_ns` 0 where it is not told. Of a gauge or sum there is `value`; of a
    histogram or summary `count` and `total`, and `shape`: JSON of a `store.histograms.Shape`, or of a summary's quantiles. All of
    these are None where the sender says that nothing was recorded."""

    project: str
    metric: str
    unit: str
    type: PointType
    temporality: Temporality
    monotonic: bool
    service: str
    start_ns: int
    time_ns: int
    receipt_ns: int
    series: str  # 16 hex digits of all that tells one series from another
    digest: str  # 16 hex digits of all it says
    value: float | None = None
    count: int | None = None
    total: float | None = None
    low: float | None = None
    high: float | None = None
    shape: str | None = None
    attributes: str = "{}"
    resource: str = "{}"  # with the scope, as of spans
    description: str = ""


Row = SpanRow | PointRow
COLUMNS = PointRow.__struct_fields__
SAID = tuple(c for c in COLUMNS if c != "receipt_ns")  # what a point says, whenever it came


def apart(rows: Sequence[Row]) -> tuple[list[SpanRow], list[PointRow]]:
    """Spans, and points."""
    return [r for r in rows if isinstance(r, SpanRow)], [r for r in rows if isinstance(r, PointRow)]
