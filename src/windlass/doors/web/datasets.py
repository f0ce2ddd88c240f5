"""Datasets: rows by page and filter, edits, two versions row by row, a merge with its clashes, rows that say the same, rows from traces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.errors import Invalid
from windlass.core.operations.datasets import (
    DUPLICATES,
    EDIT,
    HARVEST,
    MERGE,
    ROWS,
    ROWS_DIFF,
    Duplicates,
    DuplicatesQuery,
    EditRequest,
    HarvestRequest,
    Merged,
    MergeRequest,
    RowsDiff,
    RowsDiffQuery,
    RowsPage,
    RowsQuery,
)
from windlass.core.operations.graph import WHY_ROW, RowQuestion, WhyRow
from windlass.core.operations.registry import (
    ARTIFACTS,
    SHOW,
    VERSIONS,
    ArtifactQuery,
    ArtifactSummary,
    RefQuery,
    VersionDetail,
    VersionPage,
    VersionQuery,
)
from windlass.core.ref import parse_ref
from windlass.doors.web.render import Asker, Handler, query, respond

KINDS = ("dataset", "fewshot")
COLUMNS = 8  # of a table of rows; the rest stands in the row's JSON


class DatasetsContext(msgspec.Struct):
    items: tuple[ArtifactSummary, ...]


class DatasetContext(msgspec.Struct):
    """`branches` are the labels of the name, with what they point to."""

    kind: str
    name: str
    detail: VersionDetail
    versions: VersionPage
    rows: RowsPage
    columns: tuple[str, ...]
    branches: dict[str, str]
    split: str
    search: str
    said: str = ""


class RowContext(msgspec.Struct):
    kind: str
    name: str
    why: WhyRow
    fields: tuple[str, ...]
    evaluators: tuple[str, ...]


class RowsDiffContext(msgspec.Struct):
    kind: str
    name: str
    diff: RowsDiff
    only: str


class MergeContext(msgspec.Struct):
    kind: str
    name: str
    ours: str
    theirs: str
    merged: Merged | None
    branches: dict[str, str]
    versions: VersionPage
    said: str = ""


class DuplicatesContext(msgspec.Struct):
    kind: str
    name: str
    found: Duplicates
    near: float
    against: str
    others: tuple[ArtifactSummary, ...]


async def _sets(ask: Asker) -> tuple[ArtifactSummary, ...]:
    pages = [await ask(ARTIFACTS, ArtifactQuery(ask.actor.project, kind, limit=200)) for kind in KINDS]
    return tuple(a for page in pages for a in page.items)


def _where(request: Request) -> tuple[str, str]:
    kind = request.path_params["kind"]
    if kind not in KINDS:
        raise Invalid(f"a {kind} has no rows", where=request.url.path, remedy="open it under Artifacts")
    return kind, request.path_params["name"]


async def datasets(request: Request, ask: Asker) -> Response:
    return respond(request, "datasets.html", DatasetsContext(await _sets(ask)), nav="datasets", title="Datasets")


async def dataset(request: Request, ask: Asker) -> Response:
    kind, name = _where(request)
    q, project = request.query_params, ask.actor.project
    ref = f"{kind}/{name}" + (f"@{q['at']}" if q.get("at") else f":{q['branch']}" if q.get("branch") else "")
    detail = await ask(SHOW, RefQuery(ref, project))
    asked = RowsQuery(str(detail.version.ref), project, q.get("split") or None, q.get("search") or None, q.get("cursor") or None)
    rows = await ask(ROWS, asked)
    versions = await ask(VERSIONS, VersionQuery(f"{kind}/{name}", project, q.get("older") or None))
    columns = _columns(rows.items)
    context = DatasetContext(
        kind, name, detail, versions, rows, columns, versions.labels, q.get("split", ""), q.get("search", ""), q.get("said", "")
    )
    return respond(request, "dataset.html", context, nav="datasets", title=f"{kind}/{name}")


def _columns(rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """The key first, then what has most text in it; where rows belong and came from at the end."""
    text = dict.fromkeys((f for row in rows for f in row), 0)
    for row in rows:
        for field, value in row.items():
            text[field] += sum(map(len, value)) if isinstance(value, list) and all(isinstance(v, str) for v in value) else 0
            text[field] += len(value) if isinstance(value, str) else 0
    place = {"key": -1, "split": 1, "origin": 2}
    return tuple(sorted(text, key=lambda f: (place.get(f, 0), -text[f])))[:COLUMNS]


async def row(request: Request, ask: Asker) -> Response:
    """One row: where it came from, and how it was answered."""
    kind, name = _where(request)
    at = request.query_params.get("at")
    ref = f"{kind}/{name}" + (f"@{at}" if at else "")
    found = await ask(WHY_ROW, RowQuestion(ref, request.path_params["key"], ask.actor.project))
    evaluators = tuple(dict.fromkeys(s.evaluator for one in found.scored for s in one.scores))
    return respond(
        request,
        "row.html",
        RowContext(kind, name, found, _columns([found.row or {}]), evaluators),
        nav="datasets",
        title=f"Row {found.key}",
    )


async def rows_diff(request: Request, ask: Asker) -> Response:
    kind, name = _where(request)
    q = request.query_params
    only: Any = q.get("only") if q.get("only") in ("added", "removed", "changed") else "all"
    asked = RowsDiffQuery(q.get("a", ""), q.get("b", ""), ask.actor.project, only, q.get("cursor") or None)
    found = await ask(ROWS_DIFF, asked)
    return respond(request, "rows_diff.html", RowsDiffContext(kind, name, found, only), nav="datasets", title=f"Rows of {name}")


async def merge(request: Request, ask: Asker) -> Response:
    """What a merge would do; nothing is changed yet."""
    kind, name = _where(request)
    q, project = request.query_params, ask.actor.project
    versions = await ask(VERSIONS, VersionQuery(f"{kind}/{name}", project))
    ours, theirs = q.get("ours") or f"{kind}/{name}:main", q.get("theirs") or ""
    found = await ask(MERGE, MergeRequest(ours, theirs, project, dry=True)) if theirs else None
    context = MergeContext(kind, name, ours, theirs, found, versions.labels, versions, q.get("said", ""))
    return respond(request, "merge.html", context, nav="datasets", title=f"Merge {name}")


async def duplicates(request: Request, ask: Asker) -> Response:
    kind, name = _where(request)
    q = request.query_params
    try:
        near = min(1.0, max(0.5, float(q.get("near") or 0.8)))
    except ValueError:
        near = 0.8
    asked = DuplicatesQuery(f"{kind}/{name}", ask.actor.project, q.get("against") or None, (), near, q.get("cursor") or None)
    found = await ask(DUPLICATES, asked)
    others = tuple(a for a in await _sets(ask) if (a.kind, a.name) != (kind, name))
    context = DuplicatesContext(kind, name, found, near, q.get("against", ""), others)
    return respond(request, "duplicates.html", context, nav="datasets", title=f"Alike in {name}")


async def edit(request: Request, ask: Asker) -> Response:
    """Set rows that were written as JSON, one a line, and remove those that were ticked."""
    kind, name = _where(request)
    form: Any = await request.form()
    lines = [line for line in str(form.get("rows") or "").split("\n") if line.strip()]
    branch = str(form.get("branch") or "main")
    asked = EditRequest(
        f"{kind}/{name}:{branch}", tuple(_row(n, line) for n, line in enumerate(lines, 1)), tuple(str(k) for k in form.getlist("remove")),
        ask.actor.project, str(form.get("expected") or "") or None, str(form.get("message") or ""),
    )  # fmt: skip
    done = await ask(EDIT, asked)
    said = "; ".join(done.problems[:5])
    return RedirectResponse(query(f"/datasets/{kind}/{name}", branch=branch, said=said), 303)


def _row(number: int, line: str) -> Any:
    try:
        return msgspec.json.decode(line)
    except msgspec.DecodeError as e:
        raise Invalid(f"line {number} is not JSON: {e}", where="rows", remedy="write one JSON object a line") from e


async def do_merge(request: Request, ask: Asker) -> Response:
    kind, name = _where(request)
    form: Any = await request.form()
    choose: dict[str, Literal["ours", "theirs"]] = {k[4:]: v for k, v in form.items() if k.startswith("row:") and v in ("ours", "theirs")}
    ours, theirs = str(form["ours"]), str(form["theirs"])
    rest: Any = form.get("prefer") if form.get("prefer") in ("ours", "theirs") else None
    done = await ask(MERGE, MergeRequest(ours, theirs, ask.actor.project, choose=choose, prefer=rest))
    if done.conflicting:
        said = "Nothing was changed: rows clash that were not decided."
        return RedirectResponse(query(f"/datasets/{kind}/{name}/merge", ours=ours, theirs=theirs, said=said), 303)
    return RedirectResponse(query(f"/datasets/{kind}/{name}", at=done.ref.rpartition("@")[2]), 303)


async def harvest(request: Request, ask: Asker) -> Response:
    """Rows from the traces that were ticked."""
    form: Any = await request.form()
    name, traces = str(form.get("dataset") or "").strip(), tuple(str(t) for t in form.getlist("trace"))
    done = await ask(HARVEST, HarvestRequest(name, traces, fields_of(form), ask.actor.project))
    ref = parse_ref(done.ref)
    return RedirectResponse(query(f"/datasets/{ref.kind}/{ref.name}", at=ref.digest, said="; ".join(done.problems[:5])), 303)


async def names_of(ask: Asker) -> tuple[str, ...]:
    """Names of datasets that rows can be put into."""
    page = await ask(ARTIFACTS, ArtifactQuery(ask.actor.project, "dataset", limit=200))
    return tuple(a.name for a in page.items if not a.name.endswith("-documents"))


def fields_of(form: Any) -> dict[str, Any]:
    """The fields that each row is to have, of a form. Raises `Invalid`."""
    text = str(form.get("fields") or "").strip()
    try:
        return msgspec.json.decode(text, type=dict[str, Any]) if text else {}
    except msgspec.DecodeError as e:
        raise Invalid(f"the fields are no JSON object: {e}", where="fields", remedy='write {"split": "test"}') from e


PAGES: tuple[tuple[str, Handler], ...] = (
    ("/datasets", datasets),
    ("/datasets/{kind}/{name}", dataset),
    ("/datasets/{kind}/{name}/diff", rows_diff),
    ("/datasets/{kind}/{name}/rows/{key:path}", row),
    ("/datasets/{kind}/{name}/merge", merge),
    ("/datasets/{kind}/{name}/duplicates", duplicates),
)
FORMS: tuple[tuple[str, Handler], ...] = (
    ("/datasets/harvest", harvest),
    ("/datasets/{kind}/{name}/edit", edit),
    ("/datasets/{kind}/{name}/merge", do_merge),
)
