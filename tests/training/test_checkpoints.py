import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sightline import files
from sightline.errors import ConfigError, ModelFileError, SightlineError
from sightline.training import checkpoints
from sightline.training.checkpoints import Checkpoint, go_back, has_checkpoint, read_checkpoint, write_checkpoint
from sightline.training.state import TrainState


def numbered(number: int) -> Checkpoint:
    state = TrainState(step=number, loss_sums={"x": 0.1 * number}, best=-float("inf"))
    return Checkpoint(state, {"model": {"w": torch.full((3,), float(number))}, "optimiser": {}})


def step_in(folder: Path) -> int:
    checkpoint = read_checkpoint(folder)
    assert float(checkpoint.tensors["model"]["w"][0]) == checkpoint.state.step
    return checkpoint.state.step


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_round_trip(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "last", numbered(3))
    write_checkpoint(tmp_path / "last", numbered(4))
    read = read_checkpoint(tmp_path / "last")
    assert read.state == numbered(4).state
    assert torch.equal(read.tensors["model"]["w"], torch.full((3,), 4.0)) and read.tensors["optimiser"] == {}
    assert names(tmp_path) == ["last", "previous"]
    assert step_in(tmp_path / "previous") == 3


def test_each_file_and_name_is_on_the_disk_before_the_next_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(tmp_path / "last", numbered(1))
    write_checkpoint(tmp_path / "last", numbered(2))
    done: list[str] = []

    def told(word: str, original: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            names = [str(Path(str(a)).relative_to(tmp_path)) for a in arguments if isinstance(a, Path)]
            done.append(" ".join([word, *names]))
            return original(*arguments)

        return call

    monkeypatch.setattr(checkpoints, "save_file", told("write", checkpoints.save_file))
    monkeypatch.setattr(Path, "rename", told("rename", Path.rename))
    monkeypatch.setattr(shutil, "rmtree", told("remove", shutil.rmtree))
    for module in (checkpoints, files):
        for name in ("sync_file", "sync_folder"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, told("sync", getattr(module, name)))
    write_checkpoint(tmp_path / "last", numbered(3))
    assert done == [
        "write last.new/model.safetensors", "sync last.new/model.safetensors",
        "write last.new/optimiser.safetensors", "sync last.new/optimiser.safetensors",
        "sync last.new/state.json", "sync last.new", "sync .",
        "remove previous", "sync .", "rename last previous", "sync .", "rename last.new last", "sync .",
    ]  # fmt: skip


def test_full_disk_is_told_and_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path / "last", numbered(1))

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(SightlineError, match=r"No space left.*the checkpoint before this one is whole"):
        write_checkpoint(tmp_path / "last", numbered(2))
    assert step_in(tmp_path / "last") == 1


def test_too_little_room_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path / "last", numbered(1))
    usage = shutil.disk_usage(tmp_path)._replace(free=70_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    write_checkpoint(tmp_path / "last", numbered(2))
    large = Checkpoint(TrainState(), {"model": {"w": torch.zeros(2_000_000)}})
    (tmp_path / "new").mkdir()
    with pytest.raises(SightlineError, match=r"needs 8\.1 MB.*make room, then start again: nothing had been saved yet"):
        write_checkpoint(tmp_path / "new" / "last", large)
    (tmp_path / "new").rmdir()
    with pytest.raises(SightlineError, match=r"needs 8\.1 MB of room beside the ones before, 0\.1 are free.*make room"):
        write_checkpoint(tmp_path / "last", large)
    assert names(tmp_path) == ["last", "previous"] and step_in(tmp_path / "last") == 2


@pytest.mark.parametrize("file", ["model.safetensors", "state.json"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_damage_is_named_and_the_one_before_is_offered(tmp_path: Path, file: str, keep: float) -> None:
    folder = tmp_path / "last"
    write_checkpoint(folder, numbered(1))
    cut_off(folder / file, keep)
    with pytest.raises(ModelFileError, match=f"{file}.*damaged.*restore it from a backup"):
        read_checkpoint(folder)
    with pytest.raises(ModelFileError, match="no whole checkpoint before"):
        go_back(folder)
    shutil.rmtree(folder)
    for number in (1, 2):
        write_checkpoint(folder, numbered(number))
    with pytest.raises(ConfigError, match="the last checkpoint is whole"):
        go_back(folder)
    cut_off(folder / file, keep)
    damaged = (folder / file).read_bytes()
    with pytest.raises(ModelFileError, match=f"{file}.*damaged.*--resume --from-previous"):
        read_checkpoint(folder)
    aside = go_back(folder)
    assert aside is not None and (aside / file).read_bytes() == damaged
    assert step_in(folder) == 1 and names(tmp_path) == ["last", "last.damaged"]
    write_checkpoint(folder, numbered(2))
    cut_off(folder / file, keep)
    assert go_back(folder) == tmp_path / "last.damaged-2"
    assert step_in(folder) == 1


def test_every_changed_byte_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "last"
    write_checkpoint(folder, numbered(1))
    for file in folder.iterdir():
        whole = file.read_bytes()
        for place in range(0, len(whole), 7):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(ModelFileError):
                read_checkpoint(folder)
        file.write_bytes(whole)
    assert step_in(folder) == 1


def test_checkpoint_that_was_taken_away_is_said_and_the_one_before_offered(tmp_path: Path) -> None:
    for number in (1, 2):
        write_checkpoint(tmp_path / "last", numbered(number))
    shutil.rmtree(tmp_path / "last")
    assert has_checkpoint(tmp_path / "last")
    with pytest.raises(ModelFileError, match=r"no checkpoint.*--from-previous"):
        read_checkpoint(tmp_path / "last")
    assert go_back(tmp_path / "last") is None
    assert step_in(tmp_path / "last") == 1


def test_checkpoint_of_the_first_format_is_read(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "last", numbered(4))
    file = tmp_path / "last" / "state.json"
    content = json.loads(file.read_text())
    state = {name: value for name, value in content["state"].items() if name not in ("began_step", "extensions")}
    file.write_text(json.dumps({"format": 1, "sha256": content["sha256"], "state": state}))
    assert read_checkpoint(tmp_path / "last").state == numbered(4).state


def cut_off(file: Path, keep: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(keep * len(content))])


def test_damaged_checkpoint_that_stood_ready_and_a_damaged_last_one_are_both_moved_aside(tmp_path: Path) -> None:
    folder = tmp_path / "last"
    for number in (1, 2, 3):
        write_checkpoint(folder, numbered(number))
    shutil.copytree(folder, tmp_path / "last.new")
    for damaged in (folder, tmp_path / "last.new"):
        (damaged / "model.safetensors").write_bytes(b"oops")
    assert go_back(folder) is not None
    assert step_in(folder) == 2
    assert len([place for place in tmp_path.iterdir() if "damaged" in place.name]) == 2


def test_newer_format_and_none_at_all(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no checkpoint"):
        read_checkpoint(tmp_path / "last")
    write_checkpoint(tmp_path / "last", numbered(1))
    state = tmp_path / "last" / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "format": 99}))
    with pytest.raises(ModelFileError, match="upgrade"):
        read_checkpoint(tmp_path / "last")
