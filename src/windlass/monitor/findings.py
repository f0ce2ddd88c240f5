"""What of a look is told to people: what it says that the look before did not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from windlass.core.operations.alerts import Event
from windlass.core.operations.monitors import MonitorState, TopicSeen
from windlass.core.score import in_percent


def found_events(
    project: str, before: MonitorState, after: MonitorState, known: Sequence[TopicSeen], topics: Sequence[TopicSeen]
) -> list[Event]:
    """Events of one look. `known` are the topics of the look before."""
    shared = {"project": project, "monitor": after.name, "path": f"/monitors/{after.name}"}
    found = [*_problem(before, after, shared), *_skew(before, after, shared)]
    if not after.problem:
        found += [*_new_topics(after, known, topics, shared), *_judges(before, after, shared)]
    return found


def _problem(before: MonitorState, after: MonitorState, shared: dict[str, Any]) -> Iterator[Event]:
    said = _said(after)
    if said and said != _said(before):
        yield Event(**shared, kind="monitor", severity="warning", title=f"{after.name} cannot look", sentence=said)


def _said(state: MonitorState) -> str:
    return str(state.problem["error"]["message"]) if state.problem else ""


def _skew(before: MonitorState, after: MonitorState, shared: dict[str, Any]) -> Iterator[Event]:
    look, was = after.look, before.look if before.since_ns == after.since_ns else None
    if look is None or after.problem:
        return
    facts: dict[str, Any] = {"counted": look.counted, "alpha": look.alpha}
    if look.coverage:
        facts |= {"uncovered": look.coverage.uncovered, "from": look.coverage.interval.low, "to": look.coverage.interval.high}
    if look.call == "skewed" and (was is None or was.call != "skewed"):
        title = f"{after.watched} is asked what was not evaluated"
        yield Event(**shared, kind="skew", severity="warning", title=title, sentence=look.sentence, facts=facts)
    elif look.call == "instrument changed" and (was is None or was.call != "instrument changed"):
        yield Event(**shared, kind="monitor", severity="warning", title=f"{after.name} cannot compare", sentence=look.sentence)
    elif _bare(after) and not (was and _bare(before)):
        between = f"Between {in_percent(facts['from'])} and {in_percent(facts['to'])} of what is asked is unlike anything evaluated"
        said = f"{between}; {in_percent(after.tolerance)} is tolerated."
        title = f"{after.watched} is covered less than is tolerated"
        yield Event(**shared, kind="coverage", severity="warning", title=title, sentence=said, facts=facts)


def _bare(state: MonitorState) -> bool:
    """Whether more is shown to be uncovered than is tolerated."""
    covered = state.look.coverage if state.look else None
    return covered is not None and covered.interval.low > state.tolerance


def _new_topics(after: MonitorState, known: Sequence[TopicSeen], topics: Sequence[TopicSeen], shared: dict[str, Any]) -> Iterator[Event]:
    names = {t.topic.name for t in known if t.topic.tier == "confirmed"}
    traces = {e.trace for t in known if t.topic.tier == "confirmed" for e in t.exemplars}
    for seen in topics:
        topic = seen.topic
        if topic.tier != "confirmed" or topic.name in names or traces & {e.trace for e in seen.exemplars}:
            continue  # a topic's words change as it grows; its exemplars hardly do
        asked = f" Such as: “{' '.join(seen.exemplars[0].text.split())[:200]}”" if seen.exemplars else ""
        low, high = topic.share_interval.low, topic.share_interval.high
        here = f"{in_percent(topic.share)} of what is asked is about {topic.name} ({in_percent(low)} to {in_percent(high)})"
        said = f"{here}; {in_percent(topic.evaluated_share)} of the evaluation.{asked}"
        facts = {"share": topic.share, "rows": topic.rows, "words": list(topic.words)}
        yield Event(
            **shared,
            kind="topic",
            severity="warning",
            key=topic.name,
            title=f"a new topic: {topic.name}",
            sentence=said,
            facts=facts,
        )


def _judges(before: MonitorState, after: MonitorState, shared: dict[str, Any]) -> Iterator[Event]:
    worse = {j.name for j in before.judges if j.worse}
    for judge in after.judges:
        if judge.worse and judge.name not in worse:
            facts = {"mean": judge.mean, "evaluated": judge.evaluated, "measured": judge.measured}
            title = f"{judge.name} fell in production"
            yield Event(**shared, kind="quality", severity="critical", key=judge.name, title=title, sentence=judge.sentence, facts=facts)
