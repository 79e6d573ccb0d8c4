"""By which rules the same detections are judged, and what they are called."""

from collections.abc import Sequence
from typing import Literal, get_args

from sightline.config import closest
from sightline.errors import ConfigError
from sightline.evaluation.columns import Kind

Protocol = Literal["coco", "voc07", "voc12"]

PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
"""COCO's, and Pascal VOC's of 2007 and of 2010 to 2012."""


def choose_protocols(words: Sequence[str] | None, kind: Kind = "boxes") -> tuple[Protocol, ...]:
    """The protocols that words mean, in our order; COCO's where there are none.

    Args:
        words: names, or ``all``: those that judge what is judged.
        kind: what is judged.

    Raises:
        ConfigError: an unknown name, or a protocol of VOC where it is not boxes that are judged.
    """
    if not words:
        return ("coco",)
    unknown = next((word for word in words if word not in (*PROTOCOLS, "all")), None)
    if unknown is not None:
        raise ConfigError(f"unknown protocol {unknown!r}", cure=closest(unknown, [*PROTOCOLS, "all"]))
    if kind == "boxes":
        return PROTOCOLS if "all" in words else tuple(name for name in PROTOCOLS if name in words)
    of_boxes = next((word for word in words if word.startswith("voc")), None)
    if of_boxes is not None:
        raise ConfigError(
            f"the protocol {of_boxes} judges boxes, not {kind}", cure="choose --protocol coco, or --task boxes"
        )
    return ("coco",)
