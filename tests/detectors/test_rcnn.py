"""R-CNN: what its network sees of a region, and that chunks, warps and settings are what they say."""

import pytest
import torch
import torch.nn.functional as F

from sightline.detectors.rcnn import RCNN, RCNNConfig
from sightline.errors import ConfigError
from sightline.recipes import FitStage, GradientStage
from sightline.regions.warp import warp_regions
from sightline.structures import Classes, ImageBatch, Target

CLASSES = Classes(("disc", "star"))
BOXES = torch.tensor([[3.0, 4.0, 50.0, 60.0], [0.0, 0.0, 96.0, 64.0], [20.0, 20.0, 30.0, 60.0], [5.0, 5.0, 80.0, 20.0]])
IMAGE = torch.tensor([0, 0, 1, 1])


def make(**settings: object) -> RCNN:
    torch.manual_seed(0)
    small = {"backbone": "resnet18", "short_side": 64, "long_side": 96, "crop_side": 48, "norm": "frozen"}
    return RCNN(RCNNConfig(**{**small, **settings}), CLASSES).eval()


@pytest.fixture(scope="module")
def batch() -> ImageBatch:
    torch.manual_seed(1)
    images = torch.randn(2, 3, 64, 96)
    return ImageBatch(images, ((64, 96), (64, 96)), ((64, 96), (64, 96)), proposals=(BOXES[:2], BOXES[2:]))


def test_every_region_goes_through_the_whole_network_by_itself(batch):
    system = make()
    found = system.describe(system.features(batch), BOXES, IMAGE)
    for row, (box, image) in enumerate(zip(BOXES, IMAGE, strict=True)):
        crop = warp_regions(batch.images, box[None], image[None], side=48, context=16 * 48 / 227)
        x = crop
        for stage in system.backbone.stages:
            x = stage(x)
        assert torch.allclose(found.hidden[row], x.mean(dim=(2, 3))[0], atol=1e-4)
        assert torch.allclose(found.pooled[row], F.adaptive_avg_pool2d(x, 2).flatten(), atol=1e-4)


def test_vgg_describes_regions_by_pool5_and_fc7(batch):
    system = make(backbone="vgg11", crop_side=64)
    found = system.describe(system.features(batch), BOXES[:1], IMAGE[:1])
    pool5 = found.pooled.view(1, 512, 7, 7)
    assert found.hidden.shape == (1, 4096) and torch.allclose(found.hidden, system.fc7(pool5))


def test_chunks_of_crops_make_no_difference(batch):
    whole, parts = make(), make(crop_batch=3)
    assert torch.allclose(whole(batch).class_logits, parts(batch).class_logits, atol=1e-5)


@pytest.mark.parametrize("changed", [{"padding": 0.0}, {"warp": "square"}, {"crop_side": 32}])
def test_every_setting_of_a_crop_is_seen_and_is_one_of_the_cache(batch, changed):
    one, other = make(), make(**changed)
    assert not torch.equal(one(batch).class_logits, other(batch).class_logits)
    assert one.feature_settings() != other.feature_settings()


def test_the_five_steps_are_stages():
    system = make()
    assert system.origin  # step 0 is told at the start of the log
    names = [(stage.name, type(stage)) for stage in system.recipe().stages]
    fits = [(name, FitStage) for name in ("features", "SVMs", "box regressors")]
    assert names == [("fine-tuning", GradientStage), *fits]
    tuning = system.recipe().stages[0]
    assert tuning.optimiser.lr == 0.001 and tuning.batch_size * system.config.region_samples == 128
    assert system.config.region_samples * system.config.positive_fraction * tuning.batch_size == 32


def test_the_fine_tuning_draws_a_quarter_of_objects(batch):
    system = make(region_samples=16)
    objects = BOXES[:1] + torch.linspace(-2, 2, 40)[:, None]
    far = torch.tensor([[60.0, 30.0, 90.0, 60.0]]) + torch.linspace(-3, 3, 40)[:, None]
    batch = ImageBatch(batch.images[:1], ((64, 96),), ((64, 96),), proposals=(torch.cat([objects, far]),))
    target = Target(BOXES[:1], torch.tensor([1]), (64, 96))
    seen = []
    system.describe, describe = lambda b, boxes, index: seen.append(boxes) or describe(b, boxes, index), system.describe
    assert system.loss(batch, [target])["classification"].count == 16
    assert int((seen[0][:, 0] < 30).sum()) == 4


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"padding": 114.0}, "padding is 114"),
        ({"proposals": 0}, "proposals is 0"),
        ({"ridge": 0.0}, "ridge is 0"),
        ({"crop_batch": 0}, "crop_batch is 0"),
        ({"nms_threshold": 1.5}, "nms_threshold is 1.5"),
        ({"backbone": "vgg11", "box_cells": 3}, "box_cells is 3"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(settings, told):
    with pytest.raises(ConfigError, match=told):
        RCNNConfig(**settings)


def test_a_batch_without_any_region_costs_nothing_and_still_reaches_all_weights(batch):
    system = make()
    bare = ImageBatch(batch.images, batch.sizes, batch.original_sizes, proposals=(torch.zeros(0, 4),) * 2)
    loss = system.loss(bare, [Target.empty((64, 96))] * 2)["classification"]
    loss.value.backward()
    assert loss.value == 0 and loss.count == 0
    assert [name for name, p in system.named_parameters() if p.requires_grad and p.grad is None] == []
    assert system.predict(torch.zeros(3, 20, 30, dtype=torch.uint8))[0].size == (20, 30)


def test_the_crops_of_a_step_are_one_batch_to_norms_that_live(batch):
    """Processes that met their norms a different number of times would wait for each other for ever."""
    losses = []
    for together in (256, 2):
        system, passes = make(norm="live", crop_batch=together).train(), []
        system.backbone.register_forward_hook(lambda module, given, out, seen=passes: seen.append(len(given[0])))
        targets = [Target(BOXES[:1], torch.tensor([1]), (64, 96)), Target.empty((64, 96))]
        torch.manual_seed(0)
        losses.append(system.loss(batch, targets)["classification"].value)
        assert passes == [5]
        with torch.inference_mode():
            system.eval()(batch)
        assert max(passes[1:]) <= together
    assert torch.equal(*losses)
