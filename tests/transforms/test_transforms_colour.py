"""Colour changes against torchvision's functionals and Python's colorsys, and what is drawn how often."""

import colorsys
from collections import Counter

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as v2

from sightline.errors import ConfigError
from sightline.structures import Sample, Target
from sightline.transforms.colour import ColourJitter, Colours, PhotometricDistortion, recolour, shift_hue


def an_image(seed: int = 0, side: int = 40) -> torch.Tensor:
    return torch.randint(0, 256, (3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def worst(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one.float() - other.float()).abs().max())


@pytest.mark.parametrize(
    ("step", "reference"),
    [
        (("brightness", 1.3), lambda image: v2.adjust_brightness(image, 1.3)),
        (("brightness", 0.4), lambda image: v2.adjust_brightness(image, 0.4)),
        (("contrast", 1.5), lambda image: v2.adjust_contrast(image, 1.5)),
        (("contrast", 0.0), lambda image: v2.adjust_contrast(image, 0.0)),
        (("saturation", 1.5), lambda image: v2.adjust_saturation(image, 1.5)),
        (("saturation", 0.0), lambda image: v2.adjust_saturation(image, 0.0)),
        (("hue", 0.05), lambda image: v2.adjust_hue(image, 0.05)),
        (("hue", -0.4), lambda image: v2.adjust_hue(image, -0.4)),
    ],
)
def test_each_step_agrees_with_torchvision(step: tuple[str, float], reference: object) -> None:
    image = an_image()
    assert worst(recolour(image, Colours((step,))), reference(image)) <= 1  # type: ignore[operator]
    floating = recolour(image / 255, Colours((step,)))
    assert worst(floating, reference(image / 255)) <= 2e-3  # type: ignore[operator]


def test_hue_agrees_with_colorsys_on_every_corner() -> None:
    levels = torch.tensor([0.0, 0.2, 0.5, 1.0])
    colours = torch.cartesian_prod(levels, levels, levels).T.contiguous()
    for turn in (-0.5, -0.21, 0.0, 0.05, 1 / 6, 0.5):
        pixels = colours.clone()
        shift_hue(pixels, turn)
        for before, after in zip(colours.T.tolist(), pixels.T.tolist(), strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*before)
            assert after == pytest.approx(colorsys.hsv_to_rgb((hue + turn) % 1.0, saturation, value), abs=1e-5)


def test_a_whole_distortion_agrees_with_torchvision() -> None:
    image = an_image(3)
    steps = (("contrast", 1.2), ("saturation", 0.7), ("hue", 0.03), ("brightness", 0.9))
    expected = v2.adjust_hue(v2.adjust_saturation(v2.adjust_contrast(image, 1.2), 0.7), 0.03)
    expected = v2.permute_channels(v2.adjust_brightness(expected, 0.9), [2, 0, 1])
    ours = recolour(image, Colours(steps, (2, 0, 1)))
    # Truncation after each of four steps costs torchvision up to four levels.
    assert worst(ours, expected) <= 4 and (ours.float() - expected.float()).abs().mean() < 2


def test_the_distortion_draws_each_step_half_the_time() -> None:
    rng, distortion = np.random.default_rng(0), PhotometricDistortion()
    draws = [distortion.draw(rng) for _ in range(2000)]
    counts = Counter(name for draw in draws for name, _ in draw.steps)
    assert all(900 < counts[name] < 1100 for name in ("brightness", "contrast", "saturation", "hue"))
    assert all(0.5 <= factor <= 1.5 for draw in draws for name, factor in draw.steps if name == "contrast")
    both = [[name for name, _ in draw.steps] for draw in draws]
    places = Counter(names.index("contrast") > names.index("hue") for names in both if {"contrast", "hue"} <= {*names})
    assert 0.4 < places[True] / places.total() < 0.6
    moved = sum(draw.order != (0, 1, 2) for draw in draws)
    assert 733 < moved < 933  # half of them, of which one in six stays by chance


def test_jitter_shuffles_and_leaves_out_what_is_switched_off() -> None:
    rng = np.random.default_rng(0)
    orders = {tuple(name for name, _ in ColourJitter().draw(rng).steps) for _ in range(100)}
    assert len(orders) == 6
    still = ColourJitter((1.0, 1.0), (1.0, 1.0), (1.0, 1.0))
    sample = Sample(an_image(), Target.empty((40, 40)), 0)
    assert still(sample, rng).image is sample.image


@pytest.mark.parametrize("fields", [{"hue": (-0.6, 0.0)}, {"contrast": (-1.0, 1.0)}, {"brightness": (1.2, 0.8)}])
def test_senseless_ranges_are_refused(fields: dict[str, tuple[float, float]]) -> None:
    for kind in (PhotometricDistortion, ColourJitter):
        with pytest.raises(ConfigError, match=next(iter(fields))):
            kind(**fields)
