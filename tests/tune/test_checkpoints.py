"""Checkpoints that can be proven whole: whatever happens to a file, the one before counts; and nobody goes on with another run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.core.errors import Conflict
from windlass.tune.training import checkpoints
from windlass.tune.training.checkpoints import NEEDED, SEAL, newest, prune, refuse_other, seal

MADE_OF = {"train": "sha256:a", "parameters": {"learning_rate": 0.005, "steps": 60}, "libraries": {"torch": "2.13.0"}}


def written(folder: Path, step: int, sealed: bool = True) -> Path:
    made = folder / f"checkpoint-{step}"
    made.mkdir()
    for name in NEEDED:
        (made / name).write_bytes(f"{name} at {step}".encode() * 20)
    if sealed:
        seal(made, step, MADE_OF)
    return made


def harm(path: Path, how: str, at: float) -> None:
    data = path.read_bytes()
    place = int(at * (len(data) - 1))
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(data[:place])
    else:
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])


@given(
    name=st.sampled_from([*NEEDED, SEAL]),
    how=st.sampled_from(["gone", "cut", "one bit"]),
    at=st.floats(0, 1, exclude_max=True),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_whatever_happens_to_a_file_the_checkpoint_before_counts(
    tmp_path_factory: pytest.TempPathFactory, name: str, how: str, at: float
) -> None:
    folder = tmp_path_factory.mktemp("run")
    written(folder, 20)
    torn = written(folder, 40)
    before = (torn / SEAL).read_bytes()
    harm(torn / name, how, at)
    try:
        found = newest(folder, MADE_OF)
    except Conflict:  # one bit of the seal's fingerprint: another run, and refused as one
        assert name == SEAL and how == "one bit" and (torn / SEAL).read_bytes() != before
        return
    if found.step != 20:  # one bit of a seal that says nothing: its step, the name of its form
        assert name == SEAL and how == "one bit"
        return
    assert found.path == folder / "checkpoint-20" and not torn.exists()
    assert len(found.notes) == 1 and found.notes[0].startswith("checkpoint-40 was left out: ")
    shutil.rmtree(folder)


def test_one_without_a_seal_was_cut_off(tmp_path: Path) -> None:
    written(tmp_path, 20)
    written(tmp_path, 40, sealed=False)
    found = newest(tmp_path, MADE_OF)
    assert (found.step, found.notes) == (20, ("checkpoint-40 was left out: it was cut off before it was whole",))
    assert newest(tmp_path / "none", MADE_OF) == (None, 0, ())


@pytest.mark.parametrize("needed", NEEDED)
def test_a_seal_over_too_little_is_none(tmp_path: Path, needed: str) -> None:
    """The library would go on without its optimizer or its random numbers, and say nothing."""
    made = written(tmp_path, 20, sealed=False)
    (made / needed).unlink()
    seal(made, 20, MADE_OF)
    assert newest(tmp_path, MADE_OF).notes == (f"checkpoint-20 was left out: it has no {needed}",)


def other(path: tuple[str, ...], value: object) -> dict[str, object]:
    made = {k: dict(v) if isinstance(v, dict) else v for k, v in MADE_OF.items()}
    at = made
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return made


@pytest.mark.parametrize(
    ("made_of", "said"),
    [
        (other(("train",), "sha256:b"), "the rows it trains on are other"),
        (other(("parameters", "learning_rate"), 0.05), "the parameters are other: learning_rate 0.005 → 0.05"),
        (other(("libraries", "torch"), "2.14.0"), "the libraries are other: torch 2.13.0 → 2.14.0"),
        (other(("device",), "cuda"), "the device is other"),
    ],
)  # fmt: skip
def test_another_run_is_refused(tmp_path: Path, made_of: dict[str, object], said: str) -> None:
    written(tmp_path, 20)
    for ask in (lambda: newest(tmp_path, made_of), lambda: refuse_other(MADE_OF, made_of)):
        with pytest.raises(Conflict, match=said):
            ask()
    assert newest(tmp_path, MADE_OF).step == 20  # and nothing was lost by asking


def test_the_newest_whole_ones_are_kept(tmp_path: Path) -> None:
    for step in (20, 40, 100, 60):
        written(tmp_path, step)
    prune(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-100", "checkpoint-60"]


def test_a_seal_is_there_only_when_all_it_names_was_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails at any sync leaves no seal."""
    made = written(tmp_path, 20, sealed=False)
    for failing in range(len(NEEDED)):
        count, sync = [0], checkpoints._sync

        def fails(path: Path, count: list[int] = count, failing: int = failing, sync: Callable[[Path], None] = sync) -> None:
            count[0] += 1
            if count[0] > failing:
                raise OSError(28, "No space left on device")
            sync(path)

        with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
            patched.setattr(checkpoints, "_sync", fails)
            seal(made, 20, MADE_OF)
        assert newest(tmp_path, MADE_OF).path is None
        made = written(tmp_path, 20, sealed=False)
