"""Models: bake-offs, weights on this machine, and tunings."""

from __future__ import annotations

from pathlib import Path

from windlass.core.operations import bakeoffs, evaluation, registry, tuning, weights
from windlass.sdk.modelfolder import read_folder, write_folder
from windlass.sdk.nouns.group import Group


class Bakeoffs(Group):
    def start(self, request: bakeoffs.BakeoffRequest) -> bakeoffs.Bakeoff:
        """Operation `discover.start`."""
        return self._client.call(bakeoffs.DISCOVER, request)

    def show(self, id: str) -> bakeoffs.Bakeoff:
        """Operation `discover.show`."""
        return self._client.call(bakeoffs.BAKEOFF, evaluation.IdQuery(id, self._project))

    def list(self, suite: str | None = None, cursor: str | None = None, limit: int = 20) -> bakeoffs.BakeoffPage:
        """Operation `discover.list`."""
        return self._client.call(bakeoffs.BAKEOFFS, bakeoffs.BakeoffQuery(self._project, suite, cursor, limit))

    def measured(self, model: str | None = None, suite: str | None = None) -> bakeoffs.MeasuredPage:
        """What was measured of models here. Operation `models.measured`."""
        return self._client.call(bakeoffs.MEASURED, bakeoffs.MeasuredQuery(self._project, model, suite))


class Weights(Group):
    def add(self, folder: Path, name: str, licence: str, description: str = "", source: str = "") -> weights.WeightsState:
        """Bring a folder with a model in: config, tokenizer, safetensors. Raises `Invalid` for what is none. Operation `weights.add`."""
        files = read_folder(folder)
        missing = self._client.call(registry.BLOBS_MISSING, registry.BlobQuery(tuple(sorted(set(files.values()))))).missing
        for path, digest in files.items():
            if digest in missing:
                self._client.put_blob(digest, (folder / path).read_bytes())
        return self._client.call(weights.ADD_WEIGHTS, weights.WeightsAdd(name, files, licence, self._project, description, source))

    def list(self, cursor: str | None = None, limit: int = 50) -> weights.WeightsPage:
        """Operation `weights.list`."""
        return self._client.call(weights.WEIGHTS, weights.WeightsQuery(self._project, cursor, limit))

    def show(self, which: str) -> weights.WeightsState:
        """By id, ref or name. Operation `weights.show`."""
        return self._client.call(weights.SHOW_WEIGHTS, weights.WeightsShow(which, self._project))

    def check(self, which: str) -> weights.WeightsCheck:
        """Load them in a fresh process, and see whether they answer as they did. Operation `weights.check`."""
        return self._client.call(weights.CHECK_WEIGHTS, weights.WeightsShow(which, self._project))

    def export(self, which: str, folder: Path) -> weights.WeightsState:
        """Write the files to a folder that is empty or not there, each checked against its digest."""
        found = self.show(which)
        write_folder(folder, {path: self._client.get_blob(digest) for path, digest in found.files.items()}, found.files)
        return found


class Tunes(Group):
    def start(self, request: tuning.TuneRequest) -> tuning.Tune:
        """Begin to tune; `show` says how far it is. Operation `tune.start`."""
        return self._client.call(tuning.TUNE, request)

    def list(self, name: str | None = None, cursor: str | None = None, limit: int = 20) -> tuning.TunePage:
        """Operation `tune.list`."""
        return self._client.call(tuning.TUNES, tuning.TuneQuery(self._project, name, cursor, limit))

    def show(self, id: str) -> tuning.Tune:
        """Operation `tune.show`."""
        return self._client.call(tuning.SHOW_TUNE, evaluation.IdQuery(id, self._project))

    def points(self, id: str, after: int = -1) -> tuning.Points:
        """Figures of the steps after one. Operation `tune.points`."""
        return self._client.call(tuning.POINTS, tuning.PointsQuery(id, self._project, after))

    def cancel(self, id: str) -> tuning.Tune:
        """Operation `tune.cancel`."""
        return self._client.call(tuning.CANCEL_TUNE, evaluation.IdQuery(id, self._project))

    def resume(self, id: str) -> tuning.Tune:
        """Go on from the last whole checkpoint. Operation `tune.resume`."""
        return self._client.call(tuning.RESUME_TUNE, evaluation.IdQuery(id, self._project))

    def compare(self, id: str, suite: str, part: str | None = None, previous: str | None = None) -> tuning.TuneComparison:
        """Hold it against the frozen and the previous model; `compared` says how far that is. Operation `tune.compare`."""
        return self._client.call(tuning.COMPARE_TUNE, tuning.CompareTune(id, suite, self._project, part, previous))

    def compared(self, id: str) -> tuning.Comparisons:
        """Operation `tune.compared`."""
        return self._client.call(tuning.COMPARISONS, tuning.ComparisonsQuery(id, self._project))
