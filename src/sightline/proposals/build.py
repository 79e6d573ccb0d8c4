"""The table of proposers: one dict, name to class. Those inside a network (the RPN) are parts of their systems."""

from collections.abc import Mapping
from pathlib import Path

from sightline.config import closest, parse_settings
from sightline.errors import ConfigError
from sightline.proposals.proposer import Proposer
from sightline.proposals.samplers import AnchorBoxes, Gaussian, SlidingWindow, Uniform
from sightline.proposals.selective_search import SelectiveSearch, SelectiveSearchQuality
from sightline.proposals.superpixels import Superpixels

PROPOSERS: dict[str, type[Proposer]] = {
    proposer.name: proposer
    for proposer in (
        SelectiveSearch,
        SelectiveSearchQuality,
        SlidingWindow,
        AnchorBoxes,
        Uniform,
        Gaussian,
        Superpixels,
    )
}
"""All that stand before a system, by name."""


def build_proposer(name: str, settings: Mapping[str, object] | None = None) -> Proposer:
    """A proposer by its name.

    Args:
        name: in the table.
        settings: values of its fields that differ from the defaults.

    Raises:
        ConfigError: an unknown name or setting (says which are valid), or a value that makes no sense.
    """
    if name not in PROPOSERS:
        known = closest(name, tuple(PROPOSERS))
        raise ConfigError(
            f"there is no proposer {name!r}",
            cure=f"{known}; or, before a detector, the file or run folder of a trained model whose RPN proposes",
        )
    return parse_settings(PROPOSERS[name], settings or {})


def names_model(name: str) -> bool:
    """Whether a proposer's name is the place of a trained model, whose region proposal network is meant."""
    return name not in PROPOSERS and (len(Path(name).parts) > 1 or name.endswith(".safetensors") or Path(name).exists())
