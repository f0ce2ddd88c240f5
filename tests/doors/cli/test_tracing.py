"""`windlass traces`: what people say of an answer, and traces in a file."""

from __future__ import annotations

import json
import time

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from tests.doors.cli.conftest import Shell

from windlass.doors.cli.filtering import complete
from windlass.store.journal import Journal
from windlass.traces.envelope import METRICS, seal


def test_a_score_is_given_found_told_and_taken_back(shop: Shell) -> None:
    shop("push")
    trace = shop.json("run", "shop", "When do you open?")["trace"]
    assert f"kept: helpful no for trace {trace}" in " ".join(shop("traces", "score", trace[:8], "helpful", "no").stdout.split())
    kept = shop.json("traces", "score", trace, "helpful", "NO", "--comment", "it said [bold] nothing")
    assert (kept["score"]["value"], kept["score"]["comment"], kept["trace"]) == (False, "it said [bold] nothing", trace)
    step = shop.json("traces", trace)["spans"][-1]["span_id"]
    assert shop.json("traces", "score", trace, "stars", "4", "--span", step)["score"]["value"] == 4.0
    assert shop.json("traces", "score", trace, "tone", "plain")["score"]["value"] == "plain"
    assert "value" not in shop.json("traces", "score", trace, "comment", "--comment", "Ask again.")["score"]
    tree = shop("traces", trace).stdout
    for said in ("helpful no  it said [bold] nothing  by owner", "tone plain", "comment  Ask again."):
        assert said in tree
    assert [t["trace_id"] for t in shop.json("traces", "--score", "helpful=no")["items"]] == [trace]
    assert shop.json("traces", "--score", "helpful=yes")["items"] == []
    assert shop.json("traces", "score", trace, "helpful", "--withdraw")["withdrawn"]
    assert shop.json("traces", "--score", "helpful")["items"] == []


def test_what_is_no_score_is_refused_with_a_way_out(shop: Shell) -> None:
    late = "ab" * 16
    assert "which has not come yet" in " ".join(shop("traces", "score", late, "helpful", "yes").stdout.split())
    for words, why in (
        ((), "a name"), ((late,), "a name"), ((late, "a", "1", "2"), "a name"), ((late, "helpful"), "neither a value nor a comment"),
        ((late, "helpful", "nan"), "finite"), ((late, "a<b", "1"), "no name of a score"),
        (("abcd1234", "helpful", "1"), "there is no trace"),
        (("--session", "nobody", "helpful", "1"), "there is no session"), ((late, "gone", "--withdraw"), "you gave no score"),
    ):  # fmt: skip
        done = shop("traces", "score", *words, code=1)
        assert why in done.stderr and "→" in done.stderr
    assert "one too many" in shop("traces", late, "helpful", code=1).stderr
    assert "is no condition" in shop("traces", "--score", "<1", code=1).stderr


def test_traces_are_written_to_a_file(shop: Shell) -> None:
    shop("push")
    trace = shop.json("run", "shop", "When do you open?")["trace"]
    done = shop.json("traces", "--since", "1h", "--to", "runs.parquet")
    assert (done["file"], done["traces"]) == ("runs.parquet", 1) and done["spans"] > 1
    assert "of 1 trace are in runs.jsonl" in shop("traces", "--to", "runs.jsonl").stdout
    assert "is there already" in shop("traces", "--to", "runs.jsonl", code=1).stderr
    rows = [json.loads(line) for line in (shop.cwd / "runs.jsonl").read_text().splitlines()]
    assert {r["trace_id"] for r in rows} == {trace} and len(rows) == done["spans"]


def test_traces_are_filtered_counted_and_completed(shop: Shell) -> None:
    shop("push")
    trace = shop.json("run", "shop", "When do you open?")["trace"]
    other = shop.json("run", "shop", "Do you sell kayaks?")["trace"]

    def found(*words: str) -> set[str]:
        return {t["trace_id"] for t in shop.json("traces", *words)["items"]}

    assert (
        found("-w", "KAYAKS")
        == found("-w", '-(input:"When do you open")')
        == found("--where", "kayaks has:prompt", "--status", "ok")
        == {other}
    )
    assert found("-w", '"you open" or kayaks') == {trace, other}
    told = shop.json("traces", "fields", "-w", "kayaks", "--kind", "request")
    assert told["traces"] == 1
    assert {f["name"]: f.get("values") for f in told["fields"]}["status"] == [{"value": "ok", "traces": 1}]
    said = shop("traces", "fields", "prompt").stdout
    assert "2 traces fit" in said and "2  answer" in said
    wrong = shop("traces", "-w", "a modle:x", code=1).stderr
    assert "column 3" in wrong and "did you mean `model`" in wrong
    assert "no values of 'cost' are counted" in shop("traces", "fields", "cost", code=1).stderr
    assert "did you mean `attr`" in shop("traces", "fields", "attr:", code=1).stderr
    assert "windlass traces -w status:error" in shop("traces", "status:error", code=1).stderr
    assert complete("status:error mo") == ["status:error model:"]
    assert complete("-(kind:to") == ["-(kind:tool"]
    drawn = shop("figures", "-w", "kayaks", "--status", "ok", "--by", "model", "--hours", "100").stdout
    assert "1 trace in 100 h" in drawn and "/dashboards?filter=status%3Aok+kayaks&last=7d&by=model" in drawn
    assert "did you mean `model`" in shop("figures", "-w", "modle:x", code=1).stderr


def test_a_text_is_read_by_the_start_of_its_step(shop: Shell) -> None:
    shop("push")
    trace = shop.json("run", "shop", "When do you open?")["trace"]
    steps = [s["span_id"] for s in shop.json("traces", trace)["spans"]]
    one = steps[0]
    whole = shop.json("traces", trace, "--span", one, "--text", "input")
    assert shop.json("traces", trace, "--span", one[:13], "--text", "input") == whole and "open" in whole["text"]
    said = shop("traces", trace, "--text", "input", code=1).stderr
    assert f"this trace has {len(steps)} steps" in said and one in said
    assert "0 steps of this trace begin with 'xyz'" in shop("traces", trace, "--span", "xyz", "--text", "input", code=1).stderr
    assert "take one of input, output" in shop("traces", trace, "--span", one, "--text", "weather", code=1).stderr


def test_metrics_are_listed_and_told(shop: Shell) -> None:
    """What an application measured, as its exporter sends it, through a journal of the folder."""
    assert "no metric was measured in 720 h" in shop("metrics").stdout
    made = ExportMetricsServiceRequest()
    metric = made.resource_metrics.add().scope_metrics.add().metrics.add(name="orders", unit="{order}")
    metric.sum.aggregation_temporality, metric.sum.is_monotonic = 1, True
    for n, country in enumerate(("de", "fr", "de"), 1):
        point = metric.sum.data_points.add(time_unix_nano=time.time_ns() - n * 10**9, as_int=n)
        point.attributes.add(key="country").value.string_value = country
    journal = Journal(shop.folder / "home" / "journal" / "test")
    journal.append(seal("default", made.SerializeToString(), METRICS))
    journal.close()
    listed = shop("metrics").stdout
    assert "orders" in listed and "counter" in listed and "{order}" in listed
    told = shop("metrics", "orders", "--by", "country").stdout
    assert "counter in order, 3 points in 24 h · increase 6" in told and "/metrics/orders?last=24h&by=country" in told
    assert shop.json("metrics", "orders", "-w", "attr.country:de")["whole"]["increase"] == 4
    assert "is of one metric" in shop("metrics", "--by", "country", code=1).stderr
    assert "windlass metrics lists which there are" in " ".join(shop("metrics", "nothing", code=1).stderr.split())
    assert "points have attr.NAME" in shop("metrics", "orders", "-w", "status:error", code=1).stderr
