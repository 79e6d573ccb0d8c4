"""The command ``sightline``: its sub-commands, and how anything that goes wrong reaches a person.

Exit codes: 0 done, 1 runtime, 2 usage and configuration, 3 data, 4 model file, 5 export, 130 interrupted, 141 the
reader of the output went away. An error is one line on standard error.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from sightline.cli import compare, data, demo, evaluate, models, predict, proposals, train
from sightline.errors import HelperEndedError, SightlineError
from sightline.version import __version__

TRACEBACK_VARIABLE = "SIGHTLINE_TRACEBACK"
"""Environment variable; when it is set, errors come with the place in the code."""

app = typer.Typer(
    name="sightline",
    help="Every detector from HOG to DETR: train, judge and use it on your own images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: drawing boxes would take longer than all the rest
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sightline {__version__}")
        raise typer.Exit


@app.callback()
def sightline_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Every detector from HOG to DETR: train, judge and use it on your own images."""
    del version  # its callback has done all there is to do


app.command("train")(train.train_command)
app.command("evaluate")(evaluate.evaluate_command)
app.command("compare")(compare.compare_command)
app.command("predict")(predict.predict_command)
app.command("proposals")(proposals.proposals_command)
app.command("models")(models.models_command)
app.command("demo")(demo.demo_command)
app.add_typer(data.app, name="data")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and say how it ended.

    Args:
        arguments: the words after ``sightline``; default: those of the process.

    Returns:
        The exit code.
    """
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # typer turns a broken pipe into SystemExit, and nothing else here does
        return _reader_gone()
    return code


def _run(arguments: list[str]) -> int:
    try:
        ended = typer.main.get_command(app).main(arguments, prog_name="sightline", standalone_mode=False)
    except HelperEndedError as error:
        return error.exit_code
    except SightlineError as error:
        return _fail(str(error), error.exit_code)
    except typer.TyperException as error:
        return _usage(error, arguments)
    except (typer.Abort, KeyboardInterrupt):
        return _fail("interrupted", 130)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the last resort: a person gets a line and not a page
        what = " ".join(f"{type(error).__name__}: {error}".split())
        return _fail(
            f"unexpected {what}; cure: set {TRACEBACK_VARIABLE}=1 and run it again to see where, and report it", 1
        )
    return ended if isinstance(ended, int) else 0


def _usage(error: typer.TyperException, arguments: list[str]) -> int:
    text = error.format_message()
    if text.startswith("Usage:") or not text.strip():  # no command was named, and the message is the help
        print(text, file=sys.stderr)
        return error.exit_code
    message = " ".join(text.split()).rstrip(".")
    commands = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    words = ["sightline", *[word for word in arguments[:1] if word in commands]]
    if arguments[:1] == ["data"]:
        words += [word for word in arguments[1:2] if word in {command.name for command in data.app.registered_commands}]
    words.append("--help")
    return _fail(f"{message}; cure: see {' '.join(words)}", error.exit_code)


def _fail(message: str, code: int) -> int:
    if os.environ.get(TRACEBACK_VARIABLE) and sys.exc_info()[0] is not None:
        traceback.print_exc()
    print(f"sightline: error: {message}", file=sys.stderr)
    return code


def _reader_gone() -> int:
    """Ends quietly: ``sightline models | head`` closes the pipe before all is written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


if __name__ == "__main__":
    sys.exit(main())
