"""Box refinement, voting and global context (He et al. 2016, appendix B), as settings of every detector of regions."""

from dataclasses import replace

import pytest
import torch

from sightline.detectors.faster_rcnn import FasterRCNN, FasterRCNNConfig
from sightline.errors import ConfigError, ModelFileError
from sightline.geometry.iou import pairwise_iou
from sightline.model_file import write_model
from sightline.proposals.proposals import Proposals
from sightline.structures import Classes, Target
from sightline.zoo import create

SMALL = {"backbone": "resnet18", "channels": 16, "head_width": 16, "short_side": 64, "long_side": 128, "proposals": 20}
SMALL |= {"norm": "live", "score_threshold": 0.2}


def small(**settings: object) -> FasterRCNN:
    torch.manual_seed(0)
    model = FasterRCNN(FasterRCNNConfig(**{**SMALL, **settings}), Classes(("disc", "star"))).eval()
    with torch.no_grad():
        # Fresh weights move no box and score all alike.
        model.class_logits.weight.normal_(std=2.0, generator=torch.Generator().manual_seed(1))
        model.box_deltas.weight.normal_(std=1.0, generator=torch.Generator().manual_seed(2))
    return model


def images() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.rand(3, 64, 80, generator=generator), torch.rand(3, 96, 64, generator=generator)]


def with_settings(model: FasterRCNN, **settings: object) -> FasterRCNN:
    """The same weights under other settings."""
    other = FasterRCNN(replace(model.config, **settings), model.classes).eval()
    other.load_state_dict(model.state_dict())
    return other


@torch.no_grad()
def test_refinement_looks_again_at_the_boxes_of_the_likeliest_class():
    model = small(refinements=1)
    batch = model.prepare(images())
    raw, plain = model(batch), with_settings(model, refinements=0)(batch)
    assert len(raw.proposals.boxes) == 2 * len(plain.proposals.boxes) > 10
    assert raw.proposals.image_index.equal(raw.proposals.image_index.sort().values)
    for index in range(2):
        ours, theirs = raw.proposals.image_index == index, plain.proposals.image_index == index
        half = int(theirs.sum())
        assert torch.equal(raw.proposals.boxes[ours][:half], plain.proposals.boxes[theirs])
        assert torch.allclose(raw.class_logits[ours][:half], plain.class_logits[theirs], atol=1e-4)
        # One region after the other, by hand.
        height, width = batch.sizes[index]
        pairs = zip(plain.proposals.boxes[theirs], plain.class_logits[theirs], plain.box_deltas[theirs], strict=True)
        for place, (box, logits, deltas) in enumerate(pairs):
            label = 1 + int(logits[1:].argmax())
            moved = model.coder.decode(deltas[label][None], box[None])[0]
            moved = torch.stack([moved[0::2].clamp(0, width), moved[1::2].clamp(0, height)], dim=1).flatten()
            refined = raw.proposals.boxes[ours][half + place]
            if (moved[2:] - moved[:2] >= 1e-2).all():
                assert torch.allclose(refined, moved, atol=1e-4)
            else:
                assert torch.equal(refined, box)
            again, _ = model.look(raw.features, refined[None], torch.tensor([index]))
            assert torch.allclose(raw.class_logits[ours][half + place], again[0], atol=1e-4)
    assert not torch.allclose(raw.proposals.boxes[ours][:half], raw.proposals.boxes[ours][half:], atol=1.0)


@torch.no_grad()
def test_refinement_that_moves_nothing_changes_nothing():
    model = small()
    model.box_deltas.weight.zero_(), model.box_deltas.bias.zero_()
    plain = model.predict(images())
    for refinements in (1, 3):
        refined = with_settings(model, refinements=refinements).predict(images())
        assert [len(found) for found in refined] == [len(found) for found in plain]
        for ours, theirs in zip(refined, plain, strict=True):
            assert len(ours) > 3 and torch.equal(ours.labels, theirs.labels)
            assert torch.allclose(ours.boxes, theirs.boxes, atol=1e-4)
            assert torch.allclose(ours.scores, theirs.scores, atol=1e-5)


@torch.no_grad()
def test_a_box_that_is_moved_out_of_the_image_is_looked_at_where_it_was():
    model = small(refinements=1)
    model.box_deltas.weight.zero_()
    model.box_deltas.bias.copy_(torch.tensor([100.0, 0, 0, 0]).repeat(3))  # ten widths to the right
    batch = model.prepare(images())
    boxes = torch.tensor([[10.0, 10, 30, 30], [60, 0, 61, 1]])
    regions, logits, _ = model.examine(model.features(batch), Proposals(boxes, torch.ones(2), torch.tensor([0, 0]), 2))
    assert torch.equal(regions.boxes, torch.cat([boxes, boxes[:1], torch.tensor([[70.0, 0, 71, 1]])]))
    assert logits.isfinite().all()


@torch.no_grad()
def test_voting_moves_what_suppression_leaves():
    model = small(nms_threshold=0.3)
    batch = model.prepare(images()[:1])
    boxes = torch.tensor([[10.0, 10, 50, 50], [10, 10, 50, 42], [12, 10, 50, 50], [10, 10, 20, 20]])
    proposals = Proposals(boxes, torch.ones(4), torch.zeros(4, dtype=torch.int64), 1)
    logits = torch.tensor([[0.0, 3, 0], [0, 2, 0], [0, 0, 3], [0, 2.5, 0]])
    plain = model.found(proposals, logits, torch.zeros(4, 3, 4), batch)
    voted = with_settings(model, voting=True).found(proposals, logits, torch.zeros(4, 3, 4), batch)
    scores = logits.softmax(dim=1)
    first, second = float(scores[0, 1]), float(scores[1, 1])
    # The first two are of one class with an IoU of 0.8: y2 is the mean of 50 and 42 by score.
    expected = (first * 50 + second * 42) / (first + second)
    assert torch.equal(plain.boxes[0], boxes[0])
    assert torch.allclose(voted.boxes[0], torch.tensor([10, 10, 50, expected]), atol=1e-3)
    assert torch.equal(voted.scores, plain.scores) and torch.equal(voted.labels, plain.labels)
    assert torch.equal(voted.boxes[1:], plain.boxes[1:])


@pytest.mark.parametrize("form", [{}, {"neck": "none", "channels": 256, "head_width": 1024}], ids=["pyramid", "c4"])
def test_context_is_the_heads_feature_of_the_whole_image(form):
    model = small(context=True, **form)
    batch = model.prepare(images())
    features = model.features(batch)
    boxes, owner = torch.tensor([[5.0, 5, 30, 40], [10, 10, 60, 60], [0, 0, 20, 20]]), torch.tensor([0, 1, 1])
    logits, deltas = model.look(features, boxes, owner)
    for k, (box, image) in enumerate(zip(boxes, owner, strict=True)):
        height, width = batch.sizes[int(image)]  # of the image, not of the padded batch
        whole = torch.tensor([[0.0, 0, width, height]])
        parts = [model.head(model.pool(features, b, image[None], model.pool_size)) for b in (box[None], whole)]
        hidden = torch.cat(parts, dim=1)
        assert torch.allclose(logits[k], model.class_logits(hidden)[0], atol=1e-4)
        assert torch.allclose(deltas[k].flatten(), model.box_deltas(hidden)[0], atol=1e-4)
    assert not torch.allclose(*[torch.tensor(size) * 1.0 for size in (batch.sizes[0], batch.images.shape[2:])])


def test_the_gradient_of_one_regions_class_reaches_the_whole_image():
    # Up to the maps alone: fields of the trunk reach everywhere.
    generator = torch.Generator().manual_seed(0)
    reached = []
    for context in (False, True):
        model = small(context=context)
        features = model.features(model.prepare(images()[:1]))
        maps = tuple(torch.rand(each.shape, generator=generator, requires_grad=True) for each in features.maps)
        features = replace(features, maps=maps)
        logits, _ = model.look(features, torch.tensor([[0.0, 0, 16, 16]]), torch.tensor([0]))
        logits[0, 1].backward()
        reached.append(float(maps[0].grad[..., 8:, 8:].abs().sum()))
        assert maps[0].grad[..., :4, :4].abs().sum() > 0
    assert reached[0] == 0 and reached[1] > 0


def test_context_learns_and_the_losses_keep_their_names():
    plain, model = small(), small(context=True)
    batch = model.prepare(images())
    targets = [Target(torch.tensor([[5.0, 5, 30, 40]]), torch.tensor([1]), size) for size in batch.sizes]
    losses = model.loss(batch, targets)
    assert losses.keys() == plain.loss(batch, targets).keys()
    sum(term.value for term in losses.values()).backward()
    width = model.class_logits.in_features // 2
    assert width == plain.class_logits.in_features
    assert model.class_logits.weight.grad[:, width:].abs().sum() > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_every_form_of_extras_predicts_on_nothing_too():
    model = small(refinements=2, voting=True, context=True)
    batch = model.prepare(images())
    nothing = Proposals(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64), 2)
    with torch.no_grad():
        regions, logits, deltas = model.examine(model.features(batch), nothing)
        assert len(model.found(regions, logits, deltas, batch)) == 0
        steps = model.steps(model(batch), batch)
    assert [step.title for step in steps].count("Refined regions") == 2
    found = model.predict(images())
    assert all(len(each) and (pairwise_iou(each.boxes, each.boxes) <= 1 + 1e-5).all() for each in found)


def test_refinements_out_of_range_are_refused():
    for wrong in (-1, 11):
        with pytest.raises(ConfigError, match=f"refinements is {wrong}"):
            FasterRCNNConfig(refinements=wrong)


def test_weights_without_context_do_not_become_a_model_with_it(tmp_path):
    path = tmp_path / "plain.safetensors"
    write_model(path, small(), stage="none", metrics={}, provenance="a test")
    with pytest.raises(ModelFileError) as raised:
        create("faster_rcnn", weights=path, settings={"context": True})
    assert "class_logits.weight has shape" in str(raised.value)
    assert "made with context=False, and is now context=True" in str(raised.value)
    # Refinement and voting have no weights of their own, and layers of other classes start anew anyway.
    assert create("faster_rcnn", weights=path, settings={"refinements": 1, "voting": True}).config.refinements == 1
    assert create("faster_rcnn", weights=path, settings={"context": True}, classes=["cow"]).config.context
    with pytest.raises(ConfigError, match="torchvision's weights know no context"):
        create("faster_rcnn", weights="coco", settings={"context": True})
