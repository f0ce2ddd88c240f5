"""Saved views: what a page of traces or the dashboard was asked, kept under a name; one's own, or the project's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Engine, Row, delete, func, insert, or_, select

from windlass.core.actor import Actor
from windlass.core.errors import Invalid, NotFound
from windlass.core.filter_reading import read as read_filter
from windlass.core.ids import now_ns
from windlass.core.operations.views import SavedView, ViewList, ViewQuery, ViewRemove, ViewSave
from windlass.govern import audit
from windlass.govern.permissions import guard
from windlass.store.meta import read, write
from windlass.store.tables import saved_views as table

ASKED = frozenset({
    "filter", "last", "since_ns", "until_ns", "evaluation", "status", "by", "attribute", "first", "fields", "search", "uses", "passage",
    "model", "session", "user", "environment", "score", "slower",
})  # fmt: skip
MOST, LONGEST = 500, 4_000
EVERYBODY = ""  # the owner of what is shared


class Views:
    """Operations `views.save`, `views.list` and `views.remove`."""

    def __init__(self, engine: Engine, now: Callable[[], int] = now_ns) -> None:
        self._engine = engine
        self._now = now

    def save(self, actor: Actor, asked: ViewSave) -> SavedView:
        """Raises `Forbidden`, and `Invalid` for what no page can be asked."""
        guard(actor, "write" if asked.shared else "read", asked.project)
        kept = _checked(asked.asked)
        owner = _owner(actor, asked.shared)
        made = SavedView(asked.name.strip(), asked.page, kept, actor.id, self._now(), asked.shared)
        with write(self._engine) as c:
            c.execute(delete(table).where(*_mine(asked.project, owner, made.name)))
            count = c.execute(select(func.count()).select_from(table).where(table.c.project == asked.project, table.c.owner == owner))
            if (count.scalar() or 0) >= MOST:
                raise Invalid(f"there are {MOST} views already", where="name", remedy="windlass views remove those that nobody needs")
            c.execute(
                insert(table).values(
                    project=asked.project, owner=owner, name=made.name, page=made.page, asked=msgspec.json.encode(kept).decode(),
                    actor=actor.id, at_ns=made.at_ns,
                )
            )  # fmt: skip
            audit.record(c, actor, "views.save", asked.project, made.name, shared=asked.shared)
        return made

    def list(self, actor: Actor, query: ViewQuery) -> ViewList:
        """Raises `Forbidden`."""
        guard(actor, "read", query.project)
        seen = [table.c.project == query.project, or_(table.c.owner == EVERYBODY, table.c.owner == actor.id)]
        if query.page:
            seen.append(table.c.page == query.page)
        with read(self._engine) as c:
            found = c.execute(select(table).where(*seen).order_by(table.c.name, table.c.owner)).all()
        return ViewList(tuple(map(_view, found)))

    def remove(self, actor: Actor, asked: ViewRemove) -> SavedView:
        """Raises `Forbidden` and `NotFound`."""
        guard(actor, "write" if asked.shared else "read", asked.project)
        mine = _mine(asked.project, _owner(actor, asked.shared), asked.name)
        with write(self._engine) as c:
            if (row := c.execute(select(table).where(*mine)).first()) is None:
                kind = "shared view" if asked.shared else "view of yours"
                raise NotFound(f"there is no {kind} {asked.name!r}", where="name", remedy="windlass views lists them")
            c.execute(delete(table).where(*mine))
            audit.record(c, actor, "views.remove", asked.project, row.name, shared=asked.shared)
        return _view(row)


def _owner(actor: Actor, shared: bool) -> str:
    return EVERYBODY if shared else actor.id


def _mine(project: str, owner: str, name: str) -> tuple[ColumnElement[bool], ...]:
    return table.c.project == project, table.c.owner == owner, table.c.name == name


def _view(row: Row[Any]) -> SavedView:
    asked = msgspec.json.decode(row.asked, type=dict[str, str])
    return SavedView(row.name, row.page, asked, row.actor, row.at_ns, row.owner == EVERYBODY)


def _checked(asked: dict[str, str]) -> dict[str, str]:
    """What is asked, without what is empty. Raises `Invalid`."""
    kept = {name: value for name, value in asked.items() if value}
    if unknown := sorted(kept.keys() - ASKED):
        raise Invalid(f"a page is not asked for {unknown[0]!r}", where="asked", remedy=f"it is asked for {', '.join(sorted(ASKED))}")
    if sum(map(len, kept.values())) > LONGEST:
        raise Invalid(f"this is longer than {LONGEST:,} characters", where="asked", remedy="make the filter shorter")
    read_filter(kept.get("filter", ""))
    return kept
