"""A secret's value is taken out in every common form, wherever it stands; other text is left as it is; the cost grows with the text."""

from __future__ import annotations

import base64
import json
import re
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.agentops.secrets import hidden

SECRETS = st.one_of(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=50),
    st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=("Cs", "Cc")), min_size=8, max_size=20),
).filter(lambda s: len("".join(s.split())) >= 6 and len(set(s)) > 3)
AROUND = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)


def percent(s: str) -> str:
    return "".join(f"%{b:02X}" for b in s.encode())


def escaped(s: str) -> str:
    units = s.encode("utf-16-be")
    return "".join(f"\\u{units[n : n + 2].hex()}" for n in range(0, len(units), 2))


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str, "turned around": lambda s: s[::-1], "split": lambda s: " ".join("".join(s.split())),
    "lines": lambda s: "\r\n".join("".join(s.split())), "turned and split": lambda s: "\t".join("".join(s.split())[::-1]),
    "hex": lambda s: s.encode().hex(), "HEX": lambda s: s.encode().hex().upper(), "dump": lambda s: s.encode().hex(":"),
    "hex turned": lambda s: s[::-1].encode().hex(), "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "base64 of a part": lambda s: base64.b64encode(b"k" + s.encode() + b"z").decode(),
    "base64 later": lambda s: base64.b64encode(b"k=" + s.encode()).decode(),
    "urlsafe": lambda s: base64.urlsafe_b64encode(s.encode()).decode(),
    "unpadded": lambda s: base64.b64encode(s.encode()).decode().rstrip("="),
    "wrapped": lambda s: re.sub("(.{7})", "\\1\n", base64.b64encode(s.encode()).decode()),
    "base64 turned": lambda s: base64.b64encode(s[::-1].encode()).decode(), "URL": lambda s: urllib.parse.quote(s, safe=""),
    "form": urllib.parse.quote_plus, "all of it": percent, "JSON": lambda s: json.dumps(s)[1:-1],
    "JSON twice": lambda s: json.dumps(json.dumps(s)[1:-1])[1:-1],
    "as it is in JSON": lambda s: json.dumps(s, ensure_ascii=False)[1:-1], "all escaped": escaped, "of Python": lambda s: repr(s)[1:-1],
    "bytes of Python": lambda s: "".join(f"\\x{ord(c):02x}" if ord(c) < 256 else c for c in s),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@given(SECRETS, AROUND, AROUND)
@settings(max_examples=60, deadline=None)
def test_no_form_of_it_leaves(form: str, secret: str, before: str, after: str) -> None:
    written = FORMS[form](secret)
    found = hidden({"said": [f"{before} {written} {after}"], f"key {written}": None}, {"KEY": secret})
    text = found["said"][0]
    assert "[secret KEY]" in text and written not in text
    assert all("[secret KEY]" in k for k in found if k != "said")


@given(SECRETS, st.binary(max_size=7), st.binary(max_size=7))
@settings(deadline=None)
def test_what_is_left_of_base64_tells_less_than_one_character(secret: str, before: bytes, after: bytes) -> None:
    text = base64.b64encode(before + secret.encode() + after).decode()
    left = re.sub(r"\[secret KEY\]", " ", hidden(text, {"KEY": secret}))
    head, _, tail = left.partition(" ")
    assert " " in left
    assert len(head) * 6 <= len(before) * 8
    assert len(tail.rstrip("=")) * 6 <= len(after) * 8 + 4  # up to four bits of padding


@given(st.text(max_size=300), st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=12, max_size=30))
@settings(deadline=None)
def test_other_text_is_left_as_it_is(text: str, secret: str) -> None:
    if "".join(secret[:6].split()).lower() not in text.lower():
        assert hidden({"a": text, "b": 12345, "c": 1.5, "d": True, "e": None}, {"KEY": secret}) == {
            "a": text,
            "b": 12345,
            "c": 1.5,
            "d": True,
            "e": None,
        }


def test_pages_of_text_are_left_as_they_are() -> None:
    secrets = {"A": "hunter2-is-no-password", "B": "sk-live-51HxYzAbCdEfGhIjKlMnOp", "C": "Tr0ub4dor&3", "D": "1234567890"}
    for page in (Path(__file__).parents[2] / "docs").glob("*.md"):
        text = page.read_text()
        assert hidden(text, secrets) == text, page


def test_numbers_and_blanks() -> None:
    assert hidden([81726354, 8172635.4, 5, True], {"PIN": "81726354"}) == ["[secret PIN]", 8172635.4, 5, True]
    assert hidden("a    b", {"ODD": "    "}) == "a[secret ODD]b"
    assert hidden("correct+horse%20battery  staple", {"W": "correct horse battery staple"}) == "[secret W]"
    assert hidden("one two", {}) == "one two"


HARD: dict[str, Any] = {
    "words": "the password of the hunter is a base of orders " * 20_000, "one letter": "h" * 1_000_000, "blanks": "h" + " " * 1_000_000,
    "letters and blanks": "h " * 500_000, "slashes": "\\" * 1_000_000, "nearly": "hunter2-is-no-passwor " * 45_000,
    "nearly split": " ".join("hunter2-is-no-passwor ") * 23_000, "hex": "68:75:6e:" * 110_000,
    "percent": "%68%75" * 160_000, "escapes": "\\u0068" * 160_000,
    "base64": base64.b64encode(b"hunter2-is-no-passwor" * 36_000).decode(),
}  # fmt: skip


@pytest.mark.parametrize("text", HARD)
def test_the_cost_grows_with_the_text_and_not_faster(text: str) -> None:
    secrets = {"KEY": "hunter2-is-no-password"}
    hidden("x", secrets)

    def took(part: str) -> float:
        began = time.thread_time()
        assert hidden(part, secrets) == part
        return time.thread_time() - began

    whole = HARD[text]
    small = min(took(whole[: len(whole) // 10]) for _ in range(3))
    assert took(whole) < 40 * small + 0.5  # ten times the text; a square would be a hundred times, and minutes
