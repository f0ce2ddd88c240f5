"""Operations on evidence: what shows others how a release came to be, what was proven about it, and who let it out."""

from __future__ import annotations

import msgspec

from windlass.core.operations import Operation


class EvidenceRequest(msgspec.Struct, omit_defaults=True):
    """`release` is a name (what production runs, else its newest version) or a ref with a digest or an environment."""

    release: str
    project: str = "default"


class EvidenceFile(msgspec.Struct, frozen=True):
    """One file; `said` is what it is, in a few words, `digest` over its text."""

    name: str
    media: str
    said: str
    digest: str
    text: str


class ReleaseEvidence(msgspec.Struct):
    """All that shows how one release came to be. The same release gives the same files but for what came about since. `sentence` is the
    whole of it for a person."""

    release: str
    made_ns: int
    sentence: str
    files: tuple[EvidenceFile, ...]


EVIDENCE = Operation("evidence.make", "GET", EvidenceRequest, ReleaseEvidence, "read")
