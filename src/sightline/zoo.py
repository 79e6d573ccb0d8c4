"""The catalogue: name -> how to build it. The only file that names every system.

A system's module is imported when the system is first asked for, so that listing the catalogue costs nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from sightline.config import closest, parse_settings
from sightline.errors import ConfigError, ModelFileError

if TYPE_CHECKING:
    from sightline.contract import System, Task
    from sightline.structures import Classes

MODEL_FILE = "best.safetensors"


@dataclass(frozen=True)
class Entry:
    """One row of the catalogue.

    Args:
        system: ``module:class``; the class is called with (config, classes, backbone_weights=...).
        preset: ``module:callable`` that gives the configuration of this name when called without arguments.
        task: what kind of answer the system gives.
        summary: one line for people.
        paper: authors, title, year.
        foreign: ``module:function`` called with (config, classes, weights), which builds the system from weights that
            Sightline did not write: a name such as "coco", or a file; None where the system knows none.
    """

    system: str
    preset: str
    task: "Task"
    summary: str
    paper: str
    foreign: str | None = None

    def system_class(self) -> Any:
        """The class of the system; imports its module."""
        return _object(self.system)

    def default_config(self) -> Any:
        """The configuration of this name; imports the system's module."""
        return _object(self.preset)()


_FASTER_RCNN = "sightline.detectors.faster_rcnn"
_FASTER_RCNN_PAPER = "Ren, He, Girshick, Sun: Faster R-CNN, 2015"

CATALOGUE: Mapping[str, Entry] = MappingProxyType(
    {
        "faster_rcnn": Entry(
            f"{_FASTER_RCNN}:FasterRCNN",
            f"{_FASTER_RCNN}:FasterRCNNConfig",
            "detection",
            "two stages on a feature pyramid, trained jointly; ResNet-50 unless told otherwise",
            f"{_FASTER_RCNN_PAPER}; Lin et al.: Feature Pyramid Networks, 2017",
            foreign=f"{_FASTER_RCNN}_weights:faster_rcnn_from",
        ),
        "faster_rcnn_vgg16": Entry(
            f"{_FASTER_RCNN}:FasterRCNN",
            f"{_FASTER_RCNN}:vgg16",
            "detection",
            "the paper's own: one feature map of VGG-16, head of fc6 and fc7",
            _FASTER_RCNN_PAPER,
        ),
        "faster_rcnn_c4": Entry(
            f"{_FASTER_RCNN}:FasterRCNN",
            f"{_FASTER_RCNN}:c4",
            "detection",
            "one feature map of ResNet-50 (conv4), head of conv5 on each region",
            f"{_FASTER_RCNN_PAPER}; He et al.: Deep Residual Learning, 2016",
        ),
    }
)


def entry(name: str) -> Entry:
    """The row of a name.

    Raises:
        ConfigError: no system of that name.
    """
    if name not in CATALOGUE:
        raise ConfigError(f"unknown model {name!r}", cure=closest(name, list(CATALOGUE)))
    return CATALOGUE[name]


def configure(name: str, settings: Mapping[str, object] | None = None) -> Any:
    """The configuration of a name with some settings changed.

    Raises:
        ConfigError: no system of that name, an unknown setting or a value that does not fit.
    """
    config = entry(name).default_config()
    return parse_settings(type(config), settings or {}, base=config)


def create(
    name: str,
    *,
    classes: "Classes | Sequence[str]",
    settings: Mapping[str, object] | None = None,
    weights: str | Path | None = None,
    backbone_weights: str | Path | None = None,
) -> "System[Any]":
    """A new system.

    Args:
        name: a name of the catalogue (``sightline models``).
        classes: what it is to find: a data set's classes, or names.
        settings: values of its configuration by field name (``sightline models NAME``); the rest stay as they are.
        weights: of the whole system: a Sightline model file, or what the system itself offers ("coco": torchvision's);
            None for random ones.
        backbone_weights: of the backbone alone: "imagenet", or a safetensors file with torchvision's names; None for
            random ones.

    Raises:
        ConfigError: no system of that name, or settings that do not fit.
        ModelFileError: weights that cannot be read or do not fit.
    """
    from sightline.runtime import tune_allocator
    from sightline.structures import Classes

    tune_allocator()
    row, config = entry(name), configure(name, settings)
    if not isinstance(classes, Classes):
        classes = Classes(tuple(classes))
    if not len(classes):
        raise ConfigError("a system needs at least one class", cure="name what it is to find")
    if weights is not None and backbone_weights is not None:
        raise ConfigError(
            "weights and backbone weights are both given",
            cause="the weights hold a backbone",
            cure="give one of the two",
        )
    if weights is None:
        start = None if backbone_weights is None else str(backbone_weights)
        return cast("System[Any]", row.system_class()(config, classes, backbone_weights=start))
    return _create_from(row, config, classes, weights)


def load(path: str | Path) -> "System[Any]":
    """The system of a model file, with its weights, ready to predict.

    Args:
        path: a Sightline model file, or a run folder (its best model is taken).

    Raises:
        ModelFileError: the file is missing, damaged, foreign, or of a system that this version does not know.
    """
    from sightline.model_file import load_weights, read_header
    from sightline.runtime import tune_allocator
    from sightline.transforms.preparation import Preparation

    tune_allocator()
    place = model_path(path)
    header = read_header(place)
    if header.system not in CATALOGUE:
        raise ModelFileError(
            f"holds a system that this version does not know: {header.system!r}",
            place=place,
            cause="a newer version of Sightline wrote it",
            cure=closest(header.system, list(CATALOGUE)),
        )
    row = CATALOGUE[header.system]
    config_class = type(row.default_config())
    try:
        config = parse_settings(config_class, header.config)
    except ConfigError as error:
        raise ModelFileError(
            f"holds a configuration that this version does not know: {error.what}",
            place=place,
            cause="another version of Sightline wrote it",
            cure=f"load it with Sightline {header.versions.get('sightline', 'of its own time')}",
        ) from error
    system = row.system_class()(config, header.classes)
    load_weights(place, system)
    system.preparation = parse_settings(Preparation, header.preparation)
    return cast("System[Any]", system)


def model_path(path: str | Path) -> Path:
    """The model file that a path means: itself, or the best model of a run folder.

    Raises:
        ModelFileError: there is none.
    """
    place = Path(path)
    if place.is_dir():
        if not (place / MODEL_FILE).is_file():
            raise ModelFileError(
                f"a folder without {MODEL_FILE}", place=place, cure="name a model file, or the folder of a finished run"
            )
        return place / MODEL_FILE
    if not place.is_file():
        raise ModelFileError(
            "no such model file", place=place, cure="name a model file or the folder of a finished run"
        )
    return place


def _create_from(row: Entry, config: Any, classes: "Classes", weights: str | Path) -> "System[Any]":
    """A system that starts from the weights of a whole one."""
    from sightline.model_file import is_model_file, load_weights

    place = Path(weights)
    if place.is_dir() or (place.is_file() and is_model_file(place)):
        system = row.system_class()(config, classes)
        load_weights(model_path(place), system)
        return cast("System[Any]", system)
    if row.foreign is None:
        raise ModelFileError(
            "is no model file of Sightline's, and this model reads no other",
            place=place,
            cure="name a model file that Sightline wrote",
        )
    return cast("System[Any]", _object(row.foreign)(config, classes, str(weights)))


def _object(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
