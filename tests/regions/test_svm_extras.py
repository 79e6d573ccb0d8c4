"""Box refinement, voting and global context as settings of R-CNN and SPP-net."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sightline.detectors.rcnn import RCNN, RCNNConfig
from sightline.detectors.spp_net import SPPNet, SPPNetConfig
from sightline.errors import ConfigError, ModelFileError
from sightline.model_file import write_model
from sightline.proposals.proposals import Proposals
from sightline.recipes import Workbench
from sightline.regions.svm_detector import SVMDetector, SVMRaw
from sightline.regions.svm_stages import FOLDER, cache_features, fit_regressors, fit_svms
from sightline.structures import Classes, ImageBatch, Sample, Target
from sightline.zoo import create

SMALL: dict[str, dict[str, object]] = {
    "rcnn": {"crop_side": 32, "norm": "frozen", "crop_batch": 4},
    "spp_net": {"levels": (2, 1), "head_width": 16, "stride": 8, "scales": (64, 96)},
}
NAMES = tuple(SMALL)


def small(name: str, *, fitted: bool = True, **settings: object) -> SVMDetector:
    torch.manual_seed(0)
    kind, config = {"rcnn": (RCNN, RCNNConfig), "spp_net": (SPPNet, SPPNetConfig)}[name]
    common = {"backbone": "resnet18", "short_side": 64, "long_side": 96, "proposer": "uniform", "proposals": 8}
    system = kind(config(**{**common, **SMALL[name], **settings}), Classes(("disc", "star"))).eval()
    if fitted:
        with torch.no_grad():
            system.svms.weight.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
            system.box_shifts.weight.normal_(std=0.02, generator=torch.Generator().manual_seed(2))
            system.svms_fitted.fill_(1)
    return system


def with_settings(system: SVMDetector, **settings: object) -> SVMDetector:
    """The same weights under other settings."""
    other = type(system)(replace(system.config, **settings), system.classes).eval()
    other.load_state_dict(system.state_dict())
    return other


@pytest.fixture(scope="module")
def batch() -> ImageBatch:
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(2, 3, 64, 96, generator=generator)
    images[1, :, :, 72:] = 0
    first = torch.tensor([[3.0, 4.0, 50.0, 60.0], [0.0, 0.0, 96.0, 64.0], [40.0, 10.0, 70.0, 50.0]])
    second = torch.tensor([[20.0, 20.0, 40.0, 60.0], [5.0, 5.0, 60.0, 30.0]])
    sizes = ((64, 96), (64, 72))
    return ImageBatch(images, sizes, sizes, proposals=(first, second))


def alone(system: SVMDetector, batch: ImageBatch, box: Tensor, image: int) -> tuple[Tensor, Tensor]:
    """The features of one region by itself."""
    found = system.describe(system.features(batch), box[None], torch.tensor([image]))
    return found.hidden[0], found.pooled[0]


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_refinement_looks_again_at_the_boxes_of_the_likeliest_class(name, batch):
    system = small(name, refinements=1)
    raw, plain = system(batch), with_settings(system, refinements=0)(batch)
    expected_boxes, expected_margins, expected_deltas = [], [], []
    for image, own in enumerate(batch.proposals):
        seen, moved = list(own), []
        for box in own:  # one region after the other, by hand
            hidden, pooled = alone(system, batch, box, image)
            best = int((system.svms.weight @ hidden + system.svms.bias).argmax())
            shift = (system.box_shifts.weight @ pooled + system.box_shifts.bias).view(2, 4)[best]
            x, y, wide, high = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]
            x, y = x + shift[0] * wide, y + shift[1] * high
            wide, high = wide * shift[2].exp(), high * shift[3].exp()
            height, width = batch.sizes[image]
            xs, ys = torch.stack([x - wide / 2, x + wide / 2]), torch.stack([y - high / 2, y + high / 2])
            xs, ys = xs.clamp(0, width), ys.clamp(0, height)
            moved.append(torch.stack([xs[0], ys[0], xs[1], ys[1]]))
        for box in [*seen, *moved]:
            hidden, pooled = alone(system, batch, box, image)
            expected_boxes.append(box)
            expected_margins.append(system.svms(hidden))
            expected_deltas.append(system.box_shifts(pooled).view(2, 4))
    assert raw.proposals.image_index.tolist() == [0] * 6 + [1] * 4
    assert torch.allclose(raw.proposals.boxes, torch.stack(expected_boxes), atol=1e-3)
    assert torch.allclose(raw.margins, torch.stack(expected_margins), atol=1e-2)
    assert torch.allclose(raw.box_deltas, torch.stack(expected_deltas), atol=1e-2)
    assert len(plain.margins) == 5
    assert not torch.allclose(raw.proposals.boxes[:3], raw.proposals.boxes[3:6], atol=1.0)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_refinement_that_moves_nothing_changes_nothing(name, batch):
    system = small(name)
    system.box_shifts.weight.zero_()
    plain = system.predict_batch(batch)
    for refinements in (1, 2):
        found = with_settings(system, refinements=refinements).predict_batch(batch)
        for ours, theirs in zip(found, plain, strict=True):
            assert len(ours) == len(theirs) > 0 and torch.equal(ours.labels, theirs.labels)
            assert torch.allclose(ours.boxes, theirs.boxes, atol=1e-3)
            assert torch.allclose(ours.scores, theirs.scores, atol=1e-3)


def test_spp_net_refines_on_the_maps_of_one_pass(batch):
    system, passes = small("spp_net", refinements=3), []
    system.backbone.register_forward_hook(lambda module, given, out: passes.append(given[0].shape[0]))
    system.predict_batch(batch)
    assert passes == [2, 2]  # one a scale


def test_voting_moves_what_suppression_leaves(batch):
    system = small("rcnn", nms_threshold=0.3)
    boxes = torch.tensor([[10.0, 10, 50, 50], [10, 10, 50, 42], [12, 10, 50, 50]])
    proposals = Proposals(boxes, torch.ones(3), torch.zeros(3, dtype=torch.int64), 2)
    margins = torch.tensor([[3.0, -9], [1.0, -9], [-9.0, 2.0]])
    raw = SVMRaw(proposals, torch.zeros(3, 3), margins, torch.zeros(3, 2, 4))
    plain, voted = system.decode(raw, batch)[0], with_settings(system, voting=True).decode(raw, batch)[0]
    first, second = float(margins[0, 0].sigmoid()), float(margins[1, 0].sigmoid())
    # The first two are of one class with an IoU of 0.8: y2 is the mean of 50 and 42 by score.
    expected = (first * 50 + second * 42) / (first + second)
    assert torch.equal(plain.boxes, boxes[[0, 2]])
    assert torch.allclose(voted.boxes, torch.tensor([[10, 10, 50, expected], [12, 10, 50, 50]]), atol=1e-3)
    assert torch.equal(voted.scores, plain.scores) and voted.labels.tolist() == [0, 1]


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_with_context_the_feature_of_the_whole_image_stands_beside_each_regions_own(name, batch):
    system = small(name, context=True)
    raw, place = system(batch), 0
    for image, own in enumerate(batch.proposals):
        height, width = batch.sizes[image]  # of the image, not of the padded batch
        whole = alone(system, batch, torch.tensor([0.0, 0.0, width, height]), image)
        for box in own:
            hidden, pooled = (torch.cat(pair) for pair in zip(alone(system, batch, box, image), whole, strict=True))
            assert torch.allclose(raw.margins[place], system.svms(hidden), atol=1e-3)
            assert torch.allclose(raw.class_logits[place], system.class_logits(hidden), atol=1e-3)
            assert torch.allclose(raw.box_deltas[place].flatten(), system.box_shifts(pooled), atol=1e-3)
            place += 1
    assert place == len(raw.margins) == 5


@pytest.mark.parametrize("name", NAMES)
def test_the_fine_tuning_reads_the_context(name, batch):
    system, plain = small(name, context=True), small(name)
    targets = [Target(batch.proposals[0][:1], torch.tensor([1]), (64, 96)), Target.empty((64, 72))]
    system.loss(batch, targets)["classification"].value.backward()
    width = plain.class_logits.in_features
    assert system.class_logits.in_features == 2 * width
    assert system.class_logits.weight.grad[:, width:].abs().sum() > 0
    bare = replace(batch, proposals=(torch.zeros(0, 4),) * 2)
    assert system.loss(bare, [Target.empty(size) for size in batch.sizes])["classification"].count == 0


def bench(folder: Path) -> Workbench:
    return Workbench(0, folder, lambda what, done, of: None, lambda line: None, lambda line: None, lambda: False)


def samples() -> list[Sample]:
    generator = torch.Generator().manual_seed(5)
    target = Target(torch.tensor([[10.0, 10.0, 40.0, 40.0]]), torch.tensor([0]), (64, 96))
    proposals = torch.tensor([[12.0, 11.0, 43.0, 41.0], [50.0, 5.0, 90.0, 60.0], [9.0, 12.0, 40.0, 44.0]])
    images = (torch.rand(3, 64, 96, generator=generator) * 255 for _ in range(3))
    return [Sample(image.to(torch.uint8), target, i, proposals=proposals) for i, image in enumerate(images)]


@pytest.mark.parametrize("name", NAMES)
def test_the_cached_features_hold_the_context_and_those_without_it_are_refused(name, tmp_path):
    system = small(name, fitted=False, context=True)
    train = samples()
    cache_features(system, train, bench(tmp_path))
    batch = system.preparation.batch_of(train[:1])
    hidden, _ = alone(system, batch, torch.tensor([0.0, 0.0, 96.0, 64.0]), 0)
    kept = torch.from_file(str(tmp_path / FOLDER / "hidden.float16"), size=3 * 4 * 2 * len(hidden), dtype=torch.float16)
    rows = kept.view(3, 4, 2, len(hidden))
    assert torch.allclose(rows[0, :, 1].float(), hidden.expand(4, -1), atol=1e-2)
    assert not torch.allclose(rows[0, :, 1], rows[1, :, 1], atol=1e-2)
    plain = small(name, fitted=False)
    for stage in (cache_features, fit_svms, fit_regressors):
        with pytest.raises(ConfigError, match="context is True there and False here"):
            stage(plain, train, bench(tmp_path))
    fit_svms(system, train, bench(tmp_path))
    fit_regressors(system, train, bench(tmp_path))
    # True boxes and what they are told apart by: the SVM's margins are those of the rows.
    expected = rows[0].flatten(1).float() @ system.svms.weight.T + system.svms.bias
    seen = replace(batch, proposals=(torch.cat([train[0].target.boxes, train[0].proposals]),))
    assert torch.allclose(system(seen).margins, expected, atol=2e-2)
    assert system.svms.weight[0].any() and system.box_shifts.weight.any()


@pytest.mark.parametrize("name", NAMES)
def test_every_form_of_extras_predicts_on_nothing_too(name, batch):
    system = small(name, refinements=2, voting=True, context=True, score_threshold=0.0)
    bare = replace(batch, proposals=(torch.zeros(0, 4), batch.proposals[1]))
    assert [len(found) > 0 for found in system.predict_batch(bare)] == [False, True]
    with torch.no_grad():
        nothing = replace(batch, proposals=(torch.zeros(0, 4),) * 2)
        assert [len(found) for found in system.predict_batch(nothing)] == [0, 0]
        steps = system.steps(system(batch), batch)
    assert [step.title for step in steps].count("Refined regions") == 2
    assert [len(step.tensors["boxes"]) for step in steps[:3]] == [3, 3, 3]
    assert len(steps[3].tensors["boxes"]) == 9


@pytest.mark.parametrize("name", NAMES)
def test_refinement_and_voting_need_no_training_and_context_does(name, tmp_path):
    path = tmp_path / "plain.safetensors"
    system = small(name)
    write_model(path, system, stage="none", metrics={}, provenance="a test")
    refined = create(name, weights=path, settings={"refinements": 1, "voting": True})
    assert refined.config.refinements == 1 and torch.equal(refined.svms.weight, system.svms.weight)
    assert refined.svms_fitted == 1
    with pytest.raises(ModelFileError) as raised:
        create(name, weights=path, settings={"context": True})
    assert "made with context=False, and is now context=True" in str(raised.value)
    with pytest.raises(ConfigError, match="refinements is 11"):
        create(name, classes=["disc"], settings={"refinements": 11})
