"""Evidence of a release: gathered from the registry, the gate, approvals and the audit, and written in forms that others read.

card.md              release, models and data, for people          bom.cdx.json         CycloneDX ML-BOM
openlineage.ndjson   OpenLineage events                            prov.json            W3C PROV
verdicts.json        what the gate found, whole                    releases.json        where it stood, who approved it
audit.json           what the audit holds about it, with its head
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, or_, select

from windlass.core.actor import Actor
from windlass.core.artifacts import Version
from windlass.core.digest import digest_bytes
from windlass.core.errors import NotFound, WindlassError
from windlass.core.ids import now_ns
from windlass.core.operations.audit import AuditEntry
from windlass.core.operations.deploy import Move
from windlass.core.operations.discover import CatalogEntry
from windlass.core.operations.evidence import EvidenceFile, EvidenceRequest, ReleaseEvidence
from windlass.core.operations.registry import Edge, LineageQuery
from windlass.core.ref import Ref, parse_ref
from windlass.core.score import Verdict
from windlass.deploy import bom, cards, openlineage, prov
from windlass.deploy.choosing import release_of
from windlass.deploy.gathered import Approved, Gathered, Made
from windlass.deploy.releases import moves_of
from windlass.govern import audit
from windlass.govern.permissions import guard
from windlass.registry.labels import current
from windlass.registry.lineage import DEEPEST, Lineage
from windlass.registry.versions import fetch, resolve
from windlass.store.meta import read
from windlass.store.tables import audit as entries
from windlass.store.tables import gates, release_approvals, verdicts, versions


class Evidences:
    """Service of evidence."""

    def __init__(self, engine: Engine, lineage: Lineage, entry: Callable[[str], CatalogEntry]) -> None:
        self._engine = engine
        self._lineage = lineage
        self._entry = entry

    def make(self, actor: Actor, request: EvidenceRequest) -> ReleaseEvidence:
        """Operation `evidence.make`. Raises `Forbidden`, `NotFound`."""
        asked = release_of(request.release, request.project)
        guard(actor, "read", asked.project)
        with read(self._engine) as c:
            digest = asked.digest or current(c, asked, asked.label or "production")
            if asked.label and not digest:
                raise NotFound(f"nothing of release/{asked.name} is in {asked.label}", remedy="windlass releases shows what stands where")
            ref = resolve(c, Ref("release", asked.name, digest, None, asked.project))
        gathered = self._gather(actor, ref)
        files = (
            _file("card.md", "text/markdown", "the release, its models and its data, for people", cards.written(gathered)),
            _file("bom.cdx.json", "application/vnd.cyclonedx+json", "what it is made of: CycloneDX ML-BOM", bom.written(gathered)),
            _file("openlineage.ndjson", "application/x-ndjson", "how it came to be: OpenLineage events", openlineage.written(gathered)),
            _file("prov.json", "application/json", "how it came to be, and who acted: W3C PROV", prov.written(gathered)),
            _json("verdicts.json", "what the gate found, whole", gathered.verdicts),
            _json("releases.json", "where it stood, and who approved it", {"moves": gathered.moves, "approvals": gathered.approvals}),
            _json("audit.json", "what the audit holds about it, and its head", {"state": gathered.state, "entries": gathered.audit}),
        )
        return ReleaseEvidence(str(ref), now_ns(), cards.sentence(gathered), files)

    def _gather(self, actor: Actor, ref: Ref) -> Gathered:
        graph = self._lineage.walk(actor, LineageQuery(str(ref), "up", DEEPEST, ref.project))
        state = audit.check(self._engine)
        with read(self._engine) as c:
            refs = [ref, *(r for n in graph.nodes if (r := parse_ref(n.ref, project=ref.project)) != ref)]
            found = _verdicts(c, ref)
            about = {str(ref), *(v.id for v in found)}
            proof, edges = _proof(c, found, {*refs})
            return Gathered(
                tuple(self._made(c, r) for r in (*refs, *proof)), (*graph.edges, *edges), found, _gated_by(c, ref, found), _moves(c, ref),
                _approvals(c, ref), _audited(c, ref, about), state, graph.truncated,
            )  # fmt: skip

    def _made(self, c: Connection, ref: Ref) -> Made:
        v = versions.c
        same = (v.project == ref.project, v.kind == ref.kind, v.name == ref.name, v.digest == ref.digest)
        row = c.execute(select(v.created_ns, v.actor).where(*same)).one()
        version = fetch(c, ref)
        return Made(version, row.created_ns, row.actor, self._facts(version))

    def _facts(self, version: Version) -> CatalogEntry | None:
        if version.kind != "model":
            return None
        body = version.body
        try:
            return self._entry(body["model"] if body["provider"] == "baseline" else f"{body['provider']}/{body['model']}")
        except WindlassError:  # a model nobody told anything about
            return None


def _verdicts(c: Connection, ref: Ref) -> tuple[Verdict, ...]:
    v = verdicts.c
    bodies = c.execute(select(v.body).where(v.project == ref.project, v.candidate == str(ref)).order_by(v.id)).scalars()
    return tuple(msgspec.json.decode(body, type=Verdict) for body in bodies)


def _proof(c: Connection, found: tuple[Verdict, ...], known: set[Ref]) -> tuple[list[Ref], list[Edge]]:
    """The suites of verdicts and what they measure with, beyond what the release is made of."""
    refs: dict[Ref, None] = {}
    edges: dict[Edge, None] = {}
    for v in found:
        suite = parse_ref(v.suite, project=v.project)
        for link in fetch(c, suite).links:
            target = Ref(link.kind, link.name, link.digest, None, v.project)
            edges[Edge(str(suite), str(target), link.relation, link.role)] = None
            refs |= {suite: None, target: None}
    return [r for r in refs if r not in known], list(edges)


def _gated_by(c: Connection, ref: Ref, found: tuple[Verdict, ...]) -> dict[str, str]:
    g = gates.c
    rows = c.execute(select(g.verdict, g.actor).where(g.project == ref.project, g.verdict.in_([v.id for v in found])))
    return {row.verdict: row.actor for row in rows}


def _moves(c: Connection, ref: Ref) -> tuple[Move, ...]:
    return tuple(m for m in moves_of(c, ref) if ref.digest in (m.after, m.before))


def _approvals(c: Connection, ref: Ref) -> tuple[Approved, ...]:
    r = release_approvals.c
    rows = c.execute(select(release_approvals).where(r.project == ref.project, r.candidate == str(ref)).order_by(r.at_ns))
    return tuple(Approved(row.verdict, row.actor, row.at_ns, row.note) for row in rows)


def _audited(c: Connection, ref: Ref, about: set[str]) -> tuple[AuditEntry, ...]:
    """What the audit holds of it: by its own digest, by its verdicts, or as what an environment moved to or from."""
    a = entries.c
    named = [a.details.contains(f'"{text}"', autoescape=True) for text in (ref.digest or "", *sorted(about))]
    wanted = select(entries).where(a.project == ref.project, or_(a.subject.in_(about), *named)).order_by(a.seq)
    return tuple(audit.entry_of(row) for row in c.execute(wanted))


def _json(name: str, said: str, value: Any) -> EvidenceFile:
    return _file(name, "application/json", said, msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def _file(name: str, media: str, said: str, text: str) -> EvidenceFile:
    return EvidenceFile(name, media, said, digest_bytes(text.encode()), text)
