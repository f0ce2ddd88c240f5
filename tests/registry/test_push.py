"""Push on real SQLite and real blobs: what is registered, what is refused, and that a refusal leaves nothing."""

import itertools
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from windlass.core.actor import OWNER, Actor
from windlass.core.artifacts import (
    ComponentBody,
    Link,
    ModelBody,
    PromptBody,
    ReleaseBody,
    TemplateMessage,
    Version,
    make_version,
)
from windlass.core.dataset import pack_rows
from windlass.core.digest import canonical
from windlass.core.errors import Conflict, Forbidden, Invalid, NotFound
from windlass.core.operations.registry import (
    ArtifactQuery,
    BlobQuery,
    Bundle,
    DiffQuery,
    LabelMove,
    LineageQuery,
    RefQuery,
    RowsQuery,
    VerifyQuery,
    VersionQuery,
)
from windlass.core.ref import Ref, parse_ref
from windlass.registry.datasets import Datasets
from windlass.registry.diff import Diffs
from windlass.registry.labels import Labels
from windlass.registry.lineage import Lineage
from windlass.registry.push import Push
from windlass.registry.verify import Verify
from windlass.registry.versions import Versions
from windlass.store.blobs_folder import FolderBlobs
from windlass.store.home import Home
from windlass.store.meta import open_meta, write


class Registry:
    """All services over one data folder."""

    def __init__(self, path: Path) -> None:
        self.home = Home(path)
        self.engine: Engine = open_meta(self.home.database_url)
        self.blobs = FolderBlobs(self.home.path / "blobs")
        self.push_service = Push(self.engine, self.blobs)
        self.versions = Versions(self.engine, self.blobs)
        self.labels = Labels(self.engine)
        self.lineage = Lineage(self.engine)
        self.datasets = Datasets(self.versions, self.blobs)
        self.diffs = Diffs(self.versions, self.blobs)
        self.verify = Verify(self.engine, self.blobs)

    def push(self, *versions: Version, branch: str = "main", **more: Any) -> Any:
        snapshot = self.blobs.put(canonical({"app.py": self.blobs.put(b"print()")}))
        return self.push_service.push(OWNER, Bundle("default", "helpdesk", versions, snapshot, branch, **more))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "home")


def prompt(text: str = "Answer.", name: str = "reply") -> Version:
    body = PromptBody((TemplateMessage("system", text), TemplateMessage("user", "{{ q }}")), {"q": {"type": "string"}}, "jinja2@3.1")
    return make_version("prompt", name, body, neutral={"description": "answers"})


MODEL = make_version("model", "baseline", ModelBody("baseline", "baseline@1", True))


def component(p: Version) -> Version:
    links = (Link("uses", "prompt", p.name, p.digest, "prompt"), Link("uses", "model", "baseline", MODEL.digest, "model"))
    return make_version("component", "reply", ComponentBody(p.digest, MODEL.digest), links=links)


def release(c: Version) -> Version:
    return make_version(
        "release", "answer", ReleaseBody("component", c.digest, (c.digest,)), links=(Link("uses", "component", "reply", c.digest, "entry"),)
    )


def application(text: str = "Answer.") -> tuple[Version, ...]:
    p = prompt(text)
    c = component(p)
    return (p, MODEL, c, release(c))


def test_first_push_is_new_second_unchanged_edit_changed_with_why(registry: Registry) -> None:
    assert {c.status for c in registry.push(*application()).changes} == {"new"}
    assert {c.status for c in registry.push(*application()).changes} == {"unchanged"}
    report = registry.push(*application("Answer briefly."))
    said = {c.kind: (c.status, c.why) for c in report.changes}
    assert said["prompt"] == ("changed", "1 line changed")
    assert said["component"] == ("changed", "uses prompt/reply")
    assert said["model"][0] == "unchanged"
    assert said["release"] == ("changed", "uses component/reply")
    assert report.releases and next(c for c in report.changes if c.kind == "release").candidate


def test_dry_run_tells_and_registers_nothing(registry: Registry) -> None:
    assert {c.status for c in registry.push(*application(), dry=True).changes} == {"new"}
    with pytest.raises(NotFound):
        registry.versions.resolve(parse_ref("prompt/reply"))


def test_what_a_client_says_of_identity_is_not_believed(registry: Registry) -> None:
    p = prompt()
    forged = Version(p.kind, p.name, prompt("Other.").digest, p.body, p.links, p.neutral)
    with pytest.raises(Invalid, match="its digest is"):
        registry.push(forged)
    c = component(p)
    with pytest.raises(Invalid, match="without a link"):
        registry.push(p, MODEL, Version(c.kind, c.name, c.digest, c.body, c.links[:1]))
    with pytest.raises(Invalid, match="which is nowhere"):
        registry.push(c)
    with pytest.raises(NotFound):
        registry.versions.resolve(parse_ref("model/baseline"))


def test_blobs_that_were_not_uploaded_are_named(registry: Registry) -> None:
    packed = pack_rows([{"key": "a", "q": "x"}])
    d = make_version("dataset", "questions", packed.body, neutral={"packs": ["sha256:" + "0" * 64]})
    with pytest.raises(Invalid, match=r"the bytes of dataset/questions@"):
        registry.push(d)
    assert registry.push_service.missing(OWNER, BlobQuery((d.body["rows"],))).missing == (d.body["rows"],)


def test_environments_are_no_branches(registry: Registry) -> None:
    with pytest.raises(Invalid, match="environment"):
        registry.push(*application(), branch="production")
    registry.push(*application())
    r = registry.versions.resolve(parse_ref("release/answer"))
    with pytest.raises(Forbidden, match="verdict"):
        registry.labels.move(OWNER, LabelMove("release/answer:production", r.digest or ""))


def test_rows_come_by_key_and_by_split_whatever_their_order(registry: Registry) -> None:
    rows = [{"key": f"k{i}", "split": "dev" if i % 2 else "test", "n": i} for i in range(7)]
    one, other = pack_rows(rows), pack_rows(reversed(rows))
    assert one == other
    for data in one[1:]:
        registry.blobs.put(data)
    d = make_version("dataset", "questions", one.body, neutral={"packs": [registry.blobs.put(one.pack)]})
    registry.push(d)
    page = registry.datasets.list(OWNER, RowsQuery("dataset/questions", split="test", limit=2))
    assert ([r["key"] for r in page.items], page.count, page.next) == (["k0", "k2"], 4, "k2")
    rest = registry.datasets.list(OWNER, RowsQuery("questions", split="test", cursor=page.next))
    assert ([r["key"] for r in rest.items], rest.next) == (["k4", "k6"], None)


def test_rows_without_a_key_or_with_the_same_are_named() -> None:
    with pytest.raises(Invalid, match="row 2 has no key"):
        pack_rows([{"key": "a"}, {"q": 1}])
    with pytest.raises(Invalid, match="two rows have the key 'a'"):
        pack_rows([{"key": "a"}, {"key": "a"}])


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


def test_a_cut_walk_says_so(registry: Registry) -> None:
    registry.push(*application())
    assert registry.lineage.walk(OWNER, LineageQuery("release/answer", direction="up", depth=1)).truncated


@pytest.mark.parametrize("role", ["viewer", "caller", "run"])
def test_who_may_not_write_may_not(registry: Registry, role: Any) -> None:
    actor = Actor("x", role)
    with pytest.raises(Forbidden):
        registry.push_service.push(actor, Bundle("default", "w", (), "sha256:" + "0" * 64))
    with pytest.raises(Forbidden):
        registry.labels.move(actor, LabelMove("prompt/reply:x", "abcd"))


def test_verify_finds_every_tampering(registry: Registry) -> None:
    packed = pack_rows([{"key": "a", "n": 1}, {"key": "b", "n": 2}])
    registry.blobs.put(packed.manifest)
    d = make_version("dataset", "questions", packed.body, neutral={"packs": [registry.blobs.put(packed.pack)]})
    registry.push(*application(), d)
    assert registry.verify.verify(OWNER, VerifyQuery()).problems == ()
    with write(registry.engine) as c:
        c.exec_driver_sql("UPDATE versions SET body = replace(body, 'Answer.', 'Obey.') WHERE kind = 'prompt'")
        c.exec_driver_sql("UPDATE links SET to_digest = 'sha256:00' WHERE kind = 'component' AND role = 'model'")
        c.exec_driver_sql("UPDATE audit SET actor = 'mallory' WHERE seq = 1")
        c.exec_driver_sql("DELETE FROM versions WHERE kind = 'release'")
    pack = registry.home.path / "blobs" / packed.body.rows[7:9] / packed.body.rows[9:]
    pack.write_bytes(b"[]")
    problems = {p.what.split("@")[0]: p.problem for p in registry.verify.verify(OWNER, VerifyQuery()).problems}
    assert "its body gives" in problems["prompt/reply"]
    assert "which is not there" in problems["component/reply"]
    assert problems["audit"] == "entry 1 was changed"
    assert "points to" in problems["release/answer:main"]
    assert "damaged" in problems[packed.body.rows]


def _race(path: Path, who: int, rounds: int, start: Any, results: Any) -> None:
    registry = Registry(path)
    digests = [prompt(f"Answer {i}.").digest for i in range(9)]
    start.wait()
    won = 0
    for i in range(rounds):
        expected = registry.versions.resolve(parse_ref("prompt/reply:race")).digest
        try:
            registry.labels.move(OWNER, LabelMove("prompt/reply:race", digests[(who + i) % 9], expected))
            won += 1
        except Conflict:
            pass
    results.put(won)


def test_racing_writers_of_one_label_lose_nothing(registry: Registry) -> None:
    for i in range(9):
        registry.push(prompt(f"Answer {i}."), branch="race")
    context = multiprocessing.get_context("spawn")
    start, results = context.Event(), context.Queue()
    racers = [context.Process(target=_race, args=(registry.home.path, w, 10, start, results)) for w in range(8)]
    for r in racers:
        r.start()
    start.set()
    won = sum(results.get(timeout=60) for _ in racers)
    for r in racers:
        r.join()
    with write(registry.engine) as c:
        moves = c.exec_driver_sql("SELECT before, after FROM label_moves WHERE label = 'race' ORDER BY at_ns, id").all()
    moved = moves[9:]
    assert len(moved) == won > 0
    assert all(a.after == b.before for a, b in itertools.pairwise(moves)), "every move starts where the last one ended"


def _push_until_killed(path: Path, ready: Any) -> None:
    registry = Registry(path)
    ready.set()
    i = 0
    while True:
        registry.push(*application(f"Answer {i}."))
        i += 1


def test_a_killed_push_leaves_nothing_half_registered(registry: Registry) -> None:
    context = multiprocessing.get_context("spawn")
    for _ in range(3):
        ready = context.Event()
        child = context.Process(target=_push_until_killed, args=(registry.home.path, ready))
        child.start()
        ready.wait(30)
        child.join(0.25)
        assert child.pid
        os.kill(child.pid, signal.SIGKILL)
        child.join()
    report = registry.verify.verify(OWNER, VerifyQuery())
    assert report.problems == () and report.versions > 4
