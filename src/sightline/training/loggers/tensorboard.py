"""TensorBoard: event files in the run folder; ``tensorboard --logdir runs`` shows all runs."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sightline.errors import ConfigError
from sightline.training.loggers.experiment_logger import Ending, ExperimentLogger, LoggedRun

FOLDER = "tensorboard"
"""In the run folder, unless told otherwise."""


class TensorBoardLogger(ExperimentLogger):
    """Scalars by step, pictures, and the configuration as text.

    A run that goes on writes another event file whose first entry takes back all points after the step that it goes on
    from: readers leave them out (``purge_step``).

    Args:
        place: folder of the runs, each in a folder of its own; None for one in the run folder.
    """

    name = "tensorboard"

    def __init__(self, place: Path | None = None) -> None:
        self._given = place
        self._place = Path(FOLDER) if place is None else place
        self._writer: Any = None

    @property
    def place(self) -> Path:
        """The folder of the event files."""
        return self._place

    def start(self, run: LoggedRun) -> None:
        """Open an event file.

        Raises:
            ConfigError: another run's event files are there.
        """
        from torch.utils.tensorboard import SummaryWriter

        self._place = run.folder / FOLDER if self._given is None else self._given / run.name
        there = self._place.is_dir() and any(self._place.iterdir())
        if there and not run.resumed:
            raise ConfigError(
                "TensorBoard files of another run are there", place=self._place, cure="choose another place or --out"
            )
        again = run.step + 1 if there else None
        self._writer = SummaryWriter(str(self._place), purge_step=again)
        if not there:
            self._writer.add_text("config", f"```\n{json.dumps(run.config, indent=2)}\n```", run.step)
            self._writer.flush()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One point each."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def picture(self, step: int, title: str, jpeg: bytes) -> None:
        """Under Images."""
        pixels = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))
        self._writer.add_image(title, pixels, step, dataformats="HWC")

    def summary(self, step: int, metrics: Mapping[str, float], report: Path) -> None:
        """Points at the last step, the report's path as text."""
        self.scalars(step, metrics)
        self._writer.add_text("report", str(report.resolve()), step)
        self._writer.flush()

    def close(self, ending: Ending) -> None:
        """Close the event file."""
        del ending
        if self._writer is not None:
            self._writer.close()
