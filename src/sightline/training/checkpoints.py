"""The checkpoints of a run, for exact resume: tensors as safetensors, numbers as JSON, no pickle.

Two are kept, each a folder: ``last``, and ``previous``, the one before. A new one is written beside them as
``last.new`` and flushed; then ``previous`` goes, ``last`` becomes ``previous``, and ``last.new`` becomes ``last``. Each
of these is on the disk before the next begins, so that wherever they are cut off, two whole ones stand, and the reader
finds the newest. state.json holds the SHA-256 of the other files and of its own content, and is written last.

On the disk this costs two checkpoints, and a third while one is written.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sightline.errors import ConfigError, ModelFileError, SightlineError
from sightline.files import move, sha256, sync_file, sync_folder, with_usual_mode
from sightline.training.state import TrainState, state_from_json, state_to_json

FORMAT = 2
"""Version of state.json; 1 had no checksum of its own content, and of a finished run the model alone."""

_STATE = "state.json"
_SUFFIX = ".safetensors"
_UNREADABLE = (ModelFileError, OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError)
"""What reading a folder that is no whole checkpoint can raise."""

_SLACK = 1 << 16
"""Bytes that a checkpoint takes beside its tensors, and more."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All that a run needs to go on as if it had never stopped.

    Args:
        state: the numbers.
        tensors: by part: ``model`` always (float32), ``optimiser`` within a stage and at the end of the last, ``ema``
            where there is an average.
    """

    state: TrainState
    tensors: Mapping[str, Mapping[str, Tensor]]


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint in the place of the one in ``folder`` (``.../last``), which becomes the one before.

    Raises:
        SightlineError: it cannot be written (a full disk, say); those before stand.
    """
    try:
        _finish(folder)
        _require_room(folder, checkpoint)
        _write_files(_ready(folder), checkpoint)
        _take_place(folder)
    except (OSError, SafetensorError) as error:
        raise _unwritable(folder, f"the checkpoint cannot be written ({error})") from error


def _finish(folder: Path) -> None:
    """Bring a writing that was cut off to its end if all was written, or else take away what it left."""
    ready = _ready(folder)
    if ready.exists() and _is_whole(ready):
        _take_place(folder)
    elif ready.exists():
        shutil.rmtree(ready)


def _take_place(folder: Path) -> None:
    """Make the checkpoint that stands ready the last one."""
    if folder.exists():
        previous = _previous(folder)
        if previous.exists():
            shutil.rmtree(previous)
            sync_folder(previous.parent)
        move(folder, previous)
    move(_ready(folder), folder)


def _require_room(folder: Path, checkpoint: Checkpoint) -> None:
    needed = _SLACK + sum(tensor.nbytes for tensors in checkpoint.tensors.values() for tensor in tensors.values())
    free = shutil.disk_usage(folder.parent).free
    if free < needed:
        raise _unwritable(
            folder,
            f"the checkpoint needs {needed / 1e6:.1f} MB of room beside the ones before, {free / 1e6:.1f} are free",
        )


def _write_files(folder: Path, checkpoint: Checkpoint) -> None:
    try:
        folder.mkdir()
        sums = {}
        for part, tensors in checkpoint.tensors.items():
            file = folder / f"{part}{_SUFFIX}"
            with_usual_mode(file, partial(save_file, dict(tensors)))
            sync_file(file)
            sums[part] = sha256(file)
        content = {"format": FORMAT, "sha256": sums, "state": state_to_json(checkpoint.state)}
        text = json.dumps({**content, "own_sha256": _content_sha256(content)}, indent=1)
        (folder / _STATE).write_text(text, encoding="utf-8")
        sync_file(folder / _STATE)
        sync_folder(folder)
        sync_folder(folder.parent)
    except (OSError, SafetensorError):
        shutil.rmtree(folder, ignore_errors=True)
        raise


def finish_writing(folder: Path) -> None:
    """Give a whole checkpoint that a killed process left ready its name; anything else is left for the reader."""
    if _is_whole(_ready(folder)):
        _take_place(folder)


def has_checkpoint(folder: Path) -> bool:
    """Whether there is something to resume from, whole or not."""
    return any((place / _STATE).exists() for place in _places(folder))


def read_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint in ``folder``, or the one that stood ready beside it when its writing was cut off.

    Raises:
        ModelFileError: there is none, or it is damaged; the one before it is offered, and never taken unasked.
    """
    try:
        return _read(_standing(folder))
    except ModelFileError as error:
        if error.cure is not None:
            raise
        raise ModelFileError(error.what, place=error.place, cause=error.cause, cure=_offer(folder)) from error


def peek_state(folder: Path) -> TrainState | None:
    """Where the run of a checkpoint stands, without reading its tensors; None where that cannot be read."""
    try:
        return _state_of(_standing(folder))[0]
    except _UNREADABLE:
        return None


def go_back(folder: Path) -> Path | None:
    """Put the checkpoint beside the last one, the one before as a rule, in its place; a damaged one is moved aside.

    Returns:
        Where the damaged one lies now, or None if there was none.

    Raises:
        ConfigError: the last one is whole.
        ModelFileError: there is no whole one beside it; nothing was changed.
    """
    last = _standing(folder)
    if _is_whole(last):
        raise ConfigError("the last checkpoint is whole", place=folder, cure="leave --from-previous out")
    other = _whole_other(folder)
    if other is None:
        raise ModelFileError(
            "there is no whole checkpoint before this one", place=folder, cure="train again into another --out"
        )
    aside = None
    for place in (last, folder):  # the ready one and the one before it may both be damaged
        if place.exists() and place != other:
            aside = _free(folder.with_name(f"{folder.name}.damaged"))
            move(place, aside)
    if other != folder:
        move(other, folder)
    return aside


def _standing(folder: Path) -> Path:
    """Where the last checkpoint is: under its name, or ready beside it if its writing was cut off before the moves.

    It was written to its end if its state.json was, which comes last.
    """
    try:
        _state_of(_ready(folder))
    except _UNREADABLE:
        return folder
    return _ready(folder)


def _read(folder: Path) -> Checkpoint:
    file = folder / _STATE
    if not folder.exists():
        raise ModelFileError("there is no checkpoint", place=folder, cause="it was taken away, or never written")
    try:
        state, sums = _state_of(folder)
        tensors = {}
        for part, expected in sums.items():
            file = folder / f"{part}{_SUFFIX}"
            if sha256(file) != expected:
                raise _damaged(file, "does not have the checksum that state.json gives")
            tensors[part] = load_file(file)
    except ModelFileError:
        raise
    except _UNREADABLE as error:
        raise _damaged(file, f"cannot be read ({error!r})") from error
    return Checkpoint(state, tensors)


def _state_of(folder: Path) -> tuple[TrainState, dict[str, str]]:
    """What state.json says: the state, and the checksums of the parts."""
    file = folder / _STATE
    content = json.loads(file.read_text(encoding="utf-8"))
    written_format = content["format"]
    if written_format > FORMAT:
        raise ModelFileError(
            f"has format {written_format}, this version reads up to {FORMAT}", place=file, cure="upgrade sightline"
        )
    if written_format > 1 and content.pop("own_sha256") != _content_sha256(content):
        raise _damaged(file, "does not have the checksum that it gives")
    return state_from_json(content["state"]), dict(content["sha256"])


def _is_whole(folder: Path) -> bool:
    try:
        _read(folder)
    except ModelFileError:
        return False
    return True


def _offer(folder: Path) -> str:
    """What to do about a last checkpoint that cannot be used."""
    if _whole_other(folder) is None:
        return "restore it from a backup, or train again into another --out"
    return (
        "go on from the checkpoint before this one, which is whole, with --resume --from-previous; the damaged one is "
        "moved aside, not deleted"
    )


def _whole_other(folder: Path) -> Path | None:
    """The newest whole checkpoint beside the last one."""
    last = _standing(folder)
    return next((place for place in _places(folder) if place != last and _is_whole(place)), None)


def _places(folder: Path) -> tuple[Path, ...]:
    """Where a checkpoint can be, the newest first."""
    return _ready(folder), folder, _previous(folder)


def _previous(folder: Path) -> Path:
    return folder.with_name("previous")


def _ready(folder: Path) -> Path:
    """Where a checkpoint is written before it becomes the last one."""
    return folder.with_name(f"{folder.name}.new")


def _free(path: Path) -> Path:
    number, place = 1, path
    while place.exists():
        number += 1
        place = path.with_name(f"{path.name}-{number}")
    return place


def _content_sha256(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _damaged(file: Path, what: str) -> ModelFileError:
    return ModelFileError(
        f"the checkpoint is damaged: the file {what}",
        place=file,
        cause="it was changed or cut off after it was written",
    )


def _unwritable(folder: Path, what: str) -> SightlineError:
    cure = "make room and go on with --resume: the checkpoint before this one is whole"
    if not has_checkpoint(folder):
        cure = "make room, then start again: nothing had been saved yet"
    return SightlineError(what, place=folder, cause="the disk is full or was taken away", cure=cure)
