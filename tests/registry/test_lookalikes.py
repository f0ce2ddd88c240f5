"""A new tool may not have the look of another."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agentops.conftest import LOOK, Shop, tool

from windlass.core.artifacts import Code, ToolBody, Version, make_version
from windlass.core.errors import Invalid
from windlass.registry.lookalikes import check_looks, look
from windlass.store.meta import read


def checked(shop: Shop, *tools: Version) -> None:
    with read(shop.engine) as c:
        check_looks(c, "default", {(t.kind, t.name, t.digest): t for t in tools})


@pytest.mark.parametrize("name", ["re-fund", "re_fund", "re.fund", "refund.", "refund_"])
def test_a_name_that_looks_like_a_registered_one_is_refused(tmp_path: Path, name: str) -> None:
    shop = Shop(f"sqlite:///{tmp_path / 'm.db'}").registered()
    with pytest.raises(Invalid, match="looks like 'refund', which is another tool"):
        checked(shop, tool(name, LOOK, "read"))
    checked(shop, tool("refund", LOOK, "read"), tool("refunds", LOOK, "read"))


@pytest.mark.parametrize(
    "pair", [("l00k", "look"), ("read1", "readl"), ("get_iist", "get_list"), ("leam", "learn"), ("s3", "S3".lower() + "-")]
)
def test_two_that_come_together(tmp_path: Path, pair: tuple[str, str]) -> None:
    shop = Shop(f"sqlite:///{tmp_path / 'm.db'}")
    with pytest.raises(Invalid, match="looks like"):
        checked(shop, *(tool(name, LOOK, "read") for name in pair))


@pytest.mark.parametrize("called", ["rеfund", "refund\u200b", "ｒefund", "re fund", "", "refund\n", "x" * 101, "\u202erefund", "ref/und"])
def test_a_name_that_models_are_told_is_plain(tmp_path: Path, called: str) -> None:
    """Artifacts' names are plain anyway; what a model calls a tool by is part of its body."""
    shop = Shop(f"sqlite:///{tmp_path / 'm.db'}")
    with pytest.raises(Invalid, match="cannot tell from another"):
        checked(shop, make_version("tool", "payment", ToolBody(Code("app:x", {}, "3.11"), called, "It.", LOOK, "read")))


def test_a_tool_that_calls_itself_like_another_is_refused(tmp_path: Path) -> None:
    shop = Shop(f"sqlite:///{tmp_path / 'm.db'}").registered()
    for called in ("REFUND", "Re_Fund", "look"):
        for name in ("payment", "refund" if called == "look" else "look"):  # a new one, and one that is there
            with pytest.raises(Invalid, match="which is another tool"):
                checked(shop, make_version("tool", name, ToolBody(Code("app:x", {}, "3.11"), called, "It.", LOOK, "read")))


@given(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True))
def test_a_look_is_the_same_for_what_nobody_can_tell_apart(name: str) -> None:
    assert look(name) == look(name.upper()) == look(name + "\u200b") == look(name.replace("-", "_"))
