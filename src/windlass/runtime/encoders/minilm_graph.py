"""The network of all-MiniLM-L6-v2 as an ONNX model, made from its weights.

One text at a time, without padding: tokens in, one vector in. So a text's vector never depends on which texts it came with,
which it would in a batch, since an int8 network measures its activations over the whole batch.
On one core it is no slower than batches of 32.

Matrices are int8 with a scale for each column, the table of words int8 with a scale for each row; activations are measured as
they come. What is added up stays float32.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from windlass.core.errors import Invalid
from windlass.runtime.encoders.onnx_graph import FLOAT, Graph

Array = np.ndarray[Any, Any]
LAYERS, HEADS, WIDTH, LONGEST = 6, 12, 384, 256
EPSILON = 1e-12
MOST = 64  # of int8's 127: beyond, products of processors without VNNI overflow 16 bits and vectors would differ by machine


def read_safetensors(data: bytes) -> dict[str, Array]:
    """The tensors of a safetensors file. Raises `Invalid` for what is none."""
    try:
        whole = memoryview(data)
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start])
        found = {}
        for name, entry in header.items():
            if name != "__metadata__" and entry["dtype"] == "F32":
                begin, end = entry["data_offsets"]
                found[name] = np.frombuffer(whole[start + begin : start + end], "<f4").reshape(entry["shape"])
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise Invalid(f"these are not weights in safetensors: {e}") from e
    return found


def build(weights: dict[str, Array], *, quantised: bool = True) -> bytes:
    """The model: `tokens` (int64, one text) → a vector of length 1. Raises `Invalid` when a tensor is missing."""
    try:
        return _Network(weights, quantised).model()
    except KeyError as e:
        raise Invalid(f"the weights have no tensor {e}") from e


class _Network:
    def __init__(self, weights: dict[str, Array], quantised: bool) -> None:
        self._weights = weights
        self._quantised = quantised
        self._graph = Graph("all-MiniLM-L6-v2")
        g = self._graph
        self._by_head = g.tensor(np.array([0, HEADS, WIDTH // HEADS], np.int64), "by_head")
        self._flat = g.tensor(np.array([0, WIDTH], np.int64), "flat")

    def model(self) -> bytes:
        g = self._graph
        x = self._embedded("tokens")
        for layer in range(LAYERS):
            x = self._layer(x, f"encoder.layer.{layer}.")
        mean = g.op("ReduceMean", x, axes=[0], keepdims=0)
        vector = g.op("Div", mean, g.op("ReduceL2", mean, axes=[0], keepdims=1))
        return g.model(("tokens", "int64", ["n"]), (vector, "float32", [WIDTH]))

    def _embedded(self, tokens: str) -> str:
        g, w = self._graph, self._weights
        table = w["embeddings.word_embeddings.weight"]
        if self._quantised:
            scale = _scale(table, 1, 127)[:, None]
            rows = g.op("Gather", g.tensor(_rounded(table, scale), "words"), tokens)
            words = g.op("Mul", g.op("Cast", rows, to=FLOAT), g.op("Gather", g.tensor(scale, "words.scale"), tokens))
        else:
            words = g.op("Gather", g.tensor(table, "words"), tokens)
        # every token of a single text is of type 0, so that its row can be added beforehand
        places = w["embeddings.position_embeddings.weight"][:LONGEST] + w["embeddings.token_type_embeddings.weight"][0]
        axis = g.tensor(np.array([0], np.int64), "first_axis")
        places = g.op("Slice", g.tensor(places, "places"), axis, g.op("Shape", tokens), axis)
        return self._normed(g.op("Add", words, places), "embeddings.LayerNorm.")

    def _layer(self, x: str, at: str) -> str:
        g = self._graph
        attended = self._attended(x, at + "attention.self.")
        x = self._normed(g.op("Add", x, self._dense(attended, at + "attention.output.dense.")), at + "attention.output.LayerNorm.")
        wide = self._gelu(self._dense(x, at + "intermediate.dense."), at)
        return self._normed(g.op("Add", x, self._dense(wide, at + "output.dense.")), at + "output.LayerNorm.")

    def _attended(self, x: str, at: str) -> str:
        g, w = self._graph, self._weights
        shrink = np.float32(1 / np.sqrt(WIDTH / HEADS))
        shrinks = {"query": shrink, "key": np.float32(1), "value": np.float32(1)}
        matrix = np.concatenate([w[f"{at}{n}.weight"].T * s for n, s in shrinks.items()], 1)
        bias = np.concatenate([w[f"{at}{n}.bias"] * s for n, s in shrinks.items()])
        parts = g.node("Split", self._product(x, matrix, bias, at), outputs=3, axis=1)
        q, k, v = (g.op("Reshape", p, self._by_head) for p in parts)
        scores = g.op("MatMul", g.op("Transpose", q, perm=[1, 0, 2]), g.op("Transpose", k, perm=[1, 2, 0]))
        found = g.op("MatMul", g.op("Softmax", scores, axis=-1), g.op("Transpose", v, perm=[1, 0, 2]))
        return g.op("Reshape", g.op("Transpose", found, perm=[1, 0, 2]), self._flat)

    def _dense(self, x: str, at: str) -> str:
        return self._product(x, self._weights[at + "weight"].T, self._weights[at + "bias"], at)

    def _product(self, x: str, matrix: Array, bias: Array, name: str) -> str:
        g = self._graph
        if self._quantised:
            scale = _scale(matrix, 0, MOST)
            whole = g.tensor(_rounded(matrix, scale), name + "weight")
            measured, factor, point = g.node("DynamicQuantizeLinear", x, outputs=3)
            summed = g.op("Cast", g.op("MatMulInteger", measured, whole, point), to=FLOAT)
            found = g.op("Mul", summed, g.op("Mul", factor, g.tensor(scale, name + "scale")))
        else:
            found = g.op("MatMul", x, g.tensor(matrix, name + "weight"))
        return g.op("Add", found, g.tensor(bias, name + "bias"))

    def _normed(self, x: str, at: str) -> str:
        w = self._weights
        scale, bias = (self._graph.tensor(w[at + n], at + n) for n in ("weight", "bias"))
        return self._graph.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=EPSILON)

    def _gelu(self, x: str, at: str) -> str:
        g = self._graph
        root, one, half = (g.tensor(np.array(v, np.float32), f"{at}{n}") for n, v in (("root", 2**0.5), ("one", 1), ("half", 0.5)))
        bent = g.op("Add", g.op("Erf", g.op("Div", x, root)), one)
        return g.op("Mul", g.op("Mul", x, bent), half)


def _scale(array: Array, axis: int, most: int) -> Array:
    """What one step is worth along an axis, when the largest number there is `most` steps."""
    scale: Array = np.maximum(np.abs(array).max(axis), np.float32(1e-9)) / np.float32(most)
    return scale


def _rounded(array: Array, scale: Array) -> Array:
    steps: Array = np.rint(array / scale).astype(np.int8)
    return steps
