"""How a download can fail for good; whoever asked for it turns these into errors of its own kind."""

from sightline.errors import SightlineError


class UnreachableError(SightlineError):
    """There is no connection, it broke too often, or the server does not give the file."""


class DamagedError(SightlineError):
    """What the server gives is not the file that was expected."""


class StorageError(SightlineError):
    """The disk has no room, or the folder cannot be written."""
