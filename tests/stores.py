"""Which engines a test runs on. `on_both` gives a test, and every fixture that takes `database_setting`, each of them in turn."""

import pytest

on_both = pytest.mark.parametrize("database_setting", ["sqlite", "postgresql"], indirect=True)
