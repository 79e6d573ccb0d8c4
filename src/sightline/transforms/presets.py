"""Augmentations of published detectors, and the one for made scenes, each as a tuple for a recipe."""

from sightline.structures import Size
from sightline.transforms.colour import PhotometricDistortion
from sightline.transforms.crop import IoUCrop
from sightline.transforms.expand import IMAGENET_GREY, Expand
from sightline.transforms.flip import HorizontalFlip
from sightline.transforms.pipeline import Transform
from sightline.transforms.placement import Pairs
from sightline.transforms.ssd import SSDAugmentation


def ssd_augmentation(
    size: int | Size | None = 300,
    *,
    fill: tuple[int, int, int] = IMAGENET_GREY,
    keypoint_pairs: Pairs = (),
) -> tuple[Transform, ...]:
    """SSD's augmentation (Liu et al. 2016, sections 2.2 and 3.6): colours, zoom-out, IoU crop, flip, resize.

    Args:
        size: pixels of the square output, or its (H, W); None leaves every image at the size that its crop has.
        fill: colour of the zoom-out's canvas, 0..255.
        keypoint_pairs: keypoints that trade places in a flip.
    """
    colour, expand, crop = PhotometricDistortion(), Expand(fill=fill), IoUCrop()
    flip = HorizontalFlip(keypoint_pairs=keypoint_pairs)
    if size is None:
        return colour, expand, crop, flip
    both = (size, size) if isinstance(size, int) else size
    return (SSDAugmentation(both, colour, expand, crop, flip),)


def flip_augmentation(*, keypoint_pairs: Pairs = ()) -> tuple[Transform, ...]:
    """All that Faster R-CNN trains with: a flip of every second image (Girshick, Fast R-CNN, 2015, section 2.3)."""
    return (HorizontalFlip(keypoint_pairs=keypoint_pairs),)


def light_augmentation(*, keypoint_pairs: Pairs = ()) -> tuple[Transform, ...]:
    """For tuning on few images: crops of at least half of the width and height, and a flip."""
    crop = IoUCrop(min_ious=(0.3, 0.5, 0.7, 1.0), scale=(0.5, 1.0))
    return crop, HorizontalFlip(keypoint_pairs=keypoint_pairs)
