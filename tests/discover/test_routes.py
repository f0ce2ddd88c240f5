"""Routes: kept, audited, refused where they lead nowhere; and read from memory, also when the store is away."""

from __future__ import annotations

import asyncio
import os
import threading
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, insert, select

from windlass.core.actor import OWNER, Actor
from windlass.core.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable
from windlass.core.operations.routes import FALL_BACK, Route, RouteQuery, RouteSet, RouteShow, UpstreamHealth
from windlass.discover.providers import load_providers
from windlass.discover.route_health import read_health, tell_health
from windlass.discover.routes import FRESH_S, LATE_S, Routes, RouteTable
from windlass.store.meta import open_meta, read, write
from windlass.store.tables import audit, versions

ADA, VIEWER = Actor("ada", "developer"), Actor("eve", "viewer")


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return open_meta(f"sqlite:///{tmp_path}/windlass.db")


@pytest.fixture
def table(engine: Engine) -> RouteTable:
    return RouteTable(engine)


@pytest.fixture
def routes(engine: Engine, table: RouteTable, tmp_path: Path) -> Routes:
    return Routes(engine, table, load_providers(None, {"OPENAI_API_KEY": "k"}), tmp_path)


def asked(name: str = "fast", *models: str, project: str = "default", **rules: Any) -> RouteSet:
    upstreams = [{"model": m} for m in models or ("openai/gpt-5-mini", "anthropic/claude-haiku-4-5")]
    return msgspec.convert({"name": name, "route": {"upstreams": upstreams, **rules}, "project": project}, RouteSet)


def test_a_route_is_kept_shown_replaced_and_removed_and_each_is_in_the_audit(routes: Routes, table: RouteTable, engine: Engine) -> None:
    kept = routes.set(ADA, asked())
    assert (kept.name, kept.by, kept.route.fall_back_on) == ("fast", "ada", FALL_BACK)
    assert kept.problems == ("anthropic/claude-haiku-4-5: ANTHROPIC_API_KEY is not set",)
    assert table.find("default", "fast") == table.find("default", "route/fast") == ("fast", kept.route)
    assert table.find("theirs", "fast") is None and table.find("default", "openai/gpt-5-mini") is None
    again = routes.set(ADA, asked("fast", "openai/gpt-5"))
    assert again.digest != kept.digest and [k.name for k in routes.list(ADA, RouteQuery()).items] == ["fast"]
    routes.set(ADA, asked("openai/gpt-5-mini", "openai/gpt-5-mini"))
    assert routes.show(VIEWER, RouteShow("route/openai/gpt-5-mini")).route.upstreams[0].model == "openai/gpt-5-mini"
    assert routes.remove(ADA, RouteShow("fast")).route == again.route
    assert table.find("default", "fast") is None and [k.name for k in routes.list(ADA, RouteQuery()).items] == ["openai/gpt-5-mini"]
    with pytest.raises(NotFound):
        routes.remove(ADA, RouteShow("fast"))
    routes.set(ADA, asked())
    assert table.find("default", "fast") is not None
    with read(engine) as c:
        entries = c.execute(select(audit.c.action, audit.c.subject).order_by(audit.c.seq)).all()
    whole = "route/openai/gpt-5-mini"
    steps = [("set", "fast"), ("set", "fast"), ("set", whole), ("remove", "fast"), ("set", "fast")]
    assert entries == [(f"routes.{a}", s if s == whole else f"route/{s}") for a, s in steps]


def test_who_may_not_is_refused(routes: Routes) -> None:
    routes.set(ADA, asked())
    for what in (
        lambda: routes.set(VIEWER, asked()),
        lambda: routes.remove(VIEWER, RouteShow("fast")),
        lambda: routes.list(ADA, RouteQuery("theirs")),
        lambda: routes.set(ADA, asked(project="theirs")),
        lambda: routes.show(Actor("c", "caller"), RouteShow("fast")),
    ):
        with pytest.raises(Forbidden):
            what()


@pytest.mark.parametrize(
    ("name", "models", "error", "words"),
    [
        ("fast", ("route/slow",), Invalid, "not to other routes"),
        ("fast", ("slow",), Invalid, "write provider/model"),
        ("fast", ("openai/x", "openai/x"), Invalid, "named twice"),
        ("fast", ("opennai/x",), NotFound, "did you mean 'openai'"),
        ("fast", ("openai/",), Invalid, "names no model"),
        ("baseline", ("openai/x",), Invalid, "cannot be a route"),
        ("release/x", ("openai/x",), Invalid, "cannot be a route"),
        ("route/x", ("openai/x",), Invalid, "cannot be a route"),
        ("Fast", ("openai/x",), Invalid, "lower-case"),
    ],
)
def test_what_leads_nowhere_is_refused_with_the_place(
    routes: Routes, name: str, models: tuple[str, ...], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        routes.set(ADA, asked(name, *models))
    assert routes.list(ADA, RouteQuery()).items == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"upstreams": []}, {"upstreams": [{"model": "a/b", "weight": 0}]}, {"upstreams": [{"model": "a/b", "wieght": 1}]},
        {"upstreams": [{"model": "a/b"}], "fall_back_on": ["sometimes"]}, {"upstreams": [{"model": "a/b"}], "fall_back_on": ["200"]},
        {"upstreams": [{"model": "a/b"}], "retries": {"attempts": 0}}, {"upstreams": [{"model": "a/b"}], "timeouts": {"total": 9}},
    ],
)  # fmt: skip
def test_a_form_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, Route)


def test_a_release_keeps_its_name(routes: Routes, engine: Engine) -> None:
    def push(name: str) -> None:
        values = {"project": "default", "kind": "release", "name": name, "digest": "sha256:aa", "body": "{}", "neutral": "{}"}
        with write(engine) as c:
            c.execute(insert(versions).values(**values, created_ns=1, actor="ada"))

    push("answer")
    with pytest.raises(Conflict, match="name of a release"):
        routes.set(ADA, asked("answer"))
    routes.set(ADA, asked("later", "openai/x"))
    push("later")
    assert "there is a release later too" in routes.show(ADA, RouteShow("later")).problems[0]


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


async def test_another_process_is_followed_and_the_last_known_stays_when_the_store_is_away(
    engine: Engine, routes: Routes, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    other = RouteTable(engine, clock)
    assert other.stale
    await other.fresh()
    assert other.find("default", "fast") is None and not other.stale
    routes.set(ADA, asked())
    await other.fresh()
    assert other.find("default", "fast") is None, "within a second it does not look again"
    clock.now += LATE_S
    await other.fresh()
    assert other.find("default", "fast") is not None
    routes.remove(ADA, RouteShow("fast"))
    clock.now += LATE_S
    await other.fresh()
    assert other.find("default", "fast") is None
    routes.set(ADA, asked())
    clock.now += LATE_S
    await other.fresh()

    def away() -> None:
        raise Unavailable("the store is away")

    monkeypatch.setattr(other, "load", away)
    for _ in range(3):
        clock.now += 100
        await other.fresh()
        assert other.find("default", "fast") is not None
    monkeypatch.undo()
    routes.remove(ADA, RouteShow("fast"))
    clock.now += FRESH_S
    await other.fresh()
    async with asyncio.timeout(5):  # and it is read again when it is back
        while other.find("default", "fast") is not None:
            await asyncio.sleep(0.005)


async def test_what_is_a_second_old_is_used_while_it_is_read_again(engine: Engine, routes: Routes) -> None:
    clock = Clock()
    other = RouteTable(engine, clock)
    await other.fresh()
    routes.set(ADA, asked())
    clock.now += FRESH_S
    await other.fresh()  # does not wait
    async with asyncio.timeout(5):
        while other.find("default", "fast") is None:
            await asyncio.sleep(0.005)


async def test_a_store_that_hangs_is_waited_for_once(engine: Engine, routes: Routes, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, back = Clock(), threading.Event()
    other = RouteTable(engine, clock)
    routes.set(ADA, asked())
    await other.fresh()
    monkeypatch.setattr(other, "load", lambda: back.wait(10) and None)
    monkeypatch.setattr("windlass.discover.routes.PATIENCE_S", 0.01)
    clock.now += LATE_S
    await other.fresh()

    async def never(*args: Any, **how: Any) -> None:
        raise AssertionError("it waits again")

    monkeypatch.setattr("windlass.discover.routes.asyncio.wait", never)
    for _ in range(3):
        clock.now += LATE_S
        await other.fresh()
        assert other.find("default", "fast") is not None
    back.set()


async def test_a_process_that_never_knew_them_does_not_guess(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    other = RouteTable(engine)

    def away() -> None:
        raise Unavailable("the store is away")

    monkeypatch.setattr(other, "load", away)
    with pytest.raises(Unavailable, match="cannot be read"):
        await other.fresh()


def test_each_process_tells_what_it_saw_and_the_dead_are_not_listened_to(routes: Routes, tmp_path: Path) -> None:
    routes.set(ADA, asked())
    mine = UpstreamHealth("default", "fast", "openai/gpt-5-mini", "open", 7, 5, last_failure="500: down")
    others = [msgspec.structs.replace(mine, project="theirs"), msgspec.structs.replace(mine, route="slow")]
    tell_health(tmp_path, "doors-1", (mine, *others))
    tell_health(tmp_path, "doors-2", (msgspec.structs.replace(mine, model="openai/gone"),))
    (tmp_path / "routes" / "dead.json").write_text(f'{{"process":"dead","pid":{2**22 + 1},"at_ns":1,"upstreams":[]}}')
    (tmp_path / "routes" / "cut.json").write_text('{"process":')
    kept = routes.show(OWNER, RouteShow("fast"))
    assert [(w.process, w.pid, w.upstreams) for w in kept.health] == [("doors-1", os.getpid(), (mine,))]
    assert [w.process for w in read_health(tmp_path)] == ["doors-1", "doors-2"]


def test_the_documents_route_is_one_and_tells_what_holds_without_it() -> None:
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    block = page.partition("Everything a route can say")[2].partition("**Who is asked.**")[0]
    said = tomllib.loads("\n".join(line[4:] for line in block.splitlines() if line.startswith("    ")))
    route, plain = msgspec.convert(said, Route), Route(())
    assert (route.sticky, route.fall_back_on, route.same_vectors) == (plain.sticky, plain.fall_back_on, plain.same_vectors)
    assert (route.retries, route.breaker, route.timeouts.queue_s) == (plain.retries, plain.breaker, plain.timeouts.queue_s)
    named = {f"{k}.{n}" for k, v in said.items() if isinstance(v, dict) for n in v} | said.keys() | said["upstreams"][0].keys()
    for part in (Route, *(type(getattr(plain, k)) for k in ("retries", "timeouts", "breaker"))):
        for field in part.__struct_fields__:
            assert any(n.rpartition(".")[2] == field for n in named), field
