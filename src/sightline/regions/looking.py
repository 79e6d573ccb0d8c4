"""How often, and beside what, a detector looks at regions: iterative refinement and global context.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2016, appendix B. Both stand between regions and
what is said of them, whoever says it: the head of Fast R-CNN and all that came of it, or the SVMs and regressors of
R-CNN and SPP-net.

Legend: R regions of the batch, B images.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sightline.contract import Step
from sightline.geometry.boxes import at_least, clip_each
from sightline.geometry.coding import BoxCoder
from sightline.proposals.proposals import Proposals
from sightline.regions.found import SMALLEST_SIDE
from sightline.structures import ImageBatch, Size

Said = tuple[Tensor, ...]
"""What is said of regions: tensors of R rows each."""


def beside_whole_images(
    describe: Callable[[Tensor, Tensor], Said], boxes: Tensor, image_index: Tensor, sizes: Sequence[Size]
) -> Said:
    """Features of regions, each with that of the whole image beside it.

    Args:
        describe: features (R, width), of one kind or more, of boxes (R, 4) and their images (R,).
        boxes: (R, 4) in pixels of the batch.
        image_index: (R,) int64.
        sizes: (H, W) of each image in pixels of the batch.

    Returns:
        (R, 2 width) of each kind: the region's own, then the image's.
    """
    whole = boxes.new_tensor([(0, 0, width, height) for height, width in sizes])
    # One pass for both, so that norms that live see one batch.
    every = torch.cat([boxes, whole]), torch.cat([image_index, torch.arange(len(sizes), device=boxes.device)])
    parts = [torch.split(feature, [len(boxes), len(sizes)]) for feature in describe(*every)]
    return tuple(torch.cat([own, of_image[image_index]], dim=1) for own, of_image in parts)


def look_repeatedly(
    proposals: Proposals,
    look: Callable[[Proposals], Said],
    again: Callable[[Proposals, Said], Proposals],
    refinements: int,
) -> tuple[Proposals, Said]:
    """What is said of proposals and, if they are refined, of the boxes that are made of them; all of it united.

    Args:
        proposals: R boxes.
        look: what is said of regions.
        again: of regions and what was said of them, the boxes to look at next, as many and in the same order.
        refinements: how often that is done.

    Returns:
        all regions that were looked at, and what was said of each. In each image the proposals come first, and then as
        many boxes a refinement, in the order of the proposals.
    """
    looks = [(proposals, look(proposals))]
    for _ in range(refinements):
        regions = again(*looks[-1])
        looks.append((regions, look(regions)))
    if len(looks) == 1:
        return looks[0]
    every = [regions for regions, _ in looks]
    image_index = torch.cat([each.image_index for each in every])
    order = image_index.sort(stable=True).indices
    boxes, scores = torch.cat([each.boxes for each in every]), torch.cat([each.scores for each in every])
    union = Proposals(boxes[order], scores[order], image_index[order], proposals.images)
    return union, tuple(torch.cat(parts)[order] for parts in zip(*(said for _, said in looks), strict=True))


def refined(regions: Proposals, deltas: Tensor, scores: Tensor, coder: BoxCoder, sizes: Sequence[Size]) -> Proposals:
    """The boxes that are made of regions, to be looked at next.

    Args:
        regions: R boxes.
        deltas: (R, 4) of the class that is thought most of in each, in the coding of ``coder``.
        scores: (R,) of that class.
        coder: decodes them.
        sizes: (H, W) of each image in pixels of the batch.
    """
    boxes = coder.decode(deltas, regions.boxes)
    boxes = clip_each(boxes, boxes.new_tensor(list(sizes))[regions.image_index])
    # Nothing can be seen of a box that lies beside the image.
    boxes = torch.where(at_least(boxes, SMALLEST_SIDE)[:, None], boxes, regions.boxes)
    return replace(regions, boxes=boxes, scores=scores)


def looks_at_first_image(regions: Proposals, refinements: int) -> tuple[tuple[Tensor, Tensor], ...]:
    """Boxes and scores of each look at the first image, proposals first, taken apart again."""
    first = int((regions.image_index == 0).sum())
    parts = (part[:first].tensor_split(1 + refinements) for part in (regions.boxes, regions.scores))
    return tuple(zip(*parts, strict=True))


def refined_steps(looks: Sequence[tuple[Tensor, Tensor]], batch: ImageBatch) -> tuple[Step, ...]:
    """One step for each look at the first image that followed the first one."""
    return tuple(
        Step(
            "Refined regions",
            "The boxes that were made of the regions before, which were looked at again.",
            "boxes",
            {"boxes": batch.to_original(boxes, 0), "scores": scores},
        )
        for boxes, scores in looks[1:]
    )
