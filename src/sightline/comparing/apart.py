"""Starting one run of a comparison in a process of its own, and how it ended."""

import json
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sightline.comparing.child import STOPPED
from sightline.comparing.plan import Run
from sightline.training.stopping import StopRequest

_LOOK_EVERY = 0.2

State = Literal["finished", "failed", "stopped"]


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Args:
        state: whether it is done, went wrong, or was stopped by a person.
        message: why it failed.
    """

    state: State
    message: str = ""


def run_apart(folder: Path, run: Run, stop: StopRequest, *, quiet: bool) -> Ending:
    """Bring a run of a comparison to its end in another process.

    Args:
        folder: of the comparison; its plan is written there.
        run: one of its runs.
        stop: whether the person asked for an end, which the process is told.
        quiet: whether it shows nothing.
    """
    with tempfile.TemporaryDirectory(prefix="sightline-") as place:
        answer = Path(place) / "answer.json"
        command = [sys.executable, "-m", "sightline.comparing.child", str(folder), run.folder, str(answer)]
        process = subprocess.Popen([*command, *(["--quiet"] if quiet else [])], stdin=subprocess.PIPE)
        try:
            code = _waited(process, stop)
        finally:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
        if code == 0:
            return Ending("finished")
        if answer.exists():
            return Ending("failed", str(json.loads(answer.read_text(encoding="utf-8"))))
        return Ending("stopped") if code == STOPPED or stop.wanted else Ending("failed", _death(code))


def _waited(process: "subprocess.Popen[bytes]", stop: StopRequest) -> int:
    told = False
    while True:
        try:
            return process.wait(_LOOK_EVERY)
        except subprocess.TimeoutExpired:
            if stop.wanted and not told:  # a terminal tells both, but a request to one process only reaches one
                process.terminate()
                told = True


def _death(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}; what it said last is above"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    if name == "SIGKILL":
        return "its process was killed (SIGKILL); likely cause: memory ran out; cure: a smaller --batch or --imgsz"
    return f"its process died of {name}; cure: run it alone with sightline train to see more"
