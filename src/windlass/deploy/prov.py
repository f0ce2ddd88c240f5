"""A release's history as W3C PROV, in PROV-JSON: versions and verdicts are entities, what was done activities, actors agents."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from windlass.core.ref import Ref, parse_ref
from windlass.deploy.gathered import Gathered

NAMESPACE = "urn:windlass:"


class _Document:
    """PROV-JSON as it grows: records by kind and id."""

    def __init__(self) -> None:
        self.said: dict[str, dict[str, Any]] = {"prefix": {"windlass": NAMESPACE}}

    def record(self, kind: str, id: str, **attributes: Any) -> str:
        name = f"windlass:{id}"
        self.said.setdefault(kind, {})[name] = {k: v for k, v in attributes.items() if v is not None}
        return name

    def relate(self, kind: str, **ends: Any) -> None:
        relations = self.said.setdefault(kind, {})
        relations[f"_:{kind}{len(relations) + 1}"] = {f"prov:{k}" if ":" not in k else k: v for k, v in ends.items()}


def written(g: Gathered) -> str:
    """The document as text."""
    d = _Document()
    for made in g.made:
        attributes = {"prov:type": f"windlass:{made.ref.kind}", "prov:label": made.ref.short, "windlass:digest": made.ref.digest}
        entity = d.record("entity", _id(made.ref), **attributes)
        d.relate("wasAttributedTo", entity=entity, agent=_agent(d, made.actor))
        d.relate("wasGeneratedBy", entity=entity, activity=_activity(d, f"register/{_id(made.ref)}", made.created_ns, made.actor))
    known = {str(made.ref) for made in g.made}
    for edge in g.edges:
        if edge.source in known and edge.target in known:
            source, target = (f"windlass:{_id(parse_ref(r, project=g.release.ref.project))}" for r in (edge.source, edge.target))
            d.relate("wasDerivedFrom", generatedEntity=source, usedEntity=target, **{"prov:type": f"windlass:{edge.relation}"})
    _verdicts(d, g)
    _moves(d, g)
    return msgspec.json.format(msgspec.json.encode(d.said), indent=2).decode() + "\n"


def _verdicts(d: _Document, g: Gathered) -> None:
    release = f"windlass:{_id(g.release.ref)}"
    for v in g.verdicts:
        gate = _activity(d, f"gate/{v.id}", v.created_ns, g.gated_by.get(v.id))
        attributes = {"prov:type": "windlass:verdict", "windlass:decision": v.decision, "windlass:environment": v.environment}
        verdict = d.record("entity", f"verdict/{v.id}", **attributes, **{"windlass:rows": v.rows})
        d.relate("used", activity=gate, entity=release)
        for ref in (v.suite, *((v.base,) if v.base else ())):
            used = parse_ref(ref, project=v.project)
            d.relate("used", activity=gate, entity=d.record("entity", _id(used), **_named(d, used)))
        d.relate("wasGeneratedBy", entity=verdict, activity=gate)
        for a in (a for a in g.approvals if a.verdict == v.id):
            approving = _activity(d, f"approve/{v.id}/{a.actor}", a.at_ns, a.actor)
            for used_id in (release, verdict):
                d.relate("used", activity=approving, entity=used_id)


def _moves(d: _Document, g: Gathered) -> None:
    for m in g.moves:
        move = _activity(d, f"{m.kind}/{m.id}", m.at_ns, m.actor)
        after = Ref("release", m.release, m.after, None, g.release.ref.project)
        d.relate("used", activity=move, entity=d.record("entity", _id(after), **_named(d, after)))
        if m.verdict:
            verdict = d.record("entity", f"verdict/{m.verdict}", **d.said.get("entity", {}).get(f"windlass:verdict/{m.verdict}", {}))
            d.relate("used", activity=move, entity=verdict)
        for actor in m.approved_by:
            if f"windlass:approve/{m.verdict}/{actor}" in d.said["activity"]:
                d.relate("wasInformedBy", informed=move, informant=f"windlass:approve/{m.verdict}/{actor}")
        standing = d.record("entity", f"release/{m.release}:{m.environment}/{m.id}", **{"prov:type": "windlass:environment"})
        d.relate("wasGeneratedBy", entity=standing, activity=move)


def _named(d: _Document, ref: Ref) -> dict[str, Any]:
    """What is said of a version already, or the least there is to say."""
    known: dict[str, Any] = d.said.get("entity", {}).get(f"windlass:{_id(ref)}", {})
    return known or {"prov:type": f"windlass:{ref.kind}", "prov:label": ref.short, "windlass:digest": ref.digest}


def _activity(d: _Document, id: str, at_ns: int, actor: str | None) -> str:
    at = datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat(timespec="microseconds")
    activity = d.record("activity", id, **{"prov:startTime": at, "prov:endTime": at, "prov:type": f"windlass:{id.partition('/')[0]}"})
    if actor:
        d.relate("wasAssociatedWith", activity=activity, agent=_agent(d, actor))
    return activity


def _agent(d: _Document, actor: str) -> str:
    kind = "prov:SoftwareAgent" if actor.startswith(("run:", "grant:")) else "prov:Person"
    return d.record("agent", f"actor/{actor}", **{"prov:type": {"$": kind, "type": "prov:QUALIFIED_NAME"}, "prov:label": actor})


def _id(ref: Ref) -> str:
    return f"{ref.kind}/{ref.name}@{(ref.digest or '').removeprefix('sha256:')}"
