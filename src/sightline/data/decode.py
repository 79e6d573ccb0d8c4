"""The one way from an image file to pixels; training, evaluation, prediction and the web page all come through here.

Pillow decodes, except for plain JPEGs, which nearly all photographs are (``jpeg.py``). What comes out is always
(3, H, W) uint8 RGB with the EXIF orientation applied; ``pixels.py`` says how each colour mode becomes that. Of an
animation, or a file of several pages, the first frame is read, and the result says so. A damaged file is an error, or
what is left of it where the caller asks for that (``salvage.py``).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from PIL import Image, ImageFile
from torch import Tensor

from sightline.classes import Size
from sightline.data.image_header import count_frames, opened
from sightline.data.jpeg import decode_plain_jpeg
from sightline.data.pixels import orientation_of, rgb, upright
from sightline.data.salvage import DAMAGE, is_cut_short, salvage
from sightline.geometry.reduction import shrink_factor

_GREY = 128


@dataclass(frozen=True)
class Decoded:
    """An image, and what there is to say about its file.

    Args:
        image: (3, H, W) uint8 RGB, upright by its EXIF orientation; possibly reduced. In memory the channels come
            first or last.
        size: (H, W) of the whole upright picture: that of ``image``, or exactly 2, 4 or 8 times that if it is reduced.
        frames: how many the file has, of which ``image`` is the first; None where there are more that are damaged and
            could not be counted.
        damage: what is wrong with a salvaged file, None for a sound one.
    """

    image: Tensor
    size: Size
    frames: int | None = 1
    damage: str | None = None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person should know about the image, in short texts."""
        several = () if self.frames == 1 else (f"first of {self.frames or 'several'} frames",)
        return several if self.damage is None else (*several, f"salvaged: {self.damage}")


def read_image(path: str | Path) -> Tensor:
    """The pixels of an image file.

    Args:
        path: the file.

    Returns:
        (3, H, W) uint8 RGB, upright by its EXIF orientation. In memory the channels come first, or last as decoders
        give them: ``contiguous()`` where the order matters.

    Raises:
        DataError: the file is missing, no image, damaged, too large, or in a colour mode without a defined RGB.
    """
    return decode_image(path).image


def decode_image(
    path: str | Path, *, on_damage: Literal["raise", "salvage"] = "raise", at_least: int | None = None
) -> Decoded:
    """The pixels of an image file, with what there is to say about them.

    Args:
        path: the file.
        on_damage: ``salvage`` gives the part of a damaged file that is there, with grey (128) for pixels that are
            missing; where a GIF has a transparent colour they are transparent. Never reduced. WebP files give all or
            nothing.
        at_least: the shorter side that will do, in pixels: the caller is going to shrink the image to that. A JPEG
            whose sides are multiples of 8, 4 or 2 is then decoded at that fraction of its size (libjpeg's scaled
            DCT), as long as the result is at least 2.5 times as large as asked for. All else comes at full size.

    Reduced pictures differ a little from whole ones once both are shrunk to what was asked for, with antialiasing. Mean
    absolute difference in grey levels of 255 (of the worst image; of the worst pixel), at exactly the 2.5 times or as
    little more as the sizes allow:

    * 10 of COCO's photographs, 640 x 480: 1/2 0.57 (0.78; 13), 1/4 0.60 (0.76; 8), 1/8 0.72 (0.82; 8). At twice as
      large it would be 0.87, 1.18 and 1.37, at the same size about 3. Time to decode: 1.3, 1.5 and 1.7 times less.
    * 20 of them enlarged to 3000 pixels: for 320 pixels 0.18 (0.32; 6), for 110 pixels 0.23 (0.49; 6); time to decode
      2.3 and 3.5 times less, on one core.

    Raises:
        DataError: as :func:`read_image`; also for a damaged file of which nothing could be salvaged.
    """
    if at_least is not None and at_least < 1:
        raise ValueError(f"at_least is {at_least}, must be a positive number of pixels")
    path = Path(path)
    with opened(path) as file:
        frames = count_frames(file, path)
        factor = 1 if at_least is None else _reduce(file, at_least)
        if factor == 1 and (plain := decode_plain_jpeg(file, path)) is not None:
            height, width = plain.shape[1:]
            return Decoded(plain, (height, width))
        image, damage, missing = file, None, None
        try:
            _load_whole(file, path)
        except DAMAGE as error:
            part = salvage(path.read_bytes()) if on_damage == "salvage" else None
            if part is None:
                raise
            image, missing, factor = part.image, part.missing, 1
            damage = _damage(error, float(missing.mean()))
        orientation = orientation_of(image)
        pixels = rgb(image, path)
    if missing is not None:
        pixels[:, missing] = _GREY
    picture = torch.from_numpy(upright(pixels, orientation))
    height, width = picture.shape[1:]
    return Decoded(picture, (height * factor, width * factor), frames, damage)


def _load_whole(image: Image.Image, path: Path) -> None:
    image.load()
    if ImageFile.LOAD_TRUNCATED_IMAGES and is_cut_short(path.read_bytes()):  # another library has set the switch
        raise OSError("image file is truncated")


def _damage(error: BaseException, share: float) -> str:
    """What is wrong with a salvaged file: its particulars in brackets."""
    lost = f"about {share:.0%} of its pixels are missing; " if share else ""
    return f"damaged image ({lost}{error})"


def _reduce(image: Image.Image, at_least: int) -> int:
    """Tell Pillow to decode a JPEG at 1/8, 1/4 or 1/2 of its sides, where that is exact enough; the divisor, or 1."""
    width, height = image.size
    factor = shrink_factor((height, width), at_least)
    if image.format not in ("JPEG", "MPO") or factor == 1:
        return 1
    image.draft(None, (width // factor, height // factor))
    return factor
