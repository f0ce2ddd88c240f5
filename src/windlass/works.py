"""Long work by its kind, as `platform.py` has it done. What looks at production is made when the first look is due: numpy is 20 MB that
no other process needs."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING

from windlass.core.actor import OWNER
from windlass.core.ref import parse_ref
from windlass.jobs.work import Work
from windlass.monitor.asked import RolloutEvents
from windlass.monitor.ground import Grounds
from windlass.monitor.online import Online
from windlass.runtime.context import RunContext
from windlass.runtime.embeddings import encoding

if TYPE_CHECKING:
    from windlass.deploy.rollout_watching import RolloutWatch
    from windlass.monitor.looking import Looking
    from windlass.platform import Platform


class Works:
    """The long work of one platform."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def by_kind(self) -> dict[str, Work]:
        """What does each kind: of a project, by an id."""
        p = self._platform
        return {
            "evaluation": p.experiments.run, "gate": p.gates.run, "bakeoff": p.bakeoffs.run, "index": self._prepare_index,
            "pin": p.pin_jobs.run, "pin deadline": self._keep_pin, "monitor": self._look, "delivery": p.deliveries.run,
            "metric rule": p.measuring.run, "batch": p.batching.run, "load test": p.loadtesting.run, "rollout": self._watch_rollout,
            "tune": p.tunes.run, "tune comparison": p.comparing.run, "erasure": p.erasures.run,
        }  # fmt: skip

    @cached_property
    def _looking(self) -> Looking:
        from windlass.monitor.looking import Looking

        p = self._platform
        return Looking(
            engine=p.engine, grounds=Grounds(p.engine, p.versions, p.datasets, p.outcomes, p.executor.takes), traces=p.traces,
            encoders=p.encoders, online=Online(p.executor, p.spans, p.records), alerts=p.alerts,
        )  # fmt: skip

    @cached_property
    def _watching(self) -> RolloutWatch:
        from windlass.deploy.rollout_watching import RolloutWatch

        p = self._platform
        return RolloutWatch(p.engine, p.traces.trials, RolloutEvents(p.alerts), p.settings.rollout_seconds)

    async def _look(self, project: str, id: str) -> None:
        await self._looking.run(project, id)

    async def _watch_rollout(self, project: str, id: str) -> None:
        await self._watching.run(project, id)

    async def _prepare_index(self, project: str, id: str) -> None:
        """Have the vectors of an index that was pushed; `id` is its ref."""
        p, ref = self._platform, parse_ref(id, project=project)
        version = await asyncio.to_thread(p.versions.get, ref.project, ref.kind, ref.name, ref.digest or "")
        with encoding(p.records, RunContext(actor=OWNER, project=project), [str(version.ref)]):
            await asyncio.to_thread(p.retrieval.prepare, version)

    async def _keep_pin(self, project: str, id: str) -> None:
        """Keep what a source will forget soon; `id` begins with the pin's name and digest."""
        await asyncio.to_thread(self._platform.pins.keep_before_the_end, project, id.partition(" ")[0])
