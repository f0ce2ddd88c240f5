"""The grammar of refs."""

import pytest

from windlass.core.errors import Invalid
from windlass.core.ref import Ref, parse_ref


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("prompt/reply", Ref("prompt", "reply")),
        ("prompt/reply@3f9a2c", Ref("prompt", "reply", "3f9a2c")),
        ("release/answer:production", Ref("release", "answer", None, "production")),
        ("shop/release/answer:canary/eu", Ref("release", "answer", None, "canary/eu", "shop")),
    ],
)
def test_parse_and_print_are_inverse(text: str, ref: Ref) -> None:
    assert parse_ref(text) == ref and str(ref) == text


@pytest.mark.parametrize("text", ["", "reply", "promt/reply", "prompt/Reply", "prompt/a b", "prompt/x@zz", "prompt/x:-", "a/b/c/d"])
def test_bad_refs_say_what_is_wrong(text: str) -> None:
    with pytest.raises(Invalid) as e:
        parse_ref(text)
    assert e.value.remedy


def test_near_miss_is_offered() -> None:
    with pytest.raises(Invalid, match=r"did you mean 'prompt'"):
        parse_ref("promt/reply")
