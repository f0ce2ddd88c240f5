"""`models`: what can be called from here, and the whole catalog with filters."""

from __future__ import annotations

import datetime
import difflib
from typing import Annotated, cast, get_args

import typer

from windlass.core.errors import Invalid
from windlass.core.ids import now_ns
from windlass.core.operations.discover import Capability, CatalogEntry, CatalogPage, CatalogQuery, ModelFacts, Sort
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.looking import Cursor, Limit
from windlass.doors.cli.session import Session, plain

UNKNOWN = "unknown"


def add(app: typer.Typer) -> None:
    command(app, "models", "models.list", "models.search", panel="Develop")(models)


def models(
    session: Session,
    search: Annotated[str | None, typer.Argument(help="Words of a model's id, name or family; a whole id shows all that is known.")] = None,
    provider: Annotated[str | None, typer.Option("--provider", help="Of one provider.")] = None,
    max_input_price: Annotated[
        float | None, typer.Option("--max-input-price", min=0, help="At most so many US dollars per million input tokens.")
    ] = None,
    max_output_price: Annotated[
        float | None, typer.Option("--max-output-price", min=0, help="At most so many US dollars per million output tokens.")
    ] = None,
    min_context: Annotated[int | None, typer.Option("--min-context", min=1, help="Takes at least so many tokens.")] = None,
    can: Annotated[str | None, typer.Option("--can", help="All of these, with commas: " + ", ".join(get_args(Capability)) + ".")] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="Weights under this licence: Apache-2.0, MIT, …")] = None,
    region: Annotated[
        str | None, typer.Option("--region", help="Data can be kept there: EU, EEA+CH, Europe, US, APAC, or a country's two letters.")
    ] = None,
    open: Annotated[bool, typer.Option("--open", help="With open weights.")] = False,
    ready: Annotated[bool, typer.Option("--ready", help="That can be called from here now.")] = False,
    all: Annotated[bool, typer.Option("--all", help="The whole catalog.")] = False,
    sort: Annotated[str | None, typer.Option("--sort", help="id, price, context or released: cheapest, largest, newest first.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> None:
    """What can be called from here; with a word or an option, what the catalog has. Prices in US dollars per million tokens."""
    query = CatalogQuery(
        search, provider, max_input_price, max_output_price, min_context, capabilities(can), licence, region, open or None, ready,
        _sort(sort), cursor, limit,
    )  # fmt: skip
    if query == CatalogQuery(limit=limit) and not all and sort is None:
        return _callable(session)
    page = session.client.search_models(query)
    session.result(page)
    if session.json:
        return None
    if one := next((e for e in page.items if e.id == search), None):
        _one(session, one)
        return None
    _many(session, page)
    return None


def _callable(session: Session) -> None:
    found = session.client.models()
    session.result(found)
    rows = []
    for m in sorted(found.items, key=lambda m: (not m.available, m.provider, m.id)):
        price = "" if m.input_price is None else f"{m.input_price:g} / {m.output_price or 0:g}"
        rows.append((m.id, "ready" if m.available else m.why_not, price, m.price_source))
    session.table(("model", "", "in / out", "price from"), rows)


def _many(session: Session, page: CatalogPage) -> None:
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    session.table(
        ("model", "", "in / out", "context", "released", "licence", ""),
        [
            (e.id, _state(e), _price(e), _tokens(e.facts.context), e.facts.released, _licence(e.facts), _ends(e.facts, today))
            for e in page.items
        ],
    )
    shown = f"{len(page.items)} of {page.total:,}" if len(page.items) < page.total else f"{page.total:,}"
    told = [f"{shown} model{'' if page.total == 1 else 's'}"]
    if page.unpriced:
        told.append(f"{page.unpriced:,} more whose price nobody told")
    told.append("from " + ", ".join(f"{s.name} {s.as_of}".rstrip() for s in page.sources))
    session.print(f"[dim]{plain(' · '.join(told))}[/dim]")
    if page.next:
        session.print(f"[dim]more: --cursor {plain(page.next)}[/dim]")


def _one(session: Session, entry: CatalogEntry) -> None:
    facts = entry.facts
    rows = [
        ("name", facts.name, facts.source),
        ("state", _state(entry), ""),
        ("in / out", _price(entry), entry.price_source),
    ]
    if facts.listed and entry.price_source != facts.source:
        rows.append(("", f"{facts.listed.input or 0:g} / {facts.listed.output or 0:g}", facts.source))
    rows += [
        ("context", _tokens(facts.context), ""),
        ("output", _tokens(facts.output_limit), ""),
        ("takes", ", ".join(facts.inputs) or UNKNOWN, ""),
        ("gives", ", ".join(facts.outputs) or UNKNOWN, ""),
        ("can", ", ".join(facts.can) or UNKNOWN, ""),
        ("cannot", ", ".join(facts.cannot), ""),
        ("licence", _licence(facts), facts.licence_source),
        ("weights", facts.weights, ""),
        ("released", facts.released or UNKNOWN, ""),
        ("knows until", facts.knowledge or UNKNOWN, ""),
        ("status", facts.status, ""),
        ("retires", facts.retires, facts.retires_source),
    ]
    if places := facts.places:
        rows.append(("data goes to", ", ".join(places.default) or UNKNOWN, f"{places.source}, {places.date}".rstrip(", ")))
        rows.append(("or, by choice", ", ".join(places.choices), places.how))
    else:
        rows.append(("data goes to", UNKNOWN, ""))
    for score in facts.benchmarks:
        how = f" ({score.how})" if score.how else ""
        rows.append((score.name, f"{score.score:g} {score.unit}{how}".replace("  ", " "), f"{score.source}, {score.date or 'no date'}"))
    now = now_ns()
    for m in session.client.bakeoffs.measured(model=entry.id).items:
        cost = f"{words.dollars(m.per_row)} a row, {words.per_success(m.per_row, m.per_success)} a success"
        time = f", {words.duration(m.latency * 1e9)}" if m.latency is not None else ""
        for s in m.guards:
            interval = f" ({s.interval.low:.2f} to {s.interval.high:.2f})" if s.interval else ""
            rows.append(
                (s.name, f"{words.score(s.mean)}{interval}, {cost}{time}", f"here, {words.short_ref(m.suite)}, {words.ago(m.at_ns, now)}")
            )
    session.print(f"[bold]{plain(entry.id)}[/bold]" + (f" [dim]is {plain(facts.base)}[/dim]" if facts.base else ""))
    session.table(("", "", "from"), [row for row in rows if row[1]])


def capabilities(given: str | None) -> tuple[Capability, ...]:
    names = [name.strip() for name in (given or "").split(",") if name.strip()]
    for name in names:
        if name not in get_args(Capability):
            near = difflib.get_close_matches(name, get_args(Capability), 1)
            raise Invalid(
                f"{name!r} is no capability the catalog knows",
                where="--can",
                remedy=f"did you mean {near[0]!r}?" if near else "capabilities: " + ", ".join(get_args(Capability)),
            )
    return cast(tuple[Capability, ...], tuple(names))


def _sort(given: str | None) -> Sort:
    if given is not None and given not in get_args(Sort):
        raise Invalid(f"cannot sort by {given!r}", where="--sort", remedy="sort by " + ", ".join(get_args(Sort)))
    return cast(Sort, given or "id")


def _price(entry: CatalogEntry) -> str:
    if entry.input_price is None and entry.output_price is None:
        return UNKNOWN
    return " / ".join(UNKNOWN if price is None else f"{price:g}" for price in (entry.input_price, entry.output_price))


def _tokens(count: int | None) -> str:
    return UNKNOWN if count is None else f"{count:,}"


def _licence(facts: ModelFacts) -> str:
    """The licence of the weights; that weights are open is no licence."""
    return facts.licence or ("open, licence unknown" if facts.open_weights else "")


def _state(entry: CatalogEntry) -> str:
    return "ready" if entry.available else entry.why_not


def _ends(facts: ModelFacts, today: str) -> str:
    retires = f"{'retires' if facts.retires > today else 'retired'} {facts.retires}" if facts.retires else ""
    return " · ".join(part for part in (facts.status, retires) if part)
