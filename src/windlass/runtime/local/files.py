"""The files of weights as a folder: links to blobs, each checked against its digest before it is linked.

A folder is named by its manifest and made once; a chain of adapters becomes one folder for each, the base first.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

import msgspec

from windlass.core.digest import TAG
from windlass.core.errors import Invalid
from windlass.core.weights import Weights, decode_weights
from windlass.store.blobs import BlobStore

LONGEST_CHAIN = 16


class Layer(msgspec.Struct, frozen=True):
    """One manifest of a chain, and the folder with its files."""

    manifest: str
    weights: Weights
    folder: str


class LocalFiles:
    """Lays weights out.

    Args:
        folder: where folders are made, `<hex>/`.
    """

    def __init__(self, folder: Path, blobs: BlobStore) -> None:
        self._folder = folder
        self._blobs = blobs

    def manifest(self, digest: str) -> Weights:
        """Raises `NotFound` where these weights are not here."""
        return decode_weights(self._blobs.get(digest), digest)

    def chain(self, digest: str) -> list[Layer]:
        """The base, then each adapter on it; the weights themselves last. Raises `NotFound`, `Unavailable` for a damaged file."""
        layers: list[Layer] = []
        while digest:
            weights = self.manifest(digest)
            layers.append(Layer(digest, weights, str(self._lay_out(digest, weights))))
            if len(layers) > LONGEST_CHAIN:
                raise Invalid(f"more than {LONGEST_CHAIN} adapters lie on each other", where=digest)
            if weights.role != "model" and not weights.base:
                raise Invalid("an adapter names no base", where=digest)
            digest = weights.base
        return layers[::-1]

    def _lay_out(self, digest: str, weights: Weights) -> Path:
        made = self._folder / digest.removeprefix(TAG)
        if made.is_dir():
            return made
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._folder / f".{secrets.token_hex(8)}"
        try:
            for path, blob in weights.files.items():
                for _ in self._blobs.pieces(blob):  # reads all of it, and so checks it
                    pass
                link = partial / path
                link.parent.mkdir(parents=True, exist_ok=True)
                # relative: a data folder may be moved, or come back from a backup elsewhere
                link.symlink_to(os.path.relpath(self._blobs.local(blob).resolve(), link.parent.resolve()))
            partial.rename(made)
        except OSError:
            if not made.is_dir():  # no other process made it meanwhile
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return made
