"""loggers.json in the run folder: under which id each logger knows the run, so that a resumed run goes on in it."""

import json
from collections.abc import Mapping
from pathlib import Path

from sightline.errors import SightlineError
from sightline.files import write_atomically

FILE = "loggers.json"
"""In the run folder."""


def kept_id(folder: Path, logger: str) -> str | None:
    """The id under which a logger knows the run, or None.

    Args:
        folder: the run folder.
        logger: its name.

    Raises:
        SightlineError: the file was damaged.
    """
    return _read(folder).get(logger)


def keep_id(folder: Path, logger: str, identity: str) -> None:
    """Remember a logger's id of the run."""
    write_atomically(folder / FILE, json.dumps({**_read(folder), logger: identity}, indent=2) + "\n")


def later(step: int, values: Mapping[str, float], last: Mapping[str, int]) -> dict[str, float]:
    """The values that were not written yet: those of names whose last step lies before this one.

    Args:
        step: of the values.
        values: by name.
        last: the last step that was written before the run went on, by name.
    """
    return {name: value for name, value in values.items() if step > last.get(name, -1)}


def _read(folder: Path) -> dict[str, str]:
    file = folder / FILE
    if not file.exists():
        return {}
    try:
        return {str(name): str(identity) for name, identity in json.loads(file.read_text(encoding="utf-8")).items()}
    except (ValueError, AttributeError) as error:
        raise SightlineError(
            f"cannot be read ({error})",
            place=file,
            cause="it was changed by hand",
            cure="remove it",
        ) from error
