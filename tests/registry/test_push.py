"""Push on real SQLite and real blobs: what is registered, what is refused, and that a refusal leaves nothing."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.racing import CONTEXT, racer
from tests.registry.application import MODEL, Registry, application, component, prompt

from windlass.core.actor import OWNER, Actor
from windlass.core.artifacts import (
    AlertBody,
    Code,
    ComponentBody,
    DatasetBody,
    EvaluatorBody,
    IndexBody,
    Link,
    ReleaseBody,
    Version,
    make_version,
)
from windlass.core.dataset import FORM, make_rows
from windlass.core.digest import canonical
from windlass.core.errors import Conflict, Forbidden, Invalid, NotFound
from windlass.core.operations.registry import BlobQuery, Bundle, LabelMove, VerifyQuery, VersionQuery
from windlass.core.ref import parse_ref


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


def test_rows_and_blobs_that_were_not_sent_are_named(registry: Registry) -> None:
    rows = make_rows([{"key": "a", "q": "x"}]).tree
    with pytest.raises(Invalid, match=r"dataset/questions: its rows were not sent"):
        registry.push(make_version("dataset", "questions", DatasetBody(rows.root, 1, FORM)))
    documents = registry.dataset({"key": "a", "text": "x"}, name="documents")
    chunks = "sha256:" + "0" * 64
    links = (Link("uses", "dataset", "documents", documents.digest, "documents"),)
    with pytest.raises(Invalid, match=r"the bytes of index/docs@"):
        registry.push(documents, make_version("index", "docs", IndexBody(documents.digest, chunks, {"name": "x"}), links=links))
    assert registry.push_service.missing(OWNER, BlobQuery((chunks,))).missing == (chunks,)


def test_environments_are_no_branches(registry: Registry) -> None:
    with pytest.raises(Invalid, match="environment"):
        registry.push(*application(), branch="production")
    registry.push(*application())
    r = registry.versions.resolve(parse_ref("release/answer"))
    with pytest.raises(Forbidden, match="verdict"):
        registry.labels.move(OWNER, LabelMove("release/answer:production", r.digest or ""))


@pytest.mark.parametrize("role", ["viewer", "caller", "run"])
def test_who_may_not_write_may_not(registry: Registry, role: Any) -> None:
    actor = Actor("x", role)
    with pytest.raises(Forbidden):
        registry.push_service.push(actor, Bundle("default", "w", (), "sha256:" + "0" * 64))
    with pytest.raises(Forbidden):
        registry.labels.move(actor, LabelMove("prompt/reply:x", "abcd"))


def _push_until_killed(path: Path, ready: Any) -> None:
    registry = Registry(path)
    ready.set()
    i = 0
    while True:
        registry.push(*application(f"Answer {i}."))
        i += 1


def test_a_killed_push_leaves_nothing_half_registered(registry: Registry) -> None:
    for _ in range(3):
        ready = CONTEXT.Event()
        child = racer(_push_until_killed, registry.home.path, ready)
        child.start()
        ready.wait(30)
        child.join(0.25)
        assert child.pid
        os.kill(child.pid, signal.SIGKILL)
        child.join()
    report = registry.verify.verify(OWNER, VerifyQuery())
    assert report.problems == () and report.versions > 4


def test_links_hold_exactly_what_the_body_holds(registry: Registry) -> None:
    p, other = prompt(), prompt("Other.", "other")
    c = component(p)
    extra = (*c.links, Link("uses", "prompt", "other", other.digest, "prompt"))
    with pytest.raises(Invalid, match="its body does not hold it"):
        registry.push(p, other, MODEL, Version(c.kind, c.name, c.digest, c.body, extra))
    swapped = make_version(
        "component",
        "reply",
        ComponentBody(MODEL.digest, p.digest),
        links=(Link("uses", "model", "baseline", MODEL.digest, "prompt"), Link("uses", "prompt", "reply", p.digest, "model")),
    )
    with pytest.raises(Invalid, match="its prompt is model/baseline; it takes a prompt"):
        registry.push(p, MODEL, swapped)
    wrong = make_version(
        "release", "answer", ReleaseBody("chain", c.digest, (c.digest,)), links=(Link("uses", "component", "reply", c.digest, "entry"),)
    )
    with pytest.raises(Invalid, match="its entry is component/reply; it takes a chain"):
        registry.push(p, MODEL, c, wrong)


def test_what_makes_the_server_reach_outward_is_not_pushed(registry: Registry) -> None:
    """Whoever may push may not say where the server sends."""
    with pytest.raises(Invalid, match="an alert is set on the server"):
        registry.push(make_version("alert", "ops", AlertBody(webhook="https://host.example/", secret="S")))


def test_one_push_has_one_version_of_a_name(registry: Registry) -> None:
    with pytest.raises(Invalid, match="prompt/reply: two versions in one push"):
        registry.push(prompt("One."), prompt("Two."))


def test_a_circle_of_references_is_named(registry: Registry) -> None:
    a, b, c = (prompt(n, n) for n in ("a", "b", "c"))

    def from_(v: Version, other: Version) -> Version:
        return Version(v.kind, v.name, v.digest, v.body, (Link("derived-from", other.kind, other.name, other.digest),))

    with pytest.raises(Invalid, match=r"in a circle: prompt/. → prompt/. → prompt/. → prompt/."):
        registry.push(from_(a, b), from_(b, c), from_(c, a))
    with pytest.raises(Invalid, match="prompt/a → prompt/a"):
        registry.push(from_(a, a))
    registry.push(from_(a, c), from_(b, c), c)


@pytest.mark.parametrize(
    ("snapshot", "problem"),
    [
        (b"not json", "not a snapshot"),
        (b"\xff", "not a snapshot"),
        (b'["a"]', "not a snapshot"),
        (b'{ "a": "b" }', "not canonical"),
        (b'{"a.py":"b"}', "not a whole digest"),
        (canonical({"../a.py": "sha256:" + "0" * 64}), "not a path in the workspace"),
        (canonical({"/etc/passwd": "sha256:" + "0" * 64}), "not a path in the workspace"),
        (canonical({"a//b": "sha256:" + "0" * 64}), "not a path in the workspace"),
        (canonical({"": "sha256:" + "0" * 64}), "not a path in the workspace"),
        (canonical({"a.py": "sha256:" + "0" * 64}), "the bytes of a.py were not uploaded"),
    ],
)
def test_a_snapshot_is_files_of_the_workspace(registry: Registry, snapshot: bytes, problem: str) -> None:
    bundle = Bundle("default", "helpdesk", (prompt(),), registry.blobs.put(snapshot))
    with pytest.raises(Invalid, match=problem):
        registry.push_service.push(OWNER, bundle)


def test_code_reads_the_files_of_its_snapshot(registry: Registry) -> None:
    here = registry.blobs.put(b"print()")
    for path, digest in (("app.py", "sha256:" + "1" * 64), ("data.json", here)):
        body = EvaluatorBody(Code("app:f", {"app:f": here}, "3.11", files={path: digest}), ("output",))
        with pytest.raises(Invalid, match=f"its code reads {path}"):
            registry.push(make_version("evaluator", "right", body))
    for path in ("app.py", "./app.py"):
        body = EvaluatorBody(Code("app:f", {"app:f": here}, "3.11", files={path: here}), ("output",))
        registry.push(make_version("evaluator", "right", body))


def test_rows_are_counted(registry: Registry) -> None:
    good = registry.dataset({"key": "a"}, {"key": "b"})
    with pytest.raises(Invalid, match="says 3 rows, and has 2"):
        registry.push(make_version("dataset", "questions", DatasetBody(good.body["rows"], 3, FORM)))


def test_a_dry_run_needs_no_bytes(registry: Registry) -> None:
    d = registry.dataset({"key": "a"})
    registry.push(d)
    rows = make_rows([{"key": "a", "n": 1}, {"key": "b"}]).tree
    later = make_version("dataset", "questions", DatasetBody(rows.root, 2, FORM))
    bundle = Bundle("default", "helpdesk", (later,), "sha256:" + "0" * 64, dry=True)
    (change,) = registry.push_service.push(OWNER, bundle).changes
    assert (change.status, change.before, change.why) == ("changed", d.digest, "1 row added")
    (change,) = registry.push(registry.dataset({"key": "a", "n": 1}, {"key": "b"})).changes
    assert change.why == "1 row added, 1 row changed"


def test_a_new_branch_is_told_against_main(registry: Registry) -> None:
    registry.push(*application())
    report = registry.push(*application("One.\nTwo."), branch="time")
    said = {c.kind: (c.status, c.why) for c in report.changes}
    assert said["prompt"] == ("changed", "2 lines changed") and said["model"] == ("unchanged", "")
    assert registry.versions.resolve(parse_ref("model/baseline:time")) == registry.versions.resolve(parse_ref("model/baseline:main"))
    assert registry.versions.resolve(parse_ref("prompt/reply:main")).digest == prompt().digest


def test_who_was_overtaken_is_told_and_keeps_the_versions(registry: Registry) -> None:
    registry.push(prompt("Start."))
    (seen,) = registry.push(prompt("Mine."), dry=True).changes
    expected = {"prompt/reply": seen.before}
    registry.push(prompt("Theirs."))
    with pytest.raises(Conflict, match="somebody pushed prompt/reply meanwhile") as e:
        registry.push(prompt("Mine."), expected=expected)
    assert e.value.details["current"] == prompt("Theirs.").digest
    assert registry.versions.resolve(parse_ref("prompt/reply:main")).digest == prompt("Theirs.").digest
    assert registry.versions.get("default", "prompt", "reply", prompt("Mine.").digest).digest == prompt("Mine.").digest
    assert registry.push(prompt("Theirs."), expected=expected).changes[0].status == "unchanged", "who wanted the same got it"
    assert registry.verify.verify(OWNER, VerifyQuery()).problems == ()


def _push_once(path: Path, who: int, gate: Any, results: Any) -> None:
    registry = Registry(path)
    mine = application(f"Answer {who}.")
    seen = {f"{c.kind}/{c.name}": c.before for c in registry.push(*mine, dry=True).changes}
    gate.wait(60)
    try:
        registry.push(*mine, expected=seen)
        results.put((who, True))
    except Conflict:
        results.put((who, False))


def test_of_workspaces_that_push_a_name_at_once_one_has_the_branch_and_all_are_kept(registry: Registry) -> None:
    gate, results = CONTEXT.Barrier(4), CONTEXT.Queue()
    racers = [racer(_push_once, registry.home.path, w, gate, results) for w in range(4)]
    for r in racers:
        r.start()
    winners = [who for who, won in (results.get(timeout=60) for _ in racers) if won]
    for r in racers:
        r.join()
    assert len(winners) == 1
    assert registry.versions.resolve(parse_ref("prompt/reply:main")).digest == prompt(f"Answer {winners[0]}.").digest
    kept = {v.digest for v in registry.versions.versions(OWNER, VersionQuery("release/answer")).items}
    assert kept == {application(f"Answer {w}.")[-1].digest for w in range(4)}
    assert registry.verify.verify(OWNER, VerifyQuery()).problems == ()
