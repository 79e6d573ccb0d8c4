"""How anything that goes wrong reaches a person."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import sightline
from sightline import zoo
from sightline.cli import main as entry_point
from sightline.cli.main import app, main
from sightline.errors import DataError, ExportError, ModelFileError, SightlineError

NAMES = {
    "train": "--data --model --backbone --backbone-weights --weights --epochs --minutes --imgsz --batch --device "
    "--precision --resume --from-previous --extend --save-every --seed --out --set --workers --json",
    "evaluate": "--data --split --imgsz --batch --device --precision --workers --out --json",
    "proposals": "--data --split --method --model --count --images --draw --repeatability --detector --device "
    "--out --list --json",
    "predict": "--out --threshold --imgsz --device --precision --on-bad-image --json",
    "models": "--json",
    "demo": "--out --minutes --seed --device --workers --json",
}


def raising(error):
    def entry(name):
        raise error

    return entry


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SightlineError("the disk is full"), 1),
        (DataError("no"), 3),
        (ModelFileError("no"), 4),
        (ExportError("no"), 5),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_error_is_one_line_with_its_exit_code(monkeypatch, capsys, error, code):
    monkeypatch.setattr(zoo, "entry", raising(error))
    assert main(["models", "x"]) == code
    err = capsys.readouterr().err
    assert err.count("\n") == 1 or code == 130
    assert "Traceback" not in err


def test_an_unexpected_error_says_how_to_see_more(monkeypatch, capsys):
    monkeypatch.setattr(zoo, "entry", raising(RuntimeError("two\nlines")))
    assert main(["models", "x"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("sightline: error: unexpected RuntimeError: two lines; cure: set SIGHTLINE_TRACEBACK=1")
    assert err.count("\n") == 1
    monkeypatch.setenv(entry_point.TRACEBACK_VARIABLE, "1")
    assert main(["models", "x"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["models"], ["models", "--json"], ["--version"], ["--help"]])
def test_a_reader_that_goes_away_ends_it_quietly(command):
    source = Path(sightline.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(source), os.environ["PYTHONPATH"]])}
    words = [sys.executable, "-c", f"import sys; from sightline.cli.main import main; sys.exit(main({command}))"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    assert process.stdout and process.stderr
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141


@pytest.mark.parametrize("name", NAMES)
def test_the_options_have_the_names_that_people_type(name):
    command = typer.main.get_command(app).commands[name]
    offered = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
    assert set(NAMES[name].split()) <= offered
