"""What a release is made of, as a CycloneDX 1.6 bill of materials: models with their cards, data, code and the packages it runs with."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

import windlass
from windlass.core.ref import Ref, parse_ref
from windlass.deploy.gathered import Gathered, Made

if TYPE_CHECKING:
    from cyclonedx.model.component import Component


_IDS = uuid.UUID("0d7c4a5e-59a7-5b0c-8a3e-7a5a8c0f9b11")
DATA = frozenset({"dataset", "fewshot", "prompt", "index", "schema", "pin"})


def written(g: Gathered) -> str:
    """The bill as JSON text; the same for the same release and verdicts."""
    # 4 MB, and nobody else needs it
    from cyclonedx.model.bom import Bom
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    bom = Bom(serial_number=uuid.uuid5(_IDS, str(g.release.ref)))
    parts = {str(made.ref): _component(made, main=made is g.release) for made in g.made}
    packages = _packages(g)
    bom.metadata.component = parts[str(g.release.ref)]
    bom.metadata.timestamp = datetime.fromtimestamp(g.release.created_ns / 1e9, UTC)
    bom.metadata.tools.components.add(_tool())
    for ref, part in parts.items():
        if ref != str(g.release.ref):
            bom.components.add(part)
    for package in packages.values():
        bom.components.add(package)
    for made in g.made:
        used = [parts[e.target] for e in g.edges if e.source == str(made.ref) and e.target in parts]
        code = made.version.body.get("code") or {}
        bom.register_dependency(parts[str(made.ref)], [*used, *(packages[n] for n in code.get("packages", {}))])
    said = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)
    return _with_cards(said, g)


def _component(made: Made, *, main: bool) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType

    ref = made.ref
    kind = ComponentType.APPLICATION
    if ref.kind in ("model", "adapter"):
        kind = ComponentType.MACHINE_LEARNING_MODEL
    elif ref.kind in DATA:
        kind = ComponentType.DATA
    said = {"windlass:kind": ref.kind, "windlass:ref": str(ref), "windlass:registered-by": made.actor}
    return Component(
        name=ref.name, type=kind, group=f"{ref.project}/{ref.kind}", version=ref.digest, bom_ref=_bom_ref(ref),
        description=str(made.version.neutral.get("description") or "") or None, licenses=_licences(made),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=(ref.digest or "").removeprefix("sha256:"))],
        properties=[Property(name=n, value=v) for n, v in said.items()],
    )  # fmt: skip


def _licences(made: Made) -> list[Any] | None:
    from cyclonedx.model.license import DisjunctiveLicense

    known = made.facts.facts.licence if made.facts else str(made.version.neutral.get("licence") or "")
    return [DisjunctiveLicense(name=known)] if known else None


def _packages(g: Gathered) -> dict[str, Component]:
    """The locked packages that its code reaches."""
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    locked: dict[str, str] = {}
    for made in g.made:
        locked.update((made.version.body.get("code") or {}).get("packages", {}))
    return {
        name: Component(
            name=name, version=version, type=ComponentType.LIBRARY, purl=PackageURL("pypi", None, name, version), bom_ref=f"pypi/{name}"
        )
        for name, version in sorted(locked.items())
    }


def _tool() -> Component:
    from cyclonedx.model.component import Component, ComponentType

    return Component(name="windlass", version=windlass.__version__, type=ComponentType.APPLICATION)


def _with_cards(text: str, g: Gathered) -> str:
    """Model cards, which the library has no class for: what each model is, and what the release it is in was measured at."""
    said = msgspec.json.decode(text)
    models = {_bom_ref(made.ref): made for made in g.of("model", "adapter")}
    for component in said.get("components", ()):
        if made := models.get(component["bom-ref"]):
            component["modelCard"] = _card(made, g)
    return msgspec.json.format(msgspec.json.encode(said), indent=2).decode() + "\n"


def _card(made: Made, g: Gathered) -> dict[str, Any]:
    trained = [parse_ref(e.target, project=made.ref.project) for e in g.edges if e.source == str(made.ref) and e.relation == "trained-on"]
    parameters: dict[str, Any] = {"task": "text generation"}
    if trained:
        parameters["datasets"] = [{"ref": _bom_ref(r)} for r in trained]
    measured = [
        _metric(guard.name, guard.candidate, v.environment) for v in g.verdicts for guard in v.guards if guard.candidate is not None
    ]
    card: dict[str, Any] = {"bom-ref": f"card/{_bom_ref(made.ref)}", "modelParameters": parameters}
    if measured:
        card["quantitativeAnalysis"] = {"performanceMetrics": measured}
    return card


def _metric(name: str, value: float, environment: str) -> dict[str, Any]:
    """A measurement of the release; its interval is of the difference to what was in production, so that it is not said here."""
    return {"type": name, "value": f"{value:.6g}", "slice": f"the release's suite, gated for {environment}"}


def _bom_ref(ref: Ref) -> str:
    return f"{ref.kind}/{ref.name}@{ref.digest}"
