"""Starting the processes of a run on one machine, where nobody else starts them.

torchrun and SLURM start every process themselves and say so in the environment. Without them ``--devices 4`` starts
the command three more times, with the environment that Fabric and torch look for. Only the first process speaks: the
others' output goes nowhere, and their errors are told by the first.
"""

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sightline.errors import ConfigError
from sightline.training.options import TrainOptions

_STARTED_BY_OTHERS = ("LOCAL_RANK", "RANK", "SLURM_PROCID")
_LOOPBACK = "127.0.0.1"
_SECONDS_TO_END = 20.0
_LOOK_EVERY = 0.5


@dataclass
class Helpers:
    """The processes that this one has started, by rank; none where others start them, or in a helper itself."""

    processes: dict[int, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def ended(self) -> dict[int, str]:
        """How those ended that did so otherwise than well, by rank."""
        codes = {rank: process.poll() for rank, process in self.processes.items()}
        return {rank: _ending(code) for rank, code in codes.items() if code}

    def kill(self) -> None:
        """End them at once, those too that hang."""
        for process in self.processes.values():
            process.kill()

    def end(self) -> None:
        """Wait for them, and end those that do not."""
        for process in self.processes.values():
            try:
                process.wait(_SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def meeting(helpers: Helpers) -> Iterator[None]:
    """While the processes look for each other, one that ends ends this one too, which would wait for minutes."""
    met = threading.Event()

    def watch() -> None:
        while not met.wait(_LOOK_EVERY):
            for rank, ending in helpers.ended().items():
                sys.stderr.write(f"sightline: error: process {rank} of the run did not start: it ended by {ending}\n")
                sys.stderr.flush()
                os._exit(1)

    if helpers.processes:
        threading.Thread(target=watch, name="sightline-meeting", daemon=True).start()
    try:
        yield
    finally:
        met.set()


def start_helpers(options: TrainOptions) -> Helpers:
    """Start the other processes of this machine, unless they are started by others.

    Raises:
        ConfigError: as :func:`require_started`.
    """
    require_started(options)
    if _started_by_others() or options.devices == 1 or options.nodes > 1:
        return Helpers()
    os.environ["MASTER_ADDR"] = _LOOPBACK
    os.environ["MASTER_PORT"] = str(_free_port())
    os.environ["WORLD_SIZE"] = str(options.devices)
    os.environ["NODE_RANK"], os.environ["LOCAL_RANK"] = "0", "0"
    helpers = Helpers()
    for rank in range(1, options.devices):
        environment = {"TORCH_CPP_LOG_LEVEL": "ERROR", **os.environ, "LOCAL_RANK": str(rank)}
        command = [sys.executable, *sys.orig_argv[1:]]
        helpers.processes[rank] = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    atexit.register(helpers.end)
    return helpers


def require_started(options: TrainOptions) -> None:
    """Look whether those who are to start the processes have started as many as the options have.

    Raises:
        ConfigError: nobody starts those of the other machines, for which this one would wait; or torchrun started
            another number.
    """
    if options.nodes > 1 and not _started_by_others() and "MASTER_ADDR" not in os.environ:
        raise ConfigError(
            f"a run on {options.nodes} machines has to be started on each of them",
            cause="one command starts the processes of one machine only",
            cure="start it by torchrun or SLURM (docs/scaling.md), or leave --nodes out",
        )
    started, wanted = int(os.environ.get("WORLD_SIZE", "0")), options.devices * options.nodes
    if "TORCHELASTIC_RUN_ID" in os.environ and started != wanted:
        raise ConfigError(
            f"torchrun started {started} processes, but --devices {options.devices} and --nodes {options.nodes} "
            f"make {wanted}",
            cure="give --devices what torchrun has as --nproc-per-node, and --nodes what it has as --nnodes",
        )


def _started_by_others() -> bool:
    return any(name in os.environ for name in _STARTED_BY_OTHERS)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind((_LOOPBACK, 0))
        return int(taken.getsockname()[1])


def _ending(code: int) -> str:
    if code > 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
