"""How a model is named: by a provider's name and the provider's own id, or as one of those that are built in."""

from __future__ import annotations

from typing import NamedTuple

from windlass.core.artifacts import ModelBody
from windlass.core.errors import Invalid
from windlass.core.weights import LOCAL, parse_identity

BASELINE = "baseline"
# the built-in models: what is written after `baseline/` → the number under which it is frozen
BARS = {BASELINE: "baseline@1", "lead": "lead@1", "silent": "silent@1", "minilm": "minilm@1"}
SAID = {
    BASELINE: "the built-in baseline",
    "lead": "copies the first sentences of what retrieval put first",
    "silent": "never answers",
    "minilm": "the passage nearest in meaning, by all-MiniLM-L6-v2 on this machine",
}


class Named(NamedTuple):
    """A model as an artifact: the name of its versions, the body, what it is for people."""

    name: str
    body: ModelBody
    description: str


def named(model: str) -> Named:
    """The artifact an id means: `openai/gpt-5-mini`, `baseline`, `baseline/lead`, `local/<name>@<digest>`. Raises `Invalid`."""
    provider, _, identity = model.partition("/")
    if provider == BASELINE:
        bar = identity.partition("@")[0] or BASELINE
        if bar not in BARS:
            raise Invalid(f"there is no built-in model {model}", remedy="there are " + ", ".join(map(bar_id, BARS)))
        return Named(BASELINE if bar == BASELINE else f"{BASELINE}--{bar}", ModelBody(BASELINE, BARS[bar], True), SAID[bar])
    if not identity:
        raise Invalid(f"{model!r} is not a model", remedy="write provider/model-id, route/name, or baseline")
    if provider == LOCAL:
        return Named(f"{LOCAL}--{parse_identity(identity)[0]}", ModelBody(LOCAL, identity, True), "")
    return Named(model.lower().replace("/", "--").replace(":", "-").replace("@", "-"), ModelBody(provider, identity), "")


def written(body: ModelBody) -> str:
    """A model's id as people write it."""
    return bar_id(body.model.partition("@")[0]) if body.provider == BASELINE else f"{body.provider}/{body.model}"


def bar_id(bar: str) -> str:
    """The id of a built-in model."""
    return BASELINE if bar == BASELINE else f"{BASELINE}/{bar}"
