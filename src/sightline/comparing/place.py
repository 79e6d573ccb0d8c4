"""The folder of a comparison. Nothing here imports torch."""

from pathlib import Path

from sightline.errors import ConfigError

COMPARE_FILE, COMPARE_TABLE, COMPARE_REPORT = "compare.json", "compare.csv", "compare.html"
"""What a comparison writes beside the folders of its runs."""


def same_command(folder: Path) -> str:
    """What is to be typed so that a comparison goes on: without --out nobody has named its folder."""
    return f"the same command with --out {folder} --resume"


def require_comparison_folder(out: str | Path | None, *, resume: bool) -> None:
    """Raise ``ConfigError`` where :func:`compare_systems` would, before anything is opened."""
    if out is None:
        if resume:
            raise ConfigError("which comparison is to be resumed is not said", cure="name its folder with --out")
        return
    there = (Path(out) / COMPARE_FILE).exists()
    if resume and not there:
        raise ConfigError(
            "there is no comparison to resume",
            place=out,
            cause="the path is mistyped",
            cure="leave --resume out to start",
        )
    if not resume and Path(out).exists() and (Path(out).is_file() or any(Path(out).iterdir())):
        cure = "go on with it by --resume, or choose another --out" if there else "choose another --out"
        raise ConfigError("there is something at this place already", place=out, cure=cure)
