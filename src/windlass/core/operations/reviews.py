"""Reviews: people label rows made of traces, or say which of two answers is better; what they decide becomes a dataset version.

A queue is named by the dataset its rows go to. An item waits in it until as many people as the queue wants have decided; then the
majority decides, and what has none waits for one more person, whose word settles it.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from windlass.core.operations import Limit, Operation, Page
from windlass.core.operations.datasets import Row

ReviewKind = Literal["label", "pair"]
Choice = Literal["first", "second", "tie", "neither"]
# waiting: for decisions; disputed: for one more person; decided: becomes a row at the next keep; aside: gives no row (a tie, neither,
# skipped); kept: is a row
ReviewState = Literal["waiting", "disputed", "decided", "aside", "kept"]
FieldType = Literal["text", "number", "truth", "texts", "json"]


class NewReview(msgspec.Struct, omit_defaults=True):
    """What somebody is to look at. To label: one trace. To compare: two traces that were asked the same, or two `outputs` for one
    `input`, with the refs of what gave them as `sources`. `reason` says why it is worth looking at; `suggested` are values of fields
    that the form is filled with."""

    traces: tuple[str, ...] = ()
    input: Any = None
    outputs: tuple[Any, ...] = ()
    sources: tuple[str, ...] = ()
    reason: str = ""
    suggested: dict[str, Any] = {}


class ReviewAdd(msgspec.Struct, omit_defaults=True):
    """Put items into the queue of `dataset/name`, which is made where there is none. `guidelines` say what is right, `raters` how many
    people decide each item; both change the queue where they are given, also without items. What is a row or an item already, or says
    nearly what one says, is left out and named."""

    queue: str
    items: tuple[NewReview, ...] = ()
    kind: ReviewKind | None = None  # of a new queue: label
    guidelines: str | None = None
    raters: int | None = None
    project: str = "default"


class ReviewAdded(msgspec.Struct, omit_defaults=True):
    queue: str
    items: tuple[str, ...]  # ids
    problems: tuple[str, ...] = ()


class Agreement(msgspec.Struct, frozen=True, omit_defaults=True):
    """How often two people said the same of one item, over the `items` that two or more decided before anybody settled a dispute.
    Raw: what would come about by chance is in it. `fields` is the same for each field of labels."""

    share: float
    items: int
    fields: dict[str, float] = {}


class ReviewQueue(msgspec.Struct, omit_defaults=True):
    """`todo` are the items that whoever asks can decide: those waiting that they have not decided, and disputes among others."""

    name: str
    dataset: str
    kind: ReviewKind
    raters: int
    created_ns: int
    actor: str
    guidelines: str = ""
    todo: int = 0
    counts: dict[ReviewState, int] = {}
    agreement: Agreement | None = None


class ReviewsQuery(msgspec.Struct, omit_defaults=True):
    """Without a `queue`: the queues by name. With one: its items, oldest first, of one state; `todo` are those for whoever asks."""

    queue: str | None = None
    state: Literal["todo", "waiting", "disputed", "decided", "aside", "kept"] | None = None
    project: str = "default"
    cursor: str | None = None
    limit: Limit = 50


class ReviewSummary(msgspec.Struct, omit_defaults=True):
    """An item in a list. `outcome` is what was decided, in words; `deciders` only once they cannot sway anybody."""

    id: str
    state: ReviewState
    question: str
    created_ns: int
    reason: str = ""
    given: int = 0  # decisions
    mine: bool = False
    outcome: str = ""
    deciders: tuple[str, ...] = ()
    key: str | None = None  # of the row, once it is kept


class ReviewPage(Page):
    """`queues` are all of the page, or the one whose `items` these are."""

    queues: tuple[ReviewQueue, ...]
    items: tuple[ReviewSummary, ...] = ()


class ReviewField(msgspec.Struct, frozen=True, omit_defaults=True):
    """A field to fill, as the dataset has it. `choices` are the values of a field that has few; `required`: every row has it."""

    name: str
    type: FieldType
    required: bool = False
    choices: tuple[str, ...] = ()


class Passage(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the answer was given to read."""

    key: str
    text: str = ""
    score: float | None = None
    index: str | None = None


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one person decided: `fields`, a `choice`, or that it is skipped and why. `settles`: it was made in a dispute of others."""

    actor: str
    at_ns: int
    fields: dict[str, Any] | None = None
    choice: Choice | None = None
    skip: str | None = None
    settles: bool = False


class ReviewQuery(msgspec.Struct, omit_defaults=True):
    """`id` whole, or enough of its beginning or end."""

    id: str
    project: str = "default"


class Review(msgspec.Struct, omit_defaults=True):
    """One item, as whoever asks may see it. `answers` is the one answer to label, or the two in the order they are shown in, which says
    nothing of what gave them; `sources` and traces of a pair are told once it is kept. `decisions` of others are told once one has
    decided oneself, or it waits for decisions no more."""

    id: str
    queue: ReviewQueue
    state: ReviewState
    question: dict[str, Any]
    answers: tuple[Any, ...]
    created_ns: int
    actor: str  # who put it here
    reason: str = ""
    suggested: dict[str, Any] = {}
    trace: str | None = None
    traces: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    passages: tuple[Passage, ...] = ()
    fields: tuple[ReviewField, ...] = ()
    free: bool = False  # the dataset has no rows yet, so any field may be set
    examples: tuple[Row, ...] = ()
    given: int = 0
    mine: Decision | None = None
    decisions: tuple[Decision, ...] = ()
    outcome: Decision | None = None
    can_decide: bool = False
    row: str | None = None  # dataset/name@digest that it was kept in
    key: str | None = None
    previous: str | None = None  # items of the queue that are not kept, by age
    following: str | None = None
    todo: str | None = None  # the next that waits for whoever asks


class ReviewDecide(msgspec.Struct, omit_defaults=True):
    """Say what is right: `fields` of a label, or which of a pair to `choose`; or `skip` it with a reason, or `undo` what one said."""

    id: str
    fields: dict[str, Any] | None = None
    choose: Choice | None = None
    skip: str | None = None
    undo: bool = False
    project: str = "default"


class ReviewKeep(msgspec.Struct, omit_defaults=True):
    """Make one dataset version of everything that is decided in a queue."""

    queue: str
    message: str = ""
    project: str = "default"


class ReviewsKept(msgspec.Struct, omit_defaults=True):
    """`ref` is the version that the decided items are in; `rows` how many were kept by this call. `left` wait for somebody."""

    queue: str
    ref: str
    rows: int
    keys: tuple[str, ...] = ()  # at most 200
    left: int = 0


ADD_REVIEWS = Operation("reviews.add", "POST", ReviewAdd, ReviewAdded, "write")
REVIEWS = Operation("reviews.list", "GET", ReviewsQuery, ReviewPage, "read")
REVIEW = Operation("reviews.show", "GET", ReviewQuery, Review, "read")
DECIDE = Operation("reviews.decide", "POST", ReviewDecide, Review, "run")
KEEP_REVIEWS = Operation("reviews.keep", "POST", ReviewKeep, ReviewsKept, "write")
