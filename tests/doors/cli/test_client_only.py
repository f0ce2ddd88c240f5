"""Windlass without its server: a laptop or CI that works on a server elsewhere."""

from __future__ import annotations

import importlib.util

import pytest

from windlass.core.errors import Unavailable
from windlass.doors.cli.session import Session, require_server


def test_what_needs_a_server_says_where_one_comes_from(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "duckdb" else real(name))
    for name in ("WINDLASS_URL", "WINDLASS_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Unavailable, match="only the client") as caught:
        _ = Session(home=tmp_path / "home").client
    assert "windlass[server]" in caught.value.remedy
    assert not (tmp_path / "home").exists()
    monkeypatch.undo()
    require_server("there is one here")
