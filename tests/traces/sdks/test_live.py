"""The SDKs themselves, unchanged, send to a running server, as their users would have them: told where it is and with which key. What
they tell is there afterwards: each span of `captured/*/facts.toml` where it belongs, and traces that sum up to what was called.

What `make .stamps/sdks` installs runs with the other tests, what `make .stamps/sdks-all` adds with `make soak`. Scripts run two at a time.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.doors.server import Server
from tests.traces.sdks import capture, model
from tests.traces.sdks.test_captured import CAPTURED
from tests.traces.test_mapping import read

from windlass.core.operations.traces import Trace
from windlass.core.span import GIVEN, LOG, Span
from windlass.sdk.client import Client
from windlass.sdk.transport import HttpTransport
from windlass.traces.mapping import PRICED

pytestmark = pytest.mark.slow
USUAL = ("python", "node")  # environments that `make test` installs
PATIENCE_SECONDS = 15.0
# dollars for a million tokens: asked, read from a cache, written to one, answered
PRICES = {
    "gpt-5-mini": (0.25, 0.025, 0.0, 2.0),
    "claude-sonnet-4-5": (3.0, 0.3, 3.75, 15.0),
    "text-embedding-3-small": (0.02, 0.0, 0.0, 0.0),
}
# what an SDK says of a trace beside its spans: session and user
TOLD = {"mlflow": ("s-1", "u-7")}
# what an SDK's script says of what it traced: name, value, comment, and the name of the step, where it is no root
SCORES: dict[str, set[tuple[Any, ...]]] = {
    "langfuse-python": {("helpful", 0.9, "says when", None), ("tone", "plain", "", None)},
    "langfuse-js": {("helpful", 0.9, "", None)},
    "opik": {("helpful", 0.9, "", None)},
    "mlflow": {("helpful", 0.9, "says when\n\n(code default)", None)},
}


class Told(NamedTuple):
    """What the server has after an SDK's script: spans in the order of facts, by their ids, and traces by theirs; scores beside them."""

    spans: list[Span]
    traces: dict[str, Trace]
    client: Client


def there(sdk: capture.Sdk) -> bool:
    return (capture.ROOT / ".sdks" / sdk.venv / ("bin/python" if sdk.script.endswith(".py") else "node_modules")).exists()


def cases(*troubles: dict[str, str]) -> list[Any]:
    made = []
    for name, sdk in capture.SDKS.items():
        target = ".stamps/sdks" if sdk.venv in USUAL else ".stamps/sdks-all"
        marks = [pytest.mark.skipif(not there(sdk), reason=f"there is no .sdks/{sdk.venv} here: make {target} installs it")]
        if sdk.venv not in USUAL:
            marks.append(pytest.mark.soak)
        marks += [pytest.mark.xfail(strict=True, reason=trouble[name]) for trouble in troubles if name in trouble]
        made.append(pytest.param(name, id=name, marks=marks))
    return made


class Live:
    """One server, and the scripts on their way to it; each SDK has a project of its own."""

    def __init__(self, home: Path, names: list[str]) -> None:
        self.server, self._models = Server(home / "data"), model.serve()
        self._pool, self._folder = ThreadPoolExecutor(2), home
        self._told: dict[str, Future[Told]] = {name: self._pool.submit(self._run, name) for name in names}

    def of(self, name: str) -> Told:
        return self._told[name].result()

    def _run(self, name: str) -> Told:
        sdk, folder = capture.SDKS[name], self._folder / name
        folder.mkdir()
        client = Client(transport=HttpTransport(self.server.address, self.server.token), project=name)
        key = client.keys.create("app").secret or ""
        models = f"http://127.0.0.1:{self._models.server_address[1]}"
        environ = capture.environment(sdk, self.server.address, models) | {"WINDLASS_KEY": key}
        done = subprocess.run(capture.command(sdk, folder), env=environ, cwd=folder, timeout=120, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return arrived(client, len(facts_of(name)))

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._models.shutdown()
        self.server.stop()


@pytest.fixture(scope="module")
def live(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    mine = [item for item in request.session.items if item.path == request.path]
    names = dict.fromkeys(item.callspec.params["name"] for item in mine)
    started = Live(tmp_path_factory.mktemp("live"), [name for name in names if there(capture.SDKS[name])])
    yield started
    started.close()


def arrived(client: Client, many: int) -> Told:
    """What came, once that many spans are to be seen; what there is where they do not come."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        listed = client.traces.list(limit=200).items
        if sum(trace.spans for trace in listed) >= many or time.monotonic() > end:
            traces = {trace.trace_id: client.traces.show(trace.trace_id) for trace in listed}
            spans = [span for trace in traces.values() for span in trace.spans if GIVEN not in span.attributes and span.kind != LOG]
            return Told(sorted(spans, key=lambda s: s.start_ns), traces, client)
        time.sleep(0.1)


def captured(name: str) -> Path:
    (folder,) = [folder for folder in CAPTURED if re.match(rf"{name}-\d+\.", folder.name)]
    return folder


def facts_of(name: str) -> list[dict[str, Any]]:
    """Of spans that are told in the end, numbered anew."""
    facts, seen = tomllib.loads((captured(name) / "facts.toml").read_text())["span"], Counter[str]()
    entries = json.loads((captured(name) / "requests.json").read_bytes())
    assert any(entry["signal"] == "traces" or "/v1/private/" in entry["path"] for entry in entries)
    kept = []
    for fact in facts:
        if not fact.get("superseded"):
            kept.append(fact | {"nth": seen[fact["name"]]})
            seen[fact["name"]] += 1
    return kept


def paths(spans: list[Any]) -> Counter[tuple[str, ...]]:
    """How often which names hang below which, from a root on; a parent that is not there is None."""
    known = {(s.trace_id, s.span_id): s for s in spans}

    def path(span: Any) -> tuple[str, ...]:
        if span.parent is None:
            return (span.name,)
        return (*path(known[span.trace_id, span.parent]), span.name)

    return Counter(path(span) for span in known.values())


def cost(fact: dict[str, Any]) -> float | None:
    """As it was told, or by the prices; None where tokens are not known, or who answered is known by an address alone."""
    if "cost" in fact or "input_tokens" not in fact or fact.get("provider") == "127.0.0.1":
        return fact.get("cost")
    asked, cached, written, answered = next(price for name, price in PRICES.items() if fact["model"].startswith(name))
    read, wrote = fact.get("cached_tokens", 0), fact.get("cache_write_tokens", 0)
    plain = fact["input_tokens"] - read - wrote
    return (plain * asked + read * cached + wrote * written + fact.get("output_tokens", 0) * answered) / 1e6


def total(found: list[Any]) -> Any:
    known = [value for value in found if value is not None]
    return sum(known) if known else None


def by_trace(name: str, told: Told) -> dict[str, list[tuple[Span, dict[str, Any]]]]:
    seen: Counter[str] = Counter()
    facts = {(fact["name"], fact["nth"]): fact for fact in facts_of(name)}
    found: dict[str, list[tuple[Span, dict[str, Any]]]] = {}
    for span in told.spans:
        found.setdefault(span.trace_id, []).append((span, facts[span.name, seen[span.name]]))
        seen[span.name] += 1
    return found


@pytest.mark.parametrize("name", cases())
def test_every_span_is_there_where_it_belongs(live: Live, name: str) -> None:
    told = live.of(name)
    assert Counter(span.name for span in told.spans) == Counter(fact["name"] for fact in facts_of(name))
    assert paths(told.spans) == paths(sorted(read(captured(name)), key=lambda row: row.receipt_ns))


@pytest.mark.parametrize("name", cases())
def test_traces_sum_up_to_what_was_called(live: Live, name: str) -> None:
    told = live.of(name)
    found, listed = by_trace(name, told), {trace.trace_id: trace for trace in told.client.traces.list(limit=200).items}
    sessions: dict[str, list[Any]] = {}
    assert found
    for trace, pairs in found.items():
        shown, facts = told.traces[trace].summary, [fact for _, fact in pairs]
        calls = [fact for fact in facts if fact["kind"] in PRICED and not fact.get("again")]
        tokens = [fact.get(key) for fact in calls if fact["kind"] == "model" for key in ("input_tokens", "output_tokens")]
        (root,) = [span for span, _ in pairs if span.parent is None]
        assert listed[trace] == shown
        assert (shown.name, shown.spans, shown.tokens) == (root.name, len(pairs), total(tokens))
        costs = [cost(fact) for fact in calls]
        assert shown.cost == pytest.approx(total(costs))
        session, user = TOLD.get(name, (None, None))
        assert [shown.session] == list({fact["session"] for fact in facts if "session" in fact} or [session])
        assert [shown.user] == list({fact["user"] for fact in facts if "user" in fact} or [user])
        if shown.session:
            sessions.setdefault(shown.session, []).append(costs)
    for session in told.client.sessions.list().items:
        runs = sessions.pop(session.id)
        known = [c for costs in runs for c in costs]
        assert (session.runs, session.cost) == (len(runs), None if None in known else pytest.approx(sum(known)))
    assert not sessions


@pytest.mark.parametrize("name", [case for case in cases() if case.id in SCORES])
def test_what_was_said_of_it_is_told_and_shown(live: Live, name: str) -> None:
    told = live.of(name)
    names = {span.span_id: span.name for span in told.spans if span.parent is not None}
    given = {(s.name, s.value, s.comment, names.get(s.span or "")) for trace in told.traces.values() for s in trace.scores if s.given}
    assert given == SCORES[name]
    reader = told.client.keys.create("reader", role="viewer").secret
    with live.server.http(authorization=f"Bearer {reader}") as http:
        for trace, found in told.traces.items():
            page = http.get(f"/traces/{trace}").text
            assert all(f"<b>{score.name}</b>" in page and score.comment in page for score in found.scores)
