"""Imports point down only, every room is on a floor, and importing costs nothing."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ["PYTHONPATH"]])}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )


def test_the_layers_contract_holds():
    result = run(
        "import sys; from importlinter.cli import lint_imports; "
        "sys.exit(lint_imports(config_filename='pyproject.toml', cache_dir=None))"
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_room_is_on_a_floor():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = settings["tool"]["importlinter"]["contracts"]
    listed = {room.strip() for floor in contract["layers"] for room in floor.split("|")}
    planned = {room.strip("()") for room in listed if room.startswith("(")}
    rooms = {
        path.stem for path in (ROOT / "src" / "sightline").iterdir() if list(path.rglob("*.py")) or path.suffix == ".py"
    }
    assert rooms - {"__init__"} - planned == {room for room in listed if not room.startswith("(")}


def test_importing_sightline_imports_nothing_heavy():
    result = run("import sightline, sys; sightline.__version__; print('torch' in sys.modules, 'numpy' in sys.modules)")
    assert result.stdout.split() == ["False", "False"], result.stderr


def test_the_public_names_are_all_there():
    result = run("import sightline; print([callable(getattr(sightline, n)) for n in sightline.__all__[1:]])")
    assert "False" not in result.stdout and result.returncode == 0, result.stderr


def test_an_unknown_public_name_is_answered():
    result = run("import sightline; sightline.lood")
    assert "has no attribute 'lood'; it has" in result.stderr
