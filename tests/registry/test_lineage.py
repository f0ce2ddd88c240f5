"""The graph around a version, and where it is cut."""

from tests.registry.application import MODEL, Registry, application, component, prompt

from windlass.core.actor import OWNER
from windlass.core.artifacts import Link, Version
from windlass.core.operations.registry import (
    LineageQuery,
)
from windlass.registry.lineage import MOST


def test_a_cut_walk_says_so(registry: Registry) -> None:
    registry.push(*application())
    assert registry.lineage.walk(OWNER, LineageQuery("release/answer", direction="up", depth=1)).truncated


def test_a_hub_is_cut_at_500_versions(registry: Registry) -> None:
    many = [component(prompt(f"Answer {i}.")) for i in range(MOST + 20)]
    renamed = [Version(c.kind, f"c{i}", c.digest, c.body, c.links) for i, c in enumerate(many)]
    prompts = [Version(p.kind, f"p{i}", p.digest, p.body) for i, p in enumerate(prompt(f"Answer {i}.") for i in range(MOST + 20))]
    registry.push(MODEL, *prompts, *(_linked(c, p) for c, p in zip(renamed, prompts, strict=True)))
    graph = registry.lineage.walk(OWNER, LineageQuery("model/baseline", direction="down"))
    assert graph.truncated and len(graph.nodes) == MOST and len(graph.edges) == MOST - 1
    assert not registry.lineage.walk(OWNER, LineageQuery("component/c1", direction="up")).truncated


def _linked(c: Version, p: Version) -> Version:
    links = (Link("uses", "prompt", p.name, p.digest, "prompt"), Link("uses", "model", "baseline", MODEL.digest, "model"))
    return Version(c.kind, c.name, c.digest, c.body, links)


def test_both_ways_from_the_middle(registry: Registry) -> None:
    registry.push(*application())
    graph = registry.lineage.walk(OWNER, LineageQuery("component/reply"))
    assert [(n.kind, n.depth) for n in graph.nodes] == [("component", 0), ("model", -1), ("prompt", -1), ("release", 1)]
    names = {(e.source.split("@")[0], e.target.split("@")[0], e.role) for e in graph.edges}
    assert names == {
        ("component/reply", "model/baseline", "model"),
        ("component/reply", "prompt/reply", "prompt"),
        ("release/answer", "component/reply", "entry"),
    }
