"""The checkpoint of a run, for exact resume: tensors as safetensors, numbers as JSON, no pickle.

A checkpoint is a folder that is written beside the old one and then takes its place: ``last.new`` is written and
flushed, ``last`` becomes ``last.old``, ``last.new`` becomes ``last``, ``last.old`` goes. Whenever this is cut off, one
whole checkpoint stands, and the reader finds it. state.json holds the SHA-256 of the other files and is written last.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sightline.errors import ModelFileError, SightlineError
from sightline.files import sync_file, sync_folder
from sightline.training.state import TrainState, state_from_json, state_to_json

FORMAT = 1
_STATE = "state.json"
_SUFFIX = ".safetensors"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All that a run needs to go on as if it had never stopped.

    Args:
        state: the numbers.
        tensors: by part: ``model`` always (float32), ``optimiser`` within a stage, ``ema`` where there is an average.
    """

    state: TrainState
    tensors: Mapping[str, Mapping[str, Tensor]]


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint in the place of the one in ``folder`` (``.../last``).

    Raises:
        SightlineError: it cannot be written (a full disk, say); the one before stands.
    """
    new, old = _beside(folder, "new"), _beside(folder, "old")
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        _write_files(new, checkpoint)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        new.rename(folder)
        sync_folder(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise SightlineError(
            f"the checkpoint cannot be written ({error})",
            place=folder,
            cause="the disk is full or was taken away",
            cure="make room and go on with --resume: the checkpoint before this one is whole",
        ) from error


def _write_files(folder: Path, checkpoint: Checkpoint) -> None:
    sums = {}
    for part, tensors in checkpoint.tensors.items():
        file = folder / f"{part}{_SUFFIX}"
        save_file(dict(tensors), file)
        sync_file(file)
        sums[part] = _sha256(file)
    content = {"format": FORMAT, "sha256": sums, "state": state_to_json(checkpoint.state)}
    (folder / _STATE).write_text(json.dumps(content, indent=1), encoding="utf-8")
    sync_file(folder / _STATE)
    sync_folder(folder)


def has_checkpoint(folder: Path) -> bool:
    """Whether there is something to resume from, whole or not."""
    return any((place / _STATE).exists() for place in _places(folder))


def read_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint in ``folder``, or the one that an interrupted writing left beside it.

    Raises:
        ModelFileError: there is none, or it is damaged; a whole one beside it is named.
    """
    others = [place for place in _places(folder)[1:] if _is_whole(place)]
    if not folder.exists() and others:
        return _read(others[0])
    if not has_checkpoint(folder):
        raise ModelFileError("there is no checkpoint", place=folder, cause="the run ended before its first one")
    try:
        return _read(folder)
    except ModelFileError as error:
        if not others:
            raise
        cure = f"move {folder.name} away and rename {others[0].name}, which is whole, to {folder.name}"
        raise ModelFileError(error.what, place=error.place, cause=error.cause, cure=cure) from error


def _read(folder: Path) -> Checkpoint:
    file = folder / _STATE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        written_format, sums = content["format"], content["sha256"]
        if written_format > FORMAT:
            raise ModelFileError(
                f"has format {written_format}, this version reads up to {FORMAT}", place=file, cure="upgrade sightline"
            )
        state = state_from_json(content["state"])
        tensors = {}
        for part, expected in sums.items():
            file = folder / f"{part}{_SUFFIX}"
            if _sha256(file) != expected:
                raise _damaged(file, "does not have the checksum that state.json gives")
            tensors[part] = load_file(file)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise _damaged(file, f"cannot be read ({error!r})") from error
    return Checkpoint(state, tensors)


def _is_whole(folder: Path) -> bool:
    try:
        _read(folder)
    except ModelFileError:
        return False
    return True


def _places(folder: Path) -> tuple[Path, ...]:
    """Where a checkpoint can be, in the order of trust."""
    return folder, _beside(folder, "new"), _beside(folder, "old")


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f"{folder.name}.{suffix}")


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _damaged(file: Path, what: str) -> ModelFileError:
    return ModelFileError(
        f"the checkpoint is damaged: the file {what}",
        place=file,
        cause="it was changed or cut off after it was written",
        cure="restore it from a backup, or train again into another --out",
    )
