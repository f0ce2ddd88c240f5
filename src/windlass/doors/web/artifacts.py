"""Artifacts: kinds and names, the versions of one, one version with its content, the difference of any two."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.operations.datasets import ROWS, RowsPage, RowsQuery
from windlass.core.operations.registry import (
    ARTIFACTS,
    DIFF,
    MOVE_LABEL,
    SHOW,
    VERSIONS,
    ArtifactPage,
    ArtifactQuery,
    Diff,
    DiffQuery,
    LabelMove,
    RefQuery,
    VersionDetail,
    VersionPage,
    VersionQuery,
)
from windlass.core.ref import KINDS
from windlass.doors.web.render import Asker, Handler, query, respond, version_url


class ArtifactsContext(msgspec.Struct):
    page: ArtifactPage
    kinds: tuple[str, ...]
    kind: str
    search: str


class ArtifactContext(msgspec.Struct):
    kind: str
    name: str
    page: VersionPage
    newest: VersionDetail | None


class VersionContext(msgspec.Struct):
    """`rows` for a dataset; `others` to compare with, newest first."""

    detail: VersionDetail
    others: VersionPage
    rows: RowsPage | None = None


class DiffContext(msgspec.Struct):
    diff: Diff
    lines: tuple[tuple[str, str], ...]  # (add | del | hunk | same, text)


async def artifacts(request: Request, ask: Asker) -> Response:
    q = request.query_params
    page = await ask(
        ARTIFACTS,
        ArtifactQuery(ask.actor.project, q.get("kind") or None, q.get("search") or None, q.get("cursor") or None),
    )
    context = ArtifactsContext(page, KINDS, q.get("kind", ""), q.get("search", ""))
    return respond(request, "artifacts.html", context, nav="artifacts", title="Artifacts")


async def artifact(request: Request, ask: Asker) -> Response:
    kind, name = request.path_params["kind"], request.path_params["name"]
    project = ask.actor.project
    page = await ask(VERSIONS, VersionQuery(f"{kind}/{name}", project, request.query_params.get("cursor") or None))
    newest = await ask(SHOW, RefQuery(f"{kind}/{name}@{page.items[0].digest}", project)) if page.items else None
    return respond(request, "artifact.html", ArtifactContext(kind, name, page, newest), nav="artifacts", title=f"{kind}/{name}")


async def version(request: Request, ask: Asker) -> Response:
    kind, name, digest = (request.path_params[k] for k in ("kind", "name", "digest"))
    project = ask.actor.project
    detail = await ask(SHOW, RefQuery(f"{kind}/{name}@{digest}", project))
    others = await ask(VERSIONS, VersionQuery(f"{kind}/{name}", project))
    rows = None
    if kind in ("dataset", "fewshot"):
        cursor = request.query_params.get("cursor") or None
        rows = await ask(ROWS, RowsQuery(str(detail.version.ref), project, request.query_params.get("split") or None, None, cursor))
    return respond(request, "version.html", VersionContext(detail, others, rows), nav="artifacts", title=detail.version.ref.short)


def _lines(text: str) -> tuple[tuple[str, str], ...]:
    kinds = {"+": "add", "-": "del", "@": "hunk"}
    return tuple((kinds.get(line[:1], "same"), line) for line in text.splitlines() if not line.startswith(("+++", "---")))


async def diff(request: Request, ask: Asker) -> Response:
    q = request.query_params
    found = await ask(DIFF, DiffQuery(q.get("a", ""), q.get("b", ""), ask.actor.project))
    return respond(request, "diff.html", DiffContext(found, _lines(found.text)), nav="artifacts", title="Difference")


async def move_label(request: Request, ask: Asker) -> Response:
    """Put a branch label on this version; compare-and-set against what the form saw."""
    form: Any = await request.form()
    kind, name = request.path_params["kind"], request.path_params["name"]
    move = LabelMove(f"{kind}/{name}:{form['label']}", str(form["digest"]), str(form.get("expected") or "") or None, ask.actor.project)
    state = await ask(MOVE_LABEL, move)
    return RedirectResponse(query(version_url(f"{kind}/{name}@{state.digest}")), 303)


PAGES: tuple[tuple[str, Handler], ...] = (
    ("/artifacts", artifacts),
    ("/artifacts/{kind}/{name}", artifact),
    ("/artifacts/{kind}/{name}/{digest}", version),
    ("/diff", diff),
)
FORMS: tuple[tuple[str, Handler], ...] = (("/artifacts/{kind}/{name}/label", move_label),)
