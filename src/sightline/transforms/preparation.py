"""From images of any size to one batch: resize, normalise, pad. A model carries its own and saves it with its weights.

The arithmetic is that of torchvision's GeneralizedRCNNTransform (normalise, bilinear resize without antialias, pad with
zeros), so that official weights see the pixels that they were trained on. Images more than five times as
large as wanted are averaged over blocks of 2, 4 or 8 pixels first: without, a resize sees a fraction of their pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.geometry.reduction import shrink_factor
from sightline.structures import ImageBatch, Sample, Size, Target

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preparation:
    """How images become a batch.

    Args:
        short_side: pixels that the short side is resized to, unless the long one would pass ``long_side``.
        long_side: largest long side in pixels.
        mean: per channel, of images in 0..1.
        std: per channel.
        divisor: the padded height and width are multiples of this.
    """

    short_side: int = 800
    long_side: int = 1333
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    divisor: int = 32

    def with_size(self, short_side: int) -> "Preparation":
        """The same preparation at another resolution; the long side keeps its proportion to the short one."""
        long_side = round(self.long_side * short_side / self.short_side)
        return replace(self, short_side=short_side, long_side=long_side)

    def size_for(self, size: Size) -> Size:
        """(H, W) that an image of ``size`` is resized to; never less than 1 pixel."""
        scale = min(self.short_side / min(size), self.long_side / max(size))
        return max(1, int(size[0] * scale)), max(1, int(size[1] * scale))

    def shorter_side(self, size: Size) -> int:
        """Pixels of the shorter side that an image of ``size`` is resized to."""
        return min(self.size_for(size))

    def image(self, image: Tensor) -> Tensor:
        """One image, (3, H, W) uint8 or float in 0..1, resized and normalised to float32."""
        self._require_image(image)
        prepared = torch.empty((3, *self.size_for((image.shape[1], image.shape[2]))), device=image.device)
        self._prepare(image, prepared)
        return prepared

    def _require_image(self, image: Tensor) -> None:
        if image.ndim != 3 or image.shape[0] != 3:
            raise ValueError(f"an image must have shape (3, H, W), got {tuple(image.shape)}")
        if image.dtype != torch.uint8 and not image.is_floating_point():
            raise ValueError(f"an image must be uint8, or float in 0..1, got {image.dtype}")

    def _prepare(self, image: Tensor, out: Tensor) -> None:
        """Resizes an image to ``out`` (3, h, w) and normalises it there: pixels are touched as seldom as may be."""
        top = 255.0 if image.dtype == torch.uint8 else 1.0
        size = (out.shape[1], out.shape[2])
        factor = shrink_factor((image.shape[1], image.shape[2]), min(size))
        if factor > 1:  # as the decoder reduces large JPEGs, so that both ways give the same picture
            image = F.avg_pool2d(image[None].to(torch.float32), factor)[0]
        if size != tuple(image.shape[1:]):
            image = F.interpolate(image[None].to(torch.float32), size=size, mode="bilinear", align_corners=False)[0]
        mean = torch.tensor(self.mean, device=image.device)[:, None, None]
        std = torch.tensor(self.std, device=image.device)[:, None, None]
        torch.mul(image, 1 / (top * std), out=out)
        out.sub_(mean / std)

    def target(self, target: Target) -> Target:
        """A target of an original image, in pixels of the prepared one."""
        size = self.size_for(target.size)
        scale_y, scale_x = size[0] / target.size[0], size[1] / target.size[1]
        masks = target.masks
        if masks is not None and size != target.size:
            masks = _resized_masks(masks, size)
        keypoints = target.keypoints
        if keypoints is not None:
            keypoints = keypoints * keypoints.new_tensor([scale_x, scale_y, 1.0])
        areas = target.areas * (scale_x * scale_y)
        return Target(
            self.boxes(target.boxes, target.size), target.labels, size, target.ignore, areas, masks, keypoints
        )

    def boxes(self, boxes: Tensor, size: Size) -> Tensor:
        """Boxes (N, 4) in pixels of an image of ``size``, in pixels of the prepared one."""
        height, width = self.size_for(size)
        scale_y, scale_x = height / size[0], width / size[1]
        return boxes * boxes.new_tensor([scale_x, scale_y, scale_x, scale_y])

    def batch(self, images: Sequence[Tensor]) -> ImageBatch:
        """Images that went in, prepared, as one batch: channels last in memory, padded with zeros right and below."""
        for image in images:
            self._require_image(image)
        original = tuple((image.shape[1], image.shape[2]) for image in images)
        sizes = tuple(self.size_for(size) for size in original)
        height = -(-max(h for h, _ in sizes) // self.divisor) * self.divisor
        width = -(-max(w for _, w in sizes) // self.divisor) * self.divisor
        shape = (len(images), 3, height, width)
        padded = torch.empty(shape, device=images[0].device, memory_format=torch.channels_last)
        if any(size != (height, width) for size in sizes):
            padded.zero_()
        for slot, image, size in zip(padded, images, sizes, strict=True):
            self._prepare(image, slot[:, : size[0], : size[1]])
        return ImageBatch(padded, sizes, original)

    def batch_of(self, samples: Sequence[Sample]) -> ImageBatch:
        """The images of samples as one batch, with their proposals where a proposer has looked at them."""
        batch = self.batch([sample.image for sample in samples])
        found = [(sample.proposals, sample.target.size) for sample in samples]
        proposals = tuple(self.boxes(boxes, size) for boxes, size in found if boxes is not None)
        return replace(batch, proposals=proposals)


def _resized_masks(masks: Tensor, size: Size) -> Tensor:
    if len(masks) == 0:
        return masks.new_zeros((0, *size))
    return F.interpolate(masks[:, None].to(torch.uint8), size=size, mode="nearest-exact")[:, 0].bool()
