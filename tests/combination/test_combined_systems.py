"""Testing at several sizes and ensembles: what equals the model alone, what is fused and shared, what is refused."""

from dataclasses import dataclass

import pytest
import torch
from results import assert_same
from torch import Tensor

from sightline.combination.asking import mirrored_back
from sightline.combination.ensemble import Ensemble
from sightline.combination.fusion import Averaging, BoxVoting, NMSUnion
from sightline.combination.multi_scale import MultiScale
from sightline.combination.region_ensemble import RegionEnsemble
from sightline.combination.weighted_box_fusion import WeightedBoxFusion
from sightline.contract import System, networks_of
from sightline.detectors.fast_rcnn import FastRCNN, FastRCNNConfig
from sightline.detectors.faster_rcnn import FasterRCNN, FasterRCNNConfig
from sightline.detectors.keypoint_rcnn import KeypointRCNN, KeypointRCNNConfig
from sightline.detectors.mask_rcnn import MaskRCNN, MaskRCNNConfig
from sightline.errors import ConfigError
from sightline.evaluation.cost import measure_cost
from sightline.judging import ready
from sightline.proposals.proposer import ImageProposals, Proposer
from sightline.recipes import Recipe
from sightline.regions.found import Found, kept
from sightline.structures import Classes, Detections

FUSIONS = [NMSUnion(), BoxVoting(), Averaging(), WeightedBoxFusion()]
SMALL = {"backbone": "resnet18", "channels": 16, "head_width": 16, "short_side": 64, "long_side": 128, "proposals": 20}
SMALL |= {"norm": "frozen", "score_threshold": 0.2}


def small(seed: int = 0, **settings: object) -> FasterRCNN:
    torch.manual_seed(seed)
    classes = settings.pop("classes", Classes(("disc", "star")))
    model = FasterRCNN(FasterRCNNConfig(**{**SMALL, **settings}), classes).eval()
    with torch.no_grad():
        model.class_logits.weight.normal_(std=0.7)
        model.box_deltas.weight.normal_(std=0.3)
    return model


def images() -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.rand(3, 64, 80, generator=generator), torch.rand(3, 96, 64, generator=generator)]


def assert_all_same(first: list[Detections], second: list[Detections]) -> None:
    assert len(first) == len(second)
    for ours, theirs in zip(first, second, strict=True):
        assert len(ours) > 2
        assert_same(ours, theirs)


class RightHalf(System[Detections]):
    """Finds the right half of every image, and a keypoint on its left side; it is no network."""

    name = "right_half"
    task = "detection"

    def __init__(self, classes: Classes = Classes(("disc", "star"))) -> None:  # noqa: B008
        self.classes = classes
        self.keypoint_names = ("left_eye", "right_eye", "nose")

    def predict(self, images):
        return [self._one(image) for image in images]

    def _one(self, image: Tensor) -> Detections:
        height, width = image.shape[1:]
        masks = torch.zeros(1, height, width, dtype=torch.bool)
        masks[:, :, width // 2 :] = True
        box = torch.tensor([[width / 2, 0.0, width, height]])
        keypoints = torch.tensor([[[width / 2, 1.0, 0.9], [width, 2.0, 0.8], [width / 4, 3.0, 0.7]]])
        return Detections(box, torch.tensor([0.5]), torch.tensor([1]), (height, width), masks, keypoints)

    def recipe(self) -> Recipe:
        raise NotImplementedError


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda fusion: fusion.name)
def test_an_ensemble_of_one_or_of_equal_models_is_the_model(fusion):
    model = small()
    alone = model.predict(images())
    assert_all_same(Ensemble((model,), fusion=fusion).predict(images()), alone)
    assert_all_same(Ensemble((model, model), (2.0, 1.0), fusion).predict(images()), alone)


@pytest.mark.parametrize("settings", [{}, {"refinements": 1, "voting": True, "context": True}], ids=["plain", "extras"])
def test_detectors_of_regions_of_one_kind_are_that_detector(settings):
    model = small(**settings)
    model.temperature = 1.7
    alone = model.predict(images())
    assert_all_same(RegionEnsemble((model,)).predict(images()), alone)
    # Proposals that two make alike are one; at another size of the image they are others.
    assert_all_same(RegionEnsemble((model, model), (3.0, 1.0)).predict(images()), alone)
    assert all(not module.training for module in model.modules())


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda fusion: fusion.name)
def test_an_ensemble_fuses_what_its_members_find_by_their_weights(fusion):
    members, weights = (small(0), small(1)), (1.0, 4.0)
    found = [member.predict(images()) for member in members]
    expected = [fusion(each, weights) for each in zip(*found, strict=True)]
    assert_all_same(Ensemble(members, weights, fusion).predict(images()), expected)


def test_what_members_propose_alike_is_looked_at_once():
    model, counts = small(), []
    model.look = lambda features, boxes, index: (
        counts.append(len(boxes)),
        FasterRCNN.look(model, features, boxes, index),
    )[1]
    for members in ((model,), (model, model)):
        RegionEnsemble(members).predict(images())
    assert counts == [40] * 3


@torch.no_grad()
def test_regions_of_all_members_are_looked_at_by_all_and_averaged():
    """Region by region in plain loops, over members that prepare images differently."""
    members, weights = (small(0), small(1, short_side=96)), (3.0, 1.0)
    image = images()[0]
    (found,) = RegionEnsemble(members, weights).predict([image])
    batches = [member.prepare([image]) for member in members]
    raws = [member(batch) for member, batch in zip(members, batches, strict=True)]
    union = [batch.to_original(raw.proposals.boxes, 0) for batch, raw in zip(batches, raws, strict=True)]
    candidates = []
    for region in torch.cat(union):
        scores, boxes = torch.zeros(2), torch.zeros(2, 4)
        for member, batch, raw, weight in zip(members, batches, raws, weights, strict=True):
            height, width = batch.sizes[0]
            own = region * torch.tensor([width / 80, height / 64, width / 80, height / 64])
            logits, deltas = member.look(raw.features, own[None], torch.zeros(1, dtype=torch.int64))
            scores += weight / 4 * logits[0].softmax(0)[1:]
            for label in range(2):
                box = member.coder.decode(deltas[0, label + 1][None], own[None])[0]
                box = torch.minimum(box.clamp(min=0), torch.tensor([width, height, width, height]) * 1.0)
                boxes[label] += weight / 4 * batch.to_original(box[None], 0)[0]
        candidates += [(boxes[k], scores[k], k) for k in range(2) if scores[k] > 0.2]
    boxes, scores = torch.stack([c[0] for c in candidates]), torch.stack([c[1] for c in candidates])
    every = Found(boxes, scores, torch.tensor([c[2] for c in candidates]), torch.zeros(len(boxes)).long())
    expected = kept(every, members[0].config, 2, 1)
    expected = Detections(expected.boxes, expected.scores, expected.labels, found.size)
    assert len(union[0]) + len(union[1]) == 40
    assert_all_same([found], [expected])
    assert not torch.equal(found.boxes, members[0].predict([image])[0].boxes)


def test_looks_at_several_sizes_are_fused_and_the_model_is_there_once():
    model = small()
    system = MultiScale(model, (64, 96, 48), fusion=WeightedBoxFusion())
    parts = []
    for side in (64, 96, 48):
        other = small()
        other.load_state_dict(model.state_dict())
        other.preparation = model.preparation.with_size(side)
        parts.append(other.predict(images()))
    expected = [WeightedBoxFusion()(found) for found in zip(*parts, strict=True)]
    assert_all_same(system.predict(images()), expected)
    assert model.preparation.short_side == 64
    networks = networks_of(system)
    assert [network.preparation.short_side for network in networks] == [64, 96, 48]
    assert {id(p) for network in networks for p in network.parameters()} == {id(p) for p in model.parameters()}
    one = MultiScale(model, (64,)).predict(images())
    assert_all_same(one, model.predict(images()))


@pytest.mark.parametrize("members", [1, 2])
def test_a_mirrored_look_comes_back_as_the_image_lies(members):
    # Half of the image is found on the right, and in the mirror on the right again: that is the left half.
    system: System = MultiScale(RightHalf(), flip=True, fusion=NMSUnion())
    if members == 2:
        system = Ensemble((system, system))
    (found,) = system.predict(torch.zeros(3, 20, 40, dtype=torch.uint8))
    left, right = sorted(range(2), key=lambda k: float(found.boxes[k, 0]))
    assert found.boxes[[left, right]].tolist() == [[0, 0, 20, 20], [20, 0, 40, 20]]
    assert found.masks[left][:, :20].all() and not found.masks[left][:, 20:].any()
    assert found.keypoints[right, :, 0].tolist() == [20, 40, 10]
    # Mirrored at 40 pixels, and the first two have traded places.
    assert found.keypoints[left, :, 0].tolist() == [0, 20, 30]
    assert found.keypoints[left, :, 1].tolist() == [2, 1, 3]


def test_the_answer_to_a_mirrored_image_is_the_mirrored_answer():
    model = small()
    one, other = (MultiScale(model, flip=True).predict([image])[0] for image in (images()[0], images()[0].flip(2)))
    assert len(one) > 2
    assert_same(one, mirrored_back(other, ()))


@dataclass(frozen=True)
class Counting(Proposer):
    """Nine boxes an image, and how often it was asked."""

    name = "counting"
    asked: list[tuple[int, ...]]

    def __hash__(self) -> int:
        return 0

    def propose(self, image: Tensor, count: int) -> ImageProposals:
        self.asked.append(tuple(image.shape))
        x, y = torch.meshgrid(torch.arange(3) * 10.0, torch.arange(3) * 10.0, indexing="ij")
        low = torch.stack([x.flatten(), y.flatten()], dim=1)[:count]
        return ImageProposals(torch.cat([low, low + 30], dim=1), torch.ones(len(low)))


def test_a_proposer_looks_at_each_image_once_however_often_it_is_looked_at():
    members, proposer, seen = [], Counting([]), []
    for seed in range(2):
        member = small(seed)
        member.proposer = proposer
        member.forward = lambda batch, member=member: (
            seen.append(batch.to_original(batch.proposals[0], 0)),
            FasterRCNN.forward(member, batch),
        )[1]
        members.append(member)
    system = Ensemble(tuple(MultiScale(member, (64, 96), flip=True) for member in members))
    system.predict(images()[:1])
    assert proposer.asked == [(3, 64, 80)]
    given = proposer.propose(images()[0], 2000).boxes
    mirrored = torch.stack([80 - given[:, 2], given[:, 1], 80 - given[:, 0], given[:, 3]], dim=1)
    assert len(seen) == 8
    for index, boxes in enumerate(seen):
        assert torch.allclose(boxes, mirrored if index % 4 >= 2 else given, atol=1e-4)


@dataclass(frozen=True)
class Nothing(Proposer):
    """Proposes nothing."""

    name = "nothing"

    def propose(self, image: Tensor, count: int) -> ImageProposals:
        return ImageProposals(torch.zeros(0, 4))


def test_photos_without_proposals_have_no_detections():
    torch.manual_seed(0)
    config = FastRCNNConfig(backbone="resnet18", short_side=64, long_side=128, refinements=1, voting=True, context=True)
    model = FastRCNN(config, Classes(("disc", "star"))).eval()
    model.proposer = Nothing()
    alike = (model, model)
    for system in (RegionEnsemble(alike), Ensemble(alike), MultiScale(model, (64, 96), flip=True)):
        assert [len(found) for found in system.predict(images())] == [0, 0]


def test_what_is_combined_is_told():
    model = small()
    told = Ensemble((MultiScale(model, (64, 96), flip=True), model), (2.0, 1.0)).describe()
    assert told["weights"] == [2.0, 1.0]
    assert told["fusion"]["name"] == "wbf" and "Solovyev" in told["fusion"]["source"]
    first, second = told["members"]
    assert (first["system"], first["short_sides"], first["flip"]) == ("faster_rcnn", [64, 96], True)
    assert second == {"system": "faster_rcnn"}
    assert RegionEnsemble((model,)).describe()["fusion"]["of"] == "regions"


@pytest.mark.parametrize("kind", ["masks", "keypoints"])
def test_masks_and_keypoints_are_made_for_the_boxes_of_all(kind):
    shared = {**SMALL, "detections": 4, "short_side": 64}
    torch.manual_seed(0)
    if kind == "masks":
        config = MaskRCNNConfig(**shared, mask_width=8, mask_depth=1)
        model = MaskRCNN(config, Classes(("disc", "star"))).eval()
    else:
        config = KeypointRCNNConfig(**shared, keypoint_width=8, keypoint_depth=1, keypoints=("left_eye", "right_eye"))
        model = KeypointRCNN(config, Classes(("person",))).eval()
    ensemble = RegionEnsemble((model, model))
    assert ensemble.finds == ("boxes", kind) and ensemble.keypoint_names == model.keypoint_names
    for ours, alone in zip(ensemble.predict(images()), model.predict(images()), strict=True):
        assert len(ours) == len(alone) > 1
        assert torch.allclose(ours.boxes, alone.boxes, atol=1e-3)
        first, second = (getattr(found, kind) for found in (ours, alone))
        assert (
            float((first != second).float().mean()) < 1e-3 if kind == "masks" else torch.allclose(first, second, atol=1)
        )


def test_members_are_made_ready_for_prediction_each_by_itself():
    model = small()
    system = ready(Ensemble((MultiScale(model, (64, 96)), model)), device="cpu", precision="bf16")
    networks = networks_of(system)
    assert len(networks) == 3
    assert {p.dtype for network in networks for p in network.parameters()} == {torch.bfloat16}
    assert not any(p.requires_grad for network in networks for p in network.parameters())
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert all(len(found) for found in system.predict(images()))


def test_the_cost_is_that_of_all_looks():
    model, image = small(), images()[0]
    cost = measure_cost(MultiScale(model, (64, 96)), image, repeats=1, warm_up=0)
    each = [measure_cost(network, image, repeats=1, warm_up=0) for network in networks_of(MultiScale(model, (64, 96)))]
    assert cost.parameters == each[0].parameters
    assert cost.flops == each[0].flops + each[1].flops
    assert cost.prepared_size == each[1].prepared_size != each[0].prepared_size
    assert cost.proposal_milliseconds is None
    with pytest.raises(ValueError, match="multi_scale has no network"):
        measure_cost(MultiScale(RightHalf(), flip=True), image)


def test_the_time_of_proposals_that_members_share_is_told_apart():
    proposer, members = Counting([]), (small(0), small(1))
    for member in members:
        member.proposer = proposer
    system = Ensemble(tuple(MultiScale(member, (64, 96), flip=True) for member in members))
    cost = measure_cost(system, images()[0], repeats=1, warm_up=0)
    assert cost.proposal_milliseconds is not None and cost.given_milliseconds is not None
    assert 0 < cost.proposal_milliseconds < cost.milliseconds
    assert cost.milliseconds == pytest.approx(cost.proposal_milliseconds + cost.given_milliseconds)
    # For the memory, for the time and for the operations: what is timed after the proposals asks for none.
    assert len(proposer.asked) == 3
    assert all(member.proposer is proposer for member in members)


def test_no_images_are_no_results():
    assert Ensemble((small(),)).predict([]) == []


def test_what_cannot_be_combined_is_refused():
    model, other = small(), small(classes=Classes(("disc", "moon")))
    for make in (lambda: Ensemble((model, other)), lambda: RegionEnsemble((model, other))):
        with pytest.raises(ConfigError, match="model 2 of the ensemble answers with the classes disc, moon, but"):
            make()
    with pytest.raises(ConfigError, match="ensemble of nothing"):
        Ensemble(())
    with pytest.raises(ConfigError, match="3 weights for 2 members"):
        Ensemble((model, model), (1.0, 1.0, 1.0))
    with pytest.raises(ConfigError, match="right_half looks at no proposals"):
        RegionEnsemble((RightHalf(),))
    for sides in ((0,), (64, 64)):
        with pytest.raises(ConfigError, match="the short sides are"):
            MultiScale(model, sides)
    with pytest.raises(ConfigError, match="image size is fixed"):
        MultiScale(RightHalf(), (64,))
    with pytest.raises(ConfigError, match="nothing to fuse"):
        MultiScale(model)
    with pytest.raises(ConfigError, match="does not learn"):
        MultiScale(model, (64,)).recipe()
