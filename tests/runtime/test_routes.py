"""Components of releases ask by routes too: the same way as the gateway, with draws that are never given as another upstream's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.runtime.application import Application, application
from tests.scripted_provider import Say, ScriptedProvider

from windlass.core import span as names
from windlass.core.actor import OWNER
from windlass.core.errors import ModelFailed, NotFound, RunFailed
from windlass.core.operations.routes import RouteSet, RouteShow
from windlass.core.ref import Ref
from windlass.core.span import Span
from windlass.discover.providers import load_providers
from windlass.discover.routes import Routes, RouteTable
from windlass.runtime.models import Http, Models, Retries, Timeouts

NAME = "scripted/one"  # the model of component/say


class Routed:
    """The application with two providers, `a` and `b`, and routes."""

    def __init__(self, app: Application, a: ScriptedProvider, b: ScriptedProvider, folder: Path) -> None:
        self.app, self.a, self.b = app, a, b
        table = folder / "providers.toml"
        table.write_text("".join(f'[{n}]\nbase_url = "{p.url}"\nauth = "none"\n' for n, p in (("a", a), ("b", b))))
        providers = load_providers(table, {})
        known = RouteTable(app.engine)
        self.models = Models(
            providers, lambda provider, model, usage, at_ns: 5.0, Http(Timeouts(first_token_s=2, total_s=5), Retries(1)), routes=known
        )
        self.routes = Routes(app.engine, known, providers, folder)
        app.models.choose = self.models.choose  # type: ignore[method-assign]

    def set(self, *models: str, name: str = NAME, tiers: bool = True, **rules: Any) -> None:
        upstreams = [{"model": m, "tier": n if tiers else 1} for n, m in enumerate(models, 1)]
        self.routes.set(OWNER, msgspec.convert({"name": name, "route": {"upstreams": upstreams, **rules}}, RouteSet))

    async def ask(self, question: str = "x", **fields: Any) -> tuple[str, Any]:
        context = self.app.context(**fields)
        result = await self.app.executor.execute(Ref("component", "say"), question, context)
        return result.text, context.ledger

    def span(self) -> Span:
        return [s for s in self.app.spans.all if s.attributes[names.KIND] == "model"][-1]


@pytest.fixture
async def routed(tmp_path: Path) -> AsyncIterator[Routed]:
    async with application(tmp_path / "app") as app, ScriptedProvider() as a, ScriptedProvider() as b:
        a.say("from a")
        b.say("from b")
        made = Routed(app, a, b, tmp_path)
        yield made
        await made.models.close()


async def test_a_component_is_answered_by_the_route_of_its_models_name(routed: Routed) -> None:
    routed.set("a/m", "b/m", retries={"attempts": 1})
    routed.a.then(Say("down", status=500))
    text, ledger = await routed.ask()
    assert text == "from b" and ledger.calls == 1
    said = routed.span().attributes
    assert (said[names.ROUTE], said[names.ROUTE_UPSTREAM], said[names.PROVIDER], said[names.REQUEST_MODEL]) == (NAME, "b/m", "b", NAME)
    assert said[names.ROUTE_WHY].startswith(f"By route {NAME}, a/m is first: a/m was asked and failed")


async def test_without_a_route_the_model_is_asked_as_it_is(routed: Routed) -> None:
    with pytest.raises(NotFound, match="no model provider 'scripted'"):
        await routed.ask()
    routed.set("a/m")
    assert (await routed.ask())[0] == "from a"
    routed.routes.remove(OWNER, RouteShow(NAME))
    with pytest.raises(NotFound):
        await routed.ask()


async def test_a_failure_of_all_says_whom_it_asked(routed: Routed) -> None:
    routed.set("a/m", "b/m", retries={"attempts": 1})
    routed.a.then(Say("down", status=500))
    routed.b.then(Say("no", status=400))
    with pytest.raises(ModelFailed, match="b answered 400"):
        await routed.ask()
    span = routed.span()
    assert span.status == "error" and span.attributes[names.ROUTE_UPSTREAM] == "b/m" and "a/m was asked" in span.attributes[names.ROUTE_WHY]


async def test_a_draw_of_one_upstream_is_never_given_as_anothers_when_the_route_changed(routed: Routed) -> None:
    routed.set("a/m")
    assert (await routed.ask(row="r", draws="reuse"))[0] == "from a"
    text, ledger = await routed.ask(row="r", draws="reuse")
    assert (text, ledger.reused, len(routed.a.requests)) == ("from a", 1, 1)
    assert routed.span().attributes[names.ROUTE_UPSTREAM] == "a/m", "a reused answer says whose it is"
    routed.set("b/m")
    with pytest.raises(RunFailed, match="never answered"):
        await routed.ask(row="r", draws="replay")
    assert (await routed.ask(row="r", draws="reuse"))[0] == "from b"
    routed.set("a/m", timeouts={"total_s": 4})
    assert (await routed.ask(row="r", draws="replay"))[0] == "from a", "as the route was, whatever it waits"
    assert (len(routed.a.requests), len(routed.b.requests)) == (1, 1)


async def test_every_arm_of_an_evaluation_meets_the_same_upstream_for_a_row(routed: Routed) -> None:
    routed.set("a/m", "b/m", tiers=False)
    met: dict[str, set[str]] = {}
    for n in range(24):
        row = f"r{n % 8}"
        text, _ = await routed.ask(row=row, user=f"u{n}", draws="record")
        met.setdefault(row, set()).add(text)
    assert all(len(texts) == 1 for texts in met.values()) and set.union(*met.values()) == {"from a", "from b"}


async def test_a_streamed_answer_comes_by_the_route(routed: Routed) -> None:
    routed.set("a/m", "b/m", retries={"attempts": 1})
    routed.a.then(Say(silent=True))
    pieces = [p async for p in routed.app.executor.execute_stream(Ref("component", "say"), "x", routed.app.context())]
    assert "".join(p.text for p in pieces if p.text) == "from b" and len([p for p in pieces if p.text]) > 1
