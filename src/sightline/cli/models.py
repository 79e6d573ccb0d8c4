"""``sightline models``: the catalogue, and the settings of one of its systems."""

from typing import Annotated, Any

import typer

from sightline.cli import options
from sightline.cli.output import show_json, show_table

_COCO_CLASSES = 80


def models_command(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Show the settings of this one.", show_default=False)
    ] = None,
    as_json: options.Json = False,
) -> None:
    """List the models, or the settings of one (for --set)."""
    if name is None:
        _show_catalogue(as_json)
    else:
        _show_model(name, as_json)


def _show_catalogue(as_json: bool) -> None:
    from sightline.zoo import CATALOGUE

    if as_json:
        show_json([{"name": n, "task": e.task, "summary": e.summary, "paper": e.paper} for n, e in CATALOGUE.items()])
        return
    show_table(["name", "task", "what it is", "paper"], [(n, e.task, e.summary, e.paper) for n, e in CATALOGUE.items()])


def _show_model(name: str, as_json: bool) -> None:
    from sightline.config import describe_fields, to_dict
    from sightline.zoo import entry

    row = entry(name)
    config = row.default_config()
    values, parameters = to_dict(config), _parameters(row.system_class(), config)
    docs = describe_fields(type(config))
    if as_json:
        settings = [{"name": d.name, "type": d.type, "default": values[d.name], "doc": d.doc} for d in docs]
        shown = {"name": name, "task": row.task, "summary": row.summary, "paper": row.paper}
        show_json({**shown, "parameters": parameters, "settings": settings})
        return
    print(f"{name} ({row.task}): {row.summary}\n{row.paper}\n{parameters:,} parameters with {_COCO_CLASSES} classes")
    rows = [(doc.name, _short(values[doc.name]), f"{doc.doc}\n{doc.type}") for doc in docs]
    show_table(["setting", "default", "what it is, and its type"], rows)


def _short(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value)


def _parameters(system_class: Any, config: Any) -> int:
    """The number of parameters, without memory or time for their values."""
    import torch

    from sightline.structures import Classes

    with torch.device("meta"):
        system = system_class(config, Classes(tuple(f"class {k}" for k in range(_COCO_CLASSES))))
    return sum(parameter.numel() for parameter in system.parameters())
