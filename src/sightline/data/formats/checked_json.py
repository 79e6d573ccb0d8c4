"""A JSON file that is read key by key: whatever is not as expected is refused with the place in the file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.errors import DataError


@dataclass(frozen=True)
class CheckedJson:
    """The file being read: errors name it together with the place in it."""

    path: Path

    def error(self, place: str, what: str, cure: str = "correct the annotation file") -> DataError:
        """What to raise about a place in the file such as ``annotations[17].bbox``."""
        return DataError(what, place=f"{self.path}, {place}", cure=cure)

    def load(self) -> dict[str, Any]:
        """The whole file; raises :class:`DataError` when it is no JSON object."""
        cause, cure = "an interrupted copy or download", "fetch the file again, or check it with a JSON tool"
        try:
            content = json.loads(self.path.read_text(encoding="utf-8-sig"))
        except json.JSONDecodeError as error:
            place = f"{self.path}, line {error.lineno}, column {error.colno}"
            raise DataError(f"not valid JSON ({error.msg})", place=place, cause=cause, cure=cure) from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"not valid JSON ({error})", place=self.path, cause=cause, cure=cure) from error
        except OSError as error:
            what = f"the annotation file cannot be read ({error.strerror})"
            raise DataError(what, place=self.path, cure="check the path and the file's permissions") from error
        if not isinstance(content, dict):
            raise self.error("top level", "COCO's JSON starts with an object { }", "give a COCO annotation file")
        return content

    def entries(self, top: dict[str, Any], key: str) -> list[dict[str, Any]]:
        """The list of objects under a key of the top level."""
        if key not in top:
            raise self.error("top level", f"the list '{key}' is missing", "give a COCO annotation file with objects")
        entries = top[key]
        if not isinstance(entries, list):
            raise self.error(key, "must be a list")
        for index, entry in enumerate(entries):
            if not isinstance(entry, dict):
                raise self.error(f"{key}[{index}]", "must be an object { }")
        return entries

    def whole(self, entry: dict[str, Any], key: str, place: str) -> int:
        """A whole number of at most 64 bits."""
        value = self.value(entry, key, place)
        if type(value) is not int or abs(value) >= 2**63:
            raise self.error(f"{place}.{key}", f"must be a whole number, got {shortened(value)}")
        return value

    def text(self, entry: dict[str, Any], key: str, place: str) -> str:
        """A text that is not empty."""
        value = self.value(entry, key, place)
        if not isinstance(value, str) or not value or "\0" in value:
            raise self.error(f"{place}.{key}", f"must be a text, got {shortened(value)}")
        return value

    def value(self, entry: dict[str, Any], key: str, place: str) -> Any:
        """Whatever is under a key that must be there."""
        if key not in entry:
            raise self.error(place, f"the key '{key}' is missing")
        return entry[key]

    def numbers(self, value: Any, place: str, length: int | None = None) -> list[float]:
        """A list of finite numbers, of ``length`` where given."""
        if not isinstance(value, list) or (length is not None and len(value) != length):
            wanted = "numbers" if length is None else f"{length} numbers"
            raise self.error(place, f"must be a list of {wanted}, got {shortened(value)}")
        for number in value:
            if not is_finite(number):
                raise self.error(place, f"must hold finite numbers, got {shortened(number)}")
        return value

    def unique(self, values: Sequence[Any], place: str, what: str) -> None:
        """Refuses a value that comes twice; ``place`` has ``[]`` where the index belongs (``images[].id``)."""
        seen: dict[Any, int] = {}
        for index, value in enumerate(values):
            first = seen.setdefault(value, index)
            if first != index:
                list_name, _, key = place.partition("[]")
                raise self.error(
                    f"{list_name}[{index}]{key}", f"{what} {value!r} was used by {list_name}[{first}] already"
                )


def is_finite(value: Any) -> bool:
    """Whether a JSON value is a number that a float can hold."""
    # A JSON integer may be larger than any float; bool is a number to Python but not to COCO.
    return type(value) in (int, float) and -1e30 < value < 1e30


def shortened(value: Any) -> str:
    """A value as an error shows it."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
