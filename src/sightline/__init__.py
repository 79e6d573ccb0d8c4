"""Every detector from HOG to DETR: train, judge, look inside, compare, export and serve.

The names below are loaded when they are first used, so that ``import sightline`` costs nothing and imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sightline.version import __version__

if TYPE_CHECKING:
    from sightline.comparing.compare import compare_systems
    from sightline.data.dataset import open_dataset
    from sightline.data.decode import read_image
    from sightline.evaluation.evaluate import evaluate
    from sightline.replicates import train_seeds
    from sightline.workflow import train
    from sightline.zoo import create, load

__all__ = [
    "__version__",
    "compare_systems",
    "create",
    "evaluate",
    "load",
    "open_dataset",
    "read_image",
    "train",
    "train_seeds",
]

_HOMES = {
    "compare_systems": "sightline.comparing.compare",
    "create": "sightline.zoo",
    "evaluate": "sightline.evaluation.evaluate",
    "load": "sightline.zoo",
    "open_dataset": "sightline.data.dataset",
    "read_image": "sightline.data.decode",
    "train": "sightline.workflow",
    "train_seeds": "sightline.replicates",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sightline' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
