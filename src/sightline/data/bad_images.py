"""What becomes of images that cannot be read, for whoever reads many of them."""

from collections import Counter
from pathlib import Path
from typing import Literal, cast, get_args

from sightline.config import closest
from sightline.data.decode import Decoded, decode_image
from sightline.errors import ConfigError, DataError

OnBadImage = Literal["raise", "skip", "salvage"]
"""End at the first bad image; leave it out; or use what is left of it, and leave out what is beyond that."""


def on_bad_image(name: str) -> OnBadImage:
    """The policy of that name.

    Raises:
        ConfigError: there is no such policy.
    """
    known = get_args(OnBadImage)
    if name not in known:
        raise ConfigError(f"no way with bad images is called '{name}'", cure=closest(name, known))
    return cast("OnBadImage", name)


class ImageReader:
    """Reads images by one policy, and counts what was not as it should be.

    Args:
        on_bad: what to do with files that are damaged, missing, or no images.

    Attributes:
        counts: images by reason: skipped ("image skipped: damaged image"), salvaged ("image salvaged: ..."), or read
            in part ("first of several frames").
        skipped: the errors of the images that were skipped, each a line that names its file.
    """

    def __init__(self, on_bad: OnBadImage = "raise") -> None:
        self._on_bad = on_bad
        self.counts: Counter[str] = Counter()
        self.skipped: list[str] = []

    def read(self, path: str | Path, *, at_least: int | None = None) -> Decoded | None:
        """The image, or None where it is skipped.

        Args:
            path: the file.
            at_least: shortest side that will do, as in :func:`sightline.data.decode.decode_image`.

        Raises:
            DataError: the image is bad and the policy is ``raise``.
        """
        try:
            decoded = decode_image(
                path, on_damage="salvage" if self._on_bad == "salvage" else "raise", at_least=at_least
            )
        except DataError as error:
            if self._on_bad == "raise":
                raise
            self.skipped.append(str(error))
            self.counts[f"image skipped: {_reason(error.what)}"] += 1
            return None
        if decoded.damage is not None:
            self.counts[f"image salvaged: {_reason(decoded.damage)}"] += 1
        if decoded.frames != 1:
            self.counts["first of several frames"] += 1
        return decoded


def _reason(what: str) -> str:
    """What is wrong without the particulars of one file, which stand in brackets."""
    return what.partition(" (")[0]
