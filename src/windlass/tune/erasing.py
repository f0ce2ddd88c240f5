"""Erasure from tunings: samples that quote a person, and the rows a process was given. Weights learnt from them stay, and are named."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

from sqlalchemy import Engine

from windlass.core.operations.erasures import Affected, Left, Place
from windlass.govern.erasure import Subject, Swept, SweptRoom
from windlass.store.tables import tune_comparisons, tunes
from windlass.tune.training.job import HELDOUT, TRAIN


class TuneRoom:
    """`Room` of tunings. `folder` holds one for each."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._folder = folder
        tables = (Swept("tunings", tunes, ("id",), ("body",)), Swept("comparisons of tunings", tune_comparisons, ("id",), ("body",)))
        self._swept = SweptRoom(engine, tables)

    async def find(self, subject: Subject) -> Sequence[Place]:
        count = len(await asyncio.to_thread(lambda: list(self._files(subject))))
        return [*([Place("files of tunings", count)] if count else []), *await self._swept.find(subject)]

    def _files(self, subject: Subject) -> Iterator[Path]:
        """Files in which somebody's rows stand: of any project's tuning, since a file does not say whose it is."""
        for path in sorted(self._folder.glob("*/*")):
            if path.name in (TRAIN, HELDOUT) and any(subject.touches(line) for line in path.read_text("utf-8", "replace").splitlines()):
                yield path

    async def erase(self, subject: Subject) -> Sequence[Place]:
        count = await asyncio.to_thread(self._drop, subject)
        return [*([Place("files of tunings", count)] if count else []), *await self._swept.erase(subject)]

    def _drop(self, subject: Subject) -> int:
        """The whole file: a tuning that goes on after it finds other rows than it began with, and says so."""
        found = list(self._files(subject))
        for path in found:
            path.unlink(missing_ok=True)
        return len(found)

    async def left(self, subject: Subject) -> Sequence[Left]:
        return await self._swept.left(subject)

    async def affected(self, subject: Subject) -> Sequence[Affected]:
        return ()
