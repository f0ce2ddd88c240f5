"""MLflow's experiments: names, as `traces/mlflow_experiments.py` says.

…    /api/2.0/mlflow/experiments/get, get-by-name, create, search     those that were never made too; searched are those that traces name
"""

from __future__ import annotations

from typing import Any

from starlette.routing import Route

from windlass.core.actor import Actor
from windlass.core.errors import Invalid, NotFound
from windlass.core.operations.traces import FIELDS, FieldQuery
from windlass.doors.mlflow.door import V2, Asked, Door, text_in
from windlass.doors.otlp.senders import FOREIGN_PROJECT
from windlass.traces.mlflow_experiments import DEFAULT_ID, experiment_id, experiment_name
from windlass.traces.mlflow_search import clauses

AMONG, MOST = 10_000, 200  # traces that are looked at, experiments that are told


class Experiments:
    """A part of the door."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def routes(self) -> list[Route]:
        base, route = f"{V2}/experiments", self._door.route
        return [
            route("GET", f"{base}/get", self._experiment),
            route("GET", f"{base}/get-by-name", self._by_name),
            route("POST", f"{base}/create", self._create),
            *(route(verb, f"{base}/search", self._search) for verb in ("GET", "POST")),
        ]

    async def _experiment(self, actor: Actor, asked: Asked) -> Any:
        return {"experiment": _experiment(experiment_name(text_in(asked, "experiment_id")))}

    async def _by_name(self, actor: Actor, asked: Asked) -> Any:
        return {"experiment": _experiment(text_in(asked, "experiment_name"))}

    async def _create(self, actor: Actor, asked: Asked) -> Any:
        if asked.get("tags"):
            raise Invalid("an experiment has no tags here: it is a name", where="tags", remedy="tag its traces instead")
        return {"experiment_id": experiment_id(text_in(asked, "name"))}

    async def _search(self, actor: Actor, asked: Asked) -> Any:
        """Those that traces name."""
        field = f"resource.{FOREIGN_PROJECT}"
        found = await self._door.ask(FIELDS, actor, FieldQuery(actor.project, field=field, among=AMONG, limit=MOST))
        ids = [DEFAULT_ID, *(value.value for one in found.fields for value in one.values)]
        known = [name for id in dict.fromkeys(ids) if (name := _name(id)) is not None]
        for c in clauses(str(asked.get("filter") or "")):
            if (c.room, c.key, c.op) != ("", "name", "="):
                raise Invalid(f"experiments are not found by this here: {c.text[:60]!r}", where="filter", remedy="write name = 'shop'")
            known = [name for name in known if name == c.value]
        return {"experiments": [_experiment(name) for name in known]}


def _experiment(name: str) -> dict[str, Any]:
    id = experiment_id(name)
    return {"experiment_id": id, "name": name, "artifact_location": f"mlflow-artifacts:/{id}", "lifecycle_stage": "active", "tags": []}


def _name(id: str) -> str | None:
    try:
        return experiment_name(id)
    except NotFound:  # what another product calls its project
        return None
