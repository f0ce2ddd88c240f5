"""What is masked and what is not: by published examples, check digits computed by somebody else, and in whatever form text comes."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import stdnum.iban
import stdnum.luhn
from hypothesis import example, given
from hypothesis import strategies as st
from tests.doors.cli.conftest import Shell
from tests.doors.cli.conftest import shell as shell

from windlass.core.errors import Invalid
from windlass.core.span import Span, SpanEvent
from windlass.govern.masking import Masker, Masking
from windlass.govern.masks import MASKS, luhn, mod97
from windlass.traces.masked import masked_span
from windlass.traces.recorder import _masked, _pack, _unpack

EVERYTHING = "[default]\npersonal = true\nnetwork = true\n"


def masking(tmp_path: Path, text: str = EVERYTHING) -> Masking:
    (tmp_path / "masking.toml").write_text(text)
    return Masking(tmp_path / "masking.toml")


@pytest.fixture
def all_on(tmp_path: Path) -> Masker:
    return masking(tmp_path).of("default")


PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA04up8hoqzS1+\nAPIB0RhjXyObwHQnOzhAk5Bd\n-----END RSA PRIVATE KEY-----"
JWT = (  # RFC 7519, section 3.1
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)
KEYS = [
    "sk-proj-" + "aB3" * 16, "sk-" + "T3BlbkFJ" * 6, "sk-ant-api03-" + "x7_-" * 20, "AKIAIOSFODNN7EXAMPLE",
    "ghp_" + "16C7e42F292c6912E7" * 2,
    "AIza" + "SyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY", "github_pat_11" + "A2B3" * 20, "glpat-" + "x1Y2z3_-" * 3,
    "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcBrzbqgy", "hf_" + "aB1" * 11, "gsk_" + "aB12" * 12, "npm_" + "aB12" * 9,
    "SG." + "aB1_" * 6 + "." + "xY2-" * 11, "xai-" + "aB12" * 20, "pplx-" + "ab12" * 12, "wl_0123456789ab_" + "aB3-" * 11,
    "wlo_" + "aB3_" * 11,
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "wlg_" + "aB3_" * 11 + "." + "xY2-" * 11,
]  # fmt: skip
# cards: numbers that Stripe, Adyen and PayPal publish for tests; IBANs: the registry's examples; phones: kept for fiction
FOUND = {
    "private-key": [PEM, "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk=\n"],
    "jwt": [JWT],
    "api-key": KEYS,
    "email": ["ann@example.com", "ann.o'neil+tag@sub.example.co.uk", "jürgen@bücher.example", "_x@a-b.org"],
    "card": [
        "4242424242424242", "4000 0566 5566 5556", "5555-5555-5555-4444", "2223003122003222", "378282246310005", "6011111111111117",
        "3056930009020004", "30569309025904", "3566002020360505", "6200000000000005", "4222222222222",
    ],
    "iban": [
        "GB82 WEST 1234 5698 7654 32", "DE89370400440532013000", "FR1420041010050500013M02606", "NO9386011117947",
        "CH93 0076 2011 6238 5295 7", "MT84MALT011000012345MTLCAST001S", "SA03 8000 0000 6080 1016 7519",
    ],
    "phone": ["+44 20 7946 0958", "+1-202-555-0123", "+49 (0)30 23125 000", "+4930231250", "(202) 555-0143", "202-555-0143"],
    "ip": ["192.0.2.17", "2001:db8::8a2e:370:7334", "::1"],
}  # fmt: skip
NOT_FOUND = [
    "sk-learn-is-a-library-for-machine-learning", "task-force-of-twenty-people-or-more", "bearer of extraordinarily good tidings",
    "basic internationalization", "@mention and user@host without a point", "4242424242424241", "1234567890123456", "1795956279911811720",
    "01a22752-97ac-7ce3-b55c-a1d15fab274e", "sha256:" + "4242424242424242" * 4, "GB82WEST12345698765433", "DE8937040044053201300",
    "2026-11-29 12:33:29.123", "1.2.3", "256.1.1.1", "10:30", "3.14159265358979", "eyJhbGciOiJIUzI1NiJ9", "-----BEGIN PUBLIC KEY-----",
    "AKIA-no", "12345678", "rank 202-555-01431", "v1.2.3.4.5", "std::vector",
]  # fmt: skip
HARD = (
    "a", "@", "a@", "1", "1 ", "+1", "eyJ", "-----BEGIN ", "sk-", "a.b@c.", "{", '"', "\\u0040", "DE12", "Bearer ", ":",
    "(1", "-1", "'", "%",
)  # fmt: skip
MAIL = "ann@example.com"
HIDDEN = [f"say\n{MAIL}\tnow", f"é {MAIL}", PEM, f'"quoted" {MAIL}', "4242424242424242", f"\\n {MAIL}"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda x: st.lists(x) | st.dictionaries(st.text(), x),
)
OWN = "[[rule]]\nname = 'a'\npattern = "
WRONG = [
    ("x =", "cannot be read"),
    ("[default]\nemial = true\n", "names 'emial', which is no rule"),
    ("[project.shop]\nx = true\n", "[project.shop] names 'x'"),
    ("[default]\nemail = 1\n", "cannot be read"),
    ("[rules]\n", "cannot be read"),
    ("[[rule]]\nname = 'a'\n", "cannot be read"),
    ("[[rule]]\nname = 'A b'\npattern='x'\n", "is no name of a rule"),
    ("[[rule]]\nname = 'email'\npattern='x'\n", "two rules 'email'"),
    (OWN + "'x'\nprojects=['A B']\n", "is not a project"),
    (OWN + "'('\n", "the pattern cannot be read"),
    (OWN + "'x*'\n", "finds nothing at all"),
    (OWN + "'(a+)+b'\n", "could take for ever"),
    (OWN + "'(a|aa)+b'\n", "could take for ever"),
    (OWN + "'([a-z]*x)*y'\n", "could take for ever"),
    (OWN + "'(x)\\1+'\n", "could take for ever"),
    (OWN + "'" + "x" * 1001 + "'\n", "at most 1000"),
]


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in FOUND.items() for text in texts])
@pytest.mark.parametrize("around", ["{}", "see {} there", "x={};", '"{}"', "({})", "line\n{}\nline", "<{}>"])
def test_what_is_to_be_masked_is(all_on: Masker, name: str, text: str, around: str) -> None:
    given = around.format(text)
    masked = all_on.counted(given)
    begins, _, ends = around.partition("{}")
    if name == "private-key" and "-----END" not in text:  # to the end, since nothing says where it ends
        ends = ""
    assert masked.text == f"{begins}[masked:{name}]{ends}"
    assert masked.found == {name: 1}


@pytest.mark.parametrize("text", NOT_FOUND)
def test_what_only_looks_like_it_is_not(all_on: Masker, text: str) -> None:
    assert all_on.text(text) is text


def test_tokens_in_headers_are_masked_and_their_names_are_not(all_on: Masker) -> None:
    assert all_on.text("Authorization: Bearer abc123def456ghi789") == "Authorization: Bearer [masked:bearer]"
    assert all_on.text("authorization=Basic QWxhZGRpbjpvcGVuIHNlc2FtZTE=") == "authorization=Basic [masked:bearer]"
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    assert all_on.text(f"aws_secret_access_key = {secret}") == "aws_secret_access_key = [masked:aws-secret]"


@given(st.text("0123456789", min_size=2, max_size=24))
def test_check_digits_of_cards_are_as_others_compute_them(digits: str) -> None:
    assert luhn(digits) == stdnum.luhn.is_valid(digits)


@given(st.sampled_from(["DE", "GB", "FR", "MT", "NO"]), st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=11, max_size=28))
@example("GB", "WEST12345698765432")
def test_check_digits_of_ibans_are_as_others_compute_them(country: str, rest: str) -> None:
    check = stdnum.iban.calc_check_digits(f"{country}00{rest}")
    assert mod97(f"{country}{check}{rest}")
    assert not mod97(f"{country}{(int(check) + 1) % 100:02}{rest}")


def nested(value: Any, depth: int, ascii_only: bool) -> str:
    """JSON in a string in JSON in a string …"""
    for _ in range(depth):
        value = json.dumps({"said": value, "n": [1, None, True, 2.5]}, ensure_ascii=ascii_only)
    return str(value)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("text", HIDDEN)
def test_json_in_json_stays_json_and_says_nothing(all_on: Masker, depth: int, ascii_only: bool, text: str) -> None:
    masked: Any = all_on.text(nested(text, depth, ascii_only))
    for _ in range(depth):
        masked = json.loads(masked)
        assert masked["n"] == [1, None, True, 2.5]
        masked = masked["said"]
    assert masked == all_on.text(text) != text


def test_letters_hidden_by_escapes_are_seen(all_on: Masker) -> None:
    assert all_on.text('{"a": "ann\\u0040example.com"}') == '{"a":"[masked:email]"}'
    assert all_on.text('{"\\u0061nn@example.com": "\\u0073k-ant-api03-0123456789abcdefghij"}') == '{"[masked:email]":"[masked:api-key]"}'
    assert all_on.text('{"n": 4242424242424242}') == '{"n":"[masked:card]"}'


def test_json_that_was_cut_off_is_masked_all_the_same(all_on: Masker) -> None:
    """As a long input is kept: its beginning."""
    whole = json.dumps({"a": "hello\nann@example.com", "b": PEM, "c": "x" * 50})
    for end in range(len(whole)):
        masked = all_on.text(whole[:end] + "…")
        assert "ann@example.co" not in masked and "MIIEpAIBAAKCAQEA04up8" not in masked


@given(JSON)
def test_nothing_found_is_nothing_changed_and_twice_is_once(value: Any) -> None:
    masker = Masker(MASKS)
    once = masker.value(value)
    if once == value and type(once) is type(value):
        assert masker.value(value) is value
    assert masker.value(once) == once


@given(st.text() | st.text('ab@.- 0123456789+()eyJskAKI_/:\\u"{}[]', max_size=200))
@example("ann\\u0040example.com")
def test_what_is_looked_at_first_misses_nothing(text: str) -> None:
    """The cheap look at packed bytes never says no where a mask would find something."""
    masker = Masker(MASKS)
    packed = _pack(Span("a" * 32, "b" * 16, "x", 1, attributes={"windlass.input": text}))
    said = masker.text(text)
    assert (_unpack(_masked(packed, masker))).attributes["windlass.input"] == said


def test_every_place_of_a_span_is_masked(all_on: Masker) -> None:
    mail = "ann@example.com"
    span = Span(
        "a" * 32, "b" * 16, f"chat {mail}", 1, status_message=f"no {mail}", service=f"svc {mail}",
        attributes={
            mail: 1, "list": [mail, {"deep": [mail]}], "bytes": mail.encode(), "card": 4242424242424242,
            "windlass.input": json.dumps({"q": mail}),
            "windlass.versions": ["chain/answer@sha256:" + "a" * 64],
        },
        events=[SpanEvent(f"at {mail}", 1, {"exception.message": mail})],
    )  # fmt: skip
    masked = _unpack(_masked(_pack(span), all_on))
    assert mail not in repr(masked) and "4242424242424242" not in repr(masked)
    assert masked.attributes["card"] == "[masked:card]" and masked.attributes["windlass.versions"] == span.attributes["windlass.versions"]
    plain = Span("a" * 32, "b" * 16, "chat", 1, attributes={"windlass.input": "hello"}, events=[])
    assert masked_span(plain, all_on) is plain


# rules


def test_secrets_are_masked_unless_told_and_personal_data_when_told(tmp_path: Path) -> None:
    nobody = Masking(tmp_path / "none.toml").of("default")
    assert nobody.text("ann@example.com AKIAIOSFODNN7EXAMPLE") == "ann@example.com [masked:api-key]"
    made = masking(
        tmp_path, "[default]\nemail = true\n[project.shop]\nemail = false\nsecrets = false\njwt = true\n[project.desk]\npersonal = true\n"
    )
    assert made.of("other").text("ann@example.com") == "[masked:email]"
    assert made.of("shop").text("ann@example.com AKIAIOSFODNN7EXAMPLE") == "ann@example.com AKIAIOSFODNN7EXAMPLE"
    assert made.of("shop").text(JWT) == "[masked:jwt]"
    assert made.of("desk").text("202-555-0143 192.0.2.17") == "[masked:phone] 192.0.2.17"


def test_rules_of_ones_own(tmp_path: Path) -> None:
    made = masking(
        tmp_path,
        "[[rule]]\nname = 'customer'\npattern = 'C-[0-9]{8}'\nprojects = ['shop']\n[[rule]]\nname='word'\npattern='(?i)umbrella'\n",
    )
    assert made.of("shop").text("C-12345678 has an Umbrella") == "[masked:customer] has an [masked:word]"
    assert made.of("default").text("C-12345678 has an Umbrella") == "C-12345678 has an [masked:word]"
    packed = _pack(Span("a" * 32, "b" * 16, "x", 1, attributes={"a": "C-12345678"}))
    assert b"C-12345678" not in _masked(packed, made.of("shop"))


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_rules_that_are_wrong_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Invalid) as e:
        masking(tmp_path, text)
    assert said in str(e.value) and "masking.toml" in str(e.value)


@pytest.mark.parametrize("text", HARD)
def test_no_text_takes_for_ever(all_on: Masker, text: str) -> None:
    began = time.process_time()
    all_on.text(text * (300_000 // len(text)))
    assert time.process_time() - began < 10  # a fraction of a second on a quiet machine


def test_the_commands(shell: Shell) -> None:
    assert (
        re.search(r"api-key\s+on\s+secrets", shell("masking", "show").stdout)
        and "masking.toml in the data folder changes this" in shell("masking", "show").stdout
    )
    assert shell("masking", "try", "key AKIAIOSFODNN7EXAMPLE").stdout.splitlines()[:2] == ["key [masked:api-key]", "api-key 1×"]
    assert "nothing was found" in shell("masking", "try", "-", stdin="ann@example.com").stdout
    (shell.folder / "home" / "masking.toml").write_text("[default]\nemail = true\n")
    assert shell.json("masking", "try", "ann@example.com") == {"text": "[masked:email]", "found": {"email": 1}}
    (shell.folder / "home" / "masking.toml").write_text("[default]\nemial = true\n")
    assert "names 'emial', which is no rule" in shell("status", code=1).stderr
