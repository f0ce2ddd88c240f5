"""Where OTLP is mirrored to: the setting `forward_to`, addresses with spaces between them.

    https://collector.example:4318
    https://langfuse.example/api/public/otel?headers=THEIR_HEADERS&signals=traces&project=shop

`/v1/traces`, `/v1/logs` and `/v1/metrics` come behind it. `headers` names a variable that holds them as OTEL_EXPORTER_OTLP_HEADERS does:
`name=value,name=value`, each value as in a URL. `signals` are those that are sent, `project` the one whose; all where it is not given.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from windlass.core.errors import Invalid
from windlass.core.ref import check_name
from windlass.traces.envelope import LOGS, METRICS, OTLP

KINDS = {"traces": OTLP, "logs": LOGS, "metrics": METRICS}
PATHS = {kind: f"/v1/{signal}" for signal, kind in KINDS.items()}
WRITE = "write https://host:4318, and behind it ?headers=VARIABLE&signals=traces,logs&project=NAME as you need"
OWN = frozenset({"content-type", "content-encoding", "content-length", "host", "connection", "transfer-encoding"})
_VARIABLE, _NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*"), re.compile("[!#$%&'*+.^_`|~0-9a-z-]+")


class Target(NamedTuple):
    """`url` without what was behind it, so that it can be told; `kinds` of records that are sent."""

    url: str
    kinds: frozenset[int]
    project: str | None
    variable: str | None

    @property
    def id(self) -> str:
        """Names what is remembered of it: of another project at the same address something else is."""
        return hashlib.sha256(f"{self.url} {self.project or ''}".encode()).hexdigest()[:16]


def targets_of(setting: str) -> tuple[Target, ...]:
    """Raises `Invalid`, which does not repeat what may be a secret."""
    found = tuple(_target(word) for word in setting.split())
    if len({t.id for t in found}) < len(found):
        raise Invalid("an address is named twice", where="forward_to", remedy="name each once, with all its signals")
    return found


def _target(word: str) -> Target:
    try:
        parts = urlsplit(word)
        ok = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0) and not parts.fragment
    except ValueError:
        ok = False
    if not ok:
        raise Invalid("it holds what is no address", where="forward_to", remedy=WRITE)
    if parts.username is not None or parts.password is not None:
        raise Invalid("an address must hold no key", where="forward_to", remedy="put it in a variable, and name that by ?headers=")
    given = parse_qsl(parts.query, keep_blank_values=True)
    asked = dict(given)
    if len(asked) < len(given) or (other := asked.keys() - {"headers", "signals", "project"}):
        said = f"{sorted(other)[0][:30]!r} is not understood" if len(asked) == len(given) else "something is said twice"
        raise Invalid(f"behind an address {said}", where="forward_to", remedy=WRITE)
    signals = asked.get("signals", ",".join(KINDS)).split(",")
    if bad := [s for s in signals if s not in KINDS]:
        raise Invalid(f"{bad[0][:30]!r} is no signal", where="forward_to", remedy="take some of traces, logs, metrics")
    if (variable := asked.get("headers")) is not None and not _VARIABLE.fullmatch(variable):
        raise Invalid("`headers` must be the name of a variable that holds them", where="forward_to", remedy=WRITE)
    project = check_name(asked["project"], what="project") if "project" in asked else None
    url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    return Target(url, frozenset(KINDS[s] for s in signals), project, variable)


def ready(setting: str, own: str, environ: Mapping[str, str] = os.environ) -> list[tuple[Target, dict[str, str]]]:
    """Targets with their headers; `own` is this server's address. Raises `Invalid` where it could not be sent to one of them."""
    found = [(target, headers_of(target, environ)) for target in targets_of(setting)]
    if any(_same(target.url, own) for target, _ in found):
        raise Invalid("that is this server itself", where="forward_to", remedy="name another one")
    return found


def _same(url: str, own: str) -> bool:
    """Whether an address is the server's own, as far as can be seen."""
    a, b = urlsplit(url), urlsplit(own)
    return (a.scheme, a.port) == (b.scheme, b.port) and a.hostname in ("localhost", "127.0.0.1", "::1", "0.0.0.0", b.hostname)


def headers_of(target: Target, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Headers for it, from its variable. Raises `Invalid`, which repeats none."""
    if target.variable is None:
        return {}
    where = target.variable
    if where not in environ:
        raise Invalid("forward_to names this variable, and it is not set", where=where, remedy="set it to name=value,name=value")
    found: dict[str, str] = {}
    for number, pair in enumerate(filter(None, (p.strip() for p in environ[where].split(","))), 1):
        name, equals, value = pair.partition("=")
        name, value = name.strip().lower(), unquote(value.strip())
        if not equals or not _NAME.fullmatch(name) or name in OWN or not value.isprintable() or not value.isascii():
            remedy = "write name=value,name=value, with %20 for a space and %2C for a comma in a value"
            raise Invalid(f"header {number} in it is none that can be sent", where=where, remedy=remedy)
        found[name] = value
    return found
