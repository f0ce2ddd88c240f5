"""Operations on pins: recorded reads of data we do not own."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from windlass.core.operations import Limit, Operation, Page
from windlass.core.operations.datasets import Row, RowCounts, RowDifference
from windlass.core.pin import Clock, Observed, Outcome, Record, Spec


class PinAdd(msgspec.Struct, omit_defaults=True):
    """Read something once and record it as `name`. `source` is an address without a secret, or a name of `sources.toml`; `key` are the
    columns that name a row. `keep`: also keep the rows here; unless told, wherever the source cannot be read again as it was."""

    name: str
    source: str
    query: str = ""
    table: str = ""
    key: tuple[str, ...] = ("key",)
    parameters: dict[str, Any] = {}
    keep: bool | None = None
    project: str = "default"


class PinQuery(msgspec.Struct, omit_defaults=True):
    project: str = "default"
    cursor: str | None = None
    limit: Limit = 50


class PinShow(msgspec.Struct, omit_defaults=True):
    name: str
    project: str = "default"


class PinState(msgspec.Struct, omit_defaults=True):
    """A pin as it stands now. `said` is the clock in words, `ref` the version of the reading, `rows` that of its rows where they are
    kept, `observed` the newest look at the source since."""

    name: str
    spec: Spec
    record: Record
    clock: Clock
    said: str
    read_ns: int
    actor: str
    ref: str
    rows: str | None = None
    observed: Observed | None = None


class PinPage(Page):
    items: tuple[PinState, ...]


class PinLook(msgspec.Struct, omit_defaults=True):
    """One look at the source, of the history of a pin; `reading` is the digest of the version it was compared with."""

    at_ns: int
    actor: str
    outcome: Outcome
    why: str = ""
    count: int | None = None
    digest: str | None = None
    reading: str | None = None


class PinDetail(msgspec.Struct, omit_defaults=True):
    """`history` is newest first, at most 200 looks. `message` says what else there is to know of what was just done."""

    pin: PinState
    history: tuple[PinLook, ...]
    message: str = ""


class PinRead(msgspec.Struct, omit_defaults=True):
    """Rows as they were pinned, at most `limit` of them."""

    name: str
    limit: Limit = 20
    project: str = "default"


class PinRows(msgspec.Struct):
    pin: PinState
    items: tuple[Row, ...]


class PinCompare(msgspec.Struct, omit_defaults=True):
    """Ask the source, for the recorded state where it can give that again, else for what it has now, and say what differs. A look never
    changes what is pinned."""

    name: str
    project: str = "default"


class PinDifference(msgspec.Struct, omit_defaults=True):
    """`digest` and `count` are of what was read now. `columns` says what changed in the schema, `rows` how many rows differ, `keys` some
    of them (at most 50, those of one kind before those of the next)."""

    pin: PinState
    outcome: Outcome
    why: str
    count: int | None = None
    digest: str | None = None
    columns: tuple[str, ...] = ()
    rows: RowCounts | None = None
    keys: tuple[RowDifference, ...] = ()
    problems: tuple[str, ...] = ()


class PinKeep(msgspec.Struct, omit_defaults=True):
    """Keep the rows of a pin here, as a version of `dataset/name`. `now`: read what the source has now, as a new reading of the pin."""

    name: str
    now: bool = False
    project: str = "default"


class PinJob(msgspec.Struct, omit_defaults=True):
    """A source being read. `rows` have come so far. At the end there is a `detail`, a `difference` where it was compared, or an `error`
    in the shape of `WindlassError.as_dict`."""

    id: str
    name: str
    what: Literal["add", "keep", "compare"]
    status: Literal["queued", "running", "done", "failed"]
    created_ns: int
    rows: int = 0
    detail: PinDetail | None = None
    difference: PinDifference | None = None
    error: dict[str, Any] | None = None


class PinJobQuery(msgspec.Struct, omit_defaults=True):
    id: str
    project: str = "default"


ADD_PIN = Operation("pins.add", "POST", PinAdd, PinJob, "admin")
PINS = Operation("pins.list", "GET", PinQuery, PinPage, "read")
SHOW_PIN = Operation("pins.show", "GET", PinShow, PinDetail, "read")
READ_PIN = Operation("pins.read", "POST", PinRead, PinRows, "read", also="rows that are not kept here, which are asked for again: write")
COMPARE_PIN = Operation("pins.compare", "POST", PinCompare, PinJob, "write")
KEEP_PIN = Operation("pins.keep", "POST", PinKeep, PinJob, "write")
PIN_JOB = Operation("pins.job", "GET", PinJobQuery, PinJob, "read")
