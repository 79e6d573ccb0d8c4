"""Weights of torchvision's form: from its catalogue over the network, or from a safetensors file."""

import urllib.error
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sightline.errors import ModelFileError


def download_state_dict(url: str) -> dict[str, Tensor]:
    """A state dict of torchvision's catalogue, from torch's download cache or the network, checked against the hash in
    its name and read without executing any code in it.

    Raises:
        ModelFileError: it cannot be had, or is not what its name says.
    """
    cache = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    try:
        state = torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
    except (urllib.error.URLError, OSError) as error:
        raise ModelFileError(
            f"cannot download these weights ({error})",
            place=url,
            cause="no network",
            cure=f"download the file elsewhere and put it at {cache}, or give the path of a safetensors file",
        ) from error
    except RuntimeError as error:
        raise ModelFileError(
            f"the downloaded file is damaged ({error})",
            place=url,
            cause="an interrupted download or a changed file",
            cure=f"remove {cache} and try again",
        ) from error
    return dict(state)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, floats as float32.

    Raises:
        ModelFileError: no such file, or not a safetensors file.
    """
    if not path.is_file():
        raise ModelFileError(
            "no such file", place=path, cure="give the path of a safetensors file with torchvision's names"
        )
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelFileError(
            f"not a readable safetensors file ({error})",
            place=path,
            cause="a truncated file, or one of another format",
            cure="copy it again, or convert it with safetensors.torch.save_file",
        ) from error
    return {name: t.to(torch.float32) if t.is_floating_point() else t for name, t in tensors.items()}
