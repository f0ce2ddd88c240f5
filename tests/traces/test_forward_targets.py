"""The setting `forward_to`, and headers from variables: what is wrong is told, a secret is not."""

from __future__ import annotations

import pytest

from windlass.core.errors import Invalid
from windlass.traces.envelope import LOGS, METRICS, OTLP
from windlass.traces.forward_targets import headers_of, targets_of

SECRET = "wl_very-secret-0123456789"


def test_addresses_with_what_stands_behind_them() -> None:
    assert targets_of("") == ()
    one, two = targets_of(" https://a.example:4318/  http://b/otel?headers=B_HEADERS&signals=traces,logs&project=shop ")
    assert (one.url, one.kinds, one.project, one.variable) == ("https://a.example:4318", {OTLP, LOGS, METRICS}, None, None)
    assert (two.url, two.kinds, two.project, two.variable) == ("http://b/otel", {OTLP, LOGS}, "shop", "B_HEADERS")
    assert one.id == targets_of("https://a.example:4318?headers=X")[0].id, "its place stays when its key gets another name"
    assert len({t.id for t in targets_of("http://a?project=x http://a?project=y http://a")}) == 3


@pytest.mark.parametrize(
    "setting",
    [
        "a.example:4318", "ftp://a", "http://", "http://a:x", "http://a:0", "http://[", "http://a#b",
        f"http://user:{SECRET}@a", f"http://a?key={SECRET}", "http://a?signals=spans", "http://a?signals=", f"http://a?headers=x={SECRET}",
        "http://a?project=No!", "http://a http://a/", "http://a?signals=logs&signals=logs",
    ],
)  # fmt: skip
def test_what_is_none(setting: str) -> None:
    with pytest.raises(Invalid) as caught:
        targets_of(setting)
    assert SECRET not in str(caught.value) and caught.value.remedy


def test_headers_come_from_a_variable() -> None:
    (target,) = targets_of("http://a?headers=THEIRS")
    told = headers_of(target, {"THEIRS": f"Authorization=Bearer%20{SECRET}, x-project = a%2Cb ,"})
    assert told == {"authorization": f"Bearer {SECRET}", "x-project": "a,b"}
    assert headers_of(targets_of("http://a")[0], {}) == {}
    with pytest.raises(Invalid, match="THEIRS"):
        headers_of(target, {})
    for bad in (SECRET, f"a b={SECRET}", f"x=a%0d%0ay: {SECRET}", f"content-length={SECRET}", f"x={SECRET}é"):
        with pytest.raises(Invalid, match="header 1") as caught:
            headers_of(target, {"THEIRS": bad})
        assert SECRET not in str(caught.value)
