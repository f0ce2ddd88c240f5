"""Operations on model providers: which can be called, why not, and the keys that were given for them. A key goes in and never out."""

from __future__ import annotations

import msgspec

from windlass.core.operations import Empty, Operation


class ModelProviderQuery(msgspec.Struct, omit_defaults=True):
    """As the calls of this project see them."""

    project: str = "default"


class ProviderKey(msgspec.Struct, omit_defaults=True):
    """A key that was given. `ends` are its last four characters, where it is long enough to have such; nobody is told more. `project` is
    empty for one that every project uses. `fields` are what goes with it and is no secret: an address, a region, a client's id. `problem`
    is why it cannot be used; `in_use` says that it is what a call takes now."""

    id: str
    provider: str
    project: str
    given_ns: int
    given_by: str
    ends: str = ""
    note: str = ""
    like: str = ""
    fields: dict[str, str] = {}
    in_use: bool = False
    problem: str = ""


class ModelProvider(msgspec.Struct, omit_defaults=True):
    """`ready`, or `why` not. `source` is where its key comes from. `variables` are what the environment can say instead, `takes` the fields
    that may go with a key. `refused_ns` is when it last refused its key, as far as this process saw."""

    name: str
    dialect: str
    ready: bool
    why: str = ""
    source: str = ""
    address: str = ""
    local: bool = False
    like: str = ""
    variables: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    keys: tuple[ProviderKey, ...] = ()
    refused_ns: int | None = None


class ModelProviderList(msgspec.Struct, omit_defaults=True):
    """By name. `sealed_in` is where the key lies that seals the others; `old` of them are sealed by an earlier one."""

    items: tuple[ModelProvider, ...]
    sealed_in: str = ""
    old: int = 0


class ProviderKeyRequest(msgspec.Struct, omit_defaults=True):
    """A key for a provider: for every project, or for one. `like` makes a further provider of this name, spoken to as that one is, at the
    address in `fields`. The same secret again changes nothing but its fields and note."""

    provider: str
    secret: str = ""
    project: str = ""
    fields: dict[str, str] = {}
    like: str = ""
    note: str = ""

    def __repr__(self) -> str:
        return f"ProviderKeyRequest({self.provider!r})"


class ProviderKeyQuery(msgspec.Struct):
    """By its id, or the end of it."""

    id: str


class ProviderTest(msgspec.Struct, omit_defaults=True):
    """`model`: also ask that one, for one token. Without it nothing is paid."""

    provider: str
    project: str = "default"
    model: str = ""


class ProviderTested(msgspec.Struct, omit_defaults=True):
    """`said` is what came of it, in a sentence. `models` are some of what it listed."""

    provider: str
    ok: bool
    said: str
    source: str = ""
    took_ms: float = 0.0
    models: tuple[str, ...] = ()


class Rekeyed(msgspec.Struct):
    """`sealed` keys lie under a new key now, kept in `where`."""

    sealed: int
    where: str


MODEL_PROVIDERS = Operation("providers.list", "GET", ModelProviderQuery, ModelProviderList, "read")
GIVE_PROVIDER_KEY = Operation("providers.key", "POST", ProviderKeyRequest, ProviderKey, "admin")
REMOVE_PROVIDER_KEY = Operation("providers.remove", "POST", ProviderKeyQuery, ProviderKey, "admin")
TEST_PROVIDER = Operation("providers.test", "POST", ProviderTest, ProviderTested, "admin")
REKEY_PROVIDERS = Operation("providers.rekey", "POST", Empty, Rekeyed, "admin")
