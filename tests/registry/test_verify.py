"""Verify finds what was changed behind its back."""

import re

import pytest
from tests.registry.application import Registry, application

from windlass.core.actor import OWNER, Actor
from windlass.core.errors import Forbidden
from windlass.core.operations.registry import (
    VerifyQuery,
)
from windlass.core.ref import parse_ref
from windlass.registry.labels import move_environment
from windlass.store.meta import write


def test_verify_finds_every_tampering(registry: Registry) -> None:
    d = registry.dataset({"key": "a", "n": 1}, {"key": "b", "n": 2})
    registry.push(*application(), d)
    assert registry.verify.verify(OWNER, VerifyQuery()).problems == ()
    with write(registry.engine) as c:
        c.exec_driver_sql("UPDATE versions SET body = replace(body, 'Answer.', 'Obey.') WHERE kind = 'prompt'")
        c.exec_driver_sql("UPDATE links SET to_digest = 'sha256:00' WHERE kind = 'component' AND role = 'model'")
        c.exec_driver_sql("UPDATE audit SET actor = 'mallory' WHERE seq = 1")
        c.exec_driver_sql("DELETE FROM versions WHERE kind = 'release'")
    tree = registry.datasets.blobs(d)[0]
    registry.blobs.local(tree).write_bytes(b"[]")
    problems = {p.what.split("@")[0]: p.problem for p in registry.verify.verify(OWNER, VerifyQuery()).problems}
    assert "its body gives" in problems["prompt/reply"]
    assert "which is not there" in problems["component/reply"]
    assert problems["audit"] == "entry 1 was changed"
    assert "points to" in problems["release/answer:main"]
    assert "damaged" in problems[tree]


TAMPERINGS = [
    ("UPDATE versions SET body = '{' WHERE kind = 'prompt'", "prompt/reply", "cannot be read"),
    ("UPDATE versions SET body = body || ' ' WHERE kind = 'prompt'", "prompt/reply", "not canonical"),
    ("UPDATE versions SET neutral = '[' WHERE kind = 'model'", "model/baseline", "cannot be read"),
    ("DELETE FROM versions WHERE kind = 'model'", "model/baseline", "has links|is not there|points to"),
    ("DELETE FROM links WHERE role = 'prompt'", "component/reply", "without a link"),
    ("DELETE FROM links WHERE role = 'entry'", "release/answer", "without a link"),
    ("INSERT INTO links SELECT project, kind, name, digest, 'uses', 'x', kind, name, digest FROM versions WHERE kind = 'component'",
     "component/reply", "does not hold it"),
    ("UPDATE labels SET digest = 'sha256:00' WHERE kind = 'prompt'", "prompt/reply:main", "its history does not"),
    ("DELETE FROM labels WHERE kind = 'prompt'", "prompt/reply:main", "is not there"),
    ("UPDATE label_moves SET before = 'sha256:00' WHERE kind = 'prompt'", "prompt/reply:main", "history breaks"),
    ("UPDATE label_moves SET verdict = 'made up' WHERE label = 'production'", "release/answer:production", "verdict made up"),
    ("DELETE FROM audit WHERE seq = 1", "audit", "entry 1 is missing"),
    ("UPDATE audit SET details = '{}' WHERE seq = 2", "audit", "entry 2 was changed"),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "what", "problem"), TAMPERINGS)
def test_verify_finds_each_tampering_with_the_store(registry: Registry, statement: str, what: str, problem: str) -> None:
    registry.push(*application())
    target = registry.versions.resolve(parse_ref("release/answer"))
    with write(registry.engine) as c:
        move_environment(c, OWNER, target, "production", None, how="override", verdict=None, reason="test")
    assert registry.verify.verify(OWNER, VerifyQuery()).problems == ()
    with write(registry.engine) as c:
        c.exec_driver_sql(statement)
    found = [p for p in registry.verify.verify(OWNER, VerifyQuery()).problems if p.what.split("@")[0] == what]
    if what == "model/baseline" and "DELETE" in statement:
        found = list(registry.verify.verify(OWNER, VerifyQuery()).problems)
    assert any(re.search(problem, p.problem) for p in found), found


def test_verify_finds_each_damaged_blob(registry: Registry) -> None:
    registry.push(*application(), registry.dataset({"key": "a", "n": 1}))
    stray = registry.blobs.put(b"nobody needs this")
    everything = list(registry.blobs.all())
    report = registry.verify.verify(OWNER, VerifyQuery())
    assert (report.problems, report.blobs) == ((), len(everything))
    for digest in everything:
        path = registry.home.path / "blobs" / digest[7:9] / digest[9:]
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        problems = registry.verify.verify(OWNER, VerifyQuery()).problems
        assert [(p.what, "damaged" in p.problem) for p in problems] == [(digest, True)]
        path.unlink()
        problems = registry.verify.verify(OWNER, VerifyQuery()).problems
        assert [p.what for p in problems] == ([] if digest == stray else [digest])
        path.write_bytes(data)


def test_verify_of_everything_is_the_owners(registry: Registry) -> None:
    developer = Actor("ann", "developer")
    with pytest.raises(Forbidden):
        registry.verify.verify(developer, VerifyQuery())
    assert registry.verify.verify(developer, VerifyQuery("default")).versions == 0
