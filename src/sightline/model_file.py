"""A model as one ``.safetensors`` file whose header says what it is; and plain safetensors of weights alone.

The format is safetensors (https://github.com/huggingface/safetensors): 8 bytes with the length of a JSON header, the
header, the tensors. Sightline's own header is JSON text in the metadata under the key ``sightline``. Pickle is never
read or written. Weights are float32 on disk unless asked otherwise.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sightline.contract import NeuralSystem
from sightline.errors import ModelFileError
from sightline.files import replace_atomically
from sightline.structures import Classes
from sightline.version import __version__

FORMAT = 1
"""Version of the header; a reader refuses newer ones."""

METADATA_KEY = "sightline"
_LENGTH_BYTES = 8
_LARGEST_HEADER = 100_000_000
_NAMED_MISFITS = 3


@dataclass(frozen=True)
class ModelHeader:
    """What a model file says about itself.

    Args:
        format: version of this header.
        system: name in the catalogue.
        config: the system's configuration, as JSON gives it (tuples are lists).
        class_names: one a label, in label order.
        class_ids: the original category id of each label.
        preparation: how images become a batch, as JSON gives it.
        stage: the stage of the recipe that the weights come from, and how far it had come.
        metrics: what was measured when the file was written.
        provenance: licence and origin of the weights.
        versions: of sightline and torch.
    """

    format: int
    system: str
    config: dict[str, Any]
    class_names: tuple[str, ...]
    class_ids: tuple[int, ...]
    preparation: dict[str, Any]
    stage: str
    metrics: dict[str, float]
    provenance: str
    versions: dict[str, str]

    @property
    def classes(self) -> Classes:
        """The classes that the model answers with."""
        return Classes(self.class_names, self.class_ids)


def write_model(
    path: Path,
    system: NeuralSystem[Any, Any],
    *,
    stage: str,
    metrics: Mapping[str, float],
    provenance: str,
    half: bool = False,
) -> None:
    """Write a system as one file, in one move: a crash leaves the old file or the new one.

    Args:
        path: the file to write; its folder exists.
        system: parameters and buffers are written, with configuration, classes and preparation in the header.
        stage: the stage of the recipe that the weights come from.
        metrics: what was measured with these weights.
        provenance: licence and origin of the weights.
        half: store floats as float16, half the size and 3 decimal digits.

    Raises:
        ModelFileError: the file cannot be written; what was there is unharmed.
    """
    header = ModelHeader(
        format=FORMAT,
        system=system.name,
        config=asdict(system.config),
        class_names=system.classes.names,
        class_ids=system.classes.ids,
        preparation=asdict(system.preparation),
        stage=stage,
        metrics=dict(metrics),
        provenance=provenance,
        versions={"sightline": __version__, "torch": str(torch.__version__)},
    )
    # One key only: safetensors writes several in an order of its own, and the same model should be the same bytes.
    metadata = {METADATA_KEY: json.dumps(asdict(header))}
    tensors = tensors_of(system)
    if half:
        tensors = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    try:
        replace_atomically(path, lambda beside: save_file(tensors, beside, metadata))
    except (OSError, SafetensorError) as error:
        raise ModelFileError(
            f"cannot be written ({error})", place=path, cause="the disk is full or the folder is read-only"
        ) from error


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name as safetensors stores them: on the CPU, contiguous, sharing no memory."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in module.state_dict().items()}


def read_header(path: Path) -> ModelHeader:
    """The header of a model file; the tensors are not read.

    Raises:
        ModelFileError: the file is missing, damaged, foreign or of a newer Sightline.
    """
    text = _safetensors_header(path).get("__metadata__", {}).get(METADATA_KEY)
    if text is None:
        raise ModelFileError(
            "holds weights but no Sightline header: a foreign file",
            place=path,
            cure="pass it as --backbone-weights (or --weights, for a whole model of torchvision's) to a command that "
            "builds the model",
        )
    try:
        values = json.loads(text)
        if values["format"] > FORMAT:
            written_by = values.get("versions", {}).get("sightline", "a newer version")
            raise ModelFileError(
                f"has header format {values['format']}, but this Sightline {__version__} reads up to {FORMAT}",
                place=path,
                cause=f"it was written by Sightline {written_by}",
                cure="upgrade sightline",
            )
        header = ModelHeader(**{field.name: values[field.name] for field in fields(ModelHeader)})
        classes = Classes(tuple(header.class_names), tuple(header.class_ids))
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, f"its Sightline header makes no sense ({error!r})") from error
    values = {field.name: values[field.name] for field in fields(ModelHeader)}
    return ModelHeader(**{**values, "class_names": classes.names, "class_ids": classes.ids})


def is_model_file(path: Path) -> bool:
    """Whether a safetensors file has Sightline's header: False for one with weights alone.

    Raises:
        ModelFileError: the file is missing, damaged or not safetensors.
    """
    return METADATA_KEY in _safetensors_header(path).get("__metadata__", {})


def load_weights(path: Path, system: nn.Module) -> None:
    """Put the tensors of a model file into a system that was built from its header.

    Raises:
        ModelFileError: the file is damaged, or a tensor is missing, unexpected or of another shape; the system is
            unchanged then.
    """
    tensors = read_tensors(path)
    require_fit(path, tensors, system)
    system.load_state_dict(tensors)


def require_fit(place: Path, tensors: Mapping[str, Tensor], system: nn.Module) -> None:
    """Raise ``ModelFileError`` naming the first misfits unless the tensors are exactly those of the system."""
    own = system.state_dict()
    misfits = [f"{name} is missing" for name in own if name not in tensors]
    misfits += [f"{name} is unexpected" for name in tensors if name not in own]
    misfits += [
        f"{name} has shape {tuple(tensors[name].shape)} instead of {tuple(value.shape)}"
        for name, value in own.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    if misfits:
        more = f" and {len(misfits) - _NAMED_MISFITS} more" if len(misfits) > _NAMED_MISFITS else ""
        raise ModelFileError(
            f"does not fit the model: {', '.join(misfits[:_NAMED_MISFITS])}{more}",
            place=place,
            cause="it was made for another model, configuration or number of classes",
            cure="load it by its own header (sightline.load), or build the model that it was made for",
        )


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """All tensors of any safetensors file by name, floats as float32: weights of torchvision's names, say.

    Raises:
        ModelFileError: the file is missing, damaged or not safetensors.
    """
    return {
        name: tensor.to(torch.float32) if tensor.is_floating_point() else tensor
        for name, tensor in read_tensors(path).items()
    }


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file as they were stored; raises ``ModelFileError`` as :func:`read_state_dict`."""
    _safetensors_header(path)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise _damaged(path, f"cannot be read ({error})") from error


def _safetensors_header(path: Path) -> dict[str, Any]:
    """The file's JSON header, after checking that the file has all the bytes that it announces."""
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
        raise _damaged(path, f"ends within its header, after {size} bytes")
    try:
        header = json.loads(text)
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        expected = _LENGTH_BYTES + length + max(ends, default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise _damaged(path, "does not begin with a safetensors header") from error
    if size != expected:
        raise _damaged(path, f"has {size} bytes where its header announces {expected}")
    return dict(header)


def _damaged(path: Path, what: str) -> ModelFileError:
    return ModelFileError(
        f"is not a whole safetensors file: it {what.removeprefix('it ')}",
        place=path,
        cause="it was cut off while being copied or written, or is of another kind",
        cure="copy or download it again",
    )
