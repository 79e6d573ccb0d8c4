"""Which image files the words of a command line name."""

from collections.abc import Sequence
from pathlib import Path

from sightline.data.image_header import IMAGE_SUFFIXES, require_image
from sightline.errors import DataError


def list_images(paths: Sequence[str]) -> list[Path]:
    """The image files that command-line arguments name, each once.

    Args:
        paths: files; folders, searched with their subfolders, in order of path, without hidden files; glob patterns
            (``**`` for any depth), whose matches are taken like a folder's.

    Raises:
        DataError: an argument that matches nothing, a folder without images, or a file that is no image.
    """
    found: dict[Path, None] = {}
    for argument in paths:
        found.update(dict.fromkeys(_expand(argument)))
    if not found:
        raise DataError("no images given", cure="name image files, folders or patterns such as 'photos/*.jpg'")
    return list(found)


def _expand(argument: str) -> list[Path]:
    path = Path(argument)
    if path.is_file():
        _require_image(path)
        return [path]
    if path.is_dir():
        images = _images_below(path)
    elif any(sign in argument for sign in "*?["):
        matches = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        matches = [m for m in matches if not any(q.startswith(".") and q not in path.parts for q in m.parts)]
        files = [m for m in matches if m.suffix.lower() in IMAGE_SUFFIXES and m.is_file()]
        images = files + [image for m in matches if m.is_dir() for image in _images_below(m)]
    else:
        raise DataError("no such file or folder", place=argument, cure="check the path")
    if not images:
        known = " ".join(sorted(IMAGE_SUFFIXES))
        raise DataError("no images found", place=argument, cure=f"name files or folders with images ({known})")
    return images


def _images_below(folder: Path) -> list[Path]:
    files = (p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(p for p in files if p.is_file() and not any(q.startswith(".") for q in p.relative_to(folder).parts))


def _require_image(path: Path) -> None:
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        require_image(path)
