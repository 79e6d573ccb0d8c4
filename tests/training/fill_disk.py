"""Trains on disks that are full sooner or later, and again after room was made; run by test_disk_full.py.

``pages``: on a small file system, with so many free pages, from none to more than enough. ``quota``: the same where the
free space that the system tells is no help. ``moments``: it is full just before the n-th time that a file is written.
``limit``: no file may be longer than so many bytes, which needs no rights. ``judging``: the disk fills up before the
judgement of a whole command is written. Prints counts as JSON: the files that the errors named, and differences to a
run on a large disk.
"""

import contextlib
import io
import json
import os
import resource
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from kill_training import AVERAGED, Case, faster_rcnn, faster_rcnn_words, make_scenes, outcome, tiny
from kill_writing import in_child, killed
from tiny_system import stage

from sightline import workflow
from sightline.cli.main import main
from sightline.errors import SightlineError
from sightline.training import job
from sightline.training.checkpoints import has_checkpoint, read_checkpoint
from sightline.training.run_folder import RunFolder

PAGE = os.sysconf("SC_PAGE_SIZE")
CASE = tiny((stage(**AVERAGED),), save_every=0.0)
USAGE = shutil.disk_usage


def ballast(root: Path, pages: int) -> None:
    """Fill a file system but for some pages."""
    (root / "ballast").unlink(missing_ok=True)
    with (root / "ballast").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, USAGE(root).free - pages * PAGE))


def attempt(case: Case, folder: Path, first: Callable[[], None]) -> str | None:
    """Train in a process of its own; returns the error that it ended with, or None if it came to its end."""

    def go() -> None:
        first()
        try:
            case.go(folder)
        except SightlineError as error:
            assert error.exit_code == 1, str(error)
            os.write(pipe[1], str(error).encode())

    pipe = os.pipe()
    child = in_child(go)
    os.close(pipe[1])
    with open(pipe[0], "rb") as reader:  # noqa: PTH123 - a descriptor
        text = reader.read().decode()
    assert not killed(child)
    return text or None


def check(case: Case, folder: Path, error: str | None, expected: dict[str, object], found: Counter[str]) -> None:
    """What a failed run left must load, and it must go on to the same end now that there is room."""
    if error is not None:
        place, _, rest = error.partition(": ")
        assert "cure: make room" in rest and "\n" not in error, error
        found[Path(place).name] += 1
        if has_checkpoint(folder / "last"):
            read_checkpoint(folder / "last")
            found["had a checkpoint"] += 1
        assert attempt(case, folder, lambda: None) is None
    found["runs"] += 1
    got = outcome(folder)
    for thing in sorted(expected.keys() | got.keys()):
        if expected.get(thing) != got.get(thing):
            found["differences"] += 1
            print(f"{thing} differs after {error}", file=sys.stderr)


def endless(path: object) -> object:
    return USAGE(path)._replace(free=1 << 60)  # type: ignore[arg-type]


def pages(root: Path, most: int, step: int, *, quota: bool) -> Counter[str]:
    found = Counter[str](differences=0)
    assert attempt(CASE, root / "whole", lambda: None) is None
    expected = outcome(root / "whole")
    for number in range(0, most, step):
        folder = root / "run"
        ballast(root, number)

        def first() -> None:
            if quota:
                shutil.disk_usage = endless  # type: ignore[assignment]

        error = attempt(CASE, folder, first)
        (root / "ballast").unlink()
        check(CASE, folder, error, expected, found)
        shutil.rmtree(folder)
    return found


MOMENTS: dict[str, tuple[object, str]] = {
    "history.csv": (job, "write_history"),
    "best.safetensors": (job, "write_model"),
    "last": (job, "write_checkpoint"),
    "log.txt": (RunFolder, "log"),
}
"""What writes each file of a run: the module or class, and its name there."""


def moments(root: Path, calls: int) -> Counter[str]:
    """The disk fills up just before the n-th time that a file is written."""
    found = Counter[str](differences=0)
    assert attempt(CASE, root / "whole", lambda: None) is None
    expected = outcome(root / "whole")
    for name, (owner, function) in MOMENTS.items():
        for number in range(1, calls + 1):
            folder = root / "run"

            def first(
                owner: object = owner, function: str = function, number: int = number, log: Path = folder / "log.txt"
            ) -> None:
                written, done = getattr(owner, function), [0]

                def write(*arguments: object, **named: object) -> object:
                    done[0] += 1
                    if done[0] == number:
                        if log.exists():  # a log that just fills its last page needs another one
                            log.write_text(log.read_text().ljust(-(-log.stat().st_size // PAGE) * PAGE))
                        ballast(root, 0)
                    return written(*arguments, **named)

                setattr(owner, function, write)

            error = attempt(CASE, folder, first)
            (root / "ballast").unlink(missing_ok=True)
            assert error is None or Path(error.partition(": ")[0]).name == name, error
            check(CASE, folder, error, expected, found)
            shutil.rmtree(folder)
    return found


def limit(root: Path, most: int, step: int) -> Counter[str]:
    found = Counter[str](differences=0)
    assert attempt(CASE, root / "whole", lambda: None) is None
    expected = outcome(root / "whole")
    for number in range(0, most, step):
        folder = root / "run"

        def first(number: int = number) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (number, resource.RLIM_INFINITY))

        check(CASE, folder, attempt(CASE, folder, first), expected, found)
        shutil.rmtree(folder)
    return found


def judging(root: Path) -> Counter[str]:
    found = Counter[str](differences=0)
    assert not killed(in_child(lambda: make_scenes(root / "scenes")))
    case = faster_rcnn(root / "scenes")
    assert not killed(in_child(lambda: case.go(root / "whole")))
    expected = outcome(root / "whole")
    for number in (0, 2, 8, 40):
        folder, told = root / "run", root / "told"

        def go(number: int = number, folder: Path = folder, told: Path = told) -> None:
            write = workflow.write_judgement

            def fill(*arguments: object, **named: object) -> object:
                ballast(root, number)
                return write(*arguments, **named)  # type: ignore[arg-type]

            workflow.write_judgement = fill  # type: ignore[assignment]
            with contextlib.redirect_stderr(io.StringIO()) as text, contextlib.redirect_stdout(io.StringIO()):
                code = main(faster_rcnn_words(root / "scenes", folder))
            (root / "ballast").unlink()
            told.write_text(json.dumps([code, text.getvalue()]))

        assert not killed(in_child(go))
        code, text = json.loads(told.read_text())
        errors = [line for line in text.splitlines() if line.startswith("sightline: error: ")]
        assert code == 1 and len(errors) == 1 and "only the judgement is missing" in errors[0], text
        found["errors"] += 1
        assert not killed(in_child(lambda folder=folder: case.go(folder)))
        got = outcome(folder)
        found["differences"] += sum(expected.get(thing) != got.get(thing) for thing in expected.keys() | got.keys())
        shutil.rmtree(folder)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    how, where, numbers = sys.argv[1], Path(sys.argv[2]), [int(word) for word in sys.argv[3:]]
    if how == "judging":
        counts = judging(where)
    elif how == "limit":
        counts = limit(where, *numbers)
    elif how == "moments":
        counts = moments(where, *numbers)
    else:
        counts = pages(where, *numbers, quota=how == "quota")
    print(json.dumps(counts))
