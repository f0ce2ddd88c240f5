"""The filter language in the terminal: what fields say, and what the shell completes."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

import msgspec
import typer

from windlass.core.errors import Invalid, NotFound, WindlassError
from windlass.core.filter import Node, all_of, printed
from windlass.core.filter_completing import completing, fallback
from windlass.core.filter_reading import conditions_of, read
from windlass.core.operations.traces import TraceQuery
from windlass.core.operations.views import SavedView
from windlass.doors import format as words
from windlass.doors.asked import Asked, asked_of
from windlass.doors.cli.session import Session, plain
from windlass.sdk.servers import configured_server, local_server

WHERE = "That fit this filter: status:error model:gpt-5* latency>2s -user:bot (a or b). docs/tracing.md has the language."
COUNTED, COMPLETED = 10_000, 200  # traces that are looked at


def views(incomplete: str) -> list[str]:
    """Names that begin so, for a shell; where a server runs."""
    session = Session()
    if not (configured_server() or local_server(session.home)):
        return []
    try:
        return [v.name for v in session.client.views.list().items if v.name.startswith(incomplete)]
    except WindlassError:
        return []


class Which(msgspec.Struct):
    """Options that say which traces are meant."""

    where: Annotated[str | None, typer.Option("--where", "-w", help=WHERE, autocompletion=lambda incomplete: complete(incomplete))] = None
    view: Annotated[
        str | None, typer.Option("--view", help="Of a saved view, by its name; other options narrow it.", autocompletion=views)
    ] = None
    search: Annotated[str | None, typer.Option("--search", help="With this in name, input or output.")] = None
    status: Annotated[str | None, typer.Option("--status", help="ok or error.")] = None
    uses: Annotated[str | None, typer.Option("--uses", help="In which this version took part.")] = None
    model: Annotated[str | None, typer.Option("--model", help="That called this model.")] = None
    kind: Annotated[str | None, typer.Option("--kind", help="Of one kind: request, chain, agent, component …")] = None
    environment: Annotated[str | None, typer.Option("--in", help="Of one environment.")] = None
    who: Annotated[str | None, typer.Option("--user", help="Of one user.")] = None
    conversation: Annotated[str | None, typer.Option("--session", help="Of one conversation.")] = None
    evaluation: Annotated[str | None, typer.Option("--evaluation", help="Of one evaluation.")] = None
    slower: Annotated[float | None, typer.Option("--slower-than", help="Milliseconds.")] = None
    score: Annotated[str | None, typer.Option("--score", help="With this score: helpful, helpful=no, 'stars<3', tone=plain.")] = None

    def asked(self, seen: Asked | None) -> dict[str, Any]:
        """The fields of a `TraceQuery` that are asked for, by these and by a view. Raises `Invalid`."""
        if self.status not in (None, "ok", "error"):
            raise Invalid(f"{self.status!r} is no state of a trace", where="--status", remedy="write ok or error")
        both = [tree for text in ((seen.filter if seen else ""), self.where or "") if (tree := read(text))]
        given = {
            "filter": printed(all_of(both)) if seen and both else self.where, "search": self.search, "status": self.status,
            "uses": self.uses, "model": self.model, "kind": self.kind, "environment": self.environment, "user": self.who,
            "session": self.conversation, "evaluation": self.evaluation or (seen.evaluation if seen else "") or None,
            "slower_than_ms": self.slower, "score": self.score,
        }  # fmt: skip
        return {k: v for k, v in given.items() if v is not None}


def view_of(session: Session, name: str | None) -> SavedView | None:
    """A saved view: one's own before one that is shared. Raises `NotFound` with those there are."""
    if name is None:
        return None
    items = session.client.views.list().items
    found = sorted((v for v in items if v.name == name), key=lambda v: v.shared)
    if not found:
        there = ", ".join(repr(v.name) for v in items[:12]) + (f" and {len(items) - 12:,} more" if len(items) > 12 else "")
        remedy = f"there are {there}" if items else f"windlass views save {shlex.quote(name)} 'status:error' keeps one"
        raise NotFound(f"there is no view {name!r}", where="--view", remedy=remedy)
    return found[0]


def asked_by(view: SavedView | None) -> Asked | None:
    """Which traces a view is of. Raises `Invalid`."""
    return asked_of(view.asked) if view else None


def fields(session: Session, field: str, asked: dict[str, Any]) -> None:
    """How many traces fit, and what they say in the fields of filters. `asked` are the fields of a `TraceQuery`."""
    filter = as_one({k: v for k, v in asked.items() if k not in ("cursor", "limit")})
    more = {k: asked[k] for k in ("evaluation", "since_ns", "until_ns", "limit") if k in asked}
    told = session.client.traces.fields(filter, field=field, among=COUNTED, **more)
    session.result(told)
    session.print(
        f"more than {told.traces:,} traces fit; of the newest of them" if told.more else f"{words.many(told.traces, 'trace')} fit"
    )
    for one in told.fields:
        if not one.values and not field:
            continue
        session.print(f"\n[bold]{plain(one.name)}[/bold]  [dim]{plain(one.about)}[/dim]")
        for v in one.values:
            session.print(f"{v.traces:>8,}  {plain(v.value)}")


def as_one(asked: dict[str, Any]) -> str:
    """What these fields of a `TraceQuery` ask for, as one filter. Raises `Invalid`."""
    conditions: list[Node] = conditions_of(TraceQuery(**asked))
    return printed(all_of(conditions)) if conditions else ""


def complete(incomplete: str) -> list[str]:
    """What a shell may put in the place of a filter that is half written. Values are known where a server runs."""
    found = completing(incomplete, len(incomplete))
    suggested = found.known
    if found.field:
        suggested = fallback(found)
        session = Session()
        if not suggested and (configured_server() or local_server(session.home)):
            try:
                asked = {"field": found.field, "starts": found.starts, "among": COMPLETED, "limit": 20}
                (told,) = session.client.traces.fields(found.rest, **asked).fields
            except WindlassError:  # a shell that completes says nothing
                return []
            suggested = found.told([(v.value, v.traces) for v in told.values])
    return [incomplete[: found.start] + s.text for s in suggested]
