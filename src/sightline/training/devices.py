"""From the options to Lightning Fabric, which knows devices, distributed training and precision."""

import atexit
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
import torch.distributed as dist
from lightning_fabric import Fabric

from sightline.errors import ConfigError
from sightline.runtime import cpu_has_bf16
from sightline.training.options import TrainOptions
from sightline.training.processes.launching import Helpers, meeting, start_helpers
from sightline.training.sharding import FSDP, sharding_strategy

FabricPrecision = Literal["32-true", "bf16-mixed", "16-mixed"]


def choose_accelerator(options: TrainOptions) -> tuple[str, int | None]:
    """(accelerator, index of the one device that was asked for, or None).

    Raises:
        ConfigError: the device is unknown or this machine does not have it.
    """
    name, _, index = options.device.partition(":")
    numbered = name == "cuda" and index.isdigit()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name not in present or (index and not numbered):
        raise ConfigError(f"unknown device {options.device!r}", cure="choose auto, cpu, cuda, cuda:N or mps")
    if not present[name]:
        raise ConfigError(f"this machine has no {name} device that torch can use", cure="use --device auto")
    if index and options.devices > 1:
        raise ConfigError(f"device {options.device!r} names one device, but devices is {options.devices}")
    if index and int(index) >= torch.cuda.device_count():
        raise ConfigError(f"there is no {options.device}", cause=f"torch sees {torch.cuda.device_count()} GPUs")
    return name, int(index) if index else None


def choose_precision(options: TrainOptions, accelerator: str) -> tuple[FabricPrecision, str]:
    """(precision, why), for the log.

    Raises:
        ConfigError: float16 was asked for where there is no GPU.
    """
    if options.precision == "32":
        return "32-true", "asked for"
    if options.precision == "16-mixed" and accelerator != "cuda":
        raise ConfigError("16-mixed needs a CUDA device", cure="use --precision bf16-mixed or 32")
    if options.precision != "auto":
        return options.precision, "asked for"
    if accelerator == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return ("bf16-mixed", "the GPU has bfloat16") if has_bf16 else ("32-true", "the GPU has no bfloat16")
    if accelerator == "cpu" and cpu_has_bf16():
        return "bf16-mixed", "the processor multiplies bfloat16 itself"
    return "32-true", "no fast bfloat16 here"


def start_fabric(options: TrainOptions) -> tuple[Fabric, str, Helpers]:
    """Fabric with its processes launched, one line for the log on what was chosen, and the processes started here.

    Raises:
        ConfigError: a device, precision or strategy that this machine does not have.
    """
    accelerator, index = choose_accelerator(options)
    precision, reason = choose_precision(options, accelerator)
    try:
        fabric = Fabric(
            accelerator=accelerator,
            strategy=sharding_strategy(options, accelerator) if options.strategy == FSDP else options.strategy,
            devices=options.devices if index is None else [index],
            num_nodes=options.nodes,
            precision=precision,
        )
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"devices cannot be set up: {error}", cure="check --devices, --nodes and --strategy"
        ) from error
    helpers = start_helpers(options)
    with meeting(helpers), _fabric_silent():
        fabric.launch()
    if fabric.world_size > 1:
        # Threads of a group that is still open at exit bring the process down with an abort.
        atexit.register(_leave_group)
    where = f"{accelerator} x {fabric.world_size}" if fabric.world_size > 1 else str(fabric.device)
    where += ", weights shared out (fsdp)" if options.strategy == FSDP else ""
    return fabric, f"device {where}, precision {precision.removesuffix('-true')} ({reason})", helpers


@contextmanager
def _fabric_silent() -> Iterator[None]:
    """Fabric greets in every process; the run's own log says what was chosen, once."""
    logger = logging.getLogger("lightning_fabric")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _leave_group() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
