"""Boxes, labels, masks and keypoints on pictures.

Lines and letters grow with the picture; labels lie inside it, avoid each other where they can, and are black or white
on the class's colour, whichever reads better. Colours are those of Okabe and Ito (Color Universal Design, 2008),
followed by those of Tol's muted scheme (SRON technical note 09-002): both can be told apart by colour-blind readers.

The letters are matplotlib's DejaVu Sans, which has Latin, Greek and Cyrillic; Pillow's own font has ASCII only.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import matplotlib
import torch
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont
from torch import Tensor

from sightline.errors import ConfigError
from sightline.evaluation.coco import COCO_SIGMAS
from sightline.files import write_atomically
from sightline.structures import Classes, Detections, Sample

Colour = tuple[int, int, int]
"""Red, green, blue in 0..255."""

PALETTE: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (51, 34, 136),
    (136, 204, 238),
    (68, 170, 153),
    (17, 119, 51),
    (153, 153, 51),
    (221, 204, 119),
    (204, 102, 119),
    (136, 34, 85),
    (170, 68, 153),
)
"""Colours of the labels 0, 1, 2 ...; they begin again after 16."""

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
"""Suffixes of picture files that can be written."""

COCO_LIMBS = (
    *((0, 1), (0, 2), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
    *((5, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12), (11, 12)),
    *((11, 13), (13, 15), (12, 14), (14, 16)),
)
"""Pairs of COCO's 17 keypoints that a line joins; objects with 17 keypoints are taken for COCO's persons."""

_MASK_OPACITY = 0.35
_PADDING = 2  # pixels between a label's letters and its edge
_Rectangle = tuple[float, float, float, float]
Font = ImageFont.FreeTypeFont
"""A font of one size."""


def class_colours(labels: Tensor) -> list[Colour]:
    """The colour of each label, (N,) int64."""
    return [PALETTE[label % len(PALETTE)] for label in labels.tolist()]


def draw(
    image: Tensor,
    boxes: Tensor,
    names: Sequence[str],
    scores: Tensor | None = None,
    *,
    colours: Sequence[Colour] | None = None,
    dashed: Sequence[bool] | None = None,
    masks: Tensor | None = None,
    keypoints: Tensor | None = None,
) -> Tensor:
    """A copy of a picture with boxes and what goes with them. The first box is drawn on top and labelled best.

    Args:
        image: (3, H, W) uint8 RGB.
        boxes: (N, 4) xyxy in its pixels; parts outside are cut off.
        names: (N,) labels; an empty one draws no label.
        scores: (N,) in 0..1, written behind the names; or None.
        colours: (N,) of the boxes. Default: one a name, in order of first appearance.
        dashed: (N,) whether the box has a broken line. Default: none has.
        masks: (N, H, W) bool, tinted and outlined; or None.
        keypoints: (N, K, 3) x, y and visibility or score; those with 0 are not drawn; or None. COCO's 17 are joined by
            lines.

    Returns:
        (3, H, W) uint8.

    Raises:
        ValueError: an image of another shape or type, or lists of different lengths.
    """
    if image.ndim != 3 or image.shape[0] != 3 or image.dtype != torch.uint8:
        raise ValueError(f"draw needs a uint8 image of shape (3, H, W), got {image.dtype} of {tuple(image.shape)}")
    count = len(boxes)
    colours = _default_colours(names) if colours is None else colours
    dashed = [False] * count if dashed is None else dashed
    for what in (names, colours, dashed, scores, masks, keypoints):
        if what is not None and len(what) != count:
            raise ValueError(f"draw got {count} boxes but {len(what)} names, scores, colours, masks or keypoints")
    picture = to_pillow(image)
    if masks is not None:
        _draw_masks(picture, masks, colours)
    canvas = ImageDraw.Draw(picture)
    line = line_width(picture.size)
    rectangles = [_clipped(box, picture.size) for box in boxes.tolist()]
    for index in reversed(range(count)):
        _draw_box(canvas, rectangles[index], colours[index], line, dashed[index])
    if keypoints is not None:
        _draw_keypoints(canvas, keypoints, colours, line)
    texts = [name if scores is None or not name else f"{name} {scores[i]:.2f}" for i, name in enumerate(names)]
    _draw_labels(canvas, picture.size, rectangles, texts, colours)
    return from_pillow(picture)


def draw_detections(image: Tensor, detections: Detections, classes: Classes, threshold: float = 0.0) -> Tensor:
    """A copy of a picture, (3, H, W) uint8, with the detections of at least a score on it."""
    shown = detections.above(threshold).to("cpu")
    names = [classes.names[label] for label in shown.labels.tolist()]
    colours = class_colours(shown.labels)
    return draw(image, shown.boxes, names, shown.scores, colours=colours, masks=shown.masks, keypoints=shown.keypoints)


def side_by_side(images: Sequence[Tensor], titles: Sequence[str]) -> Tensor:
    """Pictures in one row, a title above each.

    Args:
        images: (3, H, W) uint8 each, of any sizes; they are aligned at the top, on white.
        titles: one a picture; cut where it is longer than the picture is wide.

    Returns:
        (3, H', W') uint8.

    Raises:
        ValueError: no pictures, or another number of titles.
    """
    if not images or len(images) != len(titles):
        raise ValueError(f"side_by_side needs one title for each of at least one picture, got {len(images)} pictures")
    height = max(image.shape[1] for image in images)
    widest = max(image.shape[2] for image in images)
    size = round(1.2 * font_size((widest, height)))
    strip, gap = round(1.8 * size), max(2, size // 2)
    width = sum(image.shape[2] for image in images) + gap * (len(images) - 1)
    sheet = Image.new("RGB", (width, height + strip), "white")
    canvas = ImageDraw.Draw(sheet)
    left = 0
    for image, title in zip(images, titles, strict=True):
        sheet.paste(to_pillow(image), (left, strip))
        text = cut_text(canvas, title, letters(size), image.shape[2])
        canvas.text((left, strip / 2), text, fill="black", font=letters(size), anchor="lm")
        left += image.shape[2] + gap
    return from_pillow(sheet)


def row_length(count: int, longest: int) -> int:
    """Pictures in a row of at most ``longest``: all where they fit, else rows that are as long as each other."""
    return math.ceil(count / math.ceil(count / longest))


def image_name(sample: Sample) -> str:
    """What an image is called beside its picture: its file's name, or its id where it has none."""
    return Path(sample.path).name or f"image {sample.image_id}"


def save_image(image: Tensor, path: Path) -> None:
    """Write a picture, (3, H, W) uint8, in one move; JPEG, PNG or WebP by the suffix.

    Raises:
        ConfigError: another suffix.
        OSError: the file cannot be written.
    """
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ConfigError(
            f"pictures cannot be written as {path.suffix or 'a file without suffix'}",
            place=path,
            cure=f"end the name in one of {', '.join(FORMATS)}",
        )
    write_atomically(path, encode(image, kind))


def encode(image: Tensor, kind: str, quality: int = 90) -> bytes:
    """A picture, (3, H, W) uint8, as the bytes of a JPEG, PNG or WEBP file; ``quality`` 1..95 for JPEG and WEBP."""
    buffer = BytesIO()
    options = {} if kind == "PNG" else {"quality": quality}
    to_pillow(image).save(buffer, kind, **options)
    return buffer.getvalue()


def to_pillow(image: Tensor) -> Image.Image:
    """A (3, H, W) uint8 tensor as a Pillow picture."""
    return Image.fromarray(image.permute(1, 2, 0).contiguous().cpu().numpy())


def from_pillow(picture: Image.Image) -> Tensor:
    """A Pillow picture in RGB as a (3, H, W) uint8 tensor."""
    pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return pixels.reshape(picture.height, picture.width, 3).permute(2, 0, 1).contiguous()


def line_width(size: tuple[int, int]) -> int:
    """Width of a line in pixels for a picture of (width, height)."""
    return max(1, round(min(max(size) / 240, min(size) / 30)))


def font_size(size: tuple[int, int]) -> int:
    """Height of letters in pixels for a picture of (width, height): never so small that they cannot be read."""
    return max(11, round(min(max(size) / 45, min(size) / 12)))


@lru_cache(maxsize=32)
def letters(size: int) -> Font:
    """The font that pictures are labelled in, so many pixels high."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def _default_colours(names: Sequence[str]) -> list[Colour]:
    place = {name: index for index, name in enumerate(dict.fromkeys(names))}
    return [PALETTE[place[name] % len(PALETTE)] for name in names]


def _clipped(box: Sequence[float], size: tuple[int, int]) -> _Rectangle:
    """The box in whole pixels of the picture, first and last included."""
    width, height = size
    x1, x2 = (min(max(round(x), 0), width - 1) for x in (box[0], box[2] - 1))
    y1, y2 = (min(max(round(y), 0), height - 1) for y in (box[1], box[3] - 1))
    return x1, y1, max(x1, x2), max(y1, y2)


def _draw_box(canvas: ImageDraw.ImageDraw, box: _Rectangle, colour: Colour, line: int, dashed: bool) -> None:
    x1, y1, x2, y2 = box
    if dashed:
        _draw_dashes(canvas, box, colour, line)
        return
    canvas.rectangle(box, outline=colour, width=line)
    if min(x2 - x1, y2 - y1) > 4 * line:
        # A thin darker line within keeps yellow visible on white.
        halo = tuple(part // 2 for part in colour)
        canvas.rectangle((x1 + line, y1 + line, x2 - line, y2 - line), outline=halo, width=1)


def _draw_dashes(canvas: ImageDraw.ImageDraw, box: _Rectangle, colour: Colour, line: int) -> None:
    x1, y1, x2, y2 = (int(value) for value in box)
    # Short enough that the smallest box still has gaps.
    dash = max(1, min(4 * line, (x2 - x1) // 5, (y2 - y1) // 5))
    for start in range(x1, x2 + 1, 2 * dash):
        end = min(start + dash - 1, x2)
        canvas.rectangle((start, y1, end, min(y1 + line - 1, y2)), fill=colour)
        canvas.rectangle((start, max(y2 - line + 1, y1), end, y2), fill=colour)
    for start in range(y1, y2 + 1, 2 * dash):
        end = min(start + dash - 1, y2)
        canvas.rectangle((x1, start, min(x1 + line - 1, x2), end), fill=colour)
        canvas.rectangle((max(x2 - line + 1, x1), start, x2, end), fill=colour)


def _draw_masks(picture: Image.Image, masks: Tensor, colours: Sequence[Colour]) -> None:
    for mask, colour in zip(reversed(masks.cpu().to(torch.uint8).mul(255).numpy()), reversed(colours), strict=True):
        shape = Image.fromarray(mask)
        picture.paste(colour, mask=shape.point(lambda value: round(value * _MASK_OPACITY)))
        edge = ImageChops.subtract(shape, shape.filter(ImageFilter.MinFilter(3)))
        picture.paste(colour, mask=edge)


def _draw_keypoints(canvas: ImageDraw.ImageDraw, keypoints: Tensor, colours: Sequence[Colour], line: int) -> None:
    radius = 1.5 * line
    for points, colour in zip(keypoints.tolist(), colours, strict=True):
        for one, other in COCO_LIMBS if len(points) == len(COCO_SIGMAS) else ():
            if points[one][2] > 0 and points[other][2] > 0:
                canvas.line((*points[one][:2], *points[other][:2]), fill=colour, width=line)
        for x, y, visibility in points:
            if visibility > 0:
                around = (x - radius, y - radius, x + radius, y + radius)
                canvas.ellipse(around, fill=colour, outline="black" if visibility >= 2 else None)


def _draw_labels(
    canvas: ImageDraw.ImageDraw,
    size: tuple[int, int],
    boxes: Sequence[_Rectangle],
    texts: Sequence[str],
    colours: Sequence[Colour],
) -> None:
    font = letters(font_size(size))
    placed: list[tuple[_Rectangle, str, Colour]] = []
    for box, text, colour in zip(boxes, texts, colours, strict=True):
        fitted = cut_text(canvas, text, font, size[0] - 2 * _PADDING)
        if fitted:
            plate = _plate(canvas.textlength(fitted, font=font), font, box, size, [plate for plate, _, _ in placed])
            placed.append((plate, fitted, colour))
    for plate, text, colour in reversed(placed):
        canvas.rectangle(plate, fill=colour)
        middle = (plate[0] + _PADDING, (plate[1] + plate[3]) / 2)
        canvas.text(middle, text, fill=_ink(colour), font=font, anchor="lm")


def _plate(
    length: float, font: Font, box: _Rectangle, size: tuple[int, int], placed: Sequence[_Rectangle]
) -> _Rectangle:
    """Where a label goes: the first of six places at its box that hits no other label, or the one that hits least."""
    width, height = length + 2 * _PADDING, round(1.3 * font.size)
    x1, y1, x2, y2 = box
    left, right = x1, x2 - width
    best, least = (0.0, 0.0, width, float(height)), float("inf")
    # Above, inside, then below the box; the left corner before the right one.
    for x, y in ((left, y1 - height), (right, y1 - height), (left, y1), (right, y1), (left, y2 + 1), (right, y2 + 1)):
        if y < 0 or y + height >= size[1]:
            continue
        inside = min(max(x, 0), max(0, size[0] - 1 - width))
        plate = (inside, y, inside + width, y + height)
        hit = sum(_shared(plate, other) for other in placed)
        if hit < least:
            best, least = plate, hit
        if hit == 0:
            break
    x1, y1, x2, y2 = best
    return x1, y1, min(x2, size[0] - 1), min(y2, size[1] - 1)


def _shared(one: _Rectangle, other: _Rectangle) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def cut_text(canvas: ImageDraw.ImageDraw, text: str, font: Font, width: float) -> str:
    """The text on one line, cut with an ellipsis where it is wider than ``width`` pixels; empty if nothing fits."""
    text = " ".join(text.split())
    if canvas.textlength(text, font=font) <= width:
        return text
    while text and canvas.textlength(text + "…", font=font) > width:
        text = text[:-1]
    return text + "…" if text else ""


def _ink(colour: Colour) -> Colour:
    """Black or white, whichever has the greater contrast on a colour (relative luminance of WCAG 2.1)."""
    linear = [(c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4) for c in colour]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (0, 0, 0) if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else (255, 255, 255)
