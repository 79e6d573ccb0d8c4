"""What regions are to SVMs and regressors, and the stages on a system whose features can be seen through."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sightline.errors import ConfigError
from sightline.geometry.iou import pairwise_iou
from sightline.recipes import FitStopped, Workbench
from sightline.regions.svm import NEVER
from sightline.regions.svm_detector import RegionFeatures, SVMDetector, SVMDetectorConfig
from sightline.regions.svm_stages import FOLDER, cache_features, fit_regressors, fit_svms, regions_of
from sightline.structures import Classes, FeatureMaps, Sample, Target

SIDE = 40
OBJECT = torch.tensor([10.0, 10.0, 30.0, 30.0])


class Transparent(SVMDetector):
    """Describes a region by its place alone: four numbers for classes, the same four for boxes."""

    name = "transparent"

    def __init__(self, classes: int = 2, **settings: object) -> None:
        config = SVMDetectorConfig(short_side=SIDE, long_side=SIDE, **settings)
        super().__init__(config, Classes(tuple(f"class {i}" for i in range(classes))), None)
        self.scale = torch.nn.Parameter(torch.ones(()))
        self._end(hidden=4, pooled=4)

    def describe(self, features: Sequence[FeatureMaps], boxes: Tensor, image_index: Tensor) -> RegionFeatures:
        return RegionFeatures(boxes * self.scale / SIDE, boxes * self.scale)

    def feature_settings(self) -> dict[str, object]:
        return {"place": True}


@dataclass
class Bench:
    """A workbench that keeps what it is told."""

    lines: list[str]
    warnings: list[str] = field(default_factory=list)
    stop_after: int = 10**9

    def at(self, folder: Path) -> Workbench:
        asked = [0]

        def stopping() -> bool:
            asked[0] += 1
            return asked[0] > self.stop_after

        return Workbench(0, folder, lambda what, done, of: None, self.lines.append, self.warnings.append, stopping)


def sample(index: int, proposals: Tensor, boxes: Tensor | None = None, labels: Sequence[int] = (0,)) -> Sample:
    boxes = OBJECT[None] if boxes is None else boxes
    target = Target(boxes, torch.tensor(labels, dtype=torch.int64), (SIDE, SIDE))
    return Sample(torch.zeros(3, SIDE, SIDE, dtype=torch.uint8), target, index, proposals=proposals)


def around(count: int, seed: int, reach: float = 4.0) -> Tensor:
    """Boxes near the object."""
    shift = (torch.rand(count, 4, generator=torch.Generator().manual_seed(seed)) - 0.5) * 2 * reach
    return OBJECT + shift


def samples(count: int = 6) -> list[Sample]:
    far = torch.tensor([[0.0, 0.0, 8.0, 8.0], [30.0, 30.0, 40.0, 40.0], [0.0, 25.0, 9.0, 40.0]])
    return [sample(index, torch.cat([around(12, index), far])) for index in range(count)]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_regions_are_agrees_with_a_slow_loop():
    boxes = torch.tensor([[10.0, 10.0, 30.0, 30.0], [12.0, 8.0, 36.0, 28.0], [0.0, 0.0, 10.0, 10.0]])
    proposals = torch.cat([around(30, 1, 9.0), torch.tensor([[0.0, 0.0, 10.0, 10.0]])]).clamp(min=0)
    regions = regions_of(sample(0, proposals, boxes, (0, 1, 0)), 3)
    assert torch.equal(regions.boxes, torch.cat([boxes, proposals])) and regions.labels.tolist() == [0, 1, 0]
    overlap = pairwise_iou(regions.boxes, boxes)
    near = 0
    for row in range(len(regions.boxes)):
        for label, owners in enumerate(([0, 2], [1], [])):
            expected = all(float(overlap[row, owner]) < 0.3 for owner in owners)
            assert bool(regions.negative[row, label]) == expected
        best = max(range(3), key=lambda owner: float(overlap[row, owner]))
        if row >= 3 and float(overlap[row, best]) >= 0.6:
            assert (int(regions.near[near]), int(regions.owner[near])) == (row, best)
            near += 1
    assert near == len(regions.near) > 3


def test_what_nobody_labelled_is_neither_object_nor_background():
    target = Target(
        torch.stack([OBJECT, torch.tensor([0.0, 0.0, 9.0, 9.0])]),
        torch.tensor([0, 0]),
        (SIDE, SIDE),
        ignore=torch.tensor([False, True]),
    )
    crowd = torch.tensor([[1.0, 1.0, 8.0, 8.0], [30.0, 30.0, 40.0, 40.0]])
    regions = regions_of(Sample(torch.zeros(3, SIDE, SIDE, dtype=torch.uint8), target, 0, proposals=crowd), 1)
    assert regions.labels.tolist() == [0] and regions.negative[:, 0].tolist() == [False, False, True]


def test_the_stages_find_the_object_and_put_the_box_right(tmp_path):
    system, bench = Transparent(ridge=1.0), Bench([])
    train = samples(20)
    before = {name: p.clone() for name, p in system.named_parameters() if p.requires_grad}
    facts = cache_features(system, train, bench.at(tmp_path))
    assert facts["regions"] == 20 * 16 and facts["feature_bytes"] == sum(
        path.stat().st_size for path in (tmp_path / FOLDER).glob("*.float16")
    )
    fit_svms(system, train, bench.at(tmp_path))
    fit_regressors(system, train, bench.at(tmp_path))
    assert all(torch.equal(p, before[name]) for name, p in system.named_parameters() if p.requires_grad)
    proposals = torch.cat([OBJECT[None] + torch.tensor([3.0, 3.0, 3.0, 3.0]), torch.tensor([[0.0, 0.0, 8.0, 8.0]])])
    batch = system.preparation.batch_of([sample(0, proposals)])
    found = system.decode(system(batch), batch)[0]
    assert found.labels[0] == 0 and found.scores[0] > 0.5
    moved, unmoved = pairwise_iou(found.boxes[:1], OBJECT[None]), pairwise_iou(proposals[:1], OBJECT[None])
    assert moved > 0.9 > unmoved


def test_bare_classes_are_told_and_never_fire(tmp_path):
    system, bench = Transparent(classes=3), Bench([])
    train = samples(4)
    train[0] = sample(0, train[0].proposals, torch.stack([OBJECT, torch.tensor([0.0, 0.0, 9.0, 9.0])]), (0, 1))
    fit_svms(system, train, bench.at(tmp_path))
    fit_regressors(system, train, bench.at(tmp_path))
    told = "\n".join(bench.warnings)
    assert "class 'class 1' has one example" in told and "class 'class 2' has no example" in told
    assert "'class 0' has" not in told and "no proposal overlaps a 'class 2'" in told
    batch = system.preparation.batch_of([train[0]])
    assert system(batch).margins[:, 2].max() < -20
    assert all(2 not in found.labels for found in system.decode(system(batch), batch))


def test_a_photo_without_proposals_is_a_photo(tmp_path):
    system, bench = Transparent(), Bench([])
    train = [*samples(3), sample(3, torch.zeros(0, 4)), sample(4, torch.zeros(0, 4), torch.zeros(0, 4), ())]
    cache_features(system, train, bench.at(tmp_path))
    fit_svms(system, train, bench.at(tmp_path))
    fit_regressors(system, train, bench.at(tmp_path))
    batch = system.preparation.batch_of(train[3:])
    assert [len(found) for found in system.decode(system(batch), batch)] == [0, 0]
    loss = system.loss(batch, [train[4].target, train[4].target])["classification"]
    loss.value.backward()
    assert loss.count == 0 and loss.value == 0 and system.scale.grad is not None


def test_no_photo_has_proposals(tmp_path):
    system, bench = Transparent(), Bench([])
    train = [sample(index, torch.zeros(0, 4), torch.zeros(0, 4), ()) for index in range(2)]
    fit_svms(system, train, bench.at(tmp_path))
    fit_regressors(system, train, bench.at(tmp_path))
    assert not system.box_shifts.weight.any() and system.svms_fitted == 1


def test_it_stops_when_asked_and_goes_on_to_the_same_bytes(tmp_path):
    system, train = Transparent(), samples()
    cache_features(system, train, Bench([]).at(tmp_path / "whole"))
    for turn in range(3):
        with pytest.raises(FitStopped):
            cache_features(system, train, Bench([], stop_after=turn).at(tmp_path / "parts"))
    bench = Bench([])
    cache_features(system, train, bench.at(tmp_path / "parts"))
    assert bytes_of(tmp_path / "parts" / FOLDER) == bytes_of(tmp_path / "whole" / FOLDER)
    assert "features: those of 3 of 6 images are there already" in bench.lines


def test_mining_stops_when_asked_and_begins_anew_to_the_same_svms(tmp_path):
    whole, system, train = Transparent(hard_negatives=20), Transparent(hard_negatives=20), samples()
    fit_svms(whole, train, Bench([]).at(tmp_path / "whole"))
    cache_features(system, train, Bench([]).at(tmp_path / "cut"))
    for turn in range(12):  # before each of the images is read for its regions, and before each is mined
        with pytest.raises(FitStopped):
            fit_svms(system, train, Bench([], stop_after=turn).at(tmp_path / "cut"))
        assert not system.svms_fitted and not system.svms.weight.any()
    fit_svms(system, train, Bench([]).at(tmp_path / "cut"))
    assert system.svms.weight.any() and torch.equal(system.svms.weight, whole.svms.weight)


def test_regression_stops_when_asked_and_leaves_nothing_half_done(tmp_path):
    system, train = Transparent(classes=3), samples()
    cache_features(system, train, Bench([]).at(tmp_path))
    for turn in range(9):  # before each of the images, and before each of the classes
        with pytest.raises(FitStopped):
            fit_regressors(system, train, Bench([], stop_after=turn).at(tmp_path))
        assert not system.box_shifts.weight.any() and not system.box_shifts.bias.any()
    fit_regressors(system, train, Bench([], stop_after=9).at(tmp_path))
    assert system.box_shifts.weight[:4].any() and not system.box_shifts.weight[4:].any()


def test_features_of_other_weights_are_refused_by_name_and_deleted_ones_come_back(tmp_path):
    system, train, bench = Transparent(), samples(), Bench([])
    cache_features(system, train, bench.at(tmp_path))
    fit_svms(system, train, bench.at(tmp_path))  # what is fitted to features does not change them
    fit_svms(system, train, bench.at(tmp_path))
    before = bytes_of(tmp_path / FOLDER)
    with torch.no_grad():
        system.scale.fill_(2.0)
    with pytest.raises(ConfigError, match=r"weights is .* there and .* here"):
        fit_regressors(system, train, bench.at(tmp_path))
    with pytest.raises(ConfigError, match="images is 6 there and 5 here"):
        cache_features(system, train[:5], bench.at(tmp_path))
    assert bytes_of(tmp_path / FOLDER) == before
    for path in (tmp_path / FOLDER).iterdir():
        path.unlink()
    (tmp_path / FOLDER).rmdir()
    fit_regressors(system, train, bench.at(tmp_path))
    assert bytes_of(tmp_path / FOLDER).keys() == before.keys()


def test_the_cost_is_told(tmp_path):
    bench = Bench([])
    cache_features(Transparent(), samples(), bench.at(tmp_path))
    assert "for 96 regions in 0 s" in bench.lines[-1] and "for VOC 2007 would be 164 GB" in bench.lines[-1]


def test_until_there_are_svms_the_softmax_answers():
    system = Transparent()
    batch = system.preparation.batch_of([samples(1)[0]])
    raw = system(batch)
    assert torch.equal(system.scores(raw), raw.class_logits.softmax(dim=-1)[:, 1:])
    system.svms_fitted.fill_(1)
    assert torch.equal(system.scores(raw), raw.margins.sigmoid())


def test_new_svms_are_judged_without_the_regressors_of_an_earlier_training(tmp_path):
    system, train, bench = Transparent(ridge=1.0), samples(), Bench([])
    for stage in (cache_features, fit_svms, fit_regressors):
        stage(system, train, bench.at(tmp_path / "first"))
    assert system.box_shifts.weight.any()
    with torch.no_grad():
        system.scale.fill_(2.0)  # trained on from these weights
    fit_svms(system, train, bench.at(tmp_path / "second"))
    assert not system.box_shifts.weight.any() and not system.box_shifts.bias.any()


def test_one_class_on_photos_without_proposals_is_told_to_have_no_background(tmp_path):
    system, bench = Transparent(classes=1), Bench([])
    fit_svms(system, [sample(index, torch.zeros(0, 4)) for index in range(3)], bench.at(tmp_path))
    assert any("no region is background of class 'class 0'" in line for line in bench.warnings)
    assert system.svms.bias[0] == NEVER


@pytest.mark.parametrize("fit", [fit_svms, fit_regressors])
def test_features_of_other_boxes_are_refused_though_there_are_as_many(tmp_path, fit):
    system, train, bench = Transparent(), samples(), Bench([])
    cache_features(system, train, bench.at(tmp_path))
    fit(system, train, bench.at(tmp_path))
    train[3] = sample(3, train[3].proposals, OBJECT[None] + 1)
    with pytest.raises(ConfigError, match=r"image 4 are of other regions.* delete the folder features"):
        fit(system, train, bench.at(tmp_path))
