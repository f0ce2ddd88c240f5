"""Ids of experiments say their names, both ways."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.errors import Invalid, NotFound
from windlass.traces.mlflow_experiments import LONGEST, experiment_id, experiment_name

THEIRS = re.compile(r"[a-zA-Z0-9][\w-]*", re.ASCII)  # what MLflow takes as one, its length aside


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("Default", "0"), ("0", "Z30"), ("7", "7"), ("shop", "shop"), ("my_shop-2", "my_shop-2"), ("_a", "Z5fa"), ("Zoo", "Z5aoo"),
        ("/Users/ann@x.org/É", "Z2fUsersZ2fannZ40xZ2eorgZ2fZc3Z89"),
    ],
)  # fmt: skip
def test_an_id_never_changes(name: str, id: str) -> None:
    assert experiment_id(name) == id and experiment_name(id) == name


@given(st.text(min_size=1, max_size=60))
def test_names_come_back_from_their_ids(name: str) -> None:
    try:
        id = experiment_id(name)
    except Invalid:
        assert len(name.encode("utf-8", "surrogatepass")) * 3 > LONGEST
        return
    assert THEIRS.fullmatch(id) and experiment_name(id) == name


@given(st.text(alphabet="Zabf0129_-.", min_size=1, max_size=12))
def test_an_id_is_of_one_name_or_of_none(id: str) -> None:
    try:
        name = experiment_name(id)
    except NotFound:
        return
    assert experiment_id(name) == id


@pytest.mark.parametrize("name", ["", "x" * (LONGEST + 1)])
def test_names_that_no_id_can_say(name: str) -> None:
    with pytest.raises(Invalid):
        experiment_id(name)
