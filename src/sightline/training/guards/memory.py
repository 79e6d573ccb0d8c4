"""Out of memory as an answer: which batch it was, and the next smaller size.

The allocators of CUDA and of the CPU raise different errors, a loading process may be killed by the system, and all of
them say how many bytes were wanted but not what for.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sightline.errors import SightlineError
from sightline.recipes import GradientStage
from sightline.runtime import is_out_of_memory
from sightline.structures import Size
from sightline.training.loader import TrainBatch
from sightline.transforms.preparation import Preparation

_NAMED_IMAGES = 8
_SMALLER = 0.8


@dataclass(frozen=True)
class Load:
    """What a process was computing.

    Args:
        images: how many at once.
        size: (H, W) in pixels that they are padded to.
        objects: in all of them.
        names: of the images; empty for a made batch.
    """

    images: int
    size: Size
    objects: int
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, part: TrainBatch) -> "Load":
        """That of a batch."""
        pixels = part.images.images
        size = (pixels.shape[2], pixels.shape[3])
        return cls(len(part), size, sum(len(target) for target in part.targets), part.names)

    def __str__(self) -> str:
        height, width = self.size
        return f"{_counted(self.images, 'image')} padded to {height}x{width}, {_counted(self.objects, 'object')}"


def named(names: Sequence[str]) -> str:
    """The first of some images, and how many more there are."""
    more = f" and {len(names) - _NAMED_IMAGES} more" if len(names) > _NAMED_IMAGES else ""
    return ", ".join(names[:_NAMED_IMAGES]) + more


@contextmanager
def answering_for_memory(doing: str, load: Load | None, cure: str) -> Iterator[None]:
    """Turns every way of running out of memory into one error.

    Args:
        doing: what is computed, as ``training, step 12 of stage joint``.
        load: what it is computed on, where that is known.
        cure: the next smaller size.

    Raises:
        SightlineError: the block ran out of memory.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory(error, doing, load, cure) from error


def out_of_memory(error: BaseException, doing: str, load: Load | None, cure: str) -> SightlineError:
    """The error that names the batch and the next smaller size."""
    said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return SightlineError(
        f"out of memory in {doing}" + ("" if load is None else f": {load}"),
        place=None if load is None else named(load.names) or None,
        cause=f"the batch is too large for this device ({said[:200]})",
        cure=cure,
    )


def smaller(stage: GradientStage, processes: int, preparation: Preparation) -> str:
    """The next smaller sizes that a run can be started with, the one that changes least first."""
    batch, parts = stage.batch_size, stage.accumulate * processes
    offers = []
    more = next((a for a in range(stage.accumulate + 1, batch + 1) if batch % (a * processes) == 0), None)
    if more is not None:
        offers.append(
            f"--recipe accumulate={more} (the same batch in parts of {_counted(batch // (more * processes), 'image')})"
        )
    fewer = batch // 2 // parts * parts
    if fewer >= parts and fewer < batch:
        offers.append(f"--batch {fewer} (the learning rate follows)")
    offers.append(smaller_images(preparation))
    return "start it again with " + ", or ".join(offers)


def smaller_images(preparation: Preparation) -> str:
    """The next smaller size of images: four fifths, in whole strides."""
    side, stride = preparation.short_side, preparation.divisor
    fifths = max(1, int(_SMALLER * side))
    return f"--imgsz {fifths // stride * stride or fifths}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
