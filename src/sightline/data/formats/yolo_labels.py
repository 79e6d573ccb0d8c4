"""One label file of YOLO: a line an object, its class and then a box, a polygon, or a box and keypoints.

``class cx cy w h``, ``class x1 y1 x2 y2 x3 y3 ...`` and ``class cx cy w h x1 y1 v1 ...``, all divided by the width and
height of the image. Boxes and polygons may stand in one file. In pixels all is rounded to a millionth, far below what
the decimals of such files carry: a corner that was 12.3 pixels is that again, and a mask has the same pixels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.classes import Size
from sightline.data.findings import Findings

_LARGEST = 1e30


@dataclass(frozen=True)
class Line:
    """One object as it is written.

    Args:
        number: of the line, from 1.
        label: its class, which need not be listed.
        box: x1, y1, x2, y2 divided by the image's sides.
        points: the polygon x1, y1, x2, y2 ...; empty where it is a box.
        keypoints: x, y, visibility of each; empty without keypoints.
    """

    number: int
    label: int
    box: tuple[float, float, float, float]
    points: tuple[float, ...] = ()
    keypoints: tuple[float, ...] = ()

    def in_pixels(self, size: Size) -> tuple[tuple[float, ...], dict[str, Any]]:
        """The box in pixels, and the keys of COCO's entry for polygon and keypoints.

        Args:
            size: (H, W) of the image.
        """
        height, width = size
        x1, y1, x2, y2 = self.box
        entry: dict[str, Any] = {}
        if self.points:
            entry["segmentation"] = [_times(self.points, (width, height))]
        if self.keypoints:
            entry["keypoints"] = _times(self.keypoints, (width, height, 1))
            entry["num_keypoints"] = sum(v > 0 for v in self.keypoints[2::3])
        return tuple(_times((x1, y1, x2, y2), (width, height))), entry


def _times(values: tuple[float, ...], factors: tuple[int, ...]) -> list[float]:
    return [round(value * factors[i % len(factors)], 6) for i, value in enumerate(values)]


@dataclass(frozen=True)
class LineForm:
    """What the lines of a set hold.

    Args:
        keypoints: of each object; 0 for boxes and polygons.
        dimensions: values of a keypoint, 2 or 3.
    """

    keypoints: int = 0
    dimensions: int = 3

    @property
    def length(self) -> int:
        """Values of a line with keypoints."""
        return 5 + self.keypoints * self.dimensions


def read_lines(path: Path, form: LineForm, findings: Findings, image: str) -> list[Line] | None:
    """The objects of a label file; what cannot be used is noted and left out. Empty where there is no file.

    None stands for a file that cannot be read, of whose image nobody knows what it shows.

    Args:
        path: the file.
        form: what its lines hold.
        findings: where defects are noted.
        image: the picture, for the findings.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        findings.add("file-unreadable", f"the label file cannot be read ({error})", path, image=image)
        return None
    lines: list[Line] = []
    for number, content in enumerate(text.split("\n"), start=1):
        words = content.split()
        if not words:
            continue
        line = _line(number, words, form)
        if isinstance(line, Line):
            lines.append(line)
        else:
            findings.add(line[0], line[1], path, f"line {number}", image=image)
    return lines


def _line(number: int, words: list[str], form: LineForm) -> Line | tuple[str, str]:
    """One object, or the code and text of what is wrong with it."""
    values = _numbers(words, form)
    if isinstance(values, tuple):
        return values
    label, rest = int(values[0]), values[1:]
    if form.keypoints:
        points = _keypoints(rest[4:], form)
        return Line(number, label, _corners(rest), keypoints=points) if points else _bad_visibility()
    if len(rest) == 4:
        return Line(number, label, _corners(rest))
    box = (min(rest[0::2]), min(rest[1::2]), max(rest[0::2]), max(rest[1::2]))
    return Line(number, label, box, points=tuple(rest))


def _numbers(words: list[str], form: LineForm) -> list[float] | tuple[str, str]:
    """The values of a line, or the code and text of what is wrong with them."""
    wrong = _wrong_length(len(words), form)
    if wrong:
        return "value-malformed", wrong
    text = next((word for word in words if not _is_number(word)), None)
    if text is not None:
        return "value-malformed", f"must be numbers, got {text[:40]!r}"
    values = [float(word) for word in words]
    if not all(-_LARGEST < value < _LARGEST for value in values):
        return "number-not-finite", "a number is NaN, infinite or too large"
    if not values[0].is_integer():
        return "value-malformed", f"the class must be a whole number, got {words[0][:40]}"
    return values


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word


def _wrong_length(count: int, form: LineForm) -> str:
    if form.keypoints:
        wanted = f"5 + {form.keypoints} * {form.dimensions} = {form.length}"
        return "" if count == form.length else f"{count} values, where kpt_shape asks for {wanted}"
    if count >= 5 and count % 2:
        return ""
    return f"{count} values: a box has 5, a polygon 7 or more, always an odd number"


def _corners(values: list[float]) -> tuple[float, float, float, float]:
    x, y, width, height = values[:4]
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _keypoints(values: list[float], form: LineForm) -> tuple[float, ...]:
    """x, y, visibility of each; empty where a visibility is none."""
    if form.dimensions == 3:
        return tuple(values) if all(v in (0, 1, 2) for v in values[2::3]) else ()
    points: list[float] = []
    for x, y in zip(values[0::2], values[1::2], strict=True):
        # Without visibilities a point at the corner, or left of or above the image, is one that was not labelled.
        points += (x, y, 2.0) if min(x, y) >= 0 and (x, y) != (0, 0) else (0.0, 0.0, 0.0)
    return tuple(points)


def _bad_visibility() -> tuple[str, str]:
    return "value-malformed", "the visibility of a keypoint must be 0, 1 or 2"
