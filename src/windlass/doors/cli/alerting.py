"""`alert`: who is told what, what was found, and what came of telling."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, get_args

import typer

from windlass.core.alert import QUIET_SECONDS, Aggregate, MetricRule, Severity
from windlass.core.errors import Invalid
from windlass.core.ids import now_ns
from windlass.core.operations.alerts import AlertState, Delivery, EventDetail, EventState, MetricLook
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.data import Cursor
from windlass.doors.cli.session import Session, plain

Name = Annotated[str, typer.Argument(help="An alert: its name.")]
Found = Annotated[str, typer.Argument(metavar="EVENT", help="An event: its id, or the end of it.")]
COLOURS: dict[Severity, str] = {"info": "dim", "warning": "yellow", "critical": "red"}
LOOKS = {"not looked yet": "dim", "ok": "green", "found": "red", "unmeasured": "yellow", "cannot look": "red"}
OUTCOMES = {"delivered": "green", "waiting": "yellow", "failed": "red", "stopped": "red"}
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def add(app: typer.Typer) -> None:
    alert = typer.Typer(help="Who is told of what monitors and metrics show: a page, a signed webhook, e-mail.", no_args_is_help=True)
    command(alert, "set", "alerts.set", path="alert")(set_alert)
    command(alert, "list", "alerts.list", path="alert")(list_alerts)
    command(alert, "events", "alerts.events", path="alert")(events)
    command(alert, "show", "alerts.show", path="alert")(show)
    command(alert, "ack", "alerts.acknowledge", path="alert")(acknowledge)
    command(alert, "look", "alerts.look", path="alert")(look)
    command(alert, "test", "alerts.test", path="alert")(test)
    app.add_typer(alert, name="alert", rich_help_panel="Look")


def set_alert(
    session: Session,
    name: Annotated[str, typer.Argument(help="What it is to be called. What is there by that name is replaced, and kept as a version.")],
    webhook: Annotated[str | None, typer.Option("--webhook", help="Send a signed POST to this address.")] = None,
    secret: Annotated[str, typer.Option("--secret", help="The name of the server's variable that holds what it is signed with.")] = "",
    email: Annotated[list[str] | None, typer.Option("--email", help="Write to this address; again, or with commas, for more.")] = None,
    kinds: Annotated[
        str,
        typer.Option(
            "--for", help="Only these events, with commas: skew, coverage, topic, drift, quality, metric, monitor, tune, approval."
        ),
    ] = "",
    monitor: Annotated[list[str] | None, typer.Option("--monitor", help="Only what this monitor finds; again for more.")] = None,
    severity: Annotated[str, typer.Option("--severity", help="At least so bad: info, warning, critical.")] = "warning",
    quiet: Annotated[
        str, typer.Option("--quiet", help="How long the same is not told again: 90s, 30m, 1h, 2d.")
    ] = f"{QUIET_SECONDS // 3600}h",
    page: Annotated[
        bool, typer.Option("--page/--no-page", help="Keep such events open on the page until somebody acknowledges them.")
    ] = True,
    off: Annotated[bool, typer.Option("--off", help="Keep the alert, and tell nobody any more.")] = False,
    metric: Annotated[str | None, typer.Option("--metric", help="Watch this metric, and tell what comes of that alone.")] = None,
    aggregate: Annotated[str | None, typer.Option("--aggregate", help="What of it: " + ", ".join(get_args(Aggregate)) + ".")] = None,
    above: Annotated[float | None, typer.Option("--above", help="Tell when it is greater than this, in the metric's unit.")] = None,
    below: Annotated[float | None, typer.Option("--below", help="Tell when it is less than this.")] = None,
    window: Annotated[str | None, typer.Option("--window", help="Over how long: 90s, 5m, 1h, at most 7d. [5m]")] = None,
    where: Annotated[
        str | None, typer.Option("--where", "-w", help="Of points that fit: attr.NAME:value, -service:bot, attr.A>5 (… or …).")
    ] = None,
    unit: Annotated[str | None, typer.Option("--unit", help="Where a name is measured in several.")] = None,
    type: Annotated[str | None, typer.Option("--type", help="gauge, sum, histogram, exponential_histogram or summary.")] = None,
    sparse: Annotated[bool, typer.Option("--sparse", help="That it is not measured is nobody's trouble.")] = False,
) -> None:
    """Say who is told what from now on; or watch a metric: `windlass alert set slow --metric http.server.request.duration --aggregate p95
    --above 2 --window 10m --email ops@example.org`."""
    rule = {
        "aggregate": aggregate, "above": above, "below": below, "window": seconds_of(window) if window else None, "filter": where,
        "unit": unit, "type": type, "sparse": sparse or None,
    }  # fmt: skip
    given = {k: v for k, v in rule.items() if v is not None}
    if metric is None and given:
        raise Invalid(
            "this is said of a metric", where=f"--{next(iter(given)).replace('filter', 'where')}", remedy="name it: --metric NAME"
        )
    if metric is not None and aggregate not in get_args(Aggregate):
        said = "it is not said what of the metric" if aggregate is None else f"{aggregate!r} is nothing that a metric tells"
        raise Invalid(said, where="--aggregate", remedy="one of " + ", ".join(get_args(Aggregate)))
    what: dict[str, Any] = {
        "events": _parts([kinds]), "monitors": _parts(monitor), "severity": severity, "page": page, "webhook": webhook, "secret": secret,
        "email": _parts(email), "quiet": seconds_of(quiet), "off": off,
        **({} if metric is None else {"metric": {"name": metric, **given}}),
    }  # fmt: skip
    found = session.client.alerts.set(name, **what)
    session.result(found)
    _alert(session, found)
    if found.body.metric and not found.body.off:
        session.print(f"[dim]next: windlass alert look {found.name}[/dim]")
    if not found.problems and (found.body.webhook or found.body.email):
        session.print(f"[dim]next: windlass alert test {found.name}[/dim]")


def _parts(given: list[str] | None) -> list[str]:
    return [p.strip() for text in given or () for p in text.split(",") if p.strip()]


def seconds_of(text: str) -> int:
    """A length of time as one writes it: 90s, 30m, 1h, 2d. Raises `Invalid`."""
    found = re.fullmatch(r"(\d{1,9})([smhd]?)", text.strip())
    if not found:
        raise Invalid(f"{text!r} is no length of time", remedy="write 90s, 30m, 1h or 2d")
    return int(found[1]) * UNITS[found[2] or "s"]


def list_alerts(
    session: Session, limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")] = 50, cursor: Cursor = None
) -> None:
    """All alerts: whom each tells, what keeps it from doing so, what came of the last time."""
    page = session.client.alerts.list(cursor, limit)
    session.result(page)
    for found in page.items:
        _alert(session, found)
    if not page.items:
        session.print("no alert yet; events are on the page all the same. windlass alert set ops --webhook https://… --secret VARIABLE")
    if page.next:
        session.print(f"[dim]more: --cursor {page.next}[/dim]")


def _alert(session: Session, found: AlertState) -> None:
    body = found.body
    what = ", ".join(body.events) or (plain(_rule(body.metric)) if body.metric else "all events")
    by = f" of {', '.join(body.monitors)}" if body.monitors else ""
    to = [*([body.webhook] if body.webhook else []), *body.email, *(["the page"] if body.page else [])]
    said = "[dim]off[/dim]" if body.off else f"to {plain(', '.join(to) or 'nobody')}"
    floor = f"{body.severity} or worse" if body.severity != "critical" else "critical"
    session.print(f"[bold]{plain(found.name)}[/bold]  {what}{plain(by)}, {body.severity if body.metric else floor} · {said}")
    if found.look:
        _look(session, found.look)
    for problem in found.problems:
        session.print(f"  [yellow]it cannot be sent now[/]: {plain(problem)}")
    if found.last:
        _delivery(session, found.last)


def _rule(rule: MetricRule) -> str:
    bounds = [f"{word} {bound:g}" for word, bound in (("above", rule.above), ("below", rule.below)) if bound is not None]
    of = f" of {rule.filter}" if rule.filter else ""
    return f"{rule.aggregate} of {rule.name} {' or '.join(bounds)} in {words.length(rule.window * 10**9)}{of}"


def _look(session: Session, look: MetricLook) -> None:
    now = now_ns()
    when = f" [dim]{words.ago(look.looked_ns, now)}[/dim]" if look.looked_ns else ""
    session.print(f"  [{LOOKS[look.status]}]{look.status}[/]{when} {plain(look.said)}")
    if look.problem:
        session.print(f"  [yellow]nobody could be asked since[/]: {plain(look.problem)}")


def look(session: Session, name: Name) -> int:
    """Ask now what the metric of an alert is; what is found is told. Exit status 1 unless it is as it should be."""
    found = session.client.alerts.look(name)
    session.result(found)
    _alert(session, found)
    return 0 if found.look and found.look.status == "ok" else 1


def events(
    session: Session,
    all: Annotated[bool, typer.Option("--all", help="Also those that were acknowledged.")] = False,
    kind: Annotated[str | None, typer.Option("--for", help="Only events of this kind.")] = None,
    monitor: Annotated[str | None, typer.Option("--monitor", help="Only what this monitor found.")] = None,
    severity: Annotated[str, typer.Option("--severity", help="At least so bad.")] = "info",
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")] = 50,
    cursor: Cursor = None,
) -> None:
    """What monitors found, newest first."""
    filters: dict[str, Any] = {"state": "all" if all else "open", "kind": kind, "monitor": monitor, "severity": severity}
    page = session.client.alerts.events(**filters, limit=limit, cursor=cursor)
    session.result(page)
    for found in page.items:
        _event(session, found)
    if not page.items:
        session.print("nothing was found" if all else "nothing is open")
    if page.next:
        session.print(f"[dim]more: --cursor {page.next}[/dim]")


def _event(session: Session, found: EventState) -> None:
    e, now = found.event, now_ns()
    often = f" · {words.many(found.times, 'time')}, last {words.ago(found.last_ns, now)}" if found.times > 1 else ""
    done = f" · acknowledged by {plain(found.acknowledged_by)}" if found.state == "acknowledged" else ""
    session.print(
        f"[{COLOURS[e.severity]}]{e.severity}[/]  {plain(e.sentence)} "
        f"[dim]{words.short_id(e.id)} · {e.kind} · {plain(e.monitor)} · {words.ago(e.at_ns, now)}{often}{done}[/dim]"
    )


def show(session: Session, event: Found) -> None:
    """One event: what was found, whom it was told to, each attempt."""
    found = session.client.alerts.show(event)
    session.result(found)
    _detail(session, found)


def _detail(session: Session, found: EventDetail) -> None:
    _event(session, found.state)
    for name, value in found.state.event.facts.items():
        session.print(f"  {plain(name)}  {plain(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))}")
    if found.state.note:
        session.print(f"  {plain(found.state.note)}")
    for delivery in found.deliveries:
        _delivery(session, delivery, every=True)
    session.print(f"[dim]{session.link('/alerts/' + found.state.event.id)}[/dim]")


def _delivery(session: Session, found: Delivery, *, every: bool = False) -> None:
    now = now_ns()
    due = f", again {words.ago(found.next_ns, now)}" if found.next_ns and found.status == "waiting" else ""
    session.print(f"  [{OUTCOMES[found.status]}]{found.status}[/]  {plain(found.to)} by alert/{plain(found.alert)}{due}")
    for attempt in found.attempts if every else found.attempts[-1:]:
        session.print(f"    [dim]{words.ago(attempt.at_ns, now)}[/dim] {plain(attempt.said)} [dim]{attempt.took_ms} ms[/dim]")


def acknowledge(
    session: Session, event: Found, note: Annotated[str, typer.Option("--note", help="What you make of it, for the others.")] = ""
) -> None:
    """Say that somebody has seen it."""
    found = session.client.alerts.acknowledge(event, note)
    session.result(found)
    _event(session, found)


def test(session: Session, name: Name) -> int:
    """Send a test event through an alert, and say what came of it. Exit status 1 unless it arrived everywhere."""
    found = session.client.alerts.test(name)
    session.result(found)
    for delivery in found.deliveries:
        _delivery(session, delivery, every=True)
    if not found.deliveries:
        session.print("it has no webhook and no address: events are on the page")
    return 0 if all(d.status == "delivered" for d in found.deliveries) else 1
