"""Home: each application as its loop, with what needs a person on top."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core.digest import short
from windlass.core.operations.alerts import EVENTS, EventQuery
from windlass.core.operations.approvals import APPROVALS, ApprovalQuery
from windlass.core.operations.deploy import RELEASES, ReleaseApprovals, ReleaseQuery, ReleaseState
from windlass.core.operations.evaluation import EVALUATION, VERDICTS, Evaluation, IdQuery, VerdictQuery
from windlass.core.operations.grants import STOPS, StopQuery
from windlass.core.operations.monitors import MONITORS, MonitorQuery, MonitorState
from windlass.core.operations.reviews import REVIEWS, ReviewQueue, ReviewsQuery
from windlass.core.operations.traces import LIVE, LiveFigures, LiveQuery
from windlass.core.score import Verdict
from windlass.doors import format as words
from windlass.doors.web.releases import approvals
from windlass.doors.web.render import Asker, Handler, respond

MOST_FOUND = 5  # events that monitors found
CALLS = {"covered": "good", "skewed": "bad", "no traffic": "none"}  # what a monitor says; anything else waits
FOUND = {"critical": "bad", "warning": "wait", "info": "none"}


class Step(msgspec.Struct, frozen=True):
    """One step of an application's loop. `state` is good, wait, bad or none."""

    name: str
    state: str
    note: str
    url: str


class Need(msgspec.Struct, frozen=True):
    """Something that waits for a person."""

    state: str
    word: str
    sentence: str
    action: str
    url: str


class Application(msgspec.Struct):
    """One release name: its loop, where it stands, and how it does."""

    release: ReleaseState
    steps: tuple[Step, ...]
    live: LiveFigures
    quality: Evaluation | None
    verdict: Verdict | None
    monitors: tuple[MonitorState, ...] = ()
    trend: tuple[float, ...] = ()  # p95 latency in ms, per bucket
    approvals: ReleaseApprovals | None = None  # that are demanded before its candidate is promoted


class HomeContext(msgspec.Struct):
    applications: tuple[Application, ...]
    needs: tuple[Need, ...]
    sentence: str


async def _application(ask: Asker, release: ReleaseState, verdicts: list[Verdict], monitors: Sequence[MonitorState]) -> Application:
    project = ask.actor.project
    live = await ask(LIVE, LiveQuery(project=project, release=release.name))
    mine = [v for v in verdicts if f"/{release.name}@" in v.candidate]
    verdict = mine[0] if mine else None
    production = release.environments.get("production")
    passed = next((v for v in mine if production and v.candidate.endswith(production) and v.candidate_evaluation), None)
    quality = await ask(EVALUATION, IdQuery(passed.candidate_evaluation, project)) if passed and passed.candidate_evaluation else None
    gated = verdict is not None and verdict.decision == "promote" and release.candidate == verdict.candidate.partition("@")[2]
    waits = await approvals(ask, release.name, verdict.id) if gated and verdict and verdict.environment == "production" else None
    watching = tuple(m for m in monitors if m.watched == f"release/{release.name}")
    return Application(
        release=release,
        steps=(*_steps(release, live, quality, verdict), _watch(watching)),
        live=live,
        quality=quality,
        verdict=verdict,
        monitors=watching,
        trend=tuple(bucket[2] for bucket in live.series),
        approvals=waits,
    )


def _steps(release: ReleaseState, live: LiveFigures, quality: Evaluation | None, verdict: Verdict | None) -> tuple[Step, ...]:
    production = release.environments.get("production")
    state = {"promote": "good", "block": "bad", "inconclusive": "wait"}[verdict.decision] if verdict else "none"
    waits = verdict is not None and verdict.decision == "promote" and release.candidate == verdict.candidate.partition("@")[2]
    served = live.requests > 0
    unmeasured = "nothing measured yet" if release.suite else "no suite measures it"
    return (
        Step("Develop", "good", f"runs {release.entry}", f"/artifacts/release/{release.name}"),
        Step(
            "Evaluate",
            "good" if quality else "none",
            words.many(quality.rows, "row") if quality else unmeasured,
            f"/evaluations/{quality.id}" if quality else "/evaluations",
        ),
        Step("Gate", state, verdict.decision if verdict else "no verdict yet", f"/verdicts/{verdict.id}" if verdict else "/verdicts"),
        Step(
            "Release",
            "wait" if waits else "good" if production else "none",
            "waits for a person" if waits else short(production) if production else "nothing in production",
            "/releases",
        ),
        Step("Serve", "good" if served else "none", f"{live.requests:,} in 24 h" if served else "no requests in 24 h", "/traces"),
        Step(
            "Trace",
            "bad" if live.errors else "good" if served else "none",
            f"{live.errors:,} failed" if live.errors else "none failed" if served else "no traces yet",
            "/traces?status=error" if live.errors else "/traces",
        ),
    )


def _watch(monitors: Sequence[MonitorState]) -> Step:
    """What monitors say of it: the worst, where there are several."""
    if not monitors:
        return Step("Watch", "none", "no monitor", "/monitors")
    ranked = ["bad", "wait", "good", "none"]
    worst = min(monitors, key=lambda m: ranked.index(_state(m)))
    return Step("Watch", _state(worst), worst.look.call if worst.look else "not looked yet", f"/monitors/{worst.name}")


def _state(monitor: MonitorState) -> str:
    if monitor.problem:
        return "wait"
    return CALLS.get(monitor.look.call, "wait") if monitor.look else "none"


def _needs(application: Application) -> list[Need]:
    release, verdict, waits = application.release, application.verdict, application.approvals
    found: list[Need] = []
    gated = verdict is not None and release.candidate is not None and verdict.candidate.endswith(release.candidate)
    if release.candidate and release.suite and not gated:
        sentence = f"{release.name}: candidate {short(release.candidate)} has not been gated; run `windlass gate {release.suite}`"
        found.append(Need("none", "candidate", sentence, "Look", f"/artifacts/release/{release.name}"))
    if verdict and release.candidate and gated:
        name = f"{release.name} {short(release.candidate)}"
        if verdict.decision == "promote" and waits is not None and not waits.enough:
            given = sum(a.counts for a in waits.given)
            sentence = f"{name} waits for approvals: {given} of {waits.needed}"
            found.append(Need("wait", "approve", sentence, "Decide", f"/verdicts/{verdict.id}"))
        elif verdict.decision == "promote":
            found.append(Need("good", "promote", f"{name} may go to production", "Decide", f"/verdicts/{verdict.id}"))
        elif verdict.decision == "block":
            worst = next((g for g in verdict.guards if g.decision == "block"), None)
            sentence = f"{name} is blocked: {worst.name} {words.score(worst.candidate)}" if worst else f"{name} is blocked"
            found.append(Need("bad", "blocked", sentence, "See why", f"/verdicts/{verdict.id}"))
        else:
            found.append(
                Need("wait", "inconclusive", f"{name}: too little evidence to decide", "See what it takes", f"/verdicts/{verdict.id}")
            )
    if application.live.errors:
        sentence = f"{release.name}: {application.live.errors} of {application.live.requests} answers failed in 24 h"
        found.append(Need("bad", "failures", sentence, "Look", "/traces?status=error"))
    return found


async def _found(ask: Asker) -> list[Need]:
    """What monitors found and nobody has acknowledged, the worst first."""
    page = await ask(EVENTS, EventQuery(ask.actor.project, "open", severity="warning", limit=200))
    worst = sorted(page.items, key=lambda e: e.event.severity != "critical")  # stable: newest first among equals
    needs = [Need(FOUND[e.event.severity], e.event.severity, e.event.sentence, "Look", f"/alerts/{e.event.id}") for e in worst[:MOST_FOUND]]
    if (more := len(worst) - MOST_FOUND) > 0:
        needs.append(Need("wait", "more", f"{more}{'+' if page.next else ''} more open events", "Look", "/alerts"))
    return needs


def _review(queue: ReviewQueue) -> Need:
    waits = "1 item waits" if queue.todo == 1 else f"{queue.todo:,} items wait"
    return Need("wait", "review", f"{queue.name}: {waits} for you", "Review", f"/reviews/{queue.name}/next")


async def _agents(ask: Asker) -> list[Need]:
    """Calls that wait for a person, which are over soon, and what is stopped."""
    waiting = (await ask(APPROVALS, ApprovalQuery(ask.actor.project, limit=1))).waiting
    needs = (
        [
            Need(
                "wait",
                "approval",
                f"{words.many(waiting, 'call')} of a tool wait{'s' if waiting == 1 else ''} for a person",
                "Decide",
                "/approvals",
            )
        ]
        if waiting
        else []
    )
    for stop in (await ask(STOPS, StopQuery(ask.actor.project))).items[:MOST_FOUND]:
        what = "everything" if stop.subject == "all" else stop.subject
        needs.append(Need("bad", "stopped", f"{what} is stopped: {stop.reason}", "Look", "/stops"))
    return needs


async def show(request: Request, ask: Asker) -> Response:
    project = ask.actor.project
    releases = await ask(RELEASES, ReleaseQuery(project))
    verdicts = list((await ask(VERDICTS, VerdictQuery(project, limit=200))).items)
    monitors = (await ask(MONITORS, MonitorQuery(project, limit=200))).items
    applications = tuple([await _application(ask, r, verdicts, monitors) for r in releases.items])
    queues = (await ask(REVIEWS, ReviewsQuery(project=project, limit=200))).queues
    needs = (
        *await _agents(ask),
        *await _found(ask),
        *(n for a in applications for n in _needs(a)),
        *(_review(q) for q in queues if q.todo),
    )
    running = sum("production" in a.release.environments for a in applications)
    plural = "" if running == 1 else "s"
    waiting = f"{len(needs)} thing{'' if len(needs) == 1 else 's'} wait{'s' if len(needs) == 1 else ''} for a person"
    sentence = f"{running} application{plural} in production · {waiting if needs else 'nothing waits for a person'}"
    return respond(request, "home.html", HomeContext(applications, needs, sentence), nav="home", title="Home")


PAGES: tuple[tuple[str, Handler], ...] = (("/", show),)
