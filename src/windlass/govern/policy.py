"""`policy.toml` in the data folder: what an owner demands beyond what roles say. Read whole or refused whole.

[[rule]]                          which models may be used for which data: see `discover/policy`
…

[[approval]]
project = "shop"                  of every project where it names none
environment = "production"
people = 2
hours = 72

[[load]]                          a load test that must have been passed
environment = "production"
per_second = 20
p95_s = 2.0
errors = 0.01
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from windlass.core.errors import Invalid
from windlass.core.operations.bakeoffs import Rule
from windlass.core.operations.loadtests import LoadRule
from windlass.core.operations.policy import ApprovalRule

FILE = "policy.toml"


class PolicyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rule: tuple[Rule, ...] = ()
    approval: tuple[ApprovalRule, ...] = ()
    load: tuple[LoadRule, ...] = ()

    def demanded(self, project: str, environment: str) -> ApprovalRule | None:
        """What must be so before a release moves there: the strictest of all that is said; None where nothing is."""
        said = [r for r in self.approval if r.project in (None, project) and r.environment == environment]
        if not said:
            return None
        return ApprovalRule(max(r.people for r in said), project, said[0].environment, min(r.hours for r in said))

    def loads(self, project: str, environment: str) -> tuple[LoadRule, ...]:
        """Every load test that must have been passed before a release moves there."""
        return tuple(r for r in self.load if r.project in (None, project) and r.environment == environment)


def read_policy_file(path: Path) -> PolicyFile:
    """What a file says; nothing where there is none. Raises `Invalid` naming what is wrong with it."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return PolicyFile()
    except (OSError, UnicodeDecodeError) as e:
        raise Invalid(f"the policy cannot be read: {e}", where=str(path)) from e
    return parse_policy_file(text, str(path))


def parse_policy_file(text: str, where: str) -> PolicyFile:
    """What a TOML text says. Raises `Invalid`."""
    try:
        return msgspec.convert(tomllib.loads(text), PolicyFile)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as e:
        raise Invalid(f"the policy cannot be read: {e}", where=where, remedy="docs/models.md and docs/governing.md show its form") from e
