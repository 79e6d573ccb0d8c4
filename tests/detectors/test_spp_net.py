"""SPP-net: pyramid pooling against a slow loop, scales, and that convolutions are left alone."""

import math

import pytest
import torch

from sightline.detectors.spp_net import SPPNet, SPPNetConfig, nearest_scale, pyramid_pool
from sightline.errors import ConfigError
from sightline.regions.pooling import pool_regions
from sightline.structures import Classes, FeatureMaps, ImageBatch, Target

CLASSES = Classes(("disc", "star"))


def make(**settings: object) -> SPPNet:
    torch.manual_seed(0)
    small = {"backbone": "resnet18", "short_side": 64, "long_side": 96, "levels": (2, 1), "head_width": 16}
    return SPPNet(SPPNetConfig(**{**small, **settings}), CLASSES).eval()


@pytest.fixture(scope="module")
def batch() -> ImageBatch:
    torch.manual_seed(1)
    proposals = (torch.tensor([[3.0, 4.0, 50.0, 60.0], [0.0, 0.0, 96.0, 64.0]]), torch.tensor([[5.0, 5.0, 80.0, 40.0]]))
    return ImageBatch(torch.randn(2, 3, 64, 96), ((64, 96),) * 2, ((64, 96),) * 2, proposals=proposals)


def slow_pyramid(feature_map, box, stride, levels):
    """Maxima of cells whose edges are rounded outwards, one value at a time."""
    x1, y1, x2, y2 = (round_half_up(value / stride) for value in box.tolist())
    high, wide = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
    numbers = []
    for level in levels:
        for channel in feature_map:
            for row in range(level):
                for column in range(level):
                    top, bottom = y1 + math.floor(row * high / level), y1 + math.ceil((row + 1) * high / level)
                    left, right = x1 + math.floor(column * wide / level), x1 + math.ceil((column + 1) * wide / level)
                    cell = channel[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
                    numbers.append(float(cell.max()) if cell.numel() else 0.0)
    return torch.tensor(numbers)


def round_half_up(value: float) -> int:
    return math.floor(value + 0.5)


def test_the_pyramid_is_that_of_the_slow_loop():
    torch.manual_seed(0)
    maps = FeatureMaps((torch.randn(2, 3, 9, 12),), (8,))
    boxes = torch.tensor([[0.0, 0.0, 96.0, 72.0], [17.0, 9.0, 60.0, 50.0], [40.0, 40.0, 47.0, 44.0]])
    index = torch.tensor([0, 1, 1])
    found = pyramid_pool(maps, boxes, index, (6, 3, 2, 1))
    assert found.shape == (3, 3 * 50)
    for row in range(3):
        assert torch.allclose(found[row], slow_pyramid(maps.maps[0][index[row]], boxes[row], 8, (6, 3, 2, 1)))


def test_length_does_not_depend_on_the_region_and_one_cell_is_its_maximum():
    maps = FeatureMaps((torch.arange(48.0).view(1, 1, 6, 8),), (16,))
    boxes = torch.tensor([[0.0, 0.0, 127.0, 95.0], [16.0, 16.0, 48.0, 32.0]])
    found = pyramid_pool(maps, boxes, torch.tensor([0, 0]), (3, 1))
    assert found.shape == (2, 10) and found[:, -1].tolist() == [47.0, 19.0]


@pytest.mark.parametrize("kind", ["pool", "align", "crop"])
def test_grids_are_pooled_by_what_the_setting_names(kind, batch):
    system = make(pooling=kind)
    boxes, index = torch.cat(batch.proposals), torch.tensor([0, 0, 1])
    (maps,) = features = system.features(batch)
    pooled = system.describe(features, boxes, index).pooled
    wanted = [pool_regions(maps, boxes, index, kind, level).flatten(1) for level in (2, 1)]
    assert torch.equal(pooled, torch.cat(wanted, dim=1))
    if kind != "pool":
        assert not torch.allclose(pooled, make().describe(features, boxes, index).pooled)
        assert system.feature_settings() != make().feature_settings()


def test_a_region_is_pooled_where_its_area_is_nearest_to_224_squared():
    boxes = torch.tensor([[0.0, 0.0, 224.0, 224.0], [0.0, 0.0, 100.0, 100.0], [0.0, 0.0, 600.0, 600.0]])
    factors = [480 / 600, 1.0, 1200 / 600]
    assert nearest_scale(boxes, factors).tolist() == [1, 2, 0]
    for box, chosen in zip(boxes, nearest_scale(boxes, factors).tolist(), strict=True):
        area = float(box[2] * box[3])
        assert chosen == min(range(3), key=lambda place: abs(area * factors[place] ** 2 - 224**2))


def test_scales_see_the_image_at_their_sizes(batch):
    system = make(scales=(32, 64, 128))
    assert [maps.sizes for maps in system.features(batch)] == [((2, 3),), ((4, 6),), ((8, 12),)]
    # All these regions are small: they are pooled from the largest image.
    boxes, index = torch.cat(batch.proposals), torch.tensor([0, 0, 1])
    every, alone, plain = (
        each.describe(each.features(batch), boxes, index).pooled for each in (system, make(scales=(128,)), make())
    )
    assert torch.allclose(every, alone) and not torch.allclose(plain, alone)


def test_one_pass_an_image_and_no_gradient_reaches_the_convolutions(batch):
    system, passes = make(), []
    system.backbone.register_forward_hook(lambda module, given, out: passes.append(given[0].shape[0]))
    targets = [Target(torch.tensor([[3.0, 4.0, 50.0, 60.0]]), torch.tensor([0]), (64, 96)), Target.empty((64, 96))]
    system.loss(batch, targets)["classification"].value.backward()
    assert passes == [2]
    assert all(p.grad is None for p in system.backbone.parameters())
    learning = [name for name, p in system.named_parameters() if p.requires_grad]
    assert learning and all(name.startswith(("head.", "class_logits.")) for name in learning)


@pytest.mark.parametrize("changed", [{"levels": (3, 1)}, {"stride": 8}, {"scales": (128,)}])
def test_every_setting_of_pooling_is_seen_and_is_one_of_the_cache(batch, changed):
    one, other = make(), make(**changed)
    boxes, index = torch.cat(batch.proposals), torch.tensor([0, 0, 1])
    first, second = (each.describe(each.features(batch), boxes, index).pooled for each in (one, other))
    assert first.shape != second.shape or not torch.allclose(first, second)
    assert one.feature_settings() != other.feature_settings()


@pytest.mark.parametrize(
    ("settings", "told"), [({"levels": ()}, "levels"), ({"scales": (0,)}, "scales"), ({"stride": 2}, "stride is 2")]
)
def test_settings_that_make_no_sense_are_refused_by_name(settings, told):
    with pytest.raises(ConfigError, match=told):
        SPPNetConfig(**settings)
