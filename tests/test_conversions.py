"""Detections as dicts, COCO results and supervision's type."""

import json
import sys
import types
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as reference

from sightline.conversions import to_coco, to_dict, to_supervision
from sightline.errors import ConfigError
from sightline.structures import Classes, Detections

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # pycocotools on numpy 2

CLASSES = Classes(("cat", "zebra"), (17, 24))


def detections() -> Detections:
    masks = torch.zeros(2, 6, 8, dtype=torch.bool)
    masks[0, 1:3, 2:5] = True
    keypoints = torch.tensor([[[1.0, 2.0, 0.5]], [[3.0, 4.0, 0.25]]])
    boxes = torch.tensor([[1.0, 2.0, 4.0, 6.0], [0.0, 0.0, 8.0, 6.0]])
    return Detections(boxes, torch.tensor([0.75, 0.5]), torch.tensor([1, 0]), (6, 8), masks, keypoints)


def test_to_coco_gives_original_ids_and_widths() -> None:
    results = to_coco(detections(), 139, CLASSES)
    assert [r["category_id"] for r in results] == [24, 17]
    assert [r["bbox"] for r in results] == [[1, 2, 3, 4], [0, 0, 8, 6]]
    assert (results[0]["image_id"], results[0]["score"], results[1]["keypoints"]) == (139, 0.75, [3, 4, 0.25])
    assert json.loads(json.dumps(results)) == results
    assert np.array_equal(reference.decode(results[0]["segmentation"]), detections().masks[0].numpy())  # type: ignore[index]


def test_to_dict_is_plain() -> None:
    result = to_dict(detections(), CLASSES)
    assert json.loads(json.dumps(result)) == result
    assert result["size"] == [6, 8]
    first = result["detections"][0]
    assert (first["class"], first["label"], first["category_id"]) == ("zebra", 1, 24)
    assert (first["box"], first["score"], first["keypoints"]) == ([1, 2, 4, 6], 0.75, [[1, 2, 0.5]])


def test_no_detections() -> None:
    assert to_coco(Detections.empty((4, 5)), 1, CLASSES) == []
    assert to_dict(Detections.empty((4, 5)), CLASSES) == {"size": [4, 5], "detections": []}
    plain = Detections(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), torch.tensor([0]), (4, 5))
    assert set(to_coco(plain, 1, CLASSES)[0]) == {"image_id", "category_id", "bbox", "score"}


def test_to_supervision_passes_arrays_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def record(**fields: Any) -> dict[str, Any]:
        return fields

    stand_in = types.ModuleType("supervision")
    monkeypatch.setattr(stand_in, "Detections", record, raising=False)
    monkeypatch.setitem(sys.modules, "supervision", stand_in)
    fields = to_supervision(detections())
    assert fields["xyxy"].tolist() == [[1, 2, 4, 6], [0, 0, 8, 6]]
    assert fields["class_id"].tolist() == [1, 0]
    assert fields["confidence"].tolist() == [0.75, 0.5]
    assert fields["mask"].shape == (2, 6, 8)


def test_to_supervision_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ConfigError, match=r"sightline\[supervision\]"):
        to_supervision(detections())
