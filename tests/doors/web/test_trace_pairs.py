"""Two traces side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.doors.server import Server
from tests.doors.web.test_foreign_traces import Sent

from windlass.core.span import StoredSpan
from windlass.doors.web.trace_pairs import paired, waterfall


def call(identity: int, parent: int | None, start: int, end: int, **told: Any) -> StoredSpan:
    over = f"{parent:016x}" if parent is not None else None
    return StoredSpan("a" * 32, f"{identity:016x}", f"s{identity}", start, end, over, **({"kind": "model"} | told))


def test_steps_that_both_have_are_one_and_the_others_stand_where_they_ran() -> None:
    one = waterfall((call(1, None, 0, 99, kind="agent"), call(2, 1, 1, 9, tokens_in=5, cost=0.5), call(3, 1, 10, 20), call(4, 1, 30, 40)))
    failed = call(4, 1, 10, 40, status="error")
    two = waterfall((call(1, None, 0, 50, kind="agent"), call(2, 1, 1, 5, tokens_in=7), failed, call(9, 4, 11, 12)))
    told = [(p.name, p.level, p.a and p.a.duration_ns, p.b and p.b.duration_ns) for p in paired(one, two)]
    assert told == [("s1", 0, 99, 50), ("s2", 1, 8, 4), ("s3", 1, 10, None), ("s4", 1, 10, 30), ("s9", 2, None, 1)]
    both = paired(one, two)[1]
    assert both.a and both.b and (both.a.tokens, both.a.cost, both.b.tokens, both.b.cost) == (5, 0.5, 7, None)
    assert [bool(p.b and p.b.failed) for p in paired(one, two)] == [False, False, False, True, False]
    assert paired((), ()) == ()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    up = Server(tmp_path_factory.mktemp("pairs") / "home")
    yield up
    up.stop()


@pytest.mark.slow
def test_the_page_of_two(server: Server) -> None:
    sent = Sent(server, "openinference-agents")
    a, b = (t.trace_id for t in sent.client.traces.list().items[:2])
    html = sent.page.get(f"/traces/compare?trace={a}&trace={b}").raise_for_status().text
    assert f'href="/traces/{a}"' in html and f'href="/traces/{b}"' in html
    assert f"only in {b[:8]}" in html and "look_up" in html
    assert "Compare two" in sent.page.get("/traces").text
    for query, status in ((f"trace={a}", 400), ("", 400), (f"trace={a}&trace={b}&trace={b}", 400), (f"trace={a}&trace={'f' * 32}", 404)):
        answer = sent.page.get(f"/traces/compare?{query}")
        assert answer.status_code == status
        assert status == 404 or "tick two" in answer.text
