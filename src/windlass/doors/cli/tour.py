"""The tour: the whole lifecycle on the example application, with everything real. Cut off, it goes on where it stopped."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from windlass.core.errors import WindlassError, error_from_dict
from windlass.core.models import BASELINE
from windlass.core.operations.bakeoffs import BakeoffRequest
from windlass.core.operations.discover import CatalogQuery
from windlass.doors import format as words
from windlass.doors.cli.session import plain
from windlass.doors.cli.tour_agent import Agented, agent
from windlass.doors.cli.tour_skew import Watched, go_on
from windlass.doors.cli.tour_stage import (
    DATASET,
    EXAMPLE,
    POLL_SECONDS,
    QUESTIONS,
    RELEASE,
    SUITE,
    Link,
    Say,
    Stage,
    asked_by,
    change,
    copied,
    stage,
)
from windlass.sdk.client import Client
from windlass.sdk.pulling import pull_rows
from windlass.sdk.workspace import Folder

ASKER = "tour"
BAKED = 100  # rows of the bake-off


class TourReport(msgspec.Struct):
    stages: list[Stage]
    answers: list[str]
    recommended: str | None  # by the bake-off
    rows: int  # of the dataset, with those that were made from traces
    watched: Watched
    agented: Agented | None
    seconds: float


def walk(client: Client, say: Say, link: Link) -> TourReport:
    """The tour. Raises what goes wrong on the way."""
    began = time.monotonic()
    report = TourReport([], [], None, 0, Watched(), None, 0.0)
    with copied(EXAMPLE) as workspace:
        client = Client(project=Folder(workspace).manifest.project, transport=client.transport)
        say("[bold]helpdesk[/bold] answers questions about the Python standard library, from its own documentation")
        _discover(client, say, link)
        done = len(client.releases.history(RELEASE).items)
        if done < 1:
            report.stages.append(stage(client, say, link, workspace, "first"))
        report.recommended = _bake_off(client, say, link)
        change(workspace, EXAMPLE, "better")
        if done < 2:
            report.stages.append(stage(client, say, link, workspace, "better"))
        traces, report.answers = _ask(client, say)
        report.rows = _curate(client, say, link, workspace, traces)
        change(workspace, EXAMPLE, "worse")
        if not any(v.decision == "block" for v in client.gates.verdicts(SUITE).items):
            report.stages.append(stage(client, say, link, workspace, "worse"))
        made, report.watched = go_on(client, say, link, workspace, done >= 3)
        report.stages += [made] if made else []
        report.agented = agent(client, say, link)
    report.seconds = time.monotonic() - began
    say("", "ask it something:", f'  windlass run {RELEASE} "{next(iter(QUESTIONS))}"')
    return report


def _discover(client: Client, say: Say, link: Link) -> None:
    """What there is to run it with."""
    catalog = client.search_models(CatalogQuery(limit=1))
    ready = sum(m.available for m in client.models().items)
    told = f"{words.many(catalog.total, 'model')} with prices, licences and sources; {ready} can be called here"
    say("", f"[bold]discover[/bold]  {told}   {link('/models')}")
    say("  this tour needs none that is not built in: the baseline is the bar that a paid model must beat")


def _bake_off(client: Client, say: Say, link: Link) -> str | None:
    """The built-in models side by side in the application itself."""
    held = client.bakeoffs.list(SUITE, limit=1).items
    ready = tuple(m.id for m in client.models().items if m.available and m.provider == BASELINE)
    found = held[0] if held else client.bakeoffs.start(BakeoffRequest(SUITE, ready, project=client.project, budget=0.0, rows=BAKED))
    while (found := client.bakeoffs.show(found.id)).status in ("queued", "running"):
        time.sleep(POLL_SECONDS)
    if found.recommendation is None:
        raise error_from_dict(found.error) if found.error else WindlassError(f"the bake-off was {found.status}")
    say("", f"[bold]bake-off[/bold]  {len(found.arms)} models answer the same {found.rows} rows in {words.short_ref(found.target)}")
    for arm in found.arms:
        scores = "  ".join(f"{s.name} {words.score(s.mean)}" for s in arm.guards)
        told = f"   [dim]{plain(arm.why)}[/dim]" if arm.why else ""
        say(f"  {arm.model:<18} {scores}{told}")
    said = f"{found.recommendation.model or 'none'} is recommended; stopping early spared {words.many(found.saved, 'call')}"
    say(f"  {said}   {link('/bakeoffs/' + found.id[-8:])}")
    return found.recommendation.model


def _ask(client: Client, say: Say) -> tuple[list[str], list[str]]:
    """Three questions to what is in production: their traces, and the answers."""
    say("", "asked in production")
    known = asked_by(client, ASKER)
    traces, answers = [], []
    for question in QUESTIONS:
        if question in known:
            trace, text = known[question].trace_id, known[question].output
        else:
            result = client.run(f"release/{RELEASE}:production", question, user=ASKER)
            trace, text = result.trace, result.text
        traces.append(trace)
        answers.append(text)
        say(f"  {question}", f"    [dim]{plain(text)}[/dim]")
    say(f"  why: windlass why {traces[0][:8]}")
    return traces, answers


def _curate(client: Client, say: Say, link: Link, workspace: Path, traces: list[str]) -> int:
    """What was asked in production becomes rows that the next change is tested on, on the server and in the workspace's file."""
    say("", "[bold]rows from traces[/bold]  somebody looks at the answers, says what would have been right, and makes rows of them")
    asked = {row["question"] for row in client.datasets.all(DATASET) if "origin" in row}
    for trace, (question, symbols) in zip(traces, QUESTIONS.items(), strict=True):
        if question not in asked:
            fields = {"split": "test", "topic": "asked", "symbols": symbols, "hard": None if symbols else "nothing"}
            client.datasets.harvest(DATASET, [trace], fields, "asked in production")
    pulled = pull_rows(client, workspace, DATASET, force=True)
    page = link(f"/datasets/dataset/{DATASET}")
    say(f"  dataset/{DATASET}: {words.many(pulled.count, 'row')}, {pulled.rows.added} of them new; the file in git has them too   {page}")
    touched = client.versions.impact(f"dataset/{DATASET}")
    suites = ", ".join(words.short_ref(s) for s in touched.suites)
    say(f"  to test again: {suites or 'nothing'}: the next gate judges with them")
    return pulled.count
