"""`figures`: traces over time, in numbers and as small charts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, get_args
from urllib.parse import urlencode

import typer

from windlass.core.errors import Invalid
from windlass.core.operations.figures import Bucket, Figure, FigureGroup, Figures, Measure, Percentiles
from windlass.doors import format as words
from windlass.doors.asked import HOURS
from windlass.doors.cli import filtering
from windlass.doors.cli.commands import command
from windlass.doors.cli.session import Session, plain

BLOCKS = "▁▂▃▄▅▆▇█"
MORE = ("steps", "first_token")  # measures that are made when they are named
DIMENSIONS = (
    "model, provider, release, version, prompt, service, environment, user, session, kind, name, tool, tag, status, or attribute:NAME"
)


def add(app: typer.Typer) -> None:
    command(app, "figures", "traces.figures", panel="Look")(figures)


def figures(
    session: Session,
    which: filtering.Which,
    by: Annotated[str | None, typer.Option("--by", help=f"Also in groups: by {DIMENSIONS}.")] = None,
    hours: Annotated[
        float | None, typer.Option("--hours", min=0.01, help="Of traces that began in the last so many hours; 24 by default.")
    ] = None,
    bucket: Annotated[int | None, typer.Option("--bucket", min=1, help="Seconds of one bucket; by default what fits.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=50, help="At most so many groups, the largest.")] = 8,
    measure: Annotated[list[str] | None, typer.Option("--with", help=f"What else to measure: {' or '.join(MORE)}.")] = None,
) -> None:
    """How many traces, how slow, how dear and how good, over time: for all that fit, and by model, release, user or anything."""
    if wrong := [m for m in measure or () if m not in MORE]:
        raise Invalid(f"{wrong[0]!r} is nothing to measure", where="--with", remedy=f"take {' or '.join(MORE)}")
    view = filtering.view_of(session, which.view)
    seen = filtering.asked_by(view)
    if view is not None and seen is not None:  # what is named here counts more than what it was kept with
        by = by or view.asked.get("by") or (f"attribute:{view.asked['attribute']}" if view.asked.get("attribute") else None)
        if not hours and (seen.begun or seen.to):
            raise Invalid("this view is of one time that is over", where="--view", remedy="say of how many --hours back from now")
        hours = hours or (HOURS[seen.last] if seen.last else None)
    hours = hours or 24
    told = which.asked(seen)
    how = {
        "by": by, "bucket_s": bucket, "limit": limit,
        "measures": tuple(m for m in get_args(Measure) if m in (measure or ()) or m not in MORE),
    }  # fmt: skip
    found = session.client.traces.figures(hours, **told, **{k: v for k, v in how.items() if v is not None})
    session.result(found)
    last = next((name for name, most in HOURS.items() if hours <= most), "30d")
    board = {"filter": filtering.as_one(told), "evaluation": told.get("evaluation"), "last": last, "by": by}
    _print(session, found, hours, "/dashboards?" + urlencode({k: v for k, v in board.items() if v}))


def _print(session: Session, found: Figures, hours: float, page: str) -> None:
    whole = found.whole
    if not whole.traces:
        session.print(f"no trace that fits began in {hours:g} h: ask for more --hours, or windlass traces lists what there is")
        return
    session.print(
        f"[bold]{words.many(whole.traces, 'trace')}[/bold] in {hours:g} h · {whole.errors / whole.traces:.1%} failed · p50"
        f" {_ms(whole.latency, 'p50')} · p95 {_ms(whole.latency, 'p95')} · {_cost(whole)}"
    )
    rows = [(name, spark(values), told) for name, values, told in _charts(found) if any(v is not None for v in values)]
    session.table(("", f"each {words.length(found.bucket_ns)}", ""), rows)
    if found.groups:
        session.table(
            ("", "traces", "failed", "p50", "p95", "calls", "tokens in", "out", "cost", "scores"),
            [_row(group) for group in found.groups], right=frozenset(range(1, 9)),
        )  # fmt: skip
    if found.more:
        session.print(f"[dim]{words.many(found.more, 'more value')} in others: --limit tells more[/dim]")
    session.print(f"[dim]{plain(session.link(page))}[/dim]")


def _charts(found: Figures) -> list[tuple[str, list[float | None], str]]:
    """What is drawn: a name, its values by bucket, and what they come to."""
    first, count = found.since_ns // found.bucket_ns, (found.until_ns - 1) // found.bucket_ns - found.since_ns // found.bucket_ns + 1
    by_place = {b.start_ns // found.bucket_ns - first: b for b in found.buckets}
    empty = Bucket(start_ns=0)
    buckets = [by_place.get(n, empty) for n in range(count)]
    whole = found.whole
    charts: list[tuple[str, list[float | None], str]] = [
        ("traces", [b.traces for b in buckets], f"{whole.traces:,}"),
        ("failed", [b.errors for b in buckets], f"{whole.errors:,}"),
        ("p95", [b.latency.p95 if b.latency else None for b in buckets], _ms(whole.latency, "p95")),
        ("calls of models", [b.calls for b in buckets], f"{whole.calls:,}"),
        ("their p95", [b.call_latency.p95 if b.call_latency else None for b in buckets], _ms(whole.call_latency, "p95")),
        ("first token p95", [b.first_token.p95 if b.first_token else None for b in buckets], _ms(whole.first_token, "p95")),
        ("tokens", [_tokens(b) for b in buckets], words.count(_tokens(whole))),
        ("cost", [b.cost for b in buckets], words.dollars(whole.cost)),
    ]
    for score in whole.scores:
        means = [next((s.mean for s in b.scores if s.name == score.name), None) for b in buckets]
        charts.append((score.name, means, _score(score.mean, score.unmeasured)))
    return [c for c in charts if any(c[1])]


def spark(values: Sequence[float | None]) -> str:
    """A column for each; a point where there was nothing to measure."""
    most = max((v for v in values if v is not None), default=0) or 1
    return "".join("·" if v is None else BLOCKS[min(7, int(8 * max(0, v) / most))] if v else " " for v in values)


def _row(group: FigureGroup) -> tuple[str, ...]:
    f = group.whole
    name = "others" if group.others else "none" if group.value is None else plain(words.short_ref(group.value))
    scores = ", ".join(f"{s.name} {_score(s.mean, s.unmeasured)}" for s in f.scores)
    tokens = ("–" if n is None else f"{n:,}" for n in (f.tokens_in, f.tokens_out))
    failed = f"{f.errors / f.traces:.1%}" if f.traces else "–"
    return (
        name, f"{f.traces:,}", failed, _ms(f.latency, "p50"), _ms(f.latency, "p95"), f"{f.calls:,}", *tokens, _cost(f), scores,
    )  # fmt: skip


def _ms(of: Percentiles | None, which: str) -> str:
    return words.duration(getattr(of, which) * 1e6) if of else "–"


def _tokens(figure: Figure) -> int | None:
    told = [n for n in (figure.tokens_in, figure.tokens_out) if n is not None]
    return sum(told) if told else None


def _cost(figure: Figure) -> str:
    """With how many calls it leaves out, since nobody knows what they cost."""
    if figure.cost is None:
        return words.dollars(None) if figure.unpriced else "–"
    return words.dollars(figure.cost) + (f" and {words.many(figure.unpriced, 'call')} without a price" if figure.unpriced else "")


def _score(mean: float | None, unmeasured: int) -> str:
    return words.score(mean) + (f" ({unmeasured:,} unmeasured)" if unmeasured else "")
