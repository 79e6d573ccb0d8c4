import pytest
import torch

from sightline.detectors.faster_rcnn import FasterRCNN, FasterRCNNConfig
from sightline.errors import ModelFileError
from sightline.geometry.iou import pairwise_iou
from sightline.model_file import write_model
from sightline.regions.rpn_proposer import rpn_proposer
from sightline.structures import Classes
from sightline.zoo import load_proposer


def system(**changes: object) -> FasterRCNN:
    settings = {"backbone": "mobilenet_v3_small", "short_side": 64, "channels": 16, "head_width": 16, "proposals": 20}
    torch.manual_seed(0)
    made = FasterRCNN(FasterRCNNConfig(**{**settings, **changes}), Classes(("a", "b")))
    with torch.no_grad():  # fresh anchors all score alike
        for layer in (made.rpn.conv, made.rpn.objectness, made.rpn.deltas):
            layer.weight.mul_(20)
    return made


def image(height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def test_its_boxes_are_those_that_the_detector_looks_at():
    made = system().eval()
    picture = image(90, 130)
    with torch.inference_mode():
        batch = made.prepare([picture])
        raw = made(batch)
    expected = batch.to_original(raw.proposals.boxes, 0)
    found = rpn_proposer(made, "here").propose(picture, 20)
    assert len(found) == 20
    torch.testing.assert_close(found.boxes, expected, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(found.scores, raw.proposals.scores, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("count", [1, 20, 100])
@pytest.mark.parametrize("size", [(90, 130), (1, 1), (40, 3)])
def test_it_gives_what_is_asked_for_inside_the_image(count, size):
    proposer = rpn_proposer(system(proposals_before_nms=3), "here")
    found = proposer.propose(image(*size), count)
    assert 1 <= len(found) <= count and found.scores is not None
    assert bool((found.boxes >= 0).all()) and bool((found.boxes <= torch.tensor([size[1], size[0]] * 2)).all())
    assert not found.boxes.requires_grad and not found.boxes.is_inference()
    again = proposer.propose(image(*size), count)
    assert torch.equal(found.boxes, again.boxes) and torch.equal(found.scores, again.scores)
    if count == 100 and size == (90, 130):
        assert len(found) > 20, "neither the number of proposals nor that before suppression is a limit"


def test_it_does_not_promise_any_count_and_suppression_leaves_fewer():
    proposer = rpn_proposer(system(), "here")
    assert proposer.scored and not proposer.controllable
    assert len(proposer.propose(image(90, 130), 100_000)) < 10_000


def test_a_single_map_proposes_too():
    found = rpn_proposer(system(neck="none", channels=256, anchor_sizes=(16.0, 32.0, 64.0)), "here").propose(
        image(70, 90), 30
    )
    overlap = pairwise_iou(found.boxes, found.boxes).fill_diagonal_(0)
    assert len(found) > 5 and float(overlap.max()) < 0.7 + 1e-3


def test_of_a_model_file(tmp_path):
    made = system()
    write_model(tmp_path / "best.safetensors", made, stage="train", metrics={}, provenance="made here")
    loaded = load_proposer(tmp_path)
    assert len(loaded.weights) == 64 and "TwoStage" not in repr(loaded)
    mine = rpn_proposer(made, "x").propose(image(60, 60), 10)
    assert torch.equal(loaded.propose(image(60, 60), 10).boxes, mine.boxes)
    assert loaded != rpn_proposer(made, "x")
    with pytest.raises(ModelFileError, match="no such model file"):
        load_proposer(tmp_path / "nothing.safetensors")


def test_a_system_without_the_network_is_refused():
    class Other:
        name = "other"

    with pytest.raises(ModelFileError, match="here: holds a other, which has no region proposal network"):
        rpn_proposer(Other(), "x", "here")


@pytest.mark.parametrize(("picture", "count"), [(torch.rand(3, 40, 40), 5), (image(40, 40), 0)])
def test_what_no_proposer_takes_it_does_not_take(picture, count):
    with pytest.raises(ValueError, match="must be"):
        rpn_proposer(system(), "here").propose(picture, count)
