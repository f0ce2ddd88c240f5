"""`windlass move`, and docs/growing.md: its commands run in order, on a folder that has something to move."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from dbos import DBOSClient
from sqlalchemy import select
from tests.doors.cli.conftest import Shell
from tests.registry.sources.postgresql_server import PASSWORD, PostgreSqlServer
from tests.s3_server import ENVIRONMENT

from windlass.core.errors import Conflict
from windlass.jobs.durable import QUEUE, WORKFLOW, unfinished
from windlass.store.home import Home
from windlass.store.meta import open_meta, read, write
from windlass.store.meta_postgres import PASSWORD as VARIABLE
from windlass.store.moving import Handed, move_meta
from windlass.store.tables import handed_over, versions

PAGE = (Path(__file__).parents[3] / "docs/growing.md").read_text()


@pytest.fixture
def elsewhere(postgresql: PostgreSqlServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv(VARIABLE, PASSWORD)
    name = postgresql.empty_store(migrated=False)
    yield postgresql.store_url(name)
    postgresql.drop(name)


def test_the_commands_of_the_page_run(shop: Shell, elsewhere: str, bucket: str) -> None:
    shop.env |= {VARIABLE: PASSWORD, **ENVIRONMENT}
    meant = {"postgresql://windlass@127.0.0.1:5432/windlass": elsewhere, "s3://windlass/main?endpoint=http://127.0.0.1:9000": bucket}
    shop("push")
    home = Path(shop.env["WINDLASS_HOME"])
    before = shop.json("status")["counts"]
    assert before["versions"] > 5
    lines = [line for block in re.findall(r"```console\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
    assert len(lines) == 8
    for line in lines:
        text, _, said = line.removeprefix("$ ").partition("  #")
        if text.startswith("echo"):
            setting = text.partition("'")[2].partition("'")[0]
            with (home / "settings.toml").open("a") as file:
                (written,) = (address for address in meant if address in setting)
                file.write(setting.replace(written, meant[written]) + "\n")
            refused = shop("status", code=1)  # before it is moved
            assert "windlass move takes" in refused.stderr
        else:
            assert said.strip() in shop(*shlex.split(text.removeprefix("windlass "))).stdout
    assert shop.json("status")["counts"] == before
    assert (home / "windlass.db.moved").exists() and not list(home.glob("windlass.db*-wal"))
    assert "nothing is left" in shop("move").stdout
    shutil.rmtree(home / "blobs")
    assert "problems" not in shop.json("verify")
    shop("push")
    assert shop.json("status")["counts"] == before, "the same workspace makes nothing new"


def test_a_move_that_is_cut_off_is_done_again(tmp_path: Path, elsewhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "home")
    engine = open_meta(home.database_url)
    odd = "a\0b\U0010fffe"
    with write(engine) as c:
        for n in range(1_300):
            row = {
                "project": "p",
                "kind": "prompt",
                "name": f"n{n}",
                "digest": "d",
                "body": odd,
                "neutral": "{}",
                "created_ns": n,
                "actor": "a",
            }
            c.execute(versions.insert().values(**row))
        c.execute(handed_over.insert().values(id="w1", kind="gate", project="p"))
    engine.dispose()
    work = [Handed("w1", "gate", "p"), Handed("w2", "evaluation", "p")]

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for where in ("windlass.store.moving._expect", "pathlib.Path.rename"):  # before the commit, and after it
        with monkeypatch.context() as m, pytest.raises(KeyboardInterrupt):
            m.setattr(where, killed)
            move_meta(home, elsewhere, work)
        assert (home.path / "windlass.db").exists()
    assert move_meta(home, elsewhere, work)["versions"] == 1_300
    assert not (home.path / "windlass.db").exists() and (home.path / "windlass.db.moved").exists()
    with read(open_meta(elsewhere)) as c:
        assert c.execute(select(versions.c.body).where(versions.c.name == "n7")).scalar_one() == odd
        assert set(c.execute(select(handed_over.c.id)).scalars()) == {"w1", "w2"}


def test_a_store_that_holds_something_else_is_left_alone(tmp_path: Path, elsewhere: str) -> None:
    home = Home(tmp_path / "home")
    for url, count in ((home.database_url, 2), (elsewhere, 1)):
        with write(open_meta(url)) as c:
            for n in range(count):
                c.execute(handed_over.insert().values(id=f"{count}-{n}", kind="gate", project="p"))
                row = {
                    "project": "p",
                    "kind": "prompt",
                    "name": f"n{n}",
                    "digest": "d",
                    "body": "",
                    "neutral": "{}",
                    "created_ns": n,
                    "actor": "a",
                }
                c.execute(versions.insert().values(**row))
    with pytest.raises(Conflict, match="is not empty: it has 1 rows in versions"):
        move_meta(home, elsewhere)
    with read(open_meta(elsewhere)) as c:
        assert list(c.execute(select(handed_over.c.id)).scalars()) == ["1-0"]
    assert (home.path / "windlass.db").exists()


def test_work_that_waits_in_the_folder_is_found(tmp_path: Path) -> None:
    assert unfinished(tmp_path / "jobs.db") == []
    client = DBOSClient(system_database_url=f"sqlite:///{tmp_path / 'jobs.db'}")
    client._sys_db.run_migrations()
    client.enqueue({"queue_name": QUEUE, "workflow_name": WORKFLOW, "workflow_id": "g1", "app_version": "1"}, "gate", "default", "g1")
    client.destroy()
    assert unfinished(tmp_path / "jobs.db") == [("g1", "gate", "default")]
