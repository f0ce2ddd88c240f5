"""Where calls of models go: routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from windlass.core.operations import routes
from windlass.core.operations.query import taken
from windlass.sdk.nouns.group import Group


class Routes(Group):
    def set(self, name: str, route: routes.Route | Mapping[str, Any]) -> routes.RouteKept:
        """Have these upstreams answer for a name: `{"upstreams": [{"model": "azure/gpt-5-mini", "weight": 80}, …]}`, with the fields of
        `Route`. Again under the same name replaces. Operation `routes.set`."""
        given = {"name": name, "route": msgspec.to_builtins(route), "project": self._project}
        return self._client.call(routes.SET_ROUTE, taken(routes.RouteSet, given))

    def list(self) -> routes.RouteList:
        """With what each worker has seen of the upstreams. Operation `routes.list`."""
        return self._client.call(routes.ROUTES, routes.RouteQuery(self._project))

    def show(self, name: str) -> routes.RouteKept:
        """Operation `routes.show`."""
        return self._client.call(routes.ROUTE, routes.RouteShow(name, self._project))

    def remove(self, name: str) -> routes.RouteKept:
        """Operation `routes.remove`."""
        return self._client.call(routes.REMOVE_ROUTE, routes.RouteShow(name, self._project))
