"""Tables of boxes, written and read again."""

import csv
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sightline.data.findings import Findings
from sightline.data.formats import csv_boxes, csv_write
from sightline.data.formats.writing import Output
from sightline.data.tables import Tables, TablesBuilder
from sightline.errors import DataError

NAMES = ("zebra", "a, b", 'say "x"', "two\nlines", "car\rriage", "0", "never used")
Content = dict[str, tuple[tuple[int, int], list[tuple[int, tuple[float, ...], dict[str, int]]]]]


def made(root: Path, content: Content) -> Tables:
    builder = TablesBuilder("test", root, root, object_place="{}")
    for name, (size, objects) in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size[::-1]).save(root / name)
        row = builder.add_image(name, size=None if name.startswith("plain") else size)
        for number, (label, box, extra) in enumerate(objects):
            builder.add_object(row, label, box, row=number, extra=extra)
    return builder.build([{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(NAMES, start=1)])


def again(folder: Path, splits: dict[str, Tables]) -> tuple[dict[str, Tables], Output]:
    folder.mkdir()
    output = Output(folder)
    csv_write.write(splits, output)
    findings = Findings()
    read = {split: csv_boxes.read(folder, split, findings) for split in csv_boxes.find_splits(folder)}
    assert not findings.counts
    return read, output


def test_all_comes_back(tmp_path: Path) -> None:
    train: Content = {
        "z,1.b.png": (
            (20, 30),
            [(3, (0, 0, 30, 20), {}), (0, (0.1, 1 / 3, 12.5, 19.75), {}), (0, (-4, -5.5, 99, 2), {})],
        ),
        "sub/two words.png": ((1, 1), [(5, (0, 0, 1, 1), {})]),
        "plain 猫.png": ((7, 5), []),
        "val/z,1.b.png": ((4, 4), [(i, (1, 1, 3, 3), {}) for i in (4, 1, 2, 3)]),
    }
    source = {"train": made(tmp_path / "a", train), "val": made(tmp_path / "b", {"z,1.b.png": ((9, 9), [])})}
    read, output = again(tmp_path / "out", source)
    assert list(read) == ["train", "val"]
    for split, tables in source.items():
        back = read[split]
        assert back.objects.boxes.tolist() == tables.objects.boxes.tolist()
        assert back.objects.labels.tolist() == tables.objects.labels.tolist()
        assert back.objects.images.tolist() == tables.objects.images.tolist()
        for row in range(len(tables.images)):
            assert back.image_path(row).read_bytes() == tables.image_path(row).read_bytes()
    assert [c["name"] for c in read["train"].categories] == [name.strip() for name in NAMES]
    assert read["train"].images.sizes.tolist() == [[20, 30], [1, 1], [7, 5], [4, 4]]
    assert dict(output.losses) == {"image renamed: another one has its name": 1}  # the folder val is the format's


def test_the_rows_by_hand(tmp_path: Path) -> None:
    again(
        tmp_path / "out",
        {"all": made(tmp_path / "in", {"a.png": ((3, 4), [(1, (0, 0.5, 4, 3), {})]), "b.png": ((2, 1), [])})},
    )
    with (tmp_path / "out/all.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"],
        ["images/all/a.png", "4", "3", "a, b", "0", "0.5", "4", "3"],
        ["images/all/b.png", "1", "2", "", "", "", "", ""],
    ]


def test_crowds_are_left_out_and_difficult_ones_counted(tmp_path: Path) -> None:
    objects: list[tuple[int, tuple[float, ...], dict[str, int]]]
    objects = [(0, (0, 0, 2, 2), {"iscrowd": 1}), (1, (0, 0, 2, 2), {"difficult": 1})]
    read, output = again(tmp_path / "out", {"train": made(tmp_path / "in", {"a.png": ((3, 3), objects)})})
    assert read["train"].objects.labels.tolist() == [1]
    assert dict(output.losses) == {csv_write.CROWD: 1, csv_write.DIFFICULT: 1}


@pytest.mark.parametrize("name", ["classes", "a/b", "", ".."])
def test_splits_that_cannot_be_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="another name"):
        csv_write.write({name: made(tmp_path / "in", {})}, Output(tmp_path))


numbers = st.floats(-1e6, 1e6)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 5), st.tuples(numbers, numbers, numbers, numbers)), max_size=8))
def test_any_boxes_come_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, objects: list[tuple[int, tuple[float, ...]]]
) -> None:
    folder = tmp_path_factory.mktemp("set")
    source = made(folder / "in", {"a.png": ((5, 5), [(label, box, {}) for label, box in objects])})
    back = again(folder / "out", {"train": source})[0]["train"]
    assert back.objects.boxes.tolist() == source.objects.boxes.tolist()
    assert back.objects.labels.tolist() == source.objects.labels.tolist()
