"""Which spans may have been revised, and in which traces a call may be told of twice, in DuckDB.

Both are rare and cost more to find than everything else that figures ask. So they are looked for once, and after that only in traces of
which something came since. The tables `revised` and `doubtful` may name too many, and never too few: who reads them looks again.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from windlass.core.span import LOG
from windlass.store.span_places import File

CALLS = "kind IN ('model', 'embedding')"
AT_ONCE = 1_500_000  # rows, of which 30 bytes each are in memory
KEPT = 2 * 86_400 * 10**9  # how much older than what is asked for may be looked through again and again


class Suspects:
    """Of the files of one connection, which keeps the tables."""

    def __init__(self, db: duckdb.DuckDBPyConnection) -> None:
        self._db = db
        self._since: int | None = None  # what began from then on was looked through
        self._rows: dict[str, int] = {}  # of each file

    def look(self, files: Sequence[File], since: int) -> None:
        """Makes the tables right for everything that began from a time on."""
        if self._since is None or since < self._since:
            self._since, self._rows = since, {}
            for table, column in (("revised", "span_id UBIGINT"), ("doubtful", "trace_id UUID")):
                self._db.execute(f"CREATE OR REPLACE TEMP TABLE {table} ({column})")
        elif since - self._since > KEPT:
            self._since = since
        there = {f.name: self._count(f) for f in files}
        new = [f for f in files if there[f.name] > self._rows.get(f.name, 0) and f.last_ns >= self._since]
        if not new:
            return
        first = not self._rows
        if not first:
            came = " UNION ALL ".join(f"SELECT trace_id FROM {f.name}.spans WHERE rowid >= {self._rows.get(f.name, 0)}" for f in new)
            self._db.execute(f"CREATE OR REPLACE TEMP TABLE touched AS SELECT DISTINCT trace_id FROM ({came})")
        began = [f for f in files if f.last_ns >= self._since]
        parts = -(-sum(there[f.name] for f in began) // AT_ONCE) if first else 1
        for part in range(parts):
            self._find(began, first, parts, part)
        self._rows = there

    def _count(self, file: File) -> int:
        (rows,) = self._db.execute(f"SELECT count(*) FROM {file.name}.spans").fetchone() or (0,)
        return int(rows)

    def _find(self, files: Sequence[File], first: bool, parts: int, part: int) -> None:
        """In one part of them, by what must be the same; a part fits in memory."""
        within = f"kind <> '{LOG}' AND start_ns >= {self._since}"

        def spans(key: str, where: str = "true") -> str:
            mine = f" AND {key if key != 'response' else 'hash(response)'} % {parts} = {part}" if parts > 1 else ""
            rows = (f"SELECT {key}, trace_id FROM {f.name}.spans WHERE {within} AND {where}{mine}" for f in files)
            return " UNION ALL ".join(rows) if first else f"FROM ({' UNION ALL '.join(rows)}) SEMI JOIN touched USING (trace_id)"

        self._db.execute(
            f"INSERT INTO revised SELECT span_id FROM ({spans('span_id')}) GROUP BY span_id HAVING count(*) > 1 EXCEPT FROM revised"
        )
        answered = spans("response", f"{CALLS} AND response IS NOT NULL")
        self._db.execute(
            f"INSERT INTO doubtful (SELECT trace_id FROM ({spans('span_id', CALLS)}) a SEMI JOIN ({spans('parent', CALLS)}) b"
            f" ON a.span_id = b.parent UNION SELECT trace_id FROM ({answered}) SEMI JOIN (SELECT hash(response) AS answer FROM ({answered})"
            " GROUP BY answer HAVING count(*) > 1) ON hash(response) = answer) EXCEPT FROM doubtful"
        )
