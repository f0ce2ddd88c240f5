"""Addresses of pages that a project keeps under names."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from windlass.core.operations import Operation

ViewPage = Literal["traces", "dashboards"]
ViewName = Annotated[str, msgspec.Meta(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\s][^\x00-\x1f]*$")]


class SavedView(msgspec.Struct, omit_defaults=True):
    """`asked` are the parameters of the page's address: `filter`, `last`, `by` and so on. `shared` is for everybody in the project, else it
    is its maker's (`by`) alone."""

    name: str
    page: ViewPage
    asked: dict[str, str]
    by: str
    at_ns: int
    shared: bool = False


class ViewSave(msgspec.Struct, omit_defaults=True):
    """Again under the same name replaces."""

    name: ViewName
    page: ViewPage = "traces"
    asked: dict[str, str] = {}
    shared: bool = False
    project: str = "default"


class ViewQuery(msgspec.Struct, omit_defaults=True):
    project: str = "default"
    page: ViewPage | None = None


class ViewRemove(msgspec.Struct, omit_defaults=True):
    name: str
    shared: bool = False
    project: str = "default"


class ViewList(msgspec.Struct):
    """Shared ones and one's own, by name; at most 500 of each."""

    items: tuple[SavedView, ...]


VIEWS = Operation("views.list", "GET", ViewQuery, ViewList, "read")
SAVE_VIEW = Operation("views.save", "POST", ViewSave, SavedView, "read", also="write, where it is shared")
REMOVE_VIEW = Operation("views.remove", "POST", ViewRemove, SavedView, "read", also="write, where it is shared")
