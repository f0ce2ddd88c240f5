"""Bake-offs on a real platform: models of known quality behind HTTP, in an application that is really run."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.evaluate.application import App
from tests.evaluate.models import Known, KnownModels

from windlass.core.errors import Invalid
from windlass.core.operations.bakeoffs import Arm, Bakeoff, BakeoffRequest, Rule
from windlass.core.operations.discover import CatalogQuery

APP = '''
import windlass as w

reply = w.component("reply", prompt="prompts/reply.md", model="baseline/lead")


@w.chain
def answer(question: str) -> str:
    """Answer."""
    return reply(text=question)


@w.evaluator
def right(output: str, row) -> float:
    return float(output == row.expected)


w.suite("answers", target=answer, data=w.data("data/rows.jsonl"), guards={right: w.not_worse(by=0.08)})
'''
PRICES = """
["acme/weak"]
input = 0.1
output = 0.4
["acme/good"]
input = 1
output = 4
["acme/best"]
input = 20
output = 80
["acme/down"]
input = 1
output = 1
"""
MODELS = {"weak": Known(0.2), "good": Known(0.86, 0.005), "best": Known(0.9, 0.01), "down": Known(0.9, status=500), "secret": Known(0.95)}


@pytest.fixture(scope="module")
def acme() -> Iterator[KnownModels]:
    """In a thread of its own, so that every test's loop can reach it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    models = KnownModels(MODELS)
    asyncio.run_coroutine_threadsafe(models.__aenter__(), loop).result()
    yield models
    asyncio.run_coroutine_threadsafe(models.__aexit__(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


@pytest.fixture
def app(tmp_path: Path, acme: KnownModels) -> Iterator[App]:
    acme.calls.clear()
    home = tmp_path / "home"
    made = App(tmp_path, rows=120)
    made.close()
    (home / "providers.toml").write_text(acme.providers())
    (home / "prices.toml").write_text(PRICES)
    made.open()
    made.write("prompts/reply.md", "---\ninputs: {text: string}\n---\nuser: Answer. {{ text }}\n")
    made.write("app.py", APP)
    made.client.push(made.folder)
    yield made
    made.close()


def held(app: App, *models: str, **asked: object) -> Bakeoff:
    request = BakeoffRequest("answers", models, budget=10.0)
    for name, value in asked.items():
        setattr(request, name, value)
    found = app.client.bakeoffs.start(request)
    for _ in range(1200):
        found = app.client.bakeoffs.show(found.id)
        if found.status not in ("queued", "running"):
            return found
        time.sleep(0.05)
    raise AssertionError(found)


def arm(b: Bakeoff, model: str) -> Arm:
    return next(a for a in b.arms if a.model == model)


def test_the_cheapest_within_the_margin_is_recommended_and_the_worse_stop_early(app: App, acme: KnownModels) -> None:
    b = held(app, "acme/weak", "acme/good", "acme/best", "baseline/silent")
    assert b.status == "done" and b.recommendation and b.recommendation.model == "acme/good"
    assert {a.model: a.status for a in b.arms if a.model in ("acme/good", "acme/best")} == {"acme/good": "done", "acme/best": "done"}
    assert arm(b, "baseline/lead").reference and b.arms[0].model == "baseline/lead"
    weak = arm(b, "acme/weak")
    assert weak.status == "done" or weak.rows < 120
    good, best = arm(b, "acme/good"), arm(b, "acme/best")
    assert good.per_row == pytest.approx(0.0014) and best.per_row == pytest.approx(0.028)
    assert good.guards[0].mean == pytest.approx(0.86, abs=0.09) and good.guards[0].interval
    assert good.per_success == pytest.approx(0.0014 / (good.guards[0].mean or 1))
    assert good.latency and best.latency and best.latency > good.latency > 0.004
    assert good.frontier and best.frontier
    assert "times as much" in b.recommendation.why and "acme/best" in b.recommendation.why
    assert b.calls == sum(acme.calls.values()) + sum(a.calls for a in b.arms if a.model.startswith("baseline"))
    assert b.spent == pytest.approx(sum(a.cost or 0.0 for a in b.arms)) and b.spent <= 10


def test_what_is_shown_worse_stops_and_its_calls_are_spared(app: App, acme: KnownModels) -> None:
    app.write("app.py", APP.replace("baseline/lead", "acme/good"))
    app.client.push(app.folder)
    b = held(app, "acme/weak", "baseline/silent")
    weak = arm(b, "acme/weak")
    assert weak.status == "eliminated" and "worse on right than what runs now" in weak.why
    assert acme.calls["weak"] == weak.rows < 60 and weak.guards[0].interval
    assert b.saved >= 2 * (120 - weak.rows)
    assert b.recommendation and b.recommendation.model == "acme/good" and b.recommendation.why.startswith("Keep what runs now")
    e = app.client.evaluations.show(weak.evaluation)
    assert e.status == "cancelled" and e.done == weak.rows and "eliminated by a bake-off" in (e.error or "")


def test_a_variant_is_what_a_push_would_make_and_its_answers_are_used_again(app: App, acme: KnownModels) -> None:
    before = app.client.versions.show("component/reply").version
    b = held(app, "acme/good")
    asked = acme.calls["good"]
    assert app.client.versions.show("component/reply").version == before  # a variant is nobody's newest
    notes = [v.note for v in app.client.versions.list("component/reply").items]
    assert sorted(notes) == ["", "for a bake-off"]
    app.write("app.py", APP.replace("baseline/lead", "acme/good"))
    app.client.push(app.folder)
    pushed = app.client.versions.show("chain/answer").version
    assert str(pushed.ref) == arm(b, "acme/good").target
    assert app.gate().verdict and acme.calls["good"] == asked


def test_a_model_without_a_price_is_left_out_unless_it_is_named_and_never_recommended_for_its_cost(app: App) -> None:
    found = held(app, among=CatalogQuery(provider="acme"), rows=8)
    assert {x.model: x.rule for x in found.excluded} == {"acme/secret": ""} and "price is not known" in found.excluded[0].why
    b = held(app, "acme/secret", "acme/good")
    secret = arm(b, "acme/secret")
    assert secret.status == "done" and secret.cost is None and secret.per_row is None and secret.per_success is None and not secret.frontier
    assert b.recommendation and b.recommendation.model == "acme/good" and "its price is not known" in b.recommendation.why
    alone = held(app, "acme/secret", rows=60)
    assert alone.recommendation and alone.recommendation.model is None and "set it in prices.toml" in alone.recommendation.why


def test_one_that_cannot_be_called_fails_and_the_others_go_on(app: App) -> None:
    b = held(app, "acme/down", "acme/good")
    down = arm(b, "acme/down")
    assert down.status == "failed" and "all failed alike" in down.why and down.rows <= 16
    assert b.status == "done" and b.recommendation and b.recommendation.model == "acme/good"


def test_the_budget_stops_the_dearest_first(app: App) -> None:
    b = held(app, "acme/good", "acme/best", budget=0.2)
    best = arm(b, "acme/best")
    assert best.status == "stopped" and "the budget of $0.2" in best.why
    assert b.spent <= 0.2 and arm(b, "acme/good").rows > best.rows
    free = held(app, "acme/good", "baseline", budget=0.0)
    assert arm(free, "acme/good").rows == 0 or free.spent == 0


def test_a_policy_leaves_out_with_the_rule_named(app: App) -> None:
    rule = Rule("no dear ones", max_input_price=5.0)
    b = held(app, "acme/good", "acme/best", policy=(rule,))
    assert [(x.model, x.rule) for x in b.excluded] == [("acme/best", "no dear ones")]
    assert {a.model for a in b.arms} == {"baseline/lead", "acme/good"}
    with pytest.raises(Invalid, match=r"no model is left to compare with baseline/lead: acme/best: .*no dear ones"):
        held(app, "acme/best", policy=(rule,))


def test_the_installations_own_policy_holds_for_everybody(app: App) -> None:
    app.close()
    (app.home.path / "policy.toml").write_text('[[rule]]\nname = "house"\nnot_models = ["acme/be*"]\n')
    app.open()
    assert [(x.model, x.rule) for x in held(app, "acme/good", "acme/best", rows=20).excluded] == [("acme/best", "house")]


@pytest.mark.parametrize(
    ("models", "asked", "said"),
    [
        (("acme",), {}, "is not a model"),
        (("nobody/x",), {}, "no model provider"),
        (("baseline/oracle",), {}, "no built-in model"),
        (("acme/good",), {"part": "component/other"}, "has no part"),
        (("acme/good",), {"budget": float("nan")}, "budget"),
        (("acme/good",), {"budget": -1.0}, "budget"),
    ],
)
def test_what_cannot_be_asked_is_said(app: App, models: tuple[str, ...], asked: dict[str, object], said: str) -> None:
    with pytest.raises(Exception, match=said):
        held(app, *models, **asked)


def test_a_target_with_two_models_asks_which_is_to_change(app: App) -> None:
    app.write("prompts/check.md", "---\ninputs: {text: string}\n---\nuser: Check. {{ text }}\n")
    two = APP.replace("@w.chain", 'check = w.component("check", prompt="prompts/check.md", model="baseline")\n\n\n@w.chain', 1)
    app.write("app.py", two.replace("return reply(text=question)", "check(text=question)\n    return reply(text=question)"))
    app.client.push(app.folder)
    with pytest.raises(Invalid, match="component/check, component/reply"):
        held(app, "acme/good")
    b = held(app, "acme/good", part="component/reply", rows=20)
    closure = app.client.versions.show(arm(b, "acme/good").target).version
    assert {k.name for k in closure.links if k.kind == "component"} == {"check", "reply"}
    check = next(k for k in closure.links if k.name == "check")
    assert check.digest == app.client.versions.show("component/check").version.digest


def test_what_was_measured_is_listed_by_model_with_the_fuller_figures_first(app: App) -> None:
    held(app, "acme/good")
    held(app, "acme/good", rows=10)
    found = {m.model: m for m in app.client.bakeoffs.measured().items}
    assert found["acme/good"].rows == found["acme/good"].of_rows == 120
    assert found["acme/good"].per_row == pytest.approx(0.0014) and found["acme/good"].latency
    one = app.client.bakeoffs.measured(model="baseline/lead", suite="answers").items
    assert [m.model for m in one] == ["baseline/lead"] and one[0].guards[0].name == "right"
    listed = app.client.bakeoffs.list("answers")
    assert len(listed.items) == 2 and app.client.bakeoffs.list("nothing").items == ()


def test_one_that_was_cut_off_goes_on_and_asks_nothing_twice(app: App, acme: KnownModels) -> None:
    begun = app.client.bakeoffs.start(BakeoffRequest("answers", ("acme/best", "acme/good"), budget=10.0))
    while sum(acme.calls.values()) < 40:
        time.sleep(0.01)
    app.close()
    asked = dict(acme.calls)
    assert sum(asked.values()) < 200
    app.open()
    app.transport.run(app.platform.bakeoffs.run("default", begun.id))
    b = app.client.bakeoffs.show(begun.id)
    assert b.status == "done" and b.recommendation and b.recommendation.model == "acme/good"
    # what was under way when it was cut off is asked again; what was recorded is not
    assert sum(acme.calls.values()) <= 240 + app.platform.settings.evaluation_concurrency
    app.transport.run(app.platform.bakeoffs.run("default", begun.id))
    assert app.client.bakeoffs.show(begun.id) == b


def test_rows_that_stand_among_the_examples_test_no_model(app: App) -> None:
    app.write("data/examples.jsonl", '{"key": "e1", "question": "question 7!"}\n{"key": "e2", "question": "question 70"}\n')
    app.write("prompts/reply.md", "---\ninputs: {text: string}\nfewshot: ../data/examples.jsonl\n---\nuser: Answer. {{ text }}\n")
    app.client.push(app.folder)
    b = held(app, "acme/good")
    assert (b.rows, b.left_out, arm(b, "acme/good").rows) == (118, 2, 118)
    asked = {o.row for o in app.client.evaluations.outcomes(arm(b, "acme/good").evaluation, limit=200).items}
    assert not {"r0007", "r0070"} & asked
