"""The furniture that all rooms share: classes, targets, samples, batches, feature maps and results.

Everything here is frozen and validated when it is made, so that a wrong shape is found where it arises and not ten
calls later. Plotting and conversion are functions of other rooms (report, evaluation, conversions).

Conventions (docs/conventions.md): sizes are (H, W); boxes are float32 (x1, y1, x2, y2) in absolute pixels of the image
at hand with x2 > x1 and y2 > y1; labels are int64 from 0 to K - 1 without a background class; masks are bool
(N, H, W); keypoints are float32 (N, K, 3) = x, y, visibility. Zero objects is legal everywhere.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from sightline.classes import Classes, Size

__all__ = ["Classes", "Detections", "FeatureMaps", "ImageBatch", "LossTerm", "Sample", "Size", "Target"]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _require_boxes(boxes: Tensor, owner: str) -> None:
    _require(
        boxes.ndim == 2 and boxes.shape[1] == 4 and boxes.dtype == torch.float32,
        f"{owner}.boxes must be float32 of shape (N, 4), got {boxes.dtype} of shape {tuple(boxes.shape)}",
    )
    ordered = (boxes[:, 2:] > boxes[:, :2]).all() & torch.isfinite(boxes).all()
    _require(bool(ordered), f"{owner}.boxes must be finite with x2 > x1 and y2 > y1")


def _require_per_object(value: Tensor, name: str, count: int, dtype: torch.dtype) -> None:
    _require(
        value.shape == (count,) and value.dtype == dtype,
        f"{name} must be {dtype} of shape ({count},), got {value.dtype} of shape {tuple(value.shape)}",
    )


def _require_labels(labels: Tensor, name: str, count: int) -> None:
    _require_per_object(labels, name, count, torch.int64)
    _require(count == 0 or int(labels.min()) >= 0, f"{name} must not be negative")


def _require_shapes(masks: Tensor | None, keypoints: Tensor | None, owner: str, count: int, size: Size) -> None:
    if masks is not None:
        _require(
            masks.dtype == torch.bool and masks.shape == (count, *size),
            f"{owner}.masks must be bool of shape {(count, *size)}, got {masks.dtype} of shape {tuple(masks.shape)}",
        )
    if keypoints is not None:
        _require(
            keypoints.dtype == torch.float32
            and keypoints.ndim == 3
            and keypoints.shape[0] == count
            and keypoints.shape[2] == 3,
            f"{owner}.keypoints must be float32 of shape ({count}, K, 3), got {keypoints.dtype} of shape "
            f"{tuple(keypoints.shape)}",
        )


def _require_size(size: Size, owner: str) -> None:
    _require(len(size) == 2 and min(size) >= 1, f"{owner}.size must be (H, W) of at least 1 pixel, got {size}")


@dataclass(frozen=True, eq=False)
class Target:
    """What is true of one image.

    Args:
        boxes: (N, 4) float32, xyxy in pixels of the image at hand.
        labels: (N,) int64 in 0..K-1.
        size: (H, W) of the image at hand.
        ignore: (N,) bool; objects that neither count nor cost (COCO crowds, VOC difficult). Default: none.
        areas: (N,) float32 in square pixels; what COCO sorts small, medium and large by. Default: the boxes' areas.
        masks: (N, H, W) bool, or None.
        keypoints: (N, K, 3) float32, x, y in pixels and visibility 0 unlabelled, 1 hidden, 2 visible; or None.

    Raises:
        ValueError: a shape, dtype or value that breaks the conventions.
    """

    boxes: Tensor
    labels: Tensor
    size: Size
    ignore: Tensor = field(default=None)  # type: ignore[assignment]
    areas: Tensor = field(default=None)  # type: ignore[assignment]
    masks: Tensor | None = None
    keypoints: Tensor | None = None

    def __post_init__(self) -> None:
        _require_size(self.size, "Target")
        _require_boxes(self.boxes, "Target")
        count = len(self.boxes)
        if self.ignore is None:
            object.__setattr__(self, "ignore", torch.zeros(count, dtype=torch.bool, device=self.boxes.device))
        if self.areas is None:
            object.__setattr__(self, "areas", (self.boxes[:, 2:] - self.boxes[:, :2]).prod(dim=1))
        _require_labels(self.labels, "Target.labels", count)
        _require_per_object(self.ignore, "Target.ignore", count, torch.bool)
        _require_per_object(self.areas, "Target.areas", count, torch.float32)
        _require_shapes(self.masks, self.keypoints, "Target", count, self.size)

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def empty(cls, size: Size) -> "Target":
        """A target without objects."""
        return cls(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), size)

    def select(self, keep: Tensor) -> "Target":
        """The objects that ``keep`` picks: bool (N,) or int64 indices."""
        return Target(
            self.boxes[keep],
            self.labels[keep],
            self.size,
            self.ignore[keep],
            self.areas[keep],
            None if self.masks is None else self.masks[keep],
            None if self.keypoints is None else self.keypoints[keep],
        )

    def to(self, device: torch.device | str) -> "Target":
        """The same target on another device."""
        return Target(
            self.boxes.to(device),
            self.labels.to(device),
            self.size,
            self.ignore.to(device),
            self.areas.to(device),
            None if self.masks is None else self.masks.to(device),
            None if self.keypoints is None else self.keypoints.to(device),
        )


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with its truth, as data reads it and transforms change it.

    Args:
        image: (3, H, W) RGB, uint8, or float32 in 0..1.
        target: the truth, in pixels of ``image``.
        image_id: the id that the data set's files give the image, kept for COCO results.
        path: where the image was read from; empty for made images.
        proposals: (P, 4) float32 boxes, xyxy in pixels of ``image``, that a proposer gave it; None where none looked.
    """

    image: Tensor
    target: Target
    image_id: int
    path: str = ""
    proposals: Tensor | None = None

    def __post_init__(self) -> None:
        _require(
            self.image.ndim == 3 and self.image.shape[0] == 3,
            f"Sample.image must have shape (3, H, W), got {tuple(self.image.shape)}",
        )
        _require(
            tuple(self.image.shape[1:]) == tuple(self.target.size),
            f"Sample.image is {tuple(self.image.shape[1:])}, but its target is for {self.target.size}",
        )
        if self.proposals is not None:
            _require_boxes(self.proposals, "Sample.proposals")


@dataclass(frozen=True, eq=False)
class Detections:
    """What a detector found in one image, best first.

    Args:
        boxes: (N, 4) float32, xyxy in pixels of the image that went in.
        scores: (N,) float32 in 0..1, not increasing.
        labels: (N,) int64 in 0..K-1.
        size: (H, W) of the image that went in.
        masks: (N, H, W) bool, or None.
        keypoints: (N, K, 3) float32, x, y in pixels and score; or None.

    Raises:
        ValueError: a shape, dtype or value that breaks the conventions.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    size: Size
    masks: Tensor | None = None
    keypoints: Tensor | None = None

    def __post_init__(self) -> None:
        _require_size(self.size, "Detections")
        _require_boxes(self.boxes, "Detections")
        count = len(self.boxes)
        _require_per_object(self.scores, "Detections.scores", count, torch.float32)
        _require_labels(self.labels, "Detections.labels", count)
        sound = (self.scores >= 0).all() & (self.scores <= 1).all() & (self.scores[:-1] >= self.scores[1:]).all()
        _require(bool(sound), "Detections.scores must lie in 0..1 and not increase")
        _require_shapes(self.masks, self.keypoints, "Detections", count, self.size)

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def empty(cls, size: Size) -> "Detections":
        """A result without detections."""
        return cls(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64), size)

    def select(self, keep: Tensor) -> "Detections":
        """The detections that ``keep`` picks: bool (N,), or int64 indices in increasing order."""
        return Detections(
            self.boxes[keep],
            self.scores[keep],
            self.labels[keep],
            self.size,
            None if self.masks is None else self.masks[keep],
            None if self.keypoints is None else self.keypoints[keep],
        )

    def above(self, threshold: float) -> "Detections":
        """The detections with a score of at least ``threshold``."""
        return self.select(self.scores >= threshold)

    def at_temperature(self, temperature: float) -> "Detections":
        """The same result with :func:`scaled_scores`; the order stays."""
        return replace(self, scores=scaled_scores(self.scores, temperature))

    def to(self, device: torch.device | str) -> "Detections":
        """The same result on another device."""
        return Detections(
            self.boxes.to(device),
            self.scores.to(device),
            self.labels.to(device),
            self.size,
            None if self.masks is None else self.masks.to(device),
            None if self.keypoints is None else self.keypoints.to(device),
        )


def scaled_scores(scores: Tensor, temperature: float) -> Tensor:
    """Scores with their log-odds divided by a temperature: 1 / (1 + exp(-logit(s) / T)) (Guo et al. 2017, section 4.2).

    0, 0.5 and 1 stay what they are. A greater score never becomes a smaller one. Scores that differ by a few units of
    float32's last place, or lie within 1e-4 of 1 at a low temperature, may become equal: on a finite set of numbers
    only the identity keeps all of them apart.

    Args:
        scores: (N,) float32 in 0..1.
        temperature: above 1 brings scores nearer to 0.5, below 1 takes them away from it.

    Raises:
        ValueError: a temperature that is not positive and finite.
    """
    _require(0 < temperature < math.inf, f"a temperature must be positive and finite, got {temperature}")
    # In float64, whose rounding cannot change the order of float32 numbers; not every accelerator has it.
    odds = torch.logit(scores.to("cpu", torch.float64))
    return torch.sigmoid(odds / temperature).to(scores.device, scores.dtype)


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """Prepared images, padded to one size at the right and at the bottom.

    A point (x, y) of the image that went in lies at (x * scale_x + offset_x, y * scale_y + offset_y) in the batch.

    Args:
        images: (B, 3, H, W) float, normalised.
        sizes: (H, W) of each prepared image before padding.
        original_sizes: (H, W) of each image that went in.
        offsets: (y, x) pixels of padding at the top and at the left of each; zeros unless letterboxed.
        seeds: of what a system draws for each image while it learns, 0 to 2**63 - 1; empty outside training, where
            draws come from torch's generator.
        proposals: one (P, 4) float32 tensor an image, xyxy in pixels of the batch, that a proposer gave; empty where
            the system needs none.
    """

    images: Tensor
    sizes: tuple[Size, ...]
    original_sizes: tuple[Size, ...]
    offsets: tuple[Size, ...] = ()
    seeds: tuple[int, ...] = ()
    proposals: tuple[Tensor, ...] = ()

    def __post_init__(self) -> None:
        _require(self.images.ndim == 4 and self.images.shape[1] == 3, "ImageBatch.images must have shape (B, 3, H, W)")
        if not self.offsets:
            object.__setattr__(self, "offsets", ((0, 0),) * len(self.sizes))
        count = self.images.shape[0]
        _require(
            len(self.sizes) == len(self.original_sizes) == len(self.offsets) == count,
            f"ImageBatch of {count} images needs as many sizes, original_sizes and offsets",
        )
        _require(len(self.seeds) in (0, count), f"ImageBatch of {count} images needs as many seeds, or none")
        _require(len(self.proposals) in (0, count), f"ImageBatch of {count} images needs proposals of each, or of none")
        for (height, width), (top, left) in zip(self.sizes, self.offsets, strict=True):
            _require(
                top + height <= self.images.shape[2] and left + width <= self.images.shape[3],
                f"an image of {height}x{width} at {top},{left} does not fit a batch of {tuple(self.images.shape[2:])}",
            )

    def __len__(self) -> int:
        return self.images.shape[0]

    def scales(self, index: int) -> tuple[float, float]:
        """(scale_y, scale_x) from the image that went in to the prepared one."""
        (height, width), (original_height, original_width) = self.sizes[index], self.original_sizes[index]
        return height / original_height, width / original_width

    def to_original(self, boxes: Tensor, index: int) -> Tensor:
        """Boxes (N, 4) in pixels of the batch, in pixels of the image that went in at ``index``."""
        scale_y, scale_x = self.scales(index)
        top, left = self.offsets[index]
        scale = boxes.new_tensor([scale_x, scale_y, scale_x, scale_y])
        return (boxes - boxes.new_tensor([left, top, left, top])) / scale

    def to(self, device: torch.device | str) -> "ImageBatch":
        """The same batch on another device."""
        return replace(self, images=self.images.to(device), proposals=tuple(p.to(device) for p in self.proposals))


@dataclass(frozen=True, eq=False)
class FeatureMaps:
    """Feature maps of one batch, finest first.

    Args:
        maps: one (B, C, H, W) tensor a level.
        strides: pixels of the batch that one step on each level spans.
        image_sizes: (H, W) of each image of the batch before padding; empty where nobody needs to know.
    """

    maps: tuple[Tensor, ...]
    strides: tuple[int, ...]
    image_sizes: tuple[Size, ...] = ()

    def __post_init__(self) -> None:
        _require(len(self.maps) == len(self.strides) > 0, "FeatureMaps needs one stride for each of its maps")
        _require(all(m.ndim == 4 for m in self.maps), "FeatureMaps.maps must have shape (B, C, H, W)")
        _require(len({m.shape[0] for m in self.maps}) == 1, "FeatureMaps.maps must be of one batch")
        _require(list(self.strides) == sorted(set(self.strides)), "FeatureMaps.strides must increase")
        _require(len(self.image_sizes) in (0, self.maps[0].shape[0]), "FeatureMaps needs a size of each image, or none")

    def __len__(self) -> int:
        return len(self.maps)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.maps)

    @property
    def sizes(self) -> tuple[Size, ...]:
        """(H, W) of each level."""
        return tuple((m.shape[2], m.shape[3]) for m in self.maps)


@dataclass(frozen=True, eq=False)
class LossTerm:
    """One named loss of a batch, as a sum and what the sum is divided by.

    Kept apart, so that the parts of a batch on several devices add up to the loss of the whole: sums add, counts add,
    means do not.

    Args:
        total: scalar; the sum over whatever the loss is averaged over (images, anchors, objects), with its gradient.
        count: how many those are, at least 0; a scalar without gradient. 0 divides as 1 does.
    """

    total: Tensor
    count: Tensor | float

    def __post_init__(self) -> None:
        _require(self.total.ndim == 0, f"LossTerm.total must be a scalar, got shape {tuple(self.total.shape)}")
        sound = self.count.ndim == 0 if isinstance(self.count, Tensor) else self.count >= 0
        _require(sound, "LossTerm.count must be a scalar of at least 0")

    @property
    def value(self) -> Tensor:
        """The loss of these images alone: the mean, float32."""
        return self.total.float() / divisor(torch.as_tensor(self.count, device=self.total.device))


def divisor(count: Tensor) -> Tensor:
    """What a sum over ``count`` things is divided by: the count, or 1 where there is nothing to count."""
    return torch.where(count > 0, count, torch.ones_like(count))
