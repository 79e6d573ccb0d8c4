"""Opening a split for training: which split, what is refused, and that torch is not needed for it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from sightline.data.opening import open_split
from sightline.errors import DataError


def make(folder: Path, images: int = 1) -> Path:
    (folder / "annotations").mkdir(parents=True)
    (folder / "train2017").mkdir()
    entries = [{"id": i, "file_name": f"{i}.png", "height": 20, "width": 30} for i in range(images)]
    for entry in entries:
        Image.new("RGB", (30, 20)).save(folder / "train2017" / str(entry["file_name"]))
    boxes = [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [20, 1, 40, 5]}][:images]
    content = {"images": entries, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
    path = folder / "annotations" / "instances_train2017.json"
    path.write_text(json.dumps(content))
    return path


def test_a_folder_needs_the_split_a_file_has_its_own(tmp_path: Path) -> None:
    path = make(tmp_path)
    for place, split in ((tmp_path, "train"), (str(path), "anything")):
        opened = open_split(place, split)
        assert (opened.root, opened.split) == (tmp_path, "train")
        assert opened.index.boxes.tolist() == [[20, 1, 30, 6]]
        assert opened.findings == {"box clipped": 1} or sum(opened.findings.values()) == 1
    with pytest.raises(DataError, match=r"no split 'val'.*the splits there are: train"):
        open_split(tmp_path, "val")


def test_a_split_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no images"):
        open_split(make(tmp_path, images=0).parent.parent)


@pytest.mark.parametrize("name", ["nothing", "empty", "a.txt"])
def test_what_is_no_set_is_told_what_was_looked_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").touch()
    with pytest.raises(DataError, match=r"COCO: a \.json file"):
        open_split(tmp_path / name)


def test_two_formats_in_one_folder_are_refused(tmp_path: Path) -> None:
    make(tmp_path)
    for name in ("Annotations", "JPEGImages"):
        (tmp_path / name).mkdir()
    if (tmp_path / "Annotations").samefile(tmp_path / "annotations") is False:
        with pytest.raises(DataError, match="both coco and voc"):
            open_split(tmp_path)


def test_what_the_system_refuses_is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Annotations", "JPEGImages"):
        (tmp_path / name).mkdir()
    real = Path.iterdir

    def iterdir(folder: Path) -> object:
        if folder.name == "JPEGImages":
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    with pytest.raises(DataError, match="Permission denied") as raised:
        open_split(tmp_path, "all")
    assert raised.value.place == str(tmp_path / "JPEGImages")


def test_neither_opening_nor_converting_imports_torch(tmp_path: Path) -> None:
    folder = make(tmp_path / "set").parent.parent
    code = (
        "import sys; from pathlib import Path; from sightline.data.opening import open_split; "
        "from sightline.data import conversion; "
        f"assert len(open_split({str(folder)!r}).index.boxes) == 1; "
        f"conversion.convert(Path({str(folder)!r}), 'voc', Path({str(tmp_path / 'out')!r})); "
        "print(sorted(name for name in sys.modules if name.split('.')[0] in ('torch', 'torchvision', 'matplotlib')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
