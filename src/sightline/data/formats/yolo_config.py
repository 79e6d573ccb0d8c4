"""Which classes, splits and keypoints a YOLO set has: its data.yaml, or the list of classes where there is none.

The keys are those of Ultralytics' documentation (docs.ultralytics.com/datasets): ``path``, ``train``, ``val``,
``test``, ``names``, ``nc``, ``kpt_shape``, ``kpt_names``, ``flip_idx``. Every value is taken as the text that is
written: other readers make booleans of classes that are named ``no``, ``on`` or ``yes``, and numbers of ``1e3``.

Where this departs from Ultralytics: relative paths start from the folder of the YAML file, never from where a program
was started, and do not lead out of it; ``../train/images``, as Roboflow writes it, is ``train/images`` then. Outside
lies only what an absolute path names. A split whose folder is not there is left out, as sets without a test split name
one. A key of another name is a split where its value names a folder below ``images``.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sightline.data.formats.path_texts import can_be_a_path
from sightline.data.image_header import IMAGE_SUFFIXES
from sightline.errors import DataError

_NAMES = ("data.yaml", "dataset.yaml", "data.yml", "dataset.yml")
_SPLITS = ("train", "val", "valid", "test")
OTHER_KEYS = frozenset({"path", "names", "nc", "kpt_shape", "kpt_names", "flip_idx", "download", "channels"})
"""Keys of data.yaml that are no splits."""

_CLASS_LISTS = ("classes.txt", "obj.names", "labels/classes.txt")
_LARGEST = 4_000_000
"""Bytes of a YAML file beyond which it is no description of a set."""

_CURE = "correct the file; docs.ultralytics.com/datasets says what belongs there"


@dataclass(frozen=True)
class YoloSet:
    """A set that was recognised.

    Args:
        source: the YAML file, or the list of classes.
        root: the folder that the images' names start from.
        names: of the classes, in order.
        splits: by name, the folders and lists of images.
        keypoints: names of the keypoints; empty when there are none.
        dimensions: values of a keypoint: 2, or 3 with its visibility.
        header: what else the file says of keypoints.
    """

    source: Path
    root: Path
    names: tuple[str, ...]
    splits: dict[str, tuple[Path, ...]]
    keypoints: tuple[str, ...] = ()
    dimensions: int = 3
    header: dict[str, Any] = field(default_factory=dict)


def find_set(path: Path) -> YoloSet | None:
    """The YOLO set at a path; None where there is none.

    Args:
        path: a folder with a YAML file that has ``names`` and a split, or with a list of classes (classes.txt or
            obj.names) and images/ and labels/, or images with their labels beside them, as labelImg writes them; or
            such a YAML file.

    Raises:
        DataError: a set that makes no sense, such as two YAML files that both describe one.
    """
    if path.is_file():
        return _from_yaml(path, _require_mapping(path)) if path.suffix.lower() in (".yaml", ".yml") else None
    for name in _NAMES:
        if (path / name).is_file() and _describes(content := _load(path / name)):
            return _from_yaml(path / name, content)
    found = {file: content for file in _yaml_files(path) if _describes(content := _load_or_none(file))}
    if len(found) > 1:
        raise DataError(
            f"several files describe a YOLO set: {', '.join(file.name for file in found)}",
            place=path,
            cure="give one of these files",
        )
    for file, content in found.items():
        return _from_yaml(file, content)
    return _from_class_list(path)


def _yaml_files(folder: Path) -> list[Path]:
    files = (file for pattern in ("*.yaml", "*.yml") for file in folder.glob(pattern))
    return sorted(file for file in files if file.is_file() and file.name not in _NAMES)


def _describes(content: Any) -> bool:
    if not isinstance(content, Mapping) or not ("names" in content or "nc" in content):
        return False
    others = (value for key, value in content.items() if key not in OTHER_KEYS and isinstance(value, str))
    return any(content.get(split) for split in _SPLITS) or any("images" in Path(value).parts for value in others)


def _load_or_none(path: Path) -> Any:
    try:
        return _load(path)
    except DataError:  # a YAML file of something else
        return None


def _load(path: Path) -> Any:
    """The content of a YAML file, every value as its text."""
    try:
        if path.stat().st_size > _LARGEST:
            raise DataError("the file is too large to describe a set", place=path, cure=_CURE)
        return yaml.load(path.read_text(encoding="utf-8-sig"), Loader=yaml.BaseLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise DataError(
            f"not valid YAML ({error})", place=path, cause="a slip when it was edited", cure=_CURE
        ) from error


def _require_mapping(path: Path) -> Mapping[str, Any]:
    content = _load(path)
    if not isinstance(content, Mapping) or not _describes(content):
        raise DataError("a YOLO set has 'names' and at least one of train, val and test", place=path, cure=_CURE)
    return content


def _from_yaml(path: Path, content: Mapping[str, Any]) -> YoloSet:
    keypoints, dimensions = _keypoints(path, content)
    folder = path.parent
    wanted = _texts(path, "path", content.get("path") or "")
    bases = [base for text in wanted if text and (base := _inside(folder, folder, text)).is_dir()]
    # A set that was moved keeps the path of the machine that it was made on; its own folder is tried after that.
    for base in [*bases, folder]:
        splits = _splits(path, content, base)
        if splits:
            flips = content.get("flip_idx")
            header = {"flip_idx": _whole_numbers(path, "flip_idx", flips)} if keypoints and flips else {}
            return YoloSet(path, base, _names(path, content), splits, keypoints, dimensions, header)
    named = ", ".join(f"{key}: {text}" for key in _SPLITS for text in _texts(path, key, content.get(key) or [])[:1])
    raise DataError(
        f"none of the folders of images is there ({named[:200]})",
        place=path,
        cause="the images were moved, or lie outside of the file's folder",
        cure="correct train, val and test; paths start from the file's folder, and absolute ones may lead elsewhere",
    )


def _splits(path: Path, content: Mapping[str, Any], base: Path) -> dict[str, tuple[Path, ...]]:
    found: dict[str, tuple[Path, ...]] = {}
    for key, value in content.items():
        is_named = key in _SPLITS
        if (
            not value
            or not isinstance(key, str)
            or key in OTHER_KEYS
            or not (is_named or isinstance(value, str | list))
        ):
            continue
        if not is_named and not _is_texts(value):
            continue
        texts = _texts(path, key, value)
        places = tuple(place for text in texts if (place := _inside(path.parent, base, text)).exists())
        if not is_named:
            # Any other key is a split only where it names images beyond doubt.
            places = tuple(place for place in places if place.is_dir() and "images" in place.parts)
        if places and len(places) < len(texts):
            missing = next(text for text in texts if not _inside(path.parent, base, text).exists())
            raise DataError("there is no such folder or list of images", place=f"{path}, {key}: {missing}", cure=_CURE)
        if places:
            found[key] = places
    return found


def _inside(folder: Path, base: Path, text: str) -> Path:
    """The place that a text of the YAML file names: below its folder unless the text, or ``path``, is absolute."""
    text = text.replace("\\", "/")
    if not can_be_a_path(text):
        return folder / "\ufffd"
    if Path(text).is_absolute():
        return Path(text)
    for start in (base, folder):
        place = Path(start, *_without_steps_up(Path(text).parts))
        if ".." in Path(text).parts:
            resolved = (start / text).resolve()
            if resolved.exists() and resolved.is_relative_to(start.resolve()):
                return start / resolved.relative_to(start.resolve())
        if place.exists():
            return place
    return Path(base, *_without_steps_up(Path(text).parts))


def _without_steps_up(parts: Iterable[str]) -> Iterator[str]:
    return (part for part in parts if part not in ("..", "."))


def _is_texts(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(v, str) for v in value))


def _texts(path: Path, key: str, value: Any) -> list[str]:
    if not _is_texts(value):
        raise DataError("must be a path or a list of paths", place=f"{path}, {key}", cure=_CURE)
    return [value] if isinstance(value, str) else list(value)


def _names(path: Path, content: Mapping[str, Any]) -> tuple[str, ...]:
    """The classes in order, from a list or a dict; ``class_0`` and so on where only their number is told."""
    value = content.get("names")
    count = _whole_numbers(path, "nc", [content["nc"]])[0] if content.get("nc") else None
    if not value and count is not None and 0 < count <= 100_000:
        return tuple(f"class_{i}" for i in range(count))
    names = _by_number(path, "names", value)
    if not names or not all(names):
        raise DataError("must be the names of all classes", place=f"{path}, names", cure=_CURE)
    if count is not None and count != len(names):
        raise DataError(f"nc says {count} classes, names has {len(names)}", place=path, cure=_CURE)
    return names


def _by_number(path: Path, key: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, list):
        value = {str(i): name for i, name in enumerate(value)}
    if not isinstance(value, Mapping) or not all(isinstance(v, str) and "\0" not in v for v in value.values()):
        raise DataError("must be a list of names, or a dict of names by number", place=f"{path}, {key}", cure=_CURE)
    numbers = _whole_numbers(path, key, list(value))
    if sorted(numbers) != list(range(len(numbers))):
        raise DataError(
            "the numbers of the names must be 0, 1, 2 ... without holes", place=f"{path}, {key}", cure=_CURE
        )
    return tuple(name for _, name in sorted(zip(numbers, value.values(), strict=True)))


def _whole_numbers(path: Path, key: str, values: Any) -> list[int]:
    try:
        return [int(value) for value in values]
    except (ValueError, TypeError) as error:
        raise DataError("must be whole numbers", place=f"{path}, {key}", cure=_CURE) from error


def _keypoints(path: Path, content: Mapping[str, Any]) -> tuple[tuple[str, ...], int]:
    if not content.get("kpt_shape"):
        return (), 3
    shape = _whole_numbers(path, "kpt_shape", content["kpt_shape"])
    if len(shape) != 2 or not 0 < shape[0] <= 10_000 or shape[1] not in (2, 3):
        raise DataError(f"must be [number, 2 or 3], got {shape}", place=f"{path}, kpt_shape", cure=_CURE)
    listed = content.get("kpt_names")
    if isinstance(listed, Mapping) and listed:  # by class; the points of all classes are the same
        listed = next(iter(listed.values()))
    names = _by_number(path, "kpt_names", listed) if listed else tuple(f"point_{i}" for i in range(shape[0]))
    if len(names) != shape[0]:
        raise DataError(f"{len(names)} names for {shape[0]} keypoints", place=f"{path}, kpt_names", cure=_CURE)
    return names, shape[1]


def _from_class_list(folder: Path) -> YoloSet | None:
    """The set of a folder without a YAML file."""
    lists = [folder / name for name in _CLASS_LISTS if (folder / name).is_file()]
    splits = _splits_of_folders(folder) if lists else {}
    return YoloSet(lists[0], folder, _class_names(lists[0]), splits) if splits else None


def _splits_of_folders(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The splits of images/ beside labels/; without them, one where labels lie beside their images."""
    images = folder / "images"
    if not (images.is_dir() and (folder / "labels").is_dir()):
        return {"all": (folder,)} if has_labels_beside_images(folder) else {}
    folders = sorted(place for place in images.iterdir() if place.is_dir())
    has_splits = any(place.name in _SPLITS for place in folders) and all(place.is_dir() for place in images.iterdir())
    return {place.name: (place,) for place in folders} if has_splits else {"all": (images,)}


def has_labels_beside_images(folder: Path) -> bool:
    """Whether an image in a folder has a .txt file of the same stem beside it."""
    names = [file.name for file in folder.iterdir()]
    stems = {name[:-4] for name in names if name.endswith(".txt")}
    return any(Path(name).suffix.lower() in IMAGE_SUFFIXES and Path(name).stem in stems for name in names)


def _class_names(source: Path) -> tuple[str, ...]:
    try:
        lines = source.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"the list of classes cannot be read ({error})", place=source, cure="save it as UTF-8"
        ) from error
    names = [line.strip() for line in lines]
    while names and not names[-1]:
        names.pop()
    if not names or not all(names):
        raise DataError("must have the name of a class on every line", place=source, cure="correct the file")
    return tuple(names)
