"""Selective Search in plain Python, as its papers write it: loops over pixels, edges and all pairs of regions."""

import math

import numpy as np


def lengths_of_edges(planes):
    """(length in steps of 1/128, direction, row, column, the two pixels) of each edge, shortest first."""
    _, height, width = planes.shape
    edges = []
    for direction, (down, right) in enumerate(((0, 1), (1, 0), (1, 1), (-1, 1))):
        for y in range(height):
            for x in range(width):
                if 0 <= y + down < height and x + right < width:
                    difference = planes[:, y, x].astype(float) - planes[:, y + down, x + right].astype(float)
                    length = int(math.sqrt((difference**2).sum()) * 128 + 0.5)
                    edges.append((length, direction, y, x, (y, x), (y + down, x + right)))
    return sorted(edges)


def segment(planes, scale, smallest):
    """Labels (H, W) in the order in which rows meet them: every pixel has its set of pixels."""
    segments = {pixel: {pixel} for pixel in np.ndindex(planes.shape[1:])}
    inner = {id(pixels): 0.0 for pixels in segments.values()}
    edges = lengths_of_edges(planes)

    def join(a, b, length):
        joined = segments[a] | segments[b]
        inner[id(joined)] = length
        kept.append(joined)
        for pixel in joined:
            segments[pixel] = joined

    kept = list(segments.values())  # no two sets of one identity
    for length, *_, a, b in edges:
        one, other = segments[a], segments[b]
        if one is not other and length / 128 <= min(
            inner[id(one)] + scale / len(one), inner[id(other)] + scale / len(other)
        ):
            join(a, b, length / 128)
    for length, *_, a, b in edges:
        if segments[a] is not segments[b] and min(len(segments[a]), len(segments[b])) < smallest:
            join(a, b, length / 128)
    names = {}
    return np.array(
        [
            [names.setdefault(id(segments[y, x]), len(names)) for x in range(planes.shape[2])]
            for y in range(planes.shape[1])
        ]
    )


def histograms(planes, smoothed, pixels, steepest):
    """Colour and texture counts of a region: 25 bins a channel; 10 bins a channel and direction of eight."""
    channels, height, width = planes.shape
    colour = np.zeros((channels, 25), int)
    texture = np.zeros((channels, 4, 2, 10), int)
    for y, x in pixels:
        for channel in range(channels):
            colour[channel, int(planes[channel, y, x] * 25 / 256)] += 1
            plane = smoothed[channel].astype(float)
            across = (plane[y, min(x + 1, width - 1)] - plane[y, max(x - 1, 0)]) / 2
            down = (plane[min(y + 1, height - 1), x] - plane[max(y - 1, 0), x]) / 2
            for axis in range(4):
                angle = axis * math.pi / 4
                slope = math.cos(angle) * across + math.sin(angle) * down
                for side, value in enumerate((slope, -slope)):
                    texture[channel, axis, side, min(9, int(max(0.0, value) * 10 / steepest))] += 1
    return np.concatenate((colour.ravel(), texture.ravel()))


def similarity(one, other, letters, image_pixels, channels):
    """The sum of the similarities that the letters name; regions are (set of pixels, counts)."""
    (first, counts), (second, others) = one, other
    colours = 25 * channels
    shares = [
        [int(c * (2**20 / (len(pixels) * channels * each))) for c in part]
        for pixels, h in ((first, counts), (second, others))
        for part, each in ((h[:colours], 1), (h[colours:], 8))
    ]
    total = 0.0
    if "C" in letters:
        total += sum(map(min, shares[0], shares[2])) / 2**20
    if "T" in letters:
        total += sum(map(min, shares[1], shares[3])) / 2**20
    both = len(first) + len(second)
    x1, y1, x2, y2 = box_of(first | second)
    if "S" in letters:
        total += 1 - both / image_pixels
    if "F" in letters:
        total += 1 - ((x2 - x1) * (y2 - y1) - both) / image_pixels
    return total


def box_of(pixels):
    """xyxy around pixels."""
    rows, columns = [y for y, _ in pixels], [x for _, x in pixels]
    return min(columns), min(rows), max(columns) + 1, max(rows) + 1


def touch(one, other):
    """Whether two sets of pixels have eight-neighbours in each other."""
    return any((y + dy, x + dx) in other for y, x in one for dy in (-1, 0, 1) for dx in (-1, 0, 1))


def group(labels, planes, smoothed, letters, steepest):
    """The boxes of all regions, as they are made: always the most similar of all pairs that touch."""
    pixels = {label: set(zip(*np.nonzero(labels == label), strict=True)) for label in range(labels.max() + 1)}
    regions = {label: (each, histograms(planes, smoothed, each, steepest)) for label, each in pixels.items()}
    boxes = [box_of(each) for each, _ in regions.values()]
    alive = dict(regions)
    while len(alive) > 1:
        pairs = [(a, b) for a in alive for b in alive if a < b and touch(alive[a][0], alive[b][0])]
        a, b = max(
            pairs,
            key=lambda pair: (
                similarity(alive[pair[0]], alive[pair[1]], letters, labels.size, len(planes)),
                -pair[0],
                -pair[1],
            ),
        )
        (one, counts), (other, others) = alive.pop(a), alive.pop(b)
        alive[len(boxes)] = (one | other, counts + others)
        boxes.append(box_of(one | other))
    return np.array(boxes)
