"""`traces`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from windlass.core.errors import Invalid
from windlass.core.ids import now_ns
from windlass.core.operations.traces import TracePage
from windlass.doors import format as words
from windlass.doors.cli import auditing, filtering, scoring, steps
from windlass.doors.cli.commands import command
from windlass.doors.cli.following import follow
from windlass.doors.cli.session import Session, plain
from windlass.doors.cli.workspace import progress
from windlass.sdk import export

WORD = re.compile(r"[^0-9a-fA-F]")  # what no id has
UNITS = {"s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9}
ID = (
    "One of them: its id or the start of it. Or `fields`: what those that fit say, with counts, in all or in one; `ledger`: what was"
    " received, and what came of it; `audit`: prove that by the journal, 1 where it is not so; `remap`: read all of them anew."
)
MORE = "After `score`: ID NAME VALUE; with --session NAME VALUE. After `fields`: one of them, attr.NAME, or attr for the names of all."


class Listed(filtering.Which):
    """Options of lists of traces."""

    passage: Annotated[str | None, typer.Option("--passage", help="That were given this chunk of an index.")] = None
    since: Annotated[str | None, typer.Option("--since", help="No older than this: 90s, 30min, 2h, 7d.")] = None
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")] = 20
    cursor: Annotated[str | None, typer.Option("--cursor", help="Go on from here.")] = None

    def query(self, session: Session) -> dict[str, Any]:
        """The fields of a `TraceQuery`. Raises `Invalid` and `NotFound`."""
        seen = filtering.asked_by(filtering.view_of(session, self.view))
        since = now_ns() - back(self.since) if self.since else seen.since_ns if seen else None
        until = seen.to if seen and not self.since else None
        more = {"passage": self.passage, "since_ns": since, "until_ns": until, "cursor": self.cursor, "limit": self.limit}
        return self.asked(seen) | {k: v for k, v in more.items() if v is not None}


class Live(msgspec.Struct):
    """Options of figures instead of a list."""

    live: Annotated[bool, typer.Option("--live", help="Figures of the last hours instead of a list.")] = False
    release: Annotated[str | None, typer.Option("--release", help="With --live: of one release.")] = None
    hours: Annotated[int, typer.Option("--hours", help="With --live or `ledger`: how many; of a ledger 0 is all.")] = 24


def add(app: typer.Typer) -> None:
    does = (
        "traces.list", "traces.fields", "traces.show", "traces.tree", "traces.calls", "traces.costs", "traces.text", "traces.live",
        "traces.remap", "traces.ledger", "traces.audit", "traces.score",
    )  # fmt: skip
    command(app, "traces", *does, panel="Look")(traces)


def traces(
    session: Session,
    listed: Listed,
    one: steps.OfOne,
    judging: scoring.Judging,
    figures: Live,
    id: Annotated[str | None, typer.Argument(help=ID)] = None,
    said: Annotated[list[str] | None, typer.Argument(help=MORE)] = None,
    go_on: Annotated[bool, typer.Option("--follow", help="Go on with those that come, until Ctrl-C; with --json a line each.")] = False,
    to: Annotated[Path | None, typer.Option("--to", help="Write every span of all that fit to this file, .jsonl or .parquet.")] = None,
) -> int | None:
    """What happened: traces by filter, one trace as a tree, or figures of the last hours; and whether all that was received is there.
    `windlass traces score ID helpful yes` says what one was worth: a number, yes or no, or a category."""
    if id == "score":
        scoring.score(session, said or [], listed.conversation, one.span, judging)
        return None
    if said and (id != "fields" or len(said) > 1):
        raise Invalid(f"{said[0]!r} is one too many", remedy="name one trace, or write `windlass traces score ID NAME VALUE`")
    if id in WORDS:  # no id: those are hexadecimal
        return WORDS[id](session, figures.hours)
    if id and id != "fields":
        if WORD.search(id):
            raise Invalid(f"{id[:40]!r} is not a trace id", remedy=f"a filter is written behind -w: windlass traces -w {shlex.quote(id)}")
        steps.show(session, id, one, listed.cursor)
        return None
    one.refuse_without_trace()
    if figures.live:
        _live(session, figures.release, figures.hours)
        return None
    asked = listed.query(session)
    if id == "fields":
        filtering.fields(session, said[0] if said else "", asked)
    elif to is not None:
        _export(session, to, {k: v for k, v in asked.items() if k not in ("cursor", "limit")})
    elif go_on:
        follow(session, asked)
    else:
        _list(session, session.client.traces.list(**asked), filtered=asked.keys() != {"limit"})
    return None


def _list(session: Session, page: TracePage, filtered: bool) -> None:
    now = now_ns()
    session.result(page)
    session.table(
        ("trace", "when", "took", "", "name", "input", "output"),
        [
            (
                t.trace_id[:8], words.ago(t.start_ns, now), words.duration(t.duration_ns), "" if t.status != "error" else "error",
                t.name.removeprefix("run "), words.line(t.input, 44), words.line(t.output, 44),
            )
            for t in page.items
        ],
        right=frozenset({2}),
    )  # fmt: skip
    if not page.items:
        session.print("no traces fit" if filtered else "no traces yet: windlass run, or send some with windlass.init()")
    if page.next:
        session.print(f"[dim]more: --cursor {page.next}[/dim]")


def _export(session: Session, path: Path, filters: dict[str, Any]) -> None:
    export.check(path)
    traces = spans = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal traces, spans
        with progress(session) as say:
            for of_one in export.spans_of(session.client.traces, filters):
                traces, spans = traces + 1, spans + len(of_one)
                say("traces written", traces, 0)
                yield from of_one

    export.write(path, rows())
    session.result({"file": str(path), "traces": traces, "spans": spans})
    session.print(f"{words.many(spans, 'span')} of {words.many(traces, 'trace')} are in {plain(str(path))}")


def _live(session: Session, release: str | None, hours: int) -> None:
    figures = session.client.traces.live(release, hours)
    session.result(figures)
    errors = f"{figures.errors / figures.requests:.1%}" if figures.requests else "unmeasured"
    p50, p95 = (words.duration(ms * 1e6 if ms is not None else None) for ms in (figures.p50_ms, figures.p95_ms))
    requests = words.many(figures.requests, "request")
    session.print(f"{requests} in {hours} h · {errors} errors · p50 {p50} · p95 {p95} · {words.dollars(figures.cost)}")


def _remap(session: Session, hours: int) -> None:
    with progress(session) as say:
        for told in session.client.traces.remap():
            say("reading anew", told.done, told.total)
    session.result(told)
    changed = ", ".join(f"{column.replace('_', ' ')} of {count:,}" for column, count in sorted(told.changed.items(), key=lambda c: -c[1]))
    session.print(f"{words.many(told.done, 'span')} read anew: " + (changed or "they say what they said"))


WORDS: dict[str, Callable[[Session, int], int | None]] = {"remap": _remap, "ledger": auditing.ledger, "audit": auditing.audit}


def back(text: str) -> int:
    """A time back from now. Raises `Invalid`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *(s|min|h|d)", text.strip())
    if found is None:
        raise Invalid(f"{text!r} is no time", where="--since", remedy="write 90s, 30min, 2h or 7d")
    return int(float(found[1]) * UNITS[found[2]])
