"""What systems say of their anchors: those that their networks use, in pixels of the image that went in."""

from collections.abc import Mapping

import pytest
import torch

from sightline.contract import Anchors, NeuralSystem
from sightline.detectors.faster_rcnn import FasterRCNN
from sightline.evaluation.anchor_coverage import best_overlaps
from sightline.layers.dry_run import dry_run
from sightline.zoo import create

SMALL: Mapping[str, Mapping[str, object]] = {
    "faster_rcnn": {"backbone": "resnet18", "channels": 16, "head_width": 16, "short_side": 64, "long_side": 128},
    "faster_rcnn_vgg16": {"backbone": "vgg11", "short_side": 64, "long_side": 96, "anchor_sizes": [16.0, 32.0]},
    "faster_rcnn_c4": {"backbone": "resnet18", "short_side": 64, "long_side": 128, "anchor_sizes": [16.0, 32.0]},
}


@pytest.fixture(scope="module", params=[*SMALL, "squeezenet1_1"])
def system(request: pytest.FixtureRequest) -> FasterRCNN:
    """One of each form; SqueezeNet's maps are not the image's size over the stride."""
    own = request.param in SMALL
    settings = SMALL[request.param] if own else {**SMALL["faster_rcnn"], "backbone": request.param}
    built = create(request.param if own else "faster_rcnn", classes=["cat"], settings=settings)
    assert isinstance(built, FasterRCNN)
    return built


def anchors_of(system: NeuralSystem, size: tuple[int, int]) -> Anchors:
    found = system.anchors(size)
    assert found is not None
    return found


@pytest.mark.parametrize("size", [(90, 120), (150, 70), (1, 1)])
def test_they_are_those_that_the_network_uses(system: FasterRCNN, size: tuple[int, int]) -> None:
    system.eval()
    with torch.no_grad():
        batch = system.prepare(torch.zeros(3, *size, dtype=torch.uint8))
        used = batch.to_original(system(batch).rpn.anchors, 0)
    found = anchors_of(system, size)
    assert torch.equal(found.boxes, used)
    assert (found.positive, found.negative, found.keeps_best) == (0.7, 0.3, True)


def test_an_object_that_is_an_anchor_is_covered(system: FasterRCNN) -> None:
    boxes = anchors_of(system, (900, 1200)).boxes
    assert best_overlaps(boxes[::7], boxes).min() > 1 - 1e-5
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    # They are spread over the whole image and what pads it, not over the prepared one.
    assert 840 < middle[:, 0].max() < 1400 and 630 < middle[:, 1].max() < 1000


def test_asking_changes_nothing(system: FasterRCNN) -> None:
    system.train()
    system.rpn.eval()
    before = {name: tensor.clone() for name, tensor in system.state_dict().items()}
    anchors_of(system, (1, 1))
    assert system.backbone.training and not system.rpn.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in system.state_dict().items())


def test_a_dry_run_computes_nothing() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.BatchNorm2d(8))
    found = dry_run(network, torch.empty(1, 3, 65, 33, device="meta"))
    assert (found.shape, found.device.type) == ((1, 8, 32, 16), "meta")
    assert network[1].num_batches_tracked == 0 and network.training
