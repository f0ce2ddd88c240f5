"""What pages of traces are asked, by their addresses: for the pages, and for saved views in the terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal, cast
from urllib.parse import urlencode

import msgspec

from windlass.core.filter import Node, all_of, printed
from windlass.core.filter_reading import conditions_of, read
from windlass.core.operations.traces import FieldQuery, TraceQuery

LATEST = (1 << 63) - 1
HOURS = {"1h": 1, "24h": 24, "7d": 168, "30d": 720}
SHORT = {"search", "uses", "passage", "model", "session", "user", "environment", "score"}  # each says one thing of a filter


class Asked(msgspec.Struct):
    """What is asked of traces: by `filter`, of the `last` hours or days or those that began from one time `to` another, and where it is an
    `evaluation`, of its traces."""

    filter: str
    last: str = ""
    evaluation: str = ""
    begun: int | None = None
    to: int | None = None

    @property
    def since_ns(self) -> int | None:
        return time.time_ns() - HOURS[self.last] * 3_600_000_000_000 if self.last else self.begun

    def fields(self, project: str) -> FieldQuery:
        return FieldQuery(project, self.filter, self.evaluation or None, self.since_ns, self.to)

    def url(self, path: str, **more: Any) -> str:
        told = {"filter": self.filter, "last": self.last, "evaluation": self.evaluation, "since_ns": self.begun, "until_ns": self.to}
        kept = {k: v for k, v in (told | more).items() if v not in (None, "")}
        return f"{path}?{urlencode(kept)}" if kept else path

    def narrowed(self, term: Node) -> Asked:
        """With one thing more."""
        tree = read(self.filter)
        return msgspec.structs.replace(self, filter=printed(all_of([tree, term]) if tree else term))


def asked_of(params: Mapping[str, str]) -> Asked:
    """What the parameters of an address ask; other ones than those of `Asked` each say one thing of the filter. Raises `Invalid`."""
    q = {k: v for k, v in params.items() if v}
    last = q["last"] if q.get("last") in HOURS else ""
    slower = float(q["slower"]) if q.get("slower", "").replace(".", "", 1).isdigit() else None
    status = cast(Literal["ok", "error"], q["status"]) if q.get("status") in ("ok", "error") else None
    text = q.get("filter", "").strip()
    if slower is not None or status or q.keys() & SHORT:
        named = TraceQuery(
            filter=text, search=q.get("search"), status=status, uses=q.get("uses"), passage=q.get("passage"), model=q.get("model"),
            session=q.get("session"), user=q.get("user"), environment=q.get("environment"), slower_than_ms=slower, score=q.get("score"),
        )  # fmt: skip
        text = printed(all_of(conditions_of(named)))
    begun, to = (None, None) if last else (_ns(q, "since_ns"), _ns(q, "until_ns"))
    return Asked(text, last, q.get("evaluation", ""), begun, to)


def _ns(q: dict[str, str], name: str) -> int | None:
    """A time of an address, as charts lead to it; None where there is none."""
    return min(int(q[name]), LATEST) if q.get(name, "").isdecimal() and len(q[name]) < 20 else None
