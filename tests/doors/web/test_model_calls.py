"""A call of a model that an application made, asked again in the playground."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.doors.server import Server
from tests.doors.web.conftest import Opened

from windlass.core.operations.runs import ModelEntry
from windlass.core.span import StoredSpan
from windlass.doors.web.model_calls import call_of
from windlass.govern.sessions import Sessions

TRACE, CALL = "0d" * 16, f"{2:016x}"
ENTRIES = (
    ModelEntry("baseline", "baseline", True),
    ModelEntry("openai/…", "openai", False, "OPENAI_API_KEY is not set"),
    ModelEntry("gemini/…", "gemini", True),
)


def step(provider: str | None = None, model: str | None = None, **attributes: Any) -> StoredSpan:
    return StoredSpan("a" * 32, "b" * 16, "chat", 0, 1, None, kind="model", provider=provider, model=model, attributes=attributes)


def test_messages_are_as_the_gateway_takes_them() -> None:
    picture = "data:image/png;base64,aGk="
    given = json.dumps([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": picture}}]},
        {"role": "assistant", "parts": [
            {"type": "reasoning", "content": "hm"}, {"type": "tool_call", "name": "stock", "arguments": {"n": 1}},
        ]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "response": {"left": 3}}]},
        {"role": "user", "content": "So?"},
    ])  # fmt: skip
    told = call_of(step("openai", "gpt-4o"), given, ENTRIES)
    assert [(m.role, m.kind) for m in told.messages] == [
        ("system", "text"), ("user", "json"), ("assistant", "json"), ("tool", "json"), ("user", "text"),
    ]  # fmt: skip
    assert (told.messages[0].value, told.messages[-1].value) == ("Be brief.", "So?")
    said, called, answered = (json.loads(m.value) for m in told.messages[1:4])
    assert said["content"] == [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": picture}}]
    (call,) = called["tool_calls"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("stock", {"n": 1})
    assert answered["tool_call_id"] == call["id"] and json.loads(answered["content"]) == {"left": 3}
    assert told.left == ("thoughts",)


def test_model_and_parameters_are_those_of_the_step_and_what_cannot_be_is_said() -> None:
    asked = {"gen_ai.request.model": "gpt-4o", "gen_ai.request.temperature": 0.2, "gen_ai.request.max_tokens": 9, "llm.tools": "[]"}
    told = call_of(step("openai", "gpt-4o-2024-08-06", **asked), '"mail [masked:email]"', ENTRIES)
    assert told.model == "openai/gpt-4o" and json.loads(told.parameters) == {"temperature": 0.2, "max_tokens": 9}
    assert told.why_not == "OPENAI_API_KEY is not set" and told.left == ("its tools", "what is masked")
    assert told.models == ("baseline",), "a provider is no model"
    assert [(m.role, m.value) for m in told.messages] == [("user", "mail [masked:email]")]
    gemini = call_of(step("gcp.gemini", "gemini-2.5-pro"), "", ENTRIES)
    assert (gemini.model, gemini.why_not, gemini.messages) == ("gemini/gemini-2.5-pro", "", ())
    assert "acme" in call_of(step("acme", "x"), "", ENTRIES).why_not
    assert call_of(step(None, "baseline"), "", ENTRIES).why_not == ""
    assert "does not say" in call_of(step(), "", ENTRIES).why_not
    routed = {"gen_ai.request.model": "fast", "windlass.route.upstream": "openai/gpt-5-mini"}
    assert call_of(step("openai", "gpt-5-mini-2025", **routed), "", ENTRIES).model == "openai/gpt-5-mini", "who answered, not the route"
    beside = {"gen_ai.system_instructions": '[{"type": "text", "content": "Be kind."}]'}
    assert [m.role for m in call_of(step("openai", "o3", **beside), "Why?", ENTRIES).messages] == ["system", "user"]


def attribute(name: str, value: str) -> dict[str, Any]:
    return {"key": name, "value": {"stringValue": value}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    up = Server(tmp_path_factory.mktemp("model-calls") / "home")
    now = time.time_ns()
    times = {"traceId": TRACE, "startTimeUnixNano": str(now - 10**9), "endTimeUnixNano": str(now)}
    said = [
        {
            "role": "user",
            "parts": [{"type": "text", "content": "[shop.hours] The shop opens at nine in the morning.\n\nWhen does the shop open?"}],
        }
    ]
    told = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o",
        "gen_ai.input.messages": json.dumps(said), "gen_ai.system_instructions": '[{"type": "text", "content": "Be kind."}]',
    }  # fmt: skip
    spans = [
        {**times, "spanId": f"{1:016x}", "name": "serve"},
        {**times, "spanId": CALL, "parentSpanId": f"{1:016x}", "name": "chat", "attributes": [attribute(*x) for x in told.items()]},
    ]
    with up.owner() as http:
        http.post("/v1/traces", json={"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).raise_for_status()
    yield up
    up.stop()


def test_the_playground_opens_on_it_and_claims_no_version(server: Server) -> None:
    with server.owner() as http:
        shown = http.get(f"/traces/{TRACE}?span={CALL}").text
        twin = http.get(f"/playground.json?trace={TRACE}&span={CALL}").json()
        page = http.get(f"/playground?trace={TRACE}&span={CALL}").text
        whole = http.get(f"/playground?trace={TRACE}").text
        wrong = [http.get(f"/playground?trace={t}&span={s}").status_code for t, s in ((TRACE, "x"), ("x", ""), (TRACE, "f" * 16))]
    assert wrong == [400, 400, 404]
    assert f'href="/playground?trace={TRACE}&amp;span={CALL}"' in shown and "Be kind." in shown
    assert twin["call"]["model"] == "openai/gpt-4o" and [m["role"] for m in twin["call"]["messages"]] == ["system", "user"]
    assert "When does the shop open?" in page and "in the version that ran" not in page + whole


@pytest.mark.browser
@pytest.mark.slow
def test_it_is_asked_again_and_leads_to_its_trace(server: Server, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 900})
    opened = Opened(context.new_page(), server.address)
    opened.page.goto(f"{server.address}/?once={Sessions(server.home / 'run').make_link()}")
    page = opened.go(f"/traces/{TRACE}?span={CALL}")
    page.get_by_role("link", name="Ask it again in the playground").click()
    page.wait_for_url("**/playground?*")
    assert page.get_by_role("button", name="Stop").count() == 0, "nothing runs yet"
    page.get_by_label("Model", exact=True).fill("baseline")
    page.get_by_role("button", name="Ask").click()
    link = page.locator("[data-note] a")
    link.wait_for(timeout=10_000)
    assert "passages do not answer" in page.locator("[data-answer]").inner_text(), "it was given them"
    page.locator("[name=parameters]").fill("{")
    page.get_by_role("button", name="Ask").click()
    assert "not JSON" in page.locator("[data-note]").inner_text()
    page.locator("[name=parameters]").fill("")
    page.get_by_label("Model", exact=True).fill("openai/gpt-4o")
    assert opened.complaints == []
    page.get_by_role("button", name="Ask").click()
    page.get_by_text("OPENAI_API_KEY").last.wait_for(timeout=10_000)
    context.close()
