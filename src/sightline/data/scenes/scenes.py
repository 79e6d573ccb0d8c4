"""Scenes: procedural pictures made to be hard, with boxes, instance masks and keypoints.

Twelve classes of shapes that only their outlines tell apart, from 4% to 60% of the picture, patterned, lit, casting
shadows, hiding one another, among clutter, on grounds of many kinds. One seed gives one set on every machine, and the
difficulty can be turned up and down as a whole or knob by knob. Sightline's own work; no outside data goes in.

Here is what others call: one picture as a sample, and a whole set as a COCO folder. The settings are in
``config``; shapes, layout, paint and light are in ``shapes``, ``clutter``, ``layout``, ``paint``, ``render`` and
``files``.
"""

import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from sightline.classes import Classes
from sightline.data.formats import coco_write
from sightline.data.scenes.config import SPLITS, ScenesConfig
from sightline.data.scenes.files import Written, write_chunk
from sightline.data.scenes.render import render
from sightline.data.scenes.shapes import CLASS_NAMES, KEYPOINT_NAMES
from sightline.errors import ConfigError, SightlineError
from sightline.files import whole_folder
from sightline.structures import Sample, Target

__all__ = ["CLASS_NAMES", "KEYPOINT_NAMES", "ScenesConfig", "make_sample", "write_scenes"]

_CHUNK = 16

Progress = Callable[[int, int], None]
"""Called with the pictures written so far and the pictures in all."""


def make_sample(config: ScenesConfig, split: str, index: int) -> Sample:
    """One picture of a set, with boxes, labels, masks and keypoints.

    The same for (config, split, index) whatever else is made. The masks are what is seen of each object and do not
    overlap; the boxes are the masks' boxes; the areas are the masks' areas. ``write_scenes`` stores the same picture
    and truth, the picture through JPEG.

    Args:
        config: how the set is made; ``images``, ``val`` and ``test`` do not matter here.
        split: ``train``, ``val`` or ``test``.
        index: 0 or more; the picture's id is ``index + 1``.

    Raises:
        ValueError: an unknown split or a negative index.
    """
    picture = render(config, split, index)
    masks = torch.from_numpy(picture.masks)
    target = Target(
        boxes=torch.from_numpy(picture.boxes),
        labels=torch.from_numpy(picture.labels),
        size=config.size,
        areas=masks.sum(dim=(1, 2)).float(),
        masks=masks,
        keypoints=torch.from_numpy(picture.keypoints),
    )
    return Sample(torch.from_numpy(picture.image).permute(2, 0, 1).contiguous(), target, index + 1)


def write_scenes(config: ScenesConfig, folder: Path, *, workers: int = 0, progress: Progress | None = None) -> Path:
    """A whole set as a COCO folder.

    The folder holds the pictures as ``train/000001.jpg`` and so on (JPEG of quality 92 without colour subsampling),
    ``annotations/instances_train.json`` and its like with run-length masks and keypoints, and the settings as
    ``scenes.json``. A split of no pictures is left out. The set is written beside its place and moved there when it
    is whole; the same settings give the same bytes with any number of workers.

    Args:
        config: how the set is made.
        folder: where it goes; nothing may be there yet.
        workers: processes that render; 0 renders in this one. With workers, a script must guard its entry by
            ``if __name__ == "__main__"``, as for every use of ``multiprocessing``.
        progress: called now and then with the pictures written and the pictures in all.

    Returns:
        The folder.

    Raises:
        ConfigError: the folder exists, or ``workers`` is negative.
        SightlineError: a worker process died.
    """
    if folder.exists() or folder.is_symlink():
        raise ConfigError("there is something at this place already", place=folder, cure="give a new folder")
    if workers < 0:
        raise ConfigError(f"workers is {workers}", cure="give 0 or more workers")
    with whole_folder(folder) as beside:
        _write_all(config, beside, workers, progress)
    return folder


def _write_all(config: ScenesConfig, folder: Path, workers: int, progress: Progress | None) -> None:
    splits = [split for split in SPLITS if config.count(split)]
    total, done = sum(config.count(split) for split in splits), 0
    (folder / "annotations").mkdir()
    (folder / "scenes.json").write_text(json.dumps(asdict(config), indent=1) + "\n", encoding="utf-8")
    chunks = [
        (split, range(begin, min(begin + _CHUNK, config.count(split))))
        for split in splits
        for begin in range(0, config.count(split), _CHUNK)
    ]
    for split in splits:
        (folder / split).mkdir()
    written: dict[str, list[Written]] = {split: [] for split in splits}
    for (split, indices), part in zip(chunks, _parts(config, folder, chunks, workers), strict=True):
        written[split].append(part)
        done += len(indices)
        if progress is not None:
            progress(done, total)
    for split, parts in written.items():
        images = [image for part in parts for image in part.images]
        annotations = [annotation for part in parts for annotation in part.annotations]
        for number, annotation in enumerate(annotations, start=1):
            annotation["id"] = number
        path = folder / "annotations" / f"instances_{split}.json"
        categories = coco_write.categories_of(Classes(CLASS_NAMES), KEYPOINT_NAMES)
        coco_write.write(path, categories, images, annotations)


def _parts(config: ScenesConfig, folder: Path, chunks: list[tuple[str, range]], workers: int) -> Iterator[Written]:
    """What each chunk adds, in order, from this process or from others."""
    if workers == 0:
        yield from (write_chunk(config, folder, chunk) for chunk in chunks)
        return
    # Spawned, not forked: forking a process in which torch runs threads can hang.
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            yield from pool.map(partial(write_chunk, config, folder), chunks)
    except BrokenProcessPool as error:
        raise SightlineError(
            "a worker process ended before its work was done",
            cause='the calling script has no `if __name__ == "__main__"` around its work, or memory ran out',
            cure="add that guard, or write with workers=0",
        ) from error
