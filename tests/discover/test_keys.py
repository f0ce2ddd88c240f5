"""Keys of providers, given and taken: write-only, for whom, at once in every process, while the store is away, sealed anew."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import create_engine, select, update

from windlass.core.actor import OWNER, Actor
from windlass.core.errors import Forbidden, Invalid, ModelFailed, NotFound, Unavailable
from windlass.core.operations import Empty
from windlass.core.operations.audit import AuditQuery
from windlass.core.operations.providers import ModelProviderQuery, ProviderKeyQuery, ProviderKeyRequest, ProviderTest
from windlass.discover.keys import ProviderKeys, stored_of
from windlass.discover.providers import Endpoint, Providers, load_providers
from windlass.govern import provider_keys as kept_module
from windlass.govern.audit import Audit
from windlass.govern.keyring import Keyring
from windlass.govern.provider_keys import KeptKeys
from windlass.store.meta import open_meta, read, write
from windlass.store.tables import provider_keys

SECRET = "sk-proj-planted-0123456789-abcdWXYZ"


class Process:
    """One process over a data folder."""

    def __init__(self, folder: Path, environ: dict[str, str] | None = None) -> None:
        self.engine = open_meta(f"sqlite:///{folder / 'windlass.db'}")
        self.kept = KeptKeys(self.engine, Keyring(folder, environ or {}))
        self.providers: Providers = load_providers(None, environ or {}, stored_of(self.kept))
        self.asked: list[tuple[str, str]] = []
        self.keys = ProviderKeys(self.engine, self.providers, self.kept, self._probe)

    async def _probe(self, endpoint: Endpoint, model: str) -> tuple[str, ...]:
        self.asked.append((endpoint.key or "", model))
        if endpoint.key == "bad":
            raise ModelFailed(endpoint.redact("openai answered 401: bad bad"), remedy="check the key")
        return ("m-1", "m-2")

    def give(self, provider: str, secret: str = SECRET, **more: Any) -> Any:
        return self.keys.give(OWNER, ProviderKeyRequest(provider, secret, **more))

    def state(self, name: str, project: str = "default") -> Any:
        return next(p for p in self.keys.list(OWNER, ModelProviderQuery(project)).items if p.name == name)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Process]:
    made = Process(tmp_path, {"GROQ_API_KEY": "g-env", "OPENAI_API_KEY": "o-env"})
    yield made
    made.engine.dispose()


def test_a_key_goes_in_and_never_out(here: Process, tmp_path: Path) -> None:
    assert here.state("openai").source == "OPENAI_API_KEY in the environment"
    made = here.give("openai", f"  {SECRET}\n", note="first")
    assert made.ends == "WXYZ" and here.providers.endpoint("openai").key == SECRET
    state = here.state("openai")
    assert (state.ready, state.source, state.keys[0].in_use) == (True, "given here, ends in WXYZ", True)
    told = [
        made,
        here.keys.list(OWNER, ModelProviderQuery()),
        Audit(here.engine).list(OWNER, AuditQuery()),
        here.kept.all(),
        here.providers._stored(),
    ]
    for text in (*(msgspec.json.encode(x).decode() for x in told[:3]), *map(repr, told)):
        assert SECRET not in text and SECRET[:12] not in text and "planted" not in text
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file
    entry = Audit(here.engine).list(OWNER, AuditQuery()).items[0]
    assert (entry.action, entry.details["ends"], entry.details["every_project"]) == ("providers.key", "WXYZ", True)
    gone = here.keys.remove(OWNER, ProviderKeyQuery(made.id[-4:]))
    assert gone.id == made.id and here.providers.endpoint("openai").key == "o-env"
    with pytest.raises(NotFound):
        here.keys.remove(OWNER, ProviderKeyQuery(made.id))


def test_the_same_again_changes_nothing_and_a_short_one_shows_nothing(here: Process) -> None:
    first, again = here.give("openai"), here.give("openai")
    assert first == again and len(here.state("openai").keys) == 1 and len(Audit(here.engine).list(OWNER, AuditQuery()).items) == 1
    other = here.give("openai", fields={"base_url": "https://eu.example/v1"})
    assert other.id == first.id and here.providers.endpoint("openai").base_url == "https://eu.example/v1"
    assert here.give("openai", "short-key").ends == "" and here.providers.endpoint("openai").key == "short-key"  # the newest
    assert here.providers.endpoint("openai").base_url == "https://api.openai.com/v1"  # an address goes with its own key only


def test_who_may(here: Process) -> None:
    for role in ("developer", "viewer", "caller"):
        actor = Actor("key:x", role, "shop")  # type: ignore[arg-type]
        for ask in (
            lambda a=actor: here.keys.give(a, ProviderKeyRequest("openai", SECRET, "shop")),
            lambda a=actor: here.keys.remove(a, ProviderKeyQuery("x")), lambda a=actor: here.keys.rekey(a, Empty()),
        ):  # fmt: skip
            with pytest.raises(Forbidden):
                ask()
    here.give("openai", project="shop")
    viewer = Actor("key:v", "viewer", "shop")
    assert next(p for p in here.keys.list(viewer, ModelProviderQuery("shop")).items if p.name == "openai").keys
    assert not here.state("openai", "other").keys and here.providers.endpoint("openai", "other").key == "o-env"
    assert here.providers.endpoint("openai", "shop").key == SECRET
    with pytest.raises(Forbidden):
        here.keys.list(viewer, ModelProviderQuery("other"))


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"provider": "opnai"}, "no model provider 'opnai'"), ({"provider": "ollama"}, "takes no key"),
        ({"provider": "openai", "secret": " "}, "the key is empty"), ({"provider": "openai", "secret": "a b"}, "no blanks"),
        ({"provider": "openai", "secret": "sekret\nsekret"}, "no blanks"), ({"provider": "openai", "secret": "x" * 20_001}, "20000"),
        ({"provider": "openai", "fields": {"region": "x"}}, "no field 'region'"),
        ({"provider": "openai", "fields": {"base_url": "https://u:p@host/v1"}}, "is no address"),
        ({"provider": "openai", "fields": {"base_url": "file:///etc/passwd"}}, "is no address"),
        ({"provider": "bedrock", "fields": {"region": ""}}, "empty"), ({"provider": "azure", "fields": {"tenant_id": "t"}}, "client_id"),
        ({"provider": "vertex", "secret": '{"type": "sekret"}'}, "not understood"), ({"provider": "openai", "like": "groq"}, "cannot be"),
        ({"provider": "release", "like": "groq"}, "cannot be"), ({"provider": "a/b", "like": "groq"}, "cannot be"),
        ({"provider": "mine", "like": "nobody"}, "no model provider"), ({"provider": "openai", "project": "No Such!"}, "project"),
    ],
)  # fmt: skip
def test_what_is_no_key_is_refused_and_not_repeated(here: Process, asked: dict[str, Any], complaint: str) -> None:
    with pytest.raises((Invalid, NotFound), match=complaint) as caught:
        here.keys.give(OWNER, ProviderKeyRequest(**{"secret": SECRET, **asked}))
    given = asked.get("secret", "").strip()
    assert SECRET not in str(caught.value) and (len(given) < 5 or given not in str(caught.value))
    assert not here.kept.all() and not Audit(here.engine).list(OWNER, AuditQuery()).items


def test_another_process_has_it_within_two_seconds(here: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Process(tmp_path)
    assert other.providers.why_not(other.providers.get("openai")) == "OPENAI_API_KEY is not set"
    made = here.give("openai")
    clock = time.monotonic
    monkeypatch.setattr(kept_module.time, "monotonic", lambda: clock() + kept_module.KEPT_SECONDS)
    assert other.providers.endpoint("openai").key == SECRET
    here.keys.remove(OWNER, ProviderKeyQuery(made.id))
    monkeypatch.setattr(kept_module.time, "monotonic", lambda: clock() + 2 * kept_module.KEPT_SECONDS)
    assert other.providers.why_not(other.providers.get("openai")) == "OPENAI_API_KEY is not set"
    other.engine.dispose()


def test_while_the_store_is_away_what_was_known_goes_on(here: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    here.give("openai")
    assert here.providers.endpoint("openai").key == SECRET
    engine = here.kept._engine
    here.kept._engine = create_engine("sqlite:////nowhere/at/all.db")
    here.kept._until = 0.0
    assert here.providers.endpoint("openai").key == SECRET and here.kept._until > 0  # and it is not asked again at once
    monkeypatch.setattr(kept_module, "PATIENCE_SECONDS", 0.01)
    here.kept._engine, here.kept._until = None, 0.0  # type: ignore[assignment]
    here.kept._read = lambda epoch: time.sleep(0.3)  # type: ignore[assignment,method-assign,return-value]
    assert here.providers.endpoint("openai").key == SECRET  # nor does a call wait for one that hangs
    del here.kept._read  # type: ignore[method-assign]
    here.kept._reading.join()  # type: ignore[union-attr]
    here.kept._engine, here.kept._until = engine, 0.0


def test_a_process_that_never_had_the_store_says_so(tmp_path: Path) -> None:
    """The environment's key is not taken in place of one that may be there."""
    kept = KeptKeys(create_engine("sqlite:////nowhere/at/all.db"), Keyring(tmp_path, {}))
    found = load_providers(None, {"OPENAI_API_KEY": "env"}, stored_of(kept))
    with pytest.raises(Unavailable, match="open"):
        found.endpoint("openai")


def test_sealed_anew_and_read_as_before(here: Process, tmp_path: Path) -> None:
    here.give("openai")
    here.give("groq", project="shop")
    with read(here.engine) as c:
        before = set(c.execute(select(provider_keys.c.sealed)).scalars())
    done = here.keys.rekey(OWNER, Empty())
    with read(here.engine) as c:
        after = set(c.execute(select(provider_keys.c.sealed)).scalars())
    assert done.sealed == 2 and not before & after and here.keys.list(OWNER, ModelProviderQuery()).old == 0
    assert Process(tmp_path).providers.endpoint("openai").key == SECRET
    with write(here.engine) as c:  # a backup of the store from before
        first, second = sorted(before)
        ids = list(c.execute(select(provider_keys.c.id)).scalars())
        for row, sealed in zip(ids, (first, second), strict=True):
            c.execute(update(provider_keys).where(provider_keys.c.id == row).values(sealed=sealed))
    moved = Process(tmp_path)
    good = {k.provider for k in moved.kept.all() if not k.problem}
    assert good in ({"openai", "groq"}, set())  # each opens in its own row only
    listed = moved.keys.list(OWNER, ModelProviderQuery("shop"))
    assert listed.old == 2


def test_a_key_that_cannot_be_opened_is_told_and_nothing_stands_in_for_it(here: Process, tmp_path: Path) -> None:
    made = here.give("openai")
    (tmp_path / "secret.keys").write_text("ab" * 32 + "\n")
    elsewhere = Process(tmp_path, {"OPENAI_API_KEY": "o-env"})
    state = elsewhere.state("openai")
    assert not state.ready and "is not here" in state.why and "WINDLASS_SECRET_KEY" in state.keys[0].problem and not state.keys[0].in_use
    with pytest.raises(Invalid, match="cannot be opened"):
        elsewhere.keys.rekey(OWNER, Empty())
    elsewhere.keys.remove(OWNER, ProviderKeyQuery(made.id))
    assert elsewhere.providers.endpoint("openai").key == "o-env"


async def test_a_test_says_what_came_of_it(here: Process) -> None:
    here.give("openai")
    done = await here.keys.test(OWNER, ProviderTest("openai"))
    assert done.ok and done.said == "it took the key, and lists 2 models" and here.asked == [(SECRET, "")]
    here.give("openai", "bad")
    done = await here.keys.test(OWNER, ProviderTest("openai", model="m-1"))
    assert not done.ok and done.said == "openai answered 401: [key] [key] (check the key)" and here.asked[-1] == ("bad", "m-1")
    missing = await here.keys.test(OWNER, ProviderTest("mistral"))
    assert not missing.ok and "MISTRAL_API_KEY is not set" in missing.said and "windlass providers key mistral" in missing.said
    with pytest.raises(NotFound):
        await here.keys.test(OWNER, ProviderTest("nobody"))


def test_a_further_provider_like_one_of_the_table(here: Process) -> None:
    here.give("eu-azure", fields={"endpoint": "https://eu.openai.azure.com"}, like="azure")
    endpoint = here.providers.endpoint("eu-azure")
    assert endpoint.headers == {"api-key": SECRET} and endpoint.base_url == "https://eu.openai.azure.com/openai/v1"
    assert endpoint.provider.priced_as == "azure"
    here.give("own", "", fields={"base_url": "http://10.0.0.5:8000/v1"}, like="openai")  # a server that asks for no key
    assert here.providers.endpoint("own").headers == {} and here.state("own").ready
    assert here.state("eu-azure").like == "azure" and json.loads(msgspec.json.encode(here.state("own")))["like"] == "openai"
