"""What the tour is walked with: a copy of the example, changes laid over it, and one version on its way through the gate."""

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
from windlass.core.operations.traces import TraceSummary
from windlass.core.score import Verdict
from windlass.doors import format as words
from windlass.doors.cli.session import plain
from windlass.sdk.client import Client

EXAMPLE = "helpdesk"
RELEASE, SUITE, DATASET = "answer", "answers", "questions"
ASKED = "asked.jsonl"  # what people come to ask, beside the files of a change that answers it
POLL_SECONDS = 0.2
QUESTIONS = {  # asked in production → what is right, as a person would say afterwards
    "How do I make my terminal program ask for a password without showing it?": ["getpass.getpass"],
    "How wide and tall is the terminal my program runs in?": ["shutil.get_terminal_size", "os.get_terminal_size"],
    "Who may park in the yard on Fridays?": [],
}

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
    ignored = shutil.ignore_patterns("__pycache__", ASKED)
    shutil.copytree(example(name) / "changes" / which, workspace, dirs_exist_ok=True, ignore=ignored)


def stage(client: Client, say: Say, link: Link, workspace: Path, name: str, what: str = "") -> Stage:
    """Push, gate, and promote what is let through. `what` says what is changed."""
    pushed, _ = client.push(workspace)
    changed = [c for c in pushed.changes if c.status != "unchanged"]
    release = next(c for c in pushed.changes if (c.kind, c.name) == ("release", RELEASE))
    told = f"{len(changed)} of {len(pushed.changes)} versions are new; release/{RELEASE}@{short(release.digest)}"
    say("", f"[bold]{name}[/bold]  pushed: {told}", *([f"  {what}"] if what else []))
    verdict = gated(client, f"release/{RELEASE}@{release.digest}")
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


def gated(client: Client, candidate: str) -> Verdict:
    job = client.gates.start(SUITE, candidate)
    while (job := client.gates.show(job.id)).status not in ("done", "failed", "cancelled"):
        time.sleep(POLL_SECONDS)
    if job.verdict is None:
        raise error_from_dict(job.error) if job.error else WindlassError(f"the gate was {job.status}")
    return job.verdict


def asked_by(client: Client, user: str) -> dict[str, TraceSummary]:
    """What somebody asked, with the trace of each question, oldest first."""
    page = client.traces.list(user=user, limit=200)
    found = list(page.items)
    while page.next:
        page = client.traces.list(user=user, limit=200, cursor=page.next)
        found += page.items
    return {trace.input: trace for trace in reversed(found)}
