"""One tiny set and one tiny trained model for all tests of the command line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest_cli import QUICK, TINY

from sightline.cli.main import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process; gives exit code, standard output and standard error."""

    def run_command(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_command


@pytest.fixture
def fails(run: Run) -> Callable[..., str]:
    """Runs a command that must fail as people may expect: with this exit code and one line, which is given back.

    Beside it there may be what a training run says first of all.
    """

    def check(code: int, *words: object) -> str:
        ended, _, err = run(*words)
        lines = [line for line in err.splitlines() if line.strip() and line != "starting"]
        assert ended == code, err
        assert len(lines) == 1 and lines[0].startswith("sightline: error: "), err
        return lines[0]

    return check


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Scenes set of four, two and two pictures."""
    folder = tmp_path_factory.mktemp("cli") / "shapes"
    words = ["data", "make", "--out", folder, "--images", 4, "--val", 2, "--test", 2, "--size", 64, 64]
    assert main([str(w) for w in [*words, "--scale", 0.2, 0.6, "--workers", 0]]) == 0
    return folder


@pytest.fixture(scope="session")
def trained(shapes: Path) -> Path:
    """The folder of a run of two steps."""
    folder = shapes.parent / "run"
    assert main(["train", "--data", str(shapes), "--out", str(folder), *TINY, *QUICK]) == 0
    return folder
