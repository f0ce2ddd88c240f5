"""Days that are kept no longer, in DuckDB: the file goes, and what the ledger says of it goes on in another day's file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from windlass.store.blobs_folder import sync_folder
from windlass.store.span_ledger import GONE, hour_of

if TYPE_CHECKING:
    import duckdb

FATES = ("indexed", "kept")  # what is counted so was there until now


def carry(db: duckdb.DuckDBPyConnection, name: str, day: str, into: str) -> int:
    """Enter in another file that what this one has is expired, and how far the journals were read, in a transaction of the caller's.
    Done again after it was cut off, it is entered once. Returns how many rows go."""
    (count,) = db.execute(f"SELECT (SELECT count(project) FROM {name}.spans) + (SELECT count(*) FROM {name}.points)").fetchone() or (0,)
    (what,) = db.execute(f"SELECT to_hex(bit_xor(hash(l))) FROM {name}.ledger l").fetchone() or ("",)
    known = db.execute(f"SELECT items FROM {into}.ledger WHERE what = '{GONE}' AND hour = ? AND source = ?", [hour_of(day), str(what)])
    if known.fetchone() is None:
        fates = ", ".join(f"'{fate}'" for fate in FATES)
        db.execute(
            f"INSERT INTO {into}.ledger SELECT project, hour, source, signal,"
            f" CASE WHEN what IN ({fates}) THEN 'expired' ELSE what END AS w, sum(items)::BIGINT FROM {name}.ledger"
            " GROUP BY project, hour, source, signal, w ON CONFLICT DO UPDATE SET items = items + excluded.items"
        )
        db.execute(f"INSERT INTO {into}.ledger VALUES ('', ?, ?, '', '{GONE}', ?)", [hour_of(day), str(what), count])
    db.execute(
        f'INSERT INTO {into}.positions FROM {name}.positions ON CONFLICT DO UPDATE SET segment = excluded.segment, "read" = excluded."read"'
        ' WHERE (excluded.segment, excluded."read") > (positions.segment, positions."read")'
    )
    return int(count)


def remove(db: duckdb.DuckDBPyConnection, name: str, path: Path) -> None:
    """Close a day's file and remove it."""
    db.execute(f"DETACH {name}")
    for gone in (path, path.with_name(path.name + ".wal")):
        gone.unlink(missing_ok=True)
    sync_folder(path.parent)
