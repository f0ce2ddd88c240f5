"""History of Langfuse, whose server needs more than a test has: answers are scripted, and held against the models of its own SDK where that
is installed (`.sdks/python`). Those of Langfuse 3 are written by its published description (fern/apis/server/definition/commons.yml)."""

from __future__ import annotations

import base64
import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from tests.sdk.importing.served import Asked, Told, served, told

from windlass.core.errors import NotFound, Unauthenticated
from windlass.core.operations.traces import Trace
from windlass.core.span import kind_of
from windlass.sdk.client import Client
from windlass.sdk.importing import langfuse
from windlass.sdk.importing.bring import Brought, bring, source_of

KEYS = {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY": "sk-lf-secret-0123456789"}
SDK = Path(__file__).parents[3] / ".sdks/python/bin/python"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
PROJECT = {"id": "p1", "name": "shop"}
TRACES = 5
OLD_TRACE = "4a25b7dc-9926-4999-a00c-24db2ded00d8"  # as SDKs of before OpenTelemetry made them


def _at(seconds: float) -> str:
    return (BEGAN + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _trace_id(number: int) -> str:
    return OLD_TRACE if number == 0 else f"{number:032x}"


def _observations() -> list[dict[str, Any]]:
    """As the list tells them, the newest first: of each trace an agent with a generation in it."""
    found = []
    for number in range(TRACES):
        trace, start = _trace_id(number), number * 100
        shared = {
            "traceId": trace, "projectId": "p1", "environment": "production", "userId": "ann", "sessionId": f"s{number % 2}",
            "bookmarked": False, "public": False, "version": "2", "createdAt": _at(start), "updatedAt": _at(start), "promptId": None,
            "traceName": "answer", "tags": ["north"], "release": "r1", "modelId": None, "inputPrice": None, "outputPrice": None,
            "totalPrice": None,
        }  # fmt: skip
        found.append(shared | {
            "id": f"a{number:015x}", "type": "AGENT", "name": "answer", "startTime": _at(start), "endTime": _at(start + 5),
            "parentObservationId": None, "isRootObservation": True, "level": "ERROR" if number == 3 else "DEFAULT",
            "statusMessage": "no such order" if number == 3 else None, "input": f"question {number}", "output": "the answer",
            "metadata": {"order": "7", "long": "x" * 200} if number == 1 else {}, "usageDetails": {}, "costDetails": {},
        })  # fmt: skip
        found.append(shared | {
            "id": f"c{number:015x}", "type": "GENERATION", "name": "chat", "startTime": _at(start + 1), "endTime": _at(start + 4),
            "parentObservationId": f"a{number:015x}", "isRootObservation": False, "level": "DEFAULT", "statusMessage": None,
            "input": '[{"role":"user","content":"@@@langfuseMedia:type=image/png|id=1|source=base64@@@"}]' if number == 2 else "[]",
            "output": '{"role":"assistant","content":"the answer"}', "metadata": {}, "providedModelName": "gpt-5-mini",
            "model": "gpt-5-mini", "modelParameters": {"temperature": 0.5}, "promptName": "greeting", "promptVersion": 3,
            "usageDetails": {"input": 25, "input_cached_tokens": 5, "output": 12, "total": 42},
            "costDetails": {"input": 0.001, "output": 0.002, "total": 0.003}, "totalCost": 0.003, "completionStartTime": _at(start + 2),
        })  # fmt: skip
    return sorted(found, key=lambda o: str(o["startTime"]), reverse=True)


def _score(number: int, name: str, value: Any, form: str, **more: Any) -> dict[str, Any]:
    at = _at(50 + number)
    subject = {"kind": "trace", "id": _trace_id(1)}
    return {
        "id": f"score-{number}", "projectId": "p1", "name": name, "value": value, "dataType": form, "source": "API", "timestamp": at,
        "environment": "production", "createdAt": at, "updatedAt": at, "comment": None, "configId": None, "metadata": {},
        "authorUserId": None, "queueId": None, "subject": subject, **more,
    }  # fmt: skip


SCORES = [
    _score(7, "run", 1.0, "NUMERIC", subject={"kind": "experiment", "id": "run-1"}),
    _score(6, "settled", True, "BOOLEAN", subject={"kind": "session", "id": "s1"}),
    _score(
        5, "faithful", 0.75, "NUMERIC", source="EVAL", subject={"kind": "observation", "id": "c" + "0" * 14 + "1", "traceId": _trace_id(1)}
    ),
    _score(4, "output", "It is 7.", "CORRECTION", source="ANNOTATION", authorUserId="ann"),
    _score(3, "note", "says when", "TEXT"),
    _score(2, "tone", "plain", "CATEGORICAL"),
    _score(1, "helpful", True, "BOOLEAN", comment="good"),
]


CHAT = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Greet {{name}} and {{ other }}."}]
PROMPTS: dict[str, dict[int, Any]] = {
    "greeting": {1: "Hello {{name}}", 2: "Good day {{ name }}", 3: CHAT}, "Two Words": {1: "x"}, "clever": {1: "{% if x %}y{% endif %}"},
    "held": {1: [{"type": "placeholder", "name": "history"}]},
}  # fmt: skip


class Server:
    """One of Langfuse 4, or with `old` of Langfuse 3."""

    def __init__(self, old: bool = False) -> None:
        self.old = old
        self.asked: list[Asked] = []
        self.observations, self.scores = _observations(), SCORES
        self.prompts: dict[str, dict[int, Any]] = {name: dict(prompts) for name, prompts in PROMPTS.items()}

    def __call__(self, asked: Asked) -> Told:
        self.asked.append(asked)
        expected = base64.b64encode(f"{KEYS['LANGFUSE_PUBLIC_KEY']}:{KEYS['LANGFUSE_SECRET_KEY']}".encode()).decode()
        if asked.path == "/api/public/health":
            return told({"status": "OK", "version": "3.170.0" if self.old else "4.2.0"})
        if asked.headers.get("authorization") != f"Basic {expected}":
            return told({"message": "Invalid credentials"}, 401)
        query = dict(asked.query)
        if asked.path == "/api/public/projects":
            return told({"data": [PROJECT]})
        if asked.path.startswith("/api/public/v2/prompts"):
            return self._prompts(asked, query)
        if self.old:
            return self._old(asked, query)
        if asked.path == "/api/public/v2/observations":
            return told(page_of(self.observations, query, "startTime", "fromStartTime", "toStartTime"))
        if asked.path == "/api/public/v3/scores":
            return told(page_of(self.scores, query, "timestamp", "fromTimestamp", "toTimestamp"))
        return told({"message": "not found"}, 404)

    def _prompts(self, asked: Asked, query: dict[str, str]) -> Told:
        name = unquote(asked.path.removeprefix("/api/public/v2/prompts").strip("/"))
        if name:
            prompt = self.prompts[name][int(query["version"])]
            more = {"labels": [], "tags": [], "config": {"temperature": 0.5}, "commitMessage": "kinder", "resolutionGraph": None}
            form = "chat" if isinstance(prompt, list) else "text"
            return told({"name": name, "version": int(query["version"]), "type": form, "prompt": prompt, **more})
        names = sorted(self.prompts)  # one a page
        at, shared = int(query["page"]) - 1, {"labels": [], "tags": [], "lastUpdatedAt": _at(0), "lastConfig": {}}
        data = [shared | {"name": n, "type": "text", "versions": sorted(self.prompts[n], reverse=True)} for n in names[at : at + 1]]
        return told({"data": data, "meta": {"page": at + 1, "limit": 1, "totalItems": len(names), "totalPages": len(names)}})

    def _old(self, asked: Asked, query: dict[str, str]) -> Told:
        if asked.path == "/api/public/traces":
            found = [t for t in map(_old_trace, range(TRACES)) if t["timestamp"] >= query.get("fromTimestamp", "")]
            size, number = int(query["limit"]), int(query["page"])
            meta = {"page": number, "limit": size, "totalItems": len(found), "totalPages": -(-len(found) // size)}
            return told({"data": found[size * (number - 1) : size * number], "meta": meta})
        for number in range(TRACES):
            if asked.path == f"/api/public/traces/{_trace_id(number)}":
                return told(_old_trace(number) | {"observations": _old_observations(number), "scores": _old_scores(number)})
        return told({"message": "not available"}, 404)


def page_of(found: list[dict[str, Any]], query: dict[str, str], time: str, since: str, until: str) -> dict[str, Any]:
    fits = [o for o in found if query.get(since, "") <= o[time] < query.get(until, "9")]
    start, size = int(query.get("cursor", "0")), int(query["limit"])
    more = start + size < len(fits)
    return {"data": fits[start : start + size], "meta": {"limit": size, **({"cursor": str(start + size)} if more else {})}}


def _old_trace(number: int) -> dict[str, Any]:
    return {
        "id": _trace_id(number), "timestamp": _at(number * 100), "name": "answer", "input": {"q": f"question {number}"}, "output": "done",
        "sessionId": f"s{number % 2}", "release": None, "version": None, "userId": "ann", "metadata": None, "tags": ["north"],
        "public": False, "environment": "default", "htmlPath": "/x", "latency": 5.0, "totalCost": 0.003, "observations": [], "scores": [],
    }  # fmt: skip


def _old_observations(number: int) -> list[dict[str, Any]]:
    """The first trace has several outermost ones, as with SDKs of before."""
    both = [o for o in _observations() if o["traceId"] == _trace_id(number)]
    return [o | {"parentObservationId": None} for o in both] if number == 0 else both


def _old_scores(number: int) -> list[dict[str, Any]]:
    if number != 1:
        return []
    more = {"source": "API", "timestamp": _at(60), "comment": None, "traceId": _trace_id(1), "observationId": None}
    return [
        {"id": "1", "name": "helpful", "value": 1, "stringValue": "True", "dataType": "BOOLEAN", **more},
        {"id": "2", "name": "tone", "value": 0, "stringValue": "plain", "dataType": "CATEGORICAL", **more},
    ]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in (("OBSERVATIONS", 4), ("SCORES", 3), ("TRACES", 2)):
        monkeypatch.setattr(langfuse, name, size)


def _bring(client: Client, address: str, folder: Path, **more: Any) -> Brought:
    return bring(client, source_of("langfuse", address, KEYS), address, folder=folder, **more)


def _found(client: Client) -> list[Trace]:
    return [client.traces.show(t.trace_id) for t in reversed(client.traces.list(limit=200).items)]


def test_observations_and_scores_of_today(client: Client, tmp_path: Path) -> None:
    server, folder = Server(), tmp_path / "imports"
    with served(server) as address:
        done = _bring(client, address, folder)
        again = [_bring(client, address, folder, again=whole) for whole in (False, True)]
    assert (done.version, done.traces, done.spans, done.scores, done.projects) == ("4.2.0", TRACES, 2 * TRACES, 6, {"shop": TRACES})
    assert (again[0].spans, again[0].scores, again[0].went_on) == (0, 0, True) and again[1].spans == 2 * TRACES
    assert {(n.what, n.count) for n in done.left} == {
        ("prompts", 1), ("scores", 1), ("observations' metadata", 1), ("observations' media", 1),
    }  # fmt: skip
    found = _found(client)
    assert [t.summary.trace_id for t in found] == [OLD_TRACE.replace("-", ""), *[_trace_id(n) for n in range(1, TRACES)]]
    assert [t.summary.input for t in found] == [f"question {n}" for n in range(TRACES)] and found[3].summary.status == "error"
    assert {(t.summary.session, t.summary.user) for t in found} == {("s0", "ann"), ("s1", "ann")}
    for trace in found:
        root, chat = sorted((s for s in trace.spans if "gen_ai.evaluation.name" not in s.attributes), key=lambda s: s.start_ns)
        assert (kind_of(root), kind_of(chat), chat.parent) == ("agent", "model", root.span_id)
        assert (trace.summary.tokens, trace.summary.cost) == (42, 0.003)
        assert (chat.attributes["langfuse.observation.prompt.name"], root.attributes["langfuse.trace.tags"]) == ("greeting", ["north"])
        assert chat.end_ns - chat.start_ns == 3 * 10**9
    said = {s.name: (s.value, s.comment, s.session) for t in found for s in t.scores}
    assert said == {
        "helpful": (True, "good\n\n(api)", None), "tone": ("plain", "(api)", None), "note": (None, "says when\n\n(api)", None),
        "output": (None, "It is 7.\n\n(human ann)", None), "faithful": (0.75, "(judge)", None), "settled": (True, "(api)", "s1"),
    }  # fmt: skip
    lines = client.traces.ledger(0).items
    assert sum(line.indexed for line in lines) == 2 * TRACES + 6 and not any(line.missing for line in lines), "nothing is there twice"
    assert {one.verb for one in server.asked} == {"GET"}


def test_prompts_are_versions_in_their_order_and_spans_name_them(client: Client, tmp_path: Path) -> None:
    server, folder = Server(), tmp_path / "imports"
    with served(server) as address:
        dry = _bring(client, address, folder, dry=True)
        assert (dry.prompts, client.artifacts.list("prompt").items) == (3, ())
        done = _bring(client, address, folder)
        server.prompts["greeting"][4] = "Hi {{name}}"
        more, nothing = (_bring(client, address, folder) for _ in range(2))
        server.prompts["greeting"] = {1: "Another {{name}}"}
        other = _bring(client, address, folder)
    assert (done.prompts, more.prompts, nothing.prompts, other.prompts) == (3, 1, 0, 0)
    assert {n.why[:30] for n in done.left if n.what == "prompts"} == {
        "their names have other letters", "they have more in their texts ", "they have placeholders, or mes",
    }  # fmt: skip
    assert "a prompt of that name is here already, and says something else" in {n.why for n in other.left}
    found = [client.prompts.get("greeting", number=number) for number in (1, 2, 3, 4)]
    assert [[(m.role, m.text) for m in f.body.messages] for f in found] == [
        [("user", "Hello {{name}}")], [("user", "Good day {{ name }}")], [(m["role"], m["content"]) for m in CHAT],
        [("user", "Hi {{name}}")],
    ]  # fmt: skip
    assert (found[2].body.inputs, found[2].body.parameters) == ({"name": {}, "other": {}}, {"temperature": 0.5})
    notes = {v.digest: v.note for v in client.versions.list("prompt/greeting").items}
    assert notes[found[1].ref.partition("@")[2]] == "version 2 in Langfuse: kinder"
    assert len(client.traces.list(filter=f"uses:{found[2].ref}").items) == TRACES
    assert client.traces.list(filter=f"uses:{found[1].ref}").items == ()


def test_a_prompt_of_which_two_versions_say_the_same_says_so(client: Client, tmp_path: Path) -> None:
    server = Server()
    server.prompts = {"greeting": {1: "a", 3: "b", 4: "a"}}
    with served(server) as address:
        done = _bring(client, address, tmp_path / "imports")
    assert (done.prompts, {(n.what, n.count) for n in done.left if "prompt" in n.what}) == (2, {("prompts' numbers", 1)})
    assert len(client.traces.list(filter=f"uses:{client.prompts.get('greeting', number=2).ref}").items) == TRACES, "theirs is 3"


def test_a_reading_that_is_cut_off_goes_on_and_then_reads_what_came_since(client: Client, tmp_path: Path) -> None:
    server = Server()

    def breaking(asked: Asked) -> Told:
        return told({}, 401) if dict(asked.query).get("cursor") == "8" else server(asked)

    folder = tmp_path / "imports"
    with served(breaking) as address, pytest.raises(Unauthenticated):
        _bring(client, address, folder)
    # the same address, where it answers again: its marks are told to go on by hand, since a port is not given twice
    (file,) = folder.glob("*.json")
    marks = json.loads(file.read_bytes())["marks"]
    assert marks["observations"]["cursor"] == "8"
    server.asked.clear()
    with served(server) as address:
        pages = list(source_of("langfuse", address, KEYS).pages(marks, 0, None))
    assert sum(len(page.spans) for page in pages) == 2 and set(pages[-1].marks["observations"]) == {"done"}
    assert [dict(one.query).get("cursor") for one in server.asked if one.path.endswith("observations")] == [None, "8", None]


def test_traces_of_langfuse_3(client: Client, tmp_path: Path) -> None:
    server, folder = Server(old=True), tmp_path / "imports"
    with served(server) as address:
        done = _bring(client, address, folder)
        server.asked.clear()
        more = _bring(client, address, folder)
    assert (done.traces, done.spans, done.scores) == (TRACES, 2 * TRACES + 1, 2)
    assert more.traces == 1 and sum("/traces/" in one.path for one in server.asked) == 1, "only the newest is asked for again"
    assert not [n for n in done.left if n.what == "observations' metadata"], "here it is whole"
    found = _found(client)
    assert [t.summary.name for t in found] == ["answer"] * TRACES and found[0].summary.input == "question 0"
    first = sorted(found[0].spans, key=lambda s: (s.start_ns, s.parent is not None))
    assert len(first) == 3 and {s.parent for s in first[1:]} == {first[0].span_id}, "what has no outermost step is given one"
    assert found[1].summary.input == "question 1", "what the step says itself counts"
    assert {s.name: s.value for s in found[1].scores} == {"helpful": True, "tone": "plain"}
    assert (found[1].summary.session, found[1].summary.user, found[1].summary.tokens) == ("s1", "ann", 42)


def test_since_and_another_project(client: Client, tmp_path: Path) -> None:
    server = Server()
    since = int((BEGAN + timedelta(seconds=250)).timestamp() * 1e9)
    with served(server) as address:
        assert _bring(client, address, tmp_path / "imports", since_ns=since, dry=True).spans == 4
        with pytest.raises(NotFound, match="this key is of project 'shop'"):
            _bring(client, address, tmp_path / "imports", project="other")
        assert _bring(client, address, tmp_path / "imports", project="shop", dry=True).spans == 2 * TRACES


def test_no_key(client: Client, tmp_path: Path) -> None:
    with served(Server()) as address, pytest.raises(Unauthenticated, match="LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY"):
        bring(client, source_of("langfuse", address, {}), address, folder=tmp_path / "imports")


@pytest.mark.skipif(not SDK.exists(), reason="no .sdks/python: make .stamps/sdks installs it")
def test_what_is_scripted_is_what_its_sdk_reads() -> None:
    asked = {"limit": "100"}
    observations = page_of(_observations(), asked, "startTime", "fromStartTime", "toStartTime")
    scores = page_of(SCORES, asked, "timestamp", "fromTimestamp", "toTimestamp")
    script = (
        "import json, sys\n"
        "from langfuse.api.observations.types.observations_v2response import ObservationsV2Response\n"
        "from langfuse.api.scores.types.get_scores_v3response import GetScoresV3Response\n"
        "from langfuse.api.core.pydantic_utilities import parse_obj_as\n"
        "told = json.load(sys.stdin)\n"
        "first = parse_obj_as(ObservationsV2Response, told[0]).data[0]\n"
        "kinds = [type(s).__name__ + ' ' + s.subject.kind for s in parse_obj_as(GetScoresV3Response, told[1]).data]\n"
        "print(json.dumps([first.trace_id, first.usage_details, first.model, kinds]))\n"
    )
    given = json.dumps([observations, scores])
    done = subprocess.run([SDK, "-c", script], input=given, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    trace, usage, model, kinds = json.loads(done.stdout)
    assert (trace, usage["total"], model) == (_trace_id(TRACES - 1), 42, "gpt-5-mini") and len(kinds) == len(SCORES)
