"""The projector with ClickHouse: killed on both sides of the network, told lies by it, and nothing is lost or doubled."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("chdb", reason="there is no chDB here: make .stamps/clickhouse installs it")
from tests.clickhouse_server import PASSWORD, ClickHouseServer
from tests.traces.test_projector import tree

from windlass.core.errors import Invalid, Unavailable
from windlass.core.operations.ledger import LedgerAudit, LedgerQuery
from windlass.core.operations.traces import TraceQuery
from windlass.govern.masking import Masking
from windlass.settings import Settings
from windlass.store.clickhouse_asking import PASSWORD as VARIABLE
from windlass.store.home import Home
from windlass.store.journal import Journal
from windlass.store.spans_clickhouse import ClickHouseSpans, open_clickhouse
from windlass.traces.projector import Projection, open_projection
from windlass.traces.recorder import Recorder

pytestmark = pytest.mark.slow


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClickHouseServer]:
    monkeypatch.setenv(VARIABLE, PASSWORD)
    server = ClickHouseServer(tmp_path / "clickhouse")
    yield server
    server.kill()


def every_trace(projection: Projection) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        page = projection.ask("traces", TraceQuery(limit=200, cursor=cursor))
        found += [t.trace_id for t in page.items]
        if not (cursor := page.next):
            return sorted(found)


def balanced(projection: Projection) -> bool:
    while not (told := projection.ask("audit", LedgerAudit())).finished:
        pass
    assert [line for line in told.items if line.problems] == []
    return told.lines > 0


@pytest.mark.parametrize("seed", range(2))
def test_whoever_is_killed_nothing_is_lost_and_nothing_doubled(house: ClickHouseServer, tmp_path: Path, seed: int) -> None:
    home, chance, made = Home(tmp_path / "home"), random.Random(seed), list[str]()
    journal = Journal(home.path / "journal" / "w")
    recorder = Recorder(journal, Masking(Path("none")))
    environment = os.environ | {"WINDLASS_SPANS": house.setting()}
    for turn in range(5):
        command = [sys.executable, "-m", "windlass.traces.projector", str(home.path)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment) as process:
            for n in range(60):
                spans = tree()
                made.append(spans[0].trace_id)
                recorder.record(spans)
                time.sleep(chance.random() * 0.05)
                if turn % 2 and n == 30:
                    house.kill()
                    house.start()
            process.kill()
    recorder_done = time.monotonic()
    journal.close()
    projection = open_projection(home, Settings(spans=house.setting()))
    projection.catch_up()
    assert projection.counts()["spans"] == 2 * len(made), time.monotonic() - recorder_done
    assert every_trace(projection) == sorted(made)
    lines = projection.ask("ledger", LedgerQuery()).items
    assert {(line.source, line.missing, line.again) for line in lines} == {("windlass", 0, 0)}
    assert balanced(projection)
    projection.close()
    again = open_projection(home, Settings(spans=house.setting()))
    assert again.catch_up() == 0
    again.close()


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("fault", ["refuse", "forget", "late"])
def test_an_insert_that_was_not_acknowledged_is_there_once(house: ClickHouseServer, tmp_path: Path, fault: str, times: int) -> None:
    """Refused; done, with the answer lost; and done a second after it was given up and asked again. clickhouse-connect asks again by
    itself where a connection is cut: what it sends twice must be there once, too."""
    home = Home(tmp_path / "home")
    journal = Journal(home.path / "journal" / "w")
    spans = tree()
    Recorder(journal, Masking(Path("none"))).record(spans)
    journal.close()
    projection = open_projection(home, Settings(spans=house.setting()))
    for _ in range(times):
        house.plan(fault)
    if fault == "refuse" or times == 2:
        with pytest.raises(Unavailable, match="ClickHouse does not answer") as told:
            projection.catch_up()
        assert spans[0].trace_id not in str(told.value) and told.value.__cause__ is None
    _until_it_went_through(projection)
    time.sleep(2)
    assert projection.counts()["spans"] == 2 and projection.catch_up() == 0
    lines = projection.ask("ledger", LedgerQuery()).items
    assert [sum(getattr(line, figure) for line in lines) for figure in ("received", "indexed", "again")] == [2, 2, 0]
    assert balanced(projection)
    assert len(projection.ask("traces", TraceQuery()).items) == 1
    projection.close()


def _until_it_went_through(projection: Projection) -> None:
    for _ in range(3):
        with contextlib.suppress(Unavailable):
            projection.catch_up()
            return
    raise AssertionError("it never went through")


def test_who_may_not_come_in_is_told_without_a_secret(house: ClickHouseServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "a-wrong-one")
    with pytest.raises(Unavailable, match="ClickHouse does not answer") as told:
        open_clickhouse(house.setting())
    assert "a-wrong-one" not in str(told.value) + repr(told.value.__cause__)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("clickhouse://me:hunter2@host/windlass", "a secret does not belong in a setting"),
        ("clickhouse://host/windlass?password=hunter2", "a secret does not belong in a setting"),
        ("clickhouse://host/windlass?hunter2=1", "no option"),
        ("clickhouse://host", "no address of a ClickHouse database"),
        ("clickhouse://host:hunter2/windlass", "no address of a ClickHouse database"),
        ("https://host/hunter2", "no address of a ClickHouse database"),
    ],
)
def test_what_is_wrong_with_the_setting_is_said_without_repeating_it(setting: str, said: str) -> None:
    with pytest.raises(Invalid, match=said) as told:
        open_clickhouse(setting)
    assert "hunter2" not in str(told.value)


def test_a_first_write_that_was_cut_off_is_no_table_of_before(
    house: ClickHouseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows came through, and what says where it ended did not."""
    home = Home(tmp_path / "home")
    journal = Journal(home.path / "journal" / "w")
    Recorder(journal, Masking(Path("none"))).record(tree())
    journal.close()
    projection = open_projection(home, Settings(spans=house.setting()))
    with monkeypatch.context() as patch:
        patch.setattr(ClickHouseSpans, "_enter", lambda *_: (_ for _ in ()).throw(Unavailable("killed")))
        with pytest.raises(Unavailable):
            projection.catch_up()
    projection.close()
    again = open_projection(home, Settings(spans=house.setting()))
    again.catch_up()
    assert again.counts()["spans"] == 2
    assert [(line.source, line.received, line.indexed, line.again) for line in again.ask("ledger", LedgerQuery()).items] == [
        ("windlass", 2, 2, 0)
    ]
    assert balanced(again)
    again.close()
