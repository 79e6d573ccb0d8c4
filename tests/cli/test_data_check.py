"""``data check``: what it says, its exit codes, and the repaired copy."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest_cli import snapshot

from sightline.data.finding_kinds import KINDS


def spoilt(shapes: Path, folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A copy of a set whose train has been changed."""
    shutil.copytree(shapes, folder)
    path = next(path for path in (folder / "annotations").glob("*.json") if "train" in path.name)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return folder


def with_errors(document: dict[str, Any]) -> None:
    document["annotations"][0]["category_id"] = 99
    document["annotations"][1]["bbox"] = [500, 500, 5, 5]
    document["annotations"][1]["segmentation"] = []


def test_a_set_without_errors_ends_well(run, shapes):
    code, out, err = run("data", "check", shapes)
    assert (code, err) == (0, "")
    assert out.startswith("test: 2 images") and "train: 4 images" in out
    assert out.splitlines()[-1].startswith("0 errors, ")


def test_errors_are_named_with_place_cause_and_cure(run, shapes, tmp_path):
    folder = spoilt(shapes, tmp_path / "set", with_errors)
    code, out, err = run("data", "check", folder, "--fast")
    assert (code, err) == (3, "")
    kind = KINDS["class-unknown"]
    lines = out.splitlines()
    place = lines.index(f"error class-unknown: {kind.title}; likely cause: {kind.cause}; cure: {kind.cure}")
    assert (
        lines[place + 1].startswith("  train: annotations/")
        and "annotations[0].category_id: there is no" in lines[place + 1]
    )
    assert lines[-1].startswith("2 errors, ") and lines[-1].endswith("; images were not decoded")
    assert run("data", "check", folder, "--split", "val")[0] == 0


def test_json_has_all_of_it(run, shapes, tmp_path):
    folder = spoilt(shapes, tmp_path / "set", with_errors)
    code, out, _ = run("data", "check", folder, "--json", "--split", "train", "--fix", tmp_path / "out")
    document = json.loads(out)
    assert code == 3 and document["severities"]["error"] == 2 and list(document["splits"]) == ["train"]
    keys = {"code", "severity", "what", "file", "where", "image", "split", "cause", "cure"}
    assert document["findings"] and all(set(finding) == keys for finding in document["findings"])
    assert document["pixels_checked"] is True
    fixed = document["fixed"]
    assert (fixed["out"], fixed["objects_lost"], fixed["losses"]) == (str(tmp_path / "out"), 2, {})
    assert {change["code"] for change in fixed["changes"]} == {"class-unknown", "box-outside"}
    assert json.loads(run("data", "check", shapes, "--json")[1])["fixed"] is None


def test_a_repaired_copy_is_clean_and_the_set_is_as_it_was(run, shapes, tmp_path):
    folder = spoilt(shapes, tmp_path / "set", with_errors)
    before = snapshot(folder)
    code, out, _ = run("data", "check", folder, "--fix", tmp_path / "out", "--link", "--most", 0)
    assert code == 3 and snapshot(folder) == before
    assert f"repaired copy: {tmp_path / 'out'}, changes: 2, objects left out: 2" in out
    assert "  class-unknown: the annotation is left out: 1 (objects left out: 1)" in out
    assert "    train: " in out
    assert run("data", "check", tmp_path / "out")[0] == 0


def test_only_some_cases_of_a_kind_are_shown(run, shapes, tmp_path):
    def many(document: dict[str, Any]) -> None:
        entry = document["annotations"][0]
        for i in range(2000):
            document["annotations"].append(entry | {"id": 10_000 + i, "category_id": 99})

    folder = spoilt(shapes, tmp_path / "set", many)
    code, out, _ = run("data", "check", folder, "--fast")
    assert code == 3 and out.count("there is no category") == 5
    assert "  ... and 1,995 more; --most 0 shows all" in out and "2,000 errors" in out
    assert run("data", "check", folder, "--fast", "--most", 0)[1].count("there is no category") == 2000
    assert run("data", "check", folder, "--fast", "--most", 1)[1].count("there is no category") == 1


def test_a_set_that_cannot_be_read_is_a_finding(run, shapes, tmp_path):
    folder = shutil.copytree(shapes, tmp_path / "set")
    for path in (folder / "annotations").glob("*.json"):
        path.write_text('{"images": [')
    code, out, err = run("data", "check", folder)
    assert (code, err) == (3, "")
    assert "error file-unreadable" in out and out.splitlines()[-1].startswith("3 errors, ")


def test_slips_are_answered(fails, shapes, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no annotations recognised" in fails(3, "data", "check", tmp_path / "empty")
    assert "no split 'trian'" in fails(3, "data", "check", shapes, "--split", "trian")
    assert "already" in fails(2, "data", "check", shapes, "--fix", tmp_path / "empty")
    assert not list((tmp_path / "empty").iterdir())
    assert "--link" in fails(2, "data", "check", shapes, "--link")


def test_a_repair_that_is_refused_says_so_after_the_findings(run, shapes, tmp_path):
    folder = shutil.copytree(shapes, tmp_path / "set")
    next((folder / "annotations").glob("*train*.json")).write_text('{"images": [')
    code, out, err = run("data", "check", folder, "--fix", tmp_path / "out")
    assert code == 3 and "error file-unreadable" in out
    assert "split 'train' cannot be repaired" in err and not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_a_reader_that_goes_away_is_no_error(shapes):
    command = f'"{sys.executable}" -c "from sightline.cli.main import main; main()" '
    ended = subprocess.run(
        f'{command} data check "{shapes}" --json | head -n 1', shell=True, capture_output=True, text=True, check=False
    )
    assert ended.stdout == "{\n" and "Traceback" not in ended.stderr
