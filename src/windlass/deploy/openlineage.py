"""A release's history as OpenLineage events (spec 2-0-2), one JSON object a line: versions are datasets, what made them are jobs."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec

import windlass
from windlass.core.ref import Ref, parse_ref
from windlass.deploy.gathered import Gathered, Made

SPEC = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
VERSION_FACET = "https://openlineage.io/spec/facets/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet"
PRODUCER = f"urn:windlass:{windlass.__version__}"
_IDS = uuid.UUID("6f5f6f0a-3a5b-5d0e-9a54-6a3b1c1f7c55")  # of runs that have no id of their own


def written(g: Gathered) -> str:
    """Events in the order of time, as lines of JSON."""
    events = [*_registered(g), *_gated(g), *_moved(g)]
    return "".join(msgspec.json.encode(e).decode() + "\n" for e in sorted(events, key=lambda e: str(e["eventTime"])))


def _registered(g: Gathered) -> list[dict[str, Any]]:
    """Each version that was made of others."""
    found = []
    for made in g.made:
        sources = [parse_ref(e.target, project=made.ref.project) for e in g.edges if e.source == str(made.ref)]
        if sources:
            run = {"runId": str(uuid.uuid5(_IDS, str(made.ref)))}
            found.append(_event(made.created_ns, run, _job(made, f"register/{made.ref.kind}/{made.ref.name}"), sources, [made.ref]))
    return found


def _gated(g: Gathered) -> list[dict[str, Any]]:
    found = []
    for v in g.verdicts:
        facet = _facet("urn:windlass:facet:verdict:1") | {
            "decision": v.decision,
            "rows": v.rows,
            "error": v.error,
            "environment": v.environment,
        }
        inputs = [parse_ref(r, project=v.project) for r in (v.candidate, v.suite, *((v.base,) if v.base else ()))]
        run = {"runId": v.id, "facets": {"windlass_verdict": facet}}
        event = _event(v.created_ns, run, _job(g.release, f"gate/{inputs[1].name}"), inputs, [])
        event["outputs"] = [{"namespace": _space(g), "name": f"verdict/{v.id}"}]
        found.append(event)
    return found


def _moved(g: Gathered) -> list[dict[str, Any]]:
    found = []
    for m in g.moves:
        after = Ref("release", m.release, m.after, None, g.release.ref.project)
        event = _event(m.at_ns, {"runId": m.id}, _job(g.release, f"{m.kind}/{m.environment}"), [after], [])
        if m.verdict:
            event["inputs"].append({"namespace": _space(g), "name": f"verdict/{m.verdict}"})
        event["outputs"] = [{"namespace": _space(g), "name": f"release/{m.release}:{m.environment}"}]
        found.append(event)
    return found


def _event(at_ns: int, run: dict[str, Any], job: dict[str, Any], inputs: list[Ref], outputs: list[Ref]) -> dict[str, Any]:
    at = datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {
        "eventType": "COMPLETE", "eventTime": at, "run": run, "job": job, "inputs": [_dataset(r) for r in inputs],
        "outputs": [_dataset(r) for r in outputs], "producer": PRODUCER, "schemaURL": SPEC,
    }  # fmt: skip


def _dataset(ref: Ref) -> dict[str, Any]:
    version = _facet(VERSION_FACET) | {"datasetVersion": ref.digest}
    return {"namespace": f"windlass://{ref.project}", "name": f"{ref.kind}/{ref.name}", "facets": {"version": version}}


def _job(made: Made, name: str) -> dict[str, Any]:
    return {"namespace": f"windlass://{made.ref.project}", "name": name}


def _space(g: Gathered) -> str:
    return f"windlass://{g.release.ref.project}"


def _facet(schema: str) -> dict[str, Any]:
    return {"_producer": PRODUCER, "_schemaURL": schema}
