"""Finding versions: by prefix, by label, by what production uses, the newest; lists by cursor."""

import pytest
from tests.registry.application import MODEL, Registry, application, component, prompt
from tests.stores import on_both

from windlass.core.actor import OWNER, Actor
from windlass.core.artifacts import Link, ReleaseBody, make_version
from windlass.core.errors import Conflict, Forbidden, Invalid, NotFound
from windlass.core.operations.datasets import RowsQuery
from windlass.core.operations.registry import (
    ArtifactQuery,
    DiffQuery,
    LabelMove,
    LineageQuery,
    RefQuery,
    VersionQuery,
)
from windlass.core.ref import Ref, parse_ref
from windlass.registry.labels import move_environment
from windlass.store.meta import write


@on_both
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


@on_both
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
    second = registry.versions.versions(OWNER, VersionQuery("prompt/reply", cursor=both.next))
    assert both.labels == second.labels == {"main": both.items[0].digest}  # also where it stands on another page
    d = registry.diffs.diff(OWNER, DiffQuery(f"prompt/reply@{prompt().digest}", "prompt/reply"))
    assert [f.path for f in d.fields] == ["/messages/0/text"] and "+system: Answer briefly." in d.text
    graph = registry.lineage.walk(OWNER, LineageQuery("prompt/reply"))
    assert [(n.kind, n.depth) for n in graph.nodes] == [("prompt", 0), ("component", 1), ("release", 2)]
    up = registry.lineage.walk(OWNER, LineageQuery("release/answer", direction="up"))
    assert {n.kind for n in up.nodes} == {"release", "component", "prompt", "model"} and not up.truncated
    shown = registry.versions.show(OWNER, RefQuery("prompt/reply:main"))
    assert shown.labels == ("main",) and shown.used_by[0].startswith("component/reply@") and "Answer briefly." in shown.content


def test_the_newest_is_what_a_branch_was_pointed_to_last(registry: Registry) -> None:
    for text in ("One.", "Two.", "One."):
        registry.push(prompt(text))
    assert registry.versions.resolve(parse_ref("prompt/reply")).digest == prompt("One.").digest, "a revert counts"
    (item,) = registry.versions.list(OWNER, ArtifactQuery()).items
    assert (item.digest, item.versions) == (prompt("One.").digest, 2)


def test_a_prefix_that_fits_several_lists_them(registry: Registry) -> None:
    seen: dict[str, str] = {}
    for i in range(10_000):
        text = f"Answer {i}."
        prefix = prompt(text).digest[7:11]
        if prefix in seen:
            break
        seen[prefix] = text
    pair = [prompt(text) for text in (seen[prefix], text)]
    for p in pair:
        registry.push(p)
    with pytest.raises(Invalid, match="fits several versions") as e:
        registry.versions.resolve(parse_ref(f"prompt/reply@{prefix}"))
    assert all(p.digest[7:19] in str(e.value) for p in pair)
    assert registry.versions.resolve(parse_ref(f"prompt/reply@{pair[0].digest[7:23]}")).digest == pair[0].digest


def test_what_two_releases_use_differently_is_not_guessed(registry: Registry) -> None:
    registry.push(*application())
    first = registry.versions.resolve(parse_ref("release/answer"))
    p = prompt("Other.")
    c = component(p)
    links = (Link("uses", "component", "reply", c.digest, "entry"),)
    other = make_version("release", "guide", ReleaseBody("component", c.digest, (c.digest,)), links=links)
    registry.push(p, MODEL, c, other)
    with write(registry.engine) as connection:
        for target in (first, other.ref):
            move_environment(connection, OWNER, target, "production", None, how="override", verdict=None, reason="test")
    with pytest.raises(Invalid, match=r"answer uses .*; guide uses"):
        registry.versions.resolve(parse_ref("prompt/reply:production"))
    assert registry.versions.resolve(parse_ref("model/baseline:production")).digest == MODEL.digest


def test_unknown_kinds_and_names_are_said_with_what_there_is(registry: Registry) -> None:
    with pytest.raises(Invalid, match="did you mean 'prompt'"):
        parse_ref("promt/reply")
    with pytest.raises(NotFound, match="push a workspace that has one"):
        registry.versions.resolve(parse_ref("chain/answer"))
    registry.push(*application())
    with pytest.raises(NotFound, match="there is release/answer"):
        registry.versions.resolve(parse_ref("chain/answer"))
    with pytest.raises(NotFound, match="has no version 000000"):
        registry.versions.resolve(parse_ref("prompt/reply@000000"))
    with pytest.raises(NotFound, match="there is no prompt in project other"):
        registry.versions.resolve(parse_ref("other/prompt/reply"))


def test_a_ref_does_not_lead_into_another_project(registry: Registry) -> None:
    registry.push(*application())
    stranger = Actor("key", "developer", "other")
    for ask in (
        lambda: registry.versions.versions(stranger, VersionQuery("default/prompt/reply", "other")),
        lambda: registry.versions.show(stranger, RefQuery("default/prompt/reply", "other")),
        lambda: registry.versions.list(stranger, ArtifactQuery("default")),
        lambda: registry.diffs.diff(stranger, DiffQuery("default/prompt/reply", "default/prompt/reply", "other")),
        lambda: registry.lineage.walk(stranger, LineageQuery("default/prompt/reply", project="other")),
        lambda: registry.datasets.list(stranger, RowsQuery("default/dataset/questions", "other")),
        lambda: registry.labels.move(stranger, LabelMove("default/prompt/reply:x", "abcd", project="other")),
    ):
        with pytest.raises(Forbidden, match="belongs to project other"):
            ask()


@on_both
def test_the_closure_is_everything_once(registry: Registry) -> None:
    registry.push(*application())
    assert [v.kind for v in registry.versions.closure(parse_ref("release/answer"))] == ["release", "component", "model", "prompt"]
