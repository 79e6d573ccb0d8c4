"""The colour spaces in which Selective Search looks at an image (Uijlings et al. 2013, section 3.2), each with its own
blindness: to light and shade, to highlights, to both.

Every channel is scaled to 0..255, so that one tolerance serves all of them. Hue is an angle and starts anew at red; it
is taken as a number, as the paper takes it.
"""

import numpy as np
from numpy.typing import NDArray

from sightline.proposals.compiled import compiled


def in_space(image: NDArray[np.uint8], space: str) -> NDArray[np.float32]:
    """An image in a colour space: (C, H, W) in 0..255.

    Args:
        image: (3, H, W) RGB.
        space: ``rgb``; ``hsv``; CIE ``lab`` for D65 (a and b shifted by 128, and cut off at 0 and 255); ``rgi``,
            normalised red and green and the intensity; ``hue`` and ``intensity`` alone.
    """
    if space == "lab":
        return _lab(image, _LINEAR)
    planes = image.astype(np.float32)
    if space == "rgb":
        return planes
    intensity: NDArray[np.float32] = planes.sum(axis=0, keepdims=True) * np.float32(1 / 3)
    if space == "intensity":
        return intensity
    if space == "rgi":
        shares = planes[:2] * (np.float32(85) / np.maximum(intensity, np.float32(1 / 3)))
        return np.concatenate((shares, intensity))
    hsv = _hsv(planes)
    return hsv if space == "hsv" else hsv[:1]


@compiled
def _hsv(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Hue, saturation and value, each in 0..255; grey has hue 0, black saturation 0."""
    hsv = np.empty_like(planes)
    sector = np.float32(255 / 6)
    for row in range(planes.shape[1]):
        for column in range(planes.shape[2]):
            red, green, blue = planes[0, row, column], planes[1, row, column], planes[2, row, column]
            value = max(red, green, blue)
            spread = value - min(red, green, blue)
            hue = np.float32(0)
            if spread > 0:
                if value == red:
                    hue = (green - blue) / spread
                elif value == green:
                    hue = (blue - red) / spread + np.float32(2)
                else:
                    hue = (red - green) / spread + np.float32(4)
                if hue < 0:
                    hue += np.float32(6)
            hsv[0, row, column] = hue * sector
            hsv[1, row, column] = spread * np.float32(255) / value if value > 0 else np.float32(0)
            hsv[2, row, column] = value
    return hsv


def _linear_light() -> NDArray[np.float32]:
    """What sRGB's 256 values stand for, in 0..1 (IEC 61966-2-1)."""
    values = np.arange(256) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


_LINEAR = _linear_light()


@compiled
def _lab(image: NDArray[np.uint8], linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """CIE L*a*b*: L in 0..100 stretched to 0..255, a and b shifted by 128."""
    lab = np.empty(image.shape, np.float32)
    # f(t) = cube root of t, and a straight line below (6 / 29) ** 3, looked up at steps of 1 / 8192.
    roots = np.empty(8194, np.float32)
    for step in range(8194):
        t = step / 8192
        roots[step] = t ** (1 / 3) if t > 216 / 24389 else t * (841 / 108) + 4 / 29
    for row in range(image.shape[1]):
        for column in range(image.shape[2]):
            red, green, blue = (
                linear[image[0, row, column]],
                linear[image[1, row, column]],
                linear[image[2, row, column]],
            )
            x = _between(roots, (0.412453 * red + 0.357580 * green + 0.180423 * blue) / 0.950456)
            y = _between(roots, 0.212671 * red + 0.715160 * green + 0.072169 * blue)
            z = _between(roots, (0.019334 * red + 0.119193 * green + 0.950227 * blue) / 1.088754)
            lab[0, row, column] = (116 * y - 16) * 2.55
            lab[1, row, column] = min(max(500 * (x - y) + 128, 0.0), 255.0)
            lab[2, row, column] = min(max(200 * (y - z) + 128, 0.0), 255.0)
    return lab


@compiled
def _between(table: NDArray[np.float32], t: float) -> float:
    """A table's value at t in 0..1, on the straight line between its steps."""
    place = t * 8192
    step = min(int(place), 8192)
    share = place - step
    return float(table[step] * (1 - share) + table[step + 1] * share)
