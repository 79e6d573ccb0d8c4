"""Weights from safetensors files, whole and otherwise."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sightline.backbones.weights import read_state_dict
from sightline.errors import ModelFileError


def test_floats_come_as_float32_and_counts_as_they_are(tmp_path: Path) -> None:
    weight, steps = torch.tensor([0.5, -2.0], dtype=torch.float16), torch.tensor(7)
    save_file({"weight": weight, "steps": steps}, tmp_path / "w.safetensors")
    read = read_state_dict(tmp_path / "w.safetensors")
    assert torch.equal(read["weight"], weight.float()) and read["weight"].dtype == torch.float32
    assert torch.equal(read["steps"], steps) and read["steps"].dtype == torch.int64


def test_weights_cut_off_anywhere_are_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"weight": torch.ones(50)}, path)
    whole = path.read_bytes()
    for place in range(20):
        path.write_bytes(whole[: place * len(whole) // 20])
        with pytest.raises(ModelFileError, match=r"w\.safetensors: is not a whole safetensors file.*cut off"):
            read_state_dict(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"No such file.*check the path"):
        read_state_dict(tmp_path / "none.safetensors")
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_state_dict(tmp_path)


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
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=message):
        read_state_dict(path)
