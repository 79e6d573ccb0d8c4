import pytest
import torch

from sightline import runtime
from sightline.errors import ConfigError
from sightline.recipes import FitStage, GradientStage, Optimiser, Recipe
from sightline.training import devices
from sightline.training.devices import choose_accelerator, choose_precision
from sightline.training.options import TrainOptions, settle
from sightline.training.processes.launching import require_started


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 1, "minutes": 1}, "--epochs or --minutes"),
        ({"epochs": 0}, "epochs must be above 0"),
        ({"minutes": float("nan")}, "minutes must be above 0"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"workers": -1}, "workers must be at least 0"),
        ({"seed": -1}, "seed must be"),
        ({"precision": "bf17"}, "unknown precision"),
        ({"strategy": "deepspeed"}, "unknown strategy 'deepspeed'.*choose auto, ddp or fsdp"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainOptions(**options)


def test_options_reach_every_stage() -> None:
    stages = (GradientStage(epochs=4, batch_size=2, optimiser=Optimiser(lr=0.1)), FitStage("fit", lambda *_: {}))
    recipe = Recipe((*stages, GradientStage(epochs=2)))
    settled = settle(recipe, TrainOptions(epochs=12, batch_size=8))
    first, fit, last = settled
    assert isinstance(first, GradientStage) and isinstance(last, GradientStage)
    assert (first.epochs, last.epochs) == (8, 4)
    assert (first.batch_size, first.optimiser.lr) == (8, 0.4)
    assert fit is stages[1]
    assert settle(recipe, TrainOptions()) == recipe.stages


def test_precision_follows_the_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: True)
    assert choose_precision(TrainOptions(), "cpu")[0] == "bf16-mixed"
    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: False)
    assert choose_precision(TrainOptions(), "cpu") == ("32-true", "no fast bfloat16 here")
    assert choose_precision(TrainOptions(precision="bf16-mixed"), "cpu") == ("bf16-mixed", "asked for")
    with pytest.raises(ConfigError, match="needs a CUDA device"):
        choose_precision(TrainOptions(precision="16-mixed"), "cpu")


def test_devices_that_are_not_there() -> None:
    for device in ("gpu9", "cuda:x", "cpu:1", "auto:1", "mps:0"):
        with pytest.raises(ConfigError, match="unknown device"):
            choose_accelerator(TrainOptions(device=device))
    if not torch.cuda.is_available():
        assert choose_accelerator(TrainOptions(device="cpu")) == ("cpu", None)
        with pytest.raises(ConfigError, match="no cuda device"):
            choose_accelerator(TrainOptions(device="cuda:1"))


def test_allocator_can_be_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(runtime.ALLOCATOR_VARIABLE, "system")
    assert runtime.tune_allocator() is False
    monkeypatch.setenv(runtime.ALLOCATOR_VARIABLE, "jemalloc")
    with pytest.raises(ConfigError, match="SIGHTLINE_ALLOCATOR"):
        runtime.tune_allocator()


def test_the_machine_is_known() -> None:
    assert isinstance(runtime.cpu_has_bf16(), bool)
    assert runtime.usable_cores() >= 1


def test_machines_that_nobody_starts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"2 machines.*torchrun or SLURM"):
        require_started(TrainOptions(nodes=2))
    require_started(TrainOptions(devices=2))
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.1")
    require_started(TrainOptions(nodes=2))
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "here")
    require_started(TrainOptions(nodes=2))
    with pytest.raises(ConfigError, match=r"torchrun started 2 processes.*make 4"):
        require_started(TrainOptions(nodes=2, devices=2))
