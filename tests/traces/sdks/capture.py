"""Keeps the bytes that real tracing SDKs send: `python -m tests.traces.sdks.capture [NAME …]`, all of them where none is named.

For each SDK it starts the scripted models and a server that accepts whatever comes, runs the SDK's script with what has it, and writes
`captured/NAME-VERSION/`: the bodies as they were, only unpacked, in the order they came, and `requests.json` with paths and headers.
Secrets are not kept. Folders and the host's name, where an SDK tells them, are overwritten by as many other characters, so that
lengths inside protobuf stay right.

What has an SDK lies in `.sdks/`, where `make .stamps/sdks-all` puts it: virtual environments NAME (of requirements-NAME.txt), and folders
for node, with what package-NAME.json asks for.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import zlib
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any, NamedTuple

from tests.traces.sdks import model

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
KEY = "wl_captured"
KEPT = ("content-type", "content-encoding", "user-agent")  # and all of the SDK's own
OWN = re.compile(r"^(x-|langsmith|comet|projectname|wandb|traceparent)", re.I)
SIGNALS = {"v1/traces": "traces", "v1/logs": "logs", "v1/metrics": "metrics"}
PROMPT = {
    "id": "p-1", "name": "answer", "version": 3, "type": "text", "prompt": "You answer questions about {{subject}}.", "config": {},
    "labels": ["production"], "tags": [], "commitMessage": None, "resolutionGraph": None,
    "projectId": "shop", "createdBy": "API", "createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-01-01T00:00:00.000Z",
}  # fmt: skip


class Sdk(NamedTuple):
    """`package` gives the version; `venv` the folder in `.sdks`."""

    script: str
    package: str
    environ: dict[str, str] = {}
    venv: str = "python"


LATEST = {"OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental"}
CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
SDKS = {
    "otel-genai": Sdk("otel_genai.py", "opentelemetry-instrumentation-genai-openai", {CONTENT: "span_and_event"}),
    "otel-genai-frameworks": Sdk("otel_genai_frameworks.py", "opentelemetry-instrumentation-genai-langchain", {CONTENT: "span_only"}),
    "openinference-genai": Sdk(
        "openinference_clients.py", "openinference-instrumentation-openai", {"OPENINFERENCE_ENABLE_GENAI_SEMCONV": "true"}
    ),
    "openinference-clients": Sdk("openinference_clients.py", "openinference-instrumentation-openai"),
    "openinference-langchain": Sdk("openinference_langchain.py", "openinference-instrumentation-langchain"),
    "openinference-agents": Sdk("openinference_agents.py", "openinference-instrumentation-openai-agents"),
    "phoenix": Sdk("phoenix_register.py", "arize-phoenix-otel"),
    "langfuse-python": Sdk("langfuse_python.py", "langfuse"),
    "openllmetry": Sdk("openllmetry.py", "traceloop-sdk", venv="openllmetry"),
    "mlflow": Sdk("mlflow_tracing.py", "mlflow-skinny", venv="mlflow"),
    "mlflow-otlp": Sdk("mlflow_tracing.py", "mlflow-skinny", {"MLFLOW_TO": "otlp"}, "mlflow"),
    "mlflow-genai": Sdk("mlflow_tracing.py", "mlflow-skinny", {"MLFLOW_TO": "otlp", "MLFLOW_ENABLE_OTEL_GENAI_SEMCONV": "true"}, "mlflow"),
    "logfire": Sdk(
        "logfire_pydantic.py",
        "logfire",
        {"OTEL_RESOURCE_ATTRIBUTES": "host.name=shop-1,host.id=1,os.version=1,service.version=1"},
        "logfire",
    ),
    "langsmith": Sdk("langsmith_otel.py", "langsmith", venv="langsmith"),
    "opik": Sdk("opik_python.py", "opik", venv="opik"),
    "vercel-ai": Sdk("vercel_ai.mjs", "ai", venv="node"),
    "vercel-ai-legacy": Sdk("vercel_ai.mjs", "ai", {"AI_SDK_NAMES": "legacy"}, "node"),
    "vercel-ai-6": Sdk("vercel_ai.mjs", "ai", venv="node6"),
    "langfuse-js": Sdk("langfuse_js.mjs", "@langfuse/otel", venv="node"),
    "openllmetry-frameworks": Sdk("openllmetry_frameworks.py", "opentelemetry-instrumentation-langchain", venv="openllmetry"),
    "anthropic": Sdk("anthropic_client.py", "anthropic"),
    "openllmetry-before": Sdk("openllmetry_before.py", "opentelemetry-instrumentation-openai", venv="openllmetry-before"),
    "otel-openai-v2": Sdk("otel_openai_v2.py", "opentelemetry-instrumentation-openai-v2", {CONTENT: "true"}, "openai-v2"),
    "otel-openai-v2-latest": Sdk(
        "otel_openai_v2.py", "opentelemetry-instrumentation-openai-v2", {CONTENT: "span_and_event", **LATEST}, "openai-v2"
    ),
}


@dataclass
class Sent:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Sink:
    """Accepts and keeps what is sent to it. Requests that only ask get the few answers an SDK does not go on without."""

    sent: list[Sent] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def start(self) -> str:
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(length) if length else self._chunks()
                with sink.lock:
                    sink.sent.append(Sent(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                media_type = self.headers.get("content-type") or "application/json"
                if "protobuf" not in media_type:
                    media_type = "application/json"
                answer = b"" if "protobuf" in media_type else json.dumps(answer_to(self.path, body)).encode()
                self.send_response(200)
                self.send_header("content-type", media_type)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def _chunks(self) -> bytes:
                body = b""
                while self.headers.get("transfer-encoding") == "chunked" and (size := int(self.rfile.readline(), 16)):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                return body

            do_GET = do_POST = do_PUT = do_PATCH = handle_one

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"


def answer_to(path: str, body: bytes) -> Any:
    """What Langfuse's client asks for a prompt, Logfire's for its token, and MLflow's for the server and its experiment."""
    if path == "/version":
        return 3.18
    if path == "/v1/info":
        return {"project_name": "shop", "project_url": "http://127.0.0.1/shop"}
    if "/mlflow/experiments/get" in path:
        return {
            "experiment": {"experiment_id": "7", "name": "shop", "artifact_location": "mlflow-artifacts:/7", "lifecycle_stage": "active"}
        }
    if path.endswith("/assessments"):
        return {"assessment": json.loads(body)["assessment"] | {"assessment_id": "a-1"}}
    if path == "/api/3.0/mlflow/traces":
        kept = json.loads(body)
        kept["trace"]["trace_info"]["tags"]["mlflow.trace.spansLocation"] = "TRACKING_STORE"  # or it wants to upload spans as a file, too
        return kept
    return PROMPT if "/v2/prompts/" in path else {}


def unpacked(sent: Sent) -> bytes:
    encoding = sent.headers.get("content-encoding", "")
    if encoding == "gzip":
        return gzip.decompress(sent.body)
    return zlib.decompress(sent.body) if encoding == "deflate" else sent.body


def neutral(data: bytes, folder: Path) -> bytes:
    """Without what tells of this machine, and as long as before."""
    for told in sorted({str(folder), str(ROOT), sys.base_prefix, str(Path.home()), socket.gethostname()}, key=len, reverse=True):
        if len(told) > 3:
            other = ("/" if told[0] == "/" else "") + "x" * (len(told) - (told[0] == "/"))
            data = data.replace(told.encode(), other.encode())
    return data


def told(sent: Sent) -> dict[str, str]:
    """Of the headers, those by which a server would tell SDKs apart; of credentials only the scheme."""
    kept = {k: v for k, v in sorted(sent.headers.items()) if k in KEPT or OWN.match(k)}
    if scheme := sent.headers.get("authorization"):
        kept["authorization"] = scheme.partition(" ")[0] if " " in scheme else "(no scheme)"
    return {k: "(a key)" if "key" in k or "client-id" in k or v == KEY else v for k, v in kept.items()}


def environment(sdk: Sdk, server: str, models: str) -> dict[str, str]:
    plain = {k: os.environ[k] for k in ("PATH", "HOME", "LANG", "SSL_CERT_FILE") if k in os.environ}
    return plain | {
        "WINDLASS_URL": server, "WINDLASS_KEY": KEY, "OPENAI_BASE_URL": f"{models}/v1", "OPENAI_API_KEY": "sk-scripted",
        "ANTHROPIC_BASE_URL": models, "ANTHROPIC_API_KEY": "sk-ant-scripted", "OTEL_SERVICE_NAME": "shop", "NO_PROXY": "127.0.0.1",
        "OTEL_NODE_RESOURCE_DETECTORS": "env", "LOGNAME": "app", "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", **sdk.environ,
    }  # fmt: skip


def command(sdk: Sdk, folder: Path) -> list[str]:
    """From a copy, so that no SDK finds a git repository around its script. Node looks for packages beside a script only."""
    python = sdk.script.endswith(".py")
    beside = folder if python else ROOT / ".sdks" / sdk.venv
    for file in HERE.glob("*.py" if python else "*.mjs"):
        shutil.copy(file, beside)
    return [str(ROOT / ".sdks" / sdk.venv / "bin/python") if python else "node", str(beside / sdk.script)]


def version(sdk: Sdk) -> str:
    if not sdk.script.endswith(".py"):
        return json.loads((ROOT / ".sdks" / sdk.venv / "node_modules" / sdk.package / "package.json").read_bytes())["version"]
    code = f"import importlib.metadata as m; print(m.version({sdk.package!r}))"
    return subprocess.check_output([ROOT / ".sdks" / sdk.venv / "bin/python", "-c", code], text=True).strip()


def capture(name: str) -> Path:
    sdk, sink, models = SDKS[name], Sink(), model.serve()
    server = sink.start()
    environ = environment(sdk, server, f"http://127.0.0.1:{models.server_address[1]}")
    with tempfile.TemporaryDirectory() as name_of_it:
        scripts = Path(name_of_it)
        subprocess.run(command(sdk, scripts), env=environ, cwd=scripts, check=True, timeout=300)
    models.shutdown()
    folder = HERE / "captured" / f"{name}-{version(sdk)}"
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("*.otlp"), *folder.glob("*.json")]:
        old.unlink()
    index = []
    for number, sent in enumerate(sink.sent):
        path = sent.path.partition("?")[0]
        signal = next((signal for end, signal in SIGNALS.items() if path.endswith(end)), "")
        entry: dict[str, Any] = {"method": sent.method, "path": sent.path, "signal": signal, "headers": told(sent), "file": None}
        if body := neutral(unpacked(sent), scripts):
            entry["file"] = f"{number:03d}.{'otlp' if 'protobuf' in sent.headers.get('content-type', '') else 'json'}"
            (folder / entry["file"]).write_bytes(body)
        index.append(entry)
    (folder / "requests.json").write_text(json.dumps(index, indent=1) + "\n")
    return folder


if __name__ == "__main__":
    for wanted in sys.argv[1:] or SDKS:
        written = capture(wanted)
        print(written.relative_to(ROOT), sum(f.stat().st_size for f in written.iterdir()) // 1000, "kB")
