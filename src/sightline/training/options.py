"""What a person decides about a training run, beside the system's own recipe."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Literal

from sightline.config import parse_settings
from sightline.errors import ConfigError
from sightline.recipes import GradientStage, Optimiser, Recipe, Schedule, Stage
from sightline.training.loggers.choose import parse_choices

FREE_ON_RESUME = (
    *("options.device", "options.devices", "options.nodes", "options.strategy", "options.workers"),
    *("options.loggers", "options.log_every", "options.save_every", "options.dry_run", "extensions"),
)
"""What may differ when a run goes on: where and how fast it is computed, how often it is saved and who is told."""

Precision = Literal["auto", "32", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class StageSettings:
    """What a person may change of every gradient stage; each field is the stage's own."""

    optimiser: Optimiser
    """What moves the parameters: kind, lr (for the batch size of the run), momentum, betas, weight_decay."""
    schedule: Schedule
    """The learning rate over the stage: kind, warmup_steps, warmup_start, milestones, gamma, final."""
    accumulate: int
    """Parts that a batch is computed in, one after the other; saves memory."""
    clip_norm: float | None
    """Largest norm of the whole gradient, or null."""
    clip_value: float | None
    """Largest absolute gradient, or null."""
    ema: float | None
    """Decay of the exponential moving average that is judged and kept, or null."""

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise ConfigError(f"accumulate must be at least 1, got {self.accumulate}", cure="leave it at 1")
        if self.ema is not None and not 0 <= self.ema < 1:
            raise ConfigError(f"ema must be from 0 to below 1, got {self.ema}", cure="give --recipe ema=0.999, say")
        for name in ("clip_norm", "clip_value"):
            bound = getattr(self, name)
            if bound is not None and bound <= 0:
                raise ConfigError(f"{name} must be above 0, got {bound}", cure=f"give --recipe {name}=null for none")

    @classmethod
    def of(cls, stage: GradientStage) -> "StageSettings":
        """Those that a stage has."""
        return cls(**{f.name: getattr(stage, f.name) for f in fields(cls)})


@dataclass(frozen=True)
class TrainOptions:
    """How a run is trained.

    Args:
        epochs: passes over the training split in all, or None for the recipe's own; several stages share them in the
            recipe's proportion.
        minutes: wall time of the stages that follow gradients, validation and saving included, or None. Ends the
            schedule by the clock instead of by epochs. Proposals before the first step, and stages that are
            solved after the last one, take the time that they take.
        batch_size: images an optimiser step sees over all devices, or None for the recipe's own; the learning rate is
            scaled in proportion.
        seed: of order, augmentation and the systems' own draws.
        precision: of the network's arithmetic; ``auto`` is bf16-mixed where the hardware has it.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        devices: processes on each machine, one a device.
        nodes: machines.
        strategy: how several processes share the work: ``auto`` or ``ddp``, a copy of the system on each device;
            ``fsdp``, weights, gradients and the optimiser's memory shared out over them.
        sync_norm: whether batch norms that live see the batch of all processes instead of their own share of it.
        workers: processes that load images, or None for a number that suits the cores.
        resume: go on with an interrupted run from its last checkpoint, exactly.
        from_previous: with ``resume``: go on from the checkpoint before the last, which is damaged.
        extend: train a finished run for so many more epochs, or None.
        validate_every: epochs between validations.
        loggers: experiment loggers beside history.csv, each ``NAME`` or ``NAME=PLACE``: tensorboard, mlflow, wandb.
        log_every: steps between the points of single steps that loggers get.
        save_every: seconds after which a run is saved between validations; 0 saves after every step.
        dry_run: whether the largest batch is tried before the first step of each stage.
        recipe: changes of every gradient stage, as ``StageSettings``: {"optimiser": {"lr": 0.01}, "ema": 0.999}.

    Raises:
        ConfigError: a value out of range, or two that exclude each other.
    """

    epochs: float | None = None
    minutes: float | None = None
    batch_size: int | None = None
    seed: int = 0
    precision: Precision = "auto"
    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"
    sync_norm: bool = True
    workers: int | None = None
    resume: bool = False
    from_previous: bool = False
    extend: float | None = None
    validate_every: int = 1
    loggers: tuple[str, ...] = ()
    log_every: int = 10
    save_every: float = 300.0
    dry_run: bool = True
    recipe: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.epochs is not None and self.minutes is not None:
            raise ConfigError("epochs and minutes both say when training ends", cure="give --epochs or --minutes")
        self._require_one_way_to_go_on()
        for name in ("epochs", "minutes", "extend"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ConfigError(f"{name} must be above 0, got {value}", cure=f"give a positive --{name}")
        counts = {"batch_size": 1, "devices": 1, "nodes": 1, "workers": 0, "validate_every": 1, "log_every": 1}
        for name, least in counts.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} must be at least {least}, got {value}")
        parse_choices(self.loggers)
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed must be at least 0 and below 2**63, got {self.seed}")
        if self.precision not in ("auto", "32", "bf16-mixed", "16-mixed"):
            raise ConfigError(f"unknown precision {self.precision!r}", cure="choose auto, 32, bf16-mixed or 16-mixed")
        if self.strategy not in ("auto", "ddp", "fsdp"):
            raise ConfigError(f"unknown strategy {self.strategy!r}", cure="choose auto, ddp or fsdp")
        if not 0 <= self.save_every < float("inf"):
            raise ConfigError(f"save_every must be at least 0, got {self.save_every}", cure="give seconds")

    @property
    def goes_on(self) -> bool:
        """Whether there is a run already that this one goes on with."""
        return self.resume or self.extend is not None

    def _require_one_way_to_go_on(self) -> None:
        if self.resume and self.extend is not None:
            raise ConfigError(
                "--resume and --extend exclude each other",
                cause="--resume goes on with an interrupted run, --extend trains a finished one for more epochs",
                cure="give one of the two; an extension that was interrupted goes on with --resume",
            )
        if self.from_previous and not self.resume:
            raise ConfigError("--from-previous says from where to resume", cure="give it with --resume")


def settle(recipe: Recipe, options: TrainOptions) -> tuple[Stage, ...]:
    """The recipe's stages with the epochs and the batch size that the options ask for.

    The learning rate follows the batch size linearly (Goyal et al. 2017, "Accurate, Large Minibatch SGD", section 2.1).
    A recipe's own warm-up is kept, which starts lower than the paper's; one without gets the paper's if the batch is
    larger than its own: from the recipe's learning rate up to the scaled one (section 2.2).
    """
    total = sum(stage.epochs for stage in recipe.stages if isinstance(stage, GradientStage))
    scale = 1.0 if options.epochs is None or total == 0 else options.epochs / total
    return tuple(
        _settle(stage, options, scale) if isinstance(stage, GradientStage) else stage for stage in recipe.stages
    )


def _settle(stage: GradientStage, options: TrainOptions, epoch_scale: float) -> GradientStage:
    epochs = stage.epochs if options.epochs is None else stage.epochs * epoch_scale
    batch_size = options.batch_size or stage.batch_size
    factor = batch_size / stage.batch_size
    optimiser = replace(stage.optimiser, lr=stage.optimiser.lr * factor)
    schedule = stage.schedule
    if factor > 1 and schedule.warmup_steps == 0:
        schedule = replace(schedule, warmup_steps=Schedule().warmup_steps, warmup_start=1 / factor)
    stage = replace(stage, epochs=epochs, batch_size=batch_size, optimiser=optimiser, schedule=schedule)
    changed = parse_settings(StageSettings, options.recipe, base=StageSettings.of(stage))
    return replace(stage, **{f.name: getattr(changed, f.name) for f in fields(changed)})


def describe_learning_rate(before: GradientStage, after: GradientStage) -> str:
    """Where a stage's learning rate comes from, for the log: the recipe, the linear rule, or the person."""
    lr, own = after.optimiser.lr, before.optimiser.lr
    factor = after.batch_size / before.batch_size
    if lr != own * factor:
        return f"learning rate {lr:g} as asked for, not scaled (the recipe's: {own:g} for {before.batch_size} images)"
    if factor == 1:
        return f"learning rate {lr:g}, the recipe's own for batches of {before.batch_size} images"
    return (
        f"learning rate {lr:g}, scaled by {factor:g} from {own:g} for batches of {before.batch_size} images to "
        f"{after.batch_size}; warm-up from {lr * after.schedule.warmup_start:g}"
    )


def require_enough_images(stage: GradientStage, processes: int) -> None:
    """Raise ``ConfigError`` unless a batch has an image for every part of it, over processes and accumulation."""
    parts = processes * stage.accumulate
    if stage.batch_size < parts:
        raise ConfigError(
            f"a batch of {stage.batch_size} has fewer images than parts: {parts} "
            f"({processes} processes, accumulate {stage.accumulate})",
            cure=f"choose a --batch of at least {parts}, or fewer devices",
        )
