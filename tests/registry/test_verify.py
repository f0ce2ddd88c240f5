"""Verify finds what was changed behind its back."""

from tests.registry.application import Registry, application

from windlass.core.actor import OWNER
from windlass.core.artifacts import (
    make_version,
)
from windlass.core.dataset import pack_rows
from windlass.core.operations.registry import (
    VerifyQuery,
)
from windlass.store.meta import write


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
