"""The graph around a version, and where it is cut."""

from tests.registry.application import Registry, application

from windlass.core.actor import OWNER
from windlass.core.operations.registry import (
    LineageQuery,
)


def test_a_cut_walk_says_so(registry: Registry) -> None:
    registry.push(*application())
    assert registry.lineage.walk(OWNER, LineageQuery("release/answer", direction="up", depth=1)).truncated
