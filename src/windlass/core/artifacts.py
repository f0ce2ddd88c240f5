"""The kinds of artifact, side by side: what is identity, what is neutral, what depends on what.

A version's digest is `digest_json({"kind": kind, "body": body})`. The body holds everything that can change behaviour,
its direct dependencies by digest; names of dependencies are in `links`, so that renaming a prompt does not make a new
component. Everything else about a version (descriptions no model sees, where the code lies, who wrote it) is `neutral`.
`tests/core/test_identity.py` mutates each field of each kind: identity must change the digest, neutral must not.
"""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

import msgspec

from windlass.core.alert import QUIET_SECONDS, EventKind, MetricRule, Severity
from windlass.core.digest import digest_json
from windlass.core.errors import Invalid
from windlass.core.pin import Column, Spec
from windlass.core.ref import DEFAULT_PROJECT, KINDS, Ref, check_name

Relation = Literal["uses", "derived-from", "trained-on", "evaluated-with", "produced"]
Body = dict[str, Any]


class Code(msgspec.Struct, frozen=True, omit_defaults=True):
    """Identity of code (design §5): the closure of symbols an entry point reaches.

    `symbols` maps `module:qualname` to the digest of its normalised form; `modules` maps a whole module, where Python is
    too dynamic to tell; `files` maps workspace paths the code reads (by digest); `packages` maps each distribution
    reached, and all it requires, to its locked version.
    """

    entry: str
    symbols: dict[str, str]
    python: str
    normaliser: str = "1"
    modules: dict[str, str] = {}
    files: dict[str, str] = {}
    packages: dict[str, str] = {}


class TemplateMessage(msgspec.Struct, frozen=True):
    role: Literal["system", "user", "assistant"]
    text: str


class PromptBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """`inputs` maps each variable to a JSON Schema; `output` is a JSON Schema; `fewshot` a dataset's digest."""

    messages: tuple[TemplateMessage, ...]
    inputs: dict[str, Any]
    engine: str
    parameters: dict[str, Any] = {}
    output: dict[str, Any] | None = None
    fewshot: str | None = None


class DatasetBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """`rows` is the root of the tree of keys and row digests (`core/dataset.py`), so that identity depends on the rows and never
    on how they came. A row is a JSON object; `split` is a field of the row. Before there were trees (`form` list@1) the digest of
    canonical JSON `[[key, row digest], …]` named the rows."""

    rows: str
    count: int
    form: str = "list@1"


class ComponentBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """The prompted model component. `prompt` and `model` by digest."""

    prompt: str
    model: str
    parameters: dict[str, Any] = {}
    output: dict[str, Any] | None = None


class ModelBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """`provider` and the provider's own `model` id; `pinned` says the id names one immutable snapshot."""

    provider: str
    model: str
    pinned: bool = False
    parameters: dict[str, Any] = {}


class ChainBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """`uses` are the digests of what it calls, sorted; `input` and `output` JSON Schemas made from its signature;
    `shape` says how it is called: `sync`, `async`, `generator`, `async-generator`; `chat` when it takes messages."""

    code: Code
    uses: tuple[str, ...]
    input: dict[str, Any]
    output: dict[str, Any]
    shape: str
    chat: bool = False


Effects = Literal["none", "read", "write"]  # what a tool does to the world: computes, looks at it, changes it
EFFECTS: tuple[Effects, ...] = get_args(Effects)  # each more than the one before
SEARCH_ENTRY = "index:"  # begins the entry of a tool that has no code of its own: it searches the index it names


class McpServer(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A server of the Model Context Protocol: a command, or an address. `secrets` are the names of what a command is given in its
    environment, `bearer` the name of what an address is shown. `read` are the tools that only read, as the workspace says."""

    command: tuple[str, ...] = ()
    url: str = ""
    secrets: tuple[str, ...] = ()
    bearer: str = ""
    read: tuple[str, ...] = ()


class McpTool(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a tool of a server is, by the name it has there, and the schema of what it returns."""

    server: McpServer
    tool: str
    returns: dict[str, Any] | None = None


class ToolBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """`name` and `description` are identity: a model reads them. A tool made of an index has the entry `index:name`, no
    symbols, and the index among its `uses`; its parameters are `query` and `k`. `secrets` are the names of what its body is given.
    `mcp` is where a server's tool is; its code is nothing."""

    code: Code
    name: str
    description: str
    parameters: dict[str, Any]
    effects: Effects
    uses: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    mcp: McpTool | None = None


class AgentBody(msgspec.Struct, frozen=True, omit_defaults=True):
    prompt: str
    model: str
    tools: tuple[str, ...]
    limits: dict[str, Any]
    parameters: dict[str, Any] = {}
    output: dict[str, Any] | None = None


class EvaluatorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """Scores lie in `range`; `needs` are the arguments it asks for (output, row, passages, trace…)."""

    code: Code
    needs: tuple[str, ...]
    range: tuple[float, float] = (0.0, 1.0)
    uses: tuple[str, ...] = ()


class IndexBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """`documents` a dataset's digest; `chunks` the digest of the chunk blob made from it by `chunker`; `encoder` the identity of what
    makes vectors of them (`core/encoding.py`), empty for an index by words alone."""

    documents: str
    chunks: str
    chunker: dict[str, Any]
    engine: str = "fts5@1"
    settings: dict[str, Any] = {}
    encoder: dict[str, Any] = {}


class Guard(msgspec.Struct, frozen=True, omit_defaults=True):
    """One evaluator's condition. `margin`: not worse than production by more than this. `floor`: for a first release."""

    name: str
    evaluator: str
    margin: float | None = None
    floor: float | None = None


class SuiteBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """`target` is `kind/name`, or a foreign target `{"url"|"command"|"callable": …}`; by name, since the suite outlives
    its target's versions. `error` is the bound on promoting what is worse."""

    target: str | dict[str, Any]
    dataset: str
    guards: tuple[Guard, ...]
    split: str | None = None
    error: float = 0.05
    repeats: int = 1
    seed: int = 0


class ReleaseBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that runs, fixed. `entry` by digest reaches all by itself; `closure` lists it for audit, sorted."""

    entry_kind: str
    entry: str
    closure: tuple[str, ...]
    guardrails: tuple[str, ...] = ()


class SchemaBody(msgspec.Struct, frozen=True):
    schema: dict[str, Any]


class PolicyBody(msgspec.Struct, frozen=True):
    rules: list[dict[str, Any]]


class AdapterBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tuned weights: `weights` by digest over the base model's digest."""

    base: str
    weights: str
    method: str
    settings: dict[str, Any] = {}


class PinBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """One reading of data we do not own: what was asked, the state that was read (`at_us` in microseconds since 1970, `token` as the
    source calls it), the schema, and the root of the rows as in `DatasetBody`. `repeatable`: the source can be asked for that state
    again, until `deadline_us`; `principal` who read, as the source knows it."""

    spec: Spec
    at_us: int
    columns: tuple[Column, ...]
    count: int
    rows: str
    token: dict[str, str] = {}
    repeatable: bool = False
    deadline_us: int | None = None
    tables: tuple[str, ...] = ()
    principal: str = ""


class MonitorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is watched: runs of a `release`, or of a `service` that sends its own traces, in an environment, held against the rows of a
    `suite`. All by name, since a monitor outlives their versions. `encoder` is the identity of what makes vectors of texts
    (`core/encoding.py`). `error` bounds the chance of ever a false alarm; `tolerance` is a share of traffic, `margin` a fall of a judge's
    mean, that is nobody's trouble. `judges` are evaluators of the suite that judge a `sample` of the runs; None: all that need no row."""

    suite: str
    encoder: dict[str, Any]
    release: str | None = None
    service: str | None = None
    environment: str = "production"
    error: float = 0.05
    tolerance: float = 0.05
    sample: float = 0.1
    judges: tuple[str, ...] | None = None
    margin: float = 0.05
    seed: int = 0


class AlertBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who is told what: events of these kinds and monitors (none named: all), at least so severe. `secret` is the name of a variable of
    the server's environment that holds what the webhook is signed with; for `quiet` seconds the same event is not told again; `page`:
    events stay open on the page until somebody acknowledges them. One with a `metric` watches that, and is for what it finds itself."""

    events: tuple[EventKind, ...] = ()
    monitors: tuple[str, ...] = ()
    severity: Severity = "warning"
    page: bool = True
    webhook: str | None = None
    secret: str = ""
    email: tuple[str, ...] = ()
    quiet: int = QUIET_SECONDS
    off: bool = False
    metric: MetricRule | None = None


BODIES: dict[str, type[msgspec.Struct]] = {
    "prompt": PromptBody,
    "fewshot": DatasetBody,
    "schema": SchemaBody,
    "dataset": DatasetBody,
    "component": ComponentBody,
    "chain": ChainBody,
    "tool": ToolBody,
    "agent": AgentBody,
    "evaluator": EvaluatorBody,
    "suite": SuiteBody,
    "index": IndexBody,
    "model": ModelBody,
    "adapter": AdapterBody,
    "policy": PolicyBody,
    "release": ReleaseBody,
    "pin": PinBody,
    "monitor": MonitorBody,
    "alert": AlertBody,
}
assert set(BODIES) == set(KINDS)


class Link(msgspec.Struct, frozen=True, order=True):
    """An edge of lineage from a version to one it depends on. `role` says as what: `prompt`, `model`, `entry`…"""

    relation: Relation
    kind: str
    name: str
    digest: str
    role: str = ""


class Version(msgspec.Struct, frozen=True):
    """One immutable version. `body` is identity, `neutral` is not; both are JSON objects."""

    kind: str
    name: str
    digest: str
    body: Body
    links: tuple[Link, ...] = ()
    neutral: dict[str, Any] = {}
    project: str = DEFAULT_PROJECT

    @property
    def ref(self) -> Ref:
        return Ref(self.kind, self.name, self.digest, None, self.project)


def body_digest(kind: str, body: Body) -> str:
    """The digest of a version of this kind with this body."""
    return digest_json({"kind": kind, "body": body})


def check_body(kind: str, body: Any) -> msgspec.Struct:
    """The body as its type. Raises `Invalid` that names the field. A body must be in its shortest form (defaults left
    out), so that one meaning has one digest."""
    if kind not in BODIES:
        raise Invalid(f"{kind!r} is not a kind of artifact", remedy="kinds: " + ", ".join(KINDS))
    try:
        typed = msgspec.convert(body, BODIES[kind])
    except msgspec.ValidationError as e:
        raise Invalid(f"a {kind}'s body is malformed: {e}", where=kind) from e
    if _plain(typed) != _plain(body):
        raise Invalid(f"a {kind}'s body is not in its shortest form", where=kind, remedy="leave out unknown and default fields")
    return typed


def _plain(value: Any) -> Body:
    """A JSON object as JSON reads it back: lists, never tuples."""
    return cast(Body, msgspec.json.decode(msgspec.json.encode(value)))


def make_version(
    kind: str,
    name: str,
    body: msgspec.Struct,
    *,
    links: tuple[Link, ...] = (),
    neutral: dict[str, Any] | None = None,
    project: str = DEFAULT_PROJECT,
) -> Version:
    """Name a body: check it, hash it, return its version."""
    if type(body) is not BODIES[kind]:
        raise Invalid(f"a {kind} needs a {BODIES[kind].__name__}, not {type(body).__name__}")
    plain = _plain(body)
    check_name(name)
    return Version(kind, name, body_digest(kind, plain), plain, tuple(sorted(set(links))), neutral or {}, project)


def dependencies(kind: str, body: Body) -> set[str]:
    """Every digest of another version that this body contains: what its links must cover."""
    fields: dict[str, tuple[str, ...]] = {
        "prompt": ("fewshot",),
        "component": ("prompt", "model"),
        "chain": ("uses",),
        "tool": ("uses",),
        "agent": ("prompt", "model", "tools"),
        "evaluator": ("uses",),
        "index": ("documents",),
        "suite": ("dataset",),
        "adapter": ("base",),
        "release": ("entry", "closure", "guardrails"),
    }
    found: set[str] = set()
    for field in fields.get(kind, ()):
        value = body.get(field)
        found.update(value if isinstance(value, (list, tuple)) else [value] if value else [])
    if kind == "suite":
        found.update(g["evaluator"] for g in body["guards"])
    return found
