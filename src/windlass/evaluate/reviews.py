"""The service of reviews: what people are to look at, what they decide, and the dataset version that comes of it.

A decision is durable before it is acknowledged, and can be changed until its item was kept. Items are kept in the transaction that
makes the version: whoever keeps at the same time, or is cut off, each decided item is one row, once.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, delete, insert, select, update

from windlass.core.actor import Actor
from windlass.core.artifacts import Version
from windlass.core.digest import digest_bytes
from windlass.core.errors import Busy, Conflict, Invalid
from windlass.core.ids import now_ns, uuid7
from windlass.core.operations.datasets import EditRequest
from windlass.core.operations.reviews import (
    Decision,
    Review,
    ReviewAdd,
    ReviewAdded,
    ReviewDecide,
    ReviewKeep,
    ReviewPage,
    ReviewQuery,
    ReviewsKept,
    ReviewsQuery,
    ReviewState,
    ReviewSummary,
)
from windlass.core.ref import Ref
from windlass.evaluate import review_queues as queues
from windlass.evaluate.outcomes import whole_id
from windlass.evaluate.review_fields import Form, Forms, check, to_fill
from windlass.evaluate.review_items import Found, Item, Items, decode_item
from windlass.evaluate.review_outcomes import agreed, fields_in_words, in_words, settle
from windlass.evaluate.review_queues import Stored
from windlass.govern import audit
from windlass.govern.permissions import explain, guard
from windlass.registry import origins
from windlass.registry.edits import Edits
from windlass.store.meta import read, write
from windlass.store.tables import review_decisions, review_queues, reviews

MOST = 1000  # items of one call
KEPT = 5000  # items of one version
SHOWN = 200  # keys, and characters of a question in a list
ATTEMPTS = 20  # to keep while people still decide


class Reviews:
    """Service of review queues."""

    def __init__(self, engine: Engine, items: Items, forms: Forms, edits: Edits) -> None:
        self._engine = engine
        self._items = items
        self._forms = forms
        self._edits = edits

    async def add(self, actor: Actor, request: ReviewAdd) -> ReviewAdded:
        """Operation `reviews.add`. Raises `Invalid` when there is nothing to add, or none of it can be."""
        dataset = queues.dataset_of(request.queue, request.project)
        guard(actor, "write", dataset.project)
        if len(request.items) > MOST:
            raise Invalid(f"{len(request.items):,} items are more than {MOST:,}", where="items", remedy="add them in parts")
        stored = await asyncio.to_thread(self._stored, dataset)
        kind = queues.kind_of(request, stored)
        if not request.items and stored and request.guidelines is None and request.raters is None:
            raise Invalid("there is nothing to add", where="items", remedy="name traces, or two answers to compare")
        form = await asyncio.to_thread(self._form, dataset)
        found = await self._items.make(actor, dataset, kind, request.items, form)
        if request.items and not found.items:
            raise Invalid(found.problems[0], where="items", remedy="nothing was added", problems=found.problems)
        return await asyncio.to_thread(self._put, actor, dataset, request, found)

    def _stored(self, dataset: Ref) -> Stored | None:
        with read(self._engine) as c:
            return queues.find(c, dataset)

    def _form(self, dataset: Ref) -> Form:
        """What rows look like; for a new dataset, as far as it was suggested."""
        r = reviews.c
        with read(self._engine) as c:
            some = list(c.execute(select(r.body).where(queues.inside(dataset)).order_by(r.id).limit(SHOWN)).scalars())
        return self._forms.of(dataset, [decode_item(body).suggested for body in some])

    def _put(self, actor: Actor, dataset: Ref, request: ReviewAdd, found: Found) -> ReviewAdded:
        made = []
        with write(self._engine) as c:
            before = queues.find(c, dataset)
            queue = queues.put(c, actor, dataset, queues.kind_of(request, before), request, secrets.token_hex(16), now_ns())
            for source, item in found.items.items():
                if c.execute(select(reviews.c.id).where(queues.inside(dataset), reviews.c.source == source)).first():
                    found.problems.append(f"{item.row['key']}: it is in the queue already")  # somebody was faster
                    continue
                made.append(id := uuid7())
                item.flipped = queue.kind == "pair" and queues.flipped(queue.seed, id)
                c.execute(
                    insert(reviews).values(
                        id=id, project=dataset.project, queue=dataset.name, source=source, state="waiting", body=_text(item),
                        created_ns=now_ns(), actor=actor.id,
                    )
                )  # fmt: skip
            if before and before.raters != queue.raters:
                self._resettle(c, dataset, queue.raters)
            audit.record(c, actor, "reviews.add", dataset.project, str(dataset), items=len(made), raters=queue.raters)
        return ReviewAdded(dataset.name, tuple(made), tuple(found.problems))

    def _resettle(self, c: Connection, dataset: Ref, raters: int) -> None:
        """What was decided comes to something else where another number of people is wanted."""
        r = reviews.c
        ids = list(c.execute(select(r.id).where(queues.inside(dataset), r.state != "kept")).scalars())
        for id, decisions in queues.decisions_on(c, ids).items():
            if decisions:
                _settle(c, id, decisions, raters)

    def list(self, actor: Actor, query: ReviewsQuery) -> ReviewPage:
        """Operation `reviews.list`. Raises `NotFound`."""
        if query.queue is None:
            return self._queues(actor, query)
        dataset = queues.dataset_of(query.queue, query.project)
        guard(actor, "read", dataset.project)
        r = reviews.c
        wanted = select(reviews).where(queues.inside(dataset))
        if query.state:
            wanted = wanted.where(queues.todo(actor) if query.state == "todo" else r.state == query.state)
        if query.cursor:
            wanted = wanted.where(r.id > query.cursor)
        with read(self._engine) as c:
            queue = queues.described(c, actor, queues.need(c, dataset))
            rows = list(c.execute(wanted.order_by(r.id).limit(query.limit + 1)))
            some = rows[: query.limit]
            decisions = queues.decisions_on(c, [row.id for row in some])
        items = tuple(_summary(actor, row, decisions[row.id]) for row in some)
        return ReviewPage(queues=(queue,), items=items, next=items[-1].id if len(rows) > query.limit else None)

    def _queues(self, actor: Actor, query: ReviewsQuery) -> ReviewPage:
        guard(actor, "read", query.project)
        q = review_queues.c
        wanted = select(review_queues).where(q.project == query.project)
        if query.cursor:
            wanted = wanted.where(q.name > query.cursor)
        with read(self._engine) as c:
            rows = list(c.execute(wanted.order_by(q.name).limit(query.limit + 1)))
            found = tuple(queues.described(c, actor, row) for row in rows[: query.limit])
        return ReviewPage(queues=found, next=found[-1].name if len(rows) > query.limit else None)

    def show(self, actor: Actor, query: ReviewQuery) -> Review:
        """Operation `reviews.show`. Raises `NotFound`, `Invalid` when ambiguous."""
        guard(actor, "read", query.project)
        with read(self._engine) as c:
            id = whole_id(c, reviews, query.project, query.id, "item")
            row = c.execute(select(reviews).where(reviews.c.id == id)).one()
            dataset = Ref("dataset", row.queue, None, None, row.project)
            queue = queues.described(c, actor, queues.need(c, dataset), agree=False)
            decisions = queues.decisions_on(c, [id])[id]
            before, after, waits = queues.neighbours(c, actor, dataset, id)
        item, state = decode_item(row.body), row.state
        form = self._form(dataset) if queue.kind == "label" else Form((), {}, (), False)
        mine = next((d for d in decisions if d.actor == actor.id), None)
        told = mine is not None or state != "waiting"
        kept = state == "kept"
        label = queue.kind == "label"
        return Review(
            id, queue, state, item.question, _shown(item), row.created_ns, row.actor, item.reason, item.suggested,
            trace=item.traces[0] if label else None, traces=item.traces if kept or label else (),
            sources=_turned(item, item.sources) if kept or label else (),
            passages=item.passages, fields=to_fill(form, item.question), free=form.free, examples=form.examples,
            given=len(decisions), mine=mine, decisions=tuple(decisions) if told else (),
            outcome=_decoded(row.outcome) if told else None, 
            can_decide=not explain(actor, "run", row.project) and _refusal(actor, state, decisions) is None,
            row=row.row, key=str(item.row["key"]) if kept else None, previous=before, following=after, todo=waits,
        )  # fmt: skip

    def decide(self, actor: Actor, request: ReviewDecide) -> Review:
        """Operation `reviews.decide`. Raises `Invalid` naming the field that is wrong; `Conflict` when the item was kept, or settled by
        somebody else."""
        guard(actor, "run", request.project)
        with read(self._engine) as c:
            id = whole_id(c, reviews, request.project, request.id, "item")
            row = c.execute(select(reviews.c.queue, reviews.c.body).where(reviews.c.id == id)).one()
            queue = queues.need(c, Ref("dataset", row.queue, None, None, request.project))
        decision = self._said(actor, request, queue, decode_item(row.body))
        with write(self._engine) as c:
            state = c.execute(select(reviews.c.state).where(reviews.c.id == id)).scalar_one()
            raters = queues.need(c, Ref("dataset", row.queue, None, None, request.project)).raters
            decisions = queues.decisions_on(c, [id])[id]
            if refusal := _refusal(actor, state, decisions):
                raise refusal
            mine = next((d for d in decisions if d.actor == actor.id), None)
            if mine is None and decision is None:
                raise Invalid("you have decided nothing here, so there is nothing to undo", where=id)
            settles = mine.settles if mine else state == "disputed"
            decision = msgspec.structs.replace(decision, settles=settles) if decision else None
            if mine and decision and msgspec.structs.replace(decision, at_ns=mine.at_ns) == mine:
                decision = mine  # said again
            else:
                _record(c, id, actor, decision)
                decisions = [d for d in decisions if d.actor != actor.id] + ([decision] if decision else [])
                came = _settle(c, id, decisions, raters)
                # the digest of what is kept of it, not the words: the audit is kept for ever, and somebody may have to be erased
                said = digest_bytes(_text(decision).encode()) if decision else ""
                audit.record(c, actor, "reviews.decide", request.project, id, said=said, state=came)
        return self.show(actor, ReviewQuery(id, request.project))

    def _said(self, actor: Actor, request: ReviewDecide, queue: Stored, item: Item) -> Decision | None:
        """What somebody says, checked; None to take back what they said."""
        ways = [request.fields is not None, request.choose is not None, request.skip is not None, request.undo]
        if sum(ways) != 1:
            raise Invalid("say one thing: fields, choose, skip or undo", where=request.id)
        if request.undo:
            return None
        if request.skip is not None:
            if not request.skip.strip():
                raise Invalid("say why it is skipped", where="skip")
            return Decision(actor.id, now_ns(), skip=request.skip.strip()[:1000])
        if (request.fields is not None) != (queue.kind == "label"):
            asks = "set fields" if queue.kind == "label" else "choose first, second, tie or neither"
            raise Invalid(f"this is a {queue.kind}", where=request.id, remedy=asks)
        if request.fields is not None:
            check(request.fields, self._form(Ref("dataset", queue.name, None, None, queue.project)), item.question)
        return Decision(actor.id, now_ns(), fields=request.fields, choice=request.choose)

    def keep(self, actor: Actor, request: ReviewKeep) -> ReviewsKept:
        """Operation `reviews.keep`. Again, it changes nothing. Raises `Invalid` when nothing was ever decided."""
        dataset = queues.dataset_of(request.queue, request.project)
        guard(actor, "write", dataset.project)
        for _ in range(ATTEMPTS):
            with read(self._engine) as c:
                queue = queues.need(c, dataset)
                decided = self._decided(c, dataset)
                decisions = queues.decisions_on(c, list(decided))
            if not decided:
                return self._nothing(dataset)
            rows = {id: _row(queue, id, item, outcome, agreed(decisions[id], outcome)) for id, (item, outcome) in decided.items()}
            try:
                ref = self._keep(actor, dataset, request.message, decided, rows)
            except _MovedOn:
                continue
            with read(self._engine) as c:
                keys = tuple(str(row["key"]) for row in rows.values())
                return ReviewsKept(dataset.name, ref, len(rows), keys[:SHOWN], queues.left(c, dataset))
        raise Busy("people are deciding faster than it can be kept", where=dataset.name, remedy="try again")

    def _decided(self, c: Connection, dataset: Ref) -> dict[str, tuple[Item, Decision]]:
        r = reviews.c
        wanted = select(r.id, r.body, r.outcome).where(queues.inside(dataset), r.state == "decided").order_by(r.id).limit(KEPT)
        return {row.id: (decode_item(row.body), _some(_decoded(row.outcome))) for row in c.execute(wanted)}

    def _keep(
        self, actor: Actor, dataset: Ref, message: str, decided: dict[str, tuple[Item, Decision]], rows: dict[str, dict[str, Any]]
    ) -> str:
        """Make the version, and in its transaction say which items are in it. Raises `_MovedOn` where one was decided anew."""
        done: list[str] = []

        def also(c: Connection, version: Version) -> None:
            mark(c, version.ref)

        def mark(c: Connection, ref: Ref) -> None:
            r = reviews.c
            for id, (item, outcome) in decided.items():
                same = (r.id == id, r.state == "decided", r.outcome == _text(outcome))
                if not c.execute(update(reviews).where(*same).values(state="kept", row=str(ref))).rowcount:
                    raise _MovedOn
                key = str(rows[id]["key"])
                for trace in item.traces:  # of a pair, both
                    origins.keep(c, dataset, {key: trace})
            audit.record(c, actor, "reviews.keep", dataset.project, str(dataset), version=ref.digest, items=len(decided))
            done.append(str(ref))

        said = message or f"{len(rows)} row{'' if len(rows) == 1 else 's'} from review"
        edit = EditRequest(f"dataset/{dataset.name}:main", tuple(rows.values()), project=dataset.project, message=said, drift=True)
        edited = self._edits.edit_with(actor, edit, also)
        if not done:  # the rows are there already, as they are
            with write(self._engine) as c:
                mark(c, Ref("dataset", dataset.name, edited.ref.rpartition("@")[2], None, dataset.project))
        return edited.ref

    def _nothing(self, dataset: Ref) -> ReviewsKept:
        r = reviews.c
        with read(self._engine) as c:
            last = select(r.row).where(queues.inside(dataset), r.state == "kept").order_by(r.id.desc()).limit(1)
            ref, waiting = c.execute(last).scalar(), queues.left(c, dataset)
        if ref is None:
            said = "nothing is decided yet" if waiting else "the queue is empty"
            raise Invalid(said, where=dataset.name, remedy=f"windlass review {'next' if waiting else 'add'} {dataset.name}")
        return ReviewsKept(dataset.name, ref, 0, (), waiting)


class _MovedOn(Exception):
    """Somebody decided while it was being kept."""


def _refusal(actor: Actor, state: ReviewState, decisions: list[Decision]) -> Conflict | None:
    """Why somebody cannot decide, where they cannot."""
    if state == "kept":
        return Conflict("it was kept, so what was decided stays", remedy="change the row: windlass data add, or the dataset's page")
    mine = any(d.actor == actor.id for d in decisions)
    settled = next((d for d in decisions if d.settles), None)
    if settled and not mine:
        return Conflict(f"{settled.actor} settled it", remedy="they can undo that")
    return None


def _record(c: Connection, id: str, actor: Actor, decision: Decision | None) -> None:
    d = review_decisions.c
    c.execute(delete(review_decisions).where(d.review == id, d.actor == actor.id))
    if decision:
        c.execute(insert(review_decisions).values(review=id, actor=actor.id, body=_text(decision), at_ns=decision.at_ns))


def _settle(c: Connection, id: str, decisions: list[Decision], raters: int) -> ReviewState:
    state, outcome = settle(decisions, raters)
    c.execute(update(reviews).where(reviews.c.id == id).values(state=state, outcome=_text(outcome) if outcome else None))
    return state


def _row(queue: Stored, id: str, item: Item, outcome: Decision, by: tuple[str, ...]) -> dict[str, Any]:
    """The row that a decided item becomes. Where it came from stands in `origin`, which says nothing to whoever answers the row."""
    reviewed = {"review": id, "by": list(by)}
    if queue.kind == "label":
        return {**item.row, **(outcome.fields or {}), "origin": {**item.row["origin"], **reviewed}}
    first, second = _shown(item)
    chosen, rejected = (first, second) if outcome.choice == "first" else (second, first)
    question = item.question
    prompt = next(iter(question.values())) if len(question) == 1 else question
    better = item.answers.index(chosen)
    traces = {"trace": item.traces[better], "other": item.traces[1 - better]} if item.traces else {}
    sources = {"chosen": item.sources[better], "rejected": item.sources[1 - better]} if len(item.sources) == 2 else {}
    return {"key": item.row["key"], "prompt": prompt, "chosen": chosen, "rejected": rejected, "origin": {**traces, **sources, **reviewed}}


def _shown(item: Item) -> tuple[Any, ...]:
    return _turned(item, item.answers)


def _turned(item: Item, two: tuple[Any, ...]) -> tuple[Any, ...]:
    return two[::-1] if item.flipped else two


def _summary(actor: Actor, row: Stored, decisions: list[Decision]) -> ReviewSummary:
    item, open_ = decode_item(row.body), row.state == "waiting"
    question = item.question
    text = str(next(iter(question.values()))) if len(question) == 1 else fields_in_words(question)
    return ReviewSummary(
        row.id, row.state, text if len(text) <= SHOWN else text[: SHOWN - 1] + "…", row.created_ns, item.reason, len(decisions),
        any(d.actor == actor.id for d in decisions), in_words(_decoded(row.outcome)), () if open_ else tuple(d.actor for d in decisions),
        str(item.row["key"]) if row.state == "kept" else None,
    )  # fmt: skip


def _decoded(body: str | None) -> Decision | None:
    return queues.decode_decision(body) if body else None


def _some(decision: Decision | None) -> Decision:
    assert decision is not None, "what is decided has an outcome"
    return decision


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
