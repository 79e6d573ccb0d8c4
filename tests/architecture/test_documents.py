"""What the documents promise: their commands run, their examples work, their links lead somewhere."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from sightline.cli.main import main
from sightline.data.dataset import open_dataset
from sightline.structures import Classes

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
SMALL = "--backbone mobilenet_v3_small --imgsz 64 --set channels=16 --set head_width=16 --set proposals=20 --workers 0"

PYRAMID = "--set fast_rcnn.neck=fpn --set fast_rcnn.proposer=sliding_window"


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    lines = "".join(blocks(ROOT / "README.md", "sh")).splitlines()
    return [line.split("#")[0].strip() for line in lines if line.strip()]


def test_the_readme_has_its_parts():
    assert [line for line in commands() if line.startswith("make ")] == ["make demo", "make test"]
    assert len([line for line in commands() if line.startswith("sightline ")]) >= 3
    (example,) = blocks(ROOT / "README.md", "python")
    assert len([line for line in example.splitlines() if line.strip() and not line.startswith("import")]) <= 5


@pytest.mark.parametrize("target", ["demo", "test", "lint", "slow", "bench"])
def test_make_knows_the_commands(target):
    ended = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ".venv" in ended.stdout


def test_the_commands_of_the_readme_run_in_their_order(tmp_path, monkeypatch, capsys):
    words = "data make --out photos --images 4 --val 2 --test 2 --size 64 64 --scale 0.2 0.6 --workers 0"
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(words)) == 0
    shutil.copytree(tmp_path / "photos" / "test", tmp_path / "holiday")
    (tmp_path / "holiday" / "000001.jpg").rename(tmp_path / "holiday" / "beach.jpg")
    for line in commands():
        if "results.json" in line:
            shutil.copy(tmp_path / "runs" / "photos" / "predictions.json", tmp_path / "results.json")
        if line.startswith("sightline "):
            # The same command on a smaller model for a shorter time.
            short = re.sub(r"--minutes \S+", f"--epochs 1 {SMALL}", line)
            short += f" {PYRAMID}" if "fast_rcnn" in line else ""
            assert main(shlex.split(short)[1:]) == 0, capsys.readouterr().err
    (example,) = blocks(ROOT / "README.md", "python")
    exec(compile(example, "README.md", "exec"), {})
    assert (tmp_path / "found" / "beach.jpg").is_file()
    assert (tmp_path / "runs" / "photos" / "report.html").is_file()


def test_the_detector_of_the_guide_works(tmp_path):
    guide = ModuleType("guide")
    sys.modules["guide"] = guide  # where dataclasses look for the types of their fields
    try:
        exec(compile("\n".join(blocks(ROOT / "docs" / "adding_a_detector.md", "python")), "guide", "exec"), vars(guide))
    finally:
        del sys.modules["guide"]
    words = "data make --images 2 --val 0 --test 0 --size 48 64 --scale 0.3 0.6 --workers 0 --out"
    assert main([*words.split(), str(tmp_path / "set")]) == 0
    data = open_dataset(tmp_path / "set", "train")
    torch.manual_seed(0)
    system = guide.OneBox(guide.OneBoxConfig(width=4), data.classes)
    targets = [system.preparation.target(sample.target) for sample in data]
    losses = system.loss(system.prepare([sample.image for sample in data]), targets)
    sum(term.value for term in losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in system.parameters())
    assert [found.size for found in system.predict([sample.image for sample in data])] == [(48, 64)] * 2
    assert system.recipe().stages[0].batch_size == 8
    assert data.classes != Classes(("one",))


@pytest.mark.parametrize("document", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS])
def test_links_lead_somewhere(document):
    targets = re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8"))
    assert [t for t in targets if "://" not in t and not (document.parent / t).exists()] == []
