"""Weights of torchvision's form: from its catalogue over the network, or from a safetensors file."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sightline.downloads.failures import DamagedError, StorageError, UnreachableError
from sightline.downloads.fetch import fetch
from sightline.downloads.lock import locked
from sightline.downloads.part import Expected
from sightline.errors import ModelFileError, SightlineError

_LENGTH_BYTES = 8
_LARGEST_HEADER = 100_000_000


def download_state_dict(url: str) -> dict[str, Tensor]:
    """A state dict of torchvision's catalogue, from torch's download cache or the network, checked against the hash in
    its name and read without executing any code in it.

    A broken download goes on where it ended; of several processes one downloads and the others wait for it.

    Raises:
        ModelFileError: it cannot be had, or is not what its name says.
    """
    cache = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    try:
        if not cache.is_file():
            cache.parent.mkdir(parents=True, exist_ok=True)
            with locked(cache.with_name(f".{cache.name}.lock"), waiting=lambda: None):
                if not cache.is_file():
                    fetch(url, cache, Expected(sha256=_hash_in(cache.name)))
        state = torch.hub.load_state_dict_from_url(url, map_location="cpu", progress=False, weights_only=True)
    except (UnreachableError, StorageError, OSError) as error:
        what = error.what if isinstance(error, SightlineError) else str(error)
        raise ModelFileError(
            f"cannot download these weights ({what})",
            place=url,
            cause="no room on the disk" if isinstance(error, StorageError) else "no network",
            cure=f"download the file elsewhere and put it at {cache}, or give the path of a safetensors file",
        ) from error
    except (DamagedError, RuntimeError) as error:
        what = error.what if isinstance(error, SightlineError) else str(error)
        raise ModelFileError(
            f"the downloaded file is damaged ({what})",
            place=url,
            cause="an interrupted download or a changed file",
            cure=f"remove {cache} and try again",
        ) from error
    return dict(state)


def _hash_in(name: str) -> str | None:
    """The first digits of the SHA-256 that torch's downloads have in their names."""
    found = re.search(r"-([0-9a-f]{8,64})\.", name)
    return found[1] if found else None


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of any safetensors file by name, floats as float32.

    Raises:
        ModelFileError: the file is missing, damaged or not safetensors.
    """
    return {
        name: tensor.to(torch.float32) if tensor.is_floating_point() else tensor
        for name, tensor in read_tensors(path).items()
    }


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file as they were stored.

    Raises:
        ModelFileError: the file is missing, damaged or not safetensors.
    """
    safetensors_header(path)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise damaged(path, f"cannot be read ({error})") from error


def safetensors_header(path: Path) -> dict[str, Any]:
    """The JSON header of a safetensors file, after checking that the file has all the bytes that it announces.

    Raises:
        ModelFileError: the file is missing, damaged or not safetensors.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(_LENGTH_BYTES)
            length = int.from_bytes(start, "little")
            text = file.read(length) if length <= min(size, _LARGEST_HEADER) else b""
    except OSError as error:
        cure = "check the path" if isinstance(error, FileNotFoundError) else None
        raise ModelFileError(f"cannot be read ({error.strerror})", place=path, cure=cure) from error
    if start.startswith((b"PK\x03\x04", b"\x80\x02")):
        raise ModelFileError(
            "is a pickle, as torch.save writes, and not safetensors",
            place=path,
            cause="pickles can run any code, so that Sightline never opens them",
            cure="convert it with safetensors.torch.save_file where you trust it",
        )
    if len(start) < _LENGTH_BYTES or len(text) < length:
        raise damaged(path, f"ends within its header, after {size} bytes")
    try:
        header = json.loads(text)
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        expected = _LENGTH_BYTES + length + max(ends, default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise damaged(path, "does not begin with a safetensors header") from error
    if size != expected:
        raise damaged(path, f"has {size} bytes where its header announces {expected}")
    return dict(header)


def damaged(path: Path, what: str) -> ModelFileError:
    """The answer to a file that breaks off or is of another kind; ``what`` ends the sentence "it ..."."""
    return ModelFileError(
        f"is not a whole safetensors file: it {what.removeprefix('it ')}",
        place=path,
        cause="it was cut off while being copied or written, or is of another kind",
        cure="copy or download it again",
    )
