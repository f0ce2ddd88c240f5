"""The tour goes on: people begin to ask about databases, which the evaluation never had. The monitor alarms and names the topic, people
review what was asked, what they say becomes rows, and a version that is tested on them is let out. Then the monitor looks again.

Every step looks what of it was done, so that a tour that was cut off goes on there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from windlass.core.digest import short
from windlass.core.errors import WindlassError
from windlass.core.monitoring import Call, Look
from windlass.core.operations.evaluation import Evaluation
from windlass.core.operations.monitors import TopicSeen
from windlass.core.operations.registry import VersionSummary
from windlass.core.score import Interval, Verdict
from windlass.doors import format as words
from windlass.doors.cli.session import plain
from windlass.doors.cli.tour_stage import (
    ASKED,
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
    example,
    stage,
)
from windlass.sdk.client import Client
from windlass.sdk.pulling import pull_rows

MONITOR = "questions"
CHANGE = "databases"
TOPIC = "databases"  # of the new rows, as a person calls it
BEFORE, DURING, AFTER = "tour: usual", "tour: databases", "tour: afterwards"  # who asks: by this a tour knows what it asked
USUAL, MIXED, NEW = 60, 40, 50  # usual questions first; usual ones while those on databases come up, and of these how many
SHOWN = 3  # exemplars
RIGHT = "right_symbol"
LOOKS = 50  # until all that was asked is seen: a run is acknowledged before it stands in the tables

Asked = dict[str, list[str]]  # question → the symbols that answer it


class Seen(msgspec.Struct):
    """What a monitor said. `uncovered` is the share unlike anything evaluated, with its interval."""

    call: Call
    sentence: str
    counted: int
    uncovered: float | None
    interval: Interval | None


class Watched(msgspec.Struct):
    """What the monitor said when databases came up (None when that was an earlier tour's) and what it says after the release."""

    alarm: Seen | None = None
    topic: str | None = None
    rows: int = 0  # that people made of it
    after: Seen | None = None


def go_on(client: Client, say: Say, link: Link, workspace: Path, released: bool) -> tuple[Stage | None, Watched]:
    """From the release on. `released`: the version for databases is in production already."""
    asked, usual = _asked(), _usual()
    watched, made = Watched(), None
    if not released:
        watched = _alarm(client, say, link, asked, usual)
        watched.rows = _review(client, say, link, asked, watched.topic)
        _pull(client, say, link, workspace, watched.rows)
        before = _evaluated(client, say, link, workspace, asked)
        made = _changed(client, say, link, workspace, asked, before)
    if released or (made and made.moved):
        watched.after = _restored(client, say, link, asked, usual, watched.alarm)
    return made, watched


def _asked() -> Asked:
    """Questions on databases that come up, with what is right."""
    lines = (example(EXAMPLE) / "changes" / CHANGE / ASKED).read_text("utf-8").splitlines()
    return {row["question"]: row["symbols"] for row in map(json.loads, lines)}


def _usual() -> list[str]:
    """Questions like those that were evaluated, which were not: the rows of the other split. By the last digit of their keys, since the
    file has them topic by topic."""
    lines = (example(EXAMPLE) / "data" / f"{DATASET}.jsonl").read_text("utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["split"] == "dev"]
    return [row["question"] for row in sorted(rows, key=lambda row: str(row["key"])[::-1])]


def _mixed(usual: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    """Both, evenly."""
    done = 0
    for place in range(1, len(usual) + len(new) + 1):
        if done < len(new) * place // (len(usual) + len(new)):
            yield new[done]
            done += 1
        else:
            yield usual[place - 1 - done]


def _ask(client: Client, who: str, questions: Sequence[str]) -> None:
    """Ask production what of this it was not asked yet."""
    known = asked_by(client, who)
    for question in questions:
        if question not in known:
            client.run(f"release/{RELEASE}:production", question, user=who)


def _look(client: Client, asked: int) -> Look:
    """What the monitor says once it has seen all that was asked since the last release."""
    released = _released_ns(client)
    state = client.monitors.show(MONITOR).monitor
    for _ in range(LOOKS):
        if state.look and state.look.seen >= asked and (state.since_ns or 0) > released:
            return state.look
        time.sleep(POLL_SECONDS)
        state = client.monitors.look(MONITOR)
    raise WindlassError(f"the monitor has not seen all {asked} questions that were asked", remedy="windlass status says how processes do")


def _seen(look: Look) -> Seen:
    covered = look.coverage
    return Seen(look.call, look.sentence, look.counted, covered.uncovered if covered else None, covered.interval if covered else None)


def _share(seen: Seen) -> str:
    """How much is uncovered, with its interval."""
    if seen.uncovered is None or seen.interval is None:
        return "how much of production is unlike the evaluation is unmeasured"
    between = f"{words.percent(seen.interval.low)} to {words.percent(seen.interval.high)}"
    return f"unlike anything evaluated: {words.percent(seen.uncovered)} of production ({between})"


def _alarm(client: Client, say: Say, link: Link, asked: Asked, usual: Sequence[str]) -> Watched:
    """A monitor; usual questions; then others."""
    page = link(f"/monitors/{MONITOR}")
    say("", f"[bold]monitor[/bold]  from now on what production is asked is held against the rows that let it out   {page}")
    if MONITOR not in [m.name for m in client.monitors.list(limit=200).items]:
        client.monitors.set(MONITOR, SUITE)
    _ask(client, BEFORE, usual[:USUAL])
    before = len(QUESTIONS) + USUAL
    first = _seen(_look(client, before))
    say(f"  {before} usual questions: [bold]{first.call}[/bold]; {_share(first)}")
    new = list(asked)[:NEW]
    _ask(client, DURING, [*_mixed(usual[USUAL : USUAL + MIXED], new)])
    seen = _seen(_look(client, before + MIXED + NEW))
    say(f"  then {MIXED} more, mixed with {NEW} about databases, which the evaluation hardly has:")
    say(f"  [bold]{seen.call.upper()}[/bold]  {plain(seen.sentence)}", f"  {_share(seen)}")
    topics = [t for t in client.monitors.show(MONITOR).topics if t.topic.tier == "confirmed"]
    for topic in topics[:1]:
        _tell_topic(say, topic)
    return Watched(seen, topics[0].topic.name if topics else None)


def _tell_topic(say: Say, seen: TopicSeen) -> None:
    t = seen.topic
    between = f"{words.percent(t.share_interval.low)} to {words.percent(t.share_interval.high)}"
    say(f"  a new topic, named by its words: [bold]{plain(t.name)}[/bold], {words.percent(t.share)} of what is asked ({between}), such as")
    for one in seen.exemplars[:SHOWN]:
        say(f"    [dim]{plain(one.text)}[/dim]")


def _review(client: Client, say: Say, link: Link, asked: Asked, topic: str | None) -> int:
    """The topic's questions go to people, who say what would have been right; what they decide becomes rows."""
    if DATASET not in [q.name for q in client.reviews.queues(limit=200).queues]:
        traces = [trace.trace_id for question, trace in asked_by(client, DURING).items() if question in asked]
        suggested = {"split": "test", "topic": TOPIC}
        client.reviews.add(DATASET, traces, reason=f"new topic: {topic or TOPIC}", suggested=suggested)
    for item in client.reviews.list(DATASET, state="todo", limit=200).items:
        if item.question in asked:
            client.reviews.decide(item.id, {"split": "test", "topic": TOPIC, "symbols": asked[item.question]})
    client.reviews.keep(DATASET, "asked about databases, reviewed")
    rows = len(_keys(client, asked))
    page = link(f"/reviews/{DATASET}")
    told = f"people, played by this tour, say of {rows} of them what would have been right, and that they are for testing"
    say("", f"[bold]review[/bold]  {told}   {page}")
    if twins := NEW - rows:
        say(f"  [dim]{twins} more ask nearly what another asks and make no row[/dim]")
    return rows


def _keys(client: Client, asked: Asked) -> set[str]:
    """The rows that were made of these questions."""
    return {row["key"] for row in client.datasets.all(DATASET) if row["question"] in asked and "origin" in row}


def _pull(client: Client, say: Say, link: Link, workspace: Path, rows: int) -> None:
    """Bring the rows into the workspace's file."""
    newest, before = client.versions.list(f"dataset/{DATASET}", limit=2).items
    pulled = pull_rows(client, workspace, DATASET, force=True)
    page = link(f"/datasets/dataset/{DATASET}/diff?a={_ref(before)}&b={_ref(newest)}")
    say(f"  dataset/{DATASET}: {pulled.count} rows with these {rows}; the file in git has them too   {page}")


def _ref(version: VersionSummary) -> str:
    return f"dataset/{DATASET}@{short(version.digest)}"


def _evaluated(client: Client, say: Say, link: Link, workspace: Path, asked: Asked) -> Evaluation:
    """How the version in production does on the new rows."""
    change(workspace, EXAMPLE, "better")  # what is in production, with the new rows
    client.push(workspace)
    found = client.evaluations.start(SUITE, f"release/{RELEASE}:production")
    while (found := client.evaluations.show(found.id)).status in ("queued", "running"):
        time.sleep(POLL_SECONDS)
    if found.status != "done":
        raise WindlassError(f"the evaluation was {found.status}: {found.error or 'it says no more'}")
    right, of = _right(client, found.id, _keys(client, asked))
    say("", f"[bold]evaluate[/bold]  what production runs, on all {found.rows} rows for testing   {link('/evaluations/' + found.id[-8:])}")
    say(f"  questions on databases: {right} of {of} right")
    return found


def _right(client: Client, evaluation: str, keys: set[str]) -> tuple[int, int]:
    """How many of these rows it got right, of how many that were measured."""
    page = client.evaluations.outcomes(evaluation, limit=200)
    outcomes = list(page.items)
    while page.next:
        page = client.evaluations.outcomes(evaluation, cursor=page.next, limit=200)
        outcomes += page.items
    values = [s.value for o in outcomes if o.row in keys for s in o.scores if s.evaluator == RIGHT and s.value is not None]
    return sum(v == 1 for v in values), len(values)


def _changed(client: Client, say: Say, link: Link, workspace: Path, asked: Asked, before: Evaluation) -> Stage:
    """A version for databases: through the gate, which judges by the new rows too."""
    change(workspace, EXAMPLE, CHANGE)
    what = "questions on databases are answered from an index of their own, with a glossary; all others as they were"
    made = stage(client, say, link, workspace, CHANGE, what)
    _tell_gain(client, say, client.gates.verdict(made.verdict), before, _keys(client, asked))
    return made


def _tell_gain(client: Client, say: Say, verdict: Verdict, before: Evaluation, keys: set[str]) -> None:
    say(f"  {verdict.identical} of {verdict.rows} rows ask the model the same as before, so they keep their answers")
    if verdict.candidate_evaluation:
        was, now = (_right(client, id, keys) for id in (before.id, verdict.candidate_evaluation))
        say(f"  questions on databases: {was[0]} → {now[0]} of {now[1]} right")


def _restored(client: Client, say: Say, link: Link, asked: Asked, usual: Sequence[str], alarm: Seen | None) -> Seen:
    """What production is asked from then on: usual questions, and about databases what nobody had asked yet."""
    new = list(asked)[NEW:]
    say("", f"[bold]watched again[/bold]  against the rows with the new ones: {len(usual)} usual questions, {len(new)} others on databases")
    _ask(client, AFTER, [*_mixed(usual, new)])
    seen = _seen(_look(client, len(usual) + len(new)))
    say(f"  [bold]{seen.call.upper()}[/bold]  {plain(seen.sentence)}")
    say(f"  {_share(seen)}; before: {words.percent(alarm.uncovered)}" if alarm else f"  {_share(seen)}")
    _acknowledge(client, say, link)
    say(f"  {link(f'/monitors/{MONITOR}')}   {link('/releases')}")
    return seen


def _acknowledge(client: Client, say: Say, link: Link) -> None:
    """What the monitor found before the release stands open until somebody says that they know."""
    found = client.alerts.events(state="open", monitor=MONITOR, limit=200).items
    answered = [one.event for one in found if one.last_ns < _released_ns(client)]
    for event in answered:
        client.alerts.acknowledge(event.id, "its questions were reviewed, and a version that is tested on them was released")
    if answered:
        titles = "; ".join(plain(event.title) for event in answered)
        say(f"  the events this answers are acknowledged: {titles}   {link('/alerts')}")


def _released_ns(client: Client) -> int:
    return client.releases.history(RELEASE, "production", limit=1).items[0].at_ns
