"""Class names that are probably one."""

from pathlib import Path

import pytest

from sightline.data.doctor.class_names import check_names, one_edit_apart
from sightline.data.tables import Tables, TablesBuilder


def tables_of(counts: dict[str, int]) -> Tables:
    builder = TablesBuilder("csv", Path("a.csv"), Path(), object_place="line {}")
    builder.add_image("a.jpg", size=(10, 10))
    for label, number in enumerate(counts.values()):
        for row in range(number):
            builder.add_object(0, label, (0, 0, 5, 5), row=row)
    return builder.build([{"id": i, "name": name} for i, name in enumerate(counts, start=1)])


@pytest.mark.parametrize(
    ("counts", "found"),
    [
        ({"square": 50, "Square": 40}, True),
        ({"red star": 9, "red_star": 9}, True),
        ({"square": 50, "sqaure": 1}, True),
        ({"square": 100, "squares": 4}, True),
        ({"square": 100, "squares": 40}, False),
        ({"cat": 100, "car": 1}, False),
        ({"person": 100, "parson": 0}, False),
        ({"circle": 100, "square": 1}, False),
    ],
)
def test_names_that_look_like_one(counts: dict[str, int], found: bool) -> None:
    findings = list(check_names({"train": tables_of(counts)}))
    assert [finding.code for finding in findings] == ["class-names-alike"] * found
    assert all(name in finding.what for finding in findings for name in counts)


def edits(word: str) -> set[str]:
    letters = "abx"
    cuts = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    made = {a + b[1:] for a, b in cuts if b} | {a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1}
    made |= {a + c + b for a, b in cuts for c in letters} | {a + c + b[1:] for a, b in cuts if b for c in letters}
    return made - {word}


@pytest.mark.parametrize("word", ["", "a", "ab", "abba", "xaxb"])
def test_one_edit_against_all_edits(word: str) -> None:
    near = edits(word)
    assert all(one_edit_apart(word, other) and one_edit_apart(other, word) for other in near)
    far = {other for step in near for other in edits(step)} - near - {word}
    assert not any(one_edit_apart(word, other) for other in far)
