"""The stages of R-CNN that are solved: features to the disk, SVMs, box regressors (Girshick et al. 2014, section 2.3).

A region is a true box or a proposal; the true boxes of an image come first. For the SVM of a class its true boxes are
positive, regions whose IoU with all of them is below 0.3 are negative, and the rest is left out. A box regressor learns
from proposals whose IoU with an object of its class, the best that they overlap, is at least 0.6.
"""

import hashlib
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline.assign.padding import covered
from sightline.errors import ConfigError
from sightline.geometry.iou import pairwise_iou
from sightline.recipes import FitStopped, Workbench
from sightline.regions.box_regression import fit_ridge
from sightline.regions.feature_cache import FeatureCache, describe_bytes
from sightline.regions.svm import Examples, SVMSettings, mine
from sightline.structures import Sample

if TYPE_CHECKING:
    from sightline.regions.svm_detector import SVMDetector

BACKGROUND_IOU, REGRESSION_IOU = 0.3, 0.6
FOLDER = "features"
"""Of the run folder; may be deleted when the run is finished."""
_VOC_BYTES = 5011 * 2000 * 4096 * 4.0
"""Float32 fc7 of VGG-16 for the trainval images of VOC 2007, 2000 proposals each."""


@dataclass(frozen=True, eq=False)
class Regions:
    """The regions of one image, and what is true of them.

    Args:
        boxes: (R, 4) xyxy in pixels of the image; the T true boxes first, then the proposals.
        labels: (T,) int64 of the true boxes.
        negative: (R, K) bool, background of each class.
        near: (N,) int64, the regions that box regressors learn from.
        owner: (N,) int64, the true box of each of them.
    """

    boxes: Tensor
    labels: Tensor
    negative: Tensor
    near: Tensor
    owner: Tensor

    @property
    def mark(self) -> int:
        """A number that tells these regions from others."""
        return zlib.crc32(self.near.numpy().tobytes(), zlib.crc32(self.boxes.numpy().tobytes()))


def regions_of(sample: Sample, classes: int) -> Regions:
    """The regions of a sample that has proposals.

    Args:
        sample: with proposals, of which there may be none.
        classes: K.
    """
    if sample.proposals is None:
        raise ValueError("no proposer has looked at the sample")
    target = sample.target.select(~sample.target.ignore)
    boxes = torch.cat([target.boxes, sample.proposals])
    overlap = pairwise_iou(boxes, target.boxes)
    negative = torch.ones(len(boxes), classes, dtype=torch.bool)
    for label in set(target.labels.tolist()):
        negative[:, label] = overlap[:, target.labels == label].amax(dim=1) < BACKGROUND_IOU
    ignored = sample.target.boxes[sample.target.ignore]
    if len(ignored):
        negative &= ~covered(boxes, ignored)[:, None]
    near = owner = torch.zeros(0, dtype=torch.int64)
    if len(target):
        best, match = overlap.max(dim=1)
        best[: len(target)] = 0  # a true box need not be moved
        near = (best >= REGRESSION_IOU).nonzero()[:, 0]
        owner = match[near]
    return Regions(boxes, target.labels, negative, near, owner)


def cache_features(system: "SVMDetector", samples: Sequence[Sample], bench: Workbench) -> dict[str, float]:
    """Step 2: the features of all regions on the disk; goes on where it was stopped, killed or out of room.

    Raises:
        ConfigError: the folder holds features of other settings; the first that differs is named.
        FitStopped: the person asked for an end.
        SightlineError: the disk is full.
    """
    cache, began, before = _open(system, samples, bench), time.monotonic(), 0
    if cache.images:
        before = int(cache.starts("hidden")[-1])
        bench.log(f"features: those of {cache.images} of {len(samples)} images are there already")
    with _predicting(system) as fast:
        for index in range(cache.images, len(samples)):
            _require_time(bench)
            sample = samples[index]
            regions = regions_of(sample, len(system.classes))
            batch = system.preparation.batch([sample.image.to(system.device)])
            boxes = system.preparation.boxes(regions.boxes, sample.target.size).to(system.device)
            of_it = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
            found = fast.look(batch, fast.features(batch), boxes, of_it)
            hidden, pooled = found.hidden.float().cpu(), found.pooled.float().cpu()[regions.near]
            cache.append({"hidden": hidden.numpy(), "pooled": pooled.numpy()}, regions.mark)
            bench.tell("features of regions", index + 1, len(samples))
    seconds, count = time.monotonic() - began, int(cache.starts("hidden")[-1])
    bench.log(
        f"features: {describe_bytes(cache.bytes)} for {count:,} regions in {seconds:.0f} s"
        + (f", {1000 * seconds / (count - before):.2g} ms a region" if count > before else "")
        + f"; float32 features of VGG-16 for VOC 2007 would be {describe_bytes(_VOC_BYTES)}"
    )
    return {"regions": count, "feature_bytes": cache.bytes, "feature_seconds": seconds}


def fit_svms(system: "SVMDetector", samples: Sequence[Sample], bench: Workbench) -> dict[str, float]:
    """Step 3: one SVM a class. One without examples or without background never fires, and a warning says so."""
    cache, began, config = _complete(system, samples, bench), time.monotonic(), system.config
    starts, names = cache.starts("hidden"), system.classes.names
    positives: list[list[int]] = [[] for _ in names]
    negatives = np.zeros((int(starts[-1]), len(names)), np.bool_)
    for index, regions in enumerate(_regions(system, samples, cache, bench)):
        start, end = starts[index : index + 2]
        negatives[start:end] = regions.negative.numpy()
        for place, label in enumerate(regions.labels.tolist()):
            positives[label].append(int(start) + place)
    for name, rows, background in zip(names, positives, negatives.sum(axis=0), strict=True):
        if not rows:
            bench.warn(f"class {name!r} has no example: its SVM never fires")
        elif not background:
            bench.warn(f"no region is background of class {name!r}: its SVM never fires")
        elif len(rows) == 1:
            bench.warn(f"class {name!r} has one example: its SVM knows nothing of what such objects share")
    examples = Examples(cache.rows("hidden"), starts, [np.array(rows, np.int64) for rows in positives], negatives)
    settings = SVMSettings(cost=config.svm_cost, new_negatives=config.hard_negatives, passes=config.mining_passes)
    tell = partial(bench.tell, "mining hard negatives")
    found = mine(examples, settings, bench.seed, tell, bench.stopping)
    if found.unfinished:
        bench.warn(f"{found.unfinished} of {found.fits} fits of SVMs ended at {settings.iterations} iterations")
    with torch.no_grad():
        system.svms.weight.copy_(torch.from_numpy(found.weight))
        system.svms.bias.copy_(torch.from_numpy(found.bias))
        system.svms_fitted.fill_(1)
        # What regressors an earlier training left is of other features.
        system.box_shifts.weight.zero_()
        system.box_shifts.bias.zero_()
    seconds = time.monotonic() - began
    bench.log(
        f"SVMs: {len(names)} classes, {sum(map(len, positives)):,} positives, {int(found.hard.sum()):,} of "
        f"{int(negatives.sum()):,} negatives are hard; {found.fits} fits in {seconds:.0f} s"
    )
    return {"svm_fits": found.fits, "svm_hard_negatives": int(found.hard.sum()), "svm_seconds": seconds}


def fit_regressors(system: "SVMDetector", samples: Sequence[Sample], bench: Workbench) -> dict[str, float]:
    """Step 4: ridge regression of the four offsets, a class; one without regions to learn from moves nothing."""
    cache, began = _complete(system, samples, bench), time.monotonic()
    labels, targets = [], []
    for regions in _regions(system, samples, cache, bench):
        labels.append(regions.labels[regions.owner])
        targets.append(system.coder.encode(regions.boxes[regions.owner], regions.boxes[regions.near]))
    label, target = torch.cat(labels).numpy(), torch.cat(targets).double().numpy()
    features, found = cache.rows("pooled"), []
    for index, name in enumerate(system.classes.names):
        _require_time(bench)
        rows = (label == index).nonzero()[0]
        found.append(fit_ridge(_taken(features, rows), target[rows], system.config.ridge))
        bench.tell("box regressors", index + 1, len(system.classes))
        if not len(rows):
            bench.warn(f"no proposal overlaps a {name!r} by {REGRESSION_IOU}: its boxes are not moved")
    with torch.no_grad():
        system.box_shifts.weight.copy_(torch.from_numpy(np.concatenate([each.weight for each in found])))
        system.box_shifts.bias.copy_(torch.from_numpy(np.concatenate([each.bias for each in found])))
    seconds = time.monotonic() - began
    bench.log(f"box regressors: {len(label):,} regions with an IoU of {REGRESSION_IOU} or more, {seconds:.0f} s")
    return {"regression_regions": len(label), "regression_seconds": seconds}


def _require_time(bench: Workbench) -> None:
    if bench.stopping():
        raise FitStopped


def _taken(features: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    return features[rows].astype(np.float32)


def _regions(
    system: "SVMDetector", samples: Sequence[Sample], cache: FeatureCache, bench: Workbench
) -> Iterator[Regions]:
    """The regions of each image, which must be those that the cache has the features of."""
    for index in range(len(samples)):
        _require_time(bench)
        regions = regions_of(samples[index], len(system.classes))
        if regions.mark != cache.marks[index]:
            raise ConfigError(
                f"the features of image {index + 1} are of other regions",
                place=cache.folder,
                cause="its annotations or its proposals have changed since they were computed",
                cure=f"delete the folder {cache.folder.name}, then go on with --resume: they are computed again",
            )
        bench.tell("regions of the training split", index + 1, len(samples))
        yield regions


def _complete(system: "SVMDetector", samples: Sequence[Sample], bench: Workbench) -> FeatureCache:
    """The cache with all images in it, also where its folder was deleted in the meantime."""
    cache = _open(system, samples, bench)
    if cache.images < len(samples):
        cache_features(system, samples, bench)
        cache = _open(system, samples, bench)
    return cache


def _open(system: "SVMDetector", samples: Sequence[Sample], bench: Workbench) -> FeatureCache:
    size = system.preparation
    settings = {
        "system": system.name,
        "backbone": system.config.backbone,
        "images": len(samples),
        "proposer": repr(system.proposer),
        "proposals": system.proposal_count,
        "short_side": size.short_side,
        "long_side": size.long_side,
        "context": system.config.context,
        **system.feature_settings(),
        "weights": _fingerprint(system),
    }
    widths = {"hidden": system.svms.in_features, "pooled": system.box_shifts.in_features}
    return FeatureCache.open(bench.folder / FOLDER, settings, widths, system.config.cached)


def _fingerprint(system: "SVMDetector") -> str:
    """Of all tensors that features depend on."""
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(system.state_dict().items()):
        if not name.startswith(system.class_layers):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def _predicting(system: "SVMDetector") -> Iterator["SVMDetector"]:
    """The faster copy, without gradients."""
    with torch.inference_mode():
        yield system.for_prediction()
