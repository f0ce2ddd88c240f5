"""Who comes by OpenID Connect: what is believed, and that nothing else is. The provider here signs whatever a test wants; the certified one
is asked in `tests/doors/test_openid.py`."""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from sqlalchemy import Engine, select
from tests.govern.openid_server import Keys, Scripted, scripted

from windlass.core.actor import OWNER, Actor
from windlass.core.errors import Forbidden, Invalid, NotFound, Unauthenticated, Unavailable, WindlassError
from windlass.core.operations import Empty
from windlass.core.operations.audit import AuditQuery
from windlass.core.operations.people import PersonQuery, ProviderQuery
from windlass.core.operations.policy import PolicyQuestion
from windlass.core.operations.system import KeyRequest
from windlass.govern import openid_wire
from windlass.govern.actors import KEPT_SECONDS, Actors
from windlass.govern.audit import Audit, verify
from windlass.govern.openid import LONGEST, OpenId
from windlass.govern.people import People
from windlass.govern.rulings import Rulings
from windlass.govern.sessions import Sessions
from windlass.store.home import Home
from windlass.store.meta import open_meta, read
from windlass.store.tables import people as table

HERE = "https://windlass.example.com"
OWN, STRANGERS = Keys(), Keys()
BACK = f"{HERE}/login/company/back"
FILE = """
[[provider]]
name = "company"
issuer = "{issuer}"
client_id = "windlass"
client_secret_env = "OIDC_SECRET"
audience = "https://windlass.example.com"
hours = 12

[[provider.rule]]
claims = {{ groups = "ml-team" }}
role = "developer"
project = "shop"
"""


class Place:
    """A data folder whose oidc.toml names the scripted provider, as one process of a server has it."""

    def __init__(self, home: Home, engine: Engine, provider: Scripted) -> None:
        self.home, self.engine, self.provider = home, engine, provider
        self.openid = OpenId(home.path, {"OIDC_SECRET": "of-the-client"})
        sessions = Sessions(home.path / "run")
        self.people = People(engine, sessions, self.openid)
        self.actors = Actors(engine, sessions, (home.token(),), home.signing_key(), "windlass_4747", self.people)

    def write(self, text: str = FILE) -> None:
        (self.home.path / "oidc.toml").write_text(text.format(issuer=self.provider.issuer))

    def log_in(self, **said: str) -> str:
        url, pending = self.openid.begin("company", BACK, "/")
        return self.people.log_in("company", pending, self.provider.come_back(url) | said)[0]

    def of_cookie(self, secret: str) -> Actor:
        return self.actors.authenticate({"cookie": f"windlass_4747={secret}"})

    def of_token(self, token: str) -> Actor:
        return self.actors.authenticate({"authorization": f"Bearer {token}"})


@pytest.fixture
def provider() -> Iterator[Scripted]:
    with scripted(OWN) as made:
        yield made


@pytest.fixture
def place(tmp_path: Path, provider: Scripted) -> Place:
    home = Home(tmp_path / "home")
    (home.path / "oidc.toml").write_text(FILE.format(issuer=provider.issuer))
    return Place(home, open_meta(home.database_url), provider)


def machine(provider: Scripted, **given: Any) -> dict[str, Any]:
    return provider.claims(aud=HERE, sub="repo:org/app:ref:refs/heads/main", **given)


# people


def test_somebody_logs_in_and_is_who_the_rules_say(place: Place, provider: Scripted) -> None:
    provider.change = lambda claims: claims | {"name": "Ann Lee", "email": "ann@a.example"}
    actor = place.of_cookie(place.log_in())
    assert actor == Actor("oidc:company:ann", "developer", "shop")
    (person,) = place.people.list(OWNER, Empty()).items
    assert (person.name, person.role, person.machine, len(person.sessions)) == ("Ann Lee (ann@a.example)", "developer", False, 1)
    (entry,) = Audit(place.engine).list(OWNER, AuditQuery(project="shop")).items
    assert (entry.action, entry.actor, entry.name) == ("people.login", "oidc:company:ann", "Ann Lee (ann@a.example)")
    with read(place.engine) as c:
        assert verify(c) is None
        kept = json.loads(c.execute(select(table.c.claims)).scalar_one())
    assert kept == {"groups": ["ml-team"]}  # what no rule looks at is not kept
    assert [f["code_verifier"] for f in provider.forms] and provider.forms[0]["redirect_uri"] == BACK


def test_the_way_there_says_what_it_must(place: Place) -> None:
    url, pending = place.openid.begin("company", BACK, "/")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert asked["response_type"] == "code" and asked["code_challenge_method"] == "S256" and asked["scope"] == "openid profile email"
    assert asked["redirect_uri"] == BACK and asked["state"] == pending.state and asked["nonce"] == pending.nonce
    assert pending.verifier not in url and "of-the-client" not in url and len(pending.verifier) >= 43


def test_whom_no_rule_lets_in_is_told_what_was_looked_at(place: Place, provider: Scripted) -> None:
    provider.change = lambda claims: claims | {"groups": ["secret-group"], "name": "Eve"}
    with pytest.raises(Forbidden, match=r"looked at: groups \(no match\)") as refused:
        place.log_in()
    assert "secret-group" not in str(refused.value) and "ml-team" not in str(refused.value)
    assert place.people.list(OWNER, Empty()).items == ()
    provider.change = lambda claims: {n: v for n, v in claims.items() if n != "groups"}
    with pytest.raises(Forbidden, match=r"groups \(not told\)"):
        place.log_in()


def test_the_role_is_found_anew_at_each_log_in_and_holds_for_every_browser(place: Place, provider: Scripted) -> None:
    first = place.log_in()
    provider.change = lambda claims: claims | {"groups": ["others"]}
    with pytest.raises(Forbidden):
        place.log_in()
    with pytest.raises(Unauthenticated, match=r"no rule of oidc\.toml lets ann in any more"):
        place.of_cookie(first)


def test_a_rule_that_is_changed_holds_at_once(place: Place) -> None:
    secret = place.log_in()
    place.write(FILE.replace("developer", "viewer"))
    assert place.of_cookie(secret).role == "viewer"
    place.write(FILE.replace("ml-team", "ml-gone"))  # of the same length
    with pytest.raises(Unauthenticated, match="no rule"):
        place.of_cookie(secret)
    place.write(FILE.replace("groups", "team"))
    with pytest.raises(Unauthenticated):  # nothing is known of a claim that nobody looked at
        place.of_cookie(secret)
    place.write("")
    with pytest.raises(Unauthenticated, match="names no provider 'company' any more"):
        place.of_cookie(secret)
    place.write(FILE.replace("{issuer}", "https://other.example"))
    with pytest.raises(Unauthenticated, match="another provider now"):
        place.of_cookie(secret)
    place.write("[[provider]]\nname = 7")
    with pytest.raises(Invalid, match="Expected `str`, got `int`"):
        place.of_cookie(secret)
    assert place.of_token(place.home.token()) == OWNER  # keys go on
    place.write()
    assert place.of_cookie(secret).role == "developer"


def test_a_session_ends_after_so_many_hours(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = place.log_in()
    began = time.time_ns()
    monkeypatch.setattr("windlass.govern.people.now_ns", lambda: began + 2 * 3600 * 10**9)
    assert place.of_cookie(secret).role == "developer"
    place.write(FILE.replace("hours = 12", "hours = 1"))
    with pytest.raises(Unauthenticated, match="has ended"):
        place.of_cookie(secret)
    place.write()
    monkeypatch.setattr("windlass.govern.sessions.now_ns", lambda: began + 13 * 3600 * 10**9)
    with pytest.raises(Unauthenticated, match="has ended"):
        place.of_cookie(secret)


def test_whoever_is_blocked_is_out_everywhere(place: Place, provider: Scripted) -> None:
    other = Place(place.home, place.engine, provider)  # another process
    provider.change = lambda claims: claims | {"sub": "ann"}
    secrets = [place.log_in(), other.log_in()]
    token = provider.keys.sign(provider.claims(aud=HERE))
    assert other.of_token(token).id == "oidc:company:ann"
    person = place.people.block(OWNER, PersonQuery("ann"))
    assert person.blocked_ns and person.blocked_by == "owner" and person.role is None
    for secret in secrets:
        with pytest.raises(Unauthenticated):
            other.of_cookie(secret)
    time.sleep(KEPT_SECONDS)
    with pytest.raises(Unauthenticated, match="ann is blocked here"):
        other.of_token(token)
    with pytest.raises(Unauthenticated, match="ann is blocked here"):
        other.log_in()
    asked = PolicyQuestion("oidc:company:ann", "read", project="shop")
    assert Rulings(place.actors).why(OWNER, asked).rule == "person"
    assert place.people.admit(OWNER, PersonQuery("oidc:company:ann")).role == "developer"
    with pytest.raises(Unauthenticated):  # what was open stays closed
        place.of_cookie(secrets[0])
    assert place.of_cookie(place.log_in()).role == "developer"
    assert Rulings(place.actors).why(OWNER, asked).allowed
    did = [e.action for e in Audit(place.engine).list(OWNER, AuditQuery(actor="owner")).items]
    assert did == ["people.admit", "people.block"]


def test_only_an_owner_asks_about_people(place: Place) -> None:
    place.log_in()
    for actor in (Actor("oidc:company:ann", "developer", "shop"), Actor("app", "caller")):
        for ask in (
            lambda a: place.people.list(a, Empty()), lambda a: place.people.block(a, PersonQuery("ann")),
            lambda a: place.people.admit(a, PersonQuery("ann")), lambda a: place.people.providers(a, ProviderQuery()),
        ):  # fmt: skip
            with pytest.raises(Forbidden):
                ask(actor)
    with pytest.raises(NotFound):
        place.people.block(OWNER, PersonQuery("nobody"))


def test_whoever_logged_in_counts_among_those_who_may_and_a_machine_does_not(place: Place, provider: Scripted) -> None:
    place.log_in()
    place.of_token(provider.keys.sign(machine(provider)))
    key = place.actors.create(OWNER, KeyRequest("bob", "developer", "shop"))
    with read(place.engine) as c:
        assert place.actors.able(c, "deploy", "shop").keys() == {"owner", f"key:{key.id}", "oidc:company:ann"}
        assert place.actors.able(c, "deploy", "default").keys() == {"owner"}
    place.people.block(OWNER, PersonQuery("ann"))
    with read(place.engine) as c:
        assert "oidc:company:ann" not in place.actors.able(c, "deploy", "shop")


# machines


def test_a_machine_shows_its_token_as_a_key(place: Place, provider: Scripted) -> None:
    actor = place.of_token(provider.keys.sign(machine(provider)))
    assert actor == Actor("oidc:company:repo:org/app:ref:refs/heads/main", "developer", "shop")
    (found,) = place.people.list(OWNER, Empty()).items
    assert found.machine and found.name == "repo:org/app:ref:refs/heads/main"
    place.people.block(OWNER, PersonQuery(found.id))
    with pytest.raises(Unauthenticated, match="is blocked"):
        place.of_token(provider.keys.sign(machine(provider) | {"jti": "2"}))
    with pytest.raises(Unauthenticated, match=r"looked at: groups \(no match\)"):
        place.of_token(provider.keys.sign(machine(provider, groups=["others"]) | {"sub": "other"}))
    assert len(place.people.list(OWNER, Empty()).items) == 1
    with pytest.raises(Unauthenticated, match="is for programs"):
        place.actors.log_in(provider.keys.sign(machine(provider) | {"sub": "third"}))


def test_who_logs_in_by_a_provider_without_an_audience_has_no_key_by_it(place: Place, provider: Scripted) -> None:
    token = provider.keys.sign(provider.claims())  # what tells who logged in
    with pytest.raises(Unauthenticated, match="made for somebody else"):
        place.of_token(token)
    place.write(FILE.replace('audience = "https://windlass.example.com"\n', ""))
    with pytest.raises(Unauthenticated, match="no provider that is known here"):
        place.of_token(token)


def public_pem(provider: Scripted) -> bytes:
    key = provider.keys.private["RS256"].public_key()
    return bytes(key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))


def hmac_with(provider: Scripted, claims: dict[str, Any], secret: bytes) -> str:
    """A token as libraries refuse to make it: signed by HMAC with what everybody knows."""
    import hashlib
    import hmac

    def part(value: object) -> bytes:
        return jwt.utils.base64url_encode(json.dumps(value).encode())

    signed = part({"alg": "HS256", "kid": "rs256-1", "typ": "JWT"}) + b"." + part(claims)
    return (signed + b"." + jwt.utils.base64url_encode(hmac.digest(secret, signed, hashlib.sha256))).decode()


def spliced(signed: str, other: str) -> str:
    """The claims of one token under the signature of another."""
    return ".".join((signed.split(".")[0], other.split(".")[1], signed.split(".")[2]))


NOW = time.time
FORGED: dict[str, tuple[Callable[[Scripted, dict[str, Any]], str], str]] = {
    "alg none": (lambda p, c: jwt.encode(c, None, "none", headers={"kid": "rs256-1"}), "not signed as it must be"),
    "HMAC with the public key": (lambda p, c: hmac_with(p, c, public_pem(p)), "not signed as it must be"),
    "HMAC with the key set": (lambda p, c: hmac_with(p, c, json.dumps(p.keys.jwks()).encode()), "not signed as it must be"),
    "another's signature": (lambda p, c: STRANGERS.sign(c), "not genuine"),
    "another kind of key of that name": (lambda p, c: p.keys.sign(c, "ES256", kid="rs256-1"), "not genuine"),
    "an unknown key": (lambda p, c: p.keys.sign(c, kid="rs256-2"), "signed with a key that company does not have"),
    "no key named": (lambda p, c: jwt.encode(c, p.keys.private["RS256"], "RS256"), "signed with a key that company does not have"),
    "a key of its own": (lambda p, c: STRANGERS.sign(c, jwk=STRANGERS.jwks()["keys"][0], jku="http://127.0.0.1:1/"), "not genuine"),
    "its claims changed": (lambda p, c: spliced(p.keys.sign(c), p.keys.sign(c | {"sub": "somebody-else"})), "not genuine"),
    "another issuer": (lambda p, c: p.keys.sign(c | {"iss": "https://evil.example"}), "(no provider that is known|another issuer)"),
    "an issuer nearly right": (lambda p, c: p.keys.sign(c | {"iss": p.issuer + "/"}), "(no provider that is known|another issuer)"),
    "another audience": (lambda p, c: p.keys.sign(c | {"aud": "https://other.example"}), "made for somebody else"),
    "no audience": (lambda p, c: p.keys.sign({n: v for n, v in c.items() if n != "aud"}), "(for whom|its aud)"),
    "expired": (lambda p, c: p.keys.sign(c | {"iat": NOW() - 900, "exp": NOW() - 300}), "has expired"),
    "no end": (lambda p, c: p.keys.sign({n: v for n, v in c.items() if n != "exp"}), "does not say its exp"),
    "not valid yet": (lambda p, c: p.keys.sign(c | {"nbf": NOW() + 300}), "not valid yet"),
    "of the future": (lambda p, c: p.keys.sign(c | {"iat": NOW() + 300, "exp": NOW() + 600}), "not valid yet"),
    "no beginning": (lambda p, c: p.keys.sign({n: v for n, v in c.items() if n != "iat"}), "does not say its iat"),
    "of nobody": (lambda p, c: p.keys.sign({n: v for n, v in c.items() if n != "sub"}), "does not say its sub"),
    "of an empty name": (lambda p, c: p.keys.sign(c | {"sub": " "}), "does not say whose it is"),
    "of a number": (lambda p, c: p.keys.sign(c | {"sub": 7}), "does not say whose it is"),
    "of a name over two lines": (lambda p, c: p.keys.sign(c | {"sub": "ann\nowner"}), "does not say whose it is"),
    "enormous": (lambda p, c: p.keys.sign(c | {"more": "x" * LONGEST}), "longer than 16,384 characters"),
    "with a header it says is critical": (lambda p, c: p.keys.sign(c, crit=["b64x"], b64x=True), "not genuine"),
}


@pytest.mark.parametrize("how", FORGED)
def test_a_forged_token_is_no_key(place: Place, provider: Scripted, how: str) -> None:
    make, said = FORGED[how]
    assert place.of_token(provider.keys.sign(machine(provider))).role == "developer"
    with pytest.raises(Unauthenticated, match=said) as refused:
        place.of_token(make(provider, machine(provider)))
    assert "eyJ" not in str(refused.value)


@pytest.mark.parametrize("how", FORGED)
def test_nobody_logs_in_with_a_forged_token(place: Place, provider: Scripted, how: str) -> None:
    make, said = FORGED[how]
    provider.sign = lambda claims: make(provider, claims)
    with pytest.raises(Unauthenticated, match=said):
        place.log_in()
    assert place.people.list(OWNER, Empty()).items == ()
    assert not any((place.home.path / "run" / "sessions").iterdir())


@pytest.mark.parametrize(
    "text", ["eyJ..", "eyJ.e.e", "eyJhbGciOiJSUzI1NiJ9.e30.AA", "eyJ" + "." * 2 + "\x00", "eyJ9.eyJ9.é", "eyJ." + "[" * 9000 + "."]
)
def test_what_only_looks_like_a_token_is_refused_in_a_sentence(place: Place, text: str) -> None:
    with pytest.raises(Unauthenticated):
        place.of_token(text)


def test_an_old_token_that_never_ends_is_refused(place: Place, provider: Scripted) -> None:
    with pytest.raises(Unauthenticated, match="older than 12 hours"):
        place.of_token(provider.keys.sign(machine(provider) | {"iat": NOW() - 13 * 3600, "exp": NOW() + 10**9}))


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_each_kind_of_signature_is_understood(place: Place, provider: Scripted, alg: str) -> None:
    assert place.of_token(provider.keys.sign(machine(provider), alg)).role == "developer"


# the way back


def test_a_log_in_belongs_to_the_browser_that_began_it(place: Place, provider: Scripted) -> None:
    url, mine = place.openid.begin("company", BACK, "/")
    _, other = place.openid.begin("company", BACK, "/")
    said = provider.come_back(url)
    with pytest.raises(Unauthenticated, match="not begun in this browser"):
        place.people.log_in("company", None, said)
    with pytest.raises(Unauthenticated, match="belongs to another log-in"):
        place.people.log_in("company", other, said)
    for state in ({}, {"state": ""}, {"state": "é"}):
        with pytest.raises(Unauthenticated, match="belongs to another log-in"):
            place.people.log_in("company", mine, {n: v for n, v in said.items() if n != "state"} | state)
    with pytest.raises(Unauthenticated, match="nobody logs in by that name"):
        place.people.log_in("nobody", mine, said)
    assert provider.asked.get("/token") is None  # none of these was asked about


def test_the_code_of_another_log_in_gives_a_token_with_its_nonce(place: Place, provider: Scripted) -> None:
    theirs, _ = place.openid.begin("company", BACK, "/")
    url, mine = place.openid.begin("company", BACK, "/")
    stolen = provider.come_back(theirs)["code"]
    with pytest.raises(Unauthenticated, match="made for another log-in"):
        place.people.log_in("company", mine, provider.come_back(url) | {"code": stolen})
    provider.change = lambda claims: {n: v for n, v in claims.items() if n != "nonce"}
    with pytest.raises(Unauthenticated, match="made for another log-in"):
        place.log_in()


def test_answers_of_another_party_are_refused(place: Place, provider: Scripted) -> None:
    with pytest.raises(Unauthenticated, match="another provider"):
        place.log_in(iss="https://evil.example")
    assert place.log_in(iss=provider.issuer)
    provider.change = lambda claims: claims | {"aud": ["windlass", "other"], "azp": "other"}
    with pytest.raises(Unauthenticated, match="another application"):
        place.log_in()


def test_a_provider_that_lets_nobody_in_says_why_without_more(place: Place) -> None:
    with pytest.raises(Unauthenticated, match="did not let you in: you said no <b>") as refused:
        place.log_in(error="access_denied", error_description="you said\nno <b>" + "x" * 900)
    assert len(refused.value.message) < 300


def test_what_a_browser_keeps_is_signed_and_ends(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = place.actors.tokens
    _, pending = place.openid.begin("company", BACK, "/")
    kept = tokens.login(pending)
    assert tokens.read_login(kept) == pending
    for wrong in (kept[:-2] + "xx", kept.replace("wll_", "wlg_"), "", "wll_", tokens.grant("g", "default", "a", int(time.time()) + 60)):
        assert tokens.read_login(wrong) is None
    with pytest.raises(Unauthenticated):
        place.actors.of_secret(kept)
    later = time.time() + 601
    monkeypatch.setattr("windlass.govern.openid.time.time", lambda: later)
    with pytest.raises(Unauthenticated, match="too long ago"):
        place.people.log_in("company", pending, {"state": pending.state, "code": "x"})


def test_what_userinfo_tells_counts_only_of_the_same_person(place: Place, provider: Scripted) -> None:
    usual = provider.published()
    provider.published = lambda: usual | {"userinfo_endpoint": provider.issuer + "/me"}  # type: ignore[method-assign]
    provider.answers["/me"] = (200, b'{"sub": "ann", "groups": ["ml-team"], "name": "Ann", "iss": "x"}')
    provider.change = lambda claims: claims | {"groups": None}
    tokens = openid_wire.Wire.tokens_of
    place.openid.wire().tokens_of = lambda *a: tokens(place.openid.wire(), *a) | {"access_token": "t"}  # type: ignore[method-assign]
    with pytest.raises(Forbidden):  # told, in the token: nothing. That counts
        place.log_in()
    provider.change = lambda claims: {n: v for n, v in claims.items() if n != "groups"}
    assert place.of_cookie(place.log_in()).role == "developer"
    provider.answers["/me"] = (200, b'{"sub": "eve", "groups": ["ml-team"], "name": "Eve"}')
    with pytest.raises(Unauthenticated, match="told of somebody else"):
        place.log_in()


# what a provider publishes


def test_keys_that_change_are_read_again_and_not_too_often(place: Place, provider: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    place.of_token(provider.keys.sign(machine(provider)))
    assert provider.asked["/jwks"] == 1
    old, provider.keys = provider.keys, Keys("2")
    for _ in range(5):
        with pytest.raises(Unauthenticated, match="does not have"):
            place.of_token(provider.keys.sign(machine(provider)))
    assert provider.asked["/jwks"] == 1  # just read
    monkeypatch.setattr(openid_wire, "AGAIN_SECONDS", 0.0)
    assert place.of_token(provider.keys.sign(machine(provider) | {"jti": "1"})).role == "developer"
    assert provider.asked["/jwks"] == 2
    monkeypatch.undo()
    with pytest.raises(Unauthenticated, match="does not have"):  # what was taken away opens nothing
        place.of_token(old.sign(machine(provider) | {"jti": "2"}))


def test_keys_are_not_believed_for_ever(place: Place, provider: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    place.of_token(provider.keys.sign(machine(provider)))
    monkeypatch.setattr(openid_wire, "KEPT_SECONDS", 0.0)
    monkeypatch.setattr(openid_wire, "AGAIN_SECONDS", 0.0)
    provider.keys = Keys("1")
    assert place.of_token(provider.keys.sign(machine(provider))).role == "developer"


@pytest.mark.parametrize(
    ("path", "answer", "said"),
    [
        ("/jwks", (500, b"{}"), "status 500"),
        ("/jwks", (302, b"{}"), "status 302"),
        ("/jwks", (200, b"<html>"), "no JSON object"),
        ("/jwks", (200, b'{"keys": []}'), "has no key"),
        ("/jwks", (200, b'{"keys": [{"kty": "oct", "kid": "rs256-1", "k": "AAAA"}, 7, {"kty": "RSA"}]}'), "has no key"),
        ("/jwks", (200, b'{"keys": ["' + b"x" * 600_000 + b'"]}'), "more than 512,000 bytes"),
        ("/.well-known/openid-configuration", (404, b"{}"), "status 404"),
        ("/.well-known/openid-configuration", (200, b'{"issuer": "https://evil.example", "jwks_uri": "x"}'), "calls itself 'https://evil"),
        ("/.well-known/openid-configuration", (200, b'{"issuer": 7}'), "no OpenID configuration"),
    ],
)
def test_a_provider_that_cannot_be_asked_is_said_to_be_away(
    place: Place, provider: Scripted, path: str, answer: tuple[int, bytes], said: str
) -> None:
    provider.answers[path] = answer
    token = provider.keys.sign(machine(provider))
    for _ in range(3):
        with pytest.raises(Unavailable, match=said):
            place.of_token(token)
    assert provider.asked[path] == 1  # remembered for a while
    with pytest.raises(Unavailable):
        place.openid.begin("company", BACK, "/")
    assert place.of_token(place.home.token()) == OWNER
    key = place.actors.create(OWNER, KeyRequest("ci", "developer")).secret
    assert place.of_cookie(place.actors.log_in(key or "")).role == "developer"


def test_one_that_is_gone_or_hangs_or_drips_is_given_up(place: Place, provider: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openid_wire, "SECONDS", 0.5)
    provider.hang = 2.0
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="company cannot be asked"):
        place.of_token(provider.keys.sign(machine(provider)))
    assert time.monotonic() - begun < 1.5
    place.write(FILE.replace("{issuer}", "http://127.0.0.1:9"))
    with pytest.raises(Unavailable, match="company cannot be asked"):
        place.openid.begin("company", BACK, "/")


@pytest.mark.parametrize("name", ["jwks_uri", "token_endpoint", "authorization_endpoint"])
@pytest.mark.parametrize("url", ["http://a.example/x", "file:///etc/passwd", "https://u:p@a.example/", "//a.example", "https://"])
def test_a_provider_leads_to_no_other_scheme(place: Place, provider: Scripted, name: str, url: str) -> None:
    usual = provider.published()
    provider.published = lambda: usual | {name: url}  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match=f"its {name} is no https address"):
        place.openid.begin("company", BACK, "/")


def test_a_public_provider_leads_nowhere_inside_and_none_to_a_machines_credentials(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    public = place.openid.provider("company")
    monkeypatch.setattr(openid_wire, "_inside", lambda provider: False)
    with pytest.raises(Forbidden, match="which is private"):
        place.openid.begin("company", BACK, "/")
    monkeypatch.setattr(openid_wire, "_inside", lambda provider: True)
    with pytest.raises(Forbidden, match="no provider may ask"):
        openid_wire._send(public, "GET", "http://169.254.169.254/latest")


def test_where_a_name_leads_is_looked_at_again_before_anything_is_sent(
    place: Place, provider: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openid_wire, "_inside", lambda provider: False)
    monkeypatch.setattr(openid_wire, "addresses_of", lambda *_: [ipaddress.ip_address("93.184.215.14")])
    with pytest.raises(Forbidden, match="which is private"):
        place.openid.begin("company", BACK, "/")
    assert provider.asked == {}


def test_a_client_the_provider_does_not_know_is_told_to_whoever_set_it_up(place: Place, provider: Scripted) -> None:
    provider.answers["/token"] = (401, b'{"error": "invalid_client"}')
    with pytest.raises(Unavailable, match="does not know this server") as refused:
        place.log_in()
    assert "of-the-client" not in str(refused.value)
    provider.answers["/token"] = (400, b'{"error": "invalid_grant"}')
    with pytest.raises(Unauthenticated, match="used already, or is too old"):
        place.log_in()


# what is missing


def test_the_secret_is_named_and_never_shown(place: Place, tmp_path: Path) -> None:
    provider = place.openid.provider("company")
    assert provider.secret({"OIDC_SECRET": " s \n"}, tmp_path) == "s"
    with pytest.raises(Unavailable, match="the variable OIDC_SECRET is empty"):
        provider.secret({}, tmp_path)
    place.write(FILE.replace('client_secret_env = "OIDC_SECRET"', 'client_secret_file = "the-secret"'))
    (state,) = place.people.providers(OWNER, ProviderQuery(reach=True)).items
    assert "cannot be read, or is empty" in state.problem
    (place.home.path / "the-secret").write_text("of-the-client\n")
    (state,) = place.people.providers(OWNER, ProviderQuery(reach=True)).items
    assert state.problem == "" and "of-the-client" not in repr(state)


def test_a_server_without_the_library_says_how_to_have_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cryptography", None)
    with pytest.raises(WindlassError, match="is not installed here") as refused:
        place.openid.begin("company", BACK, "/")
    assert refused.value.remedy == 'pip install "windlass[oidc]"'
