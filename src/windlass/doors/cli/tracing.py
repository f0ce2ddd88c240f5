"""`traces`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from windlass.core.errors import Invalid
from windlass.core.ids import now_ns
from windlass.core.operations.traces import ScoreGiven, Trace, TracePage
from windlass.core.span import GIVEN, Span, kind_of, output_of
from windlass.doors import format as words
from windlass.doors.cli import auditing, filtering, steps
from windlass.doors.cli.commands import command
from windlass.doors.cli.following import follow
from windlass.doors.cli.session import Session, plain
from windlass.doors.cli.workspace import progress
from windlass.sdk import export
from windlass.store.spans import readable

YES, NO = ("true", "yes", "up"), ("false", "no", "down")
STEP, STEPS = re.compile("[0-9a-f]{16}"), 12  # a whole id; how many are named in an error
WORD = re.compile(r"[^0-9a-fA-F]")  # what no id has
UNITS = {"s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9}
ID = (
    "One of them: its id or the start of it. Or `fields`: what those that fit say, with counts, in all or in one; `ledger`: what was"
    " received, and what came of it; `audit`: prove that by the journal, 1 where it is not so; `remap`: read all of them anew."
)
MORE = "After `score`: ID NAME VALUE; with --session NAME VALUE. After `fields`: one of them, attr.NAME, or attr for the names of all."


def add(app: typer.Typer) -> None:
    does = (
        "traces.list", "traces.fields", "traces.show", "traces.tree", "traces.calls", "traces.text", "traces.live", "traces.remap",
        "traces.ledger", "traces.audit", "traces.score",
    )  # fmt: skip
    command(app, "traces", *does, panel="Look")(traces)


def traces(
    session: Session,
    id: Annotated[str | None, typer.Argument(help=ID)] = None,
    said: Annotated[list[str] | None, typer.Argument(help=MORE)] = None,
    where: Annotated[str | None, typer.Option("--where", "-w", help=filtering.WHERE, autocompletion=filtering.complete)] = None,
    search: Annotated[str | None, typer.Option("--search", help="With this in name, input or output.")] = None,
    status: Annotated[str | None, typer.Option("--status", help="ok or error.")] = None,
    uses: Annotated[str | None, typer.Option("--uses", help="In which this version took part.")] = None,
    passage: Annotated[str | None, typer.Option("--passage", help="That were given this chunk of an index.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="That called this model.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Of one kind: request, chain, agent, component …")] = None,
    environment: Annotated[str | None, typer.Option("--in", help="Of one environment.")] = None,
    who: Annotated[str | None, typer.Option("--user", help="Of one user.")] = None,
    conversation: Annotated[str | None, typer.Option("--session", help="Of one conversation.")] = None,
    evaluation: Annotated[str | None, typer.Option("--evaluation", help="Of one evaluation.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="No older than this: 90s, 30min, 2h, 7d.")] = None,
    slower: Annotated[float | None, typer.Option("--slower-than", help="Milliseconds.")] = None,
    score: Annotated[str | None, typer.Option("--score", help="With this score: helpful, helpful=no, 'stars<3', tone=plain.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Figures of the last hours instead of a list.")] = False,
    release: Annotated[str | None, typer.Option("--release", help="With --live: of one release.")] = None,
    hours: Annotated[int, typer.Option("--hours", help="With --live or `ledger`: how many; of a ledger 0 is all.")] = 24,
    comment: Annotated[str | None, typer.Option("--comment", help="With score: in words, also without a value.")] = None,
    span: Annotated[
        str | None, typer.Option("--span", help="With score, or --text: of one step, by its id (of a text also its start).")
    ] = None,
    text: Annotated[str | None, typer.Option("--text", help="A text of a step whole, however long: input, output, attributes.")] = None,
    below: Annotated[str | None, typer.Option("--below", help="Of one trace: what lies below this step, by its id or its start.")] = None,
    order: Annotated[
        str | None, typer.Option("--order", help="Of one trace: its steps that failed, or the slow or dear ones first.")
    ] = None,
    graph: Annotated[bool, typer.Option("--graph", help="Of one trace: who called whom, how often, how long and for how much.")] = False,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="With score: take yours of this name back.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")] = 20,
    cursor: Annotated[str | None, typer.Option("--cursor", help="Go on from here.")] = None,
    go_on: Annotated[bool, typer.Option("--follow", help="Go on with those that come, until Ctrl-C; with --json a line each.")] = False,
    to: Annotated[Path | None, typer.Option("--to", help="Write every span of all that fit to this file, .jsonl or .parquet.")] = None,
) -> int | None:
    """What happened: traces by filter, one trace as a tree, or figures of the last hours; and whether all that was received is there.
    `windlass traces score ID helpful yes` says what one was worth: a number, yes or no, or a category."""
    if id == "score":
        _score(session, said or [], conversation, comment=comment, span=span, withdraw=withdraw)
        return None
    if said and (id != "fields" or len(said) > 1):
        raise Invalid(f"{said[0]!r} is one too many", remedy="name one trace, or write `windlass traces score ID NAME VALUE`")
    if id in WORDS:  # no id: those are hexadecimal
        return WORDS[id](session, hours)
    if text is not None:
        _text(session, id, span, text)
        return None
    if id and id != "fields":
        if WORD.search(id):
            raise Invalid(f"{id[:40]!r} is not a trace id", remedy=f"a filter is written behind -w: windlass traces -w {shlex.quote(id)}")
        if graph:
            steps.calls(session, id)
            return None
        if below or order:
            steps.listed(session, id, _step(session, id, below) if below else "", order or "start", cursor)
            return None
        trace = session.client.traces.show(id, cursor, 200)
        session.result(trace)
        _show(session, trace, cursor)
        return None
    if live:
        _live(session, release, hours)
        return None
    given = {
        "filter": where, "search": search, "status": status, "uses": uses, "passage": passage, "model": model, "kind": kind,
        "environment": environment, "user": who, "session": conversation, "evaluation": evaluation, "slower_than_ms": slower,
        "score": score, "since_ns": now_ns() - back(since) if since else None, "cursor": cursor, "limit": limit,
    }  # fmt: skip
    asked = {k: v for k, v in given.items() if v is not None}
    if id == "fields":
        filtering.fields(session, said[0] if said else "", asked)
        return None
    if to is not None:
        _export(session, to, {k: v for k, v in asked.items() if k not in ("cursor", "limit")})
        return None
    if go_on:
        follow(session, asked)
        return None
    _list(session, session.client.traces.list(**asked), filtered=asked.keys() != {"limit"})
    return None


def _text(session: Session, id: str | None, span: str | None, of: str) -> None:
    if not id:
        raise Invalid("a text is one of a step", where="--text", remedy="windlass traces ID --span SPAN --text input")
    told = session.client.traces.text(id, _step(session, id, span or ""), of)
    session.result({"text": told})
    session.print(plain(told))


def _step(session: Session, id: str, begins: str) -> str:
    """The id of the step that begins so; without a beginning the only one there is. Raises `Invalid` with those there are."""
    if STEP.fullmatch(begins):
        return begins
    steps = [s for s in session.client.traces.show(id).spans if GIVEN not in s.attributes]
    fit = [s for s in steps if s.span_id.startswith(begins)]
    if len(fit) == 1:
        return fit[0].span_id
    shown = ", ".join(f"{s.span_id} ({_line(s.name, 30)})" for s in (fit or steps)[:STEPS])
    more = f" and {len(fit or steps) - STEPS:,} more" if len(fit or steps) > STEPS else ""
    said = f"{words.many(len(fit), 'step')} of this trace begin with {begins!r}" if begins else f"this trace has {len(steps):,} steps"
    raise Invalid(said, where="--span", remedy=f"name one of {shown}{more}")


def _list(session: Session, page: TracePage, filtered: bool) -> None:
    now = now_ns()
    session.result(page)
    session.table(
        ("trace", "when", "took", "", "name", "input", "output"),
        [
            (
                t.trace_id[:8], words.ago(t.start_ns, now), words.duration(t.duration_ns), "" if t.status != "error" else "error",
                t.name.removeprefix("run "), _line(t.input, 44), _line(t.output, 44),
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


def _score(session: Session, said: list[str], conversation: str | None, **more: Any) -> None:
    given = [None, *said] if conversation else [*said]
    if not 2 <= len(given) <= 3:
        raise Invalid("a score needs what it is about, and a name", remedy="windlass traces score ID NAME VALUE, or --session S NAME VALUE")
    (trace, name), value = given[:2], _value(given[2]) if given[2:] else None
    kept = session.client.traces.score(trace, name or "", value, session=conversation, **more)
    session.result(kept)
    of = f"span {kept.score.span} of trace" if kept.score.span else "trace"
    about = plain(f"session {conversation}" if conversation else f"{of} {kept.trace}")
    if kept.withdrawn:
        session.print(f"withdrawn: {plain(kept.score.name)} of {about}")
    else:
        session.print(f"kept: {_worth(kept.score)} for {about}{'' if kept.arrived else ', which has not come yet'}")


def _value(text: str | None) -> bool | float | str | None:
    """A value as it is typed: yes or no, a number, or a category."""
    if text is None:
        return None
    if text.lower() in YES + NO:
        return text.lower() in YES
    try:
        return float(text)
    except ValueError:
        return text


def tell(session: Session, score: ScoreGiven, of: str = "") -> None:
    """A score in a line; `of` says what it is about, where that is not clear."""
    said = f"  {plain(_line(score.comment, 100))}" if score.comment else ""
    who = f"{f'of {plain(of)}, ' if of else ''}by {plain(score.by or 'nobody named')} · {words.ago(score.at_ns, now_ns())}"
    session.print(f"[bold]{_worth(score)}[/bold]{said}  [dim]{who}[/dim]")


def _worth(score: ScoreGiven) -> str:
    return plain(f"{score.name} {words.worth(score)}".strip())


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


def _line(text: str, width: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


def _show(session: Session, trace: Trace, cursor: str | None) -> None:
    s = trace.summary
    figures = (
        f"{words.duration(s.duration_ns)} · {words.dollars(s.cost)} · {words.many(s.spans, 'span')} · {words.ago(s.start_ns, now_ns())}"
    )
    session.print(f"[bold]{plain(s.name)}[/bold]   {figures}")
    children: dict[str | None, list[Span]] = {}
    shown = [span for span in trace.spans if GIVEN not in span.attributes]
    known = {span.span_id for span in shown}
    for span in shown:
        children.setdefault(span.parent if span.parent in known else None, []).append(span)
    if trace.next and not cursor:
        steps.told(session, session.client.traces.tree(s.trace_id))
    else:
        _spans(session, children, None, "")
    inner = {span.span_id: span.name for span in shown if span.parent in known}
    for score in trace.scores:
        tell(session, score, f"session {score.session}" if score.session else inner.get(score.span or "", ""))
    if trace.next and cursor:
        session.print(f"[dim]more: windlass traces {s.trace_id} --cursor {trace.next}[/dim]")
    session.print(f"[dim]{session.link('/traces/' + s.trace_id)}[/dim]")


def _spans(session: Session, children: dict[str | None, list[Span]], parent: str | None, indent: str) -> None:
    for span in children.get(parent, []):
        failed = f"  [red]{plain(span.status_message[:120])}[/red]" if span.status == "error" else ""
        output = plain(_line(readable(output_of(span)), 70))
        took = words.duration(span.end_ns - span.start_ns)
        kind = kind_of(span)
        session.print(f"{indent}{plain(span.name)}  [dim]{plain(kind)} · {took}[/dim]{failed}  [dim]{output}[/dim]")
        if span.span_id != parent:
            _spans(session, children, span.span_id, indent + "  ")
