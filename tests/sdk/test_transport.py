"""What is sent to a server: a key is never told in an error."""

from __future__ import annotations

import pytest
from tests.sdk.test_tracing import Collector

from windlass.core.errors import Invalid
from windlass.sdk.transport import HttpTransport


@pytest.mark.parametrize("key", ["wlk_SECRET\nwlk_x", "wlk_SECR\u00e9T", "wlk_SECRET\x00"])
def test_a_key_that_cannot_be_sent_is_told_to_nobody(key: str) -> None:
    with pytest.raises(Invalid, match="cannot be one of ours") as refused:
        HttpTransport("http://127.0.0.1:9", key)
    assert "SECR" not in str(refused.value)


def test_a_line_end_behind_a_key_is_none_of_it() -> None:
    collector = Collector()
    transport = HttpTransport(collector.url, "wlk_x\n")
    assert transport.send("POST", "/v1/traces").status == 200
    transport.close()
    collector.close()
