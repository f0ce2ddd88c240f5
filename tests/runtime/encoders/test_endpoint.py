"""Embeddings at a provider, against a scripted server over real HTTP, and that server against OpenAI's own client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.scripted_provider import Say, ScriptedProvider

from windlass.core.digest import digest_json
from windlass.core.errors import Invalid, ModelFailed, NotFound, Unavailable
from windlass.discover.providers import load_providers
from windlass.runtime.encoders import Encoder, Encoders
from windlass.runtime.encoders.endpoint import MOST_CHARACTERS, MOST_TEXTS, batches
from windlass.runtime.models import Http, Retries, Timeouts

KEY = "sk-scripted-secret-key"
NAME = "openai/text-embedding-3-small"


@pytest.fixture
async def provider() -> AsyncIterator[ScriptedProvider]:
    served = ScriptedProvider()
    served.embeds = 32
    async with served:
        yield served


@pytest.fixture
def encoders(provider: ScriptedProvider, tmp_path: Path) -> Iterator[Encoders]:
    http = Http(Timeouts(connect_s=2, total_s=2), Retries(attempts=3, budget_s=1.0, base_s=0.01))
    made = Encoders(tmp_path, load_providers(None, provider.environ("openai", KEY)), http)
    yield made
    made.close()


async def encode(encoder: Encoder, texts: list[str]) -> np.ndarray:
    """Encoding blocks; the scripted server needs the loop meanwhile."""
    return await asyncio.to_thread(encoder.encode, texts)


async def test_vectors_are_normalised_and_in_order(encoders: Encoders, provider: ScriptedProvider) -> None:
    encoder = encoders.find(NAME, dimensions=32)
    assert provider.requests == []
    found = await encode(encoder, ["one two", "two", "three three three"])
    assert found.dtype == np.float32 and found.shape == (3, 32)
    assert np.allclose(np.linalg.norm(found, axis=1), 1)
    assert found[0] @ found[1] == pytest.approx(0.5**0.5)
    (seen,) = provider.requests
    assert seen.path == "/v1/embeddings" and seen.headers["Authorization"] == f"Bearer {KEY}"
    assert seen.body["input"] == ["one two", "two", "three three three"] and seen.body["model"] == "text-embedding-3-small"
    for how in ({"base64": True}, {"backwards": True}, {"base64": True, "backwards": True}):
        provider.say("", extra=how)
        assert np.array_equal(found, await encode(encoder, ["one two", "two", "three three three"]))
    assert (await encode(encoder, [])).shape == (0, 32)


async def test_the_official_client_reads_the_same_vectors(encoders: Encoders, provider: ScriptedProvider) -> None:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=provider.url, api_key=KEY, max_retries=0) as client:
        theirs = await client.embeddings.create(model="text-embedding-3-small", input=["one two", "two"])
        plain = await client.embeddings.create(model="text-embedding-3-small", input=["one two", "two"], encoding_format="float")
    assert [d.embedding for d in theirs.data] == [d.embedding for d in plain.data]
    raw = np.array([d.embedding for d in theirs.data], np.float32)
    ours = await encode(encoders.find(NAME, dimensions=32), ["one two", "two"])
    assert np.allclose(ours, raw / np.linalg.norm(raw, axis=1, keepdims=True))


async def test_identity_is_recorded_and_found_again_without_asking(encoders: Encoders, provider: ScriptedProvider) -> None:
    encoder = await asyncio.to_thread(encoders.find, NAME, document="passage: ", query="query: ")
    assert encoder.dimensions == 32 and len(provider.requests) == 1
    assert encoder.digest == digest_json(encoder.identity)
    again = encoders.recorded(json.loads(json.dumps(encoder.identity)))
    assert again is encoders.recorded(encoder.identity) and again.digest == encoder.digest and len(provider.requests) == 1
    assert encoders.find(NAME, dimensions=32).digest != encoder.digest
    await encode(again, ["a"])
    await asyncio.to_thread(again.encode_query, "a")
    assert [r.body["input"] for r in provider.requests[1:]] == [["passage: a"], ["query: a"]]
    for change in ({"engine": "embeddings@0"}, {"dimensions": None}, {"prefix": "none"}, {"extra": 1}):
        with pytest.raises(Unavailable, match="as it was recorded"):
            encoders.recorded({**encoder.identity, **change})


async def test_many_texts_go_in_several_requests(encoders: Encoders, provider: ScriptedProvider) -> None:
    texts = [f"text number {i}" for i in range(3 * MOST_TEXTS + 1)]
    provider.say("", latency_s=0.01)
    found = await encode(encoders.find(NAME, dimensions=32), texts)
    assert sorted(len(r.body["input"]) for r in provider.requests) == [1, MOST_TEXTS, MOST_TEXTS, MOST_TEXTS]
    assert np.array_equal(found[-1], (await encode(encoders.find(NAME, dimensions=32), texts[-1:]))[0])
    long = "x" * (MOST_CHARACTERS - 6)
    assert batches([long, "short", "short too", long, long + long]) == [[long, "short"], ["short too"], [long], [long + long]]


async def test_another_dimension_is_refused_with_both_numbers(encoders: Encoders, provider: ScriptedProvider) -> None:
    encoder = encoders.find(NAME, dimensions=32)
    provider.embeds = 16
    with pytest.raises(Invalid, match="vectors of 16 dimensions, where 32 were recorded"):
        await encode(encoder, ["one"])


async def test_failures_are_tried_again_and_then_told_without_the_key(encoders: Encoders, provider: ScriptedProvider) -> None:
    encoder = encoders.find(NAME, dimensions=32)
    provider.then(Say(status=429, headers={"Retry-After": "0"}), Say(silent=True), Say())
    assert (await encode(encoder, ["one"])).shape == (1, 32) and len(provider.requests) == 3
    provider.say(f"bad key {KEY}", status=401)
    with pytest.raises(ModelFailed, match=r"openai answered 401: bad key \[key\]") as caught:
        await encode(encoder, ["one"])
    assert KEY not in str(caught.value.as_dict()) and len(provider.requests) == 4
    provider.say("", hang=True)
    with pytest.raises(ModelFailed, match="did not answer within 2 s"):
        await encode(encoder, ["one"])


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"<html>", "not a list of embeddings"),
        (b'{"data": [{"embedding": [1, null]}]}', "not a list of embeddings"),
        (b'{"data": [{"embedding": [0, 0]}]}', "without a length"),
        (b'{"data": [{"embedding": [1e400, 1]}]}', "openai sent"),
        (b'{"data": [{"embedding": "AAA"}]}', "no base64 of float32"),
        (b'{"data": [{"embedding": "AAAAAAA="}]}', "no base64 of float32"),
        (b'{"data": [{"embedding": "AADAfwAAgD8="}]}', "without a length"),
        (b'{"data": []}', "asked for 1 embeddings and did not send one for each"),
        (b'{"data": [{"index": 1, "embedding": [1, 1]}]}', "did not send one for each"),
        (b'{"error": {"message": "sk-scripted-secret-key is over quota"}}', r"failed: \[key\] is over quota"),
    ],
)
async def test_nonsense_is_told_as_such(encoders: Encoders, provider: ScriptedProvider, answer: bytes, sentence: str) -> None:
    provider.say("", raw=answer)
    with pytest.raises(ModelFailed, match=sentence):
        await encode(encoders.find(NAME, dimensions=2), ["one"])


async def test_what_cannot_be_found_or_encoded(encoders: Encoders) -> None:
    with pytest.raises(NotFound, match="openaj"):
        encoders.find("openaj/x", dimensions=2)
    with pytest.raises(Invalid, match="names no model"):
        encoders.find("openai")
    with pytest.raises(Unavailable, match="MISTRAL_API_KEY is not set"):
        encoders.find("mistral/mistral-embed", dimensions=2)
    with pytest.raises(Invalid, match="text 1 is empty"):
        encoders.find(NAME, dimensions=2).encode(["a", " "])


async def test_a_provider_of_another_dialect_has_none(provider: ScriptedProvider, tmp_path: Path) -> None:
    encoders = Encoders(tmp_path, load_providers(None, {"ANTHROPIC_API_KEY": KEY}), Http())
    with pytest.raises(Invalid, match="anthropic has no embeddings"):
        encoders.find("anthropic/claude", dimensions=2)
    encoders.close()
