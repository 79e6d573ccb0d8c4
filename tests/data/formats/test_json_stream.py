"""The JSON reader in windows: agreement with json.loads, places of elements, and errors for whatever is cut short."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from sightline.data.findings import Findings
from sightline.data.formats import coco, json_stream
from sightline.data.formats.json_stream import Chunk, Member, invalid, read_members
from sightline.errors import DataError

LISTS = ("images", "annotations")
SPECIAL = st.sampled_from(['"', "\\", "{", "}", "[", "]", "|", ",", ":", "é", "\u2028", "\0", "\n", "😀", "\ud800"])
TEXTS = st.text(st.one_of(SPECIAL, st.characters()), max_size=12)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=12,
)
ENTRIES = st.lists(st.one_of(st.dictionaries(TEXTS, VALUES, max_size=4), st.lists(VALUES, max_size=3)), max_size=6)
TOPS = st.fixed_dictionaries({}, optional={"images": ENTRIES, "annotations": ENTRIES, "info": VALUES, "é{": VALUES})
ANY_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "set.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def parts_of(path: Path) -> tuple[dict[str, Any], list[Chunk]]:
    """The object as the parts say it, lists put together from their chunks."""
    content: dict[str, Any] = {}
    chunks = []
    for part in read_members(path, LISTS):
        if isinstance(part, Member):
            content[part.key] = json.loads(part.text)
        else:
            elements = json.loads(part.text)
            assert part.first == len(content.get(part.key, []))
            content.setdefault(part.key, []).extend(elements)
            chunks.append(part)
    return content, chunks


def check_spans(path: Path, chunks: list[Chunk]) -> None:
    """The bytes of the file at each span are the element, which the chunk has at the place it says."""
    data = path.read_bytes()
    for chunk in chunks:
        elements = [element for element in json.loads(chunk.text) if isinstance(element, dict | list)]
        assert len(elements) == len(chunk.spans)
        for element, (start, length) in zip(elements, chunk.spans.tolist(), strict=True):
            assert json.loads(data[start : start + length]) == element
            begin = start - chunk.offset + 1
            assert chunk.text[begin : begin + length] == data[start : start + length]


@pytest.mark.parametrize("window", [1, 3, 16, 1 << 20])
@given(content=TOPS, indent=st.sampled_from([None, 0, 1]), ascii_only=st.booleans(), bom=st.booleans())
@ANY_FOLDER
def test_it_agrees_with_json_loads(
    tmp_path: Path, window: int, content: dict[str, Any], indent: int | None, ascii_only: bool, bom: bool
) -> None:
    text = json.dumps(content, indent=indent, ensure_ascii=ascii_only)
    if any("\ud800" <= sign <= "\udfff" for sign in text):  # UTF-8 has no place for half a sign
        text = json.dumps(content, indent=indent)
    path = write(tmp_path, b"\xef\xbb\xbf" * (bom and window >= 3) + text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "WINDOW", window)
        read, chunks = parts_of(path)
    assert read == content
    assert list(read) == list(content)
    check_spans(path, chunks)


SMALL = (
    '{"info": {"a": [1, {"b": "}]"}]}, "images": [{"id": 1, "file_name": "a\\"]}\\\\"},\n {"id": 2}],\n'
    ' "annotations": [{"id": 3, "segmentation": [[1, 2, 3, 4, 5, 6]]}], "n": -1.5e3, "categories": []}'
)


@pytest.mark.parametrize("window", [1, 5, 1 << 20])
def test_a_file_cut_at_any_byte_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    monkeypatch.setattr(json_stream, "WINDOW", window)
    whole = SMALL.encode()
    read, _ = parts_of(write(tmp_path, whole))
    assert read == json.loads(SMALL)
    for length in range(len(whole)):
        path = write(tmp_path, whole[:length])
        with pytest.raises(DataError) as raised:
            parts_of(path)
        assert str(path) in (raised.value.place or "")


@pytest.mark.parametrize("window", [1, 4, 1 << 20])
@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("", "line 1, column 1", "the file is empty"),
        ("  \n", "line 2, column 1", "the file is empty"),
        ("x", "line 1, column 1", "an opening brace"),
        ('{"a": 1} x', "line 1, column 10", "follows the end"),
        ('{"a": 1}\n\n]', "line 3, column 1", "follows the end"),
        ('{"a": 1 "b": 2}', "line 1, column 9", "a comma or a closing brace"),
        ('{"a" 1}', "line 1, column 6", "a colon"),
        ("{a: 1}", "line 1, column 2", "a key in double quotes"),
        ('{"a": 1,}', "line 1, column 9", "a key in double quotes"),
        ('{"images": [{}\n {}]}', "line 2, column 2", "comma|','"),
        ('{"images": [{}}', "line 1, column 15", "expected a c"),
        ('{"images": [{"a": 1}', "line 1, column 21", "has no end"),
        ('{"\\x": 1}', "line 1, column", "cannot be read"),
        ('{"a": ', "line 1, column 7", "is missing"),
        ('{"a": [1, 2', "line 1, column 7", "ends within a value"),
    ],
)
def test_errors_say_line_and_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, place: str, what: str, window: int
) -> None:
    monkeypatch.setattr(json_stream, "WINDOW", window)
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=what) as raised:
        coco.read(path, Findings())
    assert (raised.value.place or "").startswith(f"{path}, {place}")


EDITS = st.lists(
    st.tuples(st.integers(0, len(SMALL)), st.integers(0, 3), st.text('{}[],:"\\\\ 1a\n', max_size=3)),
    min_size=1,
    max_size=2,
)


@pytest.mark.parametrize("window", [1, 4, 9, 1 << 20])
@given(edits=EDITS)
@settings(parent=ANY_FOLDER, max_examples=300)
def test_it_accepts_what_json_loads_accepts_and_nothing_else(
    tmp_path: Path, window: int, edits: list[tuple[int, int, str]]
) -> None:
    text = SMALL
    for place, removed, added in edits:
        text = text[:place] + added + text[place + removed :]
    wanted = loaded(text)
    assume(wanted is not ASTRAY)
    path = write(tmp_path, text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "WINDOW", window)
        try:
            read, _ = parts_of(path)
        except (DataError, ValueError):
            read = None
    assert read == wanted


ASTRAY = object()


def loaded(text: str) -> Any:
    """What json.loads makes of it: None for what it refuses; ASTRAY where a key at the top comes twice."""
    try:
        pairs = json.loads(text, object_pairs_hook=list)
        content = json.loads(text)
    except ValueError:
        return None
    if not isinstance(content, dict):
        return None
    return content if len(pairs) == len(content) else ASTRAY


@pytest.mark.parametrize("text", ["[]", "3", '"images"', "null", "true", "-1"])
def test_anything_but_an_object_is_not_coco(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="starts with an object") as raised:
        parts_of(write(tmp_path, text))
    assert (raised.value.place or "").endswith("top level")


@pytest.mark.parametrize("window", [1, 3, 1 << 20])
@pytest.mark.parametrize("offset", range(12))
def test_lines_and_columns_are_counted_over_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int, offset: int
) -> None:
    monkeypatch.setattr(json_stream, "WINDOW", window)
    data = b"ab\n\ncde\n\nfgh"
    before = data[:offset]
    line, column = before.count(b"\n") + 1, offset - (before.rfind(b"\n") + 1) + 1
    error = invalid(write(tmp_path, data), "x", offset)
    assert (error.place or "").endswith(f"line {line}, column {column}")


def test_empty_lists_and_values_of_other_kinds(tmp_path: Path) -> None:
    content = {"images": [], "annotations": {"a": []}, "info": [], "x": "", "y": None, "z": -0.5}
    read, chunks = parts_of(write(tmp_path, json.dumps(content)))
    assert read == content
    assert [len(chunk.spans) for chunk in chunks if chunk.key == "images"] in ([], [0])


def test_elements_that_are_no_objects_have_no_span(tmp_path: Path) -> None:
    path = write(tmp_path, '{"images": [1, {"a": 1}, "x", [2], null]}')
    _, (chunk,) = parts_of(path)
    check_spans(path, [chunk])
    assert len(chunk.spans) == 2


def test_an_element_longer_than_many_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "WINDOW", 8)
    long = {"id": 1, "text": '[{"\\' * 300, "list": [[i] for i in range(200)]}
    path = write(tmp_path, json.dumps({"images": [{"id": 0}, long, {"id": 2}]}))
    read, chunks = parts_of(path)
    assert read["images"] == [{"id": 0}, long, {"id": 2}]
    check_spans(path, chunks)


@pytest.mark.parametrize("window", [16, 1 << 20])
def test_short_polygons_are_suspected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    monkeypatch.setattr(json_stream, "WINDOW", window)
    polygons: list[Any] = [
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6]],
        [],
        [[]],
        [[1, 2, 3, 4, 5, 6], [1, 2]],
        {"counts": [1]},
    ]
    path = write(tmp_path, json.dumps({"annotations": [{"segmentation": value} for value in polygons]}))
    _, chunks = parts_of(path)
    suspected = [chunk.first + place for chunk in chunks for place in chunk.suspects]
    assert {0, 3, 4} <= {*suspected} <= {0, 3, 4, 5}


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        list(read_members(tmp_path / "none.json", LISTS))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_members(tmp_path, LISTS))
