"""Fast R-CNN by itself: what it learns from, what it does without proposals, and that the loss reaches the trunk."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch

from sightline.assign.padding import pad_targets
from sightline.detectors.fast_rcnn import FastRCNN, FastRCNNConfig
from sightline.errors import ConfigError, ModelFileError
from sightline.files import sha256
from sightline.geometry.iou import pairwise_iou
from sightline.model_file import read_header, write_model
from sightline.proposals.cache import CachedProposer, cached
from sightline.proposals.proposals import Proposals
from sightline.structures import Classes, ImageBatch, Target
from sightline.zoo import create, load, load_proposer

SMALL = {"backbone": "resnet18", "short_side": 64, "long_side": 128, "proposer": "sliding_window", "proposals": 50}


def _small(**settings: object) -> FastRCNN:
    torch.manual_seed(0)
    return FastRCNN(FastRCNNConfig(**{**SMALL, **settings}), Classes(("disc", "star")))


def _without_proposals(model: FastRCNN) -> ImageBatch:
    batch = model.preparation.batch([torch.rand(3, 64, 64), torch.rand(3, 64, 90)])
    return ImageBatch(batch.images, batch.sizes, batch.original_sizes, proposals=(torch.zeros(0, 4), torch.zeros(0, 4)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"proposals": 0}, "proposals is 0"), ({"background_low": 0.5}, "background_low"), ({"channels": 8}, "channels")],
)
def test_settings_out_of_range_or_without_effect_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FastRCNNConfig(**settings)


def test_defaults_are_the_papers() -> None:
    config = FastRCNN(FastRCNNConfig(backbone="vgg11"), Classes(("disc",))).config
    assert (config.neck, config.pooling, config.proposer, config.proposals) == (
        "none",
        "pool",
        "selective_search",
        2000,
    )
    assert (config.short_side, config.long_side, config.region_samples, config.positive_fraction) == (
        600,
        1000,
        64,
        0.25,
    )


def test_it_looks_at_the_proposals_of_its_proposer() -> None:
    model, image = _small().eval(), torch.randint(0, 255, (3, 80, 120), dtype=torch.uint8)
    proposer = model.proposer
    assert proposer is not None
    with torch.no_grad():
        batch = model.prepare(image)
        raw = model(batch)
    wanted = proposer.propose(image, 50).boxes
    torch.testing.assert_close(batch.to_original(raw.proposals.boxes, 0), wanted, atol=1e-3, rtol=0)
    assert raw.class_logits.shape == (len(wanted), 3) and raw.box_deltas.shape == (len(wanted), 3, 4)
    boxes = model.steps(raw, batch)[0].tensors["boxes"]
    torch.testing.assert_close(boxes, wanted, atol=1e-3, rtol=0)


def test_a_photo_without_proposals_gives_nothing_and_a_loss_without_regions_is_zero() -> None:
    model = _small(score_threshold=0.0).eval()
    batch = _without_proposals(model)
    with torch.no_grad():
        assert [len(found) for found in model.decode(model(batch), batch)] == [0, 0]
    losses = model.loss(batch, [Target.empty(size) for size in batch.sizes])
    assert {name: float(term.value) for name, term in losses.items()} == {"classification": 0.0, "box": 0.0}
    sum(term.value for term in losses.values()).backward()


def test_true_boxes_are_learned_from_where_nobody_proposed_them() -> None:
    model = _small().train()
    batch = _without_proposals(model)
    truth = Target(torch.tensor([[5.0, 5, 40, 50]]), torch.tensor([1]), batch.sizes[0])
    losses = model.loss(batch, [truth, Target.empty(batch.sizes[1])])
    assert float(losses["classification"].value) > 0 and float(losses["classification"].count) == 1


def test_the_loss_of_classes_and_boxes_reaches_the_first_convolution() -> None:
    model = _small().train()
    batch = model.prepare(torch.rand(3, 64, 64))
    truth = Target(torch.tensor([[8.0, 8, 50, 50]]), torch.tensor([0]), batch.sizes[0])
    first = next(model.backbone.parameters())
    for name in ("classification", "box"):
        model.zero_grad()
        model.loss(batch, [truth])[name].value.backward()
        assert first.grad is not None and float(first.grad.abs().max()) > 0, name


def test_background_touches_an_object_where_there_is_one() -> None:
    model = _small(region_samples=64)
    truth = Target(torch.tensor([[20.0, 20, 44, 44]]), torch.tensor([0]), (64, 64))
    boxes = torch.rand(300, 2, 2).sort(dim=1).values.flatten(1) * 62
    boxes[:, 2:] += 2
    proposals = Proposals.of([boxes, boxes])
    regions = model.sampler(proposals, pad_targets([truth, Target.empty((64, 64))]))
    overlap = pairwise_iou(regions.boxes, truth.boxes)[:, 0]
    background = (regions.labels == 0) & (regions.image_index == 0)
    assert bool(((overlap >= 0.1) & (overlap < 0.5))[background].all()) and int(background.sum()) > 5
    # Without objects every region is background.
    assert int((regions.image_index == 1).sum()) == 64


def test_another_models_network_can_propose(tmp_path: Path) -> None:
    settings = {"backbone": "resnet18", "channels": 16, "head_width": 16, "short_side": 64, "proposals": 20}
    model = create("faster_rcnn", classes=["thing"], settings=settings)
    write_model(tmp_path / "rpn.safetensors", model, stage="test", metrics={}, provenance="random")
    place = str(tmp_path / "rpn.safetensors")
    system = create("fast_rcnn", classes=["disc"], settings={**SMALL, "proposer": place})
    image = torch.randint(0, 255, (3, 80, 120), dtype=torch.uint8)
    assert system.proposer is not None and system.proposer.name == "rpn"
    wanted = load_proposer(place).propose(image, 50).boxes
    torch.testing.assert_close(system.prepare(image).proposals[0] * (80 / 64), wanted, atol=1e-3, rtol=0)
    write_model(tmp_path / "fast.safetensors", system, stage="test", metrics={}, provenance="random")
    assert load(tmp_path / "fast.safetensors").proposer == system.proposer
    (tmp_path / "rpn.safetensors").unlink()
    with pytest.raises(ModelFileError, match=r"rpn\.safetensors: no such model file.*fast_rcnn looks at the proposals"):
        load(tmp_path / "fast.safetensors")


def test_another_model_in_the_place_of_the_one_that_proposed_is_noticed(tmp_path: Path, monkeypatch) -> None:
    settings = {"backbone": "resnet18", "channels": 16, "head_width": 16, "short_side": 64, "proposals": 20}
    first, other = (create("faster_rcnn", classes=["thing"], settings=settings, seed=seed) for seed in (0, 1))
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    (here / "runs").mkdir(parents=True)
    place = here / "runs" / "rpn.safetensors"
    write_model(place, first, stage="test", metrics={}, provenance="random")
    monkeypatch.chdir(here)
    system = create("fast_rcnn", classes=["disc"], settings={**SMALL, "proposer": "runs/rpn.safetensors"})
    write_model(here / "fast.safetensors", system, stage="test", metrics={}, provenance="random")
    assert read_header(here / "fast.safetensors").proposer_sha256 == sha256(place) == system.proposer_sha256
    write_model(place, other, stage="test", metrics={}, provenance="random")
    told = (
        r"runs/rpn\.safetensors: is not the model whose proposals this fast_rcnn learned from.* trained anew or"
        r" replaced.*cure: put that model back"
    )
    with pytest.raises(ModelFileError, match=told):
        load("fast.safetensors")
    with pytest.raises(ModelFileError, match=told):
        create("fast_rcnn", weights="fast.safetensors", settings={"refinements": 1})
    # Who names another proposer gets it, and files from before there was a hash are read as they were.
    assert create("fast_rcnn", weights="fast.safetensors", settings={"proposer": str(place)}).proposer is not None
    system.proposer_sha256 = ""
    write_model(here / "old.safetensors", system, stage="test", metrics={}, provenance="random")
    assert load("old.safetensors").proposer_sha256 == sha256(place)
    # Together they may move.
    write_model(place, first, stage="test", metrics={}, provenance="random")
    here.rename(elsewhere)
    monkeypatch.chdir(elsewhere)
    assert load("fast.safetensors").proposer == system.proposer
    system.ask("uniform", 5)
    assert system.proposer_sha256 == ""


def test_a_network_that_proposes_follows_to_the_device_and_keeps_its_numbers(tmp_path: Path) -> None:
    settings = {"backbone": "resnet18", "channels": 16, "head_width": 16, "short_side": 64, "proposals": 20}
    place = tmp_path / "rpn.safetensors"
    model = create("faster_rcnn", classes=["thing"], settings=settings)
    write_model(place, model, stage="test", metrics={}, provenance="random")
    system = create("fast_rcnn", classes=["disc"], settings={**SMALL, "proposer": str(place)})
    before = system.proposer
    half = deepcopy(system).to(torch.bfloat16)
    assert half.class_logits.weight.dtype == torch.bfloat16
    assert {p.dtype for p in half.proposer.system.parameters()} == {torch.float32}
    assert system.to("cpu").proposer is before
    for proposer in (before, cached(before)):
        moved = deepcopy(system)
        moved.proposer = proposer
        moved.to("meta")  # the one other device that is everywhere
        inner = moved.proposer.proposer if isinstance(moved.proposer, CachedProposer) else moved.proposer
        assert {p.device.type for p in inner.system.parameters()} == {"meta"} and inner == before
        assert inner.system.device == moved.device
    assert {p.device.type for p in before.system.parameters()} == {"cpu"}


def test_unknown_proposers_are_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="selective_search"):
        _small(proposer="selectiv_search")
    with pytest.raises(ConfigError, match=r"no proposer 'rpn'.*run folder of a trained model whose RPN proposes"):
        _small(proposer="rpn")


def test_who_is_asked_next_replaces_who_was_asked_before() -> None:
    model = _small()
    model.ask("runs/other/best.safetensors", 10)
    assert model.proposer is None and model.proposer_model and model.proposal_count == 10
    model.ask("uniform", 20)
    assert model.proposer is not None and model.proposer.name == "uniform" and not model.proposer_model
