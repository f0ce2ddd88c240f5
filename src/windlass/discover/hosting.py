"""How a call goes out where a cloud hosts another's API: the same dialect, with the model in the path and a field or two moved.

    azure-deployments   Azure OpenAI with dated versions: /deployments/{deployment}/chat/completions?api-version=…
    vertex-openai       Gemini on Vertex AI: models are called google/…, which goes without saying here
    vertex-anthropic    Anthropic's models on Vertex AI: …/publishers/anthropic/models/{model}:rawPredict, :streamRawPredict
    bedrock-anthropic   Anthropic's models on Bedrock: /model/{model}/invoke, /invoke-with-response-stream (answers in AWS's own frames)

Only top-level fields are looked at; what they hold goes out as it came.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from typing import Literal

import msgspec

from windlass.core.errors import Invalid

Hosting = Literal["", "azure-deployments", "vertex-openai", "vertex-anthropic", "bedrock-anthropic"]
_VERSIONS = {"vertex-anthropic": "vertex-2023-10-16", "bedrock-anthropic": "bedrock-2023-05-31"}
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Shaped(msgspec.Struct, frozen=True):
    """A call as it goes out. `path` is quoted, with its query."""

    path: str
    body: bytes
    headers: dict[str, str]


def shaped(hosting: Hosting, path: str, body: bytes, headers: Mapping[str, str], *, provider: str, api_version: str = "") -> Shaped:
    """A call of the dialect as this host takes it. Raises `Invalid` for an endpoint that it has not."""
    if not hosting:
        return Shaped(path, body, dict(headers))
    fields = _fields.decode(body)
    model = msgspec.json.decode(fields.get("model", msgspec.Raw(b'""')), type=str)
    if hosting == "azure-deployments":
        if path not in ("/chat/completions", "/embeddings", "/completions"):
            raise Invalid(f"{provider} has no {path}", remedy="the provider `azure` speaks Azure's v1 API, which has more")
        query = urllib.parse.urlencode({"api-version": api_version})
        return Shaped(f"/deployments/{_quoted(model)}{path}?{query}", body, dict(headers))
    if hosting == "vertex-openai":
        if model and "/" not in model:
            fields["model"] = msgspec.Raw(msgspec.json.encode(f"google/{model}"))
        return Shaped(path, msgspec.json.encode(fields), dict(headers))
    kept = {k: v for k, v in headers.items() if k.lower() != "anthropic-version"}
    fields.setdefault("anthropic_version", msgspec.Raw(msgspec.json.encode(_VERSIONS[hosting])))
    if hosting == "vertex-anthropic":
        return _vertex(path, fields, kept, model, provider)
    return _bedrock(path, fields, kept, model, provider)


def _vertex(path: str, fields: dict[str, msgspec.Raw], headers: dict[str, str], model: str, provider: str) -> Shaped:
    models = "/publishers/anthropic/models"
    if path == "/messages/count_tokens":
        return Shaped(f"{models}/count-tokens:rawPredict", msgspec.json.encode(fields), headers)
    if path != "/messages":
        raise Invalid(f"{provider} has no {path}", remedy="it has /messages and /messages/count_tokens")
    fields.pop("model", None)
    verb = "streamRawPredict" if _streams(fields) else "rawPredict"
    return Shaped(f"{models}/{_quoted(model)}:{verb}", msgspec.json.encode(fields), headers)


def _bedrock(path: str, fields: dict[str, msgspec.Raw], headers: dict[str, str], model: str, provider: str) -> Shaped:
    if path != "/messages":
        raise Invalid(f"{provider} has no {path}", remedy="Bedrock's InvokeModel has /messages only")
    beta = next((k for k in headers if k.lower() == "anthropic-beta"), None)
    if beta is not None:  # a header at Anthropic, a field here
        names = [name.strip() for name in headers.pop(beta).split(",") if name.strip()]
        fields.setdefault("anthropic_beta", msgspec.Raw(msgspec.json.encode(names)))
    verb = "invoke-with-response-stream" if _streams(fields) else "invoke"
    fields.pop("model", None)
    fields.pop("stream", None)
    return Shaped(f"/model/{_quoted(model)}/{verb}", msgspec.json.encode(fields), headers)


def _streams(fields: Mapping[str, msgspec.Raw]) -> bool:
    return bytes(fields.get("stream", b"")) == b"true"


def _quoted(model: str) -> str:
    """A model's name as one segment of a path. A name of dots would climb out of it."""
    if not model or set(model) <= {"."}:
        raise Invalid(f"{model!r} names no model", where="model")
    return urllib.parse.quote(model, safe="-_.~")
