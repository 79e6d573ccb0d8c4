"""Scenes: what is true of a made picture, and that one seed means one set."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from sightline.data.scenes.config import ScenesConfig
from sightline.data.scenes.layout import lay_out
from sightline.data.scenes.render import render
from sightline.data.scenes.scenes import CLASS_NAMES, KEYPOINT_NAMES, make_sample
from sightline.errors import ConfigError

HARD = ScenesConfig(size=(96, 128), scale=(0.08, 0.6), objects=(2, 6), difficulty=1.0)
PLAIN = replace(HARD, difficulty=0.0)


def digest(config: ScenesConfig, split: str = "train", index: int = 0) -> str:
    picture = render(config, split, index)
    parts = (picture.image, picture.labels, picture.masks, picture.boxes, picture.keypoints)
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def test_a_picture_is_the_same_whatever_else_is_made() -> None:
    forwards = [digest(HARD, index=i) for i in range(3)]
    backwards = [digest(replace(HARD, images=7), index=i) for i in (2, 1, 0)]
    assert forwards == backwards[::-1]
    assert len(set(forwards)) == 3


def test_seed_and_split_make_other_pictures() -> None:
    assert len({digest(HARD), digest(replace(HARD, seed=1)), digest(HARD, "val"), digest(HARD, "test")}) == 4


def test_the_truth_of_this_seed_stays_what_it_is() -> None:
    # A change here changes everyone's sets; it must not come from another machine or another numpy.
    picture = render(ScenesConfig(), "train", 1)
    assert picture.labels.tolist() == [3, 10, 2, 8, 0, 11]
    assert picture.boxes[:2].tolist() == [[157, 74, 245, 172], [90, 133, 108, 153]]
    assert picture.masks.sum(axis=(1, 2)).tolist() == [5044, 203, 317, 111, 2652, 290]


@pytest.mark.parametrize("index", range(6))
def test_boxes_are_the_boxes_of_masks_that_do_not_overlap(index: int) -> None:
    target = make_sample(HARD, "val", index).target
    assert target.masks is not None
    assert int(target.masks.sum(dim=0).max()) == 1
    for box, mask, area in zip(target.boxes, target.masks, target.areas, strict=True):
        rows, columns = torch.nonzero(mask, as_tuple=True)
        wanted = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert box.tolist() == [int(side) for side in wanted]
        assert int(area) == int(mask.sum())


def test_sample_has_the_picture_and_an_id_from_one() -> None:
    sample = make_sample(HARD, "test", 4)
    assert sample.image_id == 5
    assert sample.image.dtype == torch.uint8
    assert np.array_equal(sample.image.permute(1, 2, 0).numpy(), render(HARD, "test", 4).image)
    assert make_sample(replace(HARD, objects=(0, 0)), "test", 4).target.boxes.shape == (0, 4)


def test_no_object_is_hidden_by_more_than_seven_tenths() -> None:
    for index in range(25):
        layout = lay_out(HARD, "train", index)
        for thing, seen in zip(layout.things, layout.seen, strict=True):
            if thing.label >= 0:
                assert seen.sum() >= 0.3 * (thing.cover >= 0.5).sum()


def test_sizes_span_the_scale_and_never_leave_it() -> None:
    config = ScenesConfig()
    pictures = [lay_out(config, "train", i) for i in range(150)]
    lengths = np.array([thing.length for layout in pictures for thing in layout.things if thing.label >= 0]) / 192
    assert lengths.min() >= 0.04
    assert lengths.max() <= 0.60
    assert (np.histogram(lengths, [0.04, 0.08, 0.15, 0.3, 0.45, 0.6])[0] >= 0.08 * len(lengths)).all()


def test_the_length_is_the_longer_side_of_the_outline() -> None:
    for thing in lay_out(PLAIN, "train", 3).things:
        assert max(thing.cover.shape) == pytest.approx(thing.length, abs=2)


def test_classes_occur_about_equally() -> None:
    layouts = [lay_out(ScenesConfig(), "train", i) for i in range(300)]
    labels = [thing.label for layout in layouts for thing in layout.things if thing.label >= 0]
    counts = np.bincount(labels, minlength=len(CLASS_NAMES))
    assert len(counts) == 12
    assert counts.min() > 0.65 * counts.mean()
    assert counts.max() < 1.35 * counts.mean()


def test_keypoints_are_seen_on_their_own_object_and_hidden_on_others() -> None:
    found = {0: 0, 1: 0, 2: 0}
    for index in range(12):
        picture = render(HARD, "train", index)
        for place, points in enumerate(picture.keypoints):
            assert points.shape == (len(KEYPOINT_NAMES), 3)
            for x, y, visibility in points:
                found[int(visibility)] += 1
                others = np.delete(picture.masks, place, axis=0)
                if visibility == 0:
                    assert (x, y) == (0, 0)
                elif others[:, int(y), int(x)].any() and visibility == 2:
                    # Only things behind this one may show at a keypoint that counts as seen: in a hole or at an edge.
                    assert others[place:, int(y), int(x)].any()
                elif visibility == 1:
                    assert not picture.masks[place, int(y), int(x)]
    assert min(found.values()) > 0


def test_keypoints_lie_on_the_object_in_the_picture() -> None:
    for index in range(6):
        picture = render(PLAIN, "train", index)
        assert (picture.keypoints[..., 2] == 2).all()
        for mask, points in zip(picture.masks, picture.keypoints[:, 1:], strict=True):
            rows, columns = np.nonzero(mask)
            for x, y, _ in points:
                assert np.hypot(columns + 0.5 - x, rows + 0.5 - y).min() < 2.5


def test_plain_pictures_hide_nothing_and_have_no_clutter() -> None:
    for index in range(8):
        layout = lay_out(replace(HARD, occlusion=0.0, clutter=0.0), "train", index)
        assert all(thing.label >= 0 for thing in layout.things)
        for thing, seen in zip(layout.things, layout.seen, strict=True):
            assert seen.sum() == (thing.cover >= 0.5).sum()


def test_rotation_turns_objects_as_far_as_it_says() -> None:
    for rotation, limit in ((0.0, 0.0), (0.5, np.pi / 4), (1.0, np.pi)):
        layouts = [lay_out(replace(HARD, rotation=rotation), "train", i) for i in range(20)]
        angles = [abs(thing.angle) for layout in layouts for thing in layout.things if thing.label >= 0]
        assert 0.9 * limit <= max(angles) <= limit


def test_clutter_alone_never_covers_an_object() -> None:
    layout = lay_out(replace(HARD, occlusion=0.0, clutter=1.0), "train", 2)
    labels = [thing.label for thing in layout.things]
    assert -1 in labels
    assert labels == sorted(labels, key=lambda label: label < 0)


def test_without_texture_and_shading_an_object_has_one_colour() -> None:
    picture = render(replace(HARD, difficulty=0.0), "train", 1)
    large = [mask for mask in picture.masks if mask.sum() > 300]
    assert large
    for mask in large:
        _, counts = np.unique(picture.image[mask], axis=0, return_counts=True)
        assert counts.max() > 0.6 * counts.sum()
    for knob in ("texture", "shading", "noise"):
        assert not np.array_equal(render(replace(PLAIN, **{knob: 1.0}), "train", 1).image, picture.image)


@pytest.mark.parametrize("knob", ["texture", "shading", "noise"])
def test_knobs_of_paint_leave_the_truth_alone(knob: str) -> None:
    plain, other = render(HARD, "train", 0), render(replace(HARD, **{knob: 0.0}), "train", 0)
    assert np.array_equal(plain.masks, other.masks)
    assert not np.array_equal(plain.image, other.image)


def test_a_knob_that_is_not_set_follows_the_difficulty() -> None:
    knobs = dict.fromkeys(("occlusion", "clutter", "texture", "shading", "noise", "rotation"), 0.3)
    assert digest(replace(HARD, difficulty=0.3)) == digest(replace(HARD, difficulty=0.9, **knobs))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"images": -1}, "images"),
        ({"seed": -3}, "seed"),
        ({"size": (16, 256)}, "size"),
        ({"objects": (4, 2)}, "objects"),
        ({"scale": (0.5, 0.2)}, "scale"),
        ({"scale": (0.01, 0.2)}, "scale"),
        ({"difficulty": 1.5}, "difficulty"),
        ({"difficulty": None}, "difficulty"),
        ({"noise": float("nan")}, "noise"),
    ],
)
def test_values_out_of_range_are_refused_by_name(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=f"{named} is .*cure: give {named}"):
        replace(ScenesConfig(), **wrong)


def test_unknown_split_and_negative_index_are_refused() -> None:
    with pytest.raises(ValueError, match="train, val, test"):
        make_sample(HARD, "training", 0)
    with pytest.raises(ValueError, match="0 or more"):
        make_sample(HARD, "train", -1)
