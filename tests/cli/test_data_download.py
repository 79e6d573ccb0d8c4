"""``sightline data download``, as a command of its own."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from sightline.cli.data_download import download_command
from sightline.data.catalogue import install
from sightline.errors import ConfigError, DataError

Run = Callable[..., tuple[str, str]]


@pytest.fixture
def download(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("SIGHTLINE_DATASETS", str(tmp_path))
    app = typer.Typer()
    app.command()(download_command)

    def run(*words: object) -> tuple[str, str]:
        typer.main.get_command(app).main([str(word) for word in words], standalone_mode=False)
        return tuple(capsys.readouterr())

    return run


def test_the_list_names_all_sets(download: Run, tmp_path: Path) -> None:
    out, _ = download("--list")
    for word in ("bccd", "voc2007", "123,287", "20.4 GB", "CC BY-SA 4.0", "semantic segmentation"):
        assert word in out
    (tmp_path / "bccd").mkdir()
    archives = [{"file": archive.file} for archive in install.CATALOGUE["bccd"].archives]
    (tmp_path / "bccd" / install.MARK).write_text(json.dumps({"name": "bccd", "archives": archives}))
    rows = json.loads(download("--list", "--json")[0])
    assert {row["name"]: row["installed"] for row in rows} == {row["name"]: row["name"] == "bccd" for row in rows}
    assert rows[1]["bytes"] == 911_052_800
    assert json.loads(download("bccd", "--json")[0])["folder"] == str(tmp_path / "bccd")


def test_a_set_is_named_with_its_licence(download: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fake(name: str, *, root: Path | None, progress: object, say: Callable[[str], None]) -> Path:
        asked.append((name, root))
        say("a line")
        return tmp_path / name

    monkeypatch.setattr(install, "install", fake)
    out, err = download("VOC2012", "--out", tmp_path / "x")
    assert asked == [("voc2012", tmp_path / "x")]
    assert out.startswith(f"{tmp_path / 'voc2012'}: 5717 train, 5823 val images; the labels of the test")
    assert "Licence: images: Flickr's terms of use" in err and "a line" in err


def test_mistakes_are_answered(download: Run) -> None:
    for words in ((), ("bccd", "--list")):
        with pytest.raises(ConfigError, match="give one data set, or --list"):
            download(*words)
    with pytest.raises(DataError, match=r"did you mean voc20.*valid: bccd, voc2007"):
        download("voc")
