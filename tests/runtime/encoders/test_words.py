"""The encoder of words: pinned vectors, so that what was stored keeps its meaning, and what makes texts near."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from windlass.core.digest import digest_bytes
from windlass.core.errors import Invalid, Unavailable
from windlass.discover.providers import load_providers
from windlass.runtime.encoders import Encoders, Words
from windlass.runtime.models import Http

TEXTS = ["The shop opens at nine.", "x", "Grüße aus Köln: 日本語 🚀", "def add(a, b):\n    return a + b", "word " * 400, "🚀", "?!"]
PINNED = "sha256:154f1c5eb9d32045585b87bb1ce1d2589b8beae37bced320a8b5c5c94e8d70b7"


def vectors() -> np.ndarray:
    return Words().encode(TEXTS)


def test_vectors_are_the_pinned_ones() -> None:
    """In steps of 1/1000, by which the last bit of a logarithm is no difference."""
    found = vectors()
    assert found.shape == (len(TEXTS), 1024) and found.dtype == np.float32
    assert digest_bytes(np.rint(found * 1000).astype("<i2").tobytes()) == PINNED
    assert Words.digest == "sha256:986a92f555554940d07e6b2cb72de51c14a43397d74d062390ddd36d6c5d2497"


def test_vectors_have_length_1_whatever_the_text() -> None:
    assert np.allclose(np.linalg.norm(vectors(), axis=1), 1, atol=1e-6)


def test_alone_or_in_a_batch_a_text_has_the_same_bits() -> None:
    one = np.stack([Words().encode_query(text) for text in TEXTS])
    assert (one == vectors()).all()
    assert Words().encode([]).shape == (0, 1024)


def test_texts_are_near_by_their_words_and_forms_of_words() -> None:
    asked, form, order, other = Words().encode(
        ["Where are my invoices?", "where is my INVOICE", "my invoices are where?", "The rocket landed on the moon"]
    )
    assert asked @ order > asked @ form > 0.3 > abs(asked @ other) + 0.1


def test_a_word_said_often_does_not_drown_the_others() -> None:
    once, often, other = Words().encode(["refund please now", "refund " * 50 + "please now", "refund"])
    assert once @ often > 0.7 and often @ other < 0.999


def test_an_empty_text_is_refused_by_its_place() -> None:
    with pytest.raises(Invalid, match="text 1 is empty"):
        Words().encode(["a", " "])


@pytest.fixture
def encoders(tmp_path: Path):
    found = Encoders(tmp_path, load_providers(None, {}), Http())
    yield found
    found.close()


def test_it_is_found_by_its_name_and_by_what_was_recorded(encoders: Encoders) -> None:
    assert encoders.find("words").digest == Words.digest
    assert encoders.recorded(Words.identity).encode_query("hello").shape == (1024,)
    with pytest.raises(Invalid, match="no prefixes"):
        encoders.find("words", dimensions=3)
    with pytest.raises(Unavailable, match="no encoder words as it was recorded"):
        encoders.recorded({**Words.identity, "max_words": 7})
