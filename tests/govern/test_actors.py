"""Who it is, by real secrets in a real store."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from windlass.core.actor import OWNER, Actor
from windlass.core.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from windlass.core.ids import now_ns
from windlass.core.operations import Empty
from windlass.core.operations.system import KeyChange, KeyInfo, KeyQuery, KeyRequest
from windlass.govern import actors as module
from windlass.govern.actors import Actors
from windlass.govern.audit import verify
from windlass.govern.sessions import Session, Sessions
from windlass.store.home import Home
from windlass.store.meta import open_meta, read
from windlass.store.tables import audit, keys


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def engine(home: Home) -> Engine:
    return open_meta(home.database_url)


@pytest.fixture
def actors(home: Home, engine: Engine) -> Actors:
    return another(home, engine)


def another(home: Home, engine: Engine) -> Actors:
    """As another process of the same server has it."""
    return Actors(engine, Sessions(home.path / "run"), (home.token(), "the-owner-key"), home.signing_key(), "windlass_4747")


def bearer(secret: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def made(actors: Actors, **fields: object) -> KeyInfo:
    return actors.create(OWNER, KeyRequest(**{"name": "ci", **fields}))  # type: ignore[arg-type]


def test_the_owner_is_known_by_the_token_and_by_the_owner_key(actors: Actors, home: Home) -> None:
    assert actors.authenticate(bearer(home.token())) == OWNER
    assert actors.authenticate({"x-api-key": "the-owner-key"}) == OWNER
    assert home.token() not in repr(vars(actors).keys())


@pytest.mark.parametrize("secret", ["", "nothing", "wl_", "wl_abc_def", "wlr_", "wlr_a.b", "wlr_!!.??", "wlo_x", "wl_é_ü"])
def test_unknown_secrets_are_nobody(actors: Actors, secret: str) -> None:
    with pytest.raises(Unauthenticated) as e:
        actors.authenticate(bearer(secret))
    assert e.value.remedy
    assert len(secret) < 4 or secret not in str(e.value)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"x-api-key": ""},
        {"authorization": "Basic abc"},
        {"cookie": "windlass_4747=stolen"},
        {"cookie": "other=1"},
        {"cookie": '"'},
    ],
)
def test_no_secret_is_nobody(actors: Actors, headers: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated):
        actors.authenticate(headers)


def test_a_key_is_told_once_and_kept_as_a_hash(actors: Actors, engine: Engine) -> None:
    info = made(actors, role="developer", project="shop", scopes=("release/answer",))
    assert info.secret and info.secret.startswith(f"wl_{info.id}_")
    assert actors.authenticate(bearer(info.secret)) == Actor(f"key:{info.id}", "developer", "shop", ("release/answer",))
    (listed,) = actors.list(OWNER, Empty()).items
    assert listed.secret is None and listed.scopes == ("release/answer",)
    with read(engine) as c:
        stored = repr([tuple(row) for row in c.execute(select(keys))]) + repr([tuple(row) for row in c.execute(select(audit))])
        assert verify(c) is None
    assert info.secret.rpartition("_")[2] not in stored


@pytest.mark.parametrize("place", [5, 17, 20, -1])
def test_one_changed_character_is_another_key(actors: Actors, place: int) -> None:
    secret = made(actors).secret
    assert secret
    changed = list(secret)
    changed[place] = "A" if changed[place] != "A" else "B"
    with pytest.raises(Unauthenticated):
        actors.authenticate(bearer("".join(changed)))


def test_a_revoked_key_opens_nothing_here_at_once_and_elsewhere_soon(
    actors: Actors, home: Home, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = made(actors)
    elsewhere = another(home, engine)
    assert elsewhere.authenticate(bearer(info.secret)) == actors.authenticate(bearer(info.secret))
    assert actors.revoke(OWNER, KeyQuery(info.id)).revoked_ns
    with pytest.raises(Unauthenticated, match="revoked"):
        actors.authenticate(bearer(info.secret))
    later = time.monotonic() + module.KEPT_SECONDS
    monkeypatch.setattr(module.time, "monotonic", lambda: later)
    with pytest.raises(Unauthenticated, match="revoked"):
        elsewhere.authenticate(bearer(info.secret))
    again = actors.revoke(OWNER, KeyQuery(info.id))
    assert again.revoked_ns == actors.list(OWNER, Empty()).items[0].revoked_ns


def test_an_expired_key_opens_nothing(actors: Actors, monkeypatch: pytest.MonkeyPatch) -> None:
    info = made(actors, expires_ns=now_ns() + 10**12)
    assert actors.authenticate(bearer(info.secret)).role == "caller"
    monkeypatch.setattr(module, "now_ns", lambda: (info.expires_ns or 0) + 1)
    actors._known.clear()
    with pytest.raises(Unauthenticated, match="expired"):
        actors.authenticate(bearer(info.secret))


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"name": " "}, "name"),
        ({"role": "run"}, "role"),
        ({"role": "boss"}, "role"),
        ({"expires_ns": 1}, "expires_ns"),
        ({"scopes": ("answer",)}, "scopes"),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(actors: Actors, fields: dict[str, object], where: str) -> None:
    with pytest.raises(Invalid) as e:
        made(actors, **fields)
    assert e.value.where == where
    assert actors.list(OWNER, Empty()).items == ()


@pytest.mark.parametrize("role", ["developer", "viewer", "caller", "run"])
def test_only_an_owner_touches_keys(actors: Actors, role: str) -> None:
    actor = Actor("somebody", role)  # type: ignore[arg-type]
    info = made(actors)
    for attempt in (
        lambda: actors.create(actor, KeyRequest("x")),
        lambda: actors.list(actor, Empty()),
        lambda: actors.revoke(actor, KeyQuery(info.id)),
        lambda: actors.revoke(actor, KeyQuery("unknown")),
    ):
        with pytest.raises(Forbidden):
            attempt()
    assert actors.authenticate(bearer(info.secret))
    with pytest.raises(NotFound):
        actors.revoke(OWNER, KeyQuery("unknown"))


def test_a_role_and_an_end_are_changed_and_hold_at_once(
    actors: Actors, home: Home, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = made(actors, role="developer")
    elsewhere = another(home, engine)
    for each in (actors, elsewhere):
        assert each.authenticate(bearer(info.secret)).role == "developer"
    changed = actors.change(OWNER, KeyChange(info.id[-6:], "viewer"))
    assert (changed.role, changed.secret, actors.authenticate(bearer(info.secret)).role) == ("viewer", None, "viewer")
    later = time.monotonic() + module.KEPT_SECONDS
    monkeypatch.setattr(module.time, "monotonic", lambda: later)
    assert elsewhere.authenticate(bearer(info.secret)).role == "viewer"
    end = now_ns() + 10**12
    assert actors.change(OWNER, KeyChange(info.id, expires_ns=end)).expires_ns == end
    assert actors.change(OWNER, KeyChange(info.id, "caller")).expires_ns == end
    assert actors.change(OWNER, KeyChange(info.id, forever=True)).expires_ns is None
    for wrong in (KeyChange(info.id), KeyChange(info.id, "grant"), KeyChange(info.id, "boss"), KeyChange(info.id, expires_ns=1)):  # type: ignore[arg-type]
        with pytest.raises(Invalid):
            actors.change(OWNER, wrong)
    actors.revoke(OWNER, KeyQuery(info.id))
    with pytest.raises(Invalid, match="revoked, for good"):
        actors.change(OWNER, KeyChange(info.id, "owner"))
    for role in ("developer", "viewer"):
        with pytest.raises(Forbidden):
            actors.change(Actor("somebody", role), KeyChange(info.id, "owner"))  # type: ignore[arg-type]


def test_the_last_owner_does_not_lock_everyone_out(actors: Actors) -> None:
    ann = made(actors, name="ann", role="owner")
    by_ann = actors.of_secret(ann.secret or "")
    made(actors, name="old", role="owner", expires_ns=now_ns() + 10**8)
    time.sleep(0.15)  # which has expired
    for attempt in (
        lambda: actors.revoke(by_ann, KeyQuery(ann.id)),
        lambda: actors.change(by_ann, KeyChange(ann.id, "developer")),
        lambda: actors.change(by_ann, KeyChange(ann.id, expires_ns=now_ns() + 10**12)),
    ):
        with pytest.raises(Conflict, match="'ann' is the last key of an owner"):
            attempt()
    assert actors.change(by_ann, KeyChange(ann.id, "owner")).role == "owner"
    bob = made(actors, name="bob", role="owner")
    assert actors.change(by_ann, KeyChange(ann.id, "viewer")).role == "viewer"
    assert actors.revoke(OWNER, KeyQuery(bob.id)).revoked_ns, "who has the data folder is an owner without a key"


def test_two_owners_who_revoke_each_other_at_once_leave_one(actors: Actors) -> None:
    for _ in range(10):
        pair = [made(actors, name=name, role="owner") for name in ("ann", "bob")]
        people = [actors.of_secret(p.secret or "") for p in pair]

        def revoke(n: int, pair: list[KeyInfo] = pair, people: list[Actor] = people) -> bool:
            try:
                return bool(actors.revoke(people[n], KeyQuery(pair[1 - n].id)).revoked_ns)
            except Conflict:
                return False

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(revoke, (0, 1))) == [False, True]
        for p in pair:
            actors.revoke(OWNER, KeyQuery(p.id))


def test_the_list_says_who_made_a_key_and_when_its_holder_last_acted(actors: Actors) -> None:
    ann = made(actors, name="ann", role="owner")
    actors.create(actors.of_secret(ann.secret or ""), KeyRequest("app"))
    found = {k.name: k for k in actors.list(OWNER, Empty()).items}
    assert (found["ann"].made_by, found["app"].made_by) == ("owner", f"key:{ann.id}")
    assert found["ann"].acted_ns and found["app"].acted_ns is None and actors.list(OWNER, Empty()).owner_acted_ns


def test_a_run_token_names_its_run_and_ends(actors: Actors, monkeypatch: pytest.MonkeyPatch) -> None:
    token = actors.tokens.run("0190", "shop", 60)
    assert actors.authenticate(bearer(token)) == Actor("run:0190", "run", "shop", run="0190")
    with pytest.raises(Unauthenticated):
        actors.log_in(token)
    monkeypatch.setattr(module.time, "time", lambda real=time.time(): real + 62)
    with pytest.raises(Unauthenticated, match="ended"):
        actors.authenticate(bearer(token))


@given(data=st.data())
def test_a_run_token_cannot_be_altered(data: st.DataObject) -> None:
    signing = Actors(None, None, (), b"k" * 32, "c")  # type: ignore[arg-type]
    token = signing.tokens.run("0190", "shop", 60)
    place = data.draw(st.integers(4, len(token) - 1))
    letter = data.draw(st.sampled_from("ABCxyz019-_.").filter(lambda c: c != token[place]))
    with pytest.raises(Unauthenticated):
        signing.of_secret(token[:place] + letter + token[place + 1 :])
    with pytest.raises(Unauthenticated):
        Actors(None, None, (), b"j" * 32, "c").of_secret(token)  # type: ignore[arg-type]


def test_a_session_stands_for_who_opened_it(actors: Actors, home: Home) -> None:
    owner = actors.log_in(home.token())
    info = made(actors, role="viewer")
    assert info.secret
    viewer = actors.log_in(info.secret)
    assert actors.authenticate({"cookie": f"a=b; windlass_4747={owner}"}) == OWNER
    assert actors.authenticate({"cookie": f"windlass_4747={viewer}"}).role == "viewer"
    actors.revoke(OWNER, KeyQuery(info.id))
    with pytest.raises(Unauthenticated):
        actors.authenticate({"cookie": f"windlass_4747={viewer}"})
    actors.sessions.close(owner)
    with pytest.raises(Unauthenticated):
        actors.authenticate({"cookie": f"windlass_4747={owner}"})


def test_an_owners_session_ends_with_the_secret_that_opened_it(actors: Actors, home: Home, engine: Engine) -> None:
    def restarted(*secrets: str) -> Actors:
        return Actors(engine, Sessions(home.path / "run"), secrets, home.signing_key(), "windlass_4747")

    by_key, by_token, by_link = actors.log_in("the-owner-key"), actors.log_in(home.token()), actors.sessions.open()
    changed = restarted(home.token(), "another-owner-key")
    assert changed.authenticate({"cookie": f"windlass_4747={by_token}"}) == OWNER
    assert changed.authenticate({"cookie": f"windlass_4747={by_link}"}) == OWNER
    with pytest.raises(Unauthenticated, match="holds no longer"):
        changed.authenticate({"cookie": f"windlass_4747={by_key}"})
    assert restarted("the-owner-key").authenticate({"cookie": f"windlass_4747={by_key}"}) == OWNER
    kept = "".join(p.read_text() for p in (home.path / "run" / "sessions").iterdir())
    assert "the-owner-key" not in kept and home.token() not in kept


@pytest.mark.parametrize("others", ['theme={"dark": true}; ', "a b; ", "=; ;; ", 'x="unclosed; ', "windlass_47470=no; "])
def test_cookies_of_other_programs_on_this_host_are_no_obstacle(actors: Actors, others: str) -> None:
    session = actors.sessions.open()
    assert actors.authenticate({"cookie": f"{others}windlass_4747={session}"}) == OWNER


def test_sessions_and_links_are_made_by_many_at_once(home: Home) -> None:
    def many(_: int) -> list[str]:
        sessions = Sessions(home.path / "run")
        sessions.make_link()
        return [sessions.open() for _ in range(20)]

    with ThreadPoolExecutor(8) as pool:
        opened = [secret for some in pool.map(many, range(8)) for secret in some]
    assert all(Sessions(home.path / "run").find(secret) for secret in opened)


def test_a_link_is_spent_once_also_by_many_at_once(home: Home) -> None:
    sessions = Sessions(home.path / "run")
    link = sessions.make_link()
    with ThreadPoolExecutor(16) as pool:
        assert sorted(pool.map(lambda _: sessions.spend(link), range(64))) == [False] * 63 + [True]
    first, second = sessions.make_link(), sessions.make_link()
    assert not sessions.spend(first) and sessions.spend(second)
    assert not sessions.spend("../../token") and (home.path / "run").is_dir()


def test_sessions_end_and_leave_no_secret_on_disk(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(home.path / "run")
    secret = sessions.open()
    (kept,) = (home.path / "run" / "sessions").iterdir()
    assert secret not in kept.name and secret not in kept.read_text() and kept.stat().st_mode & 0o077 == 0
    assert isinstance(sessions.find(secret), Session)
    monkeypatch.setattr("windlass.govern.sessions.now_ns", lambda: now_ns() + 31 * 24 * 3600 * 10**9)
    assert sessions.find(secret) is None
    sessions.open()
    assert not kept.exists()
