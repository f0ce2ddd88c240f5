"""Saved views: one's own and the project's, kept under a name, seen and removed by who may."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import Engine, select

from windlass.core.actor import OWNER, Actor
from windlass.core.errors import Forbidden, Invalid, NotFound
from windlass.core.operations.views import SavedView, ViewQuery, ViewRemove, ViewSave
from windlass.govern.erasure import Subject
from windlass.store.meta import open_meta, read
from windlass.store.tables import saved_views
from windlass.traces.erasing_views import view_room
from windlass.traces.views import MOST, Views

ADA, BOB, VIEWER = Actor("ada", "developer"), Actor("bob", "developer"), Actor("eve", "viewer")


@pytest.fixture
def engine(tmp_path) -> Engine:
    return open_meta(f"sqlite:///{tmp_path}/windlass.db")


@pytest.fixture
def views(engine: Engine) -> Views:
    return Views(engine, now=lambda: 7)


def names(views: Views, actor: Actor, **query) -> list[tuple[str, bool]]:
    return [(v.name, v.shared) for v in views.list(actor, ViewQuery(**query)).items]


def test_ones_own_and_everybodys_stand_side_by_side(views: Views) -> None:
    kept = views.save(ADA, ViewSave("slow", asked={"filter": "latency>2s", "last": "24h", "user": ""}, shared=True))
    assert kept == SavedView("slow", "traces", {"filter": "latency>2s", "last": "24h"}, "ada", 7, True)
    views.save(ADA, ViewSave("slow", asked={"filter": "latency>9s"}))
    views.save(VIEWER, ViewSave("mine", "dashboards", {"by": "model"}))
    assert names(views, ADA) == [("slow", True), ("slow", False)]
    assert names(views, BOB) == [("slow", True)], "nobody sees another's own"
    assert names(views, VIEWER) == [("mine", False), ("slow", True)] and names(views, VIEWER, page="dashboards") == [("mine", False)]
    views.save(BOB, ViewSave("slow", asked={"filter": "latency>3s"}, shared=True))
    assert views.list(ADA, ViewQuery()).items[0].asked == {"filter": "latency>3s"}, "again replaces"
    views.remove(BOB, ViewRemove("slow", shared=True))
    assert names(views, ADA) == [("slow", False)]


def test_who_may_not_is_refused(views: Views) -> None:
    views.save(ADA, ViewSave("slow", asked={"filter": "latency>2s"}, shared=True))
    for what in (lambda: views.save(VIEWER, ViewSave("x", shared=True)), lambda: views.remove(VIEWER, ViewRemove("slow", shared=True))):
        with pytest.raises(Forbidden):
            what()
    for what in (lambda: views.list(ADA, ViewQuery("theirs")), lambda: views.save(ADA, ViewSave("x", project="theirs"))):
        with pytest.raises(Forbidden):
            what()
    with pytest.raises(NotFound, match="no view of yours"):
        views.remove(BOB, ViewRemove("slow"))
    assert views.list(OWNER, ViewQuery("theirs")).items == ()


def test_what_no_page_can_be_asked_is_not_kept(views: Views) -> None:
    for asked, why in (
        ({"filter": "latency>"}, "nothing stands after"),
        ({"cursor": "5"}, "not asked for 'cursor'"),
        ({"search": "x" * 5_000}, "longer"),
    ):
        with pytest.raises(Invalid, match=why):
            views.save(ADA, ViewSave("x", asked=asked))
    assert names(views, ADA) == []


def test_there_is_an_end(views: Views, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windlass.traces.views.MOST", 2)
    for name in ("a", "b", "b"):
        views.save(ADA, ViewSave(name))
    with pytest.raises(Invalid, match="2 views already"):
        views.save(ADA, ViewSave("c"))
    assert MOST == 500 and names(views, ADA) == [("a", False), ("b", False)]


def test_a_person_who_is_erased_is_in_no_filter(views: Views, engine: Engine) -> None:
    views.save(ADA, ViewSave("one", asked={"filter": 'user:"cé@example.org"'}))
    views.save(ADA, ViewSave("two", asked={"filter": "status:error"}))
    subject = Subject("default", ("cé@example.org",))
    room = view_room(engine)
    assert [p.count for p in asyncio.run(room.find(subject))] == [1]
    asyncio.run(room.erase(subject))
    assert asyncio.run(room.left(subject)) == []
    with read(engine) as c:
        assert [r.name for r in c.execute(select(saved_views)).all()] == ["two"]
