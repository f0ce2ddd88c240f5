"""LiteLLM's config.yaml: which providers it calls, at which addresses, with which keys. Says of every line what became of it.

Keys go into the server's sealed store and are never repeated, nor is the value of any setting. The file is only read. Done again,
nothing changes. What a name means in it, where that is no model of the same name, becomes a route.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import yaml

from windlass.core.errors import Invalid, WindlassError
from windlass.core.operations.providers import ModelProvider
from windlass.core.operations.routes import RouteSet
from windlass.sdk.client import Client
from windlass.sdk.importing.litellm_words import (
    BARE,
    CREDENTIALS,
    ENDS_IN_V1,
    GENERAL,
    OF_A_ROUTE,
    OURS,
    OWN_HOSTS,
    SETTINGS,
)

ENVIRONMENT = "os.environ/"
LARGEST = 4 * 2**20  # bytes of a file


class ConfigLine(msgspec.Struct, omit_defaults=True):
    """What became of one thing in the file: `where` it stands, in which `line`, and what is `said` of it."""

    where: str
    line: int
    said: str


class Upstream(msgspec.Struct, omit_defaults=True):
    """One of those that a name may mean: a model as one writes it here, and what the file says of it (weight, rpm, tpm, order …)."""

    model: str
    settings: dict[str, Any] = {}


class ConfigRoute(msgspec.Struct):
    """A name that clients use, and whom it means."""

    name: str
    upstreams: tuple[Upstream, ...]


class ConfigImport(msgspec.Struct, omit_defaults=True):
    """`carried` was brought, or, in a dry run, would be; `left` could not be, with the reason. `routes` are names that clients use."""

    file: str
    dry: bool
    carried: tuple[ConfigLine, ...] = ()
    left: tuple[ConfigLine, ...] = ()
    routes: tuple[ConfigRoute, ...] = ()
    keys: int = 0


@dataclass
class _Wanted:
    """Credentials that some entries of the list share. `at` is where the first of them stands."""

    provider: str
    fields: dict[str, str]
    secret: str
    at: str
    custom: bool = False
    clear: bool = False
    name: str = ""
    models: list[str] = field(default_factory=list)


class _Told(Exception):
    """Why an entry cannot be carried."""


def bring_config(client: Client, path: Path, *, dry: bool = False, environ: Mapping[str, str] = os.environ) -> ConfigImport:
    """Read a config.yaml and give its keys and addresses to the server. Raises `Invalid` for what is no such file, what giving a key
    raises."""
    return _Import(client, path, dry, environ).run()


class _Import:
    def __init__(self, client: Client, path: Path, dry: bool, environ: Mapping[str, str]) -> None:
        self.client = client
        self.path = path
        self.dry = dry
        self.config, self.lines = _read(path)
        own = self.config.get("environment_variables")
        self.environ = {**environ, **({str(k): str(v) for k, v in own.items()} if isinstance(own, dict) else {})}
        self.providers: dict[str, ModelProvider] = {p.name: p for p in client.providers.list().items}
        self.carried: list[ConfigLine] = []
        self.left: list[ConfigLine] = []
        self.wanted: list[_Wanted] = []
        self.upstreams: list[tuple[str, _Wanted, str, dict[str, Any]]] = []
        self.keys = 0

    def run(self) -> ConfigImport:
        models = self.config.get("model_list") or []
        if not isinstance(models, list):
            raise Invalid("model_list is not a list", where=f"{self.path}:{self.lines.get('model_list', 1)}")
        for number, entry in enumerate(models):
            try:
                self._entry(f"model_list[{number}]", entry)
            except _Told as e:
                self._leave(f"model_list[{number}]", str(e))
        self._name()
        for wanted in self.wanted:
            self._give(wanted)
        self._settings()
        routes = tuple(self._routes())
        for route in routes:
            self._set(route, {r.name: r for r in routes})
        by_line = [tuple(sorted(found, key=lambda x: x.line)) for found in (self.carried, self.left)]
        return ConfigImport(str(self.path), self.dry, by_line[0], by_line[1], routes, self.keys)

    def _leave(self, where: str, why: str) -> None:
        self.left.append(ConfigLine(where, self._line(where), why))

    def _carry(self, where: str, said: str) -> None:
        self.carried.append(ConfigLine(where, self._line(where), said))

    def _line(self, where: str) -> int:
        while where and where not in self.lines:
            where = where.rpartition(".")[0]
        return self.lines.get(where, 1)

    def _entry(self, where: str, entry: Any) -> None:
        params = entry.get("litellm_params") if isinstance(entry, dict) else None
        if not isinstance(params, dict) or not isinstance(params.get("model"), str):
            raise _Told("it has no litellm_params.model")
        provider, model = self._model(params)
        where_params = f"{where}.litellm_params"
        secret, fields, clear, custom = self._credentials(where_params, provider, params)
        if custom and provider == "openai":
            provider = "openai-compatible"
        wanted = next((w for w in self.wanted if (w.provider, w.fields, w.secret) == (provider, fields, secret)), None)
        if wanted is None:
            wanted = _Wanted(provider, fields, secret, where_params, custom, clear)
            self.wanted.append(wanted)
        wanted.models.append(model)
        route = {k: v for k, v in params.items() if k in OF_A_ROUTE and isinstance(v, int | float | str)}
        self.upstreams.append((str(entry.get("model_name") or params["model"]), wanted, model, route))
        for name in params:
            if name not in ("model", *CREDENTIALS, *OF_A_ROUTE):
                self._leave(f"{where_params}.{name}", "a parameter of every call: clients, or a component here, send it themselves")
        if info := entry.get("model_info"):
            prices = isinstance(info, dict) and any("cost" in str(k) for k in info)
            self._leave(
                f"{where}.model_info", "prices go into prices.toml in the data folder" if prices else "the catalog knows models by name"
            )

    def _model(self, params: Mapping[str, Any]) -> tuple[str, str]:
        """Provider and model as they are called here."""
        given = str(params["model"])
        prefix, slash, name = given.partition("/")
        if params.get("custom_llm_provider"):
            prefix, name = str(params["custom_llm_provider"]), given.removeprefix(f"{params['custom_llm_provider']}/")
        elif not slash or (prefix not in OURS and params.get("api_base") is None):
            found = next((p for start, p in BARE if given.startswith(start)), None) if not slash else None
            if found is None:
                raise _Told(f"{given!r}: there is no provider here for it; it may be added to providers.toml")
            return found, given
        if (provider := OURS.get(prefix)) is None:
            raise _Told(f"{given!r}: there is no provider here for {prefix!r}; it may be added to providers.toml")
        if provider == "bedrock":
            name = re.sub(r"^(converse|invoke|converse_like)/", "", name)
        if provider == "azure" and re.match(r"\d{4}-\d\d-\d\d", str(params.get("api_version") or "")):
            provider = "azure-deployments"
        return provider, name

    def _credentials(self, where: str, provider: str, params: Mapping[str, Any]) -> tuple[str, dict[str, str], bool, bool]:
        """Secret, fields, whether the secret stands in the file, and whether its address is another than the provider's own. An empty
        secret is one that the server's environment has, or none."""
        fields, custom = dict[str, str](), False
        for theirs, ours in CREDENTIALS.items():
            if ours and (value := self._value(f"{where}.{theirs}", params.get(theirs), provider)):
                fields[ours] = value
        if base := fields.pop("base_url", ""):
            address = urlsplit(base)
            if provider.startswith("azure"):
                fields["endpoint"] = f"{address.scheme}://{address.netloc}"
            elif address.hostname != OWN_HOSTS.get(provider):
                custom = True
                ending = "/v1" if provider in ENDS_IN_V1 and not base.rstrip("/").endswith("/v1") else ""
                fields["base_url"] = base.rstrip("/") + ending
        takes = self.providers[provider].takes if provider in self.providers else ()
        for name in [n for n in fields if n not in takes]:
            self._leave(where, f"{provider} takes no {name}")
            del fields[name]
        secret, clear = "", False
        for name in ("api_key", "aws_secret_access_key", "client_secret", "vertex_credentials"):
            if (given := params.get(name)) is None:
                continue
            secret = self._value(f"{where}.{name}", given, provider)
            clear = bool(secret) and not str(given).startswith(ENVIRONMENT)
            if name == "vertex_credentials" and secret and not secret.lstrip().startswith("{"):
                secret = self._file(f"{where}.{name}", secret)
            break
        if not secret:
            fields = {k: v for k, v in fields.items() if k not in ("access_key_id", "tenant_id", "client_id")}
        return secret, fields, clear, custom

    def _value(self, where: str, given: Any, provider: str) -> str:
        """A value of the file, or of the environment that it names; empty where the server has it by itself, or nobody has it."""
        if given is None or isinstance(given, dict | list):
            return msgspec.json.encode(given).decode() if isinstance(given, dict) else ""
        text = str(given).strip()
        if not text.startswith(ENVIRONMENT):
            return text
        name = text.removeprefix(ENVIRONMENT)
        known = self.providers[provider].variables if provider in self.providers else ()
        if name in known:
            self._carry(where, f"{name} is what {provider} reads from the server's environment too: set it there, or give the key")
            return ""
        if not (value := self.environ.get(name, "")):
            self._leave(where, f"{name} is not set here: set it and do this again, or give it with windlass providers key {provider}")
        return value

    def _file(self, where: str, path: str) -> str:
        try:
            return Path(path).expanduser().read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            self._leave(where, "the file it names cannot be read here: windlass providers key vertex < FILE")
            return ""

    def _name(self) -> None:
        """Which provider each is here. Where a provider has several keys or addresses in the file, or one that is not its own, the
        others become further providers, like it."""
        taken = set[str]()
        for wanted in self.wanted:
            plain = not wanted.custom and not any(w.provider == wanted.provider and w.name == wanted.provider for w in self.wanted)
            if plain:
                wanted.name = wanted.provider
                continue
            host = _short(urlsplit(wanted.fields.get("base_url") or wanted.fields.get("endpoint") or "").netloc)
            base = re.sub(r"[^a-z0-9]+", "-", f"{wanted.provider.removesuffix('-compatible')}-{host or 'further'}".lower()).strip("-")[:36]
            wanted.name = next(
                n for i in range(1, 10_000) if (n := base if i == 1 else f"{base[:34]}-{i}") not in taken | {wanted.provider}
            )
            taken.add(wanted.name)

    def _give(self, wanted: _Wanted) -> None:
        like = wanted.provider if wanted.name != wanted.provider else ""
        if not wanted.secret and not (like and "base_url" in wanted.fields):
            if wanted.fields:
                told = ", ".join(f"{k}={v}" for k, v in wanted.fields.items())
                self._leave(wanted.at, f"{told} goes with a key: windlass providers key {wanted.provider} --set …")
            return
        what = f"{wanted.name}{f', like {like},' if like else ''}" + (
            f" at {wanted.fields['base_url']}" if "base_url" in wanted.fields else ""
        )
        try:
            if not self.dry:
                self.client.providers.give(wanted.name, wanted.secret, fields=wanted.fields, like=like, note="litellm")
        except WindlassError as e:
            self._leave(wanted.at, f"{what}: {e.message}")
            return
        self.keys += bool(wanted.secret)
        clear = "; it stands in the file in clear: take it out there" if wanted.clear else ""
        self._carry(wanted.at, f"{what} {'has its key' if wanted.secret else 'needs no key'}{clear}")

    def _routes(self) -> Iterator[ConfigRoute]:
        names = dict[str, list[Upstream]]()
        for name, wanted, model, settings in self.upstreams:
            names.setdefault(name, []).append(Upstream(f"{wanted.name}/{model}", settings))
        for name, upstreams in names.items():
            if len(upstreams) > 1 or upstreams[0].model != name or upstreams[0].settings:
                yield ConfigRoute(name, tuple(upstreams))

    def _set(self, route: ConfigRoute, every: Mapping[str, ConfigRoute]) -> None:
        """Have its upstreams answer for a name here too, and those that `fallbacks` names when they fail."""
        upstreams = [_upstream(u, int(u.settings.get("order") or 1)) for u in route.upstreams]
        last = max(u["tier"] for u in upstreams)
        for tier, name in enumerate(self._fallbacks(route.name), last + 1):
            further = [_upstream(u, tier) for u in every[name].upstreams] if name in every else [{"model": name, "tier": tier}]
            upstreams += [u for u in further if u["model"] not in {known["model"] for known in upstreams}]
        waits = [float(t) for u in route.upstreams if isinstance(t := u.settings.get("timeout"), int | float) and t > 0]
        made = {"upstreams": upstreams, **({"timeouts": {"attempt_s": max(waits)}} if waits else {})}
        at = next((w.at for name, w, _, _ in self.upstreams if name == route.name), "model_list")
        try:
            checked = msgspec.convert({"name": route.name, "route": made}, RouteSet)
            if not self.dry:
                self.client.routes.set(route.name, checked.route)
        except (msgspec.ValidationError, WindlassError) as e:
            why = e.message if isinstance(e, WindlassError) else str(e)
            self._leave(at, f"no route {route.name}: {why}")
            return
        self._carry(at, f"route {route.name} → {', '.join(u['model'] for u in upstreams)}")

    def _fallbacks(self, name: str) -> list[str]:
        """Names that are asked when every upstream of one failed."""
        found: list[str] = []
        for section in ("router_settings", "litellm_settings"):
            said = self.config.get(section)
            for entry in (said.get("fallbacks") or []) if isinstance(said, dict) else ():
                found += [str(n) for n in (entry.get(name) or [])] if isinstance(entry, dict) else []
        return list(dict.fromkeys(n for n in found if n != name))

    def _settings(self) -> None:
        """Everything beside the list of models, by name; values are not repeated."""
        for section, known in (("litellm_settings", SETTINGS), ("router_settings", SETTINGS), ("general_settings", GENERAL)):
            found = self.config.get(section)
            for name in found if isinstance(found, dict) else ():
                self._leave(f"{section}.{name}", known.get(str(name), "there is nothing of the kind here"))
        for section in self.config:
            if section == "environment_variables":
                self._leave(section, "read for the keys above; the rest belongs into the server's environment")
            elif section not in ("model_list", "litellm_settings", "router_settings", "general_settings"):
                self._leave(str(section), "another file: import it too" if section == "include" else "there is nothing of the kind here")


def _upstream(of: Upstream, tier: int) -> dict[str, Any]:
    """One of those that a name means, as a route has it: its share is what the file says of weight, else of requests or tokens a minute."""
    said = of.settings
    share = next((float(v) for k in ("weight", "rpm", "tpm") if isinstance(v := said.get(k), int | float) and v > 0), 1.0)
    at_once = said.get("max_parallel_requests")
    return {
        "model": of.model,
        "weight": share,
        "tier": tier,
        **({"concurrency": at_once} if isinstance(at_once, int) and at_once > 0 else {}),
    }


def _short(host: str) -> str:
    """What tells a host from others: its first label that says something; all of an address in numbers."""
    labels = host.partition(":")[0].split(".")
    return host if labels[-1].isdigit() else next((label for label in labels if label not in ("api", "www")), "")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The file, and in which line each thing in it begins. Raises `Invalid`, which repeats nothing of it."""
    try:
        if path.stat().st_size > LARGEST:
            raise Invalid(f"this file has more than {LARGEST} bytes", where=str(path))
        text = path.read_text("utf-8")
        node = yaml.compose(text, yaml.SafeLoader)
        config = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as e:
        raise Invalid(f"it cannot be read: {getattr(e, 'strerror', None) or 'not text'}", where=str(path)) from None
    except (yaml.YAMLError, RecursionError) as e:
        mark = getattr(e, "problem_mark", None)
        raise Invalid("this is not YAML", where=f"{path}:{mark.line + 1}" if mark else str(path)) from None
    if not isinstance(config, dict) or "model_list" not in config:
        raise Invalid("this is no config of LiteLLM: it has no model_list", where=str(path), remedy="name its config.yaml")
    lines = dict[str, int]()
    _mark(node, "", lines)
    return config, lines


def _mark(node: Any, where: str, lines: dict[str, int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = f"{where}.{key.value}" if where else str(key.value)
            lines[name] = key.start_mark.line + 1
            _mark(value, name, lines)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            lines[f"{where}[{number}]"] = value.start_mark.line + 1
            _mark(value, f"{where}[{number}]", lines)
