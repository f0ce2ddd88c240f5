"""MLflow's own interface by its wire. What its SDK itself sends is in `tests/traces/sdks/test_live.py`; here are bytes that it sent."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.doors.odd import odd_ones
from tests.doors.server import Server, until

from windlass.core.ids import trace_id
from windlass.core.span import GIVEN, StoredSpan
from windlass.sdk.client import Client
from windlass.sdk.transport import HttpTransport

pytestmark = pytest.mark.slow
V2, V3 = "/api/2.0/mlflow", "/api/3.0/mlflow"
CAPTURED = Path(__file__).parents[1] / "traces" / "sdks" / "captured" / "mlflow-3.17.2"
SENT = sorted(CAPTURED.glob("*.otlp"))
INDEX = {entry["path"]: entry["file"] for entry in json.loads((CAPTURED / "requests.json").read_bytes())}
TOLD = json.loads((CAPTURED / INDEX["/api/3.0/mlflow/traces"]).read_bytes())
TRACE = TOLD["trace"]["trace_info"]["trace_id"]
IS_PROMPT = "mlflow.prompt.is_prompt"
PYTHON = Path(__file__).parents[2] / ".sdks" / "mlflow" / "bin" / "python"
WALK = """
import json, mlflow
from mlflow.entities import AssessmentSource, Feedback

mlflow.set_experiment("my shop")
mlflow.genai.register_prompt("answer", "Answer {{ question }}", commit_message="first", tags={"author": "ann"})
chat = [{"role": "system", "content": "Be {{ how }}"}, {"role": "user", "content": "{{question}}"}]
mlflow.genai.register_prompt("answer", chat, tags={"author": "ann"}, model_config={"temperature": 0.2})
mlflow.genai.set_prompt_alias("answer", alias="best", version=1)
told = {"prompts": [mlflow.genai.load_prompt(f"prompts:/answer{which}").version for which in ("@best", "@latest", "/2")]}
told["listed"] = [prompt.name for prompt in mlflow.genai.search_prompts()]


@mlflow.trace(span_type="TOOL")
def look(order):
    return {"found": order}


@mlflow.trace(name="answer", span_type="AGENT")
def answer(question):
    prompt = mlflow.genai.load_prompt("answer", version=2)
    about = {"mlflow.trace.session": "s-1", "mlflow.trace.user": "u-7", "team": "blue"}
    mlflow.update_current_trace(tags={"shop": "north", "late": "no"}, metadata=about)
    with mlflow.start_span("inner") as span:
        span.set_inputs({"question": question})
        span.set_outputs(prompt.format(how="kind", question=question))
        look(7)
    return "done"


answer("Where?")
mlflow.flush_trace_async_logging()
trace = mlflow.get_last_active_trace_id()
given = mlflow.log_feedback(trace_id=trace, name="helpful", value=True, rationale="says when", source=AssessmentSource("HUMAN", "ann"))
mlflow.log_expectation(trace_id=trace, name="expected", value={"a": 1})
stars = mlflow.log_feedback(trace_id=trace, name="stars", value=3)
mlflow.override_feedback(trace_id=trace, assessment_id=stars.assessment_id, value=5)
gone = mlflow.log_feedback(trace_id=trace, name="gone", value="x")
mlflow.delete_assessment(trace_id=trace, assessment_id=gone.assessment_id)
mlflow.update_assessment(trace_id=trace, assessment_id=given.assessment_id, assessment=Feedback(name="helpful", value=False))
mlflow.set_trace_tag(trace, "shop", "south")
mlflow.delete_trace_tag(trace, "late")
whole = mlflow.get_trace(trace)
told["tags"] = {key: value for key, value in whole.info.tags.items() if not key.startswith("mlflow.")}
told["session"], told["state"] = whole.info.trace_metadata["mlflow.trace.session"], str(whole.info.state)
told["spans"] = [[span.name, span.span_type, span.inputs, span.outputs] for span in whole.data.spans]
told["said"] = sorted([a.name, a.value, a.valid] for a in whole.info.assessments)
asked = "tags.shop = 'south' AND metadata.team = 'blue' AND name = 'answer' AND feedback.stars > 4"
told["found"] = [len(mlflow.search_traces(filter_string=filter, return_type="list")) for filter in (asked, "tags.shop = 'north'")]
told["experiments"] = [experiment.name for experiment in mlflow.search_experiments()]
try:
    mlflow.start_run()
except Exception as error:
    told["run"] = str(error)
print(json.dumps(told))
"""


class App(NamedTuple):
    """An application's way in, and the owner's to what came of it."""

    http: httpx2.Client
    client: Client

    def call(self, verb: str, path: str, status: int = 200, /, query: Any = None, **body: Any) -> Any:
        sent = {"json": body} if verb != "GET" else {}
        answer = self.http.request(verb, path, params=query, **sent)
        assert answer.status_code == status, answer.text
        return answer.json()

    def spans(self, file: Path) -> None:
        headers = {"content-type": "application/x-protobuf", "x-mlflow-experiment-id": "7", "x-mlflow-client-version": "3.17.2"}
        assert self.http.post("/v1/traces", content=file.read_bytes(), headers=headers).status_code == 200

    def start(self, trace: str, **more: Any) -> Any:
        info = {"trace_id": trace, "request_time": "2026-11-30T08:00:00.123Z", "state": "OK", **more}
        return self.call("POST", f"{V3}/traces", trace={"trace_info": info})["trace"]["trace_info"]

    def found(self, filter: str) -> int:
        return len(self.client.traces.list(filter=filter).items)

    def searched(self, filter: str, **more: Any) -> list[str]:
        return [t["trace_id"] for t in self.call("POST", f"{V3}/traces/search", filter=filter, **more).get("traces", [])]

    def assess(self, trace: str, name: str, **more: Any) -> Any:
        said = {"assessment_name": name, "source": {"source_type": "HUMAN", "source_id": "ann"}, **more}
        return self.call("POST", f"{V3}/traces/{trace}/assessments", assessment=said)["assessment"]

    def register(self, name: str, text: Any, note: str = "", status: int = 200, **tags: str) -> Any:
        chat = isinstance(text, list)
        tags |= {IS_PROMPT: "true", "_mlflow_prompt_type": "chat" if chat else "text"}
        tags["mlflow.prompt.text"] = json.dumps(text) if chat else text
        pairs = [{"key": k, "value": v} for k, v in tags.items()]
        told = self.call("POST", f"{V2}/model-versions/create", status, name=name, source="dummy-source", description=note, tags=pairs)
        return told["model_version"] if status == 200 else told


@pytest.fixture
def app(server: Server) -> Iterator[App]:
    client = Client(transport=HttpTransport(server.address, server.token), project=f"mlflow-{trace_id()[:8]}")
    with server.http(authorization=f"Bearer {client.keys.create('app', role='developer').secret}") as http:
        yield App(http, client)


def tags_of(told: Any) -> dict[str, str]:
    return {one["key"]: one["value"] for one in told["tags"]}


def new() -> str:
    return f"tr-{trace_id()}"


@pytest.mark.parametrize("order", ["info first", "info last"])
def test_what_the_sdk_says_of_a_trace_is_of_it_whenever_it_comes(app: App, order: str) -> None:
    told = [lambda: app.call("POST", f"{V3}/traces", **TOLD), *(lambda file=file: app.spans(file) for file in SENT)]
    for send in told if order == "info first" else reversed(told):
        send()
    app.call("POST", f"{V3}/traces", **TOLD)  # and again, as after a broken line
    (shown,) = app.client.traces.list().items
    sent = [s for file in SENT for s in spans_in(file)]
    first, last = min(s.start_time_unix_nano for s in sent), max(s.end_time_unix_nano for s in sent)
    assert (shown.name, shown.session, shown.user, shown.spans) == ("answer", "s-1", "u-7", len({s.span_id for s in sent}))
    assert (shown.start_ns, shown.duration_ns) == (first, last - first), "what is said of it makes it no longer, and no step of it"
    assert app.found("tag:shop=north") == app.found("resource.windlass.foreign.project:7") == 1 and not app.found("has:score")
    info = app.call("GET", f"{V3}/traces/{TRACE}")["trace"]["trace_info"]
    theirs = TOLD["trace"]["trace_info"]
    for field in ("request_time", "execution_duration", "state", "trace_metadata", "request_preview", "trace_location"):
        assert info[field] == theirs[field]
    assert theirs["tags"].items() <= info["tags"].items()
    assert info["tags"]["mlflow.trace.spansLocation"] == "TRACKING_STORE", "no file is looked for"


def spans_in(file: Path) -> list[Span]:
    request = ExportTraceServiceRequest.FromString(file.read_bytes())
    return [span for of in request.resource_spans for scope in of.scope_spans for span in scope.spans]


def test_steps_come_back_as_they_were_sent(app: App) -> None:
    for file in SENT:
        app.spans(file)
    (whole,) = app.call("GET", f"{V3}/traces/batchGet", query={"trace_ids": [TRACE, new()]})["traces"]
    assert whole == app.call("GET", f"{V3}/traces/get", query={"trace_id": TRACE})["trace"]
    back = {s.span_id: s for s in (json_format.ParseDict(one, Span()) for one in whole["spans"])}
    for span in (s for file in SENT for s in spans_in(file)):
        same, values = back.pop(span.span_id), {a.key: a.value for a in span.attributes}
        for field in ("name", "trace_id", "parent_span_id", "start_time_unix_nano", "end_time_unix_nano", "status"):
            assert getattr(same, field) == getattr(span, field)
        assert {a.key: plain(a.value) for a in same.attributes} == {key: plain(value) for key, value in values.items()}
    assert not back


def plain(value: Any) -> Any:
    """OTLP's value without its order, numbers as such."""
    match value.WhichOneof("value"):
        case "kvlist_value":
            return {pair.key: plain(pair.value) for pair in value.kvlist_value.values}
        case "array_value":
            return [plain(one) for one in value.array_value.values]
        case "int_value" | "double_value" as kind:
            return float(getattr(value, kind))
        case kind:
            return getattr(value, kind) if kind else None


def test_tags_are_set_changed_and_taken_away_before_and_after(app: App) -> None:
    trace, early = new(), new()
    app.start(trace, tags={"shop": "north", "late": "no"})
    for base, key, value in ((V2, "shop", "south"), (V3, "late", "yes"), (V2, "empty", "")):
        assert app.call("PATCH", f"{base}/traces/{trace}/tags", key=key, value=value) == {}
    assert app.call("DELETE", f"{V2}/traces/{trace}/tags", key="late") == {}
    tags = app.call("GET", f"{V3}/traces/{trace}")["trace"]["trace_info"]["tags"]
    assert (tags["shop"], tags["empty"], "late" in tags) == ("south", "", False)
    assert (app.found("tag:shop=south"), app.found("tag:shop=north"), app.found("tag:late=no")) == (1, 0, 0)
    app.call("PATCH", f"{V2}/traces/{early}/tags", key="shop", value="west")
    assert app.searched("tags.shop = 'west'") == [early], "before anything of the trace came"
    assert app.call("PATCH", f"{V2}/traces/{trace}/tags", 400, key="x")["error_code"] == "INVALID_PARAMETER_VALUE"


def test_a_trace_is_searched_in_their_words(app: App) -> None:
    one, two = new(), new()
    app.start(one, tags={"mlflow.traceName": "answer"}, trace_metadata={"team": "blue", "mlflow.trace.session": "s"}, state="OK")
    later = "2026-11-30T08:00:01.000Z"
    elsewhere = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "other"}}
    app.start(two, request_time=later, tags={"mlflow.traceName": "ask"}, trace_location=elsewhere)
    for filter, found in (
        ("name = 'answer'", [one]), ("metadata.team = 'blue'", [one]), ("metadata.`mlflow.trace.session` = 's'", [one]),
        ("timestamp_ms >= 1796025600500", [two]), ("timestamp_ms < 1796025600500", [one]), ("", [two, one]),
    ):  # fmt: skip
        assert app.searched(filter) == found, filter
    assert app.searched("", locations=[elsewhere]) == [two]
    assert app.searched("", locations=[{"mlflow_experiment": {"experiment_id": "0"}}]) == [one], "what names none is of the default"
    first = app.call("POST", f"{V3}/traces/search", max_results=1, order_by=["timestamp_ms DESC"])
    second = app.call("POST", f"{V3}/traces/search", max_results=1, page_token=first["next_page_token"])
    assert [t["trace_id"] for page in (first, second) for t in page["traces"]] == [two, one] and "next_page_token" not in second
    for wrong in (
        {"filter": "run_id = 'x'"},
        {"order_by": ["timestamp_ms ASC"]},
        {"max_results": "x"},
        {"locations": [{}]},
        {"page_token": ["x"]},
    ):
        said = app.call("POST", f"{V3}/traces/search", 400, **wrong)
        assert said["error_code"] == "INVALID_PARAMETER_VALUE" and next(iter(wrong)) in said["message"]


def test_feedback_is_a_score_and_is_told_again_as_it_was(app: App) -> None:
    trace, span = new(), "ab" * 8
    app.start(trace)
    helpful = app.assess(trace, "helpful", feedback={"value": True}, rationale="says when", metadata={"k": "v"})
    app.assess(trace, "stars", feedback={"value": 4}, span_id=span)
    app.assess(trace, "parts", feedback={"value": {"a": 1}})
    app.assess(trace, "broken", feedback={"error": {"error_code": "AWAY", "error_message": "the judge"}})
    app.assess(trace, "expected", expectation={"value": "shipped"})
    scores = {s.name: (s.value, s.span) for s in app.client.traces.show(trace[3:]).scores}
    assert scores == {
        "helpful": (True, None),
        "stars": (4.0, span),
        "parts": (None, None),
        "broken": (None, None),
        "expected": (None, None),
    }
    comments = {s.name: s.comment for s in app.client.traces.show(trace[3:]).scores}
    assert comments["helpful"] == "says when\n\n(human ann)" and comments["expected"] == "shipped\n\n(human ann)"
    assert '"a":1' in comments["parts"] and "the judge" in comments["broken"]
    told = {a["assessment_name"]: a for a in app.call("GET", f"{V3}/traces/{trace}")["trace"]["trace_info"]["assessments"]}
    assert told["helpful"] == helpful and helpful["metadata"] == {"k": "v"} and told["parts"]["feedback"] == {"value": {"a": 1}}
    one = f"{V3}/traces/{trace}/assessments/{helpful['assessment_id']}"
    assert app.call("GET", one)["assessment"] == helpful
    said = {"assessment_name": "useful", "feedback": {"value": False}, "rationale": "left out of the mask"}
    changed = app.call("PATCH", one, assessment=said, update_mask="assessmentName,feedback")["assessment"]
    assert (changed["feedback"], changed["rationale"]) == ({"value": False}, "says when")
    app.call("PATCH", one, 400, assessment={"assessment_name": "a<b"}, update_mask="assessment_name")
    kept = {s.name: s.value for s in app.client.traces.show(trace[3:]).scores}
    assert kept["useful"] is False and "helpful" not in kept, "an update that is refused takes nothing away"
    replaced = app.assess(trace, "useful", feedback={"value": 0.5}, overrides=helpful["assessment_id"])
    scores = {s.name: s.value for s in app.client.traces.show(trace[3:]).scores}
    assert "helpful" not in scores and scores["useful"] == 0.5
    assert app.call("GET", one)["assessment"]["valid"] is False
    assert app.searched("feedback.useful < 1 AND feedback.stars = 4") == [trace]
    assert app.call("DELETE", f"{V3}/traces/{trace}/assessments/{replaced['assessment_id']}") == {}
    assert "useful" not in {s.name for s in app.client.traces.show(trace[3:]).scores}
    gone = app.call("GET", f"{V3}/traces/{trace}/assessments/{replaced['assessment_id']}", 404)
    assert gone["error_code"] == "RESOURCE_DOES_NOT_EXIST"


@pytest.mark.parametrize(
    "said", [{}, {"assessment_name": "x"}, {"assessment_name": "x", "feedback": 5}, {"feedback": {"value": 1}},
             {"assessment_name": "a<b", "feedback": {"value": 1}}, {"assessment_name": "x", "issue": {"issue_name": "i"}}]
)  # fmt: skip
def test_what_is_no_assessment_is_refused_and_nothing_is_kept(app: App, said: dict[str, Any]) -> None:
    trace = new()
    app.start(trace)
    assert app.call("POST", f"{V3}/traces/{trace}/assessments", 400, assessment=said)["error_code"] == "INVALID_PARAMETER_VALUE"
    assert app.call("GET", f"{V3}/traces/{trace}")["trace"]["trace_info"]["assessments"] == []


def test_somebody_elses_feedback_stays(app: App, server: Server) -> None:
    trace = new()
    app.start(trace)
    id = app.assess(trace, "helpful", feedback={"value": True})["assessment_id"]
    other = app.client.keys.create("other", role="developer").secret
    with server.http(authorization=f"Bearer {other}") as http:
        another = App(http, app.client)
        assert another.call("DELETE", f"{V3}/traces/{trace}/assessments/{id}", 403)["error_code"] == "PERMISSION_DENIED"
        said = {"assessment_name": "helpful", "feedback": {"value": False}, "overrides": id}
        another.call("POST", f"{V3}/traces/{trace}/assessments", 403, assessment=said)
        said = {"assessment_name": "helpful", "feedback": {"value": False}, "assessment_id": id}
        another.call("POST", f"{V3}/traces/{trace}/assessments", 403, assessment=said)
    assert app.assess(trace, "helpful", feedback={"value": True}, assessment_id=id)["assessment_id"] == id
    assert [s.value for s in app.client.traces.show(trace[3:]).scores] == [True]


def test_experiments_are_names(app: App) -> None:
    told = app.call("GET", f"{V2}/experiments/get-by-name", query={"experiment_name": "my shop"})["experiment"]
    assert (told["experiment_id"], told["name"], told["lifecycle_stage"]) == ("myZ20shop", "my shop", "active")
    assert app.call("GET", f"{V2}/experiments/get", query={"experiment_id": "myZ20shop"})["experiment"] == told
    assert app.call("POST", f"{V2}/experiments/create", name="my shop") == {"experiment_id": "myZ20shop"}
    where = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "myZ20shop"}}
    app.start(new(), trace_location=where)
    assert [e["name"] for e in app.call("POST", f"{V2}/experiments/search")["experiments"]] == ["Default", "my shop"]
    found = app.call("GET", f"{V2}/experiments/search", query={"filter": "name = 'my shop'"})["experiments"]
    assert [e["experiment_id"] for e in found] == ["myZ20shop"]
    assert app.call("GET", f"{V2}/experiments/get", 404, query={"experiment_id": "a/b"})["error_code"] == "RESOURCE_DOES_NOT_EXIST"


def test_prompts_are_registered_loaded_and_found(app: App) -> None:
    pair = [{"key": IS_PROMPT, "value": "true"}]
    assert app.call("GET", f"{V2}/registered-models/get", 404, query={"name": "answer"})["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    app.call("POST", f"{V2}/registered-models/create", name="answer", tags=pair)
    first = app.register("answer", "Say {{ what }}", "a first", author="ann")
    chat = [{"role": "system", "content": "Be {{how}}"}, {"role": "user", "content": "{{what}}"}]
    config = {"_mlflow_prompt_model_config": '{"temperature": 0.5}', "_mlflow_prompt_response_format": '{"type": "object"}'}
    second = app.register("answer", chat, **config)
    assert (first["version"], second["version"], first["description"], tags_of(first)["author"]) == ("1", "2", "a first", "ann")
    assert app.register("answer", "Say {{ what }}")["version"] == "1", "the same is the same version"
    assert app.call("POST", f"{V2}/registered-models/create", 400, name="answer", tags=pair)["error_code"] == "RESOURCE_ALREADY_EXISTS"
    loaded = app.call("GET", f"{V2}/model-versions/get", query={"name": "answer", "version": "2"})["model_version"]
    assert json.loads(tags_of(loaded)["mlflow.prompt.text"]) == chat and loaded["status"] == "READY"
    assert {key: json.loads(tags_of(loaded)[key]) for key in config} == {key: json.loads(text) for key, text in config.items()}
    ours = app.client.prompts.get("answer", number=2)
    assert [m.text for m in ours.body.messages] == ["Be {{how}}", "{{what}}"] and ours.body.inputs == {"how": {}, "what": {}}
    listed = app.call("GET", f"{V2}/model-versions/search", query={"filter": f"name = 'answer' AND tag.`{IS_PROMPT}` = 'true'"})
    assert [v["version"] for v in listed["model_versions"]] == ["2", "1"] and listed["model_versions"][0]["creation_timestamp"] > 0
    app.register("other", "x")
    for filter, names in (("name LIKE 'an%'", ["answer"]), ("name = 'other'", ["other"]), ("name LIKE '%e%'", ["answer", "other"])):
        found = app.call("GET", f"{V2}/registered-models/search", query={"filter": f"tags.`{IS_PROMPT}` = 'true' AND {filter}"})
        assert sorted(one["name"] for one in found["registered_models"]) == names


def test_an_alias_is_a_label(app: App) -> None:
    app.register("answer", "one {{ a }}")
    app.register("answer", "two {{ a }}")
    alias = f"{V2}/registered-models/alias"

    def version(name: str) -> str:
        return str(app.call("GET", alias, query={"name": "answer", "alias": name})["model_version"]["version"])

    for number in ("1", "2", "1"):
        app.call("POST", alias, name="answer", alias="best", version=number)
        assert version("best") == number
    assert version("latest") == "2" and app.client.prompts.get("answer:best").number == 1
    refused = app.call("POST", alias, 403, name="answer", alias="production", version="1")
    assert refused["error_code"] == "PERMISSION_DENIED" and "windlass promote" in refused["message"]
    assert app.call("GET", alias, 404, query={"name": "answer", "alias": "none"})["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    assert app.call("DELETE", alias, 501, name="answer", alias="best")["error_code"] == "NOT_IMPLEMENTED"


def test_prompts_that_cannot_be_said_here_or_there(app: App) -> None:
    for text in ("{% if a %}b{% endif %}", "{{ a.b }}", [{"role": "tool", "content": "x"}]):
        refused = app.register("hard", text, status=400)
        assert "prompts/hard.md of a workspace" in refused["message"]
    assert "letters" in app.register("Hard", "x", status=400)["message"]
    models = app.call("POST", f"{V2}/registered-models/create", 400, name="m", tags=[])
    assert "models are not registered" in models["message"]
    app.register("tagged", "x", team="a")
    tag = f"{V2}/registered-models/set-tag"
    assert app.call("POST", tag, name="tagged", key="team", value="a") == {}
    assert "stay as they came" in app.call("POST", tag, 400, name="tagged", key="team", value="b")["message"]


def test_a_prompt_that_a_trace_names_is_the_version_of_that_number(app: App) -> None:
    first, second = (app.register("answer", f"{text} {{{{ a }}}}") for text in ("one", "two"))
    assert (first["version"], second["version"]) == ("1", "2")
    named = json.dumps([{"name": "answer", "version": "2"}, {"name": "gone", "version": "1"}])
    by_tag, by_link, by_span = new(), new(), new()
    app.start(by_tag, tags={"mlflow.linkedPrompts": named})
    app.start(by_link)
    app.call("POST", f"{V2}/traces/link-prompts", trace_id=by_link, prompt_versions=[{"name": "answer", "version": "2"}])
    app.http.put(file_of(by_span), json={"spans": [stepped(by_span, **{"mlflow.linkedPrompts": json.dumps(named)})]})
    ref = app.client.prompts.get("answer", number=2).ref
    found = {t.trace_id for t in app.client.traces.list(filter=f"uses:{ref}").items}
    assert found == {by_tag[3:], by_link[3:], by_span[3:]} and app.found("uses:prompt/gone") == 0
    assert app.found(f"uses:{app.client.prompts.get('answer', number=1).ref}") == 0


def file_of(trace: str) -> str:
    return f"/api/2.0/mlflow-artifacts/artifacts/shop/traces/{trace}/artifacts/traces.json"


def stepped(trace: str, **attributes: str) -> dict[str, Any]:
    """A step as SDKs write it that send a file: ids in base64, attributes as JSON text."""
    return {
        "trace_id": base64.b64encode(bytes.fromhex(trace[3:])).decode(), "span_id": base64.b64encode(b"\x01" * 8).decode(),
        "parent_span_id": None, "name": "ask", "start_time_unix_nano": 1796025600123456789, "end_time_unix_nano": 1796025601123456789,
        "status": {"code": "STATUS_CODE_OK", "message": ""}, "events": [],
        "attributes": {"mlflow.traceRequestId": json.dumps(trace), "mlflow.spanType": '"LLM"', "mlflow.spanInputs": '{"q":"Where?"}',
                       **attributes},
    }  # fmt: skip


def test_spans_come_as_a_file_from_sdks_that_send_one(app: App) -> None:
    trace = new()
    where = app.start(trace, trace_location={"mlflow_experiment": {"experiment_id": "shop"}})["tags"]["mlflow.artifactLocation"]
    path = f"/api/2.0/mlflow-artifacts/artifacts{where.removeprefix('mlflow-artifacts:')}/traces.json"
    sent = stepped(trace)
    assert path == file_of(trace) and app.http.put(path, json={"spans": [sent]}).status_code == 200
    steps = [s for s in app.client.traces.show(trace[3:]).spans if is_step(s)]
    assert [(s.name, s.kind, s.start_ns) for s in steps] == [("ask", "model", sent["start_time_unix_nano"])]
    (back,) = app.call("GET", path)["spans"]
    assert {key: back[key] for key in sent if key != "attributes"} == {key: sent[key] for key in sent if key != "attributes"}
    told, said = ({k: json.loads(v) for k, v in one["attributes"].items()} for one in (back, sent))
    assert told == said
    for wrong in (
        {"spans": 5},
        {"spans": [stepped(new())]},
        {"spans": [sent | {"start_time_unix_nano": "x"}]},
        {"spans": [sent | {"status": 5}]},
    ):
        assert app.http.put(path, json=wrong).status_code == 400


def is_step(span: StoredSpan) -> bool:
    return GIVEN not in span.attributes


def test_all_that_is_said_is_in_the_ledger(app: App) -> None:
    trace = new()
    app.start(trace, tags={"a": "1", "b": "2"})
    app.assess(trace, "helpful", feedback={"value": True})
    app.call("PATCH", f"{V2}/traces/{trace}/tags", key="a", value="3")
    app.http.put(file_of(trace), json={"spans": [stepped(trace)]})
    assert app.http.post(f"{V3}/traces", content=b"{").status_code == 400
    lines = app.client.traces.ledger().items
    # info and two tags; the score and what was told; a tag again; a step
    assert sum(line.received for line in lines) == 7
    assert all(line.received == line.indexed for line in lines)
    assert until(lambda: [line.turned_away for line in app.client.traces.ledger().items if line.turned_away]) == [{"invalid": 1}]


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("POST", f"{V2}/runs/create"), ("POST", f"{V2}/runs/log-metric"), ("POST", f"{V2}/logged-models"),
        ("POST", f"{V3}/datasets/create"),
        ("POST", f"{V3}/traces/delete-traces"), ("GET", "/ajax-api/3.0/mlflow/get-trace-artifact"), ("POST", f"{V3}/scorers/register"),
    ],
)  # fmt: skip
def test_what_is_not_served_says_so_in_their_form(app: App, verb: str, path: str) -> None:
    said = app.call(verb, path, 501)
    assert said["error_code"] == "NOT_IMPLEMENTED" and path in said["message"] and "docs/tracing.md" in said["message"]


def test_keys_decide(app: App, server: Server) -> None:
    trace = new()
    app.start(trace, tags={"secret": "x"})
    with server.http() as http:
        assert [int(n) for n in http.get("/version").text.split(".")] >= [3, 4], "to a server of before 3.4 no spans would be sent"
        assert http.get(f"{V3}/server-info").json()["workspaces_enabled"] is False
        nobody = App(http, app.client)
        for verb, path in itertools.product(("GET", "POST"), (f"{V3}/traces/{trace}", f"{V3}/traces/search", f"{V2}/experiments/search")):
            if http.request(verb, path).status_code != 501:
                assert nobody.call(verb, path, 401)["error_code"] == "UNAUTHENTICATED"
    caller = app.client.keys.create("sender").secret or ""
    pair = base64.b64encode(f"any:{caller}".encode()).decode()
    with server.http(authorization=f"Basic {pair}") as http:
        sender = App(http, app.client)
        sender.start(new())
        sender.assess(trace, "helpful", feedback={"value": True})
        known = sender.call("GET", f"{V3}/traces/{trace}")["trace"]["trace_info"]
        assert set(known) == {"trace_id", "tags"} and "secret" not in known["tags"], "that it is there, and no more"
        for verb, path, body in (
            ("GET", f"{V3}/traces/get?trace_id={trace}", {}), ("POST", f"{V3}/traces/search", {}), ("POST", f"{V2}/experiments/search", {}),
            ("POST", f"{V2}/registered-models/create", {"name": "x", "tags": [{"key": IS_PROMPT, "value": "true"}]}),
        ):  # fmt: skip
            assert sender.call(verb, path, 403, **body)["error_code"] == "PERMISSION_DENIED"
    elsewhere = Client(transport=HttpTransport(server.address, server.token), project="mlflow-elsewhere")
    with server.http(authorization=f"Bearer {elsewhere.keys.create('x', role='developer').secret}") as http:
        App(http, elsewhere).call("GET", f"{V3}/traces/{trace}", 404)


@pytest.mark.parametrize(
    "info",
    [
        None, 5, {}, {"trace_id": "tr-xyz"}, {"trace_id": "tr-" + "0" * 32}, {"trace_id": "tr-" + "1" * 32, "request_time": "yesterday"},
        {"trace_id": "tr-" + "1" * 32, "request_time": "9999-01-01T00:00:00Z"}, {"trace_id": "tr-" + "1" * 32, "tags": {"a": 5}},
        {"trace_id": "tr-" + "1" * 32, "tags": ["a"]}, {"trace_id": "tr-" + "1" * 32, "trace_metadata": "x"},
    ],
)  # fmt: skip
def test_what_is_no_trace_is_refused(app: App, info: Any) -> None:
    answer = app.http.post(f"{V3}/traces", json={"trace": {"trace_info": info}})
    assert answer.status_code in (400, 404) and answer.json()["error_code"] in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")
    assert app.client.traces.list().items == ()


@pytest.mark.soak
@pytest.mark.skipif(not PYTHON.exists(), reason="there is no .sdks/mlflow here: make .stamps/sdks-all installs it")
def test_its_client_is_told_the_address_alone(app: App, server: Server, tmp_path: Path) -> None:
    key = app.client.keys.create("walk", role="developer").secret or ""
    environ = {
        "MLFLOW_TRACKING_URI": server.address,
        "MLFLOW_TRACKING_USERNAME": "any",
        "MLFLOW_TRACKING_PASSWORD": key,
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run([PYTHON, "-c", WALK], env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["prompts"], told["listed"], told["found"]) == ([1, 2, 2], ["answer"], [1, 0])
    assert (told["tags"], told["session"], told["state"]) == ({"shop": "south"}, "s-1", "OK")
    said = [{"role": "system", "content": "Be kind"}, {"role": "user", "content": "Where?"}]
    assert told["spans"] == [
        ["answer", "AGENT", {"question": "Where?"}, "done"], ["inner", "UNKNOWN", {"question": "Where?"}, said],
        ["look", "TOOL", {"order": 7}, {"found": 7}],
    ]  # fmt: skip
    assert told["said"] == [["expected", {"a": 1}, None], ["helpful", False, True], ["stars", 3, False], ["stars", 5, True]]
    assert told["experiments"] == ["Default", "my shop"] and "NOT_IMPLEMENTED" in told["run"]
    (trace,) = app.client.traces.list().items
    assert (trace.name, trace.spans, trace.session, trace.user) == ("answer", 3, "s-1", "u-7")
    scores = {s.name: s.value for s in app.client.traces.show(trace.trace_id).scores}
    assert scores == {"helpful": False, "stars": 5.0, "expected": None}
    assert app.client.traces.show(trace.trace_id).versions == (app.client.prompts.get("answer", number=2).ref,)


def test_prompts_are_linked_for_who_takes_this_for_its_server(app: App) -> None:
    """By the header that MLflow's client sends; a number of another server would name a version by chance."""
    app.register("answer", "Say {{ what }}")
    sent = ExportTraceServiceRequest()
    ids = {known: bytes.fromhex(trace_id()) for known in (True, False)}
    for known, id in ids.items():
        sent.Clear()
        span = (
            sent.resource_spans.add().scope_spans.add().spans.add(trace_id=id, span_id=b"\x01" * 8, name="ask", start_time_unix_nano=10**18)
        )
        span.attributes.add(key="mlflow.linkedPrompts").value.string_value = '[{"name": "answer", "version": "1"}]'
        headers = {"content-type": "application/x-protobuf"} | ({"x-mlflow-client-version": "3.17.2"} if known else {})
        assert app.http.post("/v1/traces", content=sent.SerializeToString(), headers=headers).status_code == 200
    ref = app.client.prompts.get("answer").ref
    assert [t.trace_id for t in app.client.traces.list(filter=f"uses:{ref}").items] == [ids[True].hex()]
    assert len(app.client.traces.list().items) == 2


WHOLE: dict[str, tuple[str, str, Any]] = {
    "a trace": ("POST", f"{V3}/traces", TOLD),
    "an assessment": ("POST", f"{V3}/traces/{TRACE}/assessments", {"assessment": {
        "assessment_name": "n", "feedback": {"value": 1}, "source": {"source_type": "HUMAN", "source_id": "ann"}, "span_id": "ab" * 8,
        "rationale": "r", "metadata": {"a": "b"}, "create_time": "2026-11-30T08:00:00Z", "overrides": "a-1",
    }}),
    "a file": ("PUT", file_of(TRACE), {"spans": [stepped(TRACE)]}),
    "a prompt": ("POST", f"{V2}/model-versions/create", {"name": "odd", "description": "d", "tags": [
        {"key": IS_PROMPT, "value": "true"}, {"key": "mlflow.prompt.text", "value": "x"}, {"key": "_mlflow_prompt_type", "value": "chat"},
    ]}),
    "an alias": ("POST", f"{V2}/registered-models/alias", {"name": "odd", "alias": "best", "version": "1"}),
    "a search": ("POST", f"{V3}/traces/search", {
        "filter": "status = 'OK'", "order_by": ["timestamp_ms DESC"], "max_results": 5, "page_token": "1-a",
        "locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}],
    }),
}  # fmt: skip


def test_no_more_traces_are_asked_for_than_are_told(app: App) -> None:
    answer = app.http.post(f"{V3}/traces/batchGetInfos", json={"trace_ids": [f"tr-{trace_id()}" for _ in range(201)]})
    assert answer.status_code == 400 and "at most 200" in answer.json()["message"], "some of them would be left out, and nobody told"


@pytest.mark.parametrize("what", WHOLE)
def test_nothing_odd_is_a_defect(app: App, what: str) -> None:
    """Each part of what is sent, in the place of which something else stands: taken, or refused with a reason."""
    verb, path, whole = WHOLE[what]
    for place, odd, sent in odd_ones(whole):
        answer = app.http.request(verb, path, json=sent)
        assert answer.status_code < 500 and (answer.status_code == 200 or answer.json()["message"]), (place, odd, answer.text)
