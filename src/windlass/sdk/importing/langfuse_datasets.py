"""Langfuse's datasets with their items, and which traces are items of which run.

GET /api/public/v2/datasets             a page at a time
GET /api/public/dataset-items           of one, by its name
GET /api/public/datasets/{name}/runs    of one; runs/{run} has its items (Langfuse 3; the newer one tells them as `experiment-items`)

An item is a row, its id the key. A dataset of a name that is here already is left alone, unless it came this way: then items that are
not here are put to it. One that is here and says something else is told, and set as it is there only where everything is read again.
Nothing is taken out: what is archived there is not brought, and stays where it is here.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from windlass.core import foreign_runs
from windlass.core.errors import Forbidden, Invalid, NotFound, TooLarge
from windlass.core.operations.datasets import EDIT, About, EditRequest
from windlass.core.operations.registry import VERSIONS, VersionQuery
from windlass.core.ref import is_name
from windlass.sdk.client import Client
from windlass.sdk.importing import spans as otlp
from windlass.sdk.importing.foreign import Foreign, Query
from windlass.sdk.importing.source import Left

PAGE = 100
NOTE = "from Langfuse"  # of a version that came this way
ROWS, BYTES = 500, 2_000_000  # of one version, about
LONGEST_ID = 255
TOLD = 20  # items of a dataset that are told one by one
ITEM = "dataset run item"
MEDIA = "@@@langfuseMedia:"

Row = dict[str, Any]


class Datasets(NamedTuple):
    """`names`: id there → name here. `datasets` have something new here, `rows` of it in all."""

    names: dict[str, str]
    datasets: int
    rows: int


class ItemOfRun(NamedTuple):
    """A trace of theirs that is an item of a run."""

    run: str
    name: str
    dataset: str | None  # by its name here
    key: str
    trace: str
    observation: str | None
    description: str | None = None
    metadata: Any = None


def bring_datasets(client: Client, server: Foreign, left: Counter[Left], *, again: bool, dry: bool) -> Datasets:
    """Bring all datasets, or with `dry` count what would come. Raises what reading and writing do."""
    names, new, rows = dict[str, str](), 0, 0
    try:
        for said in _listed(server, "/api/public/v2/datasets"):
            name = str(said["name"])
            try:
                came = _Dataset(client, server, said, left, dry).bring(again)
            except Forbidden:
                left[Left("datasets", "the key here may not write")] += 1
                continue
            except (Invalid, NotFound) as e:  # it may have gone meanwhile
                left[Left("datasets", f"{name[:60]}: {e.message[:200]}")] += 1
                continue
            names[str(said["id"])] = name
            new, rows = new + (came is not None), rows + (came or 0)
    except NotFound:  # of before there were any
        pass
    return Datasets(names, new, rows)


class _Dataset:
    """One of theirs, on its way here."""

    def __init__(self, client: Client, server: Foreign, said: dict[str, Any], left: Counter[Left], dry: bool) -> None:
        self._client, self._server, self._said, self._left, self._dry = client, server, said, left, dry
        self.name = str(said["name"])
        self._wrong = 0

    def bring(self, again: bool) -> int | None:
        """How many rows came; None where nothing did. Raises `Invalid` where it stays there whole, `Forbidden`."""
        if not is_name(self.name):
            raise Invalid("their names have other letters than lower-case ones, digits, '-', '_' and '.'")
        is_new, here = self._here()
        if is_new:
            self._edit(About(str(self._said.get("description") or ""), self._said.get("metadata")))
        for field in ("inputSchema", "expectedOutputSchema"):
            if self._said.get(field):
                self._left[Left("datasets' schemas", "rows are not held against one here")] += 1
        many, some, size = 0, list[Row](), 0
        for row in self._rows(here, again):
            some.append(row)
            size += len(msgspec.json.encode(row))
            if len(some) >= ROWS or size >= BYTES:
                many, some, size = many + self._set(some), [], 0
        many += self._set(some) if some else 0
        if self._wrong > TOLD:
            self._left[Left("items of datasets", f"{self.name}: further ones, for such reasons")] += self._wrong - TOLD
        return many if many or is_new else None

    def _here(self) -> tuple[bool, dict[str, Row]]:
        """Whether there is none of that name, and the rows of the one there is. Raises `Invalid` for one that did not come this way."""
        cursor, first = None, None
        while True:
            try:
                page = self._client.call(VERSIONS, VersionQuery(f"dataset/{self.name}", self._client.project, cursor, 200))
            except NotFound:
                return True, {}
            first = page.items[-1] if page.items else first
            if not (cursor := page.next):
                break
        if first is None or first.note != NOTE:
            raise Invalid("a dataset of that name is here already, and did not come this way")
        return False, {row["key"]: row for row in self._client.datasets.all(self.name)}

    def _rows(self, here: dict[str, Row], again: bool) -> Iterator[Row]:
        """Rows that are to be set."""
        for item in _listed(self._server, "/api/public/dataset-items", [("datasetName", self.name)]):
            if item.get("status") not in (None, "ACTIVE"):
                self._left[Left("items of datasets", "they are archived there")] += 1
                continue
            try:
                row = row_of(item)
            except Invalid as e:
                self._tell(str(item.get("id")), e.message)
                continue
            if MEDIA in str(row):
                self._left[Left("items' media", "files are not kept with a row here; their names stay in the texts")] += 1
            known = here.get(row["key"])
            if known is None or (again and known != row):
                yield row
            elif known != row:
                self._tell(row["key"], "it says something else here; --again sets it as it is there")

    def _set(self, rows: list[Row]) -> int:
        """How many were taken: what cannot be is told, and the others are."""
        if self._dry:
            return len(rows)
        try:
            told = self._edit(None, *rows)
        except (Invalid, TooLarge) as e:
            if len(rows) == 1:
                self._tell(rows[0]["key"], e.message)
                return 0
            middle = len(rows) // 2
            return self._set(rows[:middle]) + self._set(rows[middle:])
        for problem in told:
            self._tell("", problem)
        return len(rows) - len(told)

    def _edit(self, about: About | None, *rows: Row) -> tuple[str, ...]:
        """What was left out."""
        if self._dry:
            return ()
        asked = EditRequest(f"dataset/{self.name}", rows, project=self._client.project, message=NOTE, drift=True, about=about)
        return self._client.call(EDIT, asked).problems

    def _tell(self, id: str, why: str) -> None:
        self._wrong += 1
        if self._wrong <= TOLD:
            self._left[Left("items of datasets", ": ".join(filter(None, (self.name, id[:60], why[:200]))))] += 1


def row_of(item: dict[str, Any]) -> Row:
    """An item as a row. Raises `Invalid`."""
    id = item.get("id")
    if not isinstance(id, str) or not 0 < len(id) <= LONGEST_ID or not id.isprintable():
        raise Invalid(f"its id is none of 1 to {LONGEST_ID} characters without line breaks")
    told = {"input": item.get("input"), "expected_output": item.get("expectedOutput"), "metadata": item.get("metadata")}
    row = {"key": id, **{field: value for field, value in told.items() if value is not None}}
    if len(row) == 1:
        raise Invalid("it says nothing")
    if trace := item.get("sourceTraceId"):
        row["origin"] = {"trace": otlp.identity(str(trace), otlp.TRACE_BYTES).hex()}
        if span := item.get("sourceObservationId"):
            row["origin"]["span"] = otlp.identity(str(span), otlp.SPAN_BYTES).hex()
    return row


def item_of_run(said: dict[str, Any], names: dict[str, str]) -> ItemOfRun:
    """One of `experiment-items`."""
    return ItemOfRun(
        str(said["experimentId"]), str(said["experimentName"]), names.get(str(said.get("experimentDatasetId"))),
        str(said["experimentItemId"]), str(said["traceId"]), said.get("id"), said.get("experimentDescription"),
        said.get("experimentMetadata"),
    )  # fmt: skip


def items_of_runs(server: Foreign, names: dict[str, str]) -> dict[str, list[ItemOfRun]]:
    """Of Langfuse 3: traces there, each with the runs that it is an item of."""
    found: dict[str, list[ItemOfRun]] = {}
    for name in names.values():
        path = f"/api/public/datasets/{quote(name, safe='')}/runs"
        for run in _listed(server, path):
            told = server.get(f"{path}/{quote(str(run['name']), safe='')}")
            for item in told.get("datasetRunItems") or []:
                one = ItemOfRun(
                    str(run["id"]), str(run["name"]), name, str(item["datasetItemId"]), str(item["traceId"]), item.get("observationId"),
                    run.get("description"), run.get("metadata"),
                )  # fmt: skip
                found.setdefault(one.trace, []).append(one)
    return found


def span_of(item: ItemOfRun, at_ns: int) -> Span:
    """What puts a trace into a run, as doors do; the same for the same again. `at_ns` is when the trace began, which is not made longer."""
    span = Span(name=ITEM, start_time_unix_nano=at_ns, end_time_unix_nano=at_ns)
    span.trace_id = otlp.identity(item.trace, otlp.TRACE_BYTES)
    span.span_id = hashlib.sha256("\0".join(("item", item.run, item.trace, item.key)).encode()).digest()[: otlp.SPAN_BYTES]
    if item.observation:
        span.parent_span_id = otlp.identity(item.observation, otlp.SPAN_BYTES)
    said = {
        foreign_runs.RUN_ID: item.run, foreign_runs.RUN_NAME: item.name, foreign_runs.ITEM: item.key,
        foreign_runs.DATASET: foreign_runs.dataset_id(item.dataset) if item.dataset else None,
        foreign_runs.DESCRIPTION: item.description, foreign_runs.METADATA: otlp.text(item.metadata),
    }  # fmt: skip
    otlp.put(span.attributes, said)
    return span


def _listed(server: Foreign, path: str, query: Query = ()) -> Iterator[dict[str, Any]]:
    number = 1
    while True:
        told = server.get(path, [*query, ("page", str(number)), ("limit", str(PAGE))])
        yield from told["data"]
        number += 1
        if number > int((told.get("meta") or {}).get("totalPages", 0)):
            return
