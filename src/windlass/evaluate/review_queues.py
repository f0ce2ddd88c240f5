"""Queues as they are stored: what waits in them, for whom, and how far people agree."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, and_, exists, func, insert, select, update

from windlass.core.actor import Actor
from windlass.core.errors import Invalid, NotFound
from windlass.core.operations.reviews import Decision, ReviewAdd, ReviewKind, ReviewQueue, ReviewState
from windlass.core.ref import Ref, parse_ref
from windlass.evaluate.review_outcomes import agreement
from windlass.store.tables import review_decisions, review_queues, reviews

MOST_RATERS = 9
MOST_TEXT = 20_000  # characters of guidelines
AT_ONCE = 500  # ids in one question to the store

Stored = Row[tuple[object, ...]]


def dataset_of(text: str, project: str) -> Ref:
    """The dataset that names a queue. Raises `Invalid`."""
    ref = parse_ref(text, project=project, kind="dataset")
    if ref.kind != "dataset":
        raise Invalid(f"a {ref.kind} has no queue", where=text, remedy="name the dataset that the rows go to")
    if ref.digest or ref.label not in (None, "main"):
        raise Invalid("what is reviewed goes to the branch main", where=text, remedy=f"name the queue {ref.name!r}")
    return Ref("dataset", ref.name, None, None, ref.project)


def find(c: Connection, dataset: Ref) -> Stored | None:
    q = review_queues.c
    return c.execute(select(review_queues).where(q.project == dataset.project, q.name == dataset.name)).first()


def need(c: Connection, dataset: Ref) -> Stored:
    """Raises `NotFound`."""
    found = find(c, dataset)
    if found is None:
        where = "" if dataset.project == "default" else f" in project {dataset.project}"
        raise NotFound(f"there is no queue {dataset.name!r}{where}", remedy="windlass review add makes one; windlass review lists them")
    return found


def kind_of(request: ReviewAdd, queue: Stored | None) -> ReviewKind:
    """What a queue holds: as it was made, else as asked, else as the items are. Raises `Invalid`."""
    paired = bool(request.items) and all(len(i.traces) == 2 or i.outputs for i in request.items)
    kind: ReviewKind = queue.kind if queue else request.kind or ("pair" if paired else "label")
    if request.kind not in (None, kind):
        raise Invalid(f"the queue {request.queue!r} is one of {kind}s", where="kind", remedy="give another dataset, and so another queue")
    if request.raters is not None and not 1 <= request.raters <= MOST_RATERS:
        raise Invalid(f"{request.raters} is no number of people", where="raters", remedy=f"1 to {MOST_RATERS}")
    if len(request.guidelines or "") > MOST_TEXT:
        raise Invalid(f"guidelines have at most {MOST_TEXT:,} characters", where="guidelines")
    return kind


def put(c: Connection, actor: Actor, dataset: Ref, kind: ReviewKind, request: ReviewAdd, seed: str, at_ns: int) -> Stored:
    """Make a queue, or change what is said of it."""
    q = review_queues.c
    given = {"raters": request.raters, "guidelines": request.guidelines}
    given = {name: value for name, value in given.items() if value is not None}
    if find(c, dataset) is None:
        values = {"raters": 1, "guidelines": "", **given, "kind": kind, "seed": seed, "created_ns": at_ns, "actor": actor.id}
        c.execute(insert(review_queues).values(project=dataset.project, name=dataset.name, **values))
    elif given:
        c.execute(update(review_queues).where(q.project == dataset.project, q.name == dataset.name).values(**given))
    return need(c, dataset)


def flipped(seed: str, id: str) -> bool:
    """Whether a pair is turned round: drawn by a hash that nobody can compute who does not know the queue's seed."""
    return bool(hashlib.sha256(f"{seed} {id}".encode()).digest()[0] & 1)


def todo(actor: Actor) -> ColumnElement[bool]:
    """Items that somebody can decide and has not."""
    d = review_decisions.c
    mine = exists().where(d.review == reviews.c.id, d.actor == actor.id)
    return and_(reviews.c.state.in_(("waiting", "disputed")), ~mine)


def inside(dataset: Ref) -> ColumnElement[bool]:
    return and_(reviews.c.project == dataset.project, reviews.c.queue == dataset.name)


def described(c: Connection, actor: Actor, stored: Stored, *, agree: bool = True) -> ReviewQueue:
    """A queue with its counts; `agree` reads every decision for how far people agree."""
    dataset = Ref("dataset", stored.name, None, None, stored.project)
    by_state = c.execute(select(reviews.c.state, func.count()).where(inside(dataset)).group_by(reviews.c.state))
    counts: dict[ReviewState, int] = {row[0]: row[1] for row in by_state}
    mine = c.execute(select(func.count()).select_from(reviews).where(inside(dataset), todo(actor))).scalar_one()
    return ReviewQueue(
        stored.name, str(dataset), stored.kind, stored.raters, stored.created_ns, stored.actor, stored.guidelines, mine, counts,
        agreement(_several(c, dataset)) if agree else None,
    )  # fmt: skip


def _several(c: Connection, dataset: Ref) -> Iterable[Sequence[Decision]]:
    """Decisions by item, where there are several."""
    d = review_decisions.c
    several = select(d.review).join(reviews, reviews.c.id == d.review).where(inside(dataset)).group_by(d.review).having(func.count() > 1)
    rows = c.execute(select(d.review, d.body).where(d.review.in_(several)).order_by(d.review))
    found: defaultdict[str, list[Decision]] = defaultdict(list)
    for row in rows:
        found[row.review].append(decode_decision(row.body))
    return found.values()


def decisions_on(c: Connection, ids: Sequence[str]) -> dict[str, list[Decision]]:
    """What was decided on items, in the order it was."""
    d = review_decisions.c
    found: dict[str, list[Decision]] = {id: [] for id in ids}
    for start in range(0, len(ids), AT_ONCE):
        some = ids[start : start + AT_ONCE]
        for row in c.execute(select(d.review, d.body).where(d.review.in_(some)).order_by(d.at_ns, d.actor)):
            found[row.review].append(decode_decision(row.body))
    return found


def neighbours(c: Connection, actor: Actor, dataset: Ref, id: str) -> tuple[str | None, str | None, str | None]:
    """The item before and after one by age, of those not kept, and the next that waits for somebody."""
    r = reviews.c
    open_ = select(r.id).where(inside(dataset), r.state != "kept")
    before = c.execute(open_.where(r.id < id).order_by(r.id.desc()).limit(1)).scalar()
    after = c.execute(open_.where(r.id > id).order_by(r.id).limit(1)).scalar()
    waits = select(r.id).where(inside(dataset), todo(actor), r.id != id).order_by(r.id).limit(1)
    following = c.execute(waits.where(r.id > id)).scalar() or c.execute(waits).scalar()
    return before, after, following


def left(c: Connection, dataset: Ref) -> int:
    """Items that wait for somebody."""
    waits = reviews.c.state.in_(("waiting", "disputed"))
    return c.execute(select(func.count()).select_from(reviews).where(inside(dataset), waits)).scalar_one()


def decode_decision(body: str) -> Decision:
    return msgspec.json.decode(body, type=Decision)
