"""What is known of models, by provider and id: limits, capabilities, licence, retirement, published scores, where data goes.

The facts are `models.json`, converted from models.dev by `scripts/convert_models.py`; `places.toml`, written by hand, says where
providers process data. Every figure has its source and, where the source has one, its date. What is not there is not known:
nothing is derived from a name. Knows no prices but those its source lists, and calls nobody.
"""

from __future__ import annotations

import threading
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from windlass.core.errors import Invalid
from windlass.core.operations.discover import Capability, CatalogSource, ModelFacts, Places
from windlass.govern.prices import ALIASES

FOLDER = Path(__file__).parent
# Names that more than one provider of the catalog would answer to, or that only this catalog has; the others are prices' ALIASES.
NAMES = {
    "google": "gemini", "gcp.gen_ai": "gemini", "gcp.gemini": "gemini", "gcp.vertex_ai": "vertex", "aws": "bedrock",
    "aws.bedrock": "bedrock", "togetherai": "together", "fireworks-ai": "fireworks", "fireworks_ai": "fireworks",
}  # fmt: skip
INPUTS: dict[str, Capability] = {"image": "vision", "audio": "audio", "video": "video", "pdf": "pdf"}


class _File(msgspec.Struct):
    sources: list[CatalogSource]
    bases: dict[str, dict[str, Any]]
    models: dict[str, dict[str, Any]]


class _Place(msgspec.Struct, forbid_unknown_fields=True):
    source: str
    date: str
    default: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    how: str = ""
    prefixes: dict[str, tuple[str, ...]] = {}


class Facts:
    """The catalog's facts. Read on first use; safe to share between threads.

    Args:
        folder: where `models.json` and `places.toml` lie; the shipped ones by default.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._sources: tuple[CatalogSource, ...] = ()
        self._models: dict[tuple[str, str], ModelFacts] | None = None
        self._providers: frozenset[str] = frozenset()
        self._by_alias: dict[str, str] = {}

    def all(self) -> tuple[ModelFacts, ...]:
        """Every model, by provider and id. Raises `Invalid` when the files cannot be read."""
        return tuple(self._load().values())

    def find(self, provider: str, model: str) -> ModelFacts | None:
        """What is known of a model. Raises `Invalid` when the files cannot be read."""
        models = self._load()
        name = self.provider(provider)
        return models.get((name, model)) or models.get((name, model.lower()))

    def provider(self, name: str) -> str:
        """What the catalog calls a provider: `x_ai` and `x-ai` are `xai`. A name it does not know stays."""
        self._load()
        return name if name in self._providers else NAMES.get(name) or self._by_alias.get(ALIASES.get(name, name), name)

    def sources(self) -> tuple[CatalogSource, ...]:
        """Where the facts come from, with licences and days."""
        self._load()
        return self._sources

    def _load(self) -> dict[tuple[str, str], ModelFacts]:
        with self._lock:
            if self._models is None:
                found = _models(self._folder / "models.json")
                places = _places(self._folder / "places.toml")
                self._sources = tuple(found.sources)
                self._models = {(f.provider, f.id): f for f in _facts(found, places, self._folder / "models.json")}
                self._providers = frozenset(provider for provider, _ in self._models)
                self._by_alias = {ALIASES.get(p, p): p for p in sorted(self._providers)}
            return self._models


def _models(path: Path) -> _File:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File)
    except (OSError, msgspec.DecodeError) as e:
        raise _unreadable(path, str(e)) from e


def _places(path: Path) -> dict[str, _Place]:
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), dict[str, _Place])
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as e:
        raise _unreadable(path, str(e)) from e


def _facts(file: _File, places: dict[str, _Place], path: Path) -> list[ModelFacts]:
    dated = {s.name: f"{s.name}, {s.as_of}" if s.as_of else s.name for s in file.sources}
    if not dated:
        raise _unreadable(path, "it names no source")
    source = next(iter(dated.values()))
    retiring = next((s for s in dated.values() if s.startswith("litellm")), source)
    found = []
    for key, row in file.models.items():
        provider, _, identity = key.partition("/")
        base = row.get("base", "")
        if base and base not in file.bases:
            raise _unreadable(path, f"{key} is based on {base}, which is not there")
        # null in a row takes back what its base says
        whole = {k: v for k, v in {**file.bases.get(base, {}), **row}.items() if v is not None}
        whole |= {"provider": provider, "id": identity, "source": source}
        if whole.get("licence"):
            whole["licence_source"] = dated.get(whole.get("licence_source", ""), source)
        if whole.get("retires"):
            whole["retires_source"] = whole.get("retires_source") or retiring
        whole["can"] = (*whole.get("can", ()), *(INPUTS[kind] for kind in whole.get("inputs", ()) if kind in INPUTS))
        whole["places"] = _place(places.get(provider), identity)
        try:
            found.append(msgspec.convert(whole, ModelFacts))
        except msgspec.ValidationError as e:
            raise _unreadable(path, f"{key}: {e}") from e
    return sorted(found, key=lambda f: (f.provider, f.id))


def _place(given: _Place | None, identity: str) -> Places | None:
    if given is None:
        return None
    for prefix, default in given.prefixes.items():
        if identity.startswith(prefix):
            return Places(given.source, given.date, default, (), given.how) if default else None
    return Places(given.source, given.date, given.default, given.choices, given.how)


def _unreadable(path: Path, why: str) -> Invalid:
    return Invalid(
        f"the model catalog cannot be read: {why}",
        where=str(path),
        remedy="install Windlass again, or make it by scripts/convert_models.py",
    )
