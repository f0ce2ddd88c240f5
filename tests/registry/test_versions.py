"""Finding versions: by prefix, by label, by what production uses, the newest; lists by cursor."""

import pytest
from tests.registry.application import Registry, application, prompt

from windlass.core.actor import OWNER
from windlass.core.errors import Conflict, NotFound
from windlass.core.operations.registry import (
    ArtifactQuery,
    DiffQuery,
    LineageQuery,
    RefQuery,
    VersionQuery,
)
from windlass.core.ref import Ref, parse_ref
from windlass.store.meta import write


def test_refs_by_prefix_label_newest_and_near_miss(registry: Registry) -> None:
    registry.push(*application())
    registry.push(*application("Shorter."), branch="time")
    newest = registry.versions.resolve(parse_ref("prompt/reply"))
    assert newest == registry.versions.resolve(parse_ref("prompt/reply:time"))
    old = registry.versions.resolve(parse_ref("prompt/reply:main"))
    assert old != newest
    assert registry.versions.resolve(parse_ref(f"prompt/reply@{(old.digest or '')[7:19]}")) == old
    with pytest.raises(NotFound, match=r"did you mean prompt/reply\?"):
        registry.versions.resolve(parse_ref("prompt/replay"))
    with pytest.raises(NotFound, match="it has main, time"):
        registry.versions.resolve(parse_ref("prompt/reply:tim"))


def test_production_of_a_part_is_what_the_release_uses(registry: Registry) -> None:
    from windlass.registry.labels import move_environment

    registry.push(*application())
    with pytest.raises(NotFound, match="no release in production"):
        registry.versions.resolve(parse_ref("prompt/reply:production"))
    target = registry.versions.resolve(parse_ref("release/answer"))
    with write(registry.engine) as c:
        move_environment(c, OWNER, target, "production", None, how="override", verdict=None, reason="first")
    registry.push(*application("Newer."))
    used = registry.versions.resolve(parse_ref("prompt/reply:production"))
    assert used == registry.versions.resolve(Ref("prompt", "reply", prompt().digest))
    with write(registry.engine) as c, pytest.raises(Conflict, match="somebody moved it"):
        move_environment(c, OWNER, target, "production", None, how="promote", verdict="v", reason=None)


def test_lists_diff_lineage_and_show(registry: Registry) -> None:
    registry.push(*application())
    registry.push(*application("Answer briefly."))
    page = registry.versions.list(OWNER, ArtifactQuery(limit=2))
    assert [i.kind for i in page.items] == ["component", "model"] and page.next
    rest = registry.versions.list(OWNER, ArtifactQuery(cursor=page.next))
    assert [i.kind for i in rest.items] == ["prompt", "release"] and rest.items[0].versions == 2 and rest.kinds["prompt"] == 1
    both = registry.versions.versions(OWNER, VersionQuery("prompt/reply", limit=1))
    assert (
        both.next and registry.versions.versions(OWNER, VersionQuery("prompt/reply", cursor=both.next)).items[0].digest == prompt().digest
    )
    d = registry.diffs.diff(OWNER, DiffQuery(f"prompt/reply@{prompt().digest}", "prompt/reply"))
    assert [f.path for f in d.fields] == ["/messages/0/text"] and "+system: Answer briefly." in d.text
    graph = registry.lineage.walk(OWNER, LineageQuery("prompt/reply"))
    assert [(n.kind, n.depth) for n in graph.nodes] == [("prompt", 0), ("component", 1), ("release", 2)]
    up = registry.lineage.walk(OWNER, LineageQuery("release/answer", direction="up"))
    assert {n.kind for n in up.nodes} == {"release", "component", "prompt", "model"} and not up.truncated
    shown = registry.versions.show(OWNER, RefQuery("prompt/reply:main"))
    assert shown.labels == ("main",) and shown.used_by[0].startswith("component/reply@") and "Answer briefly." in shown.content
