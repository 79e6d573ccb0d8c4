"""The baselines of Hosang et al.: what they draw, against the distributions that they are to have; the table."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch

import sightline
from sightline.errors import ConfigError
from sightline.proposals.build import PROPOSERS, build_proposer
from sightline.proposals.graph_segmentation import segment, sorted_edges
from sightline.proposals.region_features import smooth
from sightline.proposals.samplers import AnchorBoxes, Gaussian, SlidingWindow, Uniform, described
from sightline.proposals.superpixels import Superpixels


def noise(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", list(PROPOSERS))
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (37, 50), (4, 1000)])
def test_every_proposer_keeps_its_promises(name: str, size: tuple[int, int]) -> None:
    proposer = build_proposer(name)
    image = noise(*size)
    for count in (1, 60):
        found = proposer.propose(image, count)
        boxes = found.boxes
        assert 1 <= len(boxes) <= count
        assert (found.scores is not None) == proposer.scored
        assert boxes.min() >= 0 and boxes[:, 2].max() <= size[1] and boxes[:, 3].max() <= size[0]
        assert torch.equal(boxes, build_proposer(name).propose(image.clone(), count).boxes)


@pytest.mark.parametrize("proposer", [Uniform(), Gaussian()])
def test_draws_belong_to_seed_and_pixels(proposer: Uniform | Gaussian) -> None:
    boxes = proposer.propose(noise(30, 40), 100).boxes
    assert len(boxes) == 100
    assert not torch.equal(proposer.propose(noise(30, 40, seed=1), 100).boxes, boxes)
    assert not torch.equal(type(proposer)(seed=1).propose(noise(30, 40), 100).boxes, boxes)


def test_uniform_fills_its_ranges_evenly() -> None:
    proposer = Uniform(x=(0.4, 0.6), y=(0.45, 0.5), scale=(0.1, 0.3), log_aspect=(-0.5, 0.7))
    drawn = described(proposer.propose(noise(400, 600), 20_000).boxes, (400, 600))
    for column, (low, high) in enumerate(((0.4, 0.6), (0.45, 0.5), (0.1, 0.3), (-0.5, 0.7))):
        quarters = np.quantile(drawn[:, column], (0, 0.25, 0.5, 0.75, 1))
        assert quarters == pytest.approx(np.linspace(low, high, 5), abs=0.02 * (high - low))


def test_gaussian_has_its_mean_and_covariance() -> None:
    covariance = ((4e-3, 1e-3, 0.0, 0.0), (1e-3, 2e-3, 0.0, 0.0), (0.0, 0.0, 1e-3, 1e-3), (0.0, 0.0, 1e-3, 0.02))
    proposer = Gaussian(mean=(0.5, 0.45, 0.2, 0.3), covariance=covariance)
    drawn = described(proposer.propose(noise(400, 600), 40_000).boxes, (400, 600))
    assert drawn.mean(axis=0) == pytest.approx(proposer.mean, abs=3e-3)
    assert np.cov(drawn.T) == pytest.approx(np.array(covariance), abs=4e-4)


def test_fits_are_those_of_numpy_and_a_fitted_sampler_draws_like_its_objects() -> None:
    boxes = torch.tensor([[10.0, 20, 50, 40], [0, 0, 100, 50], [30, 10, 40, 50]])
    objects = described(boxes, (50, 100))
    assert objects[0] == pytest.approx((0.3, 0.6, (800 / 5000) ** 0.5, np.log(2)))
    assert Gaussian.fitted(objects).mean == pytest.approx(tuple(objects.mean(axis=0)))
    assert np.array(Gaussian.fitted(objects).covariance) == pytest.approx(np.cov(objects.T))
    assert Uniform.fitted(objects).y == pytest.approx(tuple(np.percentile(objects[:, 1], (0.5, 99.5))))
    alike = described(Gaussian.fitted(objects[:1]).propose(noise(50, 100), 5).boxes, (50, 100))
    assert alike == pytest.approx(np.repeat(objects[:1], 5, axis=0), abs=1e-3)
    for sampler in (Uniform, Gaussian):
        with pytest.raises(ConfigError, match="no objects"):
            sampler.fitted(objects[:0])


def test_windows_stand_on_a_grid_by_hand() -> None:
    """One size, half of a 40 x 20 image's longer side: 8 windows over 20 free pixels across and none down."""
    boxes = SlidingWindow(sides=(0.5,)).propose(noise(20, 40), 5).boxes
    assert boxes.tolist() == [[x, 0, x + 20, 20] for x in (0, 5, 10, 15, 20)]


def test_windows_share_out_their_count() -> None:
    boxes = SlidingWindow().propose(noise(375, 500), 2000).boxes
    sizes, counts = torch.unique((boxes[:, 2:] - boxes[:, :2]).round(), dim=0, return_counts=True)
    assert len(sizes) == 36
    assert 1900 <= len(boxes) <= 2000
    assert counts.min() >= 40 and counts.max() <= 64  # 55 or 56 each, and what others could not use
    assert len(SlidingWindow().propose(noise(375, 500), 1).boxes) == 1


def test_anchors_of_a_grid_by_hand() -> None:
    """11 asked of 2 + 2 - 1 a step: 3 steps side by side in 90 x 30 pixels, those at the border cut off."""
    proposer = AnchorBoxes(sizes=(1.0, 0.5), ratios=(1.0, 4.0))
    boxes = proposer.propose(noise(30, 90), 11).boxes
    whole = [[-15.0, -15, 15, 15], [-30, -7.5, 30, 7.5], [-7.5, -7.5, 7.5, 7.5]]  # s1 r1, s1 r2, s2 r1
    wanted = [(x + a, 15 + b, x + c, 15 + d) for x in (15, 45, 75) for a, b, c, d in whole]
    assert boxes.numpy() == pytest.approx(np.array([[max(a, 0), b, min(c, 90), d] for a, b, c, d in wanted]))


def test_anchors_have_their_ratio_in_pixels_where_the_grid_has_another_aspect() -> None:
    """One step in a wide image, and two in one of four to one: a ratio of 1 is a square of a share of the height."""
    proposer = AnchorBoxes(sizes=(0.5,), ratios=(1.0, 2.0))
    once = proposer.propose(noise(40, 160), 2).boxes
    (wide, high), (x, y) = (20 * 2**0.5 / 2, 20 / 2**0.5 / 2), (80, 20)
    assert once[0].tolist() == [70, 10, 90, 30]
    assert once[1].tolist() == pytest.approx([x - wide, y - high, x + wide, y + high], abs=1e-4)
    twice = proposer.propose(noise(40, 160), 4).boxes
    assert twice[[0, 2]].tolist() == [[30, 10, 50, 30], [110, 10, 130, 30]]


def test_anchors_are_as_many_as_the_grid_holds() -> None:
    boxes = AnchorBoxes().propose(noise(375, 500), 2000).boxes
    assert 1900 <= len(boxes) <= 2000
    assert len(torch.unique(boxes, dim=0)) > 1800
    assert len(AnchorBoxes().propose(noise(375, 500), 2).boxes) == 2


def test_superpixels_are_the_segments_of_the_graph_segmentation() -> None:
    image = noise(24, 30)
    image[:, :, 15:] //= 8
    labels, count = segment(sorted_edges(smooth(image.numpy().astype(np.float32), 0.8)), 100, 20)
    wanted = set()
    for label in range(count):
        rows, columns = np.nonzero(labels == label)
        wanted.add((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
    boxes = Superpixels().propose(image, 1000).boxes
    assert len(boxes) == len(wanted) > 1
    assert {tuple(box) for box in boxes.int().tolist()} == wanted


def test_the_table_names_its_proposers_and_refuses_others() -> None:
    assert all(PROPOSERS[name].name == name for name in PROPOSERS)
    assert PROPOSERS["superpixels"].segments and PROPOSERS["uniform"].controllable
    assert build_proposer("uniform", {"seed": 3, "scale": [0.1, 0.2]}) == Uniform(seed=3, scale=(0.1, 0.2))
    with pytest.raises(ConfigError, match=r"selective_search.*valid: selective_search, "):
        build_proposer("selective_serch")
    with pytest.raises(ConfigError, match="seed"):
        build_proposer("uniform", {"sed": 3})


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("uniform", {"seed": -1}),
        ("uniform", {"x": [0.5, 0.2]}),
        ("gaussian", {"covariance": [[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}),
        ("gaussian", {"covariance": [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}),
        ("sliding_window", {"sides": []}),
        ("sliding_window", {"sides": [0.0]}),
        ("anchors", {"sizes": []}),
        ("anchors", {"ratios": [-1.0]}),
        ("superpixels", {"smallest": 0}),
    ],
)
def test_settings_that_make_no_sense_are_refused(name: str, settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        build_proposer(name, settings)


def test_numba_is_imported_by_what_is_compiled_and_that_by_calls_alone() -> None:
    """Importing numba takes as long as a whole `sightline --help` may: only a call that needs it pays for it."""

    def imports(path: Path) -> set[str]:
        body = ast.parse(path.read_text(encoding="utf-8")).body
        named = [node.module or "" for node in body if isinstance(node, ast.ImportFrom)]
        return {*named, *(alias.name for node in body if isinstance(node, ast.Import) for alias in node.names)}

    root = Path(sightline.__file__).parent
    files = {f"sightline.{'.'.join(path.relative_to(root).with_suffix('').parts)}": path for path in root.rglob("*.py")}
    assert [name for name, path in files.items() if "numba" in imports(path)] == ["sightline.proposals.compiled"]
    compiled = {name for name, path in files.items() if "sightline.proposals.compiled" in imports(path)}
    assert len(compiled) >= 5
    heavy = {*compiled, "sightline.proposals.compiled"}
    assert {name for name, path in files.items() if imports(path) & heavy} <= compiled
