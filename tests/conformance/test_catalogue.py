"""One suite over the whole catalogue: what every detector must do, whatever it is."""

from collections.abc import Iterator, Mapping

import pytest
import torch
from torch import Tensor

from sightline.contract import NeuralSystem
from sightline.geometry.iou import pairwise_iou
from sightline.model_file import write_model
from sightline.recipes import GradientStage
from sightline.structures import Classes, Detections, LossTerm, Target
from sightline.zoo import CATALOGUE, create, load

CLASSES = Classes(("disc", "star", "gear"), (4, 8, 15))

PYRAMID = {
    "backbone": "resnet18",
    "channels": 32,
    "head_width": 64,
    "short_side": 64,
    "long_side": 128,
    "proposals": 60,
    "region_samples": 64,
}

SMALL: Mapping[str, Mapping[str, object]] = {
    "fast_rcnn": {
        "backbone": "resnet18",
        "short_side": 64,
        "long_side": 128,
        "proposer": "uniform",
        "proposals": 60,
        "background_low": 0.0,
        "region_samples": 16,
    },
    "faster_rcnn": PYRAMID,
    "faster_rcnn_alternating": PYRAMID,
    "faster_rcnn_vgg16": {
        "backbone": "vgg11",
        "short_side": 64,
        "long_side": 96,
        "proposals": 20,
        "anchor_sizes": [16.0, 32.0],
        "region_samples": 16,
    },
    "faster_rcnn_c4": {
        "backbone": "resnet18",
        "short_side": 64,
        "long_side": 128,
        "proposals": 20,
        "anchor_sizes": [16.0, 32.0, 64.0],
        "region_samples": 16,
    },
    "mask_rcnn": {**PYRAMID, "mask_width": 16, "mask_depth": 1},
    "keypoint_rcnn": {**PYRAMID, "keypoint_width": 16, "keypoint_depth": 1, "keypoints": ["top", "middle", "left"]},
    "rcnn": {
        "backbone": "resnet18",
        "short_side": 64,
        "long_side": 128,
        "crop_side": 48,
        "proposals": 60,
        "region_samples": 16,
    },
    "spp_net": {
        "backbone": "resnet18",
        "short_side": 128,
        "long_side": 256,
        "stride": 8,
        "levels": [4, 2, 1],
        "head_width": 64,
        "proposals": 60,
    },
}
"""Each system as small as it can be; its settings beside these are those of the catalogue."""

LEARNS_QUICKLY = ("fast_rcnn", "faster_rcnn")
"""Systems that overfit one image in seconds; the others do so in ``make slow``."""


def build(name: str) -> NeuralSystem:
    torch.manual_seed(0)
    system = create(name, classes=CLASSES, settings=SMALL[name])
    assert isinstance(system, NeuralSystem)
    return system


@pytest.fixture(scope="module", params=CATALOGUE)
def system(request: pytest.FixtureRequest) -> Iterator[NeuralSystem]:
    """Each system of the catalogue; tests leave it as they found it."""
    yield build(request.param)


def images() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    sizes = [(90, 120), (150, 70)]
    return [torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8) for size in sizes]


def targets() -> list[Target]:
    boxes = torch.tensor([[10.0, 10.0, 50.0, 60.0], [40.0, 30.0, 100.0, 80.0]])
    return [described(boxes, torch.tensor([0, 2]), (90, 120)), Target.empty((150, 70))]


def described(boxes: Tensor, labels: Tensor, size: tuple[int, int]) -> Target:
    """Objects as full boxes, with masks, and with keypoints at the top, in the middle and at the left."""
    masks = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.long().tolist(), strict=True):
        mask[y1:y2, x1:x2] = True
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    places = [(middle[:, 0], boxes[:, 1]), (middle[:, 0], middle[:, 1]), (boxes[:, 0], middle[:, 1])]
    keypoints = torch.stack([torch.stack([x, y, torch.full_like(x, 2.0)], dim=1) for x, y in places], dim=1)
    return Target(boxes, labels, size, masks=masks, keypoints=keypoints)


def losses_of(system: NeuralSystem, truth: list[Target]) -> dict[str, Tensor]:
    torch.manual_seed(0)
    losses = system.loss(system.prepare(images()), [system.preparation.target(target) for target in truth])
    assert all(isinstance(term, LossTerm) for term in losses.values())
    return {name: term.value for name, term in losses.items()}


def same(one: Detections, other: Detections, tolerance: float = 0.0) -> bool:
    if len(one) != len(other):
        return False
    close = {"rtol": 0.0, "atol": tolerance}
    return torch.allclose(one.boxes, other.boxes, **close) and torch.allclose(one.scores, other.scores, **close)


def test_results_are_in_the_pixels_of_what_went_in(system):
    results = system.predict(images())
    assert [found.size for found in results] == [(90, 120), (150, 70)]
    for found in results:
        height, width = found.size
        assert found.boxes.dtype == found.scores.dtype == torch.float32
        assert found.labels.dtype == torch.int64
        assert len(found) == 0 or int(found.labels.max()) < len(CLASSES)
        limit = torch.tensor([width, height, width, height]) + 1e-3
        assert ((found.boxes >= -1e-3) & (found.boxes <= limit)).all()
        assert (found.masks is not None) == ("masks" in system.finds)
        assert (found.keypoints is not None) == ("keypoints" in system.finds)
        assert found.keypoints is None or found.keypoints.shape[1] == len(system.keypoint_names) > 0


def test_every_form_of_images_gives_the_same_answer(system):
    (first, _) = images()
    (alone,) = system.predict(first)
    assert same(alone, system.predict([first])[0])
    assert same(alone, system.predict(first[None])[0])
    assert same(alone, system.predict([first.to(torch.float32) / 255])[0], tolerance=1e-3)
    assert system.predict([]) == []


def test_prediction_draws_nothing_and_leaves_the_system_alone(system):
    before = {name: tensor.clone() for name, tensor in system.state_dict().items()}
    first = system.predict(images())
    system.train()
    second = system.predict(images())
    assert system.training
    system.eval()
    assert all(same(one, other) for one, other in zip(first, second, strict=True))
    assert all(torch.equal(tensor, before[name]) for name, tensor in system.state_dict().items())


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (2, 2)])
def test_the_smallest_images_are_images(system, size):
    (found,) = system.predict(torch.zeros(3, *size, dtype=torch.uint8))
    assert found.size == size


def test_every_parameter_that_learns_gets_a_finite_gradient(system):
    system.zero_grad()
    sum(losses_of(system, targets()).values()).backward()
    learning = {name: p for name, p in system.named_parameters() if p.requires_grad}
    assert learning
    assert [name for name, p in learning.items() if p.grad is None or not p.grad.isfinite().all()] == []
    system.zero_grad()


def test_losses_without_objects_are_finite_and_positive(system):
    nothing = losses_of(system, [Target.empty((90, 120)), Target.empty((150, 70))])
    assert nothing.keys() == losses_of(system, targets()).keys()
    assert all(value.isfinite() and value >= 0 for value in nothing.values())
    sum(nothing.values()).backward()
    system.zero_grad()


def test_losses_are_the_same_for_the_same_draws(system):
    first, second = losses_of(system, targets()), losses_of(system, targets())
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_saved_system_is_the_same_system(system, tmp_path):
    write_model(tmp_path / "m.safetensors", system, stage="test", metrics={}, provenance="random")
    loaded = load(tmp_path / "m.safetensors")
    assert (loaded.config, loaded.classes, loaded.preparation) == (system.config, system.classes, system.preparation)
    assert all(same(a, b) for a, b in zip(system.predict(images()), loaded.predict(images()), strict=True))


def test_the_fast_copy_gives_the_same_answers(system):
    before = {name: tensor.clone() for name, tensor in system.state_dict().items()}
    fast = system.for_prediction()
    for one, other in zip(system.predict(images()), fast.predict(images()), strict=True):
        assert same(one, other, tolerance=2e-2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in system.state_dict().items())


def test_bfloat16_still_answers_in_float32(system):
    for found in system.for_prediction("bf16").predict(images()):
        assert found.boxes.dtype == found.scores.dtype == torch.float32


def test_the_recipe_can_be_followed(system):
    for stage in system.recipe().stages:
        assert stage.name
        if isinstance(stage, GradientStage):
            assert stage.epochs > 0 and stage.batch_size % stage.accumulate == 0
            assert callable(getattr(system, stage.loss))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in LEARNS_QUICKLY else pytest.mark.slow) for n in CATALOGUE]
)
def test_one_image_is_learned_by_heart(name):
    """A bright square on a dark ground is found, named and boxed after a few dozen steps."""
    system = build(name)
    image = torch.full((3, 96, 96), 30, dtype=torch.uint8)
    image[:, 24:72, 16:64] = 220
    truth = described(torch.tensor([[16.0, 24.0, 64.0, 72.0]]), torch.tensor([1]), (96, 96))
    batch, prepared = system.prepare(image), [system.preparation.target(truth)]
    optimiser = torch.optim.AdamW([p for p in system.parameters() if p.requires_grad], lr=5e-4)
    system.train()
    for _ in range(60 if name in LEARNS_QUICKLY else 120):
        optimiser.zero_grad()
        sum(term.value for term in system.loss(batch, prepared).values()).backward()
        optimiser.step()
    (found,) = system.predict(image)
    assert int(found.labels[0]) == 1
    assert float(found.scores[0]) > 0.7
    assert float(pairwise_iou(found.boxes[:1], truth.boxes)) > 0.75, found.boxes[0]
    if found.masks is not None and truth.masks is not None:
        shared, either = (found.masks[0] & truth.masks[0]).sum(), (found.masks[0] | truth.masks[0]).sum()
        assert int(shared) > 0.75 * int(either)
    if found.keypoints is not None and truth.keypoints is not None:
        assert float((found.keypoints[0] - truth.keypoints[0])[:, :2].abs().max()) < 8
