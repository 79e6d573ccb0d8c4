import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_system import TinyConfig, TinySystem, make_system

from sightline.errors import ModelFileError
from sightline.files import write_atomically
from sightline.model_file import load_weights, read_header, read_state_dict, write_model


def write(path: Path, system: TinySystem, **options: bool) -> Path:
    write_model(path, system, stage="train", metrics={"AP": 0.5}, provenance="made here, CC0", **options)
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


def test_half_is_half_the_size_and_comes_back_as_float32(tmp_path: Path) -> None:
    system = make_system()
    path = write(tmp_path / "half.safetensors", system, half=True)
    read = read_state_dict(path)
    assert read["trunk.weight"].dtype == torch.float32 and read["norm.num_batches_tracked"].dtype == torch.int64
    torch.testing.assert_close(read["trunk.weight"], system.trunk.weight.detach(), rtol=1e-3, atol=1e-4)
    load_weights(path, system)
    assert system.trunk.weight.dtype == torch.float32


def test_truncated_anywhere_is_one_clear_line(tmp_path: Path) -> None:
    path = write(tmp_path / "m.safetensors", make_system())
    whole = path.read_bytes()
    system = make_system(3)
    before = {name: tensor.clone() for name, tensor in system.state_dict().items()}
    for place in range(20):
        path.write_bytes(whole[: place * len(whole) // 20])
        for read in (read_header, read_state_dict, lambda p: load_weights(p, system)):
            with pytest.raises(ModelFileError, match=r"m\.safetensors: is not a whole safetensors file.*cut off"):
                read(path)
    assert all(torch.equal(tensor, system.state_dict()[name]) for name, tensor in before.items())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04" + bytes(50), "is a pickle"),
        (b"\x80\x02}q\x00" + bytes(50), "is a pickle"),
        (b"<!DOCTYPE html><html>not found</html>", "not a whole safetensors file"),
        (b"\x02\x00\x00\x00\x00\x00\x00\x00[]", "not a whole safetensors file"),
        (b"\x0a\x00\x00\x00\x00\x00\x00\x00" + b'{"a": "b"}', "not a whole safetensors file"),
    ],
)
def test_other_kinds_of_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=message):
        read_header(path)


def test_missing_folder_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"No such file.*check the path"):
        read_header(tmp_path / "none.safetensors")
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_header(tmp_path)
    save_file({"w": torch.ones(2, dtype=torch.float16)}, tmp_path / "w.safetensors")
    with pytest.raises(ModelFileError, match=r"foreign file.*--backbone-weights"):
        read_header(tmp_path / "w.safetensors")
    assert read_state_dict(tmp_path / "w.safetensors")["w"].dtype == torch.float32


def test_newer_format_and_senseless_headers(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"w": torch.ones(1)}, path, {"sightline": json.dumps({"format": 2, "versions": {"sightline": "9.1"}})})
    with pytest.raises(ModelFileError, match=r"header format 2.*Sightline 9\.1.*upgrade"):
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
    with pytest.raises(ModelFileError, match="cannot be written"):
        write(tmp_path / "none" / "m.safetensors", make_system())
    assert (tmp_path / "a.json").read_text() == "{}" and len(list(tmp_path.iterdir())) == 1
