"""Coding agents that tell what they do in log records: which of their events is a step of which turn, and what it says. One table each.

An event that is no step is a line of its turn; one that is `aside` is a line of no trace. What a step says is read again from its
attributes when tables get better; of which trace it is stays.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from windlass.traces.conventions.tables import COUNTS, FROM, reading

NAMES = ("claude_code", "codex", "gemini_cli")
_json = msgspec.json.Encoder(order="sorted").encode


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event that is a step of this kind, where its attributes are as `where` says. `root`: the turn itself. Of `sums` the first must be
    told, or nothing is known."""

    kind: str
    root: bool = False
    where: dict[str, str] = {}
    columns: dict[str, tuple[str, ...]] = {}
    sums: dict[str, tuple[str, ...]] = {}


class Agent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One agent. `events` is how the names of its events begin, by the rest of which `steps` go. `session`, `turn`, `user`, and `call` of a
    tool are told by the first of these attributes that is there, what a step `took` in milliseconds, whether it `failed` and why too.
    `answers` are events that say something to the user, each with the attribute that does. A text that is `redacted` is not told."""

    version: int
    source: str
    read: datetime.date
    events: str
    provider: str
    session: tuple[str, ...]
    user: tuple[str, ...]
    steps: dict[str, Step]
    turn: tuple[str, ...] = ()
    took: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    success: str = ""
    call: tuple[str, ...] = ()
    redacted: tuple[str, ...] = ()
    answers: dict[str, str] = {}
    aside: tuple[str, ...] = ()

    def step(self, name: str, attributes: Mapping[str, Any]) -> Step | None:
        """The step that an event is."""
        step = self.steps.get(name.removeprefix(self.events))
        return step if step and all(attributes.get(k) == v for k, v in step.where.items()) else None

    def trace(self, name: str, attributes: Mapping[str, Any], project: str) -> str | None:
        """The trace of an event that names none: its turn's, or its session's where it is of no turn. None where it tells neither."""
        session = first(attributes, self.session)
        if session is None or (name.removeprefix(self.events) in self.aside and self.step(name, attributes) is None):
            return None
        return hashlib.sha256(_json([self.events, project, session, first(attributes, self.turn)])).hexdigest()[:32]

    def who(self, attributes: Mapping[str, Any]) -> dict[str, str]:
        """The session and the user that an event tells, as columns."""
        told = {"session": first(attributes, self.session), "user": first(attributes, self.user)}
        return {column: value for column, value in told.items() if value is not None}

    def columns(self, step: Step, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """What a step says, as `Tables.read` tells it."""
        found: dict[str, Any] = {"kind": step.kind, **self.who(attributes)}
        for column, names in step.columns.items():
            for name in names:
                value = attributes.get(name)
                if value in self.redacted or (told := _read(column, value)) in (None, ""):
                    continue
                found[column] = told
                if column in FROM and told is value:
                    found[FROM[column]] = name
                break
        for column, names in step.sums.items():
            counts = [_read(column, attributes.get(name)) for name in names]
            if counts[0] is not None:
                found[column] = sum(n for n in counts if n is not None)
        if "model" in found:
            found["provider"] = self.provider
        return found

    def took_ns(self, attributes: Mapping[str, Any]) -> int:
        """How long a step took; 0 where that is not told."""
        told = next((v for name in self.took if (v := _number(attributes.get(name))) is not None), 0.0)
        return int(max(0.0, told) * 1e6)

    def failure(self, attributes: Mapping[str, Any]) -> str | None:
        """Why a step failed, empty where nothing says why; None where it did not."""
        why = next((v for name in self.failed if isinstance(v := attributes.get(name), str) and v), None)
        refused = str(attributes.get(self.success, "")).lower() == "false" if self.success else False
        return why or "" if why is not None or refused else None

    def answer(self, name: str, attributes: Mapping[str, Any]) -> str | None:
        """What an event says to the user."""
        told = attributes.get(self.answers.get(name.removeprefix(self.events), ""))
        return told if isinstance(told, str) and told and told not in self.redacted else None


class Agents:
    """All of them."""

    def __init__(self, agents: Sequence[Agent]) -> None:
        self._agents = tuple(agents)
        self._answers = frozenset(a.events + event for a in agents for event in a.answers)

    def of(self, name: str) -> Agent | None:
        """Whose event this is, by its name."""
        return next((a for a in self._agents if name.startswith(a.events)), None)

    def hears(self, name: str) -> bool:
        """Whether an event of this name says something to the user."""
        return name in self._answers


@functools.cache
def agents() -> Agents:
    """Those that come with Windlass."""
    folder = Path(__file__).parent
    return Agents([msgspec.convert(tomllib.loads((folder / f"{n}.toml").read_text("utf-8")), Agent) for n in NAMES])


def first(attributes: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The first of these attributes that says something, as text."""
    return next((v if isinstance(v, str) else _json(v).decode() for n in names if (v := attributes.get(n)) not in (None, "")), None)


def _read(column: str, value: Any) -> Any:
    """As a column of tables, and numbers that are told as text too."""
    if column == "cost":
        value = _number(value)
    elif column in COUNTS and isinstance(value, str) and (number := _number(value)) is not None:
        value = number
    return reading(column)(value)


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    told: float | None = reading("cost")(value)
    return told
