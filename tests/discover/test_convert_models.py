"""The conversion, on a checkout of a few files: bases and what differs from them, what is matched exactly, what stays out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from windlass.discover.facts import Facts

ROOT = Path(__file__).parents[2]
LUMEN = """
name = "Lumen"
family = "lumen"
attachment = true
reasoning = true
tool_call = true
temperature = false
open_weights = true
release_date = "2026-01-02"
[limit]
context = 100_000
input = 90_000
output = 8_000
[modalities]
input = ["text", "image"]
output = ["text"]
[[weights]]
url = "https://huggingface.co/acme/Lumen"
[[benchmarks]]
name = "Aider Polyglot"
score = 61.3
metric = "percent correct"
source = "https://aider.chat/docs/leaderboards/"
date = "2026-02-03"
[[benchmarks]]
name = "SWE-Bench Pro"
score = 40
source = "https://example.org/scores"
[[benchmarks]]
name = "Index"
score = 50
source = "https://artificialanalysis.ai/lumen"
[[benchmarks]]
name = "Nowhere"
score = 50
"""
FILES = {
    "models/openai/lumen.toml": LUMEN,
    "providers/openai/models/lumen.toml": LUMEN.split("[[weights]]")[0] + "[cost]\ninput = 1.5\noutput = 6\ncache_read = 0.1\n",
    "providers/togetherai/models/acme/Lumen.toml": 'base_model = "openai/lumen"\nbase_model_omit = ["limit.input"]\n'
    "[cost]\ninput = 0\noutput = 0\n[limit]\ncontext = 32_000\n",
    "providers/huggingface/models/acme/Spark.toml": 'name = "Spark"\nopen_weights = true\n[limit]\ncontext = 0\noutput = 100\n',
    "providers/reseller/models/lumen.toml": LUMEN,
}


def checkout(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    env = {**os.environ, "GIT_COMMITTER_DATE": "2026-03-04T05:06:07Z", "GIT_AUTHOR_DATE": "2026-03-04T05:06:07Z"}
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *command], check=True, env=env)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("convert")
    models = checkout(folder / "md", FILES)
    (models / "providers/openai/models/gone.toml").symlink_to("../../nobody/models/gone.toml")
    runs = '- {model: "lumen (high)", pass_rate_2: 61.3, date: 2026-02-03}\n- {model: other, pass_rate_2: 61.3, date: 2026-02-04}\n'
    aider = checkout(folder / "aider", {"aider/website/_data/polyglot_leaderboard.yml": runs})
    listed = "model_sets:\n- {licenses: [apache-2.0], specs: [{huggingface_repo_id: acme/Lumen}]}\n"
    gpustack = checkout(folder / "gpustack", {"gpustack/assets/model-catalog.yaml": listed})
    gallery = (
        "- {license: mit, urls: ['https://huggingface.co/acme/Lumen']}\n"
        "- {license: mit, urls: ['https://huggingface.co/acme/Other', 'https://huggingface.co/acme/Spark']}\n"
    )
    localai = checkout(folder / "localai", {"gallery/index.yaml": gallery})
    wheel = folder / "litellm-1.2.3-py3-none-any.whl"
    retiring = {
        "lumen": {"litellm_provider": "openai", "deprecation_date": "2027-01-01", "source": "https://example.org/ends"},
        "together_ai/acme/Lumen": {"litellm_provider": "together_ai", "deprecation_date": "2027-02-02"},
        "acme/Lumen": {"litellm_provider": "elsewhere", "deprecation_date": "2020-01-01"},
    }
    with zipfile.ZipFile(wheel, "w") as z:
        z.writestr("litellm/model_prices_and_context_window_backup.json", json.dumps(retiring))
    given = [str(models), "--aider", str(aider), "--gpustack", str(gpustack), "--localai", str(localai), "--litellm", str(wheel)]
    subprocess.run(
        [sys.executable, str(ROOT / "scripts/convert_models.py"), *given, "--target", str(folder / "models.json")], check=True, cwd=folder
    )
    (folder / "places.toml").write_text('[together]\ndefault = ["US"]\nsource = "https://example.org/places"\ndate = "2026-05-05"\n')
    return folder


@pytest.fixture
def data(made: Path) -> dict[str, Any]:
    return json.loads((made / "models.json").read_text())


def test_every_source_is_named_with_its_licence_and_day(data: dict[str, Any]) -> None:
    assert [s["name"] for s in data["sources"]] == ["models.dev", "aider", "gpustack", "localai", "litellm 1.2.3"]
    assert all(s["licence"] and s["url"].startswith("https://github.com/") for s in data["sources"])
    assert {s.get("as_of") for s in data["sources"][:4]} == {"2026-03-04"} and len(data["sources"][0]["commit"]) == 40


def test_one_line_a_model_and_no_resellers(made: Path, data: dict[str, Any]) -> None:
    assert list(data["models"]) == ["huggingface/acme/Spark", "openai/lumen", "together/acme/Lumen"]
    lines = (made / "models.json").read_text().partition('"models":{')[2].splitlines()
    assert all(sum(line.startswith(f'"{model}":') for line in lines) == 1 for model in data["models"])


def test_a_makers_own_model_is_the_base_of_that_name_and_says_only_what_differs(data: dict[str, Any]) -> None:
    row = data["models"]["openai/lumen"]
    assert row == {
        "base": "openai/lumen", "listed": {"input": 1.5, "output": 6, "cached": 0.1}, "retires": "2027-01-01",
        "retires_source": "https://example.org/ends",
    }  # fmt: skip


def test_what_is_merged_and_omitted_is_as_models_dev_does(made: Path, data: dict[str, Any]) -> None:
    row = data["models"]["together/acme/Lumen"]
    assert row["context"] == 32000 and row["input_limit"] is None and "listed" not in row, "two zeros are no price"
    found = Facts(made).find("together_ai", "acme/Lumen")
    assert found is not None
    assert (found.context, found.input_limit, found.output_limit, found.name) == (32000, None, 8000, "Lumen")
    assert (found.retires, found.retires_source) == ("2027-02-02", "litellm 1.2.3"), "not that of another provider's model of the name"
    assert found.places is not None and found.places.default == ("US",)


def test_scores_have_a_source_a_day_where_there_is_one_and_say_which_run_it_was(made: Path) -> None:
    found = Facts(made).find("openai", "lumen")
    assert found is not None
    polyglot, swe = found.benchmarks  # neither the withheld one nor the one without a source
    assert (polyglot.score, polyglot.how, polyglot.date) == (61.3, "lumen (high)", "2026-02-03")
    assert (swe.score, swe.date, swe.source) == (40, "", "https://example.org/scores")


def test_licences_come_from_data_by_the_repository_only(made: Path) -> None:
    facts = Facts(made)
    lumen, spark = facts.find("openai", "lumen"), facts.find("huggingface", "acme/Spark")
    assert lumen is not None and (lumen.licence, lumen.licence_source) == ("Apache-2.0", "gpustack, 2026-03-04")
    assert spark is not None and spark.open_weights and spark.weights.endswith("acme/Spark")
    assert spark.licence == "", "a page that only mentions a repository does not license it"
    assert spark.context is None, "a limit of 0 is no limit that anybody knows"
