"""The ledger: what was received by hour and source, and what came of it; and its proof."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.ids import now_ns
from windlass.core.operations.ledger import LEDGER, LEDGER_AUDIT, LedgerAudit, LedgerAudited, LedgerLine, LedgerPage, LedgerQuery
from windlass.doors import format as words
from windlass.doors.web.render import Asker, Handler, respond

HOURS = {"24h": 24, "7d": 168, "30d": 720, "all time": 0}
HOUR_NS = 3_600_000_000_000
FATES = ("indexed", "again", "kept", "waiting", "unreadable", "erased", "expired")
LEFT, RIGHT, TOP, BOTTOM = 56.0, 700.0, 14.0, 150.0
BARS = 48
SHOWN = 200  # problems


class Sum(msgspec.Struct):
    """Of a source and signal, or of everything: items, by what came of them."""

    source: str
    signal: str
    received: int = 0
    fates: dict[str, int] = {}
    refused: dict[str, int] = {}
    turned_away: dict[str, int] = {}
    missing: int = 0


class Bar(msgspec.Struct, frozen=True):
    """A piece of a bar in SVG. `kind` says what became of these items: stored, again, refused or lost."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    text: str


class Tick(msgspec.Struct, frozen=True):
    x: float
    text: str


class Drawing(msgspec.Struct, frozen=True):
    """Items received over time, piled by what came of them; `most` stands at the top."""

    bars: tuple[Bar, ...]
    most: int
    ticks: tuple[Tick, ...]


class LedgerContext(msgspec.Struct):
    last: str
    whole: Sum
    sums: tuple[Sum, ...]
    drawing: Drawing | None
    off: tuple[LedgerLine, ...]  # lines that do not balance by themselves
    page: LedgerPage
    audited: LedgerAudited | None = None
    may_audit: bool = True


async def _page(request: Request, ask: Asker, audited: LedgerAudited | None = None) -> Response:
    last = request.query_params.get("last", "7d")
    last = last if last in HOURS else "7d"
    page = await ask(LEDGER, LedgerQuery(ask.actor.project, HOURS[last]))
    groups: dict[tuple[str, str], list[LedgerLine]] = {}
    for line in page.items:
        groups.setdefault((line.source, line.signal), []).append(line)
    sums = sorted((_sum(*key, lines) for key, lines in groups.items()), key=lambda s: (-s.received, s.source, s.signal))
    context = LedgerContext(
        last, _sum("", "", page.items), tuple(sums[:SHOWN]), _drawing(page.items, HOURS[last]),
        tuple(line for line in page.items if line.missing)[:SHOWN], page, audited, ask.actor.role == "owner",
    )  # fmt: skip
    return respond(request, "ledger.html", context, nav="ledger", title="Ledger")


async def show(request: Request, ask: Asker) -> Response:
    return await _page(request, ask)


async def audit(request: Request, ask: Asker) -> Response:
    """One step; the page asks again by itself until all is read."""
    return await _page(request, ask, await ask(LEDGER_AUDIT, LedgerAudit(ask.actor.project)))


def _sum(source: str, signal: str, lines: Sequence[LedgerLine]) -> Sum:
    refused, turned_away = Counter[str](), Counter[str]()
    for line in lines:
        refused.update(line.refused)
        turned_away.update(line.turned_away)
    fates = {fate: sum(getattr(line, fate) for line in lines) for fate in FATES}
    return Sum(
        source, signal, sum(line.received for line in lines), fates, dict(refused.most_common()), dict(turned_away.most_common()),
        sum(abs(line.missing) for line in lines),
    )  # fmt: skip


def _drawing(lines: Sequence[LedgerLine], hours: int) -> Drawing | None:
    """None where nothing was received."""
    received = [line for line in lines if line.received]
    if not received:
        return None
    last = now_ns() // HOUR_NS
    first = last - hours + 1 if hours else min(line.hour_ns for line in received) // HOUR_NS
    each = -(-(last - first + 1) // BARS)  # hours in a bar
    count = -(-(last - first + 1) // each)
    piles = [Counter[str]() for _ in range(count)]
    for line in received:
        pile = piles[min(count - 1, max(0, (line.hour_ns // HOUR_NS - first) // each))]
        pile["stored"] += line.indexed + line.kept + line.waiting
        pile["again"] += line.again + line.erased + line.expired
        pile["refused"] += sum(line.refused.values())
        pile["lost"] += line.unreadable + abs(line.missing)
    most = max(1, *(pile.total() for pile in piles))
    step, bars = (RIGHT - LEFT) / count, list[Bar]()
    for n, pile in enumerate(piles):
        y = BOTTOM
        when = words.stamp((first + n * each) * HOUR_NS)
        for kind in ("stored", "again", "refused", "lost"):
            if pile[kind]:
                height = max(1.0, (BOTTOM - TOP) * pile[kind] / most)
                y -= height
                x, width = round(LEFT + n * step + 1, 2), round(max(1.0, step - 2), 2)
                bars.append(Bar(kind, x, round(y, 2), width, round(height, 2), f"{when}: {pile[kind]:,} {kind}"))
    marks = sorted({0, count // 2, count - 1} if count > 4 else {0})
    ticks = tuple(Tick(round(LEFT + (n + 0.5) * step, 1), words.stamp((first + n * each) * HOUR_NS)[:16].replace("T", " ")) for n in marks)
    return Drawing(tuple(bars), most, ticks)


PAGES: tuple[tuple[str, Handler], ...] = (("/ledger", show),)
FORMS: tuple[tuple[str, Handler], ...] = (("/ledger/audit", audit),)
