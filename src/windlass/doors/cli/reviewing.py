"""`review`: queues of what people are to look at: add to them, decide one after the other, keep what is decided as rows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from windlass.core.errors import Invalid
from windlass.core.ids import now_ns
from windlass.core.operations.reviews import Choice, NewReview, Review, ReviewField, ReviewQueue
from windlass.doors import format as words
from windlass.doors.cli.commands import command, otherwise
from windlass.doors.cli.data import Cursor, Limit, read_field
from windlass.doors.cli.session import Session, plain

Queue = Annotated[str, typer.Argument(help="A queue: the name of the dataset that its rows go to.")]
CHOICES: dict[str, Choice] = {"1": "first", "2": "second", "0": "tie", "n": "neither"}
TRUTH = {"yes": True, "y": True, "true": True, "no": False, "n": False, "false": False}


def add(app: typer.Typer) -> None:
    review = typer.Typer(help="What people are to label or compare, and what they decided. Alone it lists the queues.")
    otherwise(review, queues)
    command(review, "list", "reviews.list", path="review")(list_items)
    command(review, "add", "reviews.add", path="review")(add_items)
    command(review, "next", "reviews.show", "reviews.decide", path="review")(next_item)
    command(review, "keep", "reviews.keep", path="review")(keep)
    app.add_typer(review, name="review", rich_help_panel="Evaluate")


def queues(session: Session) -> None:
    """The queues, with what waits in each."""
    _queues(session, None, 50)


def _queues(session: Session, cursor: str | None, limit: int) -> None:
    page = session.client.reviews.queues(cursor, limit)
    session.result(page)
    columns = ("queue", "", "for you", "waiting", "disputed", "decided", "aside", "kept", "agreement")
    session.table(columns, [_queue(q) for q in page.queues], right=frozenset(range(2, 8)))
    if not page.queues:
        session.print("no queue yet: windlass review add DATASET TRACE…")
    if page.next:
        session.print(f"[dim]more: windlass review list --cursor {page.next}[/dim]")


def _queue(q: ReviewQueue) -> tuple[str, ...]:
    counts = [f"{q.counts.get(state, 0):,}" for state in ("waiting", "disputed", "decided", "aside", "kept")]
    agreed = f"{q.agreement.share:.2f} on {words.many(q.agreement.items, 'item')}" if q.agreement else "unmeasured"
    return (q.name, f"{q.kind}s" + (f", {q.raters} people each" if q.raters > 1 else ""), f"{q.todo:,}", *counts, agreed)


def list_items(
    session: Session,
    queue: Annotated[str | None, typer.Argument(help="A queue; all queues without it.")] = None,
    state: Annotated[str | None, typer.Option("--state", help="todo (for you), waiting, disputed, decided, aside or kept.")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> None:
    """The items of a queue, oldest first; the queues, where none is named."""
    if queue is None:
        _queues(session, cursor, limit)
        return
    if state not in (None, "todo", "waiting", "disputed", "decided", "aside", "kept"):
        raise Invalid(f"{state!r} is no state", where="--state", remedy="todo, waiting, disputed, decided, aside or kept")
    page = session.client.reviews.list(queue, state, cursor, limit)
    session.result(page)
    session.table(
        ("item", "state", "question", "reason", "outcome", "by"),
        [(words.short_id(i.id), i.state, i.question[:70], i.reason[:40], i.outcome[:50], ", ".join(i.deciders)) for i in page.items],
    )
    if not page.items:
        session.print(f"no item is {state}" if state else f"the queue is empty: windlass review add {page.queues[0].name} TRACE…")
    if page.next:
        session.print(f"[dim]more: --cursor {page.next}[/dim]")


def add_items(
    session: Session,
    queue: Queue,
    traces: Annotated[list[str] | None, typer.Argument(help="Traces: ids, or the start of them.")] = None,
    pair: Annotated[bool, typer.Option("--pair", help="Two answers to compare: the traces are taken two by two.")] = False,
    file: Annotated[
        Path | None,
        typer.Option(
            "--from", help='JSONL, one item a line: {"input": …, "outputs": [a, b]} or {"traces": […], "reason": …, "suggested": {…}}.'
        ),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why they are worth looking at.")] = "",
    fields: Annotated[list[str] | None, typer.Option("--set", help="FIELD=VALUE that is suggested, in JSON or as text.")] = None,
    guidelines: Annotated[
        str | None, typer.Option("--guidelines", help="What is right, for whoever decides; @FILE reads it from a file.")
    ] = None,
    raters: Annotated[int | None, typer.Option("--raters", help="How many people decide each item; one, unless told.")] = None,
) -> None:
    """Put traces into a queue to be labelled, or pairs of answers to be compared. What is there already is named and left out."""
    suggested = dict(read_field(text) for text in fields or [])
    ids = list(traces or [])
    if pair and len(ids) % 2:
        raise Invalid(f"{len(ids)} traces are no pairs", where="--pair", remedy="name two traces for each pair")
    groups = [tuple(ids[n : n + 2]) for n in range(0, len(ids), 2)] if pair else [(id,) for id in ids]
    items = [NewReview(group, reason=reason, suggested=suggested) for group in groups] + (_items(file) if file else [])
    text = _text(guidelines) if guidelines else None
    done = session.client.reviews.add(queue, items=items, kind="pair" if pair else None, guidelines=text, raters=raters)
    for problem in done.problems:
        session.warn(problem)
    session.result(done)
    added = f"{len(done.items):,} item{'' if len(done.items) == 1 else 's'} added" if items else "the queue is there"
    session.print(f"{done.queue}: {added}   [dim]windlass review next {done.queue} · {session.link('/reviews/' + done.queue)}[/dim]")


def _text(given: str) -> str:
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise Invalid(f"it cannot be read: {e}", where="--guidelines") from None


def _items(file: Path) -> list[NewReview]:
    """Raises `Invalid` naming the line."""
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise Invalid(f"it cannot be read: {e}", where=str(file)) from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found += [msgspec.json.decode(line, type=NewReview)] if line.strip() else []
        except msgspec.DecodeError as e:
            raise Invalid(f"no item: {e}", where=f"{file}:{number}", remedy='write {"input": …, "outputs": [a, b]}') from None
    return found


def next_item(
    session: Session,
    queue: Queue,
    item: Annotated[str | None, typer.Option("--item", help="This one: its id or the end of it.")] = None,
    fields: Annotated[
        list[str] | None, typer.Option("--set", help="FIELD=VALUE that is right, in JSON or as text; over what is suggested.")
    ] = None,
    choose: Annotated[str | None, typer.Option("--choose", help="Of a pair: first, second, tie or neither.")] = None,
    skip: Annotated[str | None, typer.Option("--skip", help="Skip it, and why.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take back what you said of --item.")] = False,
) -> int:
    """Show the next item that waits for you and ask what is right, here or by --set, --choose, --skip. Exit 1 where none waits."""
    if undo and item is None:
        raise Invalid("say which item", where="--undo", remedy="--item ID; windlass review list says what there is")
    if choose not in (None, "first", "second", "tie", "neither"):
        raise Invalid(f"{choose!r} is no choice", where="--choose", remedy="first, second, tie or neither")
    reviews = session.client.reviews
    if item is None:
        waiting = reviews.list(queue, "todo", limit=1)
        if not waiting.items:
            return _nothing(session, waiting.queues[0])
        item = waiting.items[0].id
    found = reviews.show(item)
    told: dict[str, Any] = {"choose": choose, "skip": skip, "undo": undo}
    if fields:
        told["fields"] = _now(found) | dict(read_field(text) for text in fields)
    if not any(value not in (None, False) for value in told.values()):
        _show(session, found)
        told = _asked(session, found)
    if not told:
        session.result(found)
        return 0
    done = reviews.decide(found.id, told.get("fields"), choose=told.get("choose"), skip=told.get("skip"), undo=told.get("undo", False))
    session.result(done)
    after = f"next: windlass review next {done.queue.name}" if done.queue.todo else f"windlass review keep {done.queue.name}"
    session.print(f"{words.short_id(done.id)} is {done.state} · {done.queue.todo:,} more for you   [dim]{after}[/dim]")
    return 0


def _nothing(session: Session, queue: ReviewQueue) -> int:
    session.result(queue)
    decided = queue.counts.get("decided", 0)
    session.print(
        f"nothing in {queue.name} waits for you" + (f"; windlass review keep {queue.name}: {decided:,} decided" if decided else "")
    )
    return 1


def _show(session: Session, item: Review) -> None:
    session.print(f"[dim]{words.short_id(item.id)} · {item.queue.todo:,} for you in {item.queue.name}[/dim]")
    for name, value in item.question.items():
        session.print(
            f"[bold]{plain(_said(value))}[/bold]" if len(item.question) == 1 else f"[dim]{plain(name)}[/dim]  {plain(_said(value))}"
        )
    if item.queue.kind == "pair":
        for name, answer in zip(("1", "2"), item.answers, strict=True):
            session.print("", f"[bold]{name}[/bold]  {plain(_said(answer))}")
    else:
        session.print("", plain(_said(item.answers[0])) or "[dim]no answer[/dim]")
    for passage in item.passages[:3]:
        session.print(f"  [dim]given {plain(passage.key)}: {plain(' '.join(passage.text.split())[:160])}[/dim]")
    if item.reason:
        session.print(f"[dim]why: {plain(item.reason)}[/dim]")
    if item.queue.guidelines:
        session.print(f"[dim]{plain(item.queue.guidelines)}[/dim]")
    for decision in item.decisions:
        said = decision.choice or decision.skip or _said(decision.fields)
        session.print(f"[dim]{plain(decision.actor)} said {plain(said)}, {words.ago(decision.at_ns, now_ns())}[/dim]")
    session.print("")


def _asked(session: Session, item: Review) -> dict[str, Any]:
    """What the person says; nothing for a program, and where there is nobody to ask."""
    if session.json:
        return {}
    if item.queue.kind == "pair":
        said = _ask("1, 2, 0 (a tie), n (neither), s (skip)", "").strip().lower()
        if said in CHOICES:
            return {"choose": CHOICES[said]}
        if said != "s":
            raise Invalid(f"{said!r} is no choice", remedy="1, 2, 0, n or s")
        return {"skip": _ask("why", "")}
    fields: dict[str, Any] = {}
    now = _now(item)
    for field in item.fields:
        said = _ask(f"{field.name} ({_hint(field)})", _written(now.get(field.name), field))
        if said == "s!":
            return {"skip": _ask("why", "")}
        fields |= _read(field, said)
    if not item.fields:
        raise Invalid("the dataset has no rows yet, so its fields are not known", remedy="windlass review next … --set FIELD=VALUE")
    return {"fields": fields}


def _now(item: Review) -> dict[str, Any]:
    """What a form begins with."""
    return (item.mine.fields if item.mine else None) or item.suggested


def _ask(what: str, default: str) -> str:
    answer: str = typer.prompt(what, default=default, show_default=bool(default), err=not sys.stdout.isatty())
    return answer


def _hint(field: ReviewField) -> str:
    kind = {"text": "text", "number": "number", "truth": "yes or no", "texts": "texts, with commas", "json": "JSON"}[field.type]
    return " | ".join(field.choices) if field.choices else kind if field.required else f"{kind}, empty for none"


def _written(value: Any, field: ReviewField) -> str:
    if value is None:
        return ""
    if field.type == "texts" and isinstance(value, list):
        return ", ".join(value)
    return ("yes" if value else "no") if isinstance(value, bool) else _said(value)


def _read(field: ReviewField, said: str) -> dict[str, Any]:
    """A field as it was typed. Raises `Invalid` where it is not of the type."""
    said = said.strip()
    if field.type == "texts":
        return {field.name: [s.strip() for s in said.split(",") if s.strip()]}
    if not said:
        return {}
    if field.type == "text":
        return {field.name: said}
    if field.type == "truth":
        if said.lower() not in TRUTH:
            raise Invalid(f"{said!r} is neither yes nor no", where=field.name)
        return {field.name: TRUTH[said.lower()]}
    try:
        return {field.name: msgspec.json.decode(said)}
    except msgspec.DecodeError:
        raise Invalid(f"{said!r} is no {'number' if field.type == 'number' else 'JSON'}", where=field.name) from None


def keep(
    session: Session, queue: Queue, message: Annotated[str, typer.Option("-m", "--message", help="What the version is for.")] = ""
) -> None:
    """Make one dataset version of everything that is decided. Again, it changes nothing."""
    done = session.client.reviews.keep(queue, message)
    session.result(done)
    rows = f"{done.rows:,} row{'' if done.rows == 1 else 's'} kept" if done.rows else "nothing new is decided"
    waiting = f" · {done.left:,} still wait" if done.left else ""
    session.print(f"{rows} · {words.short_ref(done.ref)}{waiting}   [dim]{session.link('/datasets/dataset/' + done.queue)}[/dim]")


def _said(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
