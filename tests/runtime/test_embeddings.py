"""What paid encoders did is seen and counted: in the run that asked, and of an index that was built."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.application import Spans
from tests.runtime.runners import MemoryBlobs
from tests.runtime.test_vectors import CHUNKS, index
from tests.scripted_provider import ScriptedProvider

from windlass.core import span as names
from windlass.core.actor import OWNER
from windlass.core.errors import ModelFailed
from windlass.discover.providers import load_providers
from windlass.govern.prices import Prices
from windlass.runtime.context import RunContext, step
from windlass.runtime.embeddings import encoding
from windlass.runtime.encoders import Encoders
from windlass.runtime.models import Http, Retries, Timeouts
from windlass.runtime.retrieval import Retrieval

NAME = "openai/text-embedding-3-small"
RATE = 0.02e-6  # US dollars a token, as OpenAI's price list of the build has it


@pytest.fixture
async def provider() -> AsyncIterator[ScriptedProvider]:
    served = ScriptedProvider()
    served.embeds = 8
    async with served:
        yield served


@pytest.fixture
async def encoders(provider: ScriptedProvider, tmp_path: Path) -> AsyncIterator[Encoders]:
    http = Http(Timeouts(connect_s=2, total_s=5), Retries(attempts=1))
    table = load_providers(None, provider.environ("openai", "sk-x"))
    made = Encoders(tmp_path, table, http, price=Prices(tmp_path / "prices.toml").price)
    yield made
    await asyncio.to_thread(made.close)


def said(span: Any) -> tuple[Any, ...]:
    return tuple(span.attributes.get(name) for name in (names.KIND, names.PROVIDER, names.REQUEST_MODEL, names.TEXTS, names.INPUT_TOKENS))


async def test_a_question_and_an_index_are_paid_for(encoders: Encoders, tmp_path: Path) -> None:
    blobs, spans = MemoryBlobs(), Spans()
    docs = index(blobs, CHUNKS[:200], encoders.find(NAME, dimensions=8))  # type: ignore[arg-type]
    retrieval = Retrieval(tmp_path / "indexes", blobs, encoders)
    build = RunContext(actor=OWNER)
    with encoding(spans, build, [str(docs.ref)]):
        await asyncio.to_thread(retrieval.prepare, docs)
    (span,) = spans.all  # of several requests
    assert said(span) == ("embedding", "openai", "text-embedding-3-small", 200, 200) and span.parent is None
    assert span.attributes[names.COST] == pytest.approx(200 * RATE) == build.ledger.total
    assert span.attributes[names.VERSIONS] == [str(docs.ref)]
    with encoding(spans, RunContext(actor=OWNER)):
        assert await asyncio.to_thread(retrieval.prepare, docs) == 0
    assert len(spans.all) == 1

    run = RunContext(actor=OWNER)
    with step(spans, run, "search docs", "retrieval") as open_step, encoding(spans, open_step.context):
        await asyncio.to_thread(retrieval.search, docs, "a red car")
    assert spans.tree()[-2:] == ["retrieval search docs ok", f"  embedding encode {NAME} ok"]
    assert run.ledger.total == pytest.approx(RATE) and run.ledger.calls == 0


async def test_what_failed_is_seen_and_its_cost_is_unknown(encoders: Encoders, provider: ScriptedProvider, tmp_path: Path) -> None:
    encoder, spans, run = encoders.find(NAME, dimensions=8), Spans(), RunContext(actor=OWNER)
    provider.say("", status=400)
    with pytest.raises(ModelFailed), encoding(spans, run):
        await asyncio.to_thread(encoder.encode, ["a"])
    (span,) = spans.all
    assert span.status == "error" and span.status_message and names.COST not in span.attributes
    assert run.ledger.total is None


async def test_a_provider_that_does_not_tell_and_a_model_without_a_price(encoders: Encoders, provider: ScriptedProvider) -> None:
    spans = Spans()
    provider.say("", extra={"untold": True})
    with encoding(spans, RunContext(actor=OWNER)):
        await asyncio.to_thread(encoders.find(NAME, dimensions=8).encode, ["a"])
    provider.say("")
    with encoding(spans, RunContext(actor=OWNER)):
        await asyncio.to_thread(encoders.find("openai/nobody-knows", dimensions=8).encode, ["a", "b"])
    untold, unpriced = spans.all
    assert names.INPUT_TOKENS not in untold.attributes and names.COST not in untold.attributes
    assert unpriced.attributes[names.INPUT_TOKENS] == 2 and names.COST not in unpriced.attributes


async def test_spans_of_a_run_that_holds_them_wait_too(encoders: Encoders) -> None:
    spans, run = Spans(), RunContext(actor=OWNER)
    run.ledger.held = []
    with encoding(spans, run):
        await asyncio.to_thread(encoders.find(NAME, dimensions=8).encode, ["a"])
    assert spans.all == [] and [s.attributes[names.KIND] for s in run.ledger.held] == ["embedding"]
