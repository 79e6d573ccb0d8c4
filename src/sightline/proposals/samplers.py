"""The baselines of Hosang et al. (TPAMI 2016, section 2.4) that do not look at what an image shows.

    Uniform         centre, square root of the area and logarithm of the aspect ratio, each uniform within its range
    Gaussian        the same four from one multivariate Gaussian
    SlidingWindow   windows of fixed sizes on a regular grid

and a fourth of the lectures, AnchorBoxes: what a region proposal network begins with, before anything is learned.

Ranges, means and covariances are those of a training set; the paper took PASCAL VOC 2007's, after leaving out the 0.5%
smallest and largest values for the ranges. The numbers here were taken in the same way of COCO 2017: of the 1503
objects of 160 of its images (80 of ``train``, 80 of ``val``), as shares of the image's sides and of the square root of
its area, so that they serve images of any size. ``fitted`` takes them of other boxes.

Random numbers come from ``seed`` and the pixels: the same image has the same proposals, another has others.
"""

import math
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline.classes import Size
from sightline.errors import ConfigError
from sightline.geometry.anchors import grid, size_ratio_pairs
from sightline.proposals.proposer import ImageProposals, Proposer, require_askable

Floats = NDArray[np.float64]
Range = tuple[float, float]
Four = tuple[float, float, float, float]

_TAILS = (0.5, 99.5)
"""Percentiles at which ranges end."""


@dataclass(frozen=True)
class Sampler(Proposer, ABC):
    """Draws boxes from a distribution of their centres, sizes and aspect ratios."""

    seed: int = 0
    """Of the random numbers; not negative."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"the seed must not be negative, got {self.seed}")

    def propose(self, image: Tensor, count: int) -> ImageProposals:
        """``count`` boxes, cut off at the image's border and at least one pixel wide and high."""
        size = require_askable(image, count)
        rng = np.random.default_rng((self.seed, *size, zlib.crc32(image.contiguous().numpy().data)))
        return ImageProposals(_within(_boxes(self.draw(rng, count), size), size))

    @abstractmethod
    def draw(self, rng: np.random.Generator, count: int) -> Floats:
        """(count, 4) centre x, centre y, square root of the area, log of width over height.

        The first three are shares of the image's width, height and square root of its area.
        """


@dataclass(frozen=True)
class Uniform(Sampler):
    """Centre, square root of the area and log aspect ratio, each uniform within the range of 99% of all objects."""

    x: Range = (0.022, 0.983)
    """Of the centre, as a share of the image's width."""
    y: Range = (0.048, 0.946)
    """Of the centre, as a share of its height."""
    scale: Range = (0.011, 0.979)
    """Square root of the box's area over that of the image's."""
    log_aspect: Range = (-1.742, 2.092)
    """Natural logarithm of width over height."""

    name: ClassVar[str] = "uniform"
    summary: ClassVar[str] = "centre, size and aspect ratio drawn uniformly"
    source: ClassVar[str] = "Hosang et al. 2016, section 2.4"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, (low, high) in zip(("x", "y", "scale", "log_aspect"), self._ranges, strict=True):
            if not low <= high:
                raise ConfigError(f"{name} must be a range from low to high, got {low:g} to {high:g}")

    @property
    def _ranges(self) -> tuple[Range, ...]:
        return self.x, self.y, self.scale, self.log_aspect

    def draw(self, rng: np.random.Generator, count: int) -> Floats:
        """As the base class says."""
        low, high = np.array(self._ranges).T
        return rng.uniform(low, high, (count, 4))

    @classmethod
    def fitted(cls, objects: Floats) -> Self:
        """With the ranges of 99% of the objects, as :func:`described` gives them.

        Raises:
            ConfigError: no objects.
        """
        _require_objects(objects)
        low, high = np.percentile(objects, _TAILS, axis=0).tolist()
        x, y, scale, log_aspect = zip(low, high, strict=True)
        return cls(x=x, y=y, scale=scale, log_aspect=log_aspect)


@dataclass(frozen=True)
class Gaussian(Sampler):
    """Centre, square root of the area and log aspect ratio from one Gaussian, of the mean and covariance of objects."""

    mean: Four = (0.509, 0.53, 0.166, -0.145)
    """Of centre x, centre y, square root of the area, log of width over height."""
    covariance: tuple[Four, Four, Four, Four] = (
        (0.0663, -0.0024, -0.002, 0.0025),
        (-0.0024, 0.0432, 0.003, 0.0126),
        (-0.002, 0.003, 0.0321, 0.0156),
        (0.0025, 0.0126, 0.0156, 0.5242),
    )
    """Of the same four."""

    name: ClassVar[str] = "gaussian"
    summary: ClassVar[str] = "centre, size and aspect ratio drawn from a Gaussian"
    source: ClassVar[str] = "Hosang et al. 2016, section 2.4"

    def __post_init__(self) -> None:
        super().__post_init__()
        matrix = np.array(self.covariance)
        if not np.array_equal(matrix, matrix.T) or np.linalg.eigvalsh(matrix).min() < -1e-9:
            raise ConfigError("the covariance must be symmetric and not negative in any direction")

    def draw(self, rng: np.random.Generator, count: int) -> Floats:
        """As the base class says; a drawn square root of the area that is negative stands for the smallest box."""
        return rng.multivariate_normal(self.mean, self.covariance, count, method="eigh")

    @classmethod
    def fitted(cls, objects: Floats) -> Self:
        """With the mean and covariance of objects, as :func:`described` gives them.

        Raises:
            ConfigError: no objects.
        """
        _require_objects(objects)
        covariance = np.cov(objects.T) if len(objects) > 1 else np.zeros((4, 4))
        first, second, third, fourth = (_four(row) for row in covariance)
        return cls(mean=_four(objects.mean(axis=0)), covariance=(first, second, third, fourth))


@dataclass(frozen=True)
class SlidingWindow(Proposer):
    """Windows of fixed sizes, each size on a regular grid over the image; the count is shared out over the sizes.

    As in BING (Cheng et al. 2014), widths and heights are 10, 20, 40 ... 320 pixels of an image whose longer side is
    500: 36 sizes, of which those larger than the image are left out.
    """

    sides: tuple[float, ...] = (0.02, 0.04, 0.08, 0.16, 0.32, 0.64)
    """Widths and heights of windows, as shares of the image's longer side."""

    name: ClassVar[str] = "sliding_window"
    summary: ClassVar[str] = "windows of 36 sizes on regular grids"
    source: ClassVar[str] = "Hosang et al. 2016, section 2.4"

    def __post_init__(self) -> None:
        if not self.sides or min(self.sides) <= 0:
            raise ConfigError("the sides of windows must be positive, and one at least")

    def propose(self, image: Tensor, count: int) -> ImageProposals:
        """At most ``count`` windows, the large ones first; what a size cannot use goes to the next smaller one."""
        height, width = require_askable(image, count)
        sides = [max(1.0, side * max(height, width)) for side in self.sides]
        sizes = [(w, h) for w in sides for h in sides if w <= width and h <= height] or [(float(width), float(height))]
        sizes = sorted(dict.fromkeys(sizes), key=lambda size: (-size[0] * size[1], size))
        found, left = [], count
        for place, (w, h) in enumerate(sizes):
            grid = _grid(width - w, height - h, -(-left // (len(sizes) - place)))
            found.append(np.concatenate((grid, grid + np.array([w, h])), axis=1))
            left -= len(grid)
        return ImageProposals(torch.from_numpy(np.concatenate(found).astype(np.float32)))


@dataclass(frozen=True)
class AnchorBoxes(Proposer):
    """Anchors of a few sizes and ratios at every step of a grid that is as fine as the count allows.

    Each step has n + m - 1 of them (``geometry/anchors.size_ratio_pairs``); steps are as nearly square as they can be.
    """

    sizes: tuple[float, ...] = (0.75, 0.5, 0.25)
    """Shares of the image's height; the defaults are the lectures'."""
    ratios: tuple[float, ...] = (1.0, 2.0, 0.5)
    """Width / height; the first goes with every size, the others with the first size."""

    name: ClassVar[str] = "anchors"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "anchor boxes of a few sizes and ratios on a regular grid"
    source: ClassVar[str] = "Ren et al. 2015, section 3.1"

    def __post_init__(self) -> None:
        for name in ("sizes", "ratios"):
            values = getattr(self, name)
            if not values or min(values) <= 0:
                raise ConfigError(f"the {name} of anchors must be positive, and one at least")

    def propose(self, image: Tensor, count: int) -> ImageProposals:
        """At most ``count`` anchors, row by row, cut off at the border; of one step where the count is smaller."""
        height, width = require_askable(image, count)
        steps = max(1, count // (len(self.sizes) + len(self.ratios) - 1))
        rows = min(max(1, round(math.sqrt(steps * height / width))), steps)
        columns = steps // rows
        # In pixels: a grid of whole steps is seldom of the image's aspect, and a ratio of 1 is a square all the same.
        pairs = size_ratio_pairs(self.sizes, self.ratios, "ratios_first")
        sides = [(share * math.sqrt(ratio), share / math.sqrt(ratio)) for share, ratio in pairs]
        cell = torch.tensor([(-w, -h, w, h) for w, h in sides], dtype=torch.float64) * (height / 2)
        anchors = grid(cell, (rows, columns), (height / rows, width / columns), offset=0.5)
        return ImageProposals(_within(anchors[:count].numpy(), (height, width)))


def described(boxes: Tensor, size: Size) -> Floats:
    """(N, 4) centre x, centre y, square root of the area, log of width over height: what samplers are fitted to.

    Args:
        boxes: (N, 4) xyxy of the objects of one image.
        size: (H, W) of the image.
    """
    low, high = boxes[:, :2].double().numpy(), boxes[:, 2:].double().numpy()
    extent, image = high - low, np.array([size[1], size[0]])
    scale = np.sqrt(extent.prod(axis=1) / image.prod())
    return np.column_stack(((low + high) / 2 / image, scale, np.log(extent[:, 0] / extent[:, 1])))


def _boxes(drawn: Floats, size: Size) -> Floats:
    """(N, 4) xyxy in pixels of what was drawn."""
    height, width = size
    scale = np.maximum(drawn[:, 2], 0) * np.sqrt(height * width)
    extent = scale[:, None] * np.exp(drawn[:, 3:] * (0.5, -0.5))
    centre = drawn[:, :2] * (width, height)
    return np.concatenate((centre - extent / 2, centre + extent / 2), axis=1)


def _within(boxes: Floats, size: Size) -> Tensor:
    """Boxes cut off at the border, with sides of a pixel at least."""
    limit = np.array([size[1], size[0]])
    low = boxes[:, :2].clip(0, limit - 1)
    high = np.maximum(boxes[:, 2:].clip(0, limit), low + 1)
    return torch.from_numpy(np.concatenate((low, high), axis=1).astype(np.float32))


def _grid(across: float, down: float, count: int) -> Floats:
    """(n, 2) at most ``count`` corners, spaced evenly over 0..across and 0..down, both ends included."""
    if count < 1:
        return np.zeros((0, 2))
    columns = int(np.clip(np.sqrt(count * (across + 1) / (down + 1)), 1, count))
    rows = count // columns
    columns, rows = min(columns, int(across) + 1), min(rows, int(down) + 1)
    x, y = (np.linspace(0, end, n) if n > 1 else np.array([end / 2]) for end, n in ((across, columns), (down, rows)))
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def _four(values: Floats) -> Four:
    a, b, c, d = values.tolist()
    return a, b, c, d


def _require_objects(objects: Floats) -> None:
    if len(objects) == 0:
        raise ConfigError("a distribution cannot be fitted to no objects", cure="take a split that has some")
