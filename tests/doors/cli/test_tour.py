"""The tour, from an empty folder to coverage restored: what it says is what happened, and cut off anywhere it goes on there."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.doors.cli.conftest import Shell

from windlass.core.operations import Operation
from windlass.core.operations.deploy import PROMOTE
from windlass.core.operations.grants import MAKE_GRANT
from windlass.core.operations.monitors import SET_MONITOR
from windlass.core.operations.reviews import ADD_REVIEWS, DECIDE
from windlass.core.operations.runs import RUN
from windlass.core.operations.sessions import SessionRun
from windlass.doors.cli import tour_agent, tour_skew
from windlass.doors.cli.tour import TourReport, walk
from windlass.doors.cli.tour_stage import ASKED, DATASET, EXAMPLE, RELEASE, SUITE, example
from windlass.doors.local import open_local
from windlass.sdk.client import Client
from windlass.sdk.transport import Answer, Transport

ASKERS = (tour_skew.BEFORE, tour_skew.DURING, tour_skew.AFTER)


# where walks are cut off, one after the other: at the n-th time this is asked; before the server gets it, or before its answer comes
CUTS = (
    (SET_MONITOR, 1, False),
    (RUN, 20, True),
    (ADD_REVIEWS, 1, True),
    (DECIDE, 10, False),
    (PROMOTE, 1, True),
    (RUN, 90, False),
    (MAKE_GRANT, 1, True),
)


class CutOff(Exception):
    pass


class Cut:
    """Passes on what is sent, up to where it is cut off."""

    def __init__(self, inner: Transport, operation: Operation[Any, Any], times: int, lost: bool) -> None:
        self.inner = inner
        self.address = inner.address
        self._path, self._left, self._lost = operation.path, times, lost

    def send(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: bytes = b"", kind: str = "application/json"
    ) -> Answer:
        self._left -= path == self._path
        if self._left == 0 and not self._lost:
            raise CutOff
        answer = self.inner.send(method, path, query=query, body=body, kind=kind)
        if self._left == 0:
            b"".join(answer.body)
            raise CutOff
        return answer

    def close(self) -> None:
        self.inner.close()


def toured(home: Path, said: list[str], *cut: Any) -> TourReport:
    """One walk on a data folder."""
    with open_local(home) as client:
        walker = Client(transport=Cut(client.transport, *cut)) if cut else client
        return walk(walker, lambda *texts: said.extend(texts), lambda path: f"<{path}>")


def state(client: Client) -> dict[str, Any]:
    """All that a walk makes, counted or named."""
    rows = list(client.datasets.all(DATASET))
    monitor = client.monitors.show(tour_skew.MONITOR)
    return {
        "asked": {who: Counter(t.input for t in _traces(client, who)) for who in (*ASKERS, "tour")},
        "rows": {row["key"]: row for row in rows},
        "versions": {kind: len(client.artifacts.list(kind, limit=200).items) for kind in ("dataset", "index", "release", "suite")},
        "moves": [m.after for m in client.releases.history(RELEASE).items],
        "verdicts": Counter(v.decision for v in client.gates.verdicts(SUITE, limit=200).items),
        "reviews": Counter(i.state for i in client.reviews.list(DATASET, limit=200).items),
        "looks": len(monitor.looks),
        "monitor": monitor.monitor,
        "grants": [(g.grant.task, g.state, g.denied, g.spent) for g in client.grants.list().items],
        "approvals": [(a.agent, a.state) for a in client.approvals.list(state="all").items],
        "agent": [(r.trace.input, [(c.name, c.decision, c.executed) for s in r.steps for c in s.calls]) for r in _agents_runs(client)],
        "events": [(e.event.id, e.event.kind, e.state) for e in client.alerts.events(limit=200).items],
    }


def _agents_runs(client: Client) -> Sequence[SessionRun]:
    return client.sessions.show(tour_agent.SESSION).runs


def _traces(client: Client, who: str) -> Iterator[Any]:
    page = client.traces.list(user=who, limit=200)
    yield from page.items
    while page.next:
        page = client.traces.list(user=who, limit=200, cursor=page.next)
        yield from page.items


@pytest.mark.soak  # `test_servers.py` has one that is cut off once
def test_a_tour_that_is_cut_off_again_and_again_comes_to_where_one_walk_comes_and_the_next_changes_nothing(shell: Shell) -> None:
    home = Path(shell.env["WINDLASS_HOME"])
    said: list[str] = []
    for number, cut in enumerate(CUTS):
        with pytest.raises(CutOff):
            toured(home, said, *cut)
        if number == 0:  # nothing was pushed since the version that got worse
            assert "was blocked" in shell("releases").stdout
    report = toured(home, said)
    with open_local(home) as client:
        came = state(client)
    asked, usual = tour_skew._asked(), tour_skew._usual()
    new = list(asked)[: tour_skew.NEW]
    expected = [usual[: tour_skew.USUAL], [*usual[tour_skew.USUAL :][: tour_skew.MIXED], *new], [*usual, *list(asked)[tour_skew.NEW :]]]
    for who, questions in zip(ASKERS, expected, strict=True):
        assert came["asked"][who] == Counter(questions), who  # each once, whatever was lost on the way
    made = {row["question"]: row for row in came["rows"].values() if row["topic"] == tour_skew.TOPIC}
    assert made.keys() <= set(new) and len(made) >= len(new) - 5  # but those that say what another says
    assert all(row["symbols"] == asked[q] and row["split"] == "test" and "review" in row["origin"] for q, row in made.items())
    assert came["reviews"] == {"kept": len(made)}
    assert len(came["moves"]) == 3 and came["verdicts"]["block"] == 1
    assert any("COVERED" in line or "TOO SMALL TO SAY" in line for line in said)
    assert any("acknowledged" in line for line in said)
    assert {kind for _, kind, _ in came["events"]} == {"skew", "topic", "approval"} and {how for *_, how in came["events"]} == {
        "acknowledged"
    }
    assert report.watched.after is not None and report.watched.after.counted == len(expected[2])
    assert report.watched.after.interval is not None and report.watched.after.interval.high < 0.25
    assert report.agented and (report.agented.refused, report.agented.granted, report.agented.asked) == ("deny", "allow", "allow")
    assert {"card.md", "bom.cdx.json", "openlineage.ndjson", "prov.json", "verdicts.json", "audit.json"} <= set(report.agented.evidence)
    assert [state for _, state, *_ in came["grants"]] == ["live"] and came["approvals"] == [(tour_agent.AGENT, "used")]
    ran = {question: [c for c in calls if c[0] == tour_agent.TOOL] for question, calls in came["agent"]}
    assert ran == {
        tour_agent.ALONE: [(tour_agent.TOOL, "deny", False)],
        tour_agent.GRANTED: [(tour_agent.TOOL, "allow", True)],
        tour_agent.ASKED: [(tour_agent.TOOL, "allow", True)],
    }
    again = toured(home, [])
    assert again.stages == [] and again.agented == report.agented and again.watched.after == report.watched.after
    with open_local(home) as client:
        assert state(client) == came


def test_the_change_for_databases_is_the_example_but_for_what_is_about_databases() -> None:
    """It is laid over as a whole file, so that what else the example becomes must be in it."""
    change = example(EXAMPLE) / "changes" / tour_skew.CHANGE
    before, after = ((folder / "app.py").read_text("utf-8").splitlines() for folder in (example(EXAMPLE), change))
    differ = [line for line in difflib.ndiff(before, after) if line[0] in "+-" and line[2:].strip()]
    gone = [line[2:].strip() for line in differ if line[0] == "-"]
    assert gone == [
        '"""Answer a question about the standard library, citing symbols."""',
        "return reply(question=question, passages=docs.search(question, k=10))",
    ]
    assert len(differ) < 25
    assert (change / ASKED).is_file()
