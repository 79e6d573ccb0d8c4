"""Detections in the forms that others use: plain dicts, COCO results, and supervision's type."""

from typing import Any

from sightline.data.segmentation import encode_mask
from sightline.errors import ConfigError
from sightline.structures import Classes, Detections


def to_dict(detections: Detections, classes: Classes) -> dict[str, Any]:
    """One image's detections as plain numbers and texts, ready for JSON.

    Args:
        detections: of one image, N of them.
        classes: the model's.

    Returns:
        ``size`` [H, W] and ``detections``, a list of N dicts: ``class``, ``label``, ``category_id``, ``score`` and
        ``box`` [x1, y1, x2, y2]; with ``mask`` (COCO run lengths) and ``keypoints`` [[x, y, score], ...] where the
        detections have them.
    """
    found = []
    for i, (label, score, box) in enumerate(_rows(detections)):
        entry: dict[str, Any] = {
            "class": classes.names[label],
            "label": label,
            "category_id": classes.ids[label],
            "score": score,
            "box": box,
        }
        if detections.masks is not None:
            entry["mask"] = encode_mask(detections.masks[i])
        if detections.keypoints is not None:
            entry["keypoints"] = detections.keypoints[i].tolist()
        found.append(entry)
    return {"size": list(detections.size), "detections": found}


def to_coco(detections: Detections, image_id: int, classes: Classes) -> list[dict[str, Any]]:
    """One image's detections as COCO results (cocodataset.org/#format-results).

    Args:
        detections: of one image, N of them.
        image_id: the image's id in the data set.
        classes: give the original category ids.

    Returns:
        N dicts: ``image_id``, ``category_id``, ``bbox`` [x, y, width, height] and ``score``; with ``segmentation``
        (run lengths) and ``keypoints`` [x, y, score, ...] where the detections have them.
    """
    results = []
    for i, (label, score, (x1, y1, x2, y2)) in enumerate(_rows(detections)):
        entry: dict[str, Any] = {
            "image_id": image_id,
            "category_id": classes.ids[label],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        if detections.masks is not None:
            entry["segmentation"] = encode_mask(detections.masks[i])
        if detections.keypoints is not None:
            entry["keypoints"] = detections.keypoints[i].flatten().tolist()
        results.append(entry)
    return results


def to_supervision(detections: Detections) -> Any:
    """The same detections as a ``supervision.Detections``; keypoints, which that type lacks, stay behind.

    Raises:
        ConfigError: supervision is not installed.
    """
    try:
        import supervision
    except ImportError as error:
        raise ConfigError("supervision is not installed", cure="pip install 'sightline[supervision]'") from error
    return supervision.Detections(
        xyxy=detections.boxes.cpu().numpy(),
        confidence=detections.scores.cpu().numpy(),
        class_id=detections.labels.cpu().numpy(),
        mask=None if detections.masks is None else detections.masks.cpu().numpy(),
    )


def _rows(detections: Detections) -> list[tuple[int, float, list[float]]]:
    """Label, score and box of each detection as Python numbers."""
    columns = detections.labels.tolist(), detections.scores.tolist(), detections.boxes.tolist()
    return list(zip(*columns, strict=True))
