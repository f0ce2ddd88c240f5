"""What every product's file gives: pages of spans and scores, each with where it leaves off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from windlass.core.operations.traces import ScoreRequest
from windlass.sdk.client import Client

LONGEST_CATEGORY = 200  # characters; as `traces.score` takes them
LONGEST_COMMENT = 10_000

Marks = dict[str, Any]  # JSON: how far it was read, in the words of the product's own file


class Left(NamedTuple):
    """What is not carried, and why."""

    what: str
    why: str


@dataclass
class Page:
    """One answer's worth. `marks` say where to go on once it is kept."""

    project: str
    marks: Marks
    traces: int = 0
    spans: list[Span] = field(default_factory=list)
    scores: list[ScoreRequest] = field(default_factory=list)
    left: Counter[Left] = field(default_factory=Counter)


class Source(Protocol):
    """One product's server."""

    product: str

    def version(self) -> str:
        """Raises `NotFound` where it is not that product."""
        ...

    def pages(self, marks: Marks, since_ns: int, project: str | None) -> Iterator[Page]:
        """Everything after these marks, of one of its projects or of all. A page's marks hold once it is kept. Raises `NotFound` for a
        project that is not there, and what reading raises."""
        ...

    def prompts(self, client: Client, left: Counter[Left], *, dry: bool) -> tuple[dict[tuple[str, int], str], int]:
        """Bring its prompts; `dry`: only count them. Returns by name and number there which exact ref each is here, and how many versions
        are new. What is not carried is put to `left`."""
        ...

    def rest(self) -> Counter[Left]:
        """What else it holds that does not come along."""
        ...


def scored(
    page: Page, *, id: str, name: str, value: Any, comment: str | None, by: str, at_ns: int, trace: str | None = None,
    span: str | None = None, session: str | None = None,
) -> None:  # fmt: skip
    """Add a score of theirs as one of ours. Who gave it there is told in the comment; a text too long for a category is one."""
    words = [comment or ""]
    if isinstance(value, str) and (len(value) > LONGEST_CATEGORY or not value.isprintable() or value != value.strip() or not value):
        words.insert(0, value)
        value = None
    said = "\n\n".join(filter(None, words))
    if value is not None and not isinstance(value, (bool, int, float, str)):
        page.left[Left("scores", "their value is neither number, yes or no, nor a word")] += 1
        return
    if value is None and not said:
        page.left[Left("scores", "they have neither a value nor a comment")] += 1
        return
    if isinstance(value, float) and (value != value or abs(value) > 1e12):
        page.left[Left("scores", "their value is no number that can be averaged")] += 1
        return
    told = "\n\n".join(filter(None, (said, f"({by})" if by else "")))
    if len(told) > LONGEST_COMMENT:
        page.left[Left("scores' comments", f"all but their first {LONGEST_COMMENT:,} characters")] += 1
    given = value if value is None or isinstance(value, (bool, str)) else float(value)
    page.scores.append(ScoreRequest(name.strip(), given, told[:LONGEST_COMMENT] or None, trace, span, session, id, at_ns=at_ns or None))
