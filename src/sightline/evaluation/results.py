"""Results files as COCO has them (cocodataset.org/#format-results): a JSON list with one row a detection."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from sightline.classes import Classes
from sightline.evaluation.columns import Found, xywh
from sightline.files import write_atomically


def save_results(path: Path, found: Found, image_ids: tuple[int, ...], classes: Classes) -> None:
    """Write detections as COCO results, in one move.

    Args:
        path: the file to make or replace.
        found: the detections.
        image_ids: of the images.
        classes: give the original category ids.

    Raises:
        ValueError: ids of more or fewer images.
        OSError: the file cannot be written.
    """
    if len(image_ids) != found.count:
        raise ValueError(f"detections of {found.count} images, but {len(image_ids)} image ids")
    write_atomically(path, msgspec.json.encode(list(_rows(found, image_ids, classes))).decode())


def _rows(found: Found, image_ids: tuple[int, ...], classes: Classes) -> Iterator[dict[str, Any]]:
    columns = found.images.tolist(), found.labels.tolist(), xywh(found).tolist(), found.scores.tolist()
    for row, (image, label, box, score) in enumerate(zip(*columns, strict=True)):
        entry = {"image_id": image_ids[image], "category_id": classes.ids[label], "bbox": box, "score": score}
        if found.segmentations is not None:
            entry["segmentation"] = found.segmentations[row]
        if found.keypoints is not None:
            entry["keypoints"] = found.keypoints[row].reshape(-1).tolist()
        yield entry
