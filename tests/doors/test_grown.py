"""A server that has grown: its stores on other machines, which go away and come back under it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.doors.server import Server, until
from tests.doors.test_serve import workspace
from tests.registry.sources.postgresql_server import PASSWORD, PostgreSqlServer, binaries

from windlass.core.errors import WindlassError
from windlass.store.meta_postgres import PASSWORD as VARIABLE

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[PostgreSqlServer]:
    folder = binaries()
    if folder is None:
        pytest.skip("there is no PostgreSQL server here: sh scripts/postgresql.sh installs one")
    made = PostgreSqlServer(folder)
    try:
        yield made
    finally:
        made.close()


def grown(home: Path, server: PostgreSqlServer, name: str) -> Server:
    return Server(home, env={"WINDLASS_DATABASE": server.store_url(name), VARIABLE: PASSWORD})


def test_a_gate_goes_on_after_postgresql_was_killed_under_it(server: PostgreSqlServer, tmp_path: Path) -> None:
    name, home = server.empty_store(migrated=False), tmp_path / "home"
    up = grown(home, server, name)
    with up.client() as client:
        client.push(workspace(tmp_path / "shop", rows=300))
        job = client.gates.start("answers")
        until(lambda: client.gates.show(job.id).done > 20, 60)
        parts = {part: seen["pid"] for part, seen in up.parts().items()}
        server.stop("immediate")
        with pytest.raises(WindlassError, match="PostgreSQL does not answer"):
            client.gates.show(job.id)
        server.start()
        done = until(lambda: (j := client.gates.show(job.id)).status in ("done", "failed") and j, 120)
        assert done.status == "done", done
        assert done.verdict.decision == "promote"
        evaluation = client.evaluations.show(done.verdict.candidate_evaluation)
        assert (evaluation.done, evaluation.failed) == (300, 0)
        assert up.parts()["doors"]["pid"] == parts["doors"], "the door healed by itself"
    assert up.stop() == 0
    logs = "".join(path.read_text() for path in (home / "logs").iterdir())
    assert PASSWORD not in logs
    assert not list(home.glob("*.db")), "nothing relational is left in the folder"


def test_a_folder_with_a_store_of_its_own_is_not_left_behind(server: PostgreSqlServer, tmp_path: Path) -> None:
    home = tmp_path / "home"
    up = Server(home)
    assert up.stop() == 0
    beside = Server(home, ready=False, env={"WINDLASS_DATABASE": server.store_url("postgres"), VARIABLE: PASSWORD})
    _, said = beside.process.communicate(timeout=60)
    assert beside.process.returncode == 1
    assert "windlass move takes it along" in said
