"""Datasets and suites: what a target is measured on, and what decides about it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Any

import msgspec

from windlass.core.errors import Invalid
from windlass.sdk.chain import Chain, Evaluator
from windlass.sdk.component import Agent, Component
from windlass.sdk.definitions import Definition, expect
from windlass.sdk.trajectory import Trajectory


class Data(Definition):
    """A file of rows (JSONL, or CSV). Make one with `data`; `split` narrows a suite to rows whose `split` is that."""

    kind = "dataset"

    def __init__(self, path: str, name: str | None, split: str | None, description: str) -> None:
        expect(path, str, "the data's path", "the path of a JSONL or CSV file in the workspace")
        super().__init__(name or path.rsplit("/", 1)[-1].split(".")[0].replace("_", "-").lower())
        self.path = path
        self.split = split
        self.description = description


def data(path: str, *, name: str | None = None, split: str | None = None, description: str = "") -> Data:
    """A dataset from a file of the workspace: one row a line, each with a unique text `key`."""
    return Data(path, name, split, description)


class NotWorse(msgspec.Struct, frozen=True):
    """Not worse than production by more than `by`."""

    by: float


class AtLeast(msgspec.Struct, frozen=True):
    """A mean of at least `floor`, shown at the suite's error."""

    floor: float


def not_worse(*, by: float) -> NotWorse:
    """A guard: promote only what is shown to be not worse than production by more than `by`."""
    return NotWorse(by)


def at_least(floor: float) -> AtLeast:
    """A guard of a first release, when there is nothing in production to compare with."""
    return AtLeast(floor)


class Foreign(msgspec.Struct, frozen=True):
    """A target that is no workspace. `how` is one of url, command, callable; nothing behind it counts as unchanged but its
    declared version. `input` is the field of a row that it is sent."""

    how: str
    address: str
    version: str
    input: str = "input"


def url(address: str, *, version: str, input: str = "input") -> Foreign:
    """An application behind a URL: each row's `input` field is sent as `POST {"input": …}`; it answers JSON, its output under
    `output` or as it is."""
    return Foreign("url", address, version, input)


def command(line: str, *, version: str, input: str = "input") -> Foreign:
    """An application that is a command, started in the workspace's folder: it reads one JSON value `{"input": …}` and
    writes one, its output under `output` or as it is."""
    return Foreign("command", line, version, input)


def function(entry: str, *, version: str, input: str = "input") -> Foreign:
    """An application that is a Python function, `package.module:name`, importable from the workspace's folder: it is
    called with a row's `input` field and returns its output."""
    return Foreign("callable", entry, version, input)


def git_sha() -> str:
    """The commit that is checked out here, `-dirty` when files differ from it. Raises `Invalid` outside git."""
    try:
        sha = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as e:
        raise Invalid("this is not a git repository", remedy="give the version as text") from e
    return f"{sha}-dirty" if changed.strip() else sha


Target = Chain[..., Any] | Component[Any] | Agent[Any] | Foreign


class Suite(Definition):
    """A target, a dataset and the guards that decide. Make one with `suite`."""

    kind = "suite"

    def __init__(
        self,
        name: str,
        target: Target,
        rows: Data,
        guards: Mapping[Any, NotWorse],
        first: Mapping[Any, AtLeast],
        error: float,
        repeats: int,
        seed: int,
    ) -> None:
        super().__init__(name)
        expect(
            target, (Chain, Component, Agent, Foreign), "target", "a chain, a component, an agent, or w.url(…), w.command(…)", self.where
        )
        expect(rows, Data, "data", 'w.data("path.jsonl")', self.where)
        expect(guards, Mapping, "guards", "a dict {evaluator: w.not_worse(by=…)}", self.where)
        expect(first, Mapping, "first_release", "a dict {evaluator: w.at_least(…)}", self.where)
        for evaluator in [*guards, *first]:
            if not isinstance(evaluator, Evaluator | Trajectory):
                raise Invalid(f"{evaluator!r} is not an evaluator", where=self.where, remedy="decorate it with @w.evaluator")
        for evaluator, margin in guards.items():
            expect(margin, NotWorse, f"the guard on {evaluator.name}", "w.not_worse(by=…)", self.where)
            width = evaluator.range[1] - evaluator.range[0]
            expect(margin.by, (int, float), "by", f"a number between 0 and {width:g}", self.where)
            if not 0 < margin.by < width:
                raise Invalid(f"by is {margin.by:g}; it must lie between 0 and {width:g}, the evaluator's range", where=self.where)
        for evaluator, least in first.items():
            low, high = evaluator.range
            expect(least, AtLeast, f"the floor of {evaluator.name}", "w.at_least(…)", self.where)
            expect(least.floor, (int, float), "the floor", f"a number between {low:g} and {high:g}", self.where)
            if not low < least.floor < high:
                remedy = "ask for more than the least there is, and less than the most: nothing short of every row shows the most"
                raise Invalid(f"the floor is {least.floor:g}; {evaluator.name} gives {low:g} to {high:g}", where=self.where, remedy=remedy)
        expect(error, float, "error", "a number between 0 and 0.5", self.where)
        expect(repeats, int, "repeats", "a whole number of at least 1", self.where)
        expect(seed, int, "seed", "a whole number", self.where)
        if repeats < 1:
            raise Invalid(f"repeats is {repeats}; each row is asked at least once", where=self.where)
        if not guards and not first:
            raise Invalid(f"suite {name} has no guards", where=self.where, remedy="give guards={evaluator: w.not_worse(by=…)}")
        if not 0 < error < 0.5:
            raise Invalid(f"error is {error}; it must lie between 0 and 0.5", where=self.where)
        self.target = target
        self.data = rows
        self.guards = dict(guards)
        self.first_release = dict(first)
        self.error = error
        self.repeats = repeats
        self.seed = seed


def suite(
    name: str,
    *,
    target: Target,
    data: Data,
    guards: Mapping[Any, NotWorse] | None = None,
    first_release: Mapping[Any, AtLeast] | None = None,
    error: float = 0.05,
    repeats: int = 1,
    seed: int = 0,
) -> Suite:
    """A suite.

    Args:
        name: its name in the registry.
        target: a chain, component or agent of this workspace, or `url(…)`, `command(…)`.
        data: the rows.
        guards: by evaluator, how much worse than production the candidate may be.
        first_release: by evaluator, the floor that decides while nothing is in production.
        error: the bound on the chance of promoting what breaks a guard.
        repeats: how often each row is asked.
        seed: of the order in which rows are judged.
    """
    return Suite(name, target, data, guards or {}, first_release or {}, error, repeats, seed)
