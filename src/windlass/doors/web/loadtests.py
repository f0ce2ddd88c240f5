"""Load tests: all, with a form to begin one, and one with its objectives and how its answers' times lie."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.errors import Invalid
from windlass.core.operations.deploy import RELEASES, ReleaseQuery
from windlass.core.operations.loadtests import (
    CANCEL_LOADTEST,
    LOADTEST,
    LOADTESTS,
    START_LOADTEST,
    LoadRequest,
    LoadTest,
    LoadTestId,
    LoadTestPage,
    LoadTestQuery,
)
from windlass.core.operations.registry import ARTIFACTS, ArtifactQuery, ArtifactSummary
from windlass.doors.web.render import Asker, Handler, respond

WIDTH, HEIGHT = 640.0, 120.0


class Bar(msgspec.Struct, frozen=True):
    """One bar of the histogram, in SVG."""

    x: float
    y: float
    width: float
    height: float
    label: str


class LoadTestsContext(msgspec.Struct):
    page: LoadTestPage
    targets: tuple[str, ...]
    datasets: tuple[ArtifactSummary, ...]


class LoadTestContext(msgspec.Struct):
    test: LoadTest
    bars: tuple[Bar, ...]


def bars_of(histogram: tuple[tuple[float, int], ...]) -> tuple[Bar, ...]:
    """Answers by their time, drawn: five bars to each tenfold."""
    if not histogram:
        return ()
    most = max(count for _, count in histogram)
    width = min(80.0, WIDTH / len(histogram))
    return tuple(
        Bar(round(n * width, 1), round(HEIGHT * (1 - count / most), 1), round(width - 2, 1), round(HEIGHT * count / most, 1),
            f"{count:,} within {edge:.3g} s")
        for n, (edge, count) in enumerate(histogram)
    )  # fmt: skip


async def page(request: Request, ask: Asker) -> Response:
    project = ask.actor.project
    found = await ask(LOADTESTS, LoadTestQuery(project, request.query_params.get("cursor") or None))
    releases = await ask(RELEASES, ReleaseQuery(project))
    targets = [f"{r.name}:{environment}" for r in releases.items for environment in sorted(r.environments)]
    targets += [f"{r.name}@{r.candidate[7:15]}" for r in releases.items if r.candidate]
    datasets = await ask(ARTIFACTS, ArtifactQuery(project, "dataset"))
    return respond(request, "loadtests.html", LoadTestsContext(found, tuple(targets), datasets.items), nav="loadtests", title="Load tests")


async def show(request: Request, ask: Asker) -> Response:
    found = await ask(LOADTEST, LoadTestId(request.path_params["id"], ask.actor.project))
    context = LoadTestContext(found, bars_of(found.histogram))
    return respond(request, "loadtest.html", context, nav="loadtests", title=f"Load test {found.id[-8:]}")


async def start(request: Request, ask: Asker) -> Response:
    form = {k: str(v).strip() for k, v in (await request.form()).items()}
    try:
        objectives = {name: float(form[name]) for name in ("per_second", "seconds", "p95_s") if form.get(name)}
        objectives |= {"errors": float(form["errors"]) / 100} if form.get("errors") else {}
        asked: dict[str, object] = {"target": form["target"], "data": form["data"], "project": ask.actor.project, "objectives": objectives}
        asked |= {"budget": float(form["budget"])} if form.get("budget") else {}
        made = msgspec.convert(asked, LoadRequest)
    except (KeyError, ValueError, msgspec.ValidationError) as e:
        raise Invalid(f"no load test can be begun of this: {e}", remedy="go back and mend it") from e
    begun = await ask(START_LOADTEST, made)
    return RedirectResponse(f"/loadtests/{begun.id}", 303)


async def cancel(request: Request, ask: Asker) -> Response:
    found = await ask(CANCEL_LOADTEST, LoadTestId(request.path_params["id"], ask.actor.project))
    return RedirectResponse(f"/loadtests/{found.id}", 303)


PAGES: tuple[tuple[str, Handler], ...] = (("/loadtests", page), ("/loadtests/{id}", show))
FORMS: tuple[tuple[str, Handler], ...] = (("/loadtests", start), ("/loadtests/{id}/cancel", cancel))
