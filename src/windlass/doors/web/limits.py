"""Limits and spend: what each limit lets through and how much of it is used, set aside and left; what calls came to over time."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.errors import Forbidden, Invalid
from windlass.core.ids import now_ns
from windlass.core.operations import Empty
from windlass.core.operations.limits import (
    LIMITS,
    REMOVE_LIMIT,
    SET_LIMIT,
    SPEND,
    LimitId,
    LimitQuery,
    LimitRequest,
    LimitState,
    LimitUse,
    Spend,
    SpendBy,
    SpendQuery,
    SpendRow,
    amount_said,
    said,
)
from windlass.core.operations.query import taken
from windlass.core.operations.registry import ARTIFACTS, ArtifactQuery
from windlass.core.operations.system import KEYS, KeyInfo
from windlass.doors import format as words
from windlass.doors.web.boards import REST, SHADES, Chart, Frame, Series, chart
from windlass.doors.web.render import Asker, Handler, query, respond

BY: tuple[SpendBy, ...] = ("model", "key", "user", "version", "release", "project")
LASTS = {"": "this month (UTC)", "24h": "24 hours", "7d": "7 days", "30d": "30 days"}
SECONDS = {"24h": 86_400, "7d": 604_800, "30d": 2_592_000}
FIELD = {"model": "model", "user": "user", "release": "release", "version": "uses"}  # the filter that finds the traces of a row


class Gauge(msgspec.Struct):
    """One use of a limit, as it is drawn: in percent of the limit, at most 100 together."""

    use: LimitUse
    used: float
    reserved: float
    says: tuple[str, ...]


class Limited(msgspec.Struct):
    limit: LimitState
    says: str
    gauges: tuple[Gauge, ...]


class LimitsContext(msgspec.Struct):
    """`keys` and `releases` are what the form offers; `may` whether who asks may change limits. `traces` lead to the traces of rows."""

    limits: tuple[Limited, ...]
    spend: Spend
    by: SpendBy
    last: str
    charts: tuple[Chart, ...]
    shades: tuple[str, ...]
    traces: tuple[str, ...]
    keys: tuple[KeyInfo, ...] = ()
    releases: tuple[str, ...] = ()
    may: bool = True
    dimensions: tuple[SpendBy, ...] = BY
    lasts: tuple[tuple[str, str], ...] = tuple(LASTS.items())


async def show(request: Request, ask: Asker) -> Response:
    q, project, now = request.query_params, ask.actor.project, now_ns()
    by, last = q.get("by") or "model", q.get("last") or ""
    if by not in BY or last not in LASTS:
        raise Invalid("there is no such list of what was spent", where="by" if by not in BY else "last", remedy="choose from the form")
    since = now - SECONDS[last] * 10**9 if last else None
    spend = await ask(SPEND, SpendQuery(by, since, now if last else None, project))
    found = await ask(LIMITS, LimitQuery(project))
    releases = await ask(ARTIFACTS, ArtifactQuery(project, "release", limit=200))
    context = LimitsContext(
        tuple(Limited(x, said(x), tuple(_gauge(x, u) for u in x.uses)) for x in found.items), spend, by, last,
        *_drawn(spend), traces=tuple(_traces(spend, r) for r in spend.rows), releases=tuple(r.name for r in releases.items),
    )  # fmt: skip
    try:
        keys = (await ask(KEYS, Empty())).items
        context.keys = tuple(k for k in keys if k.revoked_ns is None and (k.role == "owner" or k.project == project))
    except Forbidden:
        context.may = False
    return respond(request, "limits.html", context, nav="limits", title="Limits and spend")


def _gauge(limit: LimitState, use: LimitUse) -> Gauge:
    whole = limit.amount or 1.0
    used = min(100.0, 100 * use.used / whole) if limit.amount else 100.0
    reserved = min(100.0 - used, 100 * use.reserved / whole)
    left = max(0.0, limit.amount - use.used - use.reserved)
    parts = [] if limit.measured == "concurrency" else [f"{amount_said(limit, use.used)} used"]
    if use.reserved or limit.measured == "concurrency":
        parts.append(f"{amount_said(limit, use.reserved)} {'under way' if limit.measured == 'concurrency' else 'set aside'}")
    parts.append(f"{amount_said(limit, left)} left")
    if use.forecast:
        parts.append(f"{amount_said(limit, use.forecast)} by its end at this rate")
    if use.ends_ns:
        parts.append(f"turns {words.ago(use.ends_ns, now_ns())}")
    return Gauge(use, round(used, 2), round(reserved, 2), tuple(parts))


def _drawn(spend: Spend) -> tuple[tuple[Chart, ...], tuple[str, ...]]:
    """The dearest rows over time, one upon the other, and the shade of each row."""
    shades = tuple(SHADES[n] if n < len(SHADES) and not r.others else REST for n, r in enumerate(spend.rows))
    step = spend.bucket_ns
    starts = list(range(spend.since_ns - spend.since_ns % step, spend.until_ns, step))
    frame = Frame(starts, step, lambda start: "")
    named = [(r, s) for r, s in zip(spend.rows, shades, strict=True) if s != REST]
    series = [Series(_name(spend, r), _over(r, starts), s) for r, s in named] or [Series("all", _over(spend.whole, starts), SHADES[0])]
    if named and len(named) < len(spend.rows):
        rest = [_over(r, starts) for r, s in zip(spend.rows, shades, strict=True) if s == REST]
        series.append(Series("the rest", [sum(values) for values in zip(*rest, strict=True)], REST))
    drawn = chart("Cost", frame, series, words.dollars, piled=True)
    return ((drawn,) if drawn else ()), shades


def _over(row: SpendRow, starts: list[int]) -> list[float]:
    known = {b.start_ns: b.cost for b in row.buckets}
    return [known.get(start, 0.0) for start in starts]


def _name(spend: Spend, row: SpendRow) -> str:
    return "others" if row.others else row.name or words.short_ref(row.value or "none")


def _traces(spend: Spend, row: SpendRow) -> str:
    field = FIELD.get(spend.by)
    if row.others or row.value is None or field is None or set(row.value) & set('" '):
        return ""
    return query("/traces", filter=f'{field}:"{row.value}"')


async def set_limit(request: Request, ask: Asker) -> Response:
    form = await request.form()

    def text(field: str) -> str:
        return str(form.get(field) or "").strip()

    try:
        amount = float(text("amount"))
    except ValueError:
        raise Invalid(f"{text('amount')!r} is no number", where="amount", remedy="write one, such as 100 or 0.5") from None
    window = text("window") if text("measured") != "concurrency" else "ever"
    asked = {
        "subject": text("subject"), "measured": text("measured"), "amount": amount, "window": window or "ever", "target": text("target"),
        "unpriced": "allow" if text("unpriced") else "refuse", "project": ask.actor.project,
    }  # fmt: skip
    await ask(SET_LIMIT, taken(LimitRequest, asked))
    return RedirectResponse("/limits", 303)


async def remove(request: Request, ask: Asker) -> Response:
    await ask(REMOVE_LIMIT, LimitId(request.path_params["id"], ask.actor.project))
    return RedirectResponse("/limits", 303)


PAGES: tuple[tuple[str, Handler], ...] = (("/limits", show),)
FORMS: tuple[tuple[str, Handler], ...] = (("/limits", set_limit), ("/limits/{id}/remove", remove))
