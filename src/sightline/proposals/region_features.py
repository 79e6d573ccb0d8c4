"""What Selective Search knows of a region: size, box, histograms of colour and of texture (section 3.2).

Colour: 25 bins a channel. Texture: derivatives of a Gaussian of 1 pixel in eight directions, 10 bins a direction and
channel. The derivative in the opposite direction is the same with the sign changed, and each keeps what is positive, so
four axes with signed bins say it all.

The Gaussian of the derivatives is not computed anew. The image is smoothed already by 0.8 pixels for its segmentation,
and a central difference is a derivative after a mean over 2 pixels, which has a variance of 4 / 12: together
sqrt(0.64 + 0.33) = 0.99 pixels.

Legend: C channels, H rows, W columns, S segments, D = C (25 + 80) bins of a region.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.proposals.compiled import compiled

COLOUR_BINS = 25
TEXTURE_BINS = 10
AXES = 4

_SIGNED = 2 * TEXTURE_BINS - 1


@dataclass(frozen=True, eq=False)
class Regions:
    """The segments of an image, as grouping takes them.

    Args:
        sizes: (S,) int64 pixels.
        boxes: (S, 4) int32 xyxy.
        counts: (S, D) int32 pixels in each bin: of all channels' colours, then of all channels' textures.
        pairs: (P, 2) int64 segments that touch, the lower label first.
        colours: how many of the D bins are of colour.
    """

    sizes: NDArray[np.int64]
    boxes: NDArray[np.int32]
    counts: NDArray[np.int32]
    pairs: NDArray[np.int64]
    colours: int


def smooth(planes: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Planes (C, H, W) after a Gaussian of ``sigma`` pixels, cut off at 4 of them, the borders repeated outwards."""
    reach = max(1, math.ceil(4 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return _smooth(planes, (weights / weights.sum()).astype(np.float32))


@compiled
def _smooth(planes: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    channels, height, width = planes.shape
    reach = len(weights) // 2
    smoothed = np.empty_like(planes)
    line = np.empty(width + 2 * reach, np.float32)
    for channel in range(channels):
        for row in range(height):
            # Down the columns first, a whole row at a time.
            line[:] = np.float32(0)
            inner = line[reach : reach + width]
            for tap in range(len(weights)):
                source = planes[channel, min(max(row + tap - reach, 0), height - 1)]
                weight = weights[tap]
                for column in range(width):
                    inner[column] += weight * source[column]
            line[:reach] = line[reach]
            line[reach + width :] = line[reach + width - 1]
            target = smoothed[channel, row]
            target[:] = np.float32(0)
            for tap in range(len(weights)):
                weight = weights[tap]
                for column in range(width):
                    target[column] += weight * line[column + tap]
    return smoothed


@compiled
def bins_of_pixels(planes: NDArray[np.float32], smoothed: NDArray[np.float32], steepest: float) -> NDArray[np.uint16]:
    """(H, W, 5 C) the bins that each pixel counts in: one of each channel's colour, then four of its texture.

    Args:
        planes: (C, H, W) in 0..255.
        smoothed: the same, smoothed by 0.8 pixels.
        steepest: grey levels a pixel from which derivatives fall into the last bin.
    """
    channels, height, width = planes.shape
    bins = np.empty((height, width, channels * (1 + AXES)), np.uint16)
    derivatives = np.empty(AXES, np.float32)
    diagonal = np.float32(0.5**0.5)
    per_colour, per_level = np.float32(COLOUR_BINS / 256), np.float32(TEXTURE_BINS / steepest)
    for channel in range(channels):
        plane = smoothed[channel]
        texture = channels * COLOUR_BINS + channel * AXES * _SIGNED
        for row in range(height):
            above, below = plane[max(row - 1, 0)], plane[min(row + 1, height - 1)]
            for column in range(width):
                bins[row, column, channel] = channel * COLOUR_BINS + int(planes[channel, row, column] * per_colour)
                left, right = max(column - 1, 0), min(column + 1, width - 1)
                across = (plane[row, right] - plane[row, left]) * np.float32(0.5)
                down = (below[column] - above[column]) * np.float32(0.5)
                derivatives[0], derivatives[1] = across, (across + down) * diagonal
                derivatives[2], derivatives[3] = down, (down - across) * diagonal
                for axis in range(AXES):
                    signed = int(derivatives[axis] * per_level)
                    signed = min(max(signed, 1 - TEXTURE_BINS), TEXTURE_BINS - 1)
                    place = channels + channel * AXES + axis
                    bins[row, column, place] = texture + axis * _SIGNED + TEXTURE_BINS - 1 + signed
    return bins


def describe(labels: NDArray[np.int32], count: int, bins: NDArray[np.uint16]) -> Regions:
    """Sizes, boxes, histograms and neighbours of segments.

    Args:
        labels: (H, W) of the pixels, from 0.
        count: S.
        bins: of the pixels, by :func:`bins_of_pixels`.
    """
    channels = bins.shape[2] // (1 + AXES)
    sizes, boxes = sizes_and_boxes(labels, count)
    signed = _count(labels, count, bins, channels * (COLOUR_BINS + AXES * _SIGNED))
    counts = _unsigned(signed, sizes, channels)
    keys = np.unique(_touching(labels, count))
    pairs = np.stack((keys // count, keys % count), axis=1)
    return Regions(sizes, boxes, counts, pairs, channels * COLOUR_BINS)


@compiled
def sizes_and_boxes(labels: NDArray[np.int32], count: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """(S,) pixels of segments, and (S, 4) xyxy around them.

    Args:
        labels: (H, W) of the pixels, from 0.
        count: S.
    """
    height, width = labels.shape
    sizes, boxes = np.zeros(count, np.int64), np.empty((count, 4), np.int32)
    boxes[:, :2], boxes[:, 2:] = max(height, width), 0
    for row in range(height):
        for column in range(width):
            region = labels[row, column]
            sizes[region] += 1
            box = boxes[region]
            box[0], box[1] = min(box[0], column), min(box[1], row)
            box[2], box[3] = max(box[2], column + 1), max(box[3], row + 1)
    return sizes, boxes


@compiled
def _count(labels: NDArray[np.int32], count: int, bins: NDArray[np.uint16], columns: int) -> NDArray[np.int32]:
    """(S, columns) pixels in each bin, the textures' signed."""
    height, width = labels.shape
    counts = np.zeros((count, columns), np.int32)
    for row in range(height):
        for column in range(width):
            of_region, of_pixel = counts[labels[row, column]], bins[row, column]
            for place in range(len(of_pixel)):
                of_region[of_pixel[place]] += 1
    return counts


def _unsigned(signed: NDArray[np.int32], sizes: NDArray[np.int64], channels: int) -> NDArray[np.int32]:
    """Histograms of eight directions from those of four axes: what is negative one way is positive the other way."""
    colour = signed[:, : channels * COLOUR_BINS]
    axes = signed[:, channels * COLOUR_BINS :].reshape(len(signed), channels, AXES, _SIGNED)
    texture = np.empty((len(signed), channels, AXES, 2, TEXTURE_BINS), np.int32)
    texture[..., 0, 1:] = axes[..., TEXTURE_BINS:]
    texture[..., 1, 1:] = axes[..., TEXTURE_BINS - 2 :: -1]
    texture[..., 0] = sizes[:, None, None, None] - texture[..., 1:].sum(axis=-1)
    return np.concatenate((colour, texture.reshape(len(signed), -1)), axis=1)


@compiled
def _touching(labels: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Lower label times S plus higher label of segments that meet, some of them many times."""
    height, width = labels.shape
    keys = np.empty(4 * height * width, np.int64)
    found = 0
    for row in range(height):
        for column in range(width):
            here = labels[row, column]
            for direction in range(4):
                lower = row + (direction > 0)
                beside = column + (1 if direction < 2 else 0) - (1 if direction == 3 else 0)
                if lower < height and 0 <= beside < width and labels[lower, beside] != here:
                    there = labels[lower, beside]
                    key = np.int64(min(here, there)) * count + max(here, there)
                    if found == 0 or keys[found - 1] != key:
                        keys[found] = key
                        found += 1
    return keys[:found]
