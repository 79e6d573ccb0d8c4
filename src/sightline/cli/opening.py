"""The model that the word MODEL of a command means."""

from typing import Any

from sightline.config import to_dict
from sightline.contract import NeuralSystem, System
from sightline.model_file import Calibration, read_header
from sightline.zoo import create, load, model_path

OFFICIAL = "coco"
"""The word for torchvision's Faster R-CNN as trained on COCO; ``./coco`` is a folder of that name."""


def open_model(text: str) -> System[Any]:
    """The system that a word means: a model file, a run folder, or ``coco``.

    Raises:
        ModelFileError: there is none, or it cannot be read or downloaded.
    """
    return create("faster_rcnn", weights=OFFICIAL) if text == OFFICIAL else load(text)


def calibration_of(text: str) -> Calibration | None:
    """Where the temperature of the model that a word means comes from; None where nobody fitted one."""
    return None if text == OFFICIAL else read_header(model_path(text)).calibration


def describe_model(text: str, system: System[Any]) -> dict[str, object]:
    """What a report says of the model that was opened by a word."""
    if text == OFFICIAL:
        config = to_dict(system.config) if isinstance(system, NeuralSystem) else {}
        return {"model": text, "system": system.name, "config": config}
    header = read_header(model_path(text))
    return {"model": text, "system": header.system, "config": header.config, "stage": header.stage}
