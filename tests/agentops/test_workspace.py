"""Tools as a workspace's own code calls them: by their Python name, from threads, from coroutines. Each call goes through the broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select
from tests.evaluate.application import App

from windlass.core.errors import WindlassError
from windlass.store.meta import read
from windlass.store.tables import audit

APP = '''
import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import windlass as w


class Receipt(w.Output):
    order: str
    amount: float


@w.tool(effects="write", secrets=("SHOP_KEY",))
def refund(order: str, amount: float = 1.0) -> Receipt:
    """Refund an order."""
    return Receipt(order=order + " " + str(len(os.environ["SHOP_KEY"])), amount=amount)


@w.tool(effects="none")
def countdown(n: int) -> list[int]:
    """Count down."""
    return [n, *countdown(n - 1)] if n else []


@w.tool(effects="write")
async def later(order: str) -> str:
    """Refund it later."""
    await asyncio.sleep(0)
    return "later " + order


@w.chain
def plainly(question: str) -> str:
    made = refund(question, amount=2)
    return type(made).__name__ + " " + made.order


@w.chain
def by_threads(question: str) -> list[str]:
    with ThreadPoolExecutor(2) as pool:
        return [r.order for r in pool.map(refund, [question, "b"])]


@w.chain
async def in_a_coroutine(question: str) -> list[str]:
    return list(await asyncio.gather(later(question), later("b")))


@w.chain
def down(question: str) -> list[int]:
    return countdown(int(question))


@w.chain
def catches(question: str) -> str:
    try:
        return refund(question).order
    except w.WindlassError as e:
        return e.message
'''


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.setenv("WINDLASS_SECRET_SHOP_KEY", "twelve-chars")
    made = App(tmp_path)
    made.write("app.py", APP)
    made.client.push(made.folder)
    yield made
    made.close()


def recorded(app: App, action: str) -> list[dict[str, Any]]:
    with read(app.platform.engine) as c:
        return [msgspec.json.decode(d) for d in c.execute(select(audit.c.details).where(audit.c.action == action)).scalars()]


CALLS = {
    "plainly": ("7", "Receipt 7 12", ["tool/refund"]), "by_threads": ("7", ["7 12", "b 12"], ["tool/refund"] * 2),
    "in_a_coroutine": ("7", ["later 7", "later b"], ["tool/later"] * 2),
}  # fmt: skip


@pytest.mark.parametrize("chain", CALLS)
def test_code_calls_tools_by_their_name(app: App, chain: str) -> None:
    given, answer, called = CALLS[chain]
    assert app.client.run(f"chain/{chain}", given).output == answer
    entries = recorded(app, "tools.allowed")
    assert [e["tool"].partition("@")[0] for e in entries] == called
    assert {e["agent"] for e in entries} == {f"chain/{chain}"}
    app.client.stops.set(called[0], "look first")
    with pytest.raises(WindlassError, match="was stopped by owner: look first"):
        app.client.run(f"chain/{chain}", given)
    assert len(recorded(app, "tools.allowed")) == len(called)


def test_code_may_go_on_without_a_stopped_tool(app: App) -> None:
    app.client.stops.set("all", "look first")
    assert "everything was stopped" in app.client.run("chain/catches", "7").text
    app.client.stops.lift("all")
    assert app.client.run("chain/catches", "7").text == "7 12"


def test_a_tool_may_call_itself(app: App) -> None:
    assert app.client.run("chain/down", "3").output == [3, 2, 1]
    assert app.client.run("tool/countdown", {"n": 2}).output == [2, 1]
    assert (
        len([s for s in app.client.traces.show(app.client.traces.list(limit=1).items[0].trace_id).spans if s.name == "tool/countdown"]) == 1
    )


def test_a_chains_version_names_the_tools_it_calls(app: App) -> None:
    before = app.client.versions.show("chain/plainly").version
    assert [link.name for link in before.links if link.kind == "tool"] == ["refund"]
    app.edit("app.py", 'return "later " + order', 'return "sooner " + order')
    app.client.push(app.folder)
    assert app.client.versions.show("chain/plainly").version.digest == before.digest
    app.edit("app.py", '"""Refund an order."""', '"""Refund it."""')
    app.client.push(app.folder)
    assert app.client.versions.show("chain/plainly").version.digest != before.digest


def test_without_a_host_a_tool_is_its_function() -> None:
    import windlass as w

    @w.tool(effects="none")
    def double(n: int) -> int:
        """Twice."""
        return n * 2

    assert double(4) == 8
