"""Typed settings: frozen dataclasses are filled from mappings and command lines, and every mistake gets an answer.

A system is described by one frozen dataclass. The string under a field is the field's documentation: it becomes the
help of ``sightline models NAME``. Values are checked strictly (pydantic in JSON mode): a list serves as a tuple and an
integer as a float, but "5" is not a number and 1 is not true.
"""

import ast
import difflib
import inspect
import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, cast, get_type_hints

from pydantic import TypeAdapter, ValidationError

from sightline.errors import ConfigError

Config = TypeVar("Config")


@dataclass(frozen=True)
class FieldDoc:
    """What a person needs to know of one field of a configuration.

    Args:
        name: the key.
        type: the annotation, names of types resolved.
        default: the default value, or None when the field has none (then ``required`` is true).
        doc: the string literal under the field, on one line; empty when there is none.
        required: whether the field has no default.
    """

    name: str
    type: str
    default: object
    doc: str
    required: bool = False


def parse_settings(config_class: type[Config], settings: Mapping[str, object], *, base: Config | None = None) -> Config:
    """An instance of a configuration class, checked.

    Args:
        config_class: a frozen dataclass.
        settings: values by field name; nested dataclasses as nested mappings or as instances.
        base: an instance whose values stand where ``settings`` says nothing; default: the class's defaults.

    Raises:
        ConfigError: an unknown key (names the closest and all valid ones), a missing one, or a value of the wrong type
            or range (names the key, the value and what is expected).
    """
    given = _plain(settings)
    _require_known(config_class, given, prefix="")
    if base is not None:
        given = merged(to_dict(base), given)
    try:
        text = json.dumps(given)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"the settings of {config_class.__name__} hold a value that is not plain: {error}",
            cure="use numbers, strings, true, false, null, lists and mappings",
        ) from error
    try:
        return TypeAdapter(config_class).validate_json(text, strict=True)
    except ValidationError as error:
        raise _explained(config_class, error) from error


def to_dict(instance: object) -> dict[str, Any]:
    """A configuration as plain JSON values; ``parse_settings(type(instance), to_dict(instance)) == instance``."""
    return cast(dict[str, Any], TypeAdapter(type(instance)).dump_python(instance, mode="json"))


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy of nested settings with some of them changed."""
    result = dict(base)
    for key, value in changes.items():
        inner = result.get(key)
        result[key] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return result


def parse_assignments(assignments: Iterable[str], option: str = "--set") -> dict[str, object]:
    """The settings of ``--set name=value`` options, or of another option of that form.

    A value is read as JSON, and as a plain string when it is none: ``a=1``, ``b=[1, 2]``, ``c=true``, ``d=resnet50``.
    A dot reaches into a nested configuration: ``e.f=1``.

    Raises:
        ConfigError: an assignment without "=" or without a name, or a name that is assigned twice.
    """
    settings: dict[str, object] = {}
    for assignment in assignments:
        name, sign, text = assignment.partition("=")
        *path, key = [part.strip() for part in name.split(".")]
        if not sign or not key or not all(path):
            raise ConfigError(
                f"{option} {assignment}: is not of the form name=value", cure=f"write {option} name=value"
            )
        place = settings
        for part in path:
            inner = place.setdefault(part, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"{option} {assignment}: {part} already has a value of its own")
            place = inner
        if key in place:
            raise ConfigError(f"{option} {assignment}: {name.strip()} is assigned twice", cure="keep one of the two")
        place[key] = _value(text.strip())
    return settings


def describe_fields(config_class: type) -> list[FieldDoc]:
    """Name, type, default and documentation of each field of a dataclass, in order; inherited ones too."""
    docs: dict[str, str] = {}
    for owner in reversed(config_class.__mro__):
        if is_dataclass(owner):
            docs.update(_docs_as_written(owner))
    hints = get_type_hints(config_class)
    return [
        FieldDoc(f.name, _type_name(hints[f.name]), _default(f), docs.get(f.name, ""), required=_required(f))
        for f in fields(config_class)
        if f.init
    ]


def closest(word: str, valid: Sequence[str]) -> str:
    """The cure for a mistyped word: the closest valid one, if one is close, and all valid ones."""
    close = difflib.get_close_matches(word, valid, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}valid: {', '.join(valid)}" if valid else f"{hint}none is valid here"


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _plain(value: object) -> Any:
    """Mappings, sequences and configurations as dicts and lists all the way down."""
    if is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _require_known(config_class: type, given: Mapping[str, Any], prefix: str) -> None:
    known = {f.name: f for f in fields(config_class) if f.init}
    for key, value in given.items():
        if key not in known:
            raise ConfigError(f"{config_class.__name__} has no setting {prefix}{key}", cure=closest(key, list(known)))
        inner = known[key].type
        if isinstance(inner, type) and is_dataclass(inner) and isinstance(value, Mapping):
            _require_known(inner, value, f"{prefix}{key}.")


def _explained(config_class: type, error: ValidationError) -> ConfigError:
    first = error.errors(include_url=False)[0]
    # A choice between types (int | str) adds the type's name to the place: only what is a field or an index is shown.
    known = _names(config_class)
    place = ".".join(str(part) for part in first["loc"] if isinstance(part, int) or part in known)
    expected = first["msg"].removeprefix("Value error, ")
    if not place:
        return ConfigError(f"{config_class.__name__}: {expected}")
    if first["type"] == "missing":
        return ConfigError(f"{config_class.__name__} needs the setting {place}", cure=f"give it: --set {place}=...")
    what = f"{config_class.__name__}.{place} cannot be {json.dumps(first['input'])}"
    if first["type"] == "literal_error" and isinstance(first["input"], str):
        return ConfigError(what, cure=closest(first["input"], re.findall("'([^']*)'", expected)))
    return ConfigError(what, cause=expected, cure=_cure(config_class, place))


def _names(config_class: type) -> set[str]:
    """The names of all fields, those of nested configurations too."""
    names: set[str] = set()
    for field in fields(config_class):
        names.add(field.name)
        if isinstance(field.type, type) and is_dataclass(field.type):
            names |= _names(field.type)
    return names


def _cure(config_class: type, place: str) -> str | None:
    name = place.partition(".")[0]
    for doc in describe_fields(config_class):
        if doc.name == name:
            return f"give {doc.type}" + ("" if doc.required else f", as the default {json.dumps(_plain(doc.default))}")
    return None


def _required(field: "Field[Any]") -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _default(field: "Field[Any]") -> object:
    if field.default is not MISSING:
        return field.default
    return None if field.default_factory is MISSING else field.default_factory()


def _type_name(hint: object) -> str:
    return inspect.formatannotation(hint).replace("typing.", "")


@cache
def _docs_as_written(owner: type) -> dict[str, str]:
    """The string under each field, read from the source of the class."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(owner)))
    except (OSError, TypeError):  # made at run time: there is no source to read
        return {}
    body = cast(ast.ClassDef, tree.body[0]).body
    return {
        statement.target.id: _literal(follower)
        for statement, follower in zip(body, [*body[1:], None], strict=True)
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    }


def _literal(statement: ast.stmt | None) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        value = statement.value.value
        return " ".join(value.split()) if isinstance(value, str) else ""
    return ""
