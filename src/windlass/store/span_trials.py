"""Runs that a rollout put on an arm, and scores of them, as they came, in DuckDB. Places as in `span_arrivals.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from windlass.core import span as names
from windlass.store.span_columns import HEX_SPAN, said
from windlass.store.span_filters import places
from windlass.store.spans import Trial, TrialQuery, Trials

if TYPE_CHECKING:
    import duckdb

# what a run or a score is, of the spans that say the rollout: every step of a run does
OF_THESE = "(kind = 'request' OR (kind = 'evaluator' AND {0} IS NOT NULL))"
SAID = (names.ARM, names.ROLLOUT_UNIT, names.ROLLOUT_STAGE, names.NOT_COMPARED, names.SCORED)


def trials_of(db: duckdb.DuckDBPyConnection, days: Sequence[tuple[str, str]], query: TrialQuery) -> Trials:
    reached, found, more = places(query.cursor), list[Trial](), False
    told = ", ".join(map(said, SAID))
    columns = f"{HEX_SPAN}, start_ns, end_ns, status, cost, {told}, CAST({said(names.SCORE)} AS DOUBLE), {said(names.GIVEN)}"
    fits = f"project = ? AND {OF_THESE.format(said(names.SCORED))} AND {said(names.ROLLOUT)} = ?"
    for day, name in days:
        after, file = reached.get(day, -1), f"{name}.spans"
        (last,) = db.execute(f"SELECT max(rowid) FROM {file}").fetchone() or (None,)
        if last is None or last <= after:
            continue
        room = query.limit - len(found)
        rows = db.execute(
            f"SELECT rowid, {columns} FROM {file} WHERE rowid > ? AND rowid <= ? AND {fits} ORDER BY rowid LIMIT ?",
            [after, last, query.project, query.rollout, room + 1],
        ).fetchall()
        found += [Trial(*row[1:]) for row in rows[:room]]
        more = more or len(rows) > room
        reached[day] = (rows[room - 1][0] if room else after) if len(rows) > room else last
    return Trials(tuple(found), ",".join(f"{day}:{place}" for day, place in sorted(reached.items())), more)
