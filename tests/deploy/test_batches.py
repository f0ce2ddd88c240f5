"""Batches: every row once, whatever cuts them off; answers are one version, and nothing of another batch stays in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests.evaluate.application import App
from tests.stores import on_both

from windlass.core.errors import Conflict, Invalid, NotFound, RunFailed, StoreAway, WindlassError
from windlass.deploy import batching
from windlass.runtime.context import Ledger
from windlass.store.meta import read
from windlass.store.tables import audit

ROWS = 60


@pytest.fixture
def app(tmp_path: Path, database_setting: str) -> Iterator[App]:
    made = App(tmp_path, rows=ROWS)
    made.edit(
        "app.py",
        "    if number % 10 < MISTAKES:",
        '    if number in BAD:\n        raise ValueError(f"no {number}")\n    if number % 10 < MISTAKES:',
    )
    made.edit("app.py", "MISTAKES = 0", "BAD = ()\nMISTAKES = 0")
    made.release()
    yield made
    made.close()


def bad(app: App, *numbers: int) -> str:
    """A version that fails at these rows, pushed and in production."""
    text = (app.folder / "app.py").read_text()
    line = next(x for x in text.splitlines() if x.startswith("BAD"))
    app.edit("app.py", line, f"BAD = {numbers!r}")
    ref = app.push()
    app.client.releases.promote("answer", override="as it must be")
    return ref


def answers(app: App, name: str = "rows-answer") -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in app.client.datasets.all(f"dataset/{name}")}


def asked(app: App, id: str) -> int:
    """Traces of a batch."""
    return app.client.traces.fields(f"attr.windlass.batch:{id}").traces


@on_both
def test_every_row_is_answered_once_and_says_where_it_came_from(app: App) -> None:
    begun = app.client.batches.start("answer", "rows", concurrency=16)
    assert (begun.status, begun.into, begun.request.target) == ("queued", "dataset/rows-answer", "release/answer:production")
    done = app.client.batches.wait(begun.id)
    assert (done.status, done.rows, done.done, done.failed, done.cost) == ("done", ROWS, ROWS, 0, 0.0)
    assert done.p50_s is not None and done.p95_s is not None and 0 < done.p50_s <= done.p95_s and (done.per_second or 0) > 0
    found = answers(app)
    assert {key: row["output"] for key, row in found.items()} == {f"r{n:04}": f"answer {n}" for n in range(ROWS)}
    assert found["r0007"]["input"] == {"question": "question 7"}
    trace = app.client.traces.show(found["r0007"]["trace"])
    assert trace.spans[0].attributes["windlass.batch"] == done.id and trace.spans[0].attributes["windlass.environment"] == "production"
    assert asked(app, done.id) == ROWS
    version = app.client.versions.show(done.result).version
    assert {(k.kind, k.name, k.role) for k in version.links} == {("dataset", "rows", "asked"), ("release", "answer", "answered")}
    with read(app.platform.engine) as c:
        entry = c.execute(select(audit).where(audit.c.action == "batches.start")).one()
    assert entry.subject == done.target


def test_rows_that_fail_say_why_and_are_asked_again_when_one_wants(app: App) -> None:
    bad(app, 3, 4)
    done = app.client.batches.wait(app.client.batches.start("answer", "rows").id)
    assert (done.status, done.done, done.failed) == ("done", ROWS, 2)
    assert sum(done.failures.values()) == 2 and "ValueError" in next(iter(done.failures))
    found = answers(app)
    assert "output" not in found["r0003"] and "no 3" in found["r0003"]["error"] and found["r0005"]["output"] == "answer 5"
    with pytest.raises(Conflict, match="every row of this batch has its answer"):
        app.client.batches.resume(done.id)
    again = app.client.batches.wait(app.client.batches.resume(done.id, again=True).id)
    assert (again.failed, again.done, asked(app, done.id)) == (2, ROWS, ROWS + 2)


def test_an_answer_of_before_does_not_stand_for_one_that_failed(app: App) -> None:
    app.client.batches.wait(app.client.batches.start("answer", "rows").id)
    bad(app, 3)
    app.client.batches.wait(app.client.batches.start("answer", "rows", rows=10).id)
    found = answers(app)
    assert len(found) == 10 and "error" in found["r0003"] and "output" not in found["r0003"]


def test_what_a_label_meant_when_it_began_holds_to_the_end(app: App) -> None:
    begun = app.client.batches.start("answer", "rows", per_minute=1200, concurrency=2)
    app.mistakes(9)
    app.client.releases.promote("answer", override="another")
    done = app.client.batches.wait(begun.id)
    assert {row["output"] for row in answers(app).values()} == {f"answer {n}" for n in range(ROWS)} and done.target == begun.target


def test_when_all_fail_alike_it_ends(app: App) -> None:
    bad(app, *range(ROWS))
    begun = app.client.batches.start("answer", "rows", concurrency=4)
    with pytest.raises(RunFailed, match="the first 20 rows all failed alike"):
        app.client.batches.wait(begun.id)
    found = app.client.batches.show(begun.id)
    assert found.status == "failed" and 20 <= found.failed <= 28 and len(answers(app)) == found.failed


def test_it_can_be_cancelled_and_gone_on_with(app: App) -> None:
    begun = app.client.batches.start("answer", "rows", per_minute=600, concurrency=2)
    while asked(app, begun.id) < 3:
        pass
    assert app.client.batches.cancel(begun.id).status == "cancelled"
    with pytest.raises(Conflict, match="nothing to cancel"):
        app.client.batches.cancel(begun.id)
    while not (found := app.client.batches.show(begun.id)).result:
        pass
    assert found.status == "cancelled" and 3 <= found.done < ROWS and len(answers(app)) == found.done
    done = app.client.batches.wait(app.client.batches.resume(begun.id).id)
    assert (done.status, done.done, done.resumed, len(answers(app))) == ("done", ROWS, 1, ROWS)
    assert asked(app, begun.id) == ROWS, "no row was asked twice"


def test_where_the_store_goes_away_under_it_it_goes_on(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "PART_ROWS", 10)
    real, kept = app.platform.batching.keep, list[int]()

    def away(batch: Any, number: int = 0, part: Any = None) -> Any:
        kept.append(number) if part is not None else None
        if len(kept) in (3, 5):
            kept.append(-1)
            raise StoreAway("the store is away")
        return real(batch, number, part)

    monkeypatch.setattr(app.platform.batching, "keep", away)
    begun = app.client.batches.start("answer", "rows", concurrency=4)
    found = app.client.batches.wait(begun.id)
    assert (found.status, found.done, len(answers(app)), kept.count(-1)) == ("done", ROWS, ROWS, 2)
    assert ROWS < asked(app, begun.id) <= ROWS + 2 * 14, "only what was not kept was asked again"


def test_a_budget_ends_it_and_a_larger_one_goes_on(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "total", property(lambda _: 0.01))
    begun = app.client.batches.start("answer", "rows", budget=0.1, concurrency=4)
    found = app.client.batches.wait(begun.id)
    assert found.status == "stopped" and found.error and "the budget of $0.1 is spent" in str(found.error)
    assert 10 <= found.done <= 10 + 4 and found.cost == pytest.approx(found.done * 0.01), "passed by what was under way"
    assert len(answers(app)) == found.done
    done = app.client.batches.wait(app.client.batches.resume(begun.id, budget=5.0).id)
    assert (done.status, done.done, done.cost, asked(app, begun.id)) == ("done", ROWS, pytest.approx(ROWS * 0.01), ROWS)


def test_a_budget_cannot_be_kept_where_a_price_is_unknown(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "total", property(lambda _: None))
    monkeypatch.setattr(batching, "PART_ROWS", 1)
    found = app.client.batches.wait(app.client.batches.start("answer", "rows", budget=1.0, concurrency=1).id)
    assert (found.status, found.cost) == ("stopped", None) and found.done < ROWS and "what a row costs is not known" in str(found.error)
    done = app.client.batches.wait(app.client.batches.start("answer", "rows").id)
    assert (done.status, done.cost) == ("done", None), "unknown, and not 0"


@pytest.mark.parametrize(("given", "error", "says"), [
    (("answer", "nothing"), NotFound, "nothing"),
    (("nobody", "rows"), NotFound, "nobody"),
    (("prompt/note", "rows"), Invalid, "cannot be run"),
    (("answer", "suite/answers"), Invalid, "is a suite"),
])  # fmt: skip
def test_what_cannot_be_a_batch_is_refused_before_it_begins(
    app: App, given: tuple[str, str], error: type[WindlassError], says: str
) -> None:
    with pytest.raises(error, match=says):
        app.client.batches.start(*given)
    with pytest.raises(Invalid, match="take the place of what is asked"):
        app.client.batches.start("answer", "rows", into="rows")
    assert app.client.batches.list().items == ()


def test_a_split_that_no_row_has_is_told(app: App) -> None:
    begun = app.client.batches.start("answer", "rows", split="moon")
    with pytest.raises(Invalid, match="no rows of the split 'moon'"):
        app.client.batches.wait(begun.id)
