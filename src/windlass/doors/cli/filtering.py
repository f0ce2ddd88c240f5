"""The filter language in the terminal: what fields say, and what the shell completes."""

from __future__ import annotations

from typing import Any

from windlass.core.errors import WindlassError
from windlass.core.filter import Node, all_of, printed
from windlass.core.filter_completing import completing, fallback
from windlass.core.filter_reading import conditions_of
from windlass.core.operations.traces import TraceQuery
from windlass.doors import format as words
from windlass.doors.cli.session import Session, plain
from windlass.sdk.servers import configured_server, local_server

WHERE = "That fit this filter: status:error model:gpt-5* latency>2s -user:bot (a or b). docs/tracing.md has the language."
COUNTED, COMPLETED = 10_000, 200  # traces that are looked at


def fields(session: Session, field: str, asked: dict[str, Any]) -> None:
    """How many traces fit, and what they say in the fields of filters. `asked` are the fields of a `TraceQuery`."""
    filter = as_one({k: v for k, v in asked.items() if k not in ("cursor", "limit")})
    more = {k: asked[k] for k in ("evaluation", "since_ns", "limit") if k in asked}
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
