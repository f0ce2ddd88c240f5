"""`limits`: what keys, users and the project may use, what is used of it, and what was spent."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from windlass.core.ids import now_ns
from windlass.core.operations.limits import LimitState, LimitUse, SpendBy, SpendRow, amount_said, said
from windlass.doors import format as words
from windlass.doors.cli.alerting import seconds_of
from windlass.doors.cli.commands import command
from windlass.doors.cli.session import Session, plain


def add(app: typer.Typer) -> None:
    limits = typer.Typer(help="What calls of models may use: set, list, remove; and what was spent.", no_args_is_help=True)
    command(limits, "set", "limits.set", path="limits")(set_limit)
    command(limits, "list", "limits.list", path="limits")(listing)
    command(limits, "remove", "limits.remove", path="limits")(remove)
    command(limits, "spend", "limits.spend", path="limits")(spend)
    app.add_typer(limits, name="limits", rich_help_panel="Govern")


def set_limit(
    session: Session,
    subject: Annotated[str, typer.Argument(help="project, key:ID, user:NAME (windlass-user); key:*, user:* for each by itself.")],
    measured: Annotated[Literal["requests", "tokens", "dollars", "concurrency"], typer.Argument(help="What is counted.")],
    amount: Annotated[float, typer.Argument(min=0, help="At most so many in each window.")],
    per: Annotated[
        Literal["minute", "hour", "day", "month", "ever"], typer.Option("--per", help="The window, of the calendar in UTC; ever: in all.")
    ] = "ever",
    target: Annotated[str, typer.Option("--on", help="Only calls of model/provider/name, or in release/name.")] = "",
    unpriced: Annotated[bool, typer.Option("--allow-unpriced", help="Let calls pass of which nobody knows the price.")] = False,
) -> None:
    """Set a limit; of the same again, its amount."""
    found = session.client.limits.set(subject, measured, amount, per, target=target, unpriced="allow" if unpriced else "refuse")
    session.result(found)
    _limit(session, found)


def listing(session: Session, subject: Annotated[str | None, typer.Option("--subject", help="Only those of this subject.")] = None) -> None:
    """Limits, and what is used and set aside of each now."""
    found = session.client.limits.list(subject)
    session.result(found)
    for limit in found.items:
        _limit(session, limit)
    if not found.items:
        session.print("nothing is limited: windlass limits set project dollars 100 --per month")


def remove(session: Session, limit: Annotated[str, typer.Argument(help="Its id, or the beginning of it.")]) -> None:
    """Remove a limit, and forget what was counted under it."""
    found = session.client.limits.remove(limit)
    session.result(found)
    session.print(f"{said(found)} for {plain(found.subject)} is removed")


def _limit(session: Session, limit: LimitState) -> None:
    name = f" [dim]{plain(limit.name)}[/dim]" if limit.name else ""
    pass_on = "  [dim]passes calls without a price[/dim]" if limit.unpriced == "allow" else ""
    session.print(f"[bold]{limit.id}[/bold]  {plain(limit.subject)}{name}  {plain(said(limit))}{pass_on}")
    for use in limit.uses:
        session.print(f"  {_used(limit, use)}")


def _used(limit: LimitState, use: LimitUse) -> str:
    left = max(0.0, limit.amount - use.used - use.reserved)
    parts = [f"{amount_said(limit, use.used)} used"] if limit.measured != "concurrency" else []
    parts += [f"{amount_said(limit, use.reserved)} set aside", f"{amount_said(limit, left)} left"]
    if use.forecast:
        parts.append(f"{amount_said(limit, use.forecast)} by its end, at this rate")
    if use.ends_ns:
        parts.append(f"turns {words.ago(use.ends_ns, now_ns())}")
    return (f"{plain(use.who)}: " if use.who else "") + ", ".join(parts)


def spend(
    session: Session,
    by: Annotated[SpendBy, typer.Option("--by", help="What to tell apart.")] = "model",
    last: Annotated[str, typer.Option("--last", help="Of the last 24h, 7d, 30d; this month of the calendar (UTC) by default.")] = "",
) -> None:
    """What calls came to, by the spans that traces show."""
    now = now_ns()
    since = now - seconds_of(last) * 10**9 if last else None
    found = session.client.limits.spend(by, since, now if last else None)
    session.result(found)
    session.table(
        (by, "cost", "calls", "tokens in", "tokens out", ""),
        [(_name(r), words.dollars(r.cost), f"{r.calls:,}", _count(r.tokens_in), _count(r.tokens_out), _unpriced(r)) for r in found.rows],
    )
    session.print(f"{words.dollars(found.whole.cost)} in all since {words.stamp(found.since_ns)}, {words.many(found.whole.calls, 'call')}")
    if found.forecast is not None:
        session.print(f"[dim]{words.dollars(found.forecast)} by the end of the month, if the rest goes as what is over of it[/dim]")


def _name(row: SpendRow) -> str:
    return "others" if row.others else f"{row.value or 'none'} {row.name}".strip()


def _unpriced(row: SpendRow) -> str:
    return f"{row.unpriced:,} without a price" if row.unpriced else ""


def _count(number: int | None) -> str:
    return "unmeasured" if number is None else f"{number:,}"
