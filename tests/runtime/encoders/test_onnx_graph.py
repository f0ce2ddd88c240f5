"""What the writer writes is ONNX, by ONNX's own checker, and computes what it says."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from windlass.runtime.encoders.onnx_graph import FLOAT, Graph  # noqa: E402


def doubled() -> bytes:
    g = Graph("doubled")
    table = g.tensor(np.arange(300, dtype=np.int8).reshape(100, 3), "table")
    rows = g.op("Cast", g.op("Gather", table, "given"), to=FLOAT)
    left, right = g.node("Split", g.op("Concat", rows, rows, axis=-1), outputs=2, axis=-1)
    scale = g.op("LeakyRelu", g.tensor(np.array([-2.0], np.float32), "minus_two"), alpha=1.0)
    return g.model(("given", "int64", ["n"]), (g.op("Mul", g.op("Add", left, right), scale), "float32", ["n", 3]))


def test_it_is_onnx_and_computes() -> None:
    onnx.checker.check_model(onnx.load_from_string(doubled()), full_check=True)
    session = onnxruntime.InferenceSession(doubled(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"given": np.array([0, 7, 99], np.int64)})[0]
    rows = np.arange(300, dtype=np.int8).reshape(100, 3)[[0, 7, 99]].astype(np.float32)
    assert np.array_equal(found, rows * 2 * -2)


def test_the_same_graph_is_the_same_bytes() -> None:
    assert doubled() == doubled()
    assert onnx.load_from_string(doubled()).SerializeToString() == doubled()
