import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sightline.errors import ModelFileError, SightlineError
from sightline.training import checkpoints
from sightline.training.checkpoints import Checkpoint, has_checkpoint, read_checkpoint, write_checkpoint
from sightline.training.state import TrainState


def numbered(number: int) -> Checkpoint:
    state = TrainState(step=number, loss_sums={"x": 0.1 * number}, best=-float("inf"))
    return Checkpoint(state, {"model": {"w": torch.full((3,), float(number))}, "optimiser": {}})


def step_in(folder: Path) -> int:
    checkpoint = read_checkpoint(folder)
    assert float(checkpoint.tensors["model"]["w"][0]) == checkpoint.state.step
    return checkpoint.state.step


def test_round_trip(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "last", numbered(3))
    write_checkpoint(tmp_path / "last", numbered(4))
    read = read_checkpoint(tmp_path / "last")
    assert read.state == numbered(4).state
    assert torch.equal(read.tensors["model"]["w"], torch.full((3,), 4.0)) and read.tensors["optimiser"] == {}
    assert [entry.name for entry in tmp_path.iterdir()] == ["last"]


class Cut(BaseException):
    """The power goes."""


def test_cut_off_at_any_stage_of_writing_leaves_a_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[tuple[object, str]] = [
        (Path, "mkdir"), (Path, "rename"), (Path, "write_text"), (shutil, "rmtree"),
        (checkpoints, "save_file"), (checkpoints, "sync_file"), (checkpoints, "sync_folder"),
    ]  # fmt: skip
    calls = 0
    shutil_rmtree = shutil.rmtree

    def counted(original: Callable[..., object], stop_at: int) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            nonlocal calls
            calls += 1
            if calls == stop_at:
                if original is shutil_rmtree:  # deleting is cut off half-way
                    (Path(str(args[0])) / "state.json").unlink(missing_ok=True)
                raise Cut
            return original(*args, **kwargs)

        return call

    for stop_at in itertools.count(1):
        folder = tmp_path / str(stop_at) / "last"
        folder.parent.mkdir()
        write_checkpoint(folder, numbered(1))
        calls, cut = 0, False
        with monkeypatch.context() as patch:
            for owner, name in places:
                patch.setattr(owner, name, counted(getattr(owner, name), stop_at))
            try:
                write_checkpoint(folder, numbered(2))
            except Cut:
                cut = True
        assert has_checkpoint(folder)
        assert step_in(folder) in (1, 2)
        write_checkpoint(folder, numbered(3))
        assert step_in(folder) == 3
        if not cut:
            break
    assert stop_at > 12


def test_full_disk_is_told_and_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path / "last", numbered(1))

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(SightlineError, match=r"No space left.*the checkpoint before this one is whole"):
        write_checkpoint(tmp_path / "last", numbered(2))
    assert step_in(tmp_path / "last") == 1


@pytest.mark.parametrize("file", ["model.safetensors", "state.json"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_damage_is_named(tmp_path: Path, file: str, keep: float) -> None:
    folder = tmp_path / "last"
    write_checkpoint(folder, numbered(1))
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ModelFileError, match=f"{file}.*damaged"):
        read_checkpoint(folder)
    shutil.copytree(folder, tmp_path / "spoilt")
    write_checkpoint(folder, numbered(2))
    folder.rename(tmp_path / "last.old")
    (tmp_path / "spoilt").rename(folder)
    with pytest.raises(ModelFileError, match=r"rename last\.old, which is whole"):
        read_checkpoint(folder)


def test_newer_format_and_none_at_all(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no checkpoint"):
        read_checkpoint(tmp_path / "last")
    write_checkpoint(tmp_path / "last", numbered(1))
    state = tmp_path / "last" / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "format": 99}))
    with pytest.raises(ModelFileError, match="upgrade"):
        read_checkpoint(tmp_path / "last")
