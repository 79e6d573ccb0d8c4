"""YOLO sets, read: what the lines mean, where the labels are, what data.yaml may say, and what is noted where."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sightline.data.findings import Findings
from sightline.data.formats import yolo
from sightline.data.tables import Tables
from sightline.errors import DataError

YAML = "train: images/train\nval: images/val\nnames: [cat, dog]\n"


def image(path: Path, width: int = 40, height: int = 20) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height)).save(path)
    return path


def put(root: Path, name: str, text: str | None, split: str = "train", size: tuple[int, int] = (40, 20)) -> None:
    image(root / "images" / split / f"{name}.png", *size)
    if text is not None:
        file = root / "labels" / split / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def describe(root: Path, text: str = YAML, name: str = "data.yaml") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")
    return root / name


def read(path: Path, split: str = "train") -> tuple[Tables, Findings]:
    findings = Findings(thorough=True)
    return yolo.read(path, split, findings), findings


def names(tables: Tables) -> list[str]:
    return [str(c["name"]) for c in tables.categories]


def noted(findings: Findings) -> list[tuple[str, str, str]]:
    return [(f.code, Path(f.file).name, f.where) for f in findings]


def test_boxes_and_polygons_by_hand(tmp_path: Path) -> None:
    describe(tmp_path)
    put(tmp_path, "a", "1 0.5 0.5 0.5 0.5\n\n0 0.1 0.1 0.5 0.2 0.3 0.9\r\n1.0 0.9 0.5 0.4 2.5\n")
    put(tmp_path, "b", None)
    put(tmp_path, "c", "")
    tables, findings = read(tmp_path)
    assert tables.objects.boxes.tolist() == [[10, 5, 30, 15], [4, 2, 20, 18], [28, -15, 44, 35]]
    assert tables.objects.labels.tolist() == [1, 0, 1]
    assert tables.objects.rows.tolist() == [1, 3, 4]
    assert tables.objects.masked.tolist() == [False, True, False]
    assert tables.object_entry(1)["segmentation"] == [[4, 2, 20, 4, 12, 18]]
    assert tables.images.files.to_list() == [f"images/train/{n}.png" for n in "abc"]
    assert tables.images.sizes.tolist() == [[20, 40]] * 3
    assert tables.locate_object(1) == (str(tmp_path / "labels/train/a.txt"), "line 3")
    assert (names(tables), noted(findings)) == (["cat", "dog"], [])


def test_pixels_are_those_that_were_divided(tmp_path: Path) -> None:
    describe(tmp_path)
    x, y, w, h = 12.3, 4.7, 10.1, 9.9
    put(tmp_path, "a", f"0 {(x + w / 2) / 41:.10f} {(y + h / 2) / 23:.10f} {w / 41:.10f} {h / 23:.10f}", size=(41, 23))
    assert read(tmp_path)[0].objects.boxes.tolist() == [[12.3, 4.7, 22.4, 14.6]]


@pytest.mark.parametrize(
    ("shape", "line", "expected"),
    [
        ("[2, 3]", "0 0.5 0.5 1 1 0.25 0.5 2 0.5 0.25 1.0", [[10, 10, 2], [20, 5, 1]]),
        ("[2, 3]", "0 0.5 0.5 1 1 0 0 0 0.5 0.25 0", [[0, 0, 0], [20, 5, 0]]),
        ("[2, 2]", "0 0.5 0.5 1 1 0.25 0.5 0 0", [[10, 10, 2], [0, 0, 0]]),
        ("[2, 2]", "0 0.5 0.5 1 1 -1 0.5 0 0.5", [[0, 0, 0], [0, 10, 2]]),
    ],
)
def test_keypoints_by_hand(tmp_path: Path, shape: str, line: str, expected: list[list[float]]) -> None:
    describe(tmp_path, f"{YAML}kpt_shape: {shape}\nflip_idx: [1, 0]\nkpt_names:\n  0: [left_eye, right_eye]\n")
    put(tmp_path, "a", line)
    tables, _ = read(tmp_path)
    assert tables.objects.keypoints is not None
    assert tables.objects.keypoints.tolist() == [expected]
    assert tables.object_entry(0)["num_keypoints"] == sum(v > 0 for *_, v in expected)
    assert tables.keypoint_names == ("left_eye", "right_eye") == tuple(tables.categories[0]["keypoints"])
    assert tables.header == {"flip_idx": [1, 0]}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("0 0.5 0.5 0.5", "value-malformed"),
        ("0 0.5 0.5 0.5 0.5 0.9", "value-malformed"),
        ("0", "value-malformed"),
        ("0,0.5,0.5,0.5,0.5", "value-malformed"),
        ("0 0.5 0.5 0.5 x", "value-malformed"),
        ("0 0.5 0.5 0.5 0_5", "value-malformed"),
        ("0.5 0.5 0.5 0.5 0.5", "value-malformed"),
        ("0 nan 0.5 0.5 0.5", "number-not-finite"),
        ("0 0.5 inf 0.5 0.5", "number-not-finite"),
        ("nan 0.5 0.5 0.5 0.5", "number-not-finite"),
        ("0 1e31 0.5 0.5 0.5", "number-not-finite"),
        ("7 0.5 0.5 0.5 0.5", "class-unknown"),
        ("-1 0.5 0.5 0.5 0.5", "class-unknown"),
    ],
)
def test_a_bad_line_is_noted_and_left_out(tmp_path: Path, line: str, code: str) -> None:
    describe(tmp_path)
    put(tmp_path, "a", f"0 0.5 0.5 1 1\n{line}\n1 0.5 0.5 1 1")
    tables, findings = read(tmp_path)
    assert noted(findings) == [(code, "a.txt", "line 2")]
    assert tables.objects.rows.tolist() == [1, 3]
    assert [f.image for f in findings] == [str(tmp_path / "images/train/a.png")]


@pytest.mark.parametrize("line", ["0 0.5 0.5 1 1", "0 0.5 0.5 1 1 0.5 0.5", "0 0.5 0.5 1 1 0.5 0.5 3"])
def test_lines_of_a_pose_set_have_all_points(tmp_path: Path, line: str) -> None:
    describe(tmp_path, YAML + "kpt_shape: [1, 3]\n")
    put(tmp_path, "a", line)
    assert noted(read(tmp_path)[1]) == [("value-malformed", "a.txt", "line 1")]


def test_classes_that_count_from_one_are_told(tmp_path: Path) -> None:
    describe(tmp_path)
    put(tmp_path, "a", "1 0.5 0.5 1 1\n2 0.5 0.5 1 1\n2 0.5 0.5 0.5 1")
    tables, findings = read(tmp_path)
    assert noted(findings) == [("class-ids-off-by-one", "data.yaml", "names")]
    assert tables.objects.labels.tolist() == [0, 1, 1]
    assert [tables.object_entry(row)["category_id"] for row in (0, 1)] == [1, 2]
    put(tmp_path, "b", "0 0.5 0.5 1 1")
    tables, findings = read(tmp_path)
    assert noted(findings) == [("class-unknown", "a.txt", "line 2"), ("class-unknown", "a.txt", "line 3")]
    assert tables.objects.labels.tolist() == [1, 0]


def test_labels_without_images_and_texts_that_are_none(tmp_path: Path) -> None:
    describe(tmp_path)
    put(tmp_path, "a", "0 0.5 0.5 1 1")
    for name in ("gone.txt", "classes.txt", "notes.json"):
        (tmp_path / "labels/train" / name).write_text("0 0.5 0.5 1 1\n" * 2)
    (tmp_path / "labels/train/a.txt").write_bytes(b"0 0.5 \xff")
    assert noted(read(tmp_path)[1]) == [("file-unreadable", "a.txt", ""), ("image-missing", "gone.txt", "")]


def test_an_image_without_a_size_is_left_out(tmp_path: Path) -> None:
    describe(tmp_path)
    put(tmp_path, "a", "0 0.5 0.5 1 1")
    put(tmp_path, "b", "0 0.5 0.5 1 1")
    (tmp_path / "images/train/a.png").write_bytes(b"no picture")
    tables, findings = read(tmp_path)
    assert noted(findings) == [("image-damaged", "a.png", "")]
    assert (len(tables.images), len(tables.objects)) == (1, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("names: [no, yes, 1e3, 'null', 0x1f, ~]", ["no", "yes", "1e3", "null", "0x1f", "~"]),
        ("names:\n  1: on\n  0: 2\nnc: 2", ["2", "on"]),
        ("nc: 2", ["class_0", "class_1"]),
    ],
)
def test_names_are_what_is_written(tmp_path: Path, text: str, expected: list[str]) -> None:
    describe(tmp_path, f"train: images/train\n{text}\n")
    put(tmp_path, "a", "")
    assert names(read(tmp_path)[0]) == expected


@pytest.mark.parametrize(
    "text",
    [
        "train: images/train\nnames: [a, b]\nnc: 3\n",
        "train: images/train\nnames: {0: a, 2: b}\n",
        "train: images/train\nnames: {x: a}\n",
        "train: images/train\nnames: {0: [a]}\n",
        "train: images/train\nnames: a\n",
        "train: images/train\nnames: [a, '']\n",
        "train: {a: b}\nnames: [a]\n",
        "train: nowhere\nnames: [a]\n",
        "train: [images/train, nowhere]\nnames: [a]\n",
        "train: images/train\nnames: [a]\nkpt_shape: [2]\n",
        "train: images/train\nnames: [a]\nkpt_shape: [2, 4]\n",
        "train: images/train\nnames: [a]\nkpt_shape: [2, 3]\nkpt_names: [x]\n",
        "train: [images/train\nnames: [a]\n",
    ],
)
def test_a_yaml_that_makes_no_sense_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    describe(tmp_path, text)
    put(tmp_path, "a", "")
    with pytest.raises(DataError, match=r"data\.yaml"):
        read(tmp_path)


def test_names_twice_are_refused(tmp_path: Path) -> None:
    describe(tmp_path, "train: images/train\nnames: [a, b, a]\n")
    put(tmp_path, "a", "")
    assert [f.code for f in read(tmp_path)[1]] == ["class-duplicate"]


def test_roboflows_steps_up_stay_in_the_folder(tmp_path: Path) -> None:
    image(tmp_path / "train/images/other.png")  # a neighbour that the path would lead to
    root = tmp_path / "set"
    describe(root, "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: [a]\nnc: 1\n")
    image(root / "train/images/a.jpg")
    image(root / "valid/images/b.jpg")
    (root / "train/labels").mkdir()
    (root / "train/labels/a.txt").write_text("0 0.5 0.5 1 1")
    assert list(yolo.find_splits(root)) == ["train", "val"]
    tables, _ = read(root)
    assert (tables.images.files.to_list(), len(tables.objects)) == (["train/images/a.jpg"], 1)


def test_paths_outside_only_by_an_absolute_path(tmp_path: Path) -> None:
    put(tmp_path / "pictures", "a", "0 0.5 0.5 1 1")
    describe(tmp_path / "set", "path: ../pictures\ntrain: images/train\nnames: [a]\n")
    with pytest.raises(DataError, match="none of the folders"):
        read(tmp_path / "set")
    describe(tmp_path / "set", f"path: {tmp_path / 'pictures'}\ntrain: images/train\nnames: [a]\n")
    assert len(read(tmp_path / "set")[0].objects) == 1
    describe(tmp_path / "set", f"train: {tmp_path / 'pictures/images/train'}\nnames: [a]\n")
    tables, _ = read(tmp_path / "set")
    assert tables.image_path(0) == tmp_path / "pictures/images/train/a.png"
    assert len(tables.objects) == 1


@pytest.mark.parametrize("path", ["/content/gone", "coco8", "."])
def test_a_set_that_was_moved_is_found_beside_its_yaml(tmp_path: Path, path: str) -> None:
    describe(tmp_path, f"path: {path}\n{YAML}")
    put(tmp_path, "a", "0 0.5 0.5 1 1")
    assert len(read(tmp_path)[0].objects) == 1


def test_lists_of_images(tmp_path: Path) -> None:
    outside = image(tmp_path / "elsewhere/images/z.png")
    (tmp_path / "elsewhere/labels").mkdir()
    (tmp_path / "elsewhere/labels/z.txt").write_text("0 0.5 0.5 1 1\n0 0.5 0.5 1 1")
    root = tmp_path / "set"
    describe(root, "train: [lists/one.txt, images/val]\nnames: [a]\n")
    put(root, "a", "0 0.5 0.5 1 1")
    put(root, "b", None, split="val")
    (root / "lists").mkdir()
    lines = ["./images/train/a.png", "images/train/A.png", str(outside), "", "images/gone.png", "images/train/a.png"]
    (root / "lists/one.txt").write_text("\n".join([*lines, "x" * 300, "../../elsewhere/images/z.png"]))
    tables, findings = read(root)
    assert tables.images.files.to_list() == ["images/train/a.png", outside.as_posix(), "images/val/b.png"]
    assert len(tables.objects) == 3
    assert noted(findings) == [
        ("image-letter-case", "one.txt", "line 2"),
        ("image-missing", "one.txt", "line 5"),
        ("image-listed-twice", "one.txt", "line 6"),
        ("image-missing", "one.txt", "line 7"),
        ("image-missing", "one.txt", "line 8"),
    ]


def test_labels_follow_the_last_folder_images_and_no_folder_above_the_set(tmp_path: Path) -> None:
    root = tmp_path / "images" / "set"
    assert yolo.label_path(root / "images/images/a.b.jpg", root) == root / "images/labels/a.b.txt"
    assert yolo.label_path(root / "photos/a.jpg", root) == root / "photos/a.txt"
    assert yolo.label_path(tmp_path / "images/x/a.jpg", root) == tmp_path / "labels/x/a.txt"


def test_what_is_recognised(tmp_path: Path) -> None:
    assert yolo.find_splits(tmp_path) == {}
    describe(tmp_path, "lr: 0.1\n", "train.yaml")
    describe(tmp_path, "{", "broken.yaml")
    assert yolo.find_splits(tmp_path) == {}
    put(tmp_path, "a", "")
    own = describe(tmp_path, YAML, "coco8.yaml")
    assert list(yolo.find_splits(tmp_path)) == list(yolo.find_splits(own)) == ["train"]
    other = describe(tmp_path, YAML, "second.yml")
    with pytest.raises(DataError, match=r"several files.*coco8\.yaml, second\.yml"):
        yolo.find_splits(tmp_path)
    assert list(yolo.find_splits(other)) == ["train"]
    with pytest.raises(DataError, match="no split 'val'"):
        read(own, "val")
    with pytest.raises(DataError, match="names"):
        yolo.find_splits(tmp_path / "train.yaml")


def test_other_keys_are_splits_where_they_name_images(tmp_path: Path) -> None:
    describe(tmp_path, YAML + "minival: images/minival\nlicense: labels\nroboflow: {project: x}\n")
    put(tmp_path, "a", "")
    put(tmp_path, "b", "", split="minival")
    assert list(yolo.find_splits(tmp_path)) == ["train", "minival"]


def test_folders_without_a_yaml(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("cat\nyes\n\n")
    image(tmp_path / "images/a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("1 0.5 0.5 1 1")
    tables, _ = read(tmp_path, "all")
    assert (names(tables), tables.objects.labels.tolist()) == (["cat", "yes"], [1])
    (tmp_path / "images/a.png").unlink()
    (tmp_path / "labels/a.txt").unlink()
    put(tmp_path, "a", "0 0.5 0.5 1 1")
    put(tmp_path, "b", "", split="holiday")
    assert list(yolo.find_splits(tmp_path)) == ["holiday", "train"]


def test_labels_beside_images_without_a_yaml(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    for name in ("a", "b"):
        image(tmp_path / f"{name}.png")
    assert yolo.find_splits(tmp_path) == {}
    (tmp_path / "a.txt").write_text("1 0.5 0.5 0.5 0.5\n")
    assert yolo.find_splits(tmp_path) == {"all": (tmp_path,)}
    tables, findings = read(tmp_path, "all")
    assert tables.images.files.to_list() == ["a.png", "b.png"]
    assert (tables.objects.boxes.tolist(), tables.objects.labels.tolist()) == ([[10, 5, 30, 15]], [1])
    assert noted(findings) == []
    (tmp_path / "classes.txt").write_text("cat\n\ndog\n")
    with pytest.raises(DataError, match=r"classes\.txt: must have the name of a class on every line"):
        yolo.find_splits(tmp_path)


VALID = ["0 0.5 0.5 1 1\n1 0.2 0.2 0.1 0.1\n", YAML]
edits = st.lists(st.tuples(st.integers(0, 80), st.integers(0, 3), st.binary(max_size=4)), max_size=6)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits, st.booleans(), st.sampled_from(["", "kpt_shape: [1, 2]\n", "path: .\nnc: 2\n", "val: [a, b]\n"]))
def test_damage_is_findings_or_a_data_error(
    tmp_path: Path, edits: list[tuple[int, int, bytes]], labels: bool, more: str
) -> None:
    describe(tmp_path, YAML.replace("val: images/val\n", "") + more)
    put(tmp_path, "a", VALID[0])
    file = tmp_path / ("labels/train/a.txt" if labels else "data.yaml")
    content = file.read_bytes()
    for place, cut, new in edits:
        content = content[:place] + new + content[place + cut :]
    file.write_bytes(content)
    try:
        for split in yolo.find_splits(tmp_path):
            tables, _ = read(tmp_path, split)
            for row in range(len(tables.objects)):
                tables.object_entry(row)
    except DataError:
        pass
