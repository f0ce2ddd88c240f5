"""Convert models.dev's data into `src/windlass/discover/models.json`: what each provider says of each of its models.

    python scripts/convert_models.py MODELS.DEV [--aider A] [--gpustack G] [--localai L] [--litellm LITELLM.whl]

MODELS.DEV is a checkout of github.com/anomalyco/models.dev. The others fill what it lacks, each matched exactly or not at all:
Aider (github.com/Aider-AI/aider) says which run a score of its leaderboard was, by score and day; GPUStack and LocalAI
(github.com/gpustack/gpustack, github.com/mudler/LocalAI) say the licence of weights, by their Hugging Face repository; the wheel
(pip download litellm --no-deps) says when a model is retired, by provider and id. It needs git and PyYAML, and no network.

One line a model. A model that another one is based on is written once, under `bases`; a row of `models` has what differs, and
null where its base says something and it says nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tomllib
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

TARGET = Path(__file__).parent.parent / "src/windlass/discover/models.json"

# models.dev's provider → ours. Those that make models, the clouds, and those that host open weights; of the resellers only
# OpenRouter and Hugging Face, which Windlass can call; no subscriptions, which have no price per token.
PROVIDERS = {
    "alibaba": "alibaba", "amazon-bedrock": "bedrock", "anthropic": "anthropic", "azure": "azure", "baseten": "baseten",
    "berget": "berget", "cerebras": "cerebras", "cloudflare-workers-ai": "cloudflare", "cohere": "cohere", "databricks": "databricks",
    "deepinfra": "deepinfra", "deepseek": "deepseek", "evroc": "evroc", "fireworks-ai": "fireworks", "friendli": "friendli",
    "google": "gemini", "google-vertex": "vertex", "groq": "groq", "huggingface": "huggingface", "llama": "meta",
    "minimax": "minimax", "mistral": "mistral", "moonshotai": "moonshotai", "nebius": "nebius", "novita-ai": "novita",
    "nvidia": "nvidia", "openai": "openai", "openrouter": "openrouter", "ovhcloud": "ovhcloud", "perplexity": "perplexity",
    "privatemode-ai": "privatemode", "regolo-ai": "regolo", "sap-ai-core": "sap", "sarvam": "sarvam", "scaleway": "scaleway",
    "snowflake-cortex": "snowflake", "stackit": "stackit", "togetherai": "together", "upstage": "upstage", "xai": "xai", "zai": "zai",
}  # fmt: skip

# Whose scores stay out: Artificial Analysis has terms of its own for them, and OpenRouter's pages show the same figures.
WITHHELD = ("https://artificialanalysis.ai/", "https://openrouter.ai/")

# How LiteLLM writes a provider's models: what stands before the id, and what it calls the provider.
LITELLM = {
    "anthropic": ("", "anthropic"), "azure": ("azure/", "azure"), "bedrock": ("", "bedrock"), "cerebras": ("cerebras/", "cerebras"),
    "deepseek": ("deepseek/", "deepseek"), "fireworks": ("fireworks_ai/", "fireworks_ai"), "gemini": ("gemini/", "gemini"),
    "groq": ("groq/", "groq"), "mistral": ("mistral/", "mistral"), "moonshotai": ("moonshot/", "moonshot"), "openai": ("", "openai"),
    "together": ("together_ai/", "together_ai"), "vertex": ("vertex_ai/", "vertex_ai"), "xai": ("xai/", "xai"),
}  # fmt: skip

CAN = {
    "tool_call": "tools", "reasoning": "reasoning", "structured_output": "structured", "attachment": "attachments",
    "temperature": "temperature",
}  # fmt: skip
SPDX = {"apache-2.0": "Apache-2.0", "mit": "MIT", "cc-by-nc-4.0": "CC-BY-NC-4.0"}  # as SPDX writes them; others as they are
HUB = "https://huggingface.co/"

Row = dict[str, Any]


def commit(checkout: Path) -> tuple[str, str]:
    """The commit a checkout is at, and its day."""
    done = subprocess.run(["git", "-C", checkout, "log", "-1", "--format=%H %cs"], capture_output=True, text=True, check=True)
    digest, day = done.stdout.split()
    return digest, day


def merged(base: Row, over: Row) -> Row:
    """As models.dev merges: tables into each other, anything else replaced."""
    both = {k: merged(base[k], v) if isinstance(v, dict) and isinstance(base.get(k), dict) else v for k, v in over.items()}
    return {**base, **both}


def without(given: Row, path: str) -> None:
    """Take `a.b` out, as `base_model_omit` asks."""
    *parents, last = path.split(".")
    for name in parents:
        given = given.get(name, {})
    given.pop(last, None)


def facts(given: Row) -> Row:
    """One model's TOML as a row; what it does not say is left out."""
    limit, modalities = given.get("limit", {}), given.get("modalities", {})
    row = {
        "name": given.get("name"),
        "family": given.get("family"),
        "context": limit.get("context") or None,  # some write 0 where there is no such limit
        "input_limit": limit.get("input") or None,
        "output_limit": limit.get("output") or None,
        "inputs": modalities.get("input"),
        "outputs": modalities.get("output"),
        "can": [ours for theirs, ours in CAN.items() if given.get(theirs) is True],
        "cannot": [ours for theirs, ours in CAN.items() if given.get(theirs) is False],
        "open_weights": given.get("open_weights"),
        "licence": given.get("license"),
        "weights": next((w["url"] for w in given.get("weights", ())), None),
        "knowledge": given.get("knowledge"),
        "released": given.get("release_date"),
        "status": given.get("status"),
        "listed": price(given.get("cost", {})),
    }
    return {k: v for k, v in row.items() if v is not None}


def price(cost: Row) -> Row | None:
    """US dollars per million tokens, for short inputs. Two zeros are a trial's or a subscription's, or nobody knew: no price."""
    if not cost.get("input") and not cost.get("output"):
        return None
    names = {"input": "input", "output": "output", "cache_read": "cached", "cache_write": "cache_write"}
    return {ours: cost[theirs] for theirs, ours in names.items() if cost.get(theirs) is not None}


class Scores:
    """Benchmarks of a model, and with Aider's table which of its runs each of its scores was."""

    def __init__(self, aider: Path | None) -> None:
        runs = yaml.safe_load((aider / "aider/website/_data/polyglot_leaderboard.yml").read_text("utf-8")) if aider else ()
        self._runs = [(r["pass_rate_2"], str(r["date"]), r["model"]) for r in runs]

    def of(self, given: Row) -> list[Row]:
        kept = (b for b in given.get("benchmarks", ()) if not b.get("source", "").startswith(WITHHELD))
        return [self._score(b) for b in kept if isinstance(b["score"], (int, float)) and b.get("source")]

    def _score(self, given: Row) -> Row:
        said = [given[k] for k in ("version", "dataset", "variant", "harness") if given.get(k)]
        if given["source"].startswith("https://aider.chat/"):
            runs = [name for score, day, name in self._runs if (score, day) == (given["score"], given.get("date"))]
            said += runs if len(runs) == 1 else []
        row = {"name": given["name"], "score": given["score"], "unit": given.get("metric"), "how": ", ".join(said) or None}
        return {k: v for k, v in {**row, "source": given["source"], "date": given.get("date")}.items() if v is not None}


def licences(gpustack: Path | None, localai: Path | None) -> dict[str, tuple[str, str]]:
    """Hugging Face repository → licence and who says so: the first that gives one and only one."""
    told: dict[str, dict[str, set[str]]] = {"gpustack": {}, "localai": {}}
    if gpustack is not None:
        for listed in yaml.safe_load((gpustack / "gpustack/assets/model-catalog.yaml").read_text("utf-8"))["model_sets"]:
            for spec in listed.get("specs", ()):
                told["gpustack"].setdefault(spec.get("huggingface_repo_id", ""), set()).update(listed.get("licenses") or ())
    if localai is not None:
        for listed in yaml.safe_load((localai / "gallery/index.yaml").read_text("utf-8")):
            page = next(iter(listed.get("urls") or ()), "")  # the first is the model's own, the others what it was made from
            if page.startswith(HUB) and listed.get("license"):
                told["localai"].setdefault(page.removeprefix(HUB).strip("/"), set()).add(str(listed["license"]).lower())
    found: dict[str, tuple[str, str]] = {}
    for source, repositories in told.items():
        for repository, names in repositories.items():
            if len(names) == 1 and repository:
                found.setdefault(repository, (SPDX.get(name := next(iter(names)), name), source))
    return found


def retirements(wheel: Path | None) -> dict[tuple[str, str], Row]:
    """Our provider and id → when LiteLLM says that the model goes, and where it has that from."""
    if wheel is None:
        return {}
    listed = json.loads(zipfile.ZipFile(wheel).read("litellm/model_prices_and_context_window_backup.json"))
    found = {}
    for provider, (before, named) in LITELLM.items():
        for key, row in listed.items():
            day = row.get("deprecation_date", "")
            if key.startswith(before) and row.get("litellm_provider", "").startswith(named) and day[:2] == "20" and len(day) == 10:
                found[provider, key.removeprefix(before)] = {"retires": day, **({"retires_source": s} if (s := row.get("source")) else {})}
    return found


def tables(folder: Path) -> Iterator[tuple[str, Row]]:
    """Every model's id and TOML below a folder; links that lead nowhere are passed over."""
    for path in sorted(folder.rglob("*.toml")):
        if path.exists():
            yield path.relative_to(folder).as_posix().removesuffix(".toml"), tomllib.loads(path.read_text("utf-8"))


def difference(row: Row, base: Row) -> Row:
    return {k: v for k, v in row.items() if base.get(k) != v} | dict.fromkeys(sorted(base.keys() - row.keys() - {"benchmarks"}))


def convert(given: argparse.Namespace) -> Row:
    root, scores = given.models_dev, Scores(given.aider)
    licensed, retiring = licences(given.gpustack, given.localai), retirements(given.litellm)
    raw = dict(tables(root / "models"))
    bases = {}
    for name, told in raw.items():
        bases[name] = _licensed(facts(told), licensed) | ({"benchmarks": found} if (found := scores.of(told)) else {})
    models = {}
    for theirs, ours in sorted(PROVIDERS.items(), key=lambda pair: pair[1]):
        for identity, told in tables(root / "providers" / theirs / "models"):
            base = told.pop("base_model", f"{theirs}/{identity}")  # a maker's own model is based on the model of that very name
            told = merged(raw.get(base, {}), told)
            for path in told.pop("base_model_omit", ()):
                without(told, path)
            if told.get("open_weights") and (ours == "huggingface" or identity in licensed):
                told.setdefault("weights", [{"url": HUB + identity}])  # where the id is the repository's
            row = _licensed(facts(told), licensed) | retiring.get((ours, identity), {})
            models[f"{ours}/{identity}"] = {"base": base, **difference(row, bases[base])} if base in bases else row
    used = {row.get("base") for row in models.values()}
    return {"bases": {k: v for k, v in bases.items() if k in used}, "models": dict(sorted(models.items()))}


def _licensed(row: Row, licensed: dict[str, tuple[str, str]]) -> Row:
    found = licensed.get(row.get("weights", "").removeprefix(HUB))
    return {**row, "licence": found[0], "licence_source": found[1]} if found and not row.get("licence") else row


def heads(given: argparse.Namespace) -> list[Row]:
    """Where it comes from, under which licence, from which day."""
    told = (
        ("models.dev", given.models_dev, "anomalyco/models.dev", "MIT, Copyright (c) 2025 models.dev"),
        ("aider", given.aider, "Aider-AI/aider", "Apache-2.0"),
        ("gpustack", given.gpustack, "gpustack/gpustack", "Apache-2.0"),
        ("localai", given.localai, "mudler/LocalAI", "MIT, Copyright (c) 2023-2025 Ettore Di Giacinto"),
    )
    found = []
    for name, path, repository, licence in told:
        if path is not None:
            digest, day = commit(path)
            found.append({"name": name, "url": f"https://github.com/{repository}", "licence": licence, "commit": digest, "as_of": day})
    if given.litellm is not None:  # a wheel has no day; its version says which it is
        version = given.litellm.name.split("-")[1]
        head = {"name": f"litellm {version}", "url": "https://github.com/BerriAI/litellm", "licence": "MIT, Copyright (c) 2023 Berri AI"}
        found.append(head)
    return found


def write(target: Path, sources: list[Row], data: Row) -> None:
    def lines(rows: Row) -> str:
        return ",\n".join(f"{json.dumps(k)}:{json.dumps(v, separators=(',', ':'), ensure_ascii=False)}" for k, v in sorted(rows.items()))

    head = json.dumps(sources, separators=(",", ":"), ensure_ascii=False)
    text = f'{{"sources":{head},\n"bases":{{\n{lines(data["bases"])}\n}},\n"models":{{\n{lines(data["models"])}\n}}}}\n'
    target.write_text(text, "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models_dev", type=Path)
    for option in ("--aider", "--gpustack", "--localai", "--litellm"):
        parser.add_argument(option, type=Path)
    parser.add_argument("--target", type=Path, default=TARGET)
    given = parser.parse_args()
    data = convert(given)
    write(given.target, heads(given), data)
    whole = [{**data["bases"].get(row.get("base"), {}), **row} for row in data["models"].values()]
    filled = Counter(k for row in whole for k, v in row.items() if v is not None)
    scores = sum(len(b.get("benchmarks", ())) for b in data["bases"].values())
    print(f"{given.target.name}: {given.target.stat().st_size} bytes, {len(whole)} models, {scores} scores; filled: {dict(filled)}")


if __name__ == "__main__":
    main()
