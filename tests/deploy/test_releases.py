"""Environment labels: by verdict, by recorded override, back again, and against races."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.evaluate.application import App
from tests.stores import on_both

from windlass.core.errors import Conflict, Forbidden, Invalid, NotFound, WindlassError
from windlass.govern import audit
from windlass.store.meta import read


@pytest.fixture
def app(tmp_path: Path, database_setting: str) -> Iterator[App]:
    made = App(tmp_path, rows=80)
    yield made
    made.close()


def digest(ref: str) -> str:
    return ref.partition("@")[2]


def three(app: App) -> list[str]:
    """Three releases, put into production one after the other with a reason."""
    refs = []
    for count in (0, 1, 2):
        refs.append(digest(app.mistakes(count)))
        app.client.releases.promote("answer", digest=refs[-1], override=f"number {count}")
    return refs


@on_both
def test_the_whole_way(app: App) -> None:
    ref = app.push()
    state = app.client.releases.list().items[0]
    assert (state.name, state.entry, state.environments, state.candidate) == ("answer", "chain/answer", {}, digest(ref))
    with pytest.raises(Forbidden, match="has no verdict for production"):
        app.client.releases.promote("answer")
    verdict = app.gate().verdict
    assert verdict.decision == "promote"
    move = app.client.releases.promote("release/answer")
    assert (move.before, move.after, move.kind, move.verdict) == (None, digest(ref), "promote", verdict.id)
    state = app.client.releases.list().items[0]
    assert (state.environments, state.candidate, state.last_verdict) == ({"production": digest(ref)}, None, verdict.id)
    assert app.client.run("release/answer:production", "question 7").output == "answer 7"
    why = app.client.traces.why(app.client.run("release/answer:production", "question 8").trace)
    assert (why.release, why.verdict, why.released_ns) == (ref, verdict.id, move.at_ns)
    with pytest.raises(Conflict, match="runs already"):
        app.client.releases.promote("answer")


def test_a_release_says_what_measures_it(app: App) -> None:
    manifest = app.folder / "windlass.toml"
    manifest.write_text(manifest.read_text() + '\n[releases]\nlonely = "component/lonely"\n')
    (app.folder / "lonely.md").write_text("---\ninputs: {word: string}\n---\nSay {{ word }}.")
    code = app.folder / "app.py"
    code.write_text(code.read_text() + '\nw.component("lonely", prompt="lonely.md", model="baseline")\n')
    app.push()
    assert [(r.name, r.suite) for r in app.client.releases.list().items] == [("answer", "answers"), ("lonely", None)]


def test_a_verdict_about_something_else_does_not_count(app: App) -> None:
    app.push()
    verdict = app.gate().verdict
    with pytest.raises(Forbidden, match="about production, not staging"):
        app.client.releases.promote("answer", "staging", verdict=verdict.id)
    with pytest.raises(Forbidden, match="no verdict for staging"):
        app.client.releases.promote("answer", "staging")
    with pytest.raises(NotFound, match="verdict"):
        app.client.releases.promote("answer", verdict="00000000")
    with pytest.raises(Invalid, match="no environment"):
        app.client.releases.promote("answer", "live")
    with pytest.raises(Invalid, match="what stands in an environment is a release"):
        app.client.releases.promote("chain/answer")


def test_an_override_needs_a_reason_and_keeps_it(app: App) -> None:
    ref = app.push()
    with pytest.raises(Invalid, match="needs a reason"):
        app.client.releases.promote("answer", override="  ")
    move = app.client.releases.promote("answer", override="the gate's rows are being mended")
    assert (move.after, move.kind, move.verdict, move.reason) == (digest(ref), "override", None, "the gate's rows are being mended")
    with read(app.platform.engine) as c:
        assert audit.verify(c) is None


@on_both
def test_back_and_further_back(app: App) -> None:
    a, b, c = three(app)
    assert app.client.releases.rollback("answer").after == b
    assert app.client.releases.rollback("answer").after == a
    with pytest.raises(NotFound, match="nothing to go back to"):
        app.client.releases.rollback("answer")
    app.client.releases.promote("answer", digest=c, override="again")
    assert app.client.releases.rollback("answer").after == a
    kinds = [m.kind for m in app.client.releases.history("answer").items]
    assert kinds == ["rollback", "override", "rollback", "rollback", "override", "override", "override"]
    page = app.client.releases.history(limit=3)
    assert len(page.items) == 3
    assert len(app.client.releases.history(cursor=page.next, limit=10).items) == 4


def test_a_rollback_uses_the_verdict_that_let_it_out(app: App) -> None:
    first = digest(app.push())
    verdict = app.gate().verdict
    app.client.releases.promote("answer")
    app.mistakes(1)
    app.client.releases.promote("answer", override="try it")
    move = app.client.releases.rollback("answer")
    assert (move.after, move.verdict, move.kind) == (first, verdict.id, "rollback")


def test_nothing_to_roll_back(app: App) -> None:
    app.push()
    with pytest.raises(NotFound, match="nothing of release/answer is in production"):
        app.client.releases.rollback("answer")


@on_both
def test_of_two_who_move_at_once_one_is_told(app: App) -> None:
    """Each promotes by a verdict against what was there; both verdicts were true, only one can still be."""
    app.push()
    app.gate()
    app.client.releases.promote("answer")
    verdicts = []
    for text in ("one", "two"):
        app.edit("app.py", '"""Answer."""', f'assert question != {text!r}\n    """Answer."""')
        candidate = app.push()
        app.client.releases.promote("answer", "staging", digest=digest(candidate), override="to be gated")
        verdicts.append(app.gate(candidate).verdict)
    assert {v.base for v in verdicts} == {verdicts[0].base}

    def promote(id: str) -> str:
        try:
            app.client.releases.promote("answer", verdict=id)
            return "moved"
        except WindlassError as e:
            return type(e).__name__

    wanted = [v.id for v in verdicts if v.decision == "promote"]
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(promote, wanted)) == ["Conflict", "moved"]
