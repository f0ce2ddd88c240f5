"""Other products to run beside us, each in a virtual environment of its own under `.bench/`, installed when first asked for."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parents[1] / ".bench"
LITELLM = "litellm[proxy]==1.106.2"
MLFLOW = "mlflow==3.17.2"  # 850 MB
PHOENIX = "arize-phoenix==20.26.1"  # 850 MB


def environment(name: str, *requirements: str) -> Path:
    """The `bin` folder of a peer's virtual environment."""
    folder = FOLDER / name
    stamp = folder / ("-".join(requirements).replace("/", "_") + ".installed")
    if not stamp.exists():
        print(f"installing {', '.join(requirements)} into {folder} …", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([folder / "bin" / "pip", "install", "-qq", "--disable-pip-version-check", *requirements], check=True)
        stamp.touch()
    return folder / "bin"


def litellm(
    folder: Path, port: int, upstream: int, key: str, models: Mapping[str, str] = {"openai": "openai/echo"}
) -> subprocess.Popen[bytes]:
    """LiteLLM's proxy with one worker and one key, no database and no callbacks, for one model of each dialect in `models`; its log goes
    to a file."""
    config = folder / "litellm.yaml"
    bases = {"openai": f"http://127.0.0.1:{upstream}/v1", "anthropic": f"http://127.0.0.1:{upstream}"}
    config.write_text(
        "model_list:\n"
        + "".join(
            f'  - model_name: {name}\n    litellm_params: {{model: {name}, api_base: "{bases[dialect]}", api_key: sk-bench}}\n'
            for dialect, name in models.items()
        )
        + f"""general_settings: {{master_key: {key}}}
litellm_settings: {{telemetry: false, num_retries: 0, use_chat_completions_url_for_anthropic_messages: true}}
router_settings: {{num_retries: 0, disable_cooldowns: true}}
"""
    )
    variables = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    command = [
        environment("litellm", LITELLM) / "litellm",
        "--config",
        config,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--num_workers",
        "1",
    ]
    with (folder / "litellm.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=variables, cwd=folder)


def mlflow(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """MLflow's server with SQLite below a folder; its log goes to a file."""
    command = [environment("mlflow", MLFLOW) / "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--artifacts-destination", str(folder / "artifacts")]
    variables = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    with (folder / "mlflow.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=variables, cwd=folder, start_new_session=True)


def phoenix(folder: Path, port: int, grpc: int) -> subprocess.Popen[bytes]:
    """Phoenix's server with SQLite in a folder; its log goes to a file."""
    variables = {
        **os.environ, "PHOENIX_WORKING_DIR": str(folder), "PHOENIX_HOST": "127.0.0.1", "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(grpc), "PHOENIX_TELEMETRY_ENABLED": "false", "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
    }  # fmt: skip
    with (folder / "phoenix.log").open("wb") as log:
        command = [environment("phoenix", PHOENIX) / "phoenix", "serve"]
        return subprocess.Popen(command, stdout=log, stderr=log, env=variables, cwd=folder, start_new_session=True)
