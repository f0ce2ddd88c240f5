"""`oidc.toml`: what is refused, in which words, and what fits a rule."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.govern.test_openid import FILE

from windlass.core.errors import Invalid, Unauthenticated
from windlass.govern.openid import OpenId


def test_without_a_file_nothing_is_there(tmp_path: Path) -> None:
    openid = OpenId(tmp_path, {})
    assert openid.providers() == () and openid._wire is None
    with pytest.raises(Unauthenticated, match="no provider that is known here"):
        openid.bearer("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4IiwiYXVkIjoieSJ9.AA")
    assert openid._wire is None


GOOD = FILE.format(issuer="https://id.example.com")
WRONG = {
    "not TOML": ("[[provider", "not TOML"),
    "a secret in it": (GOOD.replace('_env = "OIDC_SECRET"', ' = "hunter2"'), "client_secret_env names a variable"),
    "a word nobody knows": (GOOD.replace("hours", "days"), "unknown field `days`"),
    "a role nobody has": (GOOD.replace("developer", "admin"), "Invalid enum value 'admin'"),
    "the role of a run": (GOOD.replace("developer", "run"), "Invalid enum value 'run'"),
    "an issuer without TLS": (GOOD.replace("https://id", "http://id"), "http:// is for this machine only"),
    "no address": (GOOD.replace("https://id.example.com", "company"), "no address of a provider"),
    "a name for a path": (GOOD.replace('"company"', '"a/b"'), "small letters"),
    "for nobody": ('[[provider]]\nname = "company"\nissuer = "https://id.example.com"\n', "for nobody"),
    "an audience that is the client": (GOOD.replace('"https://windlass.example.com"', '"windlass"'), "is a client_id"),
    "two of a name": (GOOD + GOOD, "two providers are named 'company'"),
    "a rule for everybody": (GOOD.replace('{ groups = "ml-team" }', "{}"), "everybody would fit"),
    "a rule for nothing": (GOOD.replace('"ml-team"', '""'), "everybody would fit"),
    "two secrets": (GOOD.replace("hours", 'client_secret_file = "x"\nhours'), "has two secrets"),
    "no openid": (GOOD.replace("hours", 'scopes = "email"\nhours'), "have no openid"),
    "for ever": (GOOD.replace("hours = 12", "hours = 9999"), "<= 720"),
    "a project that is none": (GOOD.replace('"shop"', '"a b"'), "project"),
}  # fmt: skip


@pytest.mark.parametrize("how", WRONG)
def test_a_file_that_is_wrong_says_what_where_and_how_to_mend_it(tmp_path: Path, how: str) -> None:
    text, said = WRONG[how]
    (tmp_path / "oidc.toml").write_text(text)
    with pytest.raises(Invalid) as refused:
        OpenId(tmp_path, {})
    assert said in str(refused.value) and "hunter2" not in str(refused.value)
    assert refused.value.where and refused.value.remedy


@pytest.mark.parametrize(
    ("rule", "claims", "fits"),
    [
        ('{ groups = "a" }', {"groups": ["b", "a"]}, True),
        ('{ groups = "a" }', {"groups": "a"}, True),
        ('{ groups = "a" }', {"groups": ["aa", 7, None]}, False),
        ('{ groups = "a" }', {"groups": {"a": 1}}, False),
        ('{ groups = "7" }', {"groups": 7}, False),
        ('{ groups = "a" }', {}, False),
        ('{ "realm_access.roles" = "a" }', {"realm_access": {"roles": ["a"]}}, True),
        ('{ "https://a.b/roles" = "a" }', {"https://a.b/roles": ["a"]}, True),
        ('{ "realm.roles" = "a" }', {"realm": "a"}, False),
        ('{ repository = "o/a", ref = "refs/heads/main" }', {"repository": "o/a", "ref": "refs/heads/main"}, True),
        ('{ repository = "o/a", ref = "refs/heads/main" }', {"repository": "o/a", "ref": "refs/heads/other"}, False),
        ("{ admin = true }", {"admin": True}, True),
        ("{ admin = true }", {"admin": "true"}, True),
        ("{ admin = true }", {"admin": 1}, False),
        ("{ admin = false }", {}, False),
        ('{ email = "a@b.example" }', {"email": "a@b.example"}, False),
        ('{ email = "a@b.example" }', {"email": "a@b.example", "email_verified": False}, False),
        ('{ email = "a@b.example" }', {"email": "a@b.example", "email_verified": True}, True),
    ],
)
def test_what_fits_a_rule(tmp_path: Path, rule: str, claims: dict[str, Any], fits: bool) -> None:
    (tmp_path / "oidc.toml").write_text(GOOD.replace('{ groups = "ml-team" }', rule))
    provider = OpenId(tmp_path, {}).provider("company")
    assert (provider.ruled(claims) is not None) == fits
    assert (provider.ruled(json.loads(json.dumps(provider.kept(claims)))) is not None) == fits  # and what is kept is enough


def test_the_first_rule_that_fits_counts(tmp_path: Path) -> None:
    more = '\n[[provider.rule]]\nclaims = { groups = "staff" }\nrole = "viewer"\n'
    (tmp_path / "oidc.toml").write_text(GOOD + more)
    provider = OpenId(tmp_path, {}).provider("company")
    found = [provider.ruled({"groups": groups}) for groups in (["staff", "ml-team"], ["staff"], ["ml-team"])]
    assert [(r.role, r.project) for r in found if r] == [("developer", "shop"), ("viewer", "default"), ("developer", "shop")]


def test_the_file_in_the_documents_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "governing.md").read_text()
    (text,) = [block for block in re.findall(r"```toml\n(.*?)```", page, re.S) if "[[provider]]" in block]
    (tmp_path / "oidc.toml").write_text(text)
    company, github = OpenId(tmp_path, {}).providers()
    assert (company.title, company.hours, github.audience) == ("Example Inc.", 12, "https://windlass.example.com")
    assert github.ruled({"repository": "org/app", "ref": "refs/heads/main"}) and not github.ruled({"repository": "org/app"})
