"""How long a process goes by what it knows of rollouts: never longer than a second, whether it was idle or busy."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from windlass.core.actor import OWNER
from windlass.core.errors import StoreAway
from windlass.core.operations.rollouts import Rollout, RolloutGuard
from windlass.core.ref import Ref
from windlass.core.rollout import Assigned
from windlass.deploy import rollout_arms
from windlass.deploy.rollout_arms import RolloutArms, chosen_of
from windlass.deploy.rollout_rows import at_share, ended, keep
from windlass.runtime.context import RunContext
from windlass.store.meta import open_meta, write

BASE, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
RELEASE = Ref("release", "answer", BASE)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_meta(f"sqlite:///{tmp_path / 'windlass.db'}")
    yield made
    made.dispose()


def rollout(**more: object) -> Rollout:
    given = {"id": "r-000001", "status": "running", "mode": "canary", "by": "user", "shares": (5000,), "steps": (50.0, 80.0)} | more
    return Rollout(
        project="default", release="answer", environment="production", candidate=NEW, base=BASE, verdict="v", step=0, error=0.05,
        guards=(RolloutGuard("error", 0.05),), min_hours=0, settle_s=0, started_by="owner", created_ns=1, stage_ns=1, **given,
    )  # type: ignore[arg-type]  # fmt: skip


def put(engine: Engine, made: Rollout) -> None:
    with write(engine) as c:
        keep(c, made)


def call(user: str | None, trace: str = "1" * 32) -> RunContext:
    return RunContext(actor=OWNER, user=user, trace=trace)


def test_a_stop_holds_within_a_second_also_for_who_was_idle(engine: Engine) -> None:
    now = [100.0]
    arms = RolloutArms(engine, lambda: now[0])

    def choose() -> bool:
        return asyncio.run(arms.choose(RELEASE, "production", call("anna"))) is not None

    assert not choose()
    put(engine, rollout())
    assert not choose()  # known for a moment
    now[0] += rollout_arms.KNOWN_SECONDS + 0.01
    assert choose()
    put(engine, ended(rollout(), "stopped", "enough"))
    now[0] += 3600  # nobody called
    assert not choose()


def test_one_asks_and_the_others_go_by_what_is_known(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked = [100.0], 0
    put(engine, rollout())
    arms = RolloutArms(engine, lambda: now[0])
    look = arms._look

    def counted() -> None:
        nonlocal asked
        asked += 1
        look()

    monkeypatch.setattr(arms, "_look", counted)

    async def all_at_once() -> list[object]:
        await arms.choose(RELEASE, "production", call("anna"))
        now[0] += 0.7
        return await asyncio.gather(*(arms.choose(RELEASE, "production", call(f"u{n}")) for n in range(50)))

    assert all(found is not None for found in asyncio.run(all_at_once())) and asked == 2


def test_what_is_known_goes_on_while_the_store_is_away(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    put(engine, rollout())
    arms = RolloutArms(engine, lambda: now[0])
    assert asyncio.run(arms.choose(RELEASE, "production", call("anna"))) is not None

    def away() -> None:
        raise StoreAway("it is away")

    monkeypatch.setattr(arms, "_look", away)
    now[0] += 60
    assert asyncio.run(arms.choose(RELEASE, "production", call("anna"))) is not None
    fresh = RolloutArms(engine, lambda: now[0])
    monkeypatch.setattr(fresh, "_look", away)
    with pytest.raises(StoreAway):
        asyncio.run(fresh.choose(RELEASE, "production", call("anna")))


def test_only_what_stands_on_its_base_is_parted(engine: Engine) -> None:
    put(engine, rollout())
    arms = RolloutArms(engine)
    for release, environment in (
        (Ref("release", "answer", NEW), "production"),
        (RELEASE, "staging"),
        (Ref("release", "b", BASE), "production"),
    ):
        assert asyncio.run(arms.choose(release, environment, call("anna"))) is None


def assigned(made: Rollout, user: str, trace: str = "1" * 32) -> Assigned:
    chosen = chosen_of(made, call(user, trace))
    assert chosen is not None and not chosen.beside and chosen.candidate.digest == NEW
    return chosen.assigned


def test_a_user_stays() -> None:
    for user in ("anna", "ben", "cleo"):
        first, again = assigned(rollout(), user), assigned(rollout(), user, "2" * 32)
        raised = assigned(at_share(rollout(), 1), user)
        assert (first.arm, first.place) == (again.arm, again.place) == (first.arm, raised.place)
        assert not (first.arm == "candidate" and raised.arm == "base") and raised.stage == 2


def test_a_shadow_runs_beside_its_share_of_calls_and_never_answers() -> None:
    shadows = [chosen_of(rollout(mode="shadow"), call("anna", f"{n:032x}")) for n in range(1, 200)]
    beside = [s for s in shadows if s is not None]
    assert {(s.assigned.arm, s.beside) for s in beside} == {("base", True)} and 60 < len(beside) < 140
