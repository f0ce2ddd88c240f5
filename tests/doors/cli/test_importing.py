"""`windlass import`: what it says, where history lands, and that keys are neither asked for nor told."""

from __future__ import annotations

import base64
from collections.abc import Callable

from tests.doors.cli.conftest import Shell
from tests.doors.server import Server
from tests.sdk.importing.served import Asked, Told, told
from tests.sdk.importing.served import served as serving

KEY = "phx-secret-0123456789"


def _id(kind: str, number: int) -> str:
    return base64.b64encode(f"{kind}:{number}".encode()).decode()


def phoenix(spans: int, asked: list[Asked] | None = None) -> Callable[[Asked], Told]:
    """One of a project with so many traces of one span, each with an annotation."""

    def answer(one: Asked) -> Told:
        if asked is not None:
            asked.append(one)
        if one.headers.get("authorization") != f"Bearer {KEY}":
            return told({}, 401)
        query = dict(one.query)
        if one.path == "/arize_phoenix_version":
            return Told(200, "text/plain", b"20.26.1")
        if one.path == "/v1/projects":
            return told({"data": [{"id": _id("Project", 1), "name": "shop"}], "next_cursor": None})
        if one.path.endswith("/spans"):
            return told({"data": [_span(number) for number in range(spans, 0, -1)], "next_cursor": None})
        if one.path.endswith("/span_annotations"):
            ids = [v for k, v in one.query if k == "span_ids"]
            return told({"data": [_note(int(id, 16), id) for id in ids], "next_cursor": None})
        if one.path == "/v1/prompts":
            return told({"data": [{}, {}], "next_cursor": None})
        return told({"data": [], "next_cursor": None}) if query else told({}, 404)

    return answer


def _span(number: int) -> dict[str, object]:
    return {
        "id": _id("Span", number), "name": "answer", "context": {"trace_id": f"{number:032x}", "span_id": f"{number:016x}"},
        "span_kind": "CHAIN", "parent_id": None, "start_time": f"2026-01-01T00:00:{number:02}+00:00",
        "end_time": f"2026-01-01T00:00:{number + 1:02}+00:00", "status_code": "OK", "status_message": "",
        "attributes": {"input.value": "when?"}, "events": [],
    }  # fmt: skip


def _note(number: int, span: str) -> dict[str, object]:
    made = "2026-01-01T00:01:00+00:00"
    result = {"score": 1.0, "label": None, "explanation": None}
    return {
        "id": _id("SpanAnnotation", number), "created_at": made, "updated_at": made, "name": "helpful", "annotator_kind": "HUMAN",
        "result": result, "span_id": span,
    }  # fmt: skip


def test_history_is_brought_once_and_what_is_not_is_told(shell: Shell) -> None:
    shell.env["PHOENIX_API_KEY"] = KEY
    with serving(phoenix(3)) as address:
        dry = shell("import", "phoenix", address, "--dry-run").stdout
        assert "Phoenix 20.26.1 has 3 traces, 3 spans and 3 scores; nothing was brought" in dry
        said = shell("import", "phoenix", address).stdout
        assert "3 traces, 3 spans and 3 scores came from Phoenix 20.26.1" in said
        assert "not carried:" in said and "prompts         2  write them as" in said
        assert "has nothing new" in shell("import", "phoenix", address + "/").stdout
    with serving(phoenix(5)) as other:
        again = shell.json("import", "phoenix", other, "--again")
    assert (again["traces"], again["spans"], again["scores"], again["projects"]) == (5, 5, 5, {"shop": 5})
    assert [n["what"] for n in again["left"]] == ["prompts"]
    found = shell.json("traces")["items"]
    assert len(found) == 5 and {t["input"] for t in found} == {"when?"}
    assert len(shell.json("traces", "0" * 31 + "1")["scores"]) == 1


def test_no_key_no_history(shell: Shell) -> None:
    with serving(phoenix(1)) as address:
        failed = shell("import", "phoenix", address, code=1)
    assert "refused this key (401)" in failed.stderr and "PHOENIX_API_KEY" in failed.stderr
    assert "no address" in shell("import", "phoenix", "localhost", code=1).stderr
    assert "'weave' is not read here" in shell("import", "weave", "http://127.0.0.1:1", code=1).stderr
    with serving(phoenix(1)) as address:
        shell.env["PHOENIX_API_KEY"] = KEY
        assert "it has shop" in shell("import", "phoenix", address, "--from", "north", code=1).stderr


def test_into_another_project_by_a_key_that_is_gone_afterwards(shop: Shell, served: Server) -> None:
    shop.env["PHOENIX_API_KEY"] = KEY
    asked: list[Asked] = []
    with serving(phoenix(2, asked)) as address:
        shop("import", "phoenix", address, "--project", "north", "--since", "365000d")
    assert len(shop.json("traces", "--project", "north")["items"]) == 2
    assert shop.json("traces", "--project", "default")["items"] == []
    (key,) = [k for k in shop.json("keys", "list")["items"] if k["name"] == "import"]
    assert key["project"] == "north" and key["revoked_ns"]
    assert {one.verb for one in asked} == {"GET"}, "nothing is written there"
    for log in (served.home / "logs").glob("*"):
        assert KEY not in log.read_text()


def test_another_project_without_a_server(shell: Shell) -> None:
    shell.env["PHOENIX_API_KEY"] = KEY
    with serving(phoenix(2)) as address:
        failed = shell("import", "phoenix", address, "--project", "north", code=1)
    assert "needs a running server" in failed.stderr
