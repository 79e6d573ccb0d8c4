"""Tables of boxes, read: headers, splits, classes, where images are looked for, and what is noted where."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sightline.data.findings import Findings
from sightline.data.formats import csv_boxes
from sightline.data.tables import Tables
from sightline.errors import DataError

HEADER = "filename,class,xmin,ymin,xmax,ymax\n"


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (30, 20)).save(path)


def table(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def read(path: Path, split: str = "train") -> tuple[Tables, Findings]:
    findings = Findings(thorough=True)
    return csv_boxes.read(path, split, findings), findings


def names(tables: Tables) -> list[str]:
    return [str(c["name"]) for c in tables.categories]


def noted(findings: Findings) -> list[tuple[str, str]]:
    return [(f.code, f.where) for f in findings]


def test_the_banana_form(tmp_path: Path) -> None:
    for split, rows in (("train", "0.png,0,104,20,143,58\n1.png,0,68,175,118,223\n"), ("val", "0.png,0,1,2,3,4\n")):
        table(tmp_path / f"bananas_{split}/label.csv", "img_name,label,xmin,ymin,xmax,ymax\n" + rows)
        image(tmp_path / f"bananas_{split}/images/0.png")
    assert list(csv_boxes.find_splits(tmp_path)) == ["train", "val"]
    tables, findings = read(tmp_path)
    assert tables.objects.boxes.tolist() == [[104, 20, 143, 58], [68, 175, 118, 223]]
    assert tables.images.files.to_list() == ["images/0.png", "1.png"]
    assert tables.image_path(0) == tmp_path / "bananas_train/images/0.png"
    assert tables.objects.rows.tolist() == [2, 3]
    assert tables.locate_object(1) == (str(tmp_path / "bananas_train/label.csv"), "line 3")
    assert tables.locate_image(1)[1] == "line 3"
    assert (names(tables), noted(findings)) == (["0"], [])
    assert list(csv_boxes.find_splits(tmp_path / "bananas_val")) == ["val"]


@pytest.mark.parametrize(
    "text",
    [
        HEADER + "a.png,dog,1,2,11,22.5\na.png,cat,3,4,5,6\nb.png,,,,,\n",
        "\ufeffFileName;Width;Height;Class;XMin;YMin;XMax;YMax\na.png;30;20;dog;1;2;11;22.5\na.png;30;20;cat;3;4;5;6\n"
        "b.png;30;20;;;;;\n",
        "path\tlabel\tx1\ty1\tx2\ty2\r\na.png\tdog\t1\t2\t11\t22.5\r\na.png\tcat\t3\t4\t5\t6\r\nb.png\t\t\t\t\t\r\n",
        "category,image,x,y,w,h\ndog,a.png,1,2,10,20.5\ncat,a.png,3,4,2,2\n,b.png,,,,\n",
        "image,name,x,y,width,height\na.png,dog,1,2,10,20.5\na.png,cat,3,4,2,2\nb.png,,,,,\n",
        "file_name,width,height,bbox_x,bbox_y,bbox_width,bbox_height,label\na.png,30,20,1,2,10,20.5,dog\n"
        "a.png,30,20,3,4,2,2,cat\nb.png,30,20,,,,,\n",
        "a.png,1,2,11,22.5,dog\na.png,3,4,5,6,cat\nb.png,,,,,\n",
        "img_name, Label ,X Min,y_min,right,BOTTOM\n\n a.png , dog, 1, 2, 11, 22.5\na.png,cat,3,4,5,6\nb.png,,,,,\n",
    ],
)
def test_headers_that_mean_the_same(tmp_path: Path, text: str) -> None:
    tables, findings = read(table(tmp_path / "train.csv", text))
    assert tables.objects.boxes.tolist() == [[1, 2, 11, 22.5], [3, 4, 5, 6]]
    assert [names(tables)[label] for label in tables.objects.labels] == ["dog", "cat"]
    assert tables.images.files.to_list() == ["a.png", "b.png"]
    assert tables.objects.images.tolist() == [0, 0]
    assert tables.images.sizes[0].tolist() in ([0, 0], [20, 30])
    assert ("30" in text) == (tables.images.sizes[0].tolist() == [20, 30])
    assert noted(findings) == []


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("a.png,dog,1,2,x,4", "value-malformed"),
        ("a.png,dog,1,2,1_0,4", "value-malformed"),
        ("a.png,dog,1,2,3", "value-malformed"),
        ("a.png,dog,1,2,3,4,5", "value-malformed"),
        ("a.png,dog,1,2,nan,4", "number-not-finite"),
        ("a.png,dog,1,2,inf,4", "number-not-finite"),
        ("a.png,dog,1,2,1e31,4", "number-not-finite"),
        ("a.png,dog,1,2,,4", "key-missing"),
        ("a.png,dog,,,,", "key-missing"),
        ("a.png,,1,2,3,4", "key-missing"),
        (",dog,1,2,3,4", "key-missing"),
        ("a\0.png,dog,1,2,3,4", "value-malformed"),
        (f"{'a' * 300}.png,dog,1,2,3,4", "value-malformed"),
    ],
)
def test_a_bad_row_is_noted_and_left_out(tmp_path: Path, row: str, code: str) -> None:
    text = f'{HEADER}"a\nb.png",dog,1,2,3,4\n{row}\n\nb.png,dog,5,6,7,8\n'
    tables, findings = read(table(tmp_path / "train.csv", text))
    assert noted(findings) == [(code, "line 4")]
    assert tables.objects.rows.tolist() == [2, 6]


def test_sizes(tmp_path: Path) -> None:
    rows = ["a.png,30,20,dog,1,2,3,4", "a.png,,,dog,1,2,3,4", "a.png,30,21,dog,1,2,3,4", "b.png,0,0,dog,1,2,3,4"]
    rows += ["b.png,x,20,dog,1,2,3,4", "b.png,2.5,20,dog,1,2,3,4", "b.png,,20,dog,1,2,3,4"]
    text = "filename,width,height,class,xmin,ymin,xmax,ymax\n" + "\n".join(rows)
    tables, findings = read(table(tmp_path / "train.csv", text))
    assert tables.images.sizes.tolist() == [[20, 30], [0, 0]]
    assert noted(findings) == [
        ("value-malformed", "line 6"),
        ("value-malformed", "line 7"),
        ("key-missing", "line 8"),
        ("value-malformed", "line 4"),
    ]


def test_a_missing_column_is_an_error_that_names_those_there(tmp_path: Path) -> None:
    table(tmp_path / "train.csv", "filename,colour,xmin,ymin,xmax\na.png,red,1,2,3\n")
    with pytest.raises(
        DataError, match=r"train\.csv, line 1: no column for class, ymax; there are filename, colour, xmin"
    ):
        read(tmp_path)
    table(tmp_path / "train.csv", "")
    with pytest.raises(DataError, match="no column for filename"):
        read(tmp_path / "train.csv")


@pytest.mark.parametrize(
    ("header", "row", "size"),
    [
        ("image_id,label,x_min,y_min,x_max,y_max", "a.png,cat,1,2,3,4", [0, 0]),
        ("img,name,left,top,right,bottom", "a.png,cat,1,2,3,4", [0, 0]),
        ("image_name,class,x_min,y_min,x_max,y_max,w,h", "a.png,cat,1,2,3,4,30,20", [20, 30]),
        ("image_id,class,x,y,w,h", "a.png,cat,1,2,2,2", [0, 0]),
        ("image_id,file_name,class,x,y,w,h", "7,a.png,cat,1,2,2,2", [0, 0]),
        ("image_id,class,x,y,w,h,width,height", "a,cat,1,2,2,2,30,20", [20, 30]),
    ],
)
def test_columns_as_they_are_called_elsewhere(tmp_path: Path, header: str, row: str, size: list[int]) -> None:
    image(tmp_path / "a.png")
    tables, findings = read(table(tmp_path / "train.csv", f"{header}\n{row}\n"))
    assert (tables.objects.boxes.tolist(), tables.images.sizes.tolist()) == ([[1, 2, 3, 4]], [size])
    assert (tables.images.files.to_list(), noted(findings)) == (["a.png"], [])


def test_a_defect_names_the_column_as_the_file_does(tmp_path: Path) -> None:
    rows = [
        "a.png,dog,z,2,3,4,,",
        ",dog,1,2,3,4,,",
        "a.png,,1,2,3,4,,",
        "a.png,dog,1,2,3,,,",
        "a.png,dog,1,2,3,4,1.5,2",
    ]
    _, findings = read(table(tmp_path / "a.csv", "\n".join(["img,Label,Left,TOP,right,bottom,w,h", *rows])), "a")
    assert [finding.what for finding in findings] == [
        "Left must be a number, got 'z'",
        "img is missing",
        "Label is missing",
        "bottom is missing",
        "w and h must be whole numbers",
    ]
    _, findings = read(table(tmp_path / "a.csv", "a.png,1,2,3,4,dog\na.png,1,2,x,4,dog\n"), "a")
    assert [finding.what for finding in findings] == ["xmax must be a number, got 'x'"]


def test_tables_of_other_things_are_passed_over(tmp_path: Path) -> None:
    for name, header in (("sizes", "image_id,w,h"), ("classes_of", "image,label"), ("log", "x,y,w,h")):
        table(tmp_path / f"{name}.csv", header + "\n1,2,3\n")
    assert csv_boxes.find_splits(tmp_path) == {}
    table(tmp_path / "boxes.tsv", HEADER.replace(",", "\t"))
    assert list(csv_boxes.find_splits(tmp_path / "boxes.tsv")) == ["all"]


def test_further_columns_become_keys(tmp_path: Path) -> None:
    header = "filename,class,xmin,ymin,xmax,ymax,colour,mask_file,area,Difficult,,isCrowd\n"
    rows = "a.png,dog,1,2,3,4,red,x.png,7,1,9,0\na.png,dog,1,2,3,4,,,,,,\na.png,dog,1,2,3,4,,,,2,,\n"
    tables, findings = read(table(tmp_path / "train.csv", header + rows))
    entry = tables.object_entry(0)
    own = {key: value for key, value in entry.items() if key not in ("id", "image_id", "category_id", "bbox")}
    texts = {"colour": "red", "column_mask_file": "x.png", "column_area": "7", "column_11": "9"}
    assert own == {**texts, "difficult": 1, "iscrowd": 0}
    assert tables.objects.ignore.tolist() == [True, False]
    assert noted(findings) == [("value-malformed", "line 4")]


def test_splits_by_file_folder_and_column(tmp_path: Path) -> None:
    row = "a.png,dog,1,2,3,4\n"
    for name in ("train_labels.csv", "test_Annotations.csv", "valid/_annotations.csv", "pets/labels.csv", "labels.csv"):
        table(tmp_path / name, HEADER + row)
    table(tmp_path / "other/train.csv", HEADER + row)
    table(tmp_path / "results.csv", "epoch,loss\n1,2\n")
    table(tmp_path / "classes.csv", "dog,0\n")
    found = {name: path.relative_to(tmp_path).as_posix() for name, path in csv_boxes.find_splits(tmp_path).items()}
    assert found == {
        "all": "labels.csv",
        "test": "test_Annotations.csv",
        "train": "other/train.csv",
        f"{tmp_path.name}-train_labels": "train_labels.csv",
        "valid": "valid/_annotations.csv",
        "pets": "pets/labels.csv",
    }


def test_a_column_of_splits(tmp_path: Path) -> None:
    header = HEADER.replace("\n", ",split\n")
    text = f"{header}a.png,dog,1,2,3,4,train\nb.png,cat,1,2,3,4,val\nc.png,ant,1,2,3,4,\nd.png,cat,5,6,7,8,train\n"
    table(tmp_path / "boxes.csv", text)
    image(tmp_path / "images/train/d.png")
    assert list(csv_boxes.find_splits(tmp_path)) == ["train", "val", "all"]
    tables, _ = read(tmp_path)
    assert tables.images.files.to_list() == ["a.png", "images/train/d.png"]
    assert [names(tables)[label] for label in tables.objects.labels] == ["dog", "cat"]
    assert names(tables) == names(read(tmp_path, "val")[0]) == ["ant", "cat", "dog"]
    table(tmp_path / "more.csv", text)
    with pytest.raises(DataError, match="both have a split 'train'"):
        csv_boxes.find_splits(tmp_path)


def test_classes_agree_over_the_splits_and_numbers_are_in_their_order(tmp_path: Path) -> None:
    table(tmp_path / "train.csv", HEADER + "a.png,10,1,2,3,4\na.png,9,1,2,3,4\n")
    table(tmp_path / "val.csv", HEADER + "a.png,1,1,2,3,4\n")
    assert names(read(tmp_path)[0]) == names(read(tmp_path, "val")[0]) == ["1", "9", "10"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.csv", "wolf,1\ndog,0\nunused,2\n"),
        ("classes.csv", "id,name\n2,unused\n0,dog\n1,wolf\n"),
        ("classes.txt", "dog\nwolf\n\nunused\n"),
    ],
)
def test_a_list_of_classes_gives_order_and_numbers(tmp_path: Path, name: str, content: str) -> None:
    table(tmp_path / "sub/train.csv", HEADER + "a.png,1,1,2,3,4\na.png,dog,1,2,3,4\na.png,cow,1,2,3,4\n")
    table(tmp_path / name, content)
    tables, findings = read(tmp_path)
    assert (names(tables), tables.objects.labels.tolist()) == (["dog", "wolf", "unused"], [1, 0])
    assert noted(findings) == [("class-unknown", "line 4")]


def test_numbers_that_all_lie_one_beside_the_list_are_told(tmp_path: Path) -> None:
    table(tmp_path / "train.csv", HEADER + "a.png,1,1,2,3,4\na.png,2,1,2,3,4\na.png,2,5,2,8,4\n")
    table(tmp_path / "classes.txt", "dog\ncat\n")
    tables, findings = read(tmp_path)
    assert noted(findings) == [("class-ids-off-by-one", "")]
    assert tables.objects.labels.tolist() == [0, 1, 1]
    table(tmp_path / "train.csv", HEADER + "a.png,1,1,2,3,4\na.png,2,1,2,3,4\na.png,dog,1,2,3,4\n")
    assert noted(read(tmp_path)[1]) == [("class-unknown", "line 3")]


@pytest.mark.parametrize("content", ["", "dog,0\ndog,1\n", "dog,0\ncat,0\n", "dog,0\ncat\n", "name\n"])
def test_a_list_of_classes_that_makes_no_sense(tmp_path: Path, content: str) -> None:
    table(tmp_path / "train.csv", HEADER)
    table(tmp_path / "classes.csv", content)
    with pytest.raises(DataError, match=r"classes\.csv"):
        read(tmp_path)


def test_where_images_are_looked_for(tmp_path: Path) -> None:
    places = ("a.png", "images/b.png", "train/c.png", "images/train/d.png", "images/E.png", "sub/f.png")
    for place in places:
        image(tmp_path / place)
    far = tmp_path / "sub/f.png"
    wanted = ["a.png", "b.png", "c.png", "d.png", "e.png", "sub\\f.png", str(far), "gone.png"]
    tables, _ = read(table(tmp_path / "train.csv", HEADER + "".join(f"{name},dog,1,2,3,4\n" for name in wanted)))
    assert tables.images.files.to_list() == [*places[:4], "images/e.png", "sub/f.png", str(far), "gone.png"]


def test_another_encoding_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_bytes((HEADER + "ä.png,dog,1,2,3,4\n").encode("latin-1"))
    with pytest.raises(
        DataError, match=r"not saved as UTF-8 \(line 2\); likely cause: another encoding.*save it as UTF-8"
    ):
        read(tmp_path)
    with pytest.raises(DataError, match="no split 'val'"):
        read(tmp_path, "val")


edits = st.lists(st.tuples(st.integers(0, 120), st.integers(0, 4), st.binary(max_size=4)), max_size=8)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits, st.booleans(), st.sampled_from([HEADER, HEADER.replace("\n", ",split\n"), ""]))
def test_damage_is_findings_or_a_data_error(
    tmp_path: Path, edits: list[tuple[int, int, bytes]], classes: bool, header: str
) -> None:
    tail = ",train" if "split" in header else ""
    rows = [f"a.png,dog,1,2,3,4{tail}", f"b.png,1,4,4,5,9{tail}"] if header else ["a.png,1,2,3,4,dog"]
    table(tmp_path / "train.csv", header + "\n".join(rows))
    table(tmp_path / "classes.csv", "dog,0\ncat,1\n")
    file = tmp_path / ("classes.csv" if classes else "train.csv")
    content = file.read_bytes()
    for place, cut, new in edits:
        content = content[:place] + new + content[place + cut :]
    file.write_bytes(content)
    try:
        for split in csv_boxes.find_splits(tmp_path):
            tables, _ = read(tmp_path, split)
            for row in range(len(tables.objects)):
                tables.object_entry(row)
    except DataError:
        pass
