"""Push on real SQLite and real blobs: what is registered, what is refused, and that a refusal leaves nothing."""

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.registry.application import MODEL, Registry, application, component, prompt

from windlass.core.actor import OWNER, Actor
from windlass.core.artifacts import (
    Version,
    make_version,
)
from windlass.core.dataset import pack_rows
from windlass.core.errors import Forbidden, Invalid, NotFound
from windlass.core.operations.registry import (
    BlobQuery,
    Bundle,
    LabelMove,
    VerifyQuery,
)
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
