"""A question in SQL and its answer as a table; what can be asked beside it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.errors import Invalid, TooLarge
from windlass.core.operations.sql import SQL, SqlAnswer, SqlQuery, SqlView
from windlass.doors import format as words
from windlass.doors.asked import HOURS, asked_of
from windlass.doors.web.render import Asker, Handler, respond

SHOWN = 200  # rows
CUT = 300  # characters of a value
EXAMPLES = (
    (
        "What each model cost",
        "SELECT model, count(*) AS calls, sum(cost) AS dollars FROM spans WHERE kind = 'model' GROUP BY model ORDER BY dollars DESC",
    ),
    (
        "The slowest tools",
        "SELECT tool, count(*) AS calls, median(took_ms), max(took_ms) FROM spans WHERE tool IS NOT NULL GROUP BY ALL ORDER BY 3 DESC",
    ),
    (
        "Failures by hour",
        "SELECT date_trunc('hour', started) AS hour, count(*) FROM traces WHERE status = 'error' GROUP BY ALL ORDER BY hour",
    ),
    (
        "The last value of each gauge",
        "SELECT metric, unit, service, arg_max(value, measured) AS last, max(measured) FROM points WHERE type = 'gauge' GROUP BY ALL",
    ),
    ("What people said", "SELECT name, label, count(*), avg(value) FROM scores GROUP BY ALL ORDER BY ALL"),
)


class SqlContext(msgspec.Struct):
    """`cells` are the rows as they are shown; `wrong` is why there is no answer."""

    sql: str
    last: str
    views: tuple[SqlView, ...]
    answer: SqlAnswer | None
    cells: tuple[tuple[str, ...], ...] = ()
    wrong: str = ""
    examples: tuple[tuple[str, str], ...] = EXAMPLES


async def sql(request: Request, ask: Asker) -> Response:
    text = request.query_params.get("sql", "").strip()
    last = request.query_params.get("last", "")
    context = SqlContext(text, last if last in HOURS else "", (await ask(SQL, SqlQuery(project=ask.actor.project))).views, None)
    if text:
        try:
            asked = msgspec.convert(
                {"sql": text, "project": ask.actor.project, "since_ns": asked_of(request.query_params).since_ns, "limit": SHOWN}, SqlQuery
            )
            context.answer = await ask(SQL, asked)
            context.cells = tuple(tuple(map(_cell, row)) for row in context.answer.rows)
        except (Invalid, TooLarge, msgspec.ValidationError) as e:
            context.wrong = f"{e.message}: {e.remedy}" if isinstance(e, Invalid | TooLarge) and e.remedy else str(e)
    return respond(request, "sql.html", context, nav="sql", title="SQL")


def _cell(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else words.cell(value)
    return text if len(text) <= CUT else text[:CUT] + "…"


PAGES: tuple[tuple[str, Handler], ...] = (("/sql", sql),)
