"""``sightline data``: what can be done with sets of images; one file for each command."""

import typer

from sightline.cli import data_check, data_convert, data_download, data_make, data_show, data_split, data_stats

app = typer.Typer(
    help="Check, see, convert, split, download and make sets of labelled images.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def data_command() -> None:
    """Check, see, convert, split, download and make sets of labelled images."""


app.command("check")(data_check.check_command)
app.command("stats")(data_stats.stats_command)
app.command("show")(data_show.show_command)
app.command("convert")(data_convert.convert_command)
app.command("split")(data_split.split_command)
app.command("download")(data_download.download_command)
app.command("make")(data_make.make_command)
