"""What is done for one run of a comparison: the system is trained if it has to be, and judged; its folder tells all."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from sightline.comparing.entrants import LOOKS, Entrant
from sightline.comparing.looks import combined, looks_of
from sightline.comparing.plan import Plan, Run
from sightline.comparing.results import images_of
from sightline.config import merged, to_dict
from sightline.contract import CombinedSystem, NeuralSystem, System
from sightline.errors import ConfigError
from sightline.judging import REPORT_FILE, judge, write_judgement
from sightline.model_file import read_header
from sightline.structures import Classes
from sightline.training.checkpoints import has_checkpoint
from sightline.training.continuation import is_finished
from sightline.training.options import TrainOptions
from sightline.training.progress import Progress
from sightline.workflow import SplitData, image_size_settings, open_splits, resized, train
from sightline.zoo import configure, create, entry, load, model_path

_ANY_CLASSES = Classes(("any",))


def is_done(folder: Path, run: Run) -> bool:
    """Whether a run's folder holds all that a table needs."""
    own = folder / run.folder
    return is_finished(own) if run.entrant.way == "train" else (own / REPORT_FILE).is_file()


def require_settings(plan: Plan) -> None:
    """Look at the settings of every row before anything is trained.

    Raises:
        ConfigError: an unknown setting, a value that does not fit, or an image size for a system whose size is fixed.
        ModelFileError: a model that is there cannot be read.
        SightlineError: a run that is there does not say what it was trained on.
    """
    rows = {entrant.name: entrant for entrant in plan.entrants}
    for entrant in plan.entrants:
        with _naming(entrant, rows):
            if entrant.way == "train":
                settings_of(entrant, plan.image_size)
                continue
            looks_of(entrant.looks, len(entrant.members) or 1)
            if len(entrant.members) > 1:
                _require_no_own(entrant)
                continue
            system, before, after = _changed(entrant, rows)
        _require_fit(entrant, system, before, after)
        if entrant.way == "given" and has_checkpoint(Path(entrant.model) / "last"):
            images_of(Path(entrant.model))


def _require_no_own(entrant: Entrant) -> None:
    if entrant.own:
        raise ConfigError(
            f"several models as one have no setting {', '.join(entrant.own)}", cure=f"give {', '.join(LOOKS)}"
        )


def _changed(entrant: Entrant, rows: Mapping[str, Entrant]) -> tuple[str, object, object]:
    """Of a row with weights that are there: the system's name, the configuration they were made for, and the row's."""
    if entrant.way == "trained":
        base = rows[entrant.model]
        wanted = merged(dict(base.settings), entrant.own)
        return base.model, configure(base.model, base.settings), configure(base.model, wanted)
    path = model_path(entrant.model)
    system = read_header(path).system
    return system, configure(system, {}, path), configure(system, entrant.own, path)


def _require_fit(entrant: Entrant, system: str, before: object, after: object) -> None:
    """The weights of one configuration have to fit the other: both are built, without memory for their tensors."""
    if before == after:
        return
    with torch.device("meta"):
        built = (entry(system).system_class()(config, _ANY_CLASSES) for config in (before, after))
        there, here = (_shapes(cast(nn.Module, each)) for each in built)
    misfit = next((name for name in {**here, **there} if there.get(name) != here.get(name)), None)
    if misfit is not None:
        given = ", ".join(f"{name}={value}" for name, value in entrant.own.items())
        raise ConfigError(
            f"the weights of {entrant.model} do not fit {given}",
            place=entrant.name,
            cause=f"{misfit} is {there.get(misfit, 'missing')} there and {here.get(misfit, 'missing')} here",
            cure=f"train it anew, without trained: as --variant {entrant.name}={entrant.base or system},KEY=VALUE",
        )


def _shapes(system: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in system.state_dict().items()}


@contextmanager
def _naming(entrant: Entrant, rows: Iterable[str]) -> Iterator[None]:
    """Say of which row a setting is wrong, and how one row alone is given a setting."""
    try:
        yield
    except ConfigError as error:
        alone = f"to set one row alone, write --set ROW.KEY=VALUE, where ROW is one of {', '.join(rows)}"
        if entrant.way != "train":
            alone = f"how often it looks is said by {', '.join(LOOKS)}, as multi_scale=[480,600]; {alone}"
        cure = alone if error.cure is None else f"{error.cure}; {alone}"
        raise ConfigError(error.what, place=entrant.name, cause=error.cause, cure=cure) from error


def settings_of(entrant: Entrant, image_size: int | None) -> dict[str, Any]:
    """All that a system that is trained has otherwise than its model's default."""
    settings = dict(entrant.settings)
    config = configure(entrant.model, settings)
    wanted = {} if image_size is None else image_size_settings(config, image_size)
    twice = next((name for name in wanted if name in settings), None)
    if twice is not None:
        raise ConfigError(f"--imgsz and --set {twice}=... both give {twice}", cure="keep one of the two")
    return {**settings, **wanted}


def work(plan: Plan, run: Run, folder: Path, progress: Progress) -> bool:
    """Bring one run to its end.

    Args:
        plan: of the comparison.
        run: one of its runs.
        folder: of the comparison.
        progress: what a person sees.

    Returns:
        Whether it is done; if not, the person asked for an end, and it can be resumed.

    Raises:
        SightlineError: whatever goes wrong.
    """
    progress.working(f"opening {plan.data}")
    if run.entrant.way == "train":
        return _train(plan, run, folder, progress)
    system = _system(plan, run.entrant, run.seed, folder)
    data = open_splits(plan.data, plan.splits, classes=system.classes, on_bad_image=plan.on_bad_image)
    _judge(system, data, folder / run.folder, run, plan, progress)
    return True


def _train(plan: Plan, run: Run, folder: Path, progress: Progress) -> bool:
    own, seed = folder / run.folder, cast(int, run.seed)
    data = open_splits(plan.data, plan.splits, on_bad_image=plan.on_bad_image)
    progress.working(f"building {run.entrant.model}")
    system = create(
        run.entrant.model,
        classes=data.classes,
        settings=settings_of(run.entrant, plan.image_size),
        backbone_weights=plan.backbone_weights,
        seed=seed,
    )
    options = {**vars(plan.options), "seed": seed, "resume": has_checkpoint(own / "last"), "from_previous": False}
    return train(system, data, out=own, options=TrainOptions(**options), progress=progress).result.finished


def _system(plan: Plan, entrant: Entrant, seed: int | None, folder: Path) -> System[Any]:
    """What a row judges: the weights that are there, with what it changes of them."""
    if entrant.way == "train":
        return _model(folder / plan.folder_of(entrant.name, cast(int, seed)), {})
    if entrant.way == "given":
        system = _model(Path(entrant.model), entrant.own)
        return combined([resized(system, plan.image_size)], looks_of(entrant.looks, 1))
    rows = {row.name: row for row in plan.entrants}
    if len(entrant.members) == 1:
        members: list[System[Any]] = [_model(folder / plan.folder_of(entrant.model, cast(int, seed)), entrant.own)]
    else:
        members = [_system(plan, rows[name], seed, folder) for name in entrant.members]
    return combined(members, looks_of(entrant.looks, len(members)))


def _model(place: Path, settings: Mapping[str, Any]) -> System[Any]:
    """The model of a file or run folder, with some of its settings changed."""
    path = model_path(place)
    if not settings:
        return load(path)
    header = read_header(path)
    system = create(header.system, classes=header.classes, settings=settings, weights=path)
    if isinstance(system, NeuralSystem):
        system.temperature = header.temperature
    return system


def _weights_of(plan: Plan, run: Run) -> list[str]:
    """Whose weights a row has: model files that were given, and folders of this comparison."""
    if run.seed is None:
        return [run.entrant.model]
    rows = {row.name: row for row in plan.entrants}
    return [
        rows[name].model if rows[name].way == "given" else plan.folder_of(name, run.seed)
        for name in run.entrant.members
    ]


def _judge(system: System[Any], data: SplitData, own: Path, run: Run, plan: Plan, progress: Progress) -> None:
    split, entrant = data.test.split, run.entrant
    models = _weights_of(plan, run)

    def tell(done: int, total: int) -> None:
        progress.working(f"predicting the {split} split", done, total)

    judgement = judge(system, data.test, device=plan.options.device, progress=tell)
    config: dict[str, object] = {"system": system.name, "weights of": ", ".join(models)}
    if entrant.settings:
        config["changed"] = dict(entrant.settings)
    if isinstance(system, NeuralSystem):
        config["config"] = to_dict(system.config)
    if isinstance(system, CombinedSystem):
        judgement = replace(judgement, combination={"models": models, **system.describe()})
    progress.working("drawing pictures and writing the report")
    own.mkdir(parents=True, exist_ok=True)
    write_judgement(own, judgement, title=f"{run.folder} on {data.test.name}", config=config)
