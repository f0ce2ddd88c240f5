"""The tour: the whole lifecycle on the example application, with everything real. Cut off, it goes on where it stopped."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

import windlass
from windlass.core.digest import short
from windlass.core.errors import NotFound, WindlassError, error_from_dict
from windlass.core.models import BASELINE
from windlass.core.operations.bakeoffs import BakeoffRequest
from windlass.core.operations.discover import CatalogQuery
from windlass.core.score import Verdict
from windlass.doors import format as words
from windlass.doors.cli.session import plain
from windlass.sdk.client import Client
from windlass.sdk.pulling import pull_rows
from windlass.sdk.workspace import Folder

RELEASE, SUITE = "answer", "answers"
DATASET = "questions"
QUESTIONS = {  # asked in production → what is right, as a person would say afterwards
    "How do I make my terminal program ask for a password without showing it?": ["getpass.getpass"],
    "How wide and tall is the terminal my program runs in?": ["shutil.get_terminal_size", "os.get_terminal_size"],
    "Who may park in the yard on Fridays?": [],
}
POLL_SECONDS = 0.2
BAKED = 100  # rows of the bake-off

Say = Callable[..., None]
Link = Callable[[str], str]


class Stage(msgspec.Struct):
    """One version of the example on its way: `moved` when it went to production."""

    name: str
    release: str
    verdict: str
    decision: str
    scores: dict[str, float | None]
    moved: bool


class TourReport(msgspec.Struct):
    stages: list[Stage]
    answers: list[str]
    recommended: str | None  # by the bake-off
    rows: int  # of the dataset, with those that were made from traces
    seconds: float


def example(name: str) -> Path:
    """The folder of an example: in a source checkout, or in the installed package."""
    package = Path(windlass.__file__).parent
    for folder in (package.parents[1] / "examples" / name, package / "examples" / name):
        if folder.is_dir():
            return folder
    raise NotFound(f"the example {name!r} is not installed", remedy="install Windlass from its wheel, or clone the repository")


@contextmanager
def copied(name: str) -> Iterator[Path]:
    """A copy of an example to work on."""
    with tempfile.TemporaryDirectory(prefix="windlass-tour-") as folder:
        target = Path(folder) / name
        shutil.copytree(example(name), target, ignore=shutil.ignore_patterns("__pycache__", "changes"))
        yield target


def change(workspace: Path, name: str, which: str) -> None:
    """Lay the files of a change over a copy of its example."""
    shutil.copytree(example(name) / "changes" / which, workspace, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def walk(client: Client, say: Say, link: Link) -> TourReport:
    """The tour. Raises what goes wrong on the way."""
    began = time.monotonic()
    report = TourReport([], [], None, 0, 0.0)
    with copied("helpdesk") as workspace:
        client = Client(project=Folder(workspace).manifest.project, transport=client.transport)
        say("[bold]helpdesk[/bold] answers questions about the Python standard library, from its own documentation")
        _discover(client, say, link)
        done = len(client.releases.history(RELEASE).items)
        if done < 1:
            report.stages.append(_stage(client, say, link, workspace, "first"))
        report.recommended = _bake_off(client, say, link)
        change(workspace, "helpdesk", "better")
        if done < 2:
            report.stages.append(_stage(client, say, link, workspace, "better"))
        traces, report.answers = _ask(client, say)
        report.rows = _curate(client, say, link, workspace, traces)
        change(workspace, "helpdesk", "worse")
        if not any(v.decision == "block" for v in client.gates.verdicts(SUITE).items):
            report.stages.append(_stage(client, say, link, workspace, "worse"))
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


def _stage(client: Client, say: Say, link: Link, workspace: Path, name: str) -> Stage:
    """Push, gate, and promote what is let through."""
    pushed, _ = client.push(workspace)
    changed = [c for c in pushed.changes if c.status != "unchanged"]
    release = next(c for c in pushed.changes if (c.kind, c.name) == ("release", RELEASE))
    say(
        "",
        f"[bold]{name}[/bold]  pushed: {len(changed)} of {len(pushed.changes)} versions are new; release/{RELEASE}@{short(release.digest)}",
    )
    verdict = _gate(client, f"release/{RELEASE}@{release.digest}")
    for guard in verdict.guards:
        before = f"{words.score(guard.base)} → " if guard.base is not None else ""
        say(f"  {guard.name:<20} {before}{words.score(guard.candidate)}   [dim]{plain(guard.sentence)}[/dim]")
    moved = verdict.decision == "promote"
    say(f"  [bold]{verdict.decision.upper()}[/bold]   {link('/verdicts/' + verdict.id[-8:])}")
    if moved:
        move = client.releases.promote(RELEASE, verdict=verdict.id)
        say(f"  production {short(move.before) + ' → ' if move.before else ''}{short(move.after)}")
    scores = {g.name: g.candidate for g in verdict.guards}
    return Stage(name, verdict.candidate, verdict.id, verdict.decision, scores, moved)


def _gate(client: Client, candidate: str) -> Verdict:
    job = client.gates.start(SUITE, candidate)
    while (job := client.gates.show(job.id)).status not in ("done", "failed", "cancelled"):
        time.sleep(POLL_SECONDS)
    if job.verdict is None:
        raise error_from_dict(job.error) if job.error else WindlassError(f"the gate was {job.status}")
    return job.verdict


def _ask(client: Client, say: Say) -> tuple[list[str], list[str]]:
    """Three questions to what is in production: their traces, and the answers."""
    say("", "asked in production")
    traces, answers = [], []
    for question in QUESTIONS:
        result = client.run(f"release/{RELEASE}:production", question)
        traces.append(result.trace)
        answers.append(result.text)
        say(f"  {question}", f"    [dim]{plain(result.text)}[/dim]")
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
