"""Masks and poses of several looks, and of several models as one, are judged as those of one look of one model."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from sightline.combination.ensemble import Ensemble
from sightline.combination.fusion import BoxVoting, NMSUnion
from sightline.combination.multi_scale import MultiScale
from sightline.combination.region_ensemble import RegionEnsemble
from sightline.contract import System
from sightline.detectors.keypoint_rcnn import KeypointRCNN, KeypointRCNNConfig
from sightline.detectors.mask_rcnn import MaskRCNN, MaskRCNNConfig
from sightline.evaluation.evaluate import Evaluation, evaluate
from sightline.judging import ready
from sightline.recipes import Recipe
from sightline.structures import Classes, Detections, Sample, Target

SMALL = {"backbone": "resnet18", "channels": 16, "head_width": 16, "short_side": 64, "long_side": 128, "proposals": 20}
SMALL |= {"norm": "frozen", "score_threshold": 0.2}
TIPS = ("left_tip", "right_tip")


@dataclass(frozen=True)
class Record:
    image_id: int
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Pictures:
    """Some images and what is true of them."""

    classes: Classes
    samples: tuple[Sample, ...]

    @property
    def records(self) -> list[Record]:
        return [Record(sample.image_id, sample.target.size) for sample in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]

    def target(self, index: int) -> Target:
        return self.samples[index].target


def network(kind: str, seed: int = 0) -> MaskRCNN | KeypointRCNN:
    torch.manual_seed(seed)
    model: MaskRCNN | KeypointRCNN
    if kind == "masks":
        model = MaskRCNN(MaskRCNNConfig(**SMALL, mask_width=8, mask_depth=1), Classes(("disc",)))
    else:
        config = KeypointRCNNConfig(**SMALL, keypoint_width=8, keypoint_depth=1, keypoints=TIPS)
        model = KeypointRCNN(config, Classes(("disc",)))
    with torch.no_grad():
        model.class_logits.weight.normal_(std=0.7)
        model.box_deltas.weight.normal_(std=0.3)
    return model.eval()


def every_second(model: System[Detections]) -> Pictures:
    """Three images of noise in which half of what a model finds is true, so that its AP lies between 0 and 1."""
    generator = torch.Generator().manual_seed(3)
    images = [torch.rand(3, 64, 80, generator=generator) for _ in range(3)]
    samples = []
    for index, (image, found) in enumerate(zip(images, model.predict(images), strict=True)):
        points = found.keypoints
        if points is not None:
            points = torch.cat([points[::2, :, :2], torch.full_like(points[::2, :, :1], 2.0)], dim=2)
        masks = None if found.masks is None else found.masks[::2]
        target = Target(found.boxes[::2], found.labels[::2], found.size, masks=masks, keypoints=points)
        samples.append(Sample(image, target, index))
    return Pictures(model.classes, tuple(samples))


def ap_of(evaluation: Evaluation, kind: str) -> float:
    value = evaluation.metrics()[f"{kind}_AP"]
    assert value is not None
    return value


@pytest.mark.parametrize("kind", ["masks", "keypoints"])
@pytest.mark.parametrize(
    "combine",
    [
        lambda model: Ensemble((model, model)),
        lambda model: RegionEnsemble((model, model)),
        lambda model: MultiScale(model, (64,)),
        lambda model: Ensemble((MultiScale(model, (64,)), MultiScale(model, (64,)))),
    ],
    ids=["ensemble", "average", "one-size", "both"],
)
def test_equal_models_are_judged_as_one_of_them(
    combine: Callable[[System[Detections]], System[Detections]], kind: str
) -> None:
    model = network(kind)
    pictures = every_second(model)
    alone, both = (ap_of(evaluate(system, pictures), kind) for system in (model, ready(combine(model), device="cpu")))
    assert 0.2 < alone < 0.98
    assert both == pytest.approx(alone, abs=1e-6)


class Bars(System[Detections]):
    """Finds the bright object of an image with its mask and tips; it is surest where the last column is lit."""

    name, task = "bars", "detection"
    classes, finds, keypoint_names = Classes(("bar",)), ("boxes", "masks", "keypoints"), TIPS

    def predict(self, images: Tensor | list[Tensor]) -> list[Detections]:
        return [self._found(image) for image in images]

    def _found(self, image: Tensor) -> Detections:
        mask, size = image[0] > 100, (image.shape[1], image.shape[2])
        y, x = mask.nonzero(as_tuple=True)
        box = torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1]).float()[None]
        left, right = y[x == x.min()].min() + 0.5, y[x == x.max()].min() + 0.5
        tips = torch.stack([torch.stack([box[0, 0], left]), torch.stack([box[0, 2], right])])
        keypoints = torch.cat([tips, torch.ones(2, 1)], dim=1)[None]
        score = 0.9 if image[1, 0, -1] > 100 else 0.4
        return Detections(box, torch.tensor([score]), torch.tensor([0]), size, mask[None], keypoints)

    def recipe(self) -> Recipe:
        raise NotImplementedError


def stairs() -> Pictures:
    """Two images of a stair that climbs to the left, whose mirror image overlaps it little; the first column is lit."""
    samples = []
    for index, start in enumerate((6, 20)):
        image = torch.zeros(3, 48, 60, dtype=torch.uint8)
        image[1, :, 0] = 255
        for step in range(10):
            image[0, 4 + 4 * step : 8 + 4 * step, start + 3 * step : start + 3 + 3 * step] = 255
        (found,) = Bars().predict([image])
        assert found.masks is not None and found.keypoints is not None
        keypoints = torch.cat([found.keypoints[..., :2], torch.full((1, 2, 1), 2.0)], dim=2)
        samples.append(
            Sample(image, Target(found.boxes, found.labels, found.size, masks=found.masks, keypoints=keypoints), index)
        )
    return Pictures(Bars.classes, tuple(samples))


@pytest.mark.parametrize("fusion", [NMSUnion(), BoxVoting()], ids=lambda fusion: fusion.name)
def test_what_the_mirrored_look_saw_best_is_judged_as_it_lies_in_the_image(fusion: NMSUnion | BoxVoting) -> None:
    pictures = stairs()
    looks = MultiScale(Bars(), flip=True, fusion=fusion)
    (found,) = looks.predict([pictures[0].image])
    # The mirrored look is the surer one, so that mask and tips are its.
    assert found.scores.tolist() == [pytest.approx(0.9)]
    evaluation = evaluate(looks, pictures)
    assert [each.kind for each in evaluation.also] == ["masks", "keypoints"]
    assert (ap_of(evaluation, "masks"), ap_of(evaluation, "keypoints")) == (1.0, 1.0)
