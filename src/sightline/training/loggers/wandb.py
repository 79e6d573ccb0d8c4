"""Weights & Biases, offline: files in the run folder that ``wandb sync`` sends when its user wants to.

Nothing is sent unless W&B's own variable asks for it: WANDB_MODE=online. Reports of errors, measurements of the machine
and the look for new versions, which W&B does by itself, are off.
"""

import io
import json
import os
import struct
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from sightline.training.loggers.experiment_logger import Ending, ExperimentLogger, LoggedRun
from sightline.training.loggers.kept import keep_id, kept_id, later

PROJECT = "sightline"

_EXIT_CODES: Mapping[Ending, int] = {"finished": 0, "stopped": 130, "failed": 1}
_TOLD = "sightline-told.jsonl"
_FLUSH_SECONDS = 2.0

_HEADER, _BLOCK = 7, 32768
_RECORD = struct.Struct("<IHB")
_WHOLE, _LAST = 1, 4


class WandbLogger(ExperimentLogger):
    """History by step, configuration, pictures and a summary.

    A run that goes on has the same id and writes a further offline folder. W&B takes back no point and loses the last
    seconds of a process that is killed. So what was told is also kept line by line beside its files: whoever goes on
    reads what the files hold, tells again what was lost, and leaves out what is there already.

    Args:
        place: folder in which W&B makes its folder ``wandb``; None for the run folder.
    """

    name = "wandb"

    def __init__(self, place: Path | None = None) -> None:
        self._given = place
        self._place = Path("wandb") if place is None else place / "wandb"
        self._run: Any = None
        self._last: dict[str, int] = {}

    @property
    def place(self) -> Path:
        """The folder that W&B writes to."""
        return self._place

    def start(self, run: LoggedRun) -> None:
        """Begin the run, or go on under its id."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # read when wandb is imported
        import wandb

        folder = run.folder if self._given is None else self._given
        folder.mkdir(parents=True, exist_ok=True)
        self._place = folder / "wandb"
        known = kept_id(run.folder, self.name) if run.resumed else None
        identity = known or uuid.uuid4().hex[:12]
        if known is None:
            keep_id(run.folder, self.name, identity)
        self._run = wandb.init(
            project=PROJECT,
            name=run.name,
            id=identity,
            dir=str(folder),
            config=dict(run.config),
            mode="online" if os.environ.get("WANDB_MODE") == "online" else "offline",
            resume="allow",
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                save_code=False,
                x_disable_stats=True,
                x_disable_meta=True,
                x_transaction_log_flush_interval=_FLUSH_SECONDS,
            ),
        )
        if known is not None:
            self._last = _last_steps(self._place, identity)
            for step, values in _told(self._place / _TOLD):
                if step <= run.step:
                    self._log(step, values)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One entry of the history; entries of one step are joined by W&B."""
        with (self._place / _TOLD).open("a", encoding="utf-8") as file:
            file.write(json.dumps([step, dict(values)]) + "\n")
        self._log(step, values)

    def _log(self, step: int, values: Mapping[str, float]) -> None:
        new = later(step, values, self._last)
        if new:
            self._run.log(new, step=step)
            self._last |= dict.fromkeys(new, step)

    def picture(self, step: int, title: str, jpeg: bytes) -> None:
        """Under Media."""
        import wandb

        self._run.log({title: wandb.Image(Image.open(io.BytesIO(jpeg)))}, step=step)

    def summary(self, step: int, metrics: Mapping[str, float], report: Path) -> None:
        """The last step's history, and the summary."""
        self.scalars(step, metrics)
        self._run.summary.update({**metrics, "report": str(report.resolve())})

    def close(self, ending: Ending) -> None:
        """Write what is left."""
        if self._run is not None:
            self._run.finish(exit_code=_EXIT_CODES[ending])


def _told(file: Path) -> list[tuple[int, dict[str, float]]]:
    """The lines that were kept; one that a killed process left half written is left out."""
    lines = file.read_text(encoding="utf-8").split("\n")[:-1] if file.exists() else []
    return [(step, values) for step, values in map(json.loads, lines)]


def _last_steps(place: Path, identity: str) -> dict[str, int]:
    """The last step of each name that W&B's files of a run hold."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]  # made when it is imported

    last: dict[str, int] = {}
    for file in place.glob(f"*run-*-{identity}/run-{identity}.wandb"):
        for data in _records(file.read_bytes()):
            history = Record.FromString(data).history
            items = {"/".join(item.nested_key): item.value_json for item in history.item}
            step = int(items.get("_step", history.step.num))
            last |= {name: max(step, last.get(name, 0)) for name in items}
    return last


def _records(data: bytes) -> Iterator[bytes]:
    """The records of a file, whose end may be torn.

    After W&B's header it has LevelDB's log format: blocks of 32 KiB, in them pieces of CRC, length, type (whole record,
    first, middle, last piece) and content.
    """
    place, record = _HEADER, b""
    while place + _RECORD.size <= len(data):
        left = _BLOCK - place % _BLOCK
        if left < _RECORD.size:
            place += left
            continue
        _, length, kind = _RECORD.unpack_from(data, place)
        place += _RECORD.size
        if kind == 0 or place + length > len(data):
            return
        record += data[place : place + length]
        place += length
        if kind in (_WHOLE, _LAST):
            yield record
            record = b""
