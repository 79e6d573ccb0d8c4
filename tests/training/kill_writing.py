"""Kills writing processes, for every file of a run; run by test_kill_writing.py as a process without other threads.

``steps``: the writer is killed by SIGKILL at its n-th event, for n = 1, 2, ... until a writing comes through. An event
is a line of the code that writes, or a call of the file system that Python audits. ``times``: it writes in a loop and
is killed at random moments. Prints counts as JSON; an assertion that fails ends it.
"""

import itertools
import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from tiny_system import make_system

from sightline import files, model_file
from sightline.errors import ModelFileError
from sightline.files import remove_leftovers
from sightline.model_file import load_weights, read_header, write_model
from sightline.training import checkpoints, history, run_folder
from sightline.training.checkpoints import Checkpoint, go_back, has_checkpoint, read_checkpoint, write_checkpoint
from sightline.training.history import read_history, write_history
from sightline.training.run_folder import RunFolder
from sightline.training.state import TrainState

TRACED = {module.__file__ for module in (checkpoints, files, model_file, history, run_folder)}
AUDITED = ("open", "os.", "shutil.")
EVENTS = [0]
Tracer = Callable[[FrameType, str, object], object]


def kill_at(number: int | None, traced: Collection[str | None] = TRACED) -> None:
    """From now on this process kills itself at its ``number``-th event, lines being those of the files ``traced``.

    Events are counted in ``EVENTS``; with no number they only are. Processes that this one forks count for nothing.
    """
    mine = os.getpid()

    def event() -> None:
        EVENTS[0] += 1
        if EVENTS[0] == number and os.getpid() == mine:
            os.kill(mine, signal.SIGKILL)

    def trace(frame: FrameType, kind: str, argument: object) -> Tracer | None:
        if frame.f_code.co_filename not in traced:
            return None
        if kind == "line":
            event()
        return trace

    def audit(name: str, arguments: tuple[object, ...]) -> None:
        if name.startswith(AUDITED):
            event()

    sys.addaudithook(audit)
    sys.settrace(trace)


def in_child(action: Callable[[], None]) -> int:
    """Start ``action`` in a process of its own; returns its id."""
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - a forked process must end here whatever happens
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return child


def killed(child: int) -> bool:
    """Wait for a process; whether it was killed rather than done."""
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, f"the child failed: {status}"
    return os.WIFSIGNALED(status)


@dataclass(frozen=True)
class Writer:
    """A file of a run and what must hold of it.

    Args:
        prepare: makes what is there before; returns its number.
        write: writes the thing with a number.
        read: the number of what is there; asserts that it is whole.
        clean: what the next process does first.
        left: names that may lie in the folder in the end.
    """

    prepare: Callable[[Path], int]
    write: Callable[[Path, int], None]
    read: Callable[[Path], int]
    clean: Callable[[Path], None]
    left: frozenset[str]


def numbered(number: int) -> Checkpoint:
    state = TrainState(step=number, loss_sums={"x": 0.1 * number})
    tensors = {"w": torch.full((300,), float(number))}
    return Checkpoint(state, {"model": tensors, "optimiser": tensors})


def save_numbered(folder: Path, number: int) -> None:
    write_checkpoint(folder / "last", numbered(number))


def read_numbered(folder: Path) -> int:
    """The number of the last checkpoint; the one before must be whole too, wherever there was one."""
    if not has_checkpoint(folder / "last"):
        return 0
    read = read_checkpoint(folder / "last")
    number = read.state.step
    assert all(torch.equal(part["w"], torch.full((300,), float(number))) for part in read.tensors.values())
    if number > 1:
        assert one_before(folder, number) == number - 1
    return number


def step_of(place: Path) -> int:
    """What a folder says that it holds, whole or not; -1 if it says nothing."""
    try:
        return int(json.loads((place / "state.json").read_text())["state"]["step"])
    except (OSError, ValueError):
        return -1


def one_before(folder: Path, number: int) -> int:
    """The number of the checkpoint that is offered when that with ``number`` is damaged; tried on a copy."""
    copy = folder.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    for place in (copy / "last", copy / "last.new"):
        if step_of(place) == number:
            (place / "model.safetensors").write_bytes(b"cut off")
    try:
        read_checkpoint(copy / "last")
    except ModelFileError as error:
        assert "--from-previous" in str(error), str(error)
    else:
        raise AssertionError("a damaged checkpoint was taken")
    go_back(copy / "last")
    return read_checkpoint(copy / "last").state.step


def saved_once(folder: Path) -> int:
    save_numbered(folder, 1)
    save_numbered(folder, 2)
    return 2


def cut_off_before_the_moves(folder: Path) -> int:
    """As a kill leaves it when the new checkpoint is ready and the one before is half removed."""
    saved_once(folder)
    write_checkpoint(folder.with_name("third"), numbered(3))
    folder.with_name("third").rename(folder / "last.new")
    (folder / "previous" / "model.safetensors").unlink()
    return 3


SYSTEMS = [make_system(number) for number in range(4)]


def write_system(folder: Path, number: int) -> None:
    write_model(folder / "best.safetensors", SYSTEMS[number % 4], stage=str(number), metrics={}, provenance="")


def read_system(folder: Path) -> int:
    number = int(read_header(folder / "best.safetensors").stage)
    system = make_system(9)
    load_weights(folder / "best.safetensors", system)
    assert all(torch.equal(t, system.state_dict()[n]) for n, t in SYSTEMS[number % 4].state_dict().items())
    return number


def write_rows(folder: Path, number: int) -> None:
    write_history(folder / "history.csv", [{"step": float(row)} for row in range(number)])


def record_number(folder: Path, number: int) -> None:
    with RunFolder.create(folder, resume=True) as run:
        run.record("training", {"number": number}, free=("number",))


def read_recorded(folder: Path) -> int:
    return int(json.loads((folder / "config.json").read_text())["training"]["number"])


def recorded_once(folder: Path) -> int:
    save_numbered(folder, 1)
    record_number(folder, 1)
    return 1


def nothing(folder: Path) -> int:
    return 0


def one(write: Callable[[Path, int], None]) -> Callable[[Path], int]:
    def prepare(folder: Path) -> int:
        write(folder, 1)
        return 1

    return prepare


def nothing_to_clean(folder: Path) -> None:
    pass


TWO = frozenset({"last", "previous"})
WRITERS = {
    "first checkpoint": Writer(nothing, save_numbered, read_numbered, nothing_to_clean, TWO),
    "third checkpoint": Writer(saved_once, save_numbered, read_numbered, nothing_to_clean, TWO),
    "checkpoint after a cut": Writer(cut_off_before_the_moves, save_numbered, read_numbered, nothing_to_clean, TWO),
    "best.safetensors": Writer(
        one(write_system), write_system, read_system, remove_leftovers, frozenset({"best.safetensors"})
    ),
    "history.csv": Writer(
        one(write_rows), write_rows, lambda folder: len(read_history(folder / "history.csv")), remove_leftovers,
        frozenset({"history.csv"}),
    ),
    "config.json": Writer(
        recorded_once, record_number, read_recorded, remove_leftovers, frozenset({"last", "config.json", ".lock"})
    ),
}  # fmt: skip


def steps(root: Path, name: str) -> dict[str, int]:
    """Kill at every event in turn."""
    writer, found = WRITERS[name], Counter[str]()
    for number in itertools.count(1):
        folder = root / str(number) / "run"
        folder.mkdir(parents=True)
        before = writer.prepare(folder)

        def write(folder: Path = folder, number: int = number, before: int = before) -> None:
            kill_at(number)
            writer.write(folder, before + 1)
            sys.settrace(None)

        was_killed = killed(in_child(write))
        now = writer.read(folder)
        assert now in (before, before + 1), f"{now} after a kill at event {number}"
        found["kills" if was_killed else "through"] += 1
        if was_killed:
            found["old" if now == before else "new"] += 1
        writer.clean(folder)
        assert writer.read(folder) == now
        writer.write(folder, now + 1)
        assert writer.read(folder) == now + 1
        assert {entry.name for entry in folder.iterdir()} <= writer.left, list(folder.iterdir())
        shutil.rmtree(folder.parent)
        if not was_killed:
            return dict(found)
    raise AssertionError


def times(root: Path, name: str, kills: int) -> dict[str, int]:
    """Kill at random moments while it writes in a loop; how far it had come is read from the file."""
    writer, found = WRITERS[name], Counter[str]()
    rng = random.Random(0)
    folder = root / "run"
    folder.mkdir(parents=True)
    now = writer.prepare(folder)
    for _ in range(kills):

        def write(first: int = now + 1) -> None:
            for number in itertools.count(first):
                writer.write(folder, number)

        child = in_child(write)
        time.sleep(rng.uniform(0.0, 0.05))
        os.kill(child, signal.SIGKILL)
        assert killed(child)
        before, now = now, writer.read(folder)
        assert now >= before, f"{now} after {before}"
        found["kills"] += 1
        found["writings"] += now - before
        writer.clean(folder)
    writer.write(folder, now + 1)
    assert writer.read(folder) == now + 1
    assert {entry.name for entry in folder.iterdir()} <= writer.left, list(folder.iterdir())
    return dict(found)


if __name__ == "__main__":
    how, where, what = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    print(json.dumps(steps(where, what) if how == "steps" else times(where, what, int(sys.argv[4]))))
