"""Three ways to use what a run left, with three names that never stand in for each other.

``resume`` goes on with an interrupted run as if nothing had happened. ``extend`` trains a finished run for more epochs:
its last stage goes on from its last weights, optimiser memory and average, the stream of images goes on where it
stood, and the learning rate starts anew with its warm-up, over the added epochs (a warm restart: Loshchilov and Hutter
2017, SGDR, section 3). ``weights``, of the commands, begins a new run from a file.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from sightline.errors import ConfigError
from sightline.recipes import FitStage, Stage
from sightline.runtime import is_helper_process
from sightline.training.checkpoints import Checkpoint, has_checkpoint, peek_state
from sightline.training.options import TrainOptions

JUDGED = "judged"
"""Section of config.json that says which rows of the history the final judgement has seen."""


def require_way_on(folder: Path, options: TrainOptions) -> None:
    """Raise unless the run in a folder is one that ``resume`` or ``extend`` of the options is for.

    A checkpoint that cannot be read passes: reading it says what is wrong. A finished run whose judgement was
    interrupted passes ``resume``, which makes up for it.

    Raises:
        ConfigError: there is no run to extend, it is not finished, or it is finished and was to be resumed.
    """
    last = folder / "last"
    if is_helper_process() or options.from_previous:
        return  # one reads what the first process is about to change, the other starts from another checkpoint
    if options.extend is not None and not has_checkpoint(last):
        raise ConfigError(
            "there is no run to extend",
            place=folder,
            cause="the path is mistyped, or the run ended before its first checkpoint",
            cure="train it first, without --extend",
        )
    state = peek_state(last) if options.goes_on else None
    if state is None:
        return
    if options.extend is not None and not state.finished:
        raise _unfinished(folder)
    if options.resume and is_finished(folder):
        raise ConfigError(
            "the run is finished, there is nothing to resume",
            place=folder,
            cause="--resume goes on with an interrupted run",
            cure="train it for more epochs with --extend N instead, or begin a new run from it with --weights and "
            "another --out",
        )


def is_finished(folder: Path) -> bool:
    """Whether the run in a folder is trained and judged to its end."""
    state = peek_state(folder / "last") if has_checkpoint(folder / "last") else None
    return state is not None and state.finished and _judged_rows(folder) == state.rows


def extended(checkpoint: Checkpoint, stages: Sequence[Stage], epochs: float, folder: Path) -> Checkpoint:
    """The last checkpoint of a finished run as the first one of its extension.

    Args:
        checkpoint: of the finished run.
        stages: of its recipe.
        epochs: to add.
        folder: of the run, for messages.

    Raises:
        ConfigError: the run is not finished, its last stage does not follow gradients, or an earlier version of
            Sightline finished it, which did not keep the optimiser's memory.
    """
    state = checkpoint.state
    if not state.finished:
        raise _unfinished(folder)
    last = stages[-1]
    if isinstance(last, FitStage):
        raise ConfigError(
            f"the recipe ends with {last.name}, which is solved and not trained for epochs: it cannot be extended",
            place=folder,
            cure="train anew with more --epochs, into another --out",
        )
    if "optimiser" not in checkpoint.tensors:
        raise ConfigError(
            "the optimiser's memory was not kept",
            place=folder,
            cause="the run was finished by an earlier version of Sightline",
            cure="begin a new run from it with --weights and another --out",
        )
    return Checkpoint(state.extended(epochs), checkpoint.tensors)


def _unfinished(folder: Path) -> ConfigError:
    return ConfigError(
        "the run is not finished: it cannot be extended",
        place=folder,
        cause="--extend trains a finished run for more epochs",
        cure="bring it to its end with --resume first",
    )


def _judged_rows(folder: Path) -> int | None:
    """Rows of the history that there were at the final judgement, or None if there was none."""
    try:
        rows = json.loads((folder / "config.json").read_text(encoding="utf-8"))[JUDGED]["rows"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return int(rows)
