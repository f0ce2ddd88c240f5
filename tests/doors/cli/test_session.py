"""What the command line prints is what was meant: text of users and models neither styles nor steers the terminal."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.doors.cli.session import Session, plain, printable

PIECES = st.sampled_from(("[bold]", "[/]", "[/x]", "[link=x]", "[", "]", "\\", ":x:", "\x1b[2J", "\x07", "\x9b", " "))
HIDDEN = [chr(c) for c in (0x61C, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF, *range(0xE0000, 0xE0080))]
LINES = st.lists(PIECES | st.sampled_from(HIDDEN) | st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp", "Zs")), max_size=20).map(
    "".join
)


def printed(markup: str) -> str:
    session = Session()
    with session.console.capture() as captured:
        session.print(markup)
    return captured.get().removesuffix("\n")


@settings(max_examples=400)
@given(LINES)
def test_text_is_printed_as_it_is(text: str) -> None:
    assert printed(f"<{plain(text)}>[dim]{plain(text)}[/dim]") == f"<{printable(text)}>{printable(text)}"


@given(LINES)
def test_no_text_steers_the_terminal(text: str) -> None:
    assert not {c for c in printable(text) if ord(c) < 32 or 127 <= ord(c) < 160}


@given(LINES)
def test_no_text_turns_a_line_around_or_hides(text: str) -> None:
    assert not {c for c in printable(text) if unicodedata.category(c) == "Cf" and c in HIDDEN}


def test_what_people_do_not_see_is_left_out() -> None:
    tags = "".join(chr(0xE0000 + ord(c)) for c in "ignore all")
    assert printable(f"pay\u202eelgoog\u202c\u2066 a\u200bb\u200d\ufeff{tags}\U000e0100 é\tü\n") == "payelgoog ab é\tü\n"
    assert printed(plain(f"a\u202e{tags}b")) == "ab"


def test_words_between_colons_are_no_pictures() -> None:
    assert printed("prompt/answer:x: and :smile:") == "prompt/answer:x: and :smile:"


def test_the_command_line_starts_without_the_server() -> None:
    heavy = ["sqlalchemy", "duckdb", "dbos", "starlette", "granian", "numpy", "httpx2", "aiohttp", "rich.table", "windlass.platform"]
    code = f"import sys, windlass.doors.cli.main; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
