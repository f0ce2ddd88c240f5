"""What identifies an encoder, and the engines of an index.

An encoder's identity is everything that decides which vector a text gets. It is part of an index's identity, since vectors of two
encoders do not compare, even of the same length. Knows no way to encode.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

# Engines of an index: by words; by words and vectors, joined by rank; the same with vectors in a graph, searched approximately.
WORDS, HYBRID, LANCE = "fts5@1", "hybrid@1", "lance@1"
ENDPOINT = "embeddings@1"  # engine of an encoder at a provider
MINILM_NAME = "minilm"
HASHED_NAME = "words"


class LanceSettings(msgspec.Struct, frozen=True):
    """What decides which passages an index of engine lance@1 finds; part of its identity, so that a version keeps its own.

    Fewer than `exact_below` texts are compared exactly. Others lie in `kind`, cut into `partitions` of which `nprobes` are asked: with
    more than one a filter loses what lies in the others. `links` is how many neighbours a node of the graph has, `build_width` how
    widely it looks for them; `refine` times as many as are wanted are compared again by their whole vectors.
    """

    kind: Literal["IVF_HNSW_SQ"] = "IVF_HNSW_SQ"
    partitions: int = 1
    nprobes: int = 1
    links: int = 20
    build_width: int = 150
    refine: int = 4
    exact_below: int = 4096


def prefixes(document: str = "", query: str = "") -> dict[str, str]:
    """What an identity says of the words put before a text."""
    return {"document": document, "query": query}


MINILM: dict[str, Any] = {
    "name": "all-MiniLM-L6-v2",
    "engine": "onnxruntime",
    "dimensions": 384,
    "pooling": "mean",
    "normalised": True,
    "prefix": prefixes(),
    "max_tokens": 256,
    "quantisation": "int8: weights by channel in 7 bits, activations by text",
    "weights": "sha256:53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",  # model.safetensors, as published
    "model": "sha256:3581da598cbb4cec9b791fa9cd3a1de9571be14cd0ff7d6b58a0de3264aa322c",  # what minilm_graph makes of it
    "tokenizer": "sha256:be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",  # tokenizer.json, as published
}

HASHED_WORDS: dict[str, Any] = {
    "name": "words",
    "engine": "hashed-words@1",
    "dimensions": 1024,
    "normalised": True,
    "prefix": prefixes(),
    "hash": "blake2b-64",
    "features": "words and pairs in lower case, pieces of 3 to 5 letters",
    "counts": "1 + log2",
    "weights": {"word": 1.0, "short": 0.25, "short_letters": 3, "pieces": 1.0, "pair": 0.5},
    "max_words": 512,
    "max_letters": 64,
}


def endpoint_identity(name: str, dimensions: int, document: str = "", query: str = "") -> dict[str, Any]:
    """The identity of a provider's encoder, by the name `provider/model`."""
    provider, _, model = name.partition("/")
    return {
        "name": name,
        "engine": ENDPOINT,
        "provider": provider,
        "model": model,
        "dimensions": dimensions,
        "normalised": True,
        "prefix": prefixes(document, query),
    }
