"""What is compared: rows of a table, each a system to be trained, a trained one, or one that differs from another row.

Words mean what they mean elsewhere: a name of the catalogue is trained; a model file or the folder of a finished run is
judged as it is. A variant names its row itself and says what it differs in::

    NAME=BASE,key=value,...            as BASE with other settings: trained anew where BASE is trained, else judged anew
    NAME=trained:BASE,key=value,...    the weights of BASE, with other settings: nothing is trained

``BASE`` is a row above, a name of the catalogue, a model file or a run folder, looked for in this order. The settings
of a row are kept by those that are based on it, so that variants add up one by one (the table of He et al. 2016, "Deep
Residual Learning", appendix: box refinement, context, multi-scale testing). Settings of how a model looks go with
weights that are there: ``multi_scale=[N,N]`` and ``flip=true`` look several times, ``trained:A+B`` makes one of
several, of which ``member_weights=[N,N]`` says how much each counts, and ``fusion=NAME`` how results are joined.
Nothing here imports torch.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from sightline.config import closest, merged, parse_assignments
from sightline.errors import ConfigError
from sightline.zoo import CATALOGUE, MODEL_FILE

Way = Literal["train", "given", "trained"]
"""From the catalogue; a model file that is there; the weights of another row."""

LOOKS = ("multi_scale", "flip", "fusion", "member_weights")
"""Settings of how a model looks, and of how several are made one; no model's own."""

_WEIGHTS_OF = "trained:"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_NEXT_SETTING = re.compile(r",(?=\s*[A-Za-z_][A-Za-z0-9_.]*\s*=)")


@dataclass(frozen=True)
class Entrant:
    """One row of a comparison.

    Args:
        name: of the row, and of its folder.
        way: ``train``: trained from the catalogue; ``given``: a model that is there already, only judged; ``trained``:
            the weights of another row, only judged.
        model: name in the catalogue; path of a model file or run folder; name of the other row, or of several with +.
        settings: that differ from the model's own.
        base: the row that this one is compared with, or None for the first; of several with + the first, and it is
            compared with the best of them.
    """

    name: str
    way: Way
    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    base: str | None = None

    @property
    def members(self) -> tuple[str, ...]:
        """Of a row that has the weights of others: their names."""
        return tuple(self.model.split("+")) if self.way == "trained" else ()

    @property
    def own(self) -> dict[str, Any]:
        """The settings of the model itself."""
        return {name: value for name, value in self.settings.items() if name not in LOOKS}

    @property
    def looks(self) -> dict[str, Any]:
        """The settings of how it looks, and of how several are made one."""
        return {name: value for name, value in self.settings.items() if name in LOOKS}

    def to_dict(self) -> dict[str, object]:
        """As JSON has it, without the name."""
        return {"way": self.way, "model": self.model, "settings": dict(self.settings), "base": self.base}


def entrants_of(
    models: Sequence[str], variants: Sequence[str] = (), assignments: Sequence[str] = (), backbone: str | None = None
) -> tuple[Entrant, ...]:
    """The rows that words mean.

    Args:
        models: names of the catalogue, model files and run folders.
        variants: as above.
        assignments: ``key=value`` of all that are trained, ``ROW.key=value`` of one row; a row keeps what it was given
            itself.
        backbone: of all that are trained.

    Raises:
        ConfigError: a word that means nothing, two rows of one name, or a setting that changes nothing.
    """
    rows: dict[str, Entrant] = {}
    for word in models:
        _add(rows, _row(word.strip()), word)
    for word in variants:
        _add(rows, _variant(word, rows), word)
    if not rows:
        raise ConfigError("what is to be compared is not said", cure="give --models NAME,NAME,... or --variant")
    return _with_settings(tuple(rows.values()), assignments, backbone)


def require_two(entrants: Sequence[Entrant]) -> None:
    """Raise ``ConfigError`` where there is nothing to compare with."""
    if len(entrants) < 2:
        named = f"{entrants[0].name} alone" if entrants else "none"
        raise ConfigError(
            f"a comparison needs two systems at least, and there is {named}",
            cure="give --models NAME,NAME,..., or add a --variant",
        )


def _add(rows: dict[str, Entrant], row: Entrant, word: str) -> None:
    if not _NAME.fullmatch(row.name):
        raise ConfigError(
            f"{row.name!r} cannot be the name of a row and of its folder",
            cure="use letters, digits and . _ -, as --variant NAME=BASE",
        )
    if row.name in rows:
        raise ConfigError(
            f"two rows are called {row.name}",
            cure=f"give one of them another name: --variant OTHER={word.partition('=')[2] or word}",
        )
    rows[row.name] = row


def _row(word: str) -> Entrant:
    """A row that is not based on another one."""
    if word in CATALOGUE:
        return Entrant(word, "train", word)
    place = Path(word)
    if not word or not place.exists():
        valid = closest(word, list(CATALOGUE))
        raise ConfigError(f"{word!r} is no model's name, no model file and no run folder", cure=valid)
    if place.is_dir() and not (place / MODEL_FILE).is_file():
        raise ConfigError(f"a folder without {MODEL_FILE}", place=place, cure="name the folder of a finished run")
    inside = place.resolve()
    name = inside.name if place.is_dir() else (inside.parent.name if inside.name == MODEL_FILE else inside.stem)
    return Entrant(name, "given", word)


def _variant(word: str, rows: Mapping[str, Entrant]) -> Entrant:
    name, sign, rest = word.partition("=")
    base, *assignments = _NEXT_SETTING.split(rest)
    base = base.strip()
    if not sign or not name.strip() or not base:
        raise ConfigError(
            f"--variant {word}: is not of the form NAME=BASE,key=value,...",
            cure="write --variant refined=faster_rcnn,proposals=300, say",
        )
    settings = parse_assignments(assignments, f"--variant {name}")
    if base.startswith(_WEIGHTS_OF):
        return _of_weights(name.strip(), base.removeprefix(_WEIGHTS_OF), settings, rows)
    if base not in rows:
        return replace(_row(base), name=name.strip(), settings=settings)
    origin = rows[base]
    return replace(origin, name=name.strip(), settings=merged(dict(origin.settings), settings), base=base)


def _of_weights(name: str, base: str, settings: Mapping[str, Any], rows: Mapping[str, Entrant]) -> Entrant:
    """The weights of another row, or of a model that is there, or of several."""
    if "+" in base:
        members = [part.strip() for part in base.split("+")]
        unknown = next((part for part in members if part not in rows), None)
        if unknown is not None:
            raise ConfigError(f"--variant {name}: no row {unknown} comes before it", cure=closest(unknown, list(rows)))
        return Entrant(name, "trained", "+".join(members), settings, members[0])
    if base not in rows:
        row = _row(base)
        if row.way == "train":
            raise ConfigError(f"--variant {name}: no row {base} is trained before it", cure=f"add {base} to --models")
        return replace(row, name=name, settings=settings)
    origin = rows[base]
    if origin.way == "train":
        return Entrant(name, "trained", base, settings, base)
    return replace(origin, name=name, settings=merged(dict(origin.settings), dict(settings)), base=base)


def _with_settings(rows: tuple[Entrant, ...], assignments: Sequence[str], backbone: str | None) -> tuple[Entrant, ...]:
    names = {row.name for row in rows}
    own: dict[str, list[str]] = {}
    shared: list[str] = []
    for assignment in assignments:
        first, dot, rest = assignment.partition(".")
        named = first.strip()
        if dot and "=" not in first and named not in names and difflib.get_close_matches(named, names, n=1):
            raise ConfigError(f"--set {assignment}: no row is called {named}", cure=closest(named, sorted(names)))
        one = dot and named in names
        (own.setdefault(named, []) if one else shared).append(rest if one else assignment)
    common = parse_assignments(shared)
    if backbone is not None:
        if "backbone" in common:
            raise ConfigError("--backbone and --set backbone=... both give backbone", cure="keep one of the two")
        common["backbone"] = backbone
    if common and all(row.way != "train" for row in rows):
        raise ConfigError(
            f"{', '.join(common)}: given for all that are trained, but nothing is",
            cure="leave it out, or say which row is meant: --set ROW.key=value",
        )
    settled = []
    for row in rows:
        settings = merged(common if row.way == "train" else {}, dict(row.settings))
        changes = parse_assignments(own.get(row.name, ()), f"--set {row.name}:")
        settled.append(replace(row, settings=merged(settings, changes)))
    return tuple(settled)
