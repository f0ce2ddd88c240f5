"""Operations on sessions: runs of one conversation or task, and in each what agents wanted, what was decided, what ran, what came of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from windlass.core.operations import Limit, Operation, Page
from windlass.core.operations.datasets import Edited
from windlass.core.operations.traces import ScoreGiven, TraceSummary

Outcome = Literal["ok", "failed", "refused", "wrong"]


class SessionQuery(msgspec.Struct, omit_defaults=True):
    """`search` is a part of the id, `agent` who called tools in it: `agent/name`. Evaluation runs are left out."""

    project: str = "default"
    search: str | None = None
    agent: str | None = None
    cursor: str | None = None
    limit: Limit = 50


class SessionSummary(msgspec.Struct, omit_defaults=True):
    """`ran` and `refused` count calls of tools; `asked` those that waited for a person. `cost` in US dollars, None when unknown. Times are
    UTC nanoseconds; `end_ns` is when the last run that is recorded ended."""

    id: str
    start_ns: int
    end_ns: int
    runs: int
    ran: int
    refused: int
    asked: int = 0
    failed: int = 0  # runs
    cost: float | None = None
    callers: tuple[str, ...] = ()
    user: str | None = None


class SessionPage(Page):
    """The newest first, by their last run."""

    items: tuple[SessionSummary, ...]


class SessionShow(msgspec.Struct, omit_defaults=True):
    """`id` is a session's, or where no session has it a trace's: one run. `limit` runs are shown; `cursor` goes on to older ones."""

    id: str
    project: str = "default"
    cursor: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=50)] = 20


class Waited(msgspec.Struct, frozen=True, omit_defaults=True):
    """How long a call waited for a person, for which request, and how that ended."""

    approval: str
    state: str
    duration_ns: int
    why: str = ""


class SessionCall(msgspec.Struct, omit_defaults=True):
    """One call of a tool. Three things are kept apart: it was attempted (`name`, `arguments`, by `caller`); it was `executed`, or not, as
    `decision` says with `code` and `why`; and what came of it, its `outcome`: ok, failed in the body, refused by the broker, or wrong,
    a call of what is not there or with arguments that do not fit. `decision` is empty where nobody stood between. `result` is what the
    tool gave, shortened, or what was told instead; `untrusted` says what in it speaks to a model. `tool` is the version that ran.
    `inside` is the name of the call in whose code it was made."""

    span: str
    name: str
    start_ns: int
    executed: bool
    outcome: Outcome
    arguments: Any = None
    caller: str = ""
    decision: str = ""
    code: str = ""
    why: str = ""
    grant: str = ""
    audit: int | None = None
    tool: str = ""
    duration_ns: int = 0
    cost: float | None = None
    result: str = ""
    error: str = ""
    untrusted: tuple[str, ...] = ()
    waited: Waited | None = None
    inside: str = ""


class Wanted(msgspec.Struct, frozen=True):
    """A call that a model asked for."""

    name: str
    arguments: Any


class SessionStep(msgspec.Struct, omit_defaults=True):
    """One question of an agent to its model: what the model said and wanted, and what came of each call, in the order wanted."""

    span: str
    agent: str
    number: int
    start_ns: int
    duration_ns: int
    model: str = ""
    said: str = ""
    wanted: tuple[Wanted, ...] = ()
    calls: tuple[SessionCall, ...] = ()
    cost: float | None = None
    tokens: int | None = None
    error: str = ""


class SessionRun(msgspec.Struct, omit_defaults=True):
    """One run. `calls` are those that no step of an agent made: by code, by hand, by an agent outside. `shortened`: it has more spans than
    are read."""

    trace: TraceSummary
    versions: tuple[str, ...] = ()
    steps: tuple[SessionStep, ...] = ()
    calls: tuple[SessionCall, ...] = ()
    error: str = ""
    shortened: bool = False
    scores: tuple[ScoreGiven, ...] = ()


class Session(Page):
    """Runs in the order they began; `next` leads to older ones. `scores` are of the session as a whole, given at one of these runs, the
    newest first."""

    id: str
    runs: tuple[SessionRun, ...]
    scores: tuple[ScoreGiven, ...] = ()


class SessionKeep(msgspec.Struct, omit_defaults=True):
    """Make rows of `dataset/name:branch` from runs of a session that somebody calls good, named by their traces: what each was asked, and
    under `field` the calls that ran well, as the reference of docs/trajectories.md. `without` are spans of calls that were not good;
    `fields` are set in each row. A run that is in the dataset already is left out and named."""

    id: str
    ref: str
    runs: tuple[str, ...]
    without: tuple[str, ...] = ()
    field: str = "trajectory"
    fields: dict[str, Any] = {}
    project: str = "default"
    message: str = ""


SESSIONS = Operation("sessions.list", "GET", SessionQuery, SessionPage, "read")
SESSION = Operation("sessions.show", "GET", SessionShow, Session, "read")
SESSION_KEEP = Operation("sessions.keep", "POST", SessionKeep, Edited, "write")
