"""Random crops: a plain one, and SSD's, which keeps a stated overlap with an object (Liu et al. 2016, section 2.2).

Which objects survive a crop is said in ``placement``: those with their centre inside. As in torchvision, one object
with the drawn overlap is enough for a crop to be taken.

Departures: an image without objects is left as it is, for no crop could meet the condition (torchvision comes to the
same after drawing until the option 1.0 comes up). Where nothing fits after ``ROUNDS`` options, the image is left as
it is too, so that the search always ends.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sightline.structures import Sample, Size
from sightline.transforms.checks import require, require_probability, require_range
from sightline.transforms.pipeline import Transform
from sightline.transforms.placement import Window, cut, place

ROUNDS = 50
"""Options of ``IoUCrop`` that are tried before an image is left as it is."""


def draw_windows(size: Size, scale: tuple[float, float], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Random windows (count, 4), xyxy, inside an image of ``size``; each side is a fraction in ``scale`` of its own."""
    height, width = size
    sides = np.array([width, height])
    numbers = rng.random((count, 4))
    extent = np.maximum(1, (sides * (scale[0] + (scale[1] - scale[0]) * numbers[:, :2])).astype(np.int64))
    corner = ((sides - extent) * numbers[:, 2:]).astype(np.int64)
    return np.concatenate([corner, corner + extent], axis=1)


@dataclass(frozen=True)
class RandomCrop(Transform):
    """Cuts a window of random sides out of an image with probability ``p``, whatever becomes of the objects.

    Args:
        scale: lowest and highest fraction of the width and of the height, drawn for each.
        p: probability of a crop.
    """

    scale: tuple[float, float] = (0.7, 1.0)
    p: float = 1.0

    def __post_init__(self) -> None:
        require_range(self, "scale", self.scale, 0.0, 1.0)
        require_probability(self, "p", self.p)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample, cropped or not."""
        if rng.random() >= self.p:
            return sample
        x1, y1, x2, y2 = draw_windows(sample.target.size, self.scale, 1, rng)[0].tolist()
        return place(sample, cut(sample.target.size, (x1, y1, x2, y2)))


@dataclass(frozen=True)
class IoUCrop(Transform):
    """Cuts out a window that overlaps an object by at least a random IoU.

    One of ``min_ious`` is drawn; 1.0 and above leave the image as it is. Of ``trials`` random windows the first is
    taken that has sound proportions, the centre of an object inside, and at least that IoU with one such object. If
    there is none, another option is drawn.

    Args:
        min_ious: the options, drawn with equal probability.
        scale: lowest and highest fraction of the width and of the height, drawn for each.
        aspect: lowest and highest width / height of a window.
        trials: windows to try for each option.
    """

    min_ious: tuple[float, ...] = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
    scale: tuple[float, float] = (0.3, 1.0)
    aspect: tuple[float, float] = (0.5, 2.0)
    trials: int = 40

    def __post_init__(self) -> None:
        sound = len(self.min_ious) > 0 and min(self.min_ious) >= 0
        require(sound, self, f"min_ious is {self.min_ious}", "give at least one IoU, none below 0")
        require_range(self, "scale", self.scale, 0.0, 1.0)
        require_range(self, "aspect", self.aspect, 0.0)
        require(self.trials >= 1, self, f"trials is {self.trials}", "give at least 1")

    def draw(self, boxes: Tensor, size: Size, rng: np.random.Generator) -> Window | None:
        """The window to cut out of an image of ``size`` with these boxes (N, 4); None to leave it as it is."""
        if len(boxes) == 0:
            return None
        objects = boxes.cpu().numpy().astype(np.float64)
        for _ in range(ROUNDS):
            min_iou = self.min_ious[int(rng.integers(len(self.min_ious)))]
            if min_iou >= 1:
                return None
            windows = draw_windows(size, self.scale, self.trials, rng)
            fits = self._proportioned(windows) & (overlaps(windows, objects) >= min_iou)
            if fits.any():
                x1, y1, x2, y2 = windows[int(fits.argmax())].tolist()
                return x1, y1, x2, y2
        return None

    def _proportioned(self, windows: NDArray[np.int64]) -> NDArray[np.bool_]:
        sides = windows[:, 2:] - windows[:, :2]
        aspect = sides[:, 0] / sides[:, 1]
        return np.asarray((aspect >= self.aspect[0]) & (aspect <= self.aspect[1]))

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample, cropped or as it was."""
        size = sample.target.size
        window = self.draw(sample.target.boxes, size, rng)
        return sample if window is None else place(sample, cut(size, window))


def overlaps(windows: NDArray[np.int64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The best IoU of each window (T, 4) with a box (N, 4) whose centre lies inside it; (T,), -1 where none does."""
    low, high = windows[:, None, :2], windows[:, None, 2:]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    within = ((low < centres) & (centres < high)).all(axis=2)
    shared = (np.minimum(high, boxes[:, 2:]) - np.maximum(low, boxes[:, :2])).clip(min=0).prod(axis=2)
    union = (high - low).prod(axis=2) + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - shared
    return np.asarray(np.where(within, shared / union, -1.0).max(axis=1))
