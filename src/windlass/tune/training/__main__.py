"""One tuning, from its job file to its exported adapter. Reports go to the descriptor that was its standard output, a line each; what
libraries print goes to the log."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from pathlib import Path
from typing import BinaryIO

import msgspec

from windlass.core.errors import Conflict
from windlass.runtime.local.environment import die_with
from windlass.tune.training import checkpoints, hardware
from windlass.tune.training.faults import fault_of
from windlass.tune.training.fingerprint import fingerprint
from windlass.tune.training.job import CHECKPOINTS, EXPORT, HELDOUT, JOB, LOCK, TRAIN, Began, Exported, Fault, Job, Report, Sampled

LOCK_SECONDS = 10.0


def main() -> None:
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    folder = Path(sys.argv[1])
    job = msgspec.json.decode((folder / JOB).read_bytes(), type=Job)
    die_with(job.parent)
    work = _Work(job, folder, out)
    try:
        work.run()
    except BaseException as e:
        import traceback

        traceback.print_exc()
        work.tell(fault_of(e))
        raise SystemExit(1) from e


class _Work:
    def __init__(self, job: Job, folder: Path, out: BinaryIO) -> None:
        self._job = job
        self._folder = folder
        self._out = out

    def tell(self, report: Report | Fault) -> None:
        self._out.write(msgspec.json.encode(report) + b"\n")

    def run(self) -> None:
        _lock(self._folder / LOCK)
        from windlass.runtime.local import loading

        job, device = self._job, loading.device()
        fits = hardware.check(job, device, hardware.free_memory(device))
        made_of = fingerprint(job, self._folder, device)
        checkpoints.refuse_other(job.fingerprint, made_of)
        (self._folder / CHECKPOINTS).mkdir(exist_ok=True)
        found = checkpoints.newest(self._folder / CHECKPOINTS, made_of)
        self.tell(Began(made_of, device, fits, found.step, found.notes))
        loading.quiet(job.threads)
        self._train(device, made_of, found)

    def _train(self, device: str, made_of: dict[str, object], found: checkpoints.Found) -> None:
        from transformers import set_seed

        from windlass.runtime.local.answering import answers_of, digest_of, scored_canaries, undisturbed
        from windlass.runtime.local.loading import load_tokenizer
        from windlass.tune.training import measures, trainers, watch
        from windlass.tune.training.export import export
        from windlass.tune.training.rows import read_rows

        job, p = self._job, self._job.parameters
        set_seed(p.seed)
        tokenizer = load_tokenizer(job.base)
        heldout = read_rows(self._folder / HELDOUT)
        made = trainers.make(job, self._folder / CHECKPOINTS, tokenizer, read_rows(self._folder / TRAIN), device)
        model = made.model
        speaks = job.method != "reward"
        ask = watch.asking(model, tokenizer, heldout, p.answer) if speaks else None
        watching = watch.Watch(self.tell, made_of, ask)
        made.trainer.add_callback(watching)

        def measured() -> list[float]:
            with undisturbed():
                return measures.values(job.method, model, tokenizer, heldout, p.longest, p.answer, made.scorer)

        before = measured()
        if ask is not None and not found.step:
            self.tell(Sampled(tuple(ask(0))))
        made.trainer.train(resume_from_checkpoint=str(found.path) if found.path else None)
        model.eval()
        digest = export(model, self._folder / EXPORT)
        after = measured()
        answers, without = [], ""
        if speaks:
            answers = answers_of(model, tokenizer, job.ask)
            with model.disable_adapter():
                without = digest_of(answers_of(model, tokenizer, job.ask))
        else:
            answers = scored_canaries(model, tokenizer, job.ask)
        wires = tuple(watch.trip_wires(watching.last))
        self.tell(Exported(measures.measure(job.method, before, after), digest, digest_of(answers), without, device, wires))


def _lock(path: Path) -> None:
    """Hold a tuning for this process, to its end. Whoever was cancelled a moment ago may still be on its way out."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise Conflict("another process is at work on this tuning", remedy="wait for it, or end it") from None
            time.sleep(0.1)


if __name__ == "__main__":
    main()
