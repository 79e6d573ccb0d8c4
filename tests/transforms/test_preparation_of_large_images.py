"""Images much larger than wanted: decoded at a fraction of their size, or averaged, they give the same batch."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from sightline.data.dataset import Dataset, open_dataset
from sightline.data.decode import decode_image, read_image
from sightline.transforms.preparation import Preparation

LEVEL = 1 / 255


def waves(height: int, width: int) -> Image.Image:
    y, x = np.mgrid[:height, :width] / 90
    pixels = np.stack([(np.sin(x * k) + np.cos(y * (4 - k)) + 2) * 60 for k in (1, 2, 3)], axis=2)
    return Image.fromarray(pixels.astype(np.uint8))


def in_levels(preparation: Preparation, image: torch.Tensor) -> torch.Tensor:
    """A prepared image without the normalisation, 0..1."""
    std = torch.tensor(preparation.std)[:, None, None]
    return preparation.image(image) * std + torch.tensor(preparation.mean)[:, None, None]


@pytest.mark.parametrize("side", [64, 100, 200])
def test_decoding_at_a_fraction_and_averaging_are_the_same_picture(tmp_path: Path, side: int) -> None:
    waves(1600, 2400).save(tmp_path / "a.jpg", quality=95)
    check(tmp_path / "a.jpg", side)


def test_an_enlarged_photograph(tmp_path: Path, data_root: Path) -> None:
    photo = sorted((data_root / "datasets" / "coco_tiny" / "val2017").glob("*.jpg"))[0]
    with Image.open(photo) as image:
        image.convert("RGB").resize((2400, 1600), Image.Resampling.BICUBIC).save(tmp_path / "a.jpg", quality=90)
    for side in (64, 150, 300):
        check(tmp_path / "a.jpg", side)


def check(path: Path, side: int) -> None:
    preparation = Preparation(side, 2 * side)
    whole = read_image(path)
    size = (whole.shape[1], whole.shape[2])
    reduced = decode_image(path, at_least=preparation.shorter_side(size)).image
    assert reduced.shape[1] < whole.shape[1] / 1.9
    prepared = in_levels(preparation, whole), in_levels(preparation, reduced)
    assert prepared[0].shape == prepared[1].shape
    difference = (prepared[0] - prepared[1]).abs()
    assert difference.mean() < LEVEL and difference.max() < 12 * LEVEL


def test_large_images_are_averaged_and_others_are_not() -> None:
    torch.manual_seed(0)
    noise = torch.rand(3, 800, 1200)
    plain = Preparation(100, 150)
    averaged = F.interpolate(F.avg_pool2d(noise[None], 2), (100, 150), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(in_levels(plain, noise), averaged)
    other = Preparation(200, 300)  # four times as large as wanted
    untouched = F.interpolate(noise[None], (200, 300), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(in_levels(other, noise), untouched)
    assert averaged.std() < 0.75 * F.interpolate(noise[None], (100, 150), mode="bilinear")[0].std()


def make(folder: Path) -> Path:
    waves(400, 640).save(folder / "a.jpg", quality=95)
    image = {"id": 1, "file_name": "a.jpg", "height": 400, "width": 640}
    polygon = [80, 80, 240, 80, 240, 240, 80, 240]
    entry = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [80, 80, 160, 160], "area": 1000}
    entry |= {"segmentation": [polygon], "keypoints": [80, 88, 2, 0, 0, 0, 240, 400, 1]}
    category = {"id": 1, "name": "cat", "keypoints": ["a", "b", "c"]}
    path = folder / "set.json"
    path.write_text(json.dumps({"images": [image], "annotations": [entry], "categories": [category]}))
    return path


@pytest.mark.parametrize(("side", "factor"), [(400, 1), (70, 2), (40, 4), (20, 8)])
def test_targets_are_scaled_with_the_picture(tmp_path: Path, side: int, factor: int) -> None:
    data = open_dataset(make(tmp_path))
    reduced = Dataset(
        **{field: getattr(data, field) for field in ("root", "split", "classes", "records", "keypoint_names")},
        masks=True,
        shorter_side=lambda size: side if size == (400, 640) else 0,
    )[0]
    assert reduced.image.shape == (3, 400 // factor, 640 // factor)
    target = reduced.target
    assert target.size == (400 // factor, 640 // factor)
    assert target.boxes.tolist() == [[80 / factor, 80 / factor, 240 / factor, 240 / factor]]
    assert target.areas.tolist() == pytest.approx([1000 / factor**2])
    assert target.keypoints is not None and target.masks is not None
    assert target.keypoints[0].tolist() == [[80 / factor, 88 / factor, 2], [0, 0, 0], [240 / factor, 400 / factor, 1]]
    assert target.masks.shape == (1, *target.size)
    assert int(target.masks.sum()) == (160 // factor) ** 2
    rows, columns = torch.where(target.masks[0])
    assert (int(columns.min()), int(rows.min())) == (80 // factor, 80 // factor)


def test_a_prepared_target_is_the_same_whichever_way(tmp_path: Path) -> None:
    data = open_dataset(make(tmp_path))
    preparation = Preparation(40, 100)
    whole, reduced = (
        data[0].target,
        Dataset(data.root, data.split, data.classes, data.records, shorter_side=preparation.shorter_side)[0].target,
    )
    assert whole.size == (400, 640) and reduced.size == (100, 160)
    one, other = preparation.target(whole), preparation.target(reduced)
    assert one.size == other.size
    torch.testing.assert_close(one.boxes, other.boxes)
    torch.testing.assert_close(one.areas, other.areas)
