"""The local copy that calls go on by: what it says while the store is away, and that nobody can have it say something else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine
from tests.govern.limit_world import Node, answered

from windlass.core.actor import OWNER
from windlass.core.errors import Busy, Unauthenticated, Unavailable
from windlass.core.operations.limits import LimitRequest
from windlass.core.operations.system import KeyChange, KeyQuery, KeyRequest
from windlass.core.ref import Ref
from windlass.govern import standby as module
from windlass.govern.actors import Actors
from windlass.govern.leases import Leases
from windlass.govern.limits import Limits
from windlass.govern.sessions import Sessions
from windlass.govern.standby import FILE, Standby
from windlass.registry.labels import move_label
from windlass.store.home import Home
from windlass.store.meta import HEAD, open_meta, write

KEY = b"k" * 32


class Away:
    """A store that can be taken away: the engine of a folder that is none, in its place."""

    def __init__(self, home: Home) -> None:
        self.there = open_meta(home.database_url)
        self.gone = create_engine(f"sqlite:///{home.path}/no/such/folder.db")

    def return_to(self, node: Node) -> None:
        """It is back, for a node that went on without it."""
        node.standby.open(self.there)
        assert node.reservations._leases is not None
        node.reservations._leases._engine = self.there


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def store(home: Home) -> Iterator[Away]:
    away = Away(home)
    yield away
    away.there.dispose()
    away.gone.dispose()


def watching(home: Home, engine: Engine, key: bytes = KEY) -> Standby:
    """As a process that serves has it, but that it looks when it is told to."""
    found = Standby(home.path, key, lambda c, ref: [])
    found.open(engine)
    found._thread = threading.Thread(target=lambda: None)
    return found


def actors_of(home: Home, engine: Engine, standby: Standby) -> Actors:
    return Actors(engine, Sessions(home.path / "run"), (home.token(),), home.signing_key(), "c", standby=standby)


def restarted(home: Home, store: Away) -> tuple[Standby, Actors]:
    """A process that begins while the store is away."""
    standby = watching(home, store.gone)
    standby.look()
    return standby, actors_of(home, store.gone, standby)


def test_valid_keys_open_and_revoked_ones_do_not(home: Home, store: Away) -> None:
    standby = watching(home, store.there)
    actors = actors_of(home, store.there, standby)
    good, gone, late = (actors.create(OWNER, KeyRequest(n)) for n in ("good", "gone", "late"))
    actors.revoke(OWNER, KeyQuery(gone.id))
    actors.change(OWNER, KeyChange(late.id, expires_ns=2**61))
    standby.look()
    assert not standby.away and standby.serving == ""

    copy, served = restarted(home, store)
    assert "the store cannot be used" in copy.away and "calls go on by the local copy" in copy.serving and copy.revision == HEAD
    assert served.of_secret(str(good.secret)).id == f"key:{good.id}"
    assert served.of_secret(str(late.secret)).id == f"key:{late.id}"
    with pytest.raises(Unauthenticated, match="was revoked"):
        served.of_secret(str(gone.secret))
    with pytest.raises(Unauthenticated, match="not known"):
        served.of_secret(f"wl_{good.id}_something-else")
    with pytest.raises(Unavailable, match="not in the local copy"):  # it may be newer: not a wrong key
        served.of_secret("wl_000000000000_x")
    with pytest.raises(Unavailable):
        served.create(OWNER, KeyRequest("more"))


def test_a_key_that_is_revoked_here_opens_nothing_at_once(home: Home, store: Away) -> None:
    standby = watching(home, store.there)
    actors = actors_of(home, store.there, standby)
    made = actors.create(OWNER, KeyRequest("k"))
    standby.look()
    assert standby.fresh and actors.of_secret(str(made.secret))
    actors.revoke(OWNER, KeyQuery(made.id))
    with pytest.raises(Unauthenticated, match="was revoked"):
        actors.of_secret(str(made.secret))


def test_no_secret_is_in_the_file_and_only_its_owner_reads_it(home: Home, store: Away) -> None:
    standby = watching(home, store.there)
    made = actors_of(home, store.there, standby).create(OWNER, KeyRequest("k"))
    standby.look()
    path = home.path / FILE
    assert str(made.secret).rpartition("_")[2].encode() not in path.read_bytes() and made.id.encode() in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("harm", ["role", "shorter", "signature", "key", "empty"])
def test_a_copy_that_was_altered_is_refused(home: Home, store: Away, harm: str, caplog: pytest.LogCaptureFixture) -> None:
    standby = watching(home, store.there)
    made = actors_of(home, store.there, standby).create(OWNER, KeyRequest("k", "caller"))
    standby.look()
    path = home.path / FILE
    data = path.read_bytes()
    changed = {
        "role": data.replace(b'"caller"', b'"owner"'), "shorter": data[:-1], "signature": (b"1" if data[:1] == b"0" else b"0") + data[1:],
        "key": data, "empty": b"",
    }[harm]  # fmt: skip
    path.write_bytes(changed)
    copy = watching(home, store.gone, b"another" if harm == "key" else KEY)
    copy.look()
    assert copy.copy is None and copy.revision is None and "is not used" in caplog.text and "no local copy" in copy.serving
    with pytest.raises(Unavailable):
        actors_of(home, store.gone, copy).of_secret(str(made.secret))


def test_labels_of_releases_and_limits_are_in_it(home: Home, store: Away) -> None:
    standby = watching(home, store.there)
    ref = Ref("release", "answer", "sha256:" + "a" * 64, None, "default")
    with write(store.there) as c:
        move_label(c, OWNER, ref, "production", None, how="promote")
        move_label(c, OWNER, Ref("prompt", "p", "sha256:" + "b" * 64, None, "default"), "main", None, how="branch")
    Limits(store.there, standby, lambda: pytest.fail("nothing is counted")).set(OWNER, LimitRequest("project", "requests", 5, "day"))
    standby.look()
    copy, _ = restarted(home, store)
    assert copy.label(Ref("release", "answer", None, "production", "default")) == ref.digest
    assert copy.label(Ref("prompt", "p", None, "main", "default")) is None
    assert copy.copy is not None and [x.subject for x in copy.copy.limits] == ["project"]


async def test_limits_hold_while_the_store_is_away(home: Home, store: Away, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(store.there, tmp_path / "a")
    node.standby._thread = threading.Thread(target=lambda: None)
    node.set("requests", 3)
    node.set("requests", 1, subject="user:*")  # of a user who comes only then, nothing was counted yet
    for _ in range(2):
        held = await node.hold()
        assert held is not None
        held.settle(answered(1, 1))
    node.reservations.save()

    again = Node(store.gone, tmp_path / "a")
    again.standby._thread = node.standby._thread
    again.standby.look()
    with monkeypatch.context() as m:
        m.setattr(Leases, "lease", lambda *_: pytest.fail("the store is not asked, it might hang"))
        held = await again.hold(user="new")
        with pytest.raises(Busy, match="user:new"):
            await again.hold(user="new")
        with pytest.raises(Busy, match="project"):
            await again.hold()
    assert held is not None
    held.settle(answered(1, 1))
    again.reservations.save()  # nothing is lost where it cannot be entered
    store.gone.dispose()
    store.return_to(again)
    again.standby.look()
    again.reservations.save()
    assert sorted(node.uses()) == [(1.0, 0.0), (3.0, 0.0)]


def test_the_file_changes_when_something_does_and_not_otherwise(home: Home, store: Away) -> None:
    standby = watching(home, store.there)
    actors = actors_of(home, store.there, standby)
    standby.look()
    before = (home.path / FILE).stat().st_ino
    standby.look()
    assert (home.path / FILE).stat().st_ino == before
    actors.create(OWNER, KeyRequest("k"))
    standby.look()
    assert (home.path / FILE).stat().st_ino != before


def test_a_store_that_hangs_is_away(home: Home, store: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    standby = watching(home, store.there)
    standby.look()
    monkeypatch.setattr(module, "SLOW_SECONDS", 0.0)
    hang, answered = threading.Event(), threading.Event()
    monkeypatch.setattr(module, "_mark", lambda c: (answered.set(), hang.wait(10), "")[2])
    looking = threading.Thread(target=standby.look)
    looking.start()
    answered.wait(10)
    assert standby.away == "the store does not answer"
    hang.set()
    looking.join()
    assert standby.away == ""
