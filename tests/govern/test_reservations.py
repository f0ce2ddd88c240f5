"""What a call sets aside and what it used, over real stores: never more than a limit, and right again whoever was killed."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from tests.govern.limit_world import CALL, Node, answered
from tests.stores import on_both

from windlass.core.errors import Busy
from windlass.core.message import Message, ModelReply, TextPart, Usage
from windlass.govern import reservations as module
from windlass.govern.prices import Prices
from windlass.govern.reservations import Held
from windlass.govern.sizes import BYTES_A_TOKEN, MEDIA_TOKENS, OUTPUT_TOKENS, most_out, tokens_in
from windlass.govern.windows import FOREVER, forecast, window_at
from windlass.store.home import Home
from windlass.store.meta import open_meta, store_url

Begin = Callable[[str], Node]


@pytest.fixture
def engine(database_setting: str, tmp_path: Path) -> Engine:
    return open_meta(store_url(Home(tmp_path / "home"), database_setting))


@pytest.fixture
async def begin(engine: Engine, tmp_path: Path) -> AsyncIterator[Begin]:
    begun: list[Node] = []

    def one(folder: str) -> Node:
        begun.append(Node(engine, tmp_path / folder))
        return begun[-1]

    yield one
    for node in begun:
        await asyncio.to_thread(node.close)
    engine.dispose()


async def refused(node: Node, **of: object) -> Busy:
    with pytest.raises(Busy) as e:
        await node.hold(**of)  # type: ignore[arg-type]
    return e.value


async def test_without_a_limit_nothing_is_counted(begin: Begin) -> None:
    node = begin("a")
    assert await node.hold() is None


@on_both
async def test_requests_are_exact_across_processes(begin: Begin) -> None:
    one, two = begin("a"), begin("a")  # two processes of one node
    one.set("requests", 5)
    two.standby.look()
    held = [await (one, two)[i % 2].hold() for i in range(5)]
    said = await refused(two)
    assert "the limit of 5 requests a day (UTC) for project is reached" in said.message
    assert 0 < said.details["retry_after_s"] <= 86_400 and said.details["limit"] == "requests"
    for h in held[:3]:
        assert h is not None
        h.settle(answered(1, 1))
    await refused(one)  # what was made counts, whether it is under way or over
    assert held[3] is not None
    held[3].release()  # nothing was sent
    assert await one.hold() is not None
    await refused(two)


async def test_what_is_not_used_is_given_back(begin: Begin) -> None:
    node = begin("a")
    node.set("tokens", 1000)
    first = await node.hold(given=100, most=800)
    said = await refused(node, given=100, most=100)
    assert "this call sets aside 200, and 100 are left" in said.message
    assert first is not None
    first.settle(answered(90, 10))
    assert node.uses() == [(100.0, 0.0)]
    assert await node.hold(given=100, most=800) is not None


async def test_a_call_that_can_never_fit_is_told_so(begin: Begin) -> None:
    node = begin("a")
    node.set("tokens", 1000)
    said = await refused(node, given=500, most=OUTPUT_TOKENS)
    assert (
        said.message
        == "this call sets aside 500 tokens in and 4,096 out: more than the whole limit of 1,000 tokens a day (UTC) for project"
    )
    assert "max_tokens" in (said.remedy or "") and "retry_after_s" not in said.details


async def test_dollars_go_by_prices(begin: Begin) -> None:
    node = begin("a")
    node.set("dollars", 0.01, "ever")
    price = Prices().price("openai", "gpt-4o", Usage(100, 100), 0)
    assert price is not None
    held = await node.hold(given=100, most=100)
    assert node.uses() == [(0.0, pytest.approx(price, abs=1e-9))]
    assert held is not None
    held.settle(answered(50, 20, 0.0042))
    assert node.uses() == [(0.0042, 0.0)]
    said = await refused(node, given=100, most=580)
    assert said.details["spent"] and "retry_after_s" not in said.details
    assert "$0.01 in all" in said.message
    unknown = await refused(node, model="mine/x", provider="mine", name="x")
    assert unknown.message.startswith("mine/x has no price")
    node.set("dollars", 0.01, "ever", unpriced="allow")
    assert await node.hold(model="mine/x", provider="mine", name="x") is not None


async def test_what_a_provider_does_not_tell_is_estimated_where_a_limit_counts_it(begin: Begin) -> None:
    node = begin("a")
    node.set("tokens", 100_000)
    node.set("dollars", 100)
    untold = ModelReply(Message("assistant", (TextPart("x" * 30),)), "stop", Usage())
    held = await node.hold(given=40, most=100)
    assert held is not None
    reply, estimated = held.settle(untold)
    assert reply is not None and estimated and reply.usage.input == 40 and reply.usage.output == 30 // BYTES_A_TOKEN
    assert reply.cost == Prices().price("openai", "gpt-4o", reply.usage, 2**60)
    left = await node.hold(given=40, most=100)
    assert left is not None
    gone, estimated = left.settle(None, left=True)  # the client went before anything came; the input was sent
    assert gone is not None and estimated and gone.usage == Usage(40, 0)
    failed = await node.hold(given=40, most=100)
    assert failed is not None and failed.settle(None) == (None, False)
    assert sorted(u for u, _ in node.uses()) == [pytest.approx((reply.cost or 0) + (gone.cost or 0)), 90.0]


async def test_calls_at_once(begin: Begin) -> None:
    node = begin("a")
    node.set("concurrency", 2, "ever")
    first, _ = await node.hold(), await node.hold()
    said = await refused(node)
    assert said.details["retry_after_s"] == 1 and "2 calls of project are under way" in said.message
    assert first is not None
    first.settle(None)
    assert await node.hold() is not None


async def test_whom_a_limit_is_of(begin: Begin) -> None:
    node = begin("a")
    node.set("requests", 1, subject="user:*")
    assert await node.hold(user="ann") and await node.hold(user="bob") and await node.hold(user=None) is None
    assert "user:ann" in (await refused(node, user="ann")).message
    node.set("requests", 1, subject="user:cyd", target="model/openai/gpt-4o")
    node.set("requests", 0, subject="project", target="release/answer")
    assert await node.hold(release="release/other") is None
    assert "on release/answer" in (await refused(node, release="release/answer")).message
    assert await node.hold(project="elsewhere", user="ann") is None


async def test_all_or_nothing_is_set_aside(begin: Begin) -> None:
    node = begin("a")
    node.set("requests", 10)
    node.set("tokens", 100)
    await node.hold(given=50, most=40)
    await refused(node, given=50, most=40)
    assert sorted(node.uses()) == [(0.0, 1.0), (0.0, 90.0)]  # the refused one is in neither


async def test_a_limit_that_is_changed_holds_at_once(begin: Begin) -> None:
    node = begin("a")
    node.set("requests", 1)
    await node.hold()
    await refused(node)
    node.set("requests", 2)
    assert await node.hold() is not None
    node.set("requests", 1)
    await refused(node)


@settings(max_examples=15)
@given(calls=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 60)), max_size=40), limit=st.integers(0, 300))
def test_a_limit_is_exceeded_by_no_more_than_calls_under_way_use_beyond_what_they_set_aside(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[int, int, int]], limit: int
) -> None:
    """Each call sets aside `given + most` and uses any number: the bound that the documents state, against plain addition."""
    folder = tmp_path_factory.mktemp("bound")
    engine = open_meta(Home(folder / "home").database_url)
    node = Node(engine, folder / "a")

    async def go() -> None:
        node.set("tokens", limit)
        used, under_way, beyond = 0, list[tuple[Held, int, int]](), 0
        for place, (given_, most, spent) in enumerate(calls):
            try:
                held = await node.hold(given_, most)
            except Busy:
                assert used + sum(aside for _, aside, _ in under_way) + given_ + most > limit  # nothing that fits is refused
            else:
                assert held is not None
                under_way.append((held, given_ + most, spent))
                assert used + sum(aside for _, aside, _ in under_way) <= limit
                beyond = sum(max(0, spent - aside) for _, aside, spent in under_way)
            if under_way and place % 2:
                held, _, spent = under_way.pop(0)
                held.settle(answered(spent, 0))
                used += spent
        for held, _, spent in under_way:
            held.settle(answered(spent, 0))
            used += spent
        assert node.uses() == [(float(used), 0.0)]
        assert used <= limit + beyond

    asyncio.run(go())
    node.close()
    engine.dispose()


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.govern.limit_world import Node, answered
from windlass.store.meta import open_meta

async def go():
    node = Node(open_meta(sys.argv[1]), Path(sys.argv[2]))
    for _ in range(3):
        (await node.hold()).settle(answered(7, 3))
    held = [await node.hold() for _ in range(4)]
    print("ready", flush=True)
    await asyncio.sleep(3600)

asyncio.run(go())
"""


async def test_what_a_killed_process_had_set_aside_is_given_back(begin: Begin, engine: Engine, tmp_path: Path) -> None:
    node = begin("a")
    node.set("requests", 8)
    url = engine.url.render_as_string(hide_password=False)
    child = subprocess.Popen([sys.executable, "-c", KILLED, url, str(tmp_path / "a")], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    assert node.uses() == [(3.0, 4.0)]
    await node.hold()
    await refused(node)
    child.kill()
    child.wait()
    async with asyncio.timeout(10):
        while node.uses() != [(3.0, 1.0)]:  # by itself, a second after somebody asks
            with contextlib.suppress(Busy):
                if (held := await node.hold()) is not None:
                    held.release()
            await asyncio.sleep(0.05)
    assert [await node.hold() for _ in range(4)]
    await refused(node)


@on_both
async def test_counters_that_were_lost_come_back_from_the_table(begin: Begin, tmp_path: Path) -> None:
    node = begin("a")
    node.set("tokens", 100)
    for _ in range(3):
        held = await node.hold()
        assert held is not None
        held.settle(answered(20, 10))
    node.close()
    again = begin("b")  # another folder, as after a machine that was lost: of an earlier node the table alone is left
    assert again.uses() == [(90.0, 0.0)]
    assert await again.hold(5, 5) is not None
    await refused(again, given=1, most=0)


@pytest.mark.parametrize("database_setting", ["postgresql"], indirect=True)
async def test_several_nodes_together_stay_within_a_limit(begin: Begin) -> None:
    nodes = [begin(name) for name in "abc"]
    nodes[0].set("requests", 60)
    made = 0
    for n in nodes:
        n.standby.look()

    async def many(node: Node) -> int:
        done = 0
        for _ in range(60):
            try:
                held = await node.hold()
            except Busy:
                return done
            assert held is not None
            held.settle(answered(1, 1))
            done += 1
        return done

    made = sum(await asyncio.gather(*map(many, nodes)))
    assert made <= 60
    for n in nodes:
        n.reservations.save()
    made += sum([await many(n) for n in nodes])
    assert made == 60  # and what one had leave for and did not use, others got


@pytest.mark.parametrize("database_setting", ["postgresql"], indirect=True)
async def test_what_a_node_that_vanished_had_leave_for_is_free_after_a_while(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = begin("a"), begin("b")
    a.set("requests", 10)
    b.standby.look()
    assert await a.hold() is not None  # alone, it has leave for all
    monkeypatch.setattr(module, "GIVE_BACK_TRIES", 0)
    await refused(b)
    monkeypatch.setattr("windlass.govern.leases.LIVE_NS", 0)
    assert await b.hold() is not None


def test_windows_are_of_the_calendar() -> None:
    leap = 1_709_210_096 * 10**9  # 2024-02-29T12:34:56Z
    assert [window_at(w, leap)[0] // 10**9 for w in ("minute", "hour", "day", "month")] == [
        1_709_210_040, 1_709_208_000, 1_709_164_800, 1_706_745_600
    ]  # fmt: skip
    assert window_at("month", leap)[1] // 10**9 == 1_709_251_200  # 1 March
    assert window_at("ever", leap) == (0, FOREVER)
    began, ends = window_at("day", leap)
    assert forecast(10, began, ends, began + (ends - began) // 4) == 40
    assert forecast(10, began, ends, began + 1) is None and forecast(10, 0, FOREVER, leap) is None


def test_how_many_tokens_a_request_is_taken_for() -> None:
    assert tokens_in(b"x" * 31) == 11
    picture = b'{"url":"data:image/png;base64,' + b"iVBORw0KGgo" * 100_000 + b'"}'
    assert MEDIA_TOKENS <= tokens_in(picture) < MEDIA_TOKENS + 20
    assert most_out({}) == OUTPUT_TOKENS and most_out({"max_tokens": 5}) == 5
    assert most_out({"max_completion_tokens": 7, "max_tokens": 5, "n": 3}) == 21


def test_headers_say_what_is_left(tmp_path: Path) -> None:
    engine = open_meta(Home(tmp_path / "home").database_url)
    node = Node(engine, tmp_path / "a")
    node.set("requests", 5, "minute")
    node.set("requests", 3, "day")
    node.set("tokens", 1000, "hour")
    held = asyncio.run(node.hold(100, 100, CALL))
    assert held is not None
    said = dict(held.headers)
    assert said[b"x-ratelimit-limit-requests"] == b"3" and said[b"x-ratelimit-remaining-requests"] == b"2"
    assert said[b"x-ratelimit-remaining-tokens"] == b"800" and 0 < int(said[b"x-ratelimit-reset-tokens"][:-1]) <= 3600
    held.release()
    node.close()
