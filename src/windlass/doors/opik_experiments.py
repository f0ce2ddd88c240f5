"""Experiments as Opik's SDK makes them: runs of a dataset, as Langfuse's are (`core/foreign_runs.py`), on the same page.

POST  /experiments                      201; what it says is kept beside the run, in a trace that is in no list
POST  /experiments/items                puts traces into it, each as a span of that trace
PATCH /experiments/{id}                 scores of the whole, and what it says beside its name
GET   /experiments[/{id}]               of a dataset, or one; POST /experiments/stream by name
POST  /experiments/finish               nothing is to be done
GET   /datasets/{id}/items/experiments/items   what the traces of one answered, with their scores
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from windlass.core import foreign_runs
from windlass.core.actor import Actor
from windlass.core.errors import Invalid, NotFound, Unavailable, WindlassError
from windlass.core.filter import Term, printed
from windlass.core.ids import now_ns
from windlass.core.json_text import json_said
from windlass.core.operations.registry import VersionDetail
from windlass.core.operations.traces import GIVE_SCORE, TRACE, TRACES, ScoreGiven, ScoreRequest, Trace, TraceQuery, TraceShow
from windlass.core.span import DATASET_RUN, EVALUATION, StoredSpan, output_of
from windlass.doors.foreign_datasets import ForeignDatasets, RunItem, iso, leading, of_run
from windlass.doors.opik_datasets import FILTERS, item_of
from windlass.doors.opik_wire import BASE, Heard, Partly, Told, made_whole, not_taken, number_of, page_of, serving, text_of
from windlass.doors.otlp import Intake
from windlass.platform import Platform
from windlass.traces import opik_spans

SAID = "opik.experiment"  # all that was said of one, as JSON
UNNAMED = "experiment"
LONGEST = 500_000  # bytes of what is said of one
LARGEST = 200  # experiments of a page
STEPS = 50  # of an item's trace that are read together

Began = Callable[[Actor, str], Awaitable[int | None]]
"""When a trace of theirs began, by its id; None where it has not come."""


class _Experiment(NamedTuple):
    id: str
    name: str
    dataset: str
    said: Told
    made_ns: int
    scores: tuple[ScoreGiven, ...] = ()


class OpikExperiments:
    """The door.

    Args:
        platform: has traces and datasets.
        intake: knows who sends, and keeps what puts a trace into a run.
        began: knows traces that came of late.
    """

    def __init__(self, platform: Platform, intake: Intake, began: Began) -> None:
        self._platform = platform
        self._intake = intake
        self._began = began
        self._sets = ForeignDatasets(platform, intake, "Opik")

    def routes(self) -> list[Route]:
        listed = (
            ("GET", "experiments", self._all, "", "read"), ("POST", "experiments", self._make, "", "trace"),
            ("POST", "experiments/items", self._put_in, "experiment_items", "trace"),
            ("POST", "experiments/stream", self._stream, "", "read"), ("POST", "experiments/finish", _nothing, "", "trace"),
            ("GET", "experiments/{id:uuid}", self._one, "", "read"), ("PATCH", "experiments/{id:uuid}", self._update, "", "trace"),
            ("GET", "datasets/{id}/items/experiments/items", self._answers, "", "read"),
        )  # fmt: skip
        return [
            *(
                Route(f"{BASE}/{path}", serving(self._intake, ask, many, needs), methods=[method])
                for method, path, ask, many, needs in listed
            ),
            Route("/{workspace}/experiments/{name}/compare", leading("/datasets/runs?of={name}"), methods=["GET"]),
            Route("/{workspace}/projects/{project}/datasets/{name}/items", leading("/datasets/dataset/{name}"), methods=["GET"]),
        ]

    # ── making one ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _make(self, heard: Heard) -> Response:
        said = {field: value for field, value in heard.said.items() if value is not None}
        id = opik_spans.uuid_of(said.get("id"), "id")
        if said.get("type") not in (None, "regular"):
            raise Invalid("trials of an optimization are not kept here", where="type", remedy="leave type out; docs/tuning.md has ours")
        if said.get("evaluation_method") not in (None, "dataset"):
            raise Invalid(
                "test suites are not kept here", where="evaluation_method", remedy="a suite of a workspace decides (docs/gate.md)"
            )
        shown = await self._sets.shown(heard.actor, text_of(said, "dataset_name"))
        name = str(said.get("name") or f"{UNNAMED} {id[:8]}").strip()
        await self._keep(heard.actor, _Experiment(id, name, shown.version.name, said | {"name": name}, now_ns()))
        return Response(status_code=201, headers={"location": f"{BASE}/experiments/{id}"})

    async def _keep(self, actor: Actor, one: _Experiment) -> None:
        """Its record: a span of the trace that has the scores of the whole. The same again is a revision."""
        said = of_run(one.id, one.name, foreign_runs.dataset_id(one.dataset), "", metadata=one.said.get("metadata"))
        del said[foreign_runs.ITEM]
        if not isinstance(one.said.get("dataset_version_id") or "", str):
            raise Invalid("this is no id of a version", where="dataset_version_id", remedy="give what the dataset's versions are told with")
        text = msgspec.json.encode(one.said)
        if len(text) > LONGEST:
            raise Invalid(
                f"an experiment says at most {LONGEST:,} bytes of itself", where="metadata", remedy="put the rest where it can be read"
            )
        said |= {SAID: text.decode(), EVALUATION: foreign_runs.evaluation(one.id)}
        span = hashlib.sha256(f"experiment\0{one.id}".encode()).hexdigest()[:16]
        trace = foreign_runs.run_trace(actor.project, one.id)
        await self._sets.put_into_runs(actor, [RunItem(trace, None, span, one.made_ns, said)], name=one.name)

    async def _put_in(self, heard: Heard) -> None:
        """Raises `Partly` naming those that are not put in; the others are, and are on disk."""
        items = heard.said.get("experiment_items")
        if not isinstance(items, list) or not items:
            raise Invalid("there is no list of items", where="experiment_items", remedy="send what Opik's SDK does")
        known, made, wrong = dict[str, _Experiment](), list[RunItem](), list[str]()
        for number, item in enumerate(items):
            try:
                made.append(await self._item(heard.actor, item, known))
            except Unavailable:
                raise  # all of them may be sent again
            except WindlassError as e:
                wrong.append(f"experiment_items[{number}]: {e}")
        if made:
            await self._sets.put_into_runs(heard.actor, made)
        if wrong:
            raise Partly(wrong, where="experiment_items")

    async def _item(self, actor: Actor, item: Any, known: dict[str, _Experiment]) -> RunItem:
        if not isinstance(item, dict):
            raise Invalid("it is no object")
        run, trace = (opik_spans.uuid_of(item.get(field), field) for field in ("experiment_id", "trace_id"))
        key = text_of(item, "dataset_item_id")
        if (one := known.get(run)) is None:
            one = known[run] = await self._experiment(actor, run)
        at = await self._began(actor, trace)
        if at is None:
            at = opik_spans.made_ns(trace) or now_ns()
        said = of_run(run, one.name, foreign_runs.dataset_id(one.dataset), key, version=one.said.get("dataset_version_id"))
        span = hashlib.sha256(f"item\0{run}\0{trace}\0{key}".encode()).hexdigest()[:16]
        return RunItem(opik_spans.trace_hex(trace), opik_spans.span_hex(trace), span, at, said)

    async def _update(self, heard: Heard) -> None:
        """What it says anew, and scores of the whole. Raises `Partly` naming scores that are none."""
        said = {field: value for field, value in heard.said.items() if value is not None}
        one = await self._experiment(heard.actor, str(heard.request.path_params["id"]))
        if said.get("name", one.name) != one.name:
            raise Invalid("its items name it already", where="name", remedy="leave the name as it is, or make another experiment")
        scores = said.pop("experiment_scores", None) or []
        if said:
            await self._keep(heard.actor, one._replace(said=one.said | said))
        wrong = []
        for number, score in enumerate(scores if isinstance(scores, list) else [scores]):
            try:
                await self._platform.ask(GIVE_SCORE, heard.actor, _score(score, one, heard.actor))
            except Unavailable:
                raise
            except WindlassError as e:
                wrong.append(f"experiment_scores[{number}]: {e}")
        if wrong:
            raise Partly(wrong, where="experiment_scores")

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _experiment(self, actor: Actor, id: str) -> _Experiment:
        """Raises `NotFound`."""
        try:
            found = await self._platform.traces.found(TraceShow(foreign_runs.run_trace(actor.project, id), actor.project, limit=LARGEST))
        except NotFound:
            found = None
        one = _read(found) if found else None
        if one is None:
            raise NotFound(f"there is no experiment {id}", where="experiment_id", remedy="make it first, by create_experiment or evaluate")
        return one

    async def _one(self, heard: Heard) -> Any:
        return experiment(await self._experiment(heard.actor, str(heard.request.path_params["id"])))

    async def _all(self, heard: Heard) -> Any:
        asked, (page, size) = heard.request.query_params, page_of(heard.request, LARGEST)
        name, dataset = asked.get("name") or "", asked.get("dataset_id") or asked.get("datasetId") or ""
        found = await self._found(heard.actor, name, dataset)
        some = [experiment(one) for one in found[(page - 1) * size : page * size]]
        return {"page": page, "size": len(some), "total": len(found), "content": some, "sortable_by": []}

    async def _stream(self, heard: Heard) -> Response:
        """A line for each whose name has this in it, the newest first, after an id."""
        limit = heard.said.get("limit") or LARGEST
        if not isinstance(limit, int) or limit < 1:
            raise Invalid("this is no number of experiments", where="limit", remedy="give one from 1")
        found, after = await self._found(heard.actor, text_of(heard.said, "name"), ""), heard.said.get("last_retrieved_id")
        ids = [one.id for one in found]
        rest = found[ids.index(after) + 1 :] if after in ids else found
        some = rest[:limit]
        return Response(b"".join(msgspec.json.encode(experiment(one)) + b"\n" for one in some), media_type="application/octet-stream")

    async def _found(self, actor: Actor, name: str, dataset: str) -> list[_Experiment]:
        wanted = _term(foreign_runs.DATASET, foreign_runs.dataset_id(dataset)) if dataset else ""
        found, cursor = list[_Experiment](), None
        while True:
            asked = TraceQuery(actor.project, wanted, evaluation=DATASET_RUN, cursor=cursor, limit=LARGEST)
            page = await self._platform.ask(TRACES, actor, asked)
            for listed in page.items:
                if name.lower() in listed.name.lower():
                    shown = await self._platform.ask(TRACE, actor, TraceShow(listed.trace_id, actor.project, limit=LARGEST))
                    if (one := _read(shown)) is not None and name.lower() in one.name.lower():
                        found.append(one)
            if not (cursor := page.next):
                return found

    async def _answers(self, heard: Heard) -> Any:
        """A page of traces that are items of these experiments, the newest first."""
        asked, (page, size) = heard.request.query_params, page_of(heard.request)
        not_taken(dict(asked), filters=FILTERS)
        shown = await self._sets.shown(heard.actor, heard.request.path_params["id"])
        content, seen = list[Told](), 0
        for run in _ids(asked.get("experiment_ids") or ""):
            async for trace in self._items_of(heard.actor, run):
                seen += 1
                if (page - 1) * size < seen <= page * size:
                    content.append(await self._answer(heard.actor, run, trace, shown))
        return {"page": page, "size": len(content), "total": seen, "content": content, "columns": []}

    async def _items_of(self, actor: Actor, run: str) -> AsyncIterator[str]:
        cursor = None
        while True:
            asked = TraceQuery(actor.project, _term(foreign_runs.RUN_ID, run), cursor=cursor, limit=LARGEST)
            page = await self._platform.ask(TRACES, actor, asked)
            for listed in page.items:
                yield listed.trace_id
            if not (cursor := page.next):
                return

    async def _answer(self, actor: Actor, run: str, trace: str, shown: VersionDetail) -> Told:
        """A row of the dataset with what this trace answered."""
        found, item, root = await self._spans(actor, trace, run)
        key = str(item.attributes.get(foreign_runs.ITEM))
        row, id = await self._sets.row(actor, shown, key), opik_spans.trace_uuid(trace)
        own = {
            "id": f"{run}:{id}", "experiment_id": run, "dataset_item_id": key, "trace_id": id,
            "output": await self._output(actor, root) if root else None,
            "feedback_scores": [told for s in found.scores if s.span is None and (told := opik_spans.score_told(s))],
        }  # fmt: skip
        return (item_of(row, shown) if row else {"id": key, "source": "sdk", "data": {}}) | {"experiment_items": [own]}

    async def _output(self, actor: Actor, root: StoredSpan) -> Any:
        """As it was sent: an object, or a text."""
        text = output_of(await made_whole(self._platform, actor, root))
        return None if text is None else json_said(text)

    async def _spans(self, actor: Actor, trace: str, run: str) -> tuple[Trace, StoredSpan, StoredSpan | None]:
        """A trace, the step that puts it into this run, and the one above that, where it has come."""
        spans, cursor, item = dict[str, StoredSpan](), None, None
        while True:
            found: Trace = await self._platform.ask(TRACE, actor, TraceShow(trace, actor.project, cursor, limit=STEPS))
            spans |= {span.span_id: span for span in found.spans}
            item = item or next((s for s in found.spans if s.attributes.get(foreign_runs.RUN_ID) == run), None)
            if item and item.parent in spans:
                return found, item, spans[item.parent]
            if not (cursor := found.next):
                break
        if item is None:
            raise NotFound(f"trace {trace} is in no run {run} any more", where="experiment_ids", remedy="read it again")
        return found, item, None


def _read(found: Trace) -> _Experiment | None:
    """The experiment that the trace of a run as a whole has the record of; None where only scores of it came."""
    for span in found.spans:
        run, name, of, text = (
            span.attributes.get(field) for field in (foreign_runs.RUN_ID, foreign_runs.RUN_NAME, foreign_runs.DATASET, SAID)
        )
        if isinstance(run, str) and isinstance(name, str) and isinstance(of, str) and isinstance(text, str):
            said = json_said(text)
            said = said if isinstance(said, dict) else {}  # what was masked in it may have left no JSON
            return _Experiment(run, name, of.removeprefix(foreign_runs.dataset_id("")), said, span.start_ns, found.scores)
    return None


def experiment(one: _Experiment) -> Told:
    at, said = iso(one.made_ns), one.said
    scores = [{"name": s.name, "value": float(s.value)} for s in one.scores if isinstance(s.value, float | bool)]
    kept: Told = {field: said[field] for field in ("metadata", "tags", "dataset_version_id", "prompt_versions") if field in said}
    return {
        "id": one.id, "name": one.name, "dataset_id": one.dataset, "dataset_name": one.dataset, "type": "regular", "status": "completed",
        "evaluation_method": "dataset", "project_name": said.get("project_name"), "experiment_scores": scores, "created_at": at,
        "last_updated_at": at, **kept,
    }  # fmt: skip


def _score(said: Any, one: _Experiment, actor: Actor) -> ScoreRequest:
    if not isinstance(said, dict):
        raise Invalid("a score has a name, and a number as its value", where="value")
    return ScoreRequest(text_of(said, "name").strip(), number_of(said), project=actor.project, run=one.id)


def _term(attribute: str, value: str) -> str:
    return printed(Term(f"attr.{attribute}", value))


def _ids(text: str) -> list[str]:
    """Raises `Invalid`."""
    try:
        return [opik_spans.uuid_of(id, "experiment_ids") for id in msgspec.json.decode(text, type=list[str])]
    except (msgspec.DecodeError, RecursionError) as e:
        raise Invalid("this is no list of ids", where="experiment_ids", remedy="give them as JSON") from e


async def _nothing(heard: Heard) -> None:
    """What was sent is kept since it was acknowledged."""
