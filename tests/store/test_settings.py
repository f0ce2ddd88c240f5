"""Settings: where they come from, and what is said of a wrong one."""

from pathlib import Path

import pytest

from windlass.core.errors import Invalid
from windlass.settings import Settings, load_settings, page


def test_settings_by_precedence(tmp_path: Path) -> None:
    assert load_settings(environ={}) == Settings()
    (tmp_path / "settings.toml").write_text("port = 5000\nworkers = 3\n")
    found = load_settings(tmp_path, {"port": 7000, "host": None}, {"WINDLASS_PORT": "6000", "WINDLASS_WORKERS": "2"})
    assert (found.port, found.workers, found.host) == (7000, 2, "127.0.0.1")


def test_a_wrong_setting_says_where_and_what(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("prot = 5000\n")
    with pytest.raises(Invalid, match=r"did you mean 'port'\?"):
        load_settings(tmp_path, environ={})
    with pytest.raises(Invalid, match="WINDLASS_PORT"):
        load_settings(environ={"WINDLASS_PORT": "many"})


def test_the_settings_page_is_current() -> None:
    assert (Path(__file__).parents[2] / "docs" / "settings.md").read_text() == page(), "see the docstring of `page`"
