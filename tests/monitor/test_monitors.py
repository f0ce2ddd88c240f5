"""Monitors on a real platform: what production asks held against what it was let out by."""

from __future__ import annotations

from tests.monitor.shop import Shop


def test_smoke(shop: Shop) -> None:
    import time

    shop.let_out()
    made = shop.client.monitors.set("questions", "answers", sample=1.0)
    assert (made.watched, made.environment, made.status, made.look) == ("release/answer", "production", "idle", None)
    t = time.time()
    shop.ask(60)
    print("asked", time.time() - t)
    t = time.time()
    state = shop.client.monitors.look("questions")
    print("look", time.time() - t, state)
    shop.ask(60, 0.5)
    t = time.time()
    state = shop.client.monitors.look("questions")
    print("look", time.time() - t, state)
    d = shop.client.monitors.show("questions")
    print(d.topics, len(d.points), d.kept, len(d.looks))
    assert 0
