"""`routes`: which upstreams answer for a model's id."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from windlass.core.errors import Invalid
from windlass.core.ids import now_ns
from windlass.core.operations.routes import Route, RouteKept, UpstreamHealth
from windlass.doors import format as words
from windlass.doors.cli.commands import command, otherwise
from windlass.doors.cli.session import Session, plain

Name = Annotated[str, typer.Argument(help="A plain word such as fast, or a model's whole id such as openai/gpt-5-mini.")]


def add(app: typer.Typer) -> None:
    routes = typer.Typer(help="Which upstreams answer for a model's id, and what happens when one fails.")
    command(routes, "list", "routes.list", path="routes")(list_routes)
    command(routes, "show", "routes.show", path="routes")(show)
    command(routes, "set", "routes.set", path="routes")(set_route)
    command(routes, "remove", "routes.remove", path="routes")(remove)
    otherwise(routes, list_routes)
    app.add_typer(routes, name="routes", rich_help_panel="Release")


def list_routes(session: Session) -> None:
    """Every route, and how its upstreams do."""
    found = session.client.routes.list()
    session.result(found)
    session.table(("name", "leads to", "health", "by"), [(k.name, _leads(k.route), _health(k), k.by) for k in found.items])
    if not found.items:
        session.print("no routes yet: windlass routes set fast --upstream openai/gpt-5-mini --fallback anthropic/claude-haiku-4-5")


def show(session: Session, name: Name) -> None:
    """One route: its upstreams with what each worker has seen of them, and its rules."""
    kept = session.client.routes.show(name)
    session.result(kept)
    session.print(f"[bold]{plain(kept.name)}[/bold]  [dim]{plain(kept.by)}, {words.ago(kept.at_ns, now_ns())}[/dim]")
    _tell(session, kept)


def set_route(
    session: Session,
    name: Name,
    file: Annotated[Path | None, typer.Argument(help="A TOML file with all that a route says; or the options below.")] = None,
    upstream: Annotated[list[str] | None, typer.Option("--upstream", help="MODEL or MODEL=WEIGHT; again for more that share.")] = None,
    fallback: Annotated[list[str] | None, typer.Option("--fallback", help="MODEL that is asked when all before failed; in order.")] = None,
    attempts: Annotated[int | None, typer.Option("--attempts", help="How often one upstream is asked.")] = None,
    first_token: Annotated[float | None, typer.Option("--first-token", help="Seconds until a stream must begin.")] = None,
    total: Annotated[float | None, typer.Option("--total", help="Seconds for a call with all its attempts.")] = None,
    sticky: Annotated[str | None, typer.Option("--sticky", help="Whose calls go to one upstream: user, session or trace.")] = None,
) -> None:
    """Have upstreams answer for a name; again replaces."""
    options = {
        "upstreams": _upstreams(upstream or [], fallback or []), "sticky": sticky,
        "retries": {"attempts": attempts}, "timeouts": {"first_token_s": first_token, "total_s": total},
    }  # fmt: skip
    if file is None:
        given = _without_none(options)
    elif _without_none(options):
        raise Invalid("a file says all that a route says", where=str(file), remedy="write it into the file, or leave the file out")
    else:
        given = _read(file)
    if not given.get("upstreams"):
        remedy = "--upstream MODEL, or [[upstreams]] in a file"
        raise Invalid("a route needs upstreams to lead to", where=str(file or "--upstream"), remedy=remedy)
    kept = session.client.routes.set(name, given)
    session.result(kept)
    session.print(f"{plain(kept.name)} leads to {plain(_leads(kept.route))}")
    for problem in kept.problems:
        session.warn(problem)


def remove(session: Session, name: Name) -> None:
    """Keep it no longer: calls of a model's id go to that model again."""
    gone = session.client.routes.remove(name)
    session.result(gone)
    session.print(f"removed: {plain(gone.name)}")


def _upstreams(first: list[str], later: list[str]) -> list[dict[str, Any]]:
    found = []
    for text in first:
        model, equals, weight = text.partition("=")
        try:
            found.append({"model": model, **({"weight": float(weight)} if equals else {})})
        except ValueError:
            raise Invalid(f"{weight!r} is no weight", where="--upstream", remedy="write MODEL=80") from None
    return found + [{"model": model, "tier": number} for number, model in enumerate(later, 2 if first else 1)]


def _without_none(given: dict[str, Any]) -> dict[str, Any]:
    cleaned = {k: _without_none(v) if isinstance(v, dict) else v for k, v in given.items()}
    return {k: v for k, v in cleaned.items() if v not in (None, {}, [])}


def _read(file: Path) -> dict[str, Any]:
    """What a file says. Raises `Invalid`."""
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise Invalid(f"it cannot be read: {e}", where=str(file), remedy="docs/serving.md shows a route as TOML") from e


def _leads(route: Route) -> str:
    tiers: dict[int, list[str]] = {}
    for u in route.upstreams:
        tiers.setdefault(u.tier, []).append(u.model if u.weight == 1 else f"{u.model} {u.weight:g}")
    return ", then ".join(" | ".join(tiers[t]) for t in sorted(tiers))


def _health(kept: RouteKept) -> str:
    bad = [f"{u.model}: {u.state} ({w.process})" for w in kept.health for u in w.upstreams if u.state != "closed"]
    asked = sum(u.asked for w in kept.health for u in w.upstreams)
    return "; ".join([*kept.problems, *bad]) or (f"well, {asked:,} calls" if asked else "not asked yet")


def _tell(session: Session, kept: RouteKept) -> None:
    now = now_ns()
    session.table(
        ("upstream", "weight", "tier", "at once"),
        [(u.model, f"{u.weight:g}", str(u.tier), str(u.concurrency or "no limit")) for u in kept.route.upstreams],
        right=frozenset({1, 2}),
    )
    seen = [(w.process, u) for w in kept.health for u in w.upstreams]
    session.table(
        ("as seen by", "upstream", "breaker", "asked", "failed", "under way", "last failure"),
        [(process, u.model, _state(u, now), f"{u.asked:,}", f"{u.failed:,}", str(u.under_way), u.last_failure) for process, u in seen],
        right=frozenset({3, 4, 5}),
    )
    for problem in kept.problems:
        session.print(f"[yellow]{plain(problem)}[/yellow]")
    for name, said in words.route_rules(kept.route):
        session.print(f"[dim]{name}:[/dim] {plain(said)}")


def _state(u: UpstreamHealth, now: int) -> str:
    return u.state + (f", asked again in {words.duration(u.until_ns - now)}" if u.until_ns > now else "")
