"""A model as one ``.safetensors`` file whose header says what it is.

The format is safetensors (https://github.com/huggingface/safetensors): 8 bytes with the length of a JSON header, the
header, the tensors. Sightline's own header is JSON text in the metadata under the key ``sightline``; it holds a
checksum of itself and of the tensors. Pickle is never read or written. Weights are float32 on disk.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from sightline.backbones.weights import damaged, read_tensors, safetensors_header
from sightline.contract import NeuralSystem
from sightline.errors import ModelFileError, SightlineError
from sightline.files import replace_atomically
from sightline.structures import Classes
from sightline.version import __version__

FORMAT = 2
"""Version of the header; a reader refuses newer ones. 1 had no checksum."""

METADATA_KEY = "sightline"
_NAMED_MISFITS = 3


@dataclass(frozen=True)
class Calibration:
    """How the scores of a model were made to mean what they say.

    Args:
        temperature: of the model; 1 where none could be fitted.
        ece_before: expected calibration error at temperature 1, in 0..1; None where there were no detections.
        ece_after: at the model's temperature, on the same detections: those that it was fitted to.
        data: the set that it was fitted to.
        split: of the set.
        detections: it was fitted to.
        note: why none could be fitted, or that a limit was reached; empty otherwise.
    """

    temperature: float
    ece_before: float | None
    ece_after: float | None
    data: str
    split: str
    detections: int
    note: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"a temperature must be positive and finite, got {self.temperature}")


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
        sha256: checksum of all that is said here and of the tensors; empty in files from before there was one.
        calibration: where the model's temperature comes from; None before the end of training, and in older files.
        proposer_sha256: of the file of the model whose region proposal network proposes; empty where none does, and in
            older files.
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
    sha256: str = ""
    calibration: Calibration | None = None
    proposer_sha256: str = ""

    @property
    def temperature(self) -> float:
        """What the model divides the log-odds of scores by."""
        return 1.0 if self.calibration is None else self.calibration.temperature

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
    calibration: Calibration | None = None,
) -> None:
    """Write a system as one file, in one move: a crash leaves the old file or the new one.

    Args:
        path: the file to write; its folder exists.
        system: parameters and buffers are written, with configuration, classes and preparation in the header.
        stage: the stage of the recipe that the weights come from.
        metrics: what was measured with these weights.
        provenance: licence and origin of the weights.
        calibration: where the system's temperature comes from.

    Raises:
        SightlineError: the file cannot be written; what was there is unharmed.
        ValueError: the system has a temperature that ``calibration`` does not give.
    """
    if system.temperature != (1.0 if calibration is None else calibration.temperature):
        raise ValueError(f"where the temperature {system.temperature} comes from is not said")
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
        calibration=calibration,
        proposer_sha256=system.proposer_sha256,
    )
    # One key only: safetensors writes several in an order of its own, and the same model should be the same bytes.
    tensors = tensors_of(system)
    values = asdict(header)
    values["sha256"] = _checksum(values, tensors)
    metadata = {METADATA_KEY: json.dumps(values)}
    try:
        replace_atomically(path, lambda beside: save_file(tensors, beside, metadata))
    except (OSError, SafetensorError) as error:
        raise SightlineError(
            f"cannot be written ({error})",
            place=path,
            cause="the disk is full or the folder is read-only",
            cure="make room, and go on with --resume where a run was training",
        ) from error


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name as safetensors stores them: on the CPU, contiguous, sharing no memory."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in module.state_dict().items()}


def _checksum(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of a header without its own checksum, and of the tensors with names, types and shapes."""
    said = {name: value for name, value in header.items() if name != "sha256"}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _require_sum(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise ``ModelFileError`` unless a model file has the checksum that it gives; those of format 1 give none."""
    header = _said_by(path)
    if header["sha256"] and header["sha256"] != _checksum(header, tensors):
        raise ModelFileError(
            "is damaged: what it holds does not have the checksum that it gives",
            place=path,
            cause="it was changed after it was written: by hand, by a failing disk, or by a copy that went wrong",
            cure="copy it again from where it is whole, or train again",
        )


def read_header(path: Path) -> ModelHeader:
    """The header of a model file; the tensors are not read, and the checksum is not verified.

    Raises:
        ModelFileError: the file is missing, damaged, foreign or of a newer Sightline.
    """
    values = _said_by(path)
    try:
        fitted = values.get("calibration")
        values = {"proposer_sha256": "", **values, "calibration": None if fitted is None else Calibration(**fitted)}
        header = ModelHeader(**{field.name: values[field.name] for field in fields(ModelHeader)})
        classes = Classes(tuple(header.class_names), tuple(header.class_ids))
    except (ValueError, KeyError, TypeError) as error:
        raise _senseless(path, error) from error
    return replace(header, class_names=classes.names, class_ids=classes.ids)


def _said_by(path: Path) -> dict[str, Any]:
    """The JSON text of a model file's header, of a format that this version reads."""
    text = safetensors_header(path).get("__metadata__", {}).get(METADATA_KEY)
    if text is None:
        raise ModelFileError(
            "holds weights but no Sightline header: a foreign file",
            place=path,
            cure="pass it as --backbone-weights (or --weights, for a whole model of torchvision's) to a command that "
            "builds the model",
        )
    try:
        values: dict[str, Any] = json.loads(text)
        if values["format"] > FORMAT:
            written_by = values.get("versions", {}).get("sightline", "a newer version")
            raise ModelFileError(
                f"has header format {values['format']}, but this Sightline {__version__} reads up to {FORMAT}",
                place=path,
                cause=f"it was written by Sightline {written_by}",
                cure="upgrade sightline",
            )
        return {**values, "sha256": values["sha256"] if values["format"] > 1 else values.get("sha256", "")}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _senseless(path, error) from error


def _senseless(path: Path, error: Exception) -> ModelFileError:
    return damaged(path, f"its Sightline header makes no sense ({error!r})")


def is_model_file(path: Path) -> bool:
    """Whether a safetensors file has Sightline's header: False for one with weights alone.

    Raises:
        ModelFileError: the file is missing, damaged or not safetensors.
    """
    return METADATA_KEY in safetensors_header(path).get("__metadata__", {})


def load_weights(path: Path, system: nn.Module, *, skip: tuple[str, ...] = ()) -> None:
    """Put the tensors of a model file into a system that was built from its header.

    Args:
        path: the model file.
        system: what they are put into.
        skip: tensors whose names begin so stay as the system has them, whatever the file holds of them.

    Raises:
        ModelFileError: the file is damaged (its checksum is verified), or a tensor is missing, unexpected or of another
            shape; the system is unchanged then.
    """
    tensors = read_tensors(path)
    _require_sum(path, tensors)
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(skip)}
    tensors |= {name: tensor for name, tensor in system.state_dict().items() if name.startswith(skip)}
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
