"""Operations on versions, labels, links and datasets."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from windlass.core.artifacts import Version
from windlass.core.operations import Limit, Operation, Page


class Bundle(msgspec.Struct, omit_defaults=True):
    """What a push sends once its blobs are there. `versions` in any order; their links may point inside the bundle or at
    what the registry already has. `snapshot` is the digest of a blob that is canonical JSON `{path: digest}`: the
    workspace's files; each release remembers the first snapshot it was minted from. `branch` labels all its versions.
    `expected` maps `kind/name` to the `before` a dry run told: where that is no longer so, the versions are kept, no label
    moves, and the push ends in a conflict. A dry run needs no blobs. A dataset that was changed on the server since the workspace pushed
    it must hold those changes too, unless the push goes `over` them."""

    project: str
    workspace: str
    versions: tuple[Version, ...]
    snapshot: str
    branch: str = "main"
    source: dict[str, Any] = {}  # git commit, dirty, path: neutral
    dry: bool = False
    expected: dict[str, str | None] = {}
    over: bool = False


class Change(msgspec.Struct, omit_defaults=True):
    """What a push did with one version: `new` (first of its name), `changed` or `unchanged` against `before`: what the branch
    label points to; where the branch has none, what `main` does, else the newest version."""

    kind: str
    name: str
    digest: str
    status: Literal["new", "changed", "unchanged"]
    before: str | None = None
    why: str = ""  # "2 lines changed", "uses prompt/reply": one phrase
    candidate: bool = False  # a release that waits for a gate


class PushReport(msgspec.Struct, omit_defaults=True):
    project: str
    workspace: str
    branch: str
    changes: tuple[Change, ...]
    releases: tuple[str, ...] = ()  # refs minted or met


class BlobQuery(msgspec.Struct):
    digests: tuple[str, ...]


class BlobsMissing(msgspec.Struct):
    missing: tuple[str, ...]


class ArtifactQuery(msgspec.Struct, omit_defaults=True):
    project: str = "default"
    kind: str | None = None
    search: str | None = None
    cursor: str | None = None
    limit: Limit = 50


class ArtifactSummary(msgspec.Struct, omit_defaults=True):
    kind: str
    name: str
    digest: str  # the version that the name alone means
    versions: int
    updated_ns: int
    labels: dict[str, str] = {}  # label → digest
    description: str = ""
    workspace: str | None = None  # that pushed this version first
    rows: int | None = None  # of a dataset


class ArtifactPage(Page):
    items: tuple[ArtifactSummary, ...]
    kinds: dict[str, int] = {}


class VersionQuery(msgspec.Struct, omit_defaults=True):
    ref: str  # kind/name
    project: str = "default"
    cursor: str | None = None
    limit: Limit = 50


class VersionSummary(msgspec.Struct, omit_defaults=True):
    kind: str
    name: str
    digest: str
    created_ns: int
    actor: str
    labels: tuple[str, ...] = ()
    note: str = ""  # what an edit was for, or that a bake-off made it


class VersionPage(Page):
    """`labels` are all of the name with what they point to, also where that stands on another page."""

    items: tuple[VersionSummary, ...]
    labels: dict[str, str] = {}


class RefQuery(msgspec.Struct, omit_defaults=True):
    ref: str
    project: str = "default"


class VersionDetail(msgspec.Struct, omit_defaults=True):
    """One version with what surrounds it. `content` is what a person wants to read (a prompt's text, a chain's source)."""

    version: Version
    created_ns: int
    actor: str
    labels: tuple[str, ...] = ()
    used_by: tuple[str, ...] = ()  # refs, direct
    content: str = ""
    snapshot: str | None = None


class DiffQuery(msgspec.Struct, omit_defaults=True):
    a: str
    b: str
    project: str = "default"


class FieldChange(msgspec.Struct, omit_defaults=True):
    path: str  # JSON Pointer into the body
    before: Any = None
    after: Any = None


class Diff(msgspec.Struct, omit_defaults=True):
    """`text` is a unified diff of the content; `rows` counts for datasets: added, removed, changed."""

    a: str
    b: str
    same: bool
    fields: tuple[FieldChange, ...] = ()
    text: str = ""
    rows: dict[str, int] = {}


class LineageQuery(msgspec.Struct, omit_defaults=True):
    """`up`: what it depends on; `down`: what depends on it."""

    ref: str
    direction: Literal["up", "down", "both"] = "both"
    depth: int = 6
    project: str = "default"


class Node(msgspec.Struct, omit_defaults=True):
    ref: str
    kind: str
    name: str
    digest: str
    depth: int  # negative upwards, 0 the start, positive downwards
    labels: tuple[str, ...] = ()


class Edge(msgspec.Struct, frozen=True, omit_defaults=True):
    source: str  # ref of the dependent
    target: str  # ref of the dependency
    relation: str
    role: str = ""


class Graph(msgspec.Struct, omit_defaults=True):
    start: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    truncated: bool = False


class LabelMove(msgspec.Struct, omit_defaults=True):
    """Move a branch label by compare-and-set: `expected` is what it must point to now (None: must not exist yet)."""

    ref: str  # kind/name:label
    digest: str
    expected: str | None = None
    project: str = "default"


class LabelState(msgspec.Struct, omit_defaults=True):
    kind: str
    name: str
    label: str
    digest: str
    moved_ns: int
    actor: str = ""


class VerifyQuery(msgspec.Struct, omit_defaults=True):
    project: str | None = None


class Disagreement(msgspec.Struct, omit_defaults=True):
    what: str  # ref or blob digest
    problem: str


class VerifyReport(msgspec.Struct, omit_defaults=True):
    versions: int
    links: int
    blobs: int
    problems: tuple[Disagreement, ...] = ()


PUSH = Operation("registry.push", "POST", Bundle, PushReport, "write")
BLOBS_MISSING = Operation("blobs.missing", "POST", BlobQuery, BlobsMissing, "write")
ARTIFACTS = Operation("artifacts.list", "GET", ArtifactQuery, ArtifactPage, "read")
VERSIONS = Operation("versions.list", "GET", VersionQuery, VersionPage, "read")
SHOW = Operation("versions.show", "GET", RefQuery, VersionDetail, "read")
DIFF = Operation("versions.diff", "GET", DiffQuery, Diff, "read")
LINEAGE = Operation("lineage.walk", "GET", LineageQuery, Graph, "read")
MOVE_LABEL = Operation("labels.move", "POST", LabelMove, LabelState, "write", also="a label of an alert: admin")
VERIFY = Operation("registry.verify", "POST", VerifyQuery, VerifyReport, "read", also="without a project, all of them: admin")
