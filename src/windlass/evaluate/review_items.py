"""What people are to look at: items made of traces, or of two answers to one input."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Engine, select

from windlass.core import span as names
from windlass.core.actor import Actor
from windlass.core.digest import digest_json
from windlass.core.errors import Invalid, WindlassError
from windlass.core.operations.reviews import NewReview, Passage, ReviewKind
from windlass.core.operations.traces import Trace, TraceShow
from windlass.core.ref import Ref
from windlass.core.span import Span
from windlass.evaluate.review_fields import MADE, Form, check, head
from windlass.registry import origins
from windlass.registry.datasets import Datasets
from windlass.registry.leaks import COMPARED, Leaks
from windlass.registry.versions import Versions
from windlass.store.meta import read
from windlass.store.tables import reviews
from windlass.traces.harvest import answer_of, row_of
from windlass.traces.query import Traces

PASSAGES, READ = 8, 1500  # shown of an answer, and characters of each
_CUT = re.compile(r"… \(\d+ characters\)\Z")


class Item(msgspec.Struct, omit_defaults=True):
    """One thing to decide. `row` is what it becomes, without what people say. `answers` of a pair stand as they were given; `flipped`
    turns them round for whoever looks, by a hash that knows nothing of what gave them."""

    row: dict[str, Any]
    answers: tuple[Any, ...]
    traces: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    passages: tuple[Passage, ...] = ()
    reason: str = ""
    suggested: dict[str, Any] = {}
    flipped: bool = False

    @property
    def question(self) -> dict[str, Any]:
        return {name: value for name, value in self.row.items() if name not in MADE}


class Found(msgspec.Struct):
    """Items by what they are made of, and a sentence for each that was left out."""

    items: dict[str, Item]
    problems: list[str]


class Items:
    """Makes items, and knows what is one already."""

    def __init__(self, engine: Engine, traces: Traces, versions: Versions, datasets: Datasets, leaks: Leaks) -> None:
        self._engine = engine
        self._traces = traces
        self._versions = versions
        self._datasets = datasets
        self._leaks = leaks

    async def make(self, actor: Actor, dataset: Ref, kind: ReviewKind, asked: Sequence[NewReview], form: Form) -> Found:
        """Items for a queue. What cannot be one, or is one already, is a problem and no item."""
        found = Found({}, [])
        for number, new in enumerate(asked, 1):
            named = f"trace {new.traces[0]}" if len(new.traces) == 1 else f"item {number}"
            try:
                source, item = await (self._label if kind == "label" else self._pair)(actor, dataset.project, new)
                if kind == "label":
                    check(new.suggested, form, item.question, whole=False)
                there = await asyncio.to_thread(self._there, dataset, source, item)
                if source in found.items:
                    found.problems.append(f"{named}: it is named twice")
                elif there:
                    found.problems.append(f"{named}: it is {there}")
                else:
                    found.items[source] = item
            except WindlassError as e:
                found.problems.append(f"{named}: {e.message}")
        if kind == "label" and found.items:
            await asyncio.to_thread(self._leave_twins, dataset, found)
        return found

    async def _label(self, actor: Actor, project: str, new: NewReview) -> tuple[str, Item]:
        if len(new.traces) != 1 or new.outputs:
            raise Invalid("a label is of one trace", remedy="name one trace for each item")
        trace = await self._traces.show(actor, TraceShow(new.traces[0], project))
        row, id = row_of(trace), trace.summary.trace_id
        sources = (trace.summary.release,) if trace.summary.release else ()
        item = Item(row, (answer_of(trace),), (id,), sources, read_passages(trace.spans), new.reason, new.suggested)
        return f"trace/{id}", item

    async def _pair(self, actor: Actor, project: str, new: NewReview) -> tuple[str, Item]:
        if new.suggested:
            raise Invalid("nothing can be suggested for a pair", where="suggested")
        if new.traces:
            if len(new.traces) != 2 or new.outputs:
                raise Invalid("a pair is of two traces, or of one input and two outputs")
            one, two = [await self._traces.show(actor, TraceShow(id, project)) for id in new.traces]
            return _pair_of(one, two, new)
        if len(new.outputs) != 2 or new.input is None:
            raise Invalid("a pair is of two traces, or of one input and two outputs")
        question = new.input if isinstance(new.input, dict) and not MADE & new.input.keys() else {"input": new.input}
        return _made(question, new.outputs, (), new.sources, new)

    def _there(self, dataset: Ref, source: str, item: Item) -> str | None:
        """How the dataset or the queue has it already."""
        r = reviews.c
        with read(self._engine) as c:
            if item.traces and source.startswith("trace/"):
                rows = origins.rows_of(c, dataset.project, item.traces[0])
                if key := next((key for name, key in rows if name == dataset.name), None):
                    return f"row {key!r} already"
            same = (r.project == dataset.project, r.queue == dataset.name, r.source == source)
            if (state := c.execute(select(r.state).where(*same)).scalar()) is not None:
                return f"in the queue already, {state}"
        version, key = head(self._versions, dataset), str(item.row["key"])
        return f"row {key!r} already" if version and self._datasets.some(version, [key]) else None

    def _leave_twins(self, dataset: Ref, found: Found) -> None:
        """Leave out what says nearly what a row, an item that waits, or one before it says."""
        from windlass.registry import duplicates  # brings NumPy

        rows = {str(item.row["key"]): item.row for item in found.items.values()}
        fields = sorted({name for item in found.items.values() for name in item.question})
        there = head(self._versions, dataset)
        twins = self._leaks.twins(there.ref if there else dataset, list(rows.values()), fields)
        said = {key: f"{other!r} before it" if other in rows else f"row {other!r}" for key, other in twins.items()}
        for pair in duplicates.pairs_across(rows.values(), [item.row for item in self._open(dataset)], fields=fields):
            said.setdefault(pair.key, f"{pair.other!r} in the queue")
        for source, item in list(found.items.items()):
            if other := said.get(str(item.row["key"])):
                found.problems.append(f"trace {item.traces[0]}: it says what {other} says")
                del found.items[source]

    def _open(self, dataset: Ref) -> list[Item]:
        r = reviews.c
        there = select(r.body).where(r.project == dataset.project, r.queue == dataset.name, r.state != "kept")
        with read(self._engine) as c:
            bodies = list(c.execute(there.order_by(r.id.desc()).limit(COMPARED)).scalars())
        return [decode_item(body) for body in bodies]


def decode_item(body: str) -> Item:
    return msgspec.json.decode(body, type=Item)


def _pair_of(one: Trace, two: Trace, new: NewReview) -> tuple[str, Item]:
    ids = (one.summary.trace_id, two.summary.trace_id)
    questions = [{k: v for k, v in row_of(t).items() if k not in MADE} for t in (one, two)]
    if questions[0] != questions[1]:
        raise Invalid(f"traces {ids[0][:8]} and {ids[1][:8]} were asked different things", remedy="a pair is two answers to one question")
    answers = (answer_of(one), answer_of(two))
    if cut := next((id for id, said in zip(ids, answers, strict=True) if _CUT.search(said)), None):
        raise Invalid(f"the answer of trace {cut[:8]} was shortened when it was recorded", remedy="give both outputs whole")
    return _made(questions[0], answers, ids, tuple(t.summary.release or t.summary.name for t in (one, two)), new)


def _made(
    question: dict[str, Any], answers: tuple[Any, ...], traces: tuple[str, ...], sources: tuple[str, ...], new: NewReview
) -> tuple[str, Item]:
    if answers[0] == answers[1]:
        raise Invalid("both answers are the same, so there is nothing to choose")
    if not all(answers):
        raise Invalid("one of the answers is empty")
    sides = sorted(digest_json(answer) for answer in answers)
    digest = digest_json([question, *(sorted(traces) or sides)])
    row = {"key": f"pair-{digest[7:23]}", **question}
    return f"pair/{digest}", Item(row, answers, traces, sources, reason=new.reason)


def read_passages(spans: Sequence[Span]) -> tuple[Passage, ...]:
    """What searches found for an answer, with its text: kept, so that it can be read when the trace is gone."""
    found: dict[str, Passage] = {}
    for span in spans:
        if span.attributes.get(names.KIND) != "retrieval":
            continue
        index = next((v for v in span.attributes.get(names.VERSIONS) or () if str(v).startswith("index/")), None)
        for passage in _listed(span.attributes.get(names.OUTPUT)):
            key, text, score = str(passage.get("key") or ""), str(passage.get("text") or ""), passage.get("score")
            shown = text if len(text) <= READ else text[:READ] + "…"
            if key:
                found.setdefault(key, Passage(key, shown, float(score) if isinstance(score, int | float) else None, index))
    return tuple(found.values())[:PASSAGES]


def _listed(text: Any) -> list[dict[str, Any]]:
    try:
        value = msgspec.json.decode(text) if isinstance(text, str) else None
    except (msgspec.DecodeError, RecursionError):  # it was shortened
        return []
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
