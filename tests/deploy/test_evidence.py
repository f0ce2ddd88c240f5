"""Evidence of a release, read by the libraries of those who defined its forms, and held against what the tables hold."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openlineage.client.generated.base as lineage
import pytest
from cyclonedx.schema import SchemaVersion
from openlineage.client.generated.dataset_version_dataset import DatasetVersionDatasetFacet
from prov.model import ProvActivity, ProvAgent, ProvDerivation, ProvDocument, ProvEntity
from tests.deploy.test_approvals import Team
from tests.doors.cli.conftest import Shell

from windlass.core.actor import OWNER
from windlass.core.errors import Forbidden, NotFound
from windlass.core.operations.deploy import PromoteRequest
from windlass.core.operations.evidence import EvidenceRequest, ReleaseEvidence
from windlass.core.operations.system import KeyRequest
from windlass.govern import audit as chain


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """A release with two approvals in production; its people as `ann` and `bob`."""
    made = Team(tmp_path_factory.mktemp("evidence"))
    made.ann, made.bob = made.key("ann"), made.key("bob")  # type: ignore[attr-defined]
    made.approve(made.ann, note="asked it <b>ten</b> questions")  # type: ignore[attr-defined]
    made.approve(made.bob)  # type: ignore[attr-defined]
    made.platform.releases.promote(OWNER, PromoteRequest("answer"))
    yield made
    made.app.close()


@pytest.fixture(scope="module")
def evidence(team: Team) -> ReleaseEvidence:
    return team.app.client.releases.evidence("answer")


def text(evidence: ReleaseEvidence, name: str) -> str:
    (found,) = [f for f in evidence.files if f.name == name]
    assert found.digest == "sha256:" + hashlib.sha256(found.text.encode()).hexdigest()
    return found.text


def test_the_bill_of_materials_is_one_by_its_strict_schema(team: Team, evidence: ReleaseEvidence) -> None:
    told = text(evidence, "bom.cdx.json")
    from cyclonedx.validation.json import JsonStrictValidator  # builds grammars as it is loaded, for seconds

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(told) is None
    bom = json.loads(told)
    assert bom["metadata"]["component"]["version"] == team.candidate.partition("@")[2]
    parts = {(c["type"], c["name"]): c for c in bom["components"]}
    model = parts["machine-learning-model", "baseline"]
    metrics = {m["type"]: float(m["value"]) for m in model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]}
    assert metrics == {g.name: g.candidate for g in team.verdict.guards}
    assert ("data", "rows") in parts and ("data", "note") in parts
    refs = {c["bom-ref"] for c in [*bom["components"], bom["metadata"]["component"]]}
    assert {d["ref"] for d in bom["dependencies"]} | {x for d in bom["dependencies"] for x in d.get("dependsOn", ())} <= refs
    for component in bom["components"]:
        if component["version"].startswith("sha256:"):
            assert component["hashes"] == [{"alg": "SHA-256", "content": component["version"].removeprefix("sha256:")}]
    broken = json.loads(told)
    broken["components"][0]["type"] = "wish"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(broken)) is not None


def event_of(line: str) -> lineage.RunEvent:
    """An event by OpenLineage's own classes, which take no field they do not have and check ids, times and addresses."""
    said = json.loads(line)

    def dataset(given: dict[str, Any], kind: Any) -> Any:
        facets = {n: DatasetVersionDatasetFacet(f["datasetVersion"], producer=f["_producer"]) for n, f in given.pop("facets", {}).items()}
        return kind(**given, facets=facets)

    said["inputs"] = [dataset(d, lineage.InputDataset) for d in said["inputs"]]
    said["outputs"] = [dataset(d, lineage.OutputDataset) for d in said["outputs"]]
    assert said.pop("schemaURL") == lineage.RunEvent._get_schema()
    run = said["run"]
    for facet in run.pop("facets", {}).values():
        assert {"_producer", "_schemaURL"} <= facet.keys()
    return lineage.RunEvent(
        eventTime=said["eventTime"], producer=said["producer"], eventType=lineage.EventType(said["eventType"]), run=lineage.Run(**run),
        job=lineage.Job(**said["job"]), inputs=said["inputs"], outputs=said["outputs"],
    )  # fmt: skip


def test_the_events_are_openlineages(team: Team, evidence: ReleaseEvidence) -> None:
    events = [event_of(line) for line in text(evidence, "openlineage.ndjson").splitlines()]
    assert [e.eventTime for e in events] == sorted(e.eventTime for e in events)
    by_job = {e.job.name: e for e in events}
    made = by_job["register/release/answer"]
    assert [d.name for d in made.outputs or ()] == ["release/answer"]
    assert {d.name for d in made.inputs or ()} >= {"chain/answer"}
    gate = by_job["gate/answers"]
    assert gate.run.runId == team.verdict.id and {d.name for d in gate.inputs or ()} == {"release/answer", "suite/answers"}
    move = by_job["promote/production"]
    assert [d.name for d in move.outputs or ()] == ["release/answer:production"]
    assert f"verdict/{team.verdict.id}" in {d.name for d in move.inputs or ()}
    versions = {(d.name, d.facets["version"].datasetVersion) for e in events for d in (*(e.inputs or ()), *(e.outputs or ())) if d.facets}
    assert ("release/answer", team.candidate.partition("@")[2]) in versions


def test_the_provenance_is_prov(team: Team, evidence: ReleaseEvidence) -> None:
    told = text(evidence, "prov.json")
    document = ProvDocument.deserialize(content=told, format="json")
    again = io.StringIO()
    document.serialize(again, format="json")
    assert ProvDocument.deserialize(content=again.getvalue(), format="json") == document
    ids = {kind: {str(r.identifier) for r in document.get_records(kind)} for kind in (ProvEntity, ProvActivity, ProvAgent)}
    ann, bob = team.ann.id, team.bob.id  # type: ignore[attr-defined]
    assert ids[ProvAgent] == {"windlass:actor/owner", f"windlass:actor/{ann}", f"windlass:actor/{bob}"}
    assert f"windlass:verdict/{team.verdict.id}" in ids[ProvEntity]
    assert {f"windlass:approve/{team.verdict.id}/{ann}", f"windlass:approve/{team.verdict.id}/{bob}"} <= ids[ProvActivity]
    # every end of every relation is a record of the document
    known = ids[ProvEntity] | ids[ProvActivity] | ids[ProvAgent]
    for record in document.get_records():
        if record.is_relation():
            assert {
                str(value) for name, value in record.formal_attributes if value is not None and "time" not in str(name).lower()
            } <= known, record
    derived = {(str(r.args[0]), str(r.args[1])) for r in document.get_records(ProvDerivation)}
    graph = json.loads(
        team.app.client.transport.send("GET", "/api/v1/lineage/walk", query={"ref": team.candidate, "direction": "up"}).body.__next__()
    )
    for edge in graph["edges"]:
        assert tuple("windlass:" + edge[end].replace("@sha256:", "@") for end in ("source", "target")) in derived


def test_the_card_says_what_the_tables_hold(team: Team, evidence: ReleaseEvidence) -> None:
    card = text(evidence, "card.md")
    assert evidence.sentence in card and "gated once (promote for production), approved by" in evidence.sentence
    for guard in team.verdict.guards:
        assert f"| {guard.name} | {guard.candidate:.3f} |" in card
    assert "## Model baseline" in card and "## Data rows" in card and "- 80 rows" in card
    assert f"approved by {team.ann.id}, {team.bob.id}" in card  # type: ignore[attr-defined]
    moves = json.loads(text(evidence, "releases.json"))
    assert [a["note"] for a in moves["approvals"]] == ["asked it <b>ten</b> questions", ""]
    assert json.loads(text(evidence, "verdicts.json"))[0]["id"] == team.verdict.id


def test_the_audits_extract_can_be_checked(team: Team, evidence: ReleaseEvidence) -> None:
    said = json.loads(text(evidence, "audit.json"))
    actions = [e["action"] for e in said["entries"]]
    assert actions == ["gate.verdict", "releases.approve", "releases.approve", "releases.promote"]
    for e in said["entries"]:
        details = json.dumps(e["details"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert e["hash"] == chain._hash(e["seq"], e["at_ns"], e["actor"], e["action"], e["project"], e["subject"], details, e["previous"])
    assert said["state"]["entries"] >= said["entries"][-1]["seq"]
    noted = f"{said['state']['entries']}:{said['state']['head']}"
    assert team.app.client.audit.verify(noted).problem is None


def test_the_same_release_gives_the_same_files(team: Team, evidence: ReleaseEvidence) -> None:
    again = team.app.client.releases.evidence(team.candidate)
    assert [f.digest for f in again.files] == [f.digest for f in evidence.files]


def test_who_may_have_it_and_of_what(team: Team) -> None:
    service = team.platform.evidences
    with pytest.raises(Forbidden):
        service.make(team.platform.actors.of_secret(_key(team, "caller")), EvidenceRequest("answer"))
    assert service.make(team.platform.actors.of_secret(_key(team, "viewer")), EvidenceRequest("answer")).files
    for name in ("nobody", "answer:staging", "answer@123456"):
        with pytest.raises(NotFound):
            service.make(OWNER, EvidenceRequest(name))


def _key(team: Team, role: str) -> str:
    return team.platform.actors.create(OWNER, KeyRequest(role, role)).secret or ""  # type: ignore[arg-type]


def test_the_command_writes_it_with_sums(tmp_path: Path) -> None:
    team = Team(tmp_path / "team")
    team.app.close()
    team.app.home.unlock()
    shell = Shell(tmp_path)
    shell.env["WINDLASS_HOME"] = str(team.app.home.path)
    said = shell("evidence", "answer", "--out", "out/put").stdout
    assert "gated once (promote for production); it was never let out" in said and "CycloneDX ML-BOM" in said
    for line in (tmp_path / "out" / "put" / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((tmp_path / "out" / "put" / name).read_bytes()).hexdigest() == digest
    assert {f["name"] for f in shell.json("evidence", "answer")["files"]} == {p.name for p in (tmp_path / "out" / "put").iterdir()} - {
        "SHA256SUMS"
    }
    (tmp_path / "file").write_text("x")
    assert "the evidence cannot be written" in shell("evidence", "answer", "--out", "file", code=1).stderr
