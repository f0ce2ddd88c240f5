"""Model providers, and the keys that are given for them."""

from __future__ import annotations

from windlass.core.operations import Empty, providers
from windlass.sdk.nouns.group import Group


class Providers(Group):
    def list(self) -> providers.ModelProviderList:
        """Which can be called, why not, and with which keys; no key is told. Operation `providers.list`."""
        return self._client.call(providers.MODEL_PROVIDERS, providers.ModelProviderQuery(self._project))

    def give(
        self,
        provider: str,
        secret: str,
        *,
        fields: dict[str, str] | None = None,
        every_project: bool = True,
        like: str = "",
        note: str = "",
    ) -> providers.ProviderKey:
        """Give a key, for every project or for this one. Operation `providers.key`."""
        project = "" if every_project else self._project
        asked = providers.ProviderKeyRequest(provider, secret, project, fields or {}, like, note)
        return self._client.call(providers.GIVE_PROVIDER_KEY, asked)

    def remove(self, id: str) -> providers.ProviderKey:
        """By the id of the key, or the end of it. Operation `providers.remove`."""
        return self._client.call(providers.REMOVE_PROVIDER_KEY, providers.ProviderKeyQuery(id))

    def test(self, provider: str, model: str = "") -> providers.ProviderTested:
        """Whether the provider takes its key; with a model, also whether that answers. Operation `providers.test`."""
        return self._client.call(providers.TEST_PROVIDER, providers.ProviderTest(provider, self._project, model))

    def rekey(self) -> providers.Rekeyed:
        """Seal all keys anew. Operation `providers.rekey`."""
        return self._client.call(providers.REKEY_PROVIDERS, Empty())
