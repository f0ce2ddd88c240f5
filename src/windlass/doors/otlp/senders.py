"""Who sends OTLP to which path, and how they carry their key: a table. The key alone says whose project it is. What some call their
project comes along in a header, and is kept beside what they sent as `windlass.foreign.project`: a word of theirs, which opens nothing.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import NamedTuple

from windlass.core.errors import Unauthenticated

FOREIGN_PROJECT = "windlass.foreign.project"
FOREIGN_LONGEST = 200  # characters of it
# attributes of a resource that name one
RESOURCE_PROJECTS = frozenset({"openinference.project.name", "wandb.project"})
SIGNALS = ("traces", "logs", "metrics")
RAW = ""  # the whole of `Authorization` is the key


class Sender(NamedTuple):
    """`base` stands before `/v1/traces`. `schemes` are those of `Authorization`; of `basic` the password is the key. `headers` carry it
    where `Authorization` is not there. `project` are headers that name a project of theirs. `reads_prompts`: the SDK that sends to this
    path reads its prompts at the same address, so their numbers are ours."""

    base: str
    schemes: tuple[str, ...]
    headers: tuple[str, ...] = ()
    project: tuple[str, ...] = ()
    reads_prompts: bool = False


SENDERS = (
    # OpenTelemetry, Traceloop, Phoenix and Arize, MLflow, Logfire (whose token stands alone)
    Sender("", ("bearer", "basic", RAW), ("x-api-key", "api_key", "api-key"), ("x-mlflow-experiment-id", "x-project-name")),
    Sender("/api/public/otel", ("basic", "bearer"), reads_prompts=True),  # Langfuse
    Sender("/v1/private/otel", (RAW, "bearer"), (), ("comet-workspace", "projectname")),  # Opik, and behind its proxy
    Sender("/api/v1/private/otel", (RAW, "bearer"), (), ("comet-workspace", "projectname")),
    # Weave and LangSmith share a path; Weave's agents have their own
    Sender("/otel", ("basic", "bearer"), ("wandb-api-key", "x-api-key"), ("project_id", "langsmith-project")),
    Sender("/agents/otel", ("basic", "bearer"), ("wandb-api-key",), ("project_id",)),
    Sender("/api/otlp", ("apikey", "bearer")),  # Agenta
)
PATHS = {f"{sender.base}/v1/{signal}": (sender, signal) for sender in SENDERS for signal in SIGNALS}


def key_of(sender: Sender, headers: Mapping[str, str]) -> str | None:
    """The key in these headers (names in lower case); None where there is none. Raises `Unauthenticated` for a form this sender does not
    use; what was given is not repeated."""
    given = headers.get("authorization")
    if given is None:
        return next((headers[name].strip() for name in sender.headers if name in headers), None)
    scheme, _, rest = given.strip().partition(" ")
    rest = rest.strip()
    if not rest and RAW in sender.schemes:
        return scheme
    if scheme.lower() not in sender.schemes:
        raise Unauthenticated("this form of Authorization is not understood here", where="Authorization", remedy=_forms(sender))
    return _password(rest, sender) if scheme.lower() == "basic" else rest


def project_of(sender: Sender, headers: Mapping[str, str]) -> str:
    """What they call their project; empty where they say nothing."""
    return "/".join(headers[name] for name in sender.project if headers.get(name))[:FOREIGN_LONGEST]


def reads_prompts(sender: Sender, headers: Mapping[str, str]) -> bool:
    """Whether who sends this reads its prompts here. MLflow's client says by a header that it takes this for its server."""
    return sender.reads_prompts or (not sender.base and "x-mlflow-client-version" in headers)


def _password(encoded: str, sender: Sender) -> str:
    try:
        said = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        said = ""
    _, colon, password = said.partition(":")
    if not colon:
        raise Unauthenticated("`Basic` does not hold a name and a password", where="Authorization", remedy=_forms(sender))
    return password


def _forms(sender: Sender) -> str:
    words = {"bearer": "`Bearer KEY`", "basic": "`Basic` with a key as the password", RAW: "the key alone", "apikey": "`ApiKey KEY`"}
    return "send " + ", or ".join(words[scheme] for scheme in sender.schemes)
