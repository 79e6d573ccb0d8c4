"""The catalogue: name -> how to build it. The only file that names every system.

A system's module is imported when the system is first asked for, so that listing the catalogue costs nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from sightline.config import closest, parse_settings, to_dict
from sightline.errors import ConfigError, ModelFileError

if TYPE_CHECKING:
    from sightline.contract import System, Task
    from sightline.model_file import ModelHeader
    from sightline.regions.rpn_proposer import RPNProposer
    from sightline.structures import Classes

MODEL_FILE = "best.safetensors"
_OFFERED = ("coco", "imagenet")
"""Names of weights that torchvision's catalogue offers."""


@dataclass(frozen=True)
class Entry:
    """One row of the catalogue.

    Args:
        system: ``module:class``; the class is called with (config, classes, backbone_weights=...).
        preset: ``module:callable`` that gives the configuration of this name when called without arguments.
        task: what kind of answer the system gives.
        summary: one line for people.
        paper: authors, title, year.
        foreign: ``module:function`` called with (config, classes or None, weights), which builds the system from
            weights that Sightline did not write: a name such as "coco", or a file; None where the system knows none.
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


_FAST_RCNN = "sightline.detectors.fast_rcnn"
_FASTER_RCNN = "sightline.detectors.faster_rcnn"
_MASK_RCNN = "sightline.detectors.mask_rcnn"
_KEYPOINT_RCNN = "sightline.detectors.keypoint_rcnn"
_MASK_RCNN_PAPER = "He, Gkioxari, Dollar, Girshick: Mask R-CNN, 2017"
_FASTER_RCNN_PAPER = "Ren, He, Girshick, Sun: Faster R-CNN, 2015"

CATALOGUE: Mapping[str, Entry] = MappingProxyType(
    {
        "fast_rcnn": Entry(
            f"{_FAST_RCNN}:FastRCNN",
            f"{_FAST_RCNN}:FastRCNNConfig",
            "detection",
            "pools proposals from outside from one pass; classes and boxes jointly; VGG-16 unless told otherwise",
            "Girshick: Fast R-CNN, 2015",
        ),
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
        "faster_rcnn_alternating": Entry(
            f"{_FASTER_RCNN}:FasterRCNN",
            f"{_FASTER_RCNN}:alternating",
            "detection",
            "the pyramid form, trained in the paper's four stages instead of jointly",
            _FASTER_RCNN_PAPER,
        ),
        "faster_rcnn_c4": Entry(
            f"{_FASTER_RCNN}:FasterRCNN",
            f"{_FASTER_RCNN}:c4",
            "detection",
            "one feature map of ResNet-50 (conv4), head of conv5 on each region",
            f"{_FASTER_RCNN_PAPER}; He et al.: Deep Residual Learning, 2016",
        ),
        "mask_rcnn": Entry(
            f"{_MASK_RCNN}:MaskRCNN",
            f"{_MASK_RCNN}:MaskRCNNConfig",
            "detection",
            "Faster R-CNN on a pyramid with a mask of each object; learns from sets with masks",
            _MASK_RCNN_PAPER,
            foreign=f"{_MASK_RCNN}_weights:mask_rcnn_from",
        ),
        "keypoint_rcnn": Entry(
            f"{_KEYPOINT_RCNN}:KeypointRCNN",
            f"{_KEYPOINT_RCNN}:KeypointRCNNConfig",
            "detection",
            "Faster R-CNN on a pyramid with the pose of each object; learns from sets with keypoints",
            f"{_MASK_RCNN_PAPER}, section 5",
            foreign=f"{_KEYPOINT_RCNN}_weights:keypoint_rcnn_from",
        ),
        "rcnn": Entry(
            "sightline.detectors.rcnn:RCNN",
            "sightline.detectors.rcnn:RCNNConfig",
            "detection",
            "every proposal warped and sent through the network, then an SVM and a box regression a class",
            "Girshick, Donahue, Darrell, Malik: Rich feature hierarchies, 2014",
        ),
        "spp_net": Entry(
            "sightline.detectors.spp_net:SPPNet",
            "sightline.detectors.spp_net:SPPNetConfig",
            "detection",
            "proposals pooled by a spatial pyramid from the maps of one pass, then R-CNN's SVMs and regressions",
            "He, Zhang, Ren, Sun: Spatial Pyramid Pooling in Deep Convolutional Networks, 2014",
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


def configure(name: str, settings: Mapping[str, object] | None = None, weights: str | Path | None = None) -> Any:
    """The configuration of a name with some settings changed.

    Args:
        name: a name of the catalogue.
        settings: values by field name; the rest stay as they are.
        weights: that the system is to start from; where they are a model file of Sightline's, its configuration is what
            is changed.

    Raises:
        ConfigError: no system of that name, an unknown setting or a value that does not fit.
        ModelFileError: a model file that cannot be read, or is of another system.
    """
    row = entry(name)
    config = row.default_config()
    place = None if weights is None else _own_file(weights)
    if place is not None:
        config = _config_of(place, _header_for(row, place), type(config))
    return parse_settings(type(config), settings or {}, base=config)


def create(
    name: str,
    *,
    classes: "Classes | Sequence[str] | None" = None,
    settings: Mapping[str, object] | None = None,
    weights: str | Path | None = None,
    backbone_weights: str | Path | None = None,
    seed: int = 0,
) -> "System[Any]":
    """A new system.

    Args:
        name: a name of the catalogue (``sightline models``).
        classes: what it is to find: a data set's classes, or names; None for those of the weights.
        settings: values of its configuration by field name (``sightline models NAME``); the rest stay as they are.
        weights: of the whole system: a Sightline model file, or what the system itself offers ("coco": torchvision's);
            None for random ones. A model file's own configuration counts where ``settings`` says nothing; for other
            classes than its own the layers of the classes start anew.
        backbone_weights: of the backbone alone: "imagenet", or a safetensors file with torchvision's names; None for
            random ones.
        seed: of the weights that are random; torch's own generator is left as it was.

    Raises:
        ConfigError: no system of that name, settings that do not fit, or no classes.
        ModelFileError: weights that cannot be read or do not fit.
    """
    from sightline.runtime import tune_allocator

    tune_allocator()
    row, named = entry(name), _classes(classes)
    if weights is not None and backbone_weights is not None:
        raise ConfigError(
            "weights and backbone weights are both given",
            cause="the weights hold a backbone",
            cure="give one of the two",
        )
    config = configure(name, settings, weights)
    with _seeded(seed):
        if weights is not None:
            return _with_proposer(_create_from(row, config, named, weights))
        if named is None:
            raise ConfigError(
                "what the system is to find is not said", cure="give classes, or weights that know theirs, such as coco"
            )
        if backbone_weights is None:
            return _with_proposer(row.system_class()(config, named, backbone_weights=None))
        system = row.system_class()(config, named, backbone_weights=str(backbone_weights))
    system.origin = f"{system.origin} ({_licence(backbone_weights)})"
    return _with_proposer(system)


def load(path: str | Path) -> "System[Any]":
    """The system of a model file, with its weights, ready to predict.

    Args:
        path: a Sightline model file, or a run folder (its best model is taken).

    Raises:
        ModelFileError: the file is missing, damaged, foreign, or of a system that this version does not know; or the
            model whose proposals it learned from is missing, or another one is in its place.
    """
    from sightline.model_file import load_weights, read_header
    from sightline.runtime import tune_allocator

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
    config = _config_of(place, header, type(row.default_config()))
    with _seeded(0):
        system = row.system_class()(config, header.classes)
    load_weights(place, system)
    system.preparation = _preparation_of(place, header)
    system.temperature = header.temperature
    system.origin = _origin_of(place, header)
    system.proposer_sha256 = header.proposer_sha256
    return _with_proposer(system)


def load_proposer(path: str | Path) -> "RPNProposer":
    """The region proposal network of a trained model, as a proposer for other systems.

    Args:
        path: a model file of a detector that has one (Faster R-CNN, Mask R-CNN), or a run folder.

    Raises:
        ModelFileError: the file cannot be loaded, or its system has no region proposal network.
    """
    from sightline.files import sha256
    from sightline.regions.rpn_proposer import rpn_proposer

    place = model_path(path)
    return rpn_proposer(load(place), sha256(place), place)


def _with_proposer(system: Any) -> "System[Any]":
    """A system with the proposer that is a model of its own, if it wants one, and the same that it learned from."""
    wanted = system.proposer_model
    if wanted and not Path(wanted).exists():
        raise ModelFileError(
            "no such model file",
            place=wanted,
            cause=f"this {system.name} looks at the proposals of the model that was there (its setting proposer)",
            cure="put that model back, or train with another proposer",
        )
    if wanted:
        proposer = load_proposer(wanted)
        if system.proposer_sha256 not in ("", proposer.weights):
            raise ModelFileError(
                f"is not the model whose proposals this {system.name} learned from",
                place=wanted,
                cause="that one was trained anew or replaced: its file had the SHA-256 "
                f"{system.proposer_sha256[:12]}..., this one has {proposer.weights[:12]}...",
                cure="put that model back, or train again on the proposals of this one",
            )
        system.proposer, system.proposer_sha256 = proposer.on(system.device), proposer.weights
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


def _create_from(row: Entry, config: Any, classes: "Classes | None", weights: str | Path) -> "System[Any]":
    """A system that starts from the weights of a whole one."""
    place = _own_file(weights)
    if place is not None:
        return _create_from_own(row, config, classes, place)
    if row.foreign is None:
        raise ModelFileError(
            "is no model file of Sightline's, and this model reads no other",
            place=weights,
            cure="name a model file that Sightline wrote",
        )
    system = _object(row.foreign)(config, classes, str(weights))
    system.origin = f"{system.origin} ({_licence(weights)})"
    return cast("System[Any]", system)


def _create_from_own(row: Entry, config: Any, classes: "Classes | None", place: Path) -> "System[Any]":
    """A system that starts from a model file; the layers of the classes start anew if these are others."""
    from sightline.model_file import load_weights

    header = _header_for(row, place)
    system = row.system_class()(config, header.classes if classes is None else classes)
    origin = _origin_of(place, header)
    if system.classes.names == header.class_names:
        try:
            load_weights(place, system)
        except ModelFileError as error:
            raise _of_other_settings(place, error, config, _config_of(place, header, type(config))) from error
    elif not system.class_layers:
        raise ModelFileError(
            "was trained for other classes, and the model does not say which of its layers belong to them",
            place=place,
            cure="train on a set with the classes of the file, or from other weights",
        )
    else:
        load_weights(place, system, skip=system.class_layers)
        origin += f"; class layers new, not those of its {len(header.classes)} classes"
    # The size may have been set anew; how pixels become numbers is what the weights were trained with.
    size = system.preparation
    system.preparation = replace(_preparation_of(place, header), short_side=size.short_side, long_side=size.long_side)
    system.origin = origin
    if system.proposer_model and system.proposer_model == header.config.get("proposer"):
        system.proposer_sha256 = header.proposer_sha256
    return cast("System[Any]", system)


def _own_file(weights: str | Path) -> Path | None:
    """The model file of Sightline's that weights name, or None if they are of another kind."""
    from sightline.model_file import is_model_file

    place = Path(weights)
    if str(weights) in _OFFERED or not (place.is_dir() or (place.is_file() and is_model_file(place))):
        return None
    return model_path(place)


def _header_for(row: Entry, place: Path) -> "ModelHeader":
    """The header of a model file that must be of the row's system."""
    from sightline.model_file import read_header

    header, system = read_header(place), row.system_class().name
    if header.system != system:
        raise ModelFileError(
            f"holds a {header.system}, not a {system}",
            place=place,
            cure=f"use --model {header.system}, or other weights",
        )
    return header


def _config_of(place: Path, header: "ModelHeader", config_class: type) -> Any:
    try:
        return parse_settings(config_class, header.config)
    except ConfigError as error:
        raise _of_another_version(place, header, "configuration", error) from error


def _preparation_of(place: Path, header: "ModelHeader") -> Any:
    from sightline.transforms.preparation import Preparation

    try:
        return parse_settings(Preparation, header.preparation)
    except ConfigError as error:
        raise _of_another_version(place, header, "preparation of images", error) from error


def _of_other_settings(place: Path, error: ModelFileError, wanted: Any, made_with: Any) -> ModelFileError:
    """The error of weights that do not fit, with the settings that they were not made with."""
    now, then = to_dict(wanted), to_dict(made_with)
    changed = [name for name in now if now[name] != then[name]]
    if not changed:
        return error
    return ModelFileError(
        error.what,
        place=place,
        cause=f"it was made with {', '.join(f'{name}={then[name]}' for name in changed)}, and is now "
        f"{', '.join(f'{name}={now[name]}' for name in changed)}",
        cure="leave the settings as they were, or train such a model from the weights of a backbone",
    )


def _of_another_version(place: Path, header: "ModelHeader", what: str, error: ConfigError) -> ModelFileError:
    return ModelFileError(
        f"holds a {what} that this version does not know: {error.what}",
        place=place,
        cause="another version of Sightline wrote it, or it is damaged",
        cure=f"load it with Sightline {header.versions.get('sightline', 'of its own time')}",
    )


def _origin_of(place: Path, header: "ModelHeader") -> str:
    return f"the model file {place} ({header.provenance or 'licence unknown'})"


def _licence(weights: str | Path) -> str:
    return "torchvision's catalogue, BSD-3-Clause" if str(weights) in _OFFERED else "licence unknown"


def _classes(classes: "Classes | Sequence[str] | None") -> "Classes | None":
    """Classes from their names, checked."""
    from sightline.structures import Classes

    if classes is None:
        return None
    if isinstance(classes, str):
        raise ConfigError(f"classes={classes!r} is one string, not a list of names", cure=f"give [{classes!r}]")
    if not len(classes):
        raise ConfigError("a system needs at least one class", cure="name what it is to find")
    return classes if isinstance(classes, Classes) else Classes(tuple(classes))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """What is drawn within comes from the seed, and what is drawn afterwards does not notice."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _object(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
