import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_system import TinyConfig, TinySystem, make_system

from sightline.errors import ModelFileError, SightlineError
from sightline.files import write_atomically
from sightline.model_file import Calibration, load_weights, read_header, write_model
from sightline.training.checkpoints import Checkpoint, write_checkpoint
from sightline.training.state import TrainState


def write(path: Path, system: TinySystem) -> Path:
    write_model(path, system, stage="train", metrics={"AP": 0.5}, provenance="made here, CC0")
    return path


def test_round_trip(tmp_path: Path) -> None:
    system = make_system(1).to(memory_format=torch.channels_last)
    path = write(tmp_path / "m.safetensors", system)
    header = read_header(path)
    assert (header.system, header.stage, header.metrics) == ("tiny", "train", {"AP": 0.5})
    assert header.config == {"width": 4} and header.classes == system.classes
    assert header.preparation["short_side"] == 16 and header.provenance == "made here, CC0"
    other = make_system(2)
    load_weights(path, other)
    for name, tensor in system.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.safetensors"]
    assert path.read_bytes() == write(tmp_path / "again.safetensors", system).read_bytes()


def test_others_may_read_it_as_they_may_read_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    usual = (tmp_path / "usual").stat().st_mode
    assert write(tmp_path / "m.safetensors", make_system()).stat().st_mode == usual
    write_checkpoint(tmp_path / "last", Checkpoint(TrainState(), {"model": {"w": torch.zeros(1)}}))
    assert {file.stat().st_mode for file in (tmp_path / "last").iterdir()} == {usual}


def test_truncated_anywhere_is_one_clear_line(tmp_path: Path) -> None:
    path = write(tmp_path / "m.safetensors", make_system())
    whole = path.read_bytes()
    system = make_system(3)
    before = {name: tensor.clone() for name, tensor in system.state_dict().items()}
    for place in range(20):
        path.write_bytes(whole[: place * len(whole) // 20])
        for read in (read_header, lambda p: load_weights(p, system)):
            with pytest.raises(ModelFileError, match=r"m\.safetensors: is not a whole safetensors file.*cut off"):
                read(path)
    assert all(torch.equal(tensor, system.state_dict()[name]) for name, tensor in before.items())


def test_missing_folder_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"No such file.*check the path"):
        read_header(tmp_path / "none.safetensors")
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_header(tmp_path)
    save_file({"w": torch.ones(2, dtype=torch.float16)}, tmp_path / "w.safetensors")
    with pytest.raises(ModelFileError, match=r"foreign file.*--backbone-weights"):
        read_header(tmp_path / "w.safetensors")


def test_newer_format_and_senseless_headers(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"w": torch.ones(1)}, path, {"sightline": json.dumps({"format": 3, "versions": {"sightline": "9.1"}})})
    with pytest.raises(ModelFileError, match=r"header format 3.*Sightline 9\.1.*upgrade"):
        read_header(path)
    for text in ("{", "[]", '{"format": 1}', '{"format": "1"}'):
        save_file({"w": torch.ones(1)}, path, {"sightline": text})
        with pytest.raises(ModelFileError, match="makes no sense"):
            read_header(path)


def test_weights_of_another_shape_name_the_first_tensors(tmp_path: Path) -> None:
    path = write(tmp_path / "m.safetensors", make_system())
    wider = TinySystem(TinyConfig(width=6))
    with pytest.raises(ModelFileError, match=r"trunk\.weight has shape \(4, 3, 3, 3\) instead of \(6, 3.* more"):
        load_weights(path, wider)
    with pytest.raises(ModelFileError, match=r"0\.weight is missing.*unexpected"):
        load_weights(path, torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False)))


def test_a_failed_writing_leaves_what_was_there(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.json", "{}")
    with pytest.raises(SightlineError, match=r"cannot be written.*make room"):
        write(tmp_path / "none" / "m.safetensors", make_system())
    assert (tmp_path / "a.json").read_text() == "{}" and len(list(tmp_path.iterdir())) == 1


def test_every_changed_byte_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "m.safetensors", make_system())
    whole = path.read_bytes()
    system = make_system(3)
    before = {name: tensor.clone() for name, tensor in system.state_dict().items()}
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ModelFileError, match=r"m\.safetensors: .*(damaged|whole|format|foreign).*cure: "):
            load_weights(path, system)
    assert all(torch.equal(tensor, system.state_dict()[name]) for name, tensor in before.items())
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ModelFileError, match="does not have the checksum that it gives") as raised:
        load_weights(path, system)
    assert raised.value.exit_code == 4


def test_file_of_the_first_format_is_read(tmp_path: Path) -> None:
    system = make_system(1)
    path = write(tmp_path / "m.safetensors", system)
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["sightline"])
    del header["sha256"]
    save_file(dict(system.state_dict()), path, {"sightline": json.dumps({**header, "format": 1})})
    assert read_header(path).sha256 == ""
    other = make_system(2)
    load_weights(path, other)
    assert torch.equal(system.head.weight, other.head.weight)


CALIBRATION = Calibration(1.5, 0.2, 0.1, "bccd", "val", 400)


def test_a_temperature_is_kept_with_where_it_comes_from(tmp_path: Path) -> None:
    system = make_system(1)
    plain = write(tmp_path / "plain.safetensors", system)
    assert (read_header(plain).calibration, read_header(plain).temperature) == (None, 1.0)
    system.temperature = 1.5
    path = tmp_path / "m.safetensors"
    write_model(path, system, stage="train", metrics={}, provenance="", calibration=CALIBRATION)
    assert (read_header(path).calibration, read_header(path).temperature) == (CALIBRATION, 1.5)
    load_weights(path, make_system(2))
    for calibration in (None, replace(CALIBRATION, temperature=2.0)):
        with pytest.raises(ValueError, match=r"temperature 1\.5 comes from"):
            write_model(path, system, stage="train", metrics={}, provenance="", calibration=calibration)


def rewritten(path: Path, **changes: object) -> None:
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["sightline"])
    save_file(dict(make_system(1).state_dict()), path, {"sightline": json.dumps({**header, **changes})})


def test_a_file_from_before_there_were_temperatures_has_1(tmp_path: Path) -> None:
    path = write(tmp_path / "m.safetensors", make_system(1))
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["sightline"])
    del header["calibration"]
    save_file(dict(make_system(1).state_dict()), path, {"sightline": json.dumps(header)})
    assert read_header(path).temperature == 1.0


@pytest.mark.parametrize("said", [{}, 1.5, {**asdict(CALIBRATION), "temperature": 0.0}, {"temperature": "warm"}])
def test_a_senseless_calibration_is_a_damaged_file(tmp_path: Path, said: object) -> None:
    path = write(tmp_path / "m.safetensors", make_system(1))
    rewritten(path, calibration=said)
    with pytest.raises(ModelFileError, match="makes no sense"):
        read_header(path)
