"""Who may do what, and what was done: keys, the policy, the audit, what is masked, who is erased."""

from __future__ import annotations

from typing import Any

from windlass.core.operations import Empty, audit, erasures, limits, masking, people, policy, system
from windlass.sdk.nouns.group import Group


class Keys(Group):
    def create(self, name: str, role: Any = "caller", *, scopes: tuple[str, ...] = (), expires_ns: int | None = None) -> system.KeyInfo:
        """Operation `keys.create`."""
        return self._client.call(system.KEY_CREATE, system.KeyRequest(name, role, self._project, scopes, expires_ns))

    def list(self) -> system.KeyList:
        """Operation `keys.list`."""
        return self._client.call(system.KEYS, Empty())

    def change(self, id: str, role: Any = None, *, expires_ns: int | None = None, forever: bool = False) -> system.KeyInfo:
        """Operation `keys.change`."""
        return self._client.call(system.KEY_CHANGE, system.KeyChange(id, role, expires_ns, forever))

    def revoke(self, id: str) -> system.KeyInfo:
        """Operation `keys.revoke`."""
        return self._client.call(system.KEY_REVOKE, system.KeyQuery(id))


class Limits(Group):
    def set(
        self, subject: str, measured: Any, amount: float, window: Any = "ever", *, target: str = "", unpriced: Any = "refuse"
    ) -> limits.LimitState:
        """The arguments are the fields of `LimitRequest`. Operation `limits.set`."""
        asked = limits.LimitRequest(subject, measured, amount, window, target, unpriced, self._project)
        return self._client.call(limits.SET_LIMIT, asked)

    def remove(self, id: str) -> limits.LimitState:
        """Operation `limits.remove`."""
        return self._client.call(limits.REMOVE_LIMIT, limits.LimitId(id, self._project))

    def list(self, subject: str | None = None) -> limits.LimitList:
        """With what is used of each now. Operation `limits.list`."""
        return self._client.call(limits.LIMITS, limits.LimitQuery(self._project, subject))

    def spend(self, by: Any = "model", since_ns: int | None = None, until_ns: int | None = None) -> limits.Spend:
        """What calls came to, this month by default. Operation `limits.spend`."""
        return self._client.call(limits.SPEND, limits.SpendQuery(by, since_ns, until_ns, self._project))


class People(Group):
    def list(self) -> people.PersonList:
        """Who came by an OpenID provider. Operation `people.list`."""
        return self._client.call(people.PEOPLE, Empty())

    def block(self, id: str) -> people.Person:
        """They come in no more, and are logged out everywhere. Operation `people.block`."""
        return self._client.call(people.PEOPLE_BLOCK, people.PersonQuery(id))

    def admit(self, id: str) -> people.Person:
        """Undo a block. Operation `people.admit`."""
        return self._client.call(people.PEOPLE_ADMIT, people.PersonQuery(id))

    def providers(self, *, reach: bool = False) -> people.ProviderList:
        """By whom people and machines come, as `oidc.toml` says. Operation `people.providers`."""
        return self._client.call(people.PROVIDERS, people.ProviderQuery(reach))


class Policy(Group):
    def show(self) -> policy.PolicyTable:
        """What each role may do, and what each operation needs. Operation `policy.show`."""
        return self._client.call(policy.POLICY, Empty())

    def why(self, actor: str, action: str, subject: str = "") -> policy.Ruling:
        """May they, and by which rule? Nothing is done. Operation `policy.why`."""
        return self._client.call(policy.POLICY_WHY, policy.PolicyQuestion(actor, action, subject, self._project))


class Audit(Group):
    def list(self, **filters: Any) -> audit.AuditPage:
        """Filters are the fields of `AuditQuery`. Operation `audit.list`."""
        return self._client.call(audit.AUDIT, audit.AuditQuery(project=self._project, **filters))

    def verify(self, head: str | None = None) -> audit.AuditState:
        """Whether the record of what was done is still what was written. Operation `audit.verify`."""
        return self._client.call(audit.VERIFY_AUDIT, audit.AuditVerify(head))


class Masking(Group):
    def show(self) -> masking.MaskRules:
        """What is masked in the project. Operation `masking.show`."""
        return self._client.call(masking.MASKING, masking.MaskQuery(self._project))

    def attempt(self, text: str) -> masking.Masked:
        """What would become of a text; it is kept nowhere. Operation `masking.try`."""
        return self._client.call(masking.MASK_TRY, masking.MaskTry(text, self._project))


class Erasures(Group):
    def preview(self, *names: str, mentions: bool = False) -> erasures.ErasurePreview:
        """What is held of a person; nothing is changed. Operation `erasures.preview`."""
        return self._client.call(erasures.PREVIEW_ERASURE, erasures.ErasureRequest(names, self._project, mentions))

    def make(self, *names: str, mentions: bool = False, reason: str = "") -> erasures.Erasure:
        """Take a person out of everything; begun when this returns. Operation `erasures.make`."""
        return self._client.call(erasures.ERASE, erasures.ErasureRequest(names, self._project, mentions, reason))

    def list(self, cursor: str | None = None) -> erasures.ErasurePage:
        """Operation `erasures.list`."""
        return self._client.call(erasures.ERASURES, erasures.ErasureQuery(self._project, cursor))

    def show(self, id: str) -> erasures.Erasure:
        """Operation `erasures.show`, by the id or the end of it."""
        return self._client.call(erasures.ERASURE, erasures.ErasureId(id, self._project))
