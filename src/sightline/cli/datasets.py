"""The set of images that the word DATA of a command means."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.cli.output import counter

if TYPE_CHECKING:
    from sightline.training.progress import Progress


def find_data(text: str, shown: "Progress | None" = None) -> Path:
    """A path, or the folder of a public data set by its name, which is downloaded where it is not there yet.

    Args:
        text: as it was typed.
        shown: what shows the run that the data are for; default: a bar of its own.

    Raises:
        DataError: neither, or the download failed.
    """
    from sightline.data.catalogue.install import resolve_data

    if shown is not None:
        return resolve_data(text, progress=partial(shown.working, "downloading"), say=shown.log)
    with counter("downloading") as progress:
        return resolve_data(text, progress=progress, say=say)


def say(line: str) -> None:
    """A line for the person, on standard error."""
    print(line, file=sys.stderr)
