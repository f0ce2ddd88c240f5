"""Review: the queues, the items of one, and one item to decide, by keyboard or without JavaScript."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.errors import Invalid, NotFound
from windlass.core.operations.registry import ARTIFACTS, ArtifactQuery
from windlass.core.operations.reviews import (
    ADD_REVIEWS,
    DECIDE,
    KEEP_REVIEWS,
    REVIEW,
    REVIEWS,
    Choice,
    NewReview,
    Review,
    ReviewAdd,
    ReviewDecide,
    ReviewField,
    ReviewKeep,
    ReviewKind,
    ReviewPage,
    ReviewQuery,
    ReviewsQuery,
)
from windlass.doors.web.render import Asker, Handler, query, respond, wants_json

STATES = ("todo", "waiting", "disputed", "decided", "aside", "kept")
CHOICES: tuple[Choice, ...] = ("first", "second", "tie", "neither")
NOTHING = "Nothing more waits for you."
LONG = 90  # characters from which a field is written on several lines


class QueuesContext(msgspec.Struct):
    page: ReviewPage
    datasets: tuple[str, ...]


class QueueContext(msgspec.Struct):
    page: ReviewPage
    state: str
    said: str = ""


class Filled(msgspec.Struct):
    """A field of the form with what stands in it. `lines`: it has several. `focus`: one begins to write here."""

    field: ReviewField
    text: str
    lines: int = 1
    focus: bool = False


class Answer(msgspec.Struct):
    """An answer as one reads it: its text, and the further fields of one that is an object."""

    text: str
    parts: dict[str, Any] = {}


class ReviewContext(msgspec.Struct):
    """`wrong` is what could not be taken of what was just written, `field` the field that it is about; `more` are fields as JSON."""

    review: Review
    title: str
    answers: tuple[Answer, ...]
    filled: tuple[Filled, ...]
    more: str = ""
    skip: str = ""
    wrong: str = ""
    field: str = ""


async def queues(request: Request, ask: Asker) -> Response:
    page = await ask(REVIEWS, ReviewsQuery(project=ask.actor.project, cursor=request.query_params.get("cursor") or None))
    found = await ask(ARTIFACTS, ArtifactQuery(ask.actor.project, "dataset", limit=200))
    return respond(request, "reviews.html", QueuesContext(page, tuple(a.name for a in found.items)), nav="reviews", title="Review")


async def queue(request: Request, ask: Asker) -> Response:
    q = request.query_params
    state: Any = q.get("state") if q.get("state") in STATES else None
    page = await ask(REVIEWS, ReviewsQuery(request.path_params["queue"], state, ask.actor.project, q.get("cursor") or None))
    context = QueueContext(page, state or "", q.get("said", ""))
    return respond(request, "review_queue.html", context, nav="reviews", title=f"Review {page.queues[0].name}")


async def item(request: Request, ask: Asker) -> Response:
    """One item; `next` leads to the next that waits for whoever asks."""
    if request.path_params["id"] == "next":
        name = request.path_params["queue"]
        page = await ask(REVIEWS, ReviewsQuery(name, "todo", ask.actor.project, limit=1))
        twin = ".json" if wants_json(request) else ""
        there = f"/reviews/{name}/{page.items[0].id}{twin}" if page.items else query(f"/reviews/{name}{twin}", said=NOTHING)
        return RedirectResponse(there, 303)
    found = await ask(REVIEW, ReviewQuery(request.path_params["id"], ask.actor.project))
    return _item(request, _context(found, _written(found)))


def _item(request: Request, context: ReviewContext, status: int = 200) -> Response:
    return respond(request, "review.html", context, nav="reviews", title=context.title[:80], status=status)


def _context(found: Review, written: dict[str, str], **more: str) -> ReviewContext:
    title = " · ".join(text if isinstance(text, str) else _json(text) for text in found.question.values()) or "An item"
    filled = [Filled(f, text, _lines(f, found, text)) for f in sorted(found.fields, key=_place) for text in (written.get(f.name, ""),)]
    wrong = more.get("field", "")
    empty = [f for f in filled if not f.text and (f.field.required or f.field.type == "texts")]
    begin = next((f for f in filled if f.field.name == wrong), None) or next(iter([] if found.mine else empty or filled), None)
    if begin:
        begin.focus = True
    return ReviewContext(found, title, tuple(_answer(a) for a in found.answers), tuple(filled), **more)


def _place(field: ReviewField) -> tuple[bool, bool, str]:
    """What takes thought first; then what is chosen from few, then what may be left out."""
    return (not field.required, bool(field.choices), field.name)


def _answer(value: Any) -> Answer:
    """Applications answer in text, or in an object whose `text` is what people read."""
    if isinstance(value, str) and value[:1] == "{":
        try:
            value = msgspec.json.decode(value, type=dict[str, Any])
        except msgspec.DecodeError:
            return Answer(value)
    if isinstance(value, dict):
        parts = dict(value)
        text = parts.pop("text", "") if isinstance(parts.get("text"), str) else ""
        return Answer(text, parts)
    return Answer(value if isinstance(value, str) else _json(value))


def _lines(field: ReviewField, found: Review, text: str) -> int:
    """How many lines a field has: those with long texts in the dataset, lists and JSON have some."""
    if field.type in ("texts", "json"):
        return min(8, max(2, text.count("\n") + 2))
    told = [text, *(str(row.get(field.name) or "") for row in found.examples)]
    return 4 if field.type == "text" and any(len(t) > LONG or "\n" in t for t in told) else 1


def _written(found: Review) -> dict[str, str]:
    """What stands in a form before anybody writes: what one said, else what was suggested."""
    values = (found.mine.fields if found.mine else None) or found.suggested
    return {f.name: _as_text(f, values[f.name]) for f in found.fields if values.get(f.name) is not None}


def _as_text(field: ReviewField, value: Any) -> str:
    if field.type == "texts" and isinstance(value, list):
        return "\n".join(str(v) for v in value)
    return value if isinstance(value, str) and field.type != "json" else _json(value)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def read(field: ReviewField, text: str) -> Any:
    """A field as it was written; None where it is empty. Raises `Invalid`."""
    if field.type == "texts":
        return [line.strip() for line in text.splitlines() if line.strip()]
    if field.type == "text":
        return text.replace("\r\n", "\n") or None
    if not text.strip():
        return None
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        said = "number" if field.type == "number" else "JSON"
        raise Invalid(
            f"{text!r} is no {said}", where=field.name, remedy="write 0.5" if said == "number" else 'write "text", 1, [] or {}'
        ) from None
    return value


def _fields(found: Review, form: FormData) -> dict[str, Any]:
    """A label as it was written. Raises `Invalid`."""
    fields = {f.name: value for f in found.fields if (value := read(f, str(form.get(f"field:{f.name}") or ""))) is not None}
    more = str(form.get("more") or "").strip()
    try:
        return fields | (msgspec.json.decode(more, type=dict[str, Any]) if more else {})
    except msgspec.DecodeError as e:
        raise Invalid(f"the further fields are no JSON object: {e}", where="more", remedy='write {"split": "test"}') from e


async def decide(request: Request, ask: Asker) -> Response:
    """Take what was said and go on to the next; what is wrong with it stands beside what was written."""
    form = await request.form()
    project, act = ask.actor.project, str(form.get("act") or "save")
    found = await ask(REVIEW, ReviewQuery(request.path_params["id"], project))
    asked = ReviewDecide(found.id, project=project)
    try:
        if act in CHOICES:
            asked.choose = act
        elif act == "skip":
            asked.skip = str(form.get("skip") or "")
        elif act == "undo":
            asked.undo = True
        else:
            asked.fields = _fields(found, form)
        done = await ask(DECIDE, asked)
    except Invalid as e:
        written = {f.name: str(form.get(f"field:{f.name}") or "") for f in found.fields}
        wrong = e.message + (f": {e.remedy}" if e.remedy else "")
        more, skip = str(form.get("more") or ""), str(form.get("skip") or "")
        return _item(request, _context(found, written, wrong=wrong, field=e.where or "", more=more, skip=skip), 400)
    here = f"/reviews/{done.queue.name}"
    if act == "undo":
        return RedirectResponse(f"{here}/{done.id}", 303)
    return RedirectResponse(f"{here}/{done.todo}" if done.todo else query(here, said=NOTHING), 303)


async def make(request: Request, ask: Asker) -> Response:
    """Make a queue, or change what is said of one."""
    form = await request.form()
    text = str(form.get("raters") or "").strip()
    if text and not text.isdigit():
        raise Invalid(f"{text!r} is no number of people", where="raters", remedy="write 1, 2 or 3")
    kind = cast(ReviewKind, form["kind"]) if form.get("kind") in ("label", "pair") else None
    guidelines = str(form.get("guidelines") or "").replace("\r\n", "\n")
    asked = ReviewAdd(str(form.get("queue") or ""), (), kind, guidelines, int(text) if text else None, ask.actor.project)
    return RedirectResponse(f"/reviews/{(await ask(ADD_REVIEWS, asked)).queue}", 303)


async def add(request: Request, ask: Asker) -> Response:
    """Traces that were ticked, or that show a new topic, become items; the fields are suggested."""
    form = await request.form()
    text = str(form.get("fields") or "").strip()
    try:
        suggested = msgspec.json.decode(text, type=dict[str, Any]) if text else {}
    except msgspec.DecodeError as e:
        raise Invalid(f"the fields are no JSON object: {e}", where="fields", remedy='write {"split": "test"}') from e
    reason = str(form.get("reason") or "").strip()
    items = tuple(NewReview((str(trace),), reason=reason, suggested=suggested) for trace in form.getlist("trace"))
    name = str(form.get("dataset") or "").strip().removeprefix("dataset/")
    try:
        problems = (await ask(ADD_REVIEWS, ReviewAdd(name, items, project=ask.actor.project))).problems
    except Invalid as e:
        problems = tuple(e.details.get("problems", ()))
        if not problems or not await _is_queue(ask, name):
            raise
    return RedirectResponse(query(f"/reviews/{name}", said="; ".join(problems[:5])), 303)


async def _is_queue(ask: Asker, name: str) -> bool:
    """Whether there is such a queue: then it says itself why nothing was added, for instance that all of it waits there already."""
    try:
        await ask(REVIEWS, ReviewsQuery(name, project=ask.actor.project, limit=1))
    except NotFound:
        return False
    return True


async def keep(request: Request, ask: Asker) -> Response:
    form = await request.form()
    name = request.path_params["queue"]
    done = await ask(KEEP_REVIEWS, ReviewKeep(name, str(form.get("message") or "").strip(), ask.actor.project))
    return RedirectResponse(query(f"/datasets/dataset/{done.queue}", at=done.ref.rpartition("@")[2]), 303)


PAGES: tuple[tuple[str, Handler], ...] = (("/reviews", queues), ("/reviews/{queue}", queue), ("/reviews/{queue}/{id}", item))
FORMS: tuple[tuple[str, Handler], ...] = (
    ("/reviews", make),
    ("/reviews/add", add),
    ("/reviews/{queue}/keep", keep),
    ("/reviews/{queue}/{id}", decide),
)
