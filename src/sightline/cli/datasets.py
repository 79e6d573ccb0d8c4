"""The set of images that the word DATA of a command means."""

import sys
from pathlib import Path

from sightline.cli.output import counter


def find_data(text: str) -> Path:
    """A path, or the folder of a public data set by its name, which is downloaded where it is not there yet.

    Raises:
        DataError: neither, or the download failed.
    """
    from sightline.data.catalogue.install import resolve_data

    with counter("downloading") as progress:
        return resolve_data(text, progress=progress, say=say)


def say(line: str) -> None:
    """A line for the person, on standard error."""
    print(line, file=sys.stderr)
