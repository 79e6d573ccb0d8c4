"""The check: a sound set has no findings, and every planted defect is found as what it is, where it is, and once."""

from collections import Counter
from pathlib import Path

import planted
import pytest
from planted import FORMS, OF_ALL, PLANTS, Bench, Place, sound

from sightline.data.doctor.check import Checkup, check
from sightline.data.finding_kinds import KINDS

CASES = [(form, code) for table in (PLANTS, OF_ALL) for form, plants in table.items() for code in plants]


def plant(form: str, code: str, folder: Path) -> tuple[Bench, list[Place]]:
    """A set with one defect, and where it must be found."""
    bench = sound(form.split(maxsplit=1)[0], folder)
    return bench, (PLANTS[form] | OF_ALL.get(form, {}))[code](bench, 1)


def places(checkup: Checkup, folder: Path) -> Counter[Place]:
    def below(file: str) -> str:
        return str(Path(file).relative_to(folder)) if file else ""

    return Counter((f.code, below(f.file), f.where, below(f.image), f.split) for f in checkup.findings)


@pytest.mark.parametrize("form", FORMS)
def test_a_sound_set_has_no_findings(tmp_path: Path, form: str) -> None:
    bench = sound(form, tmp_path)
    if form == "yolo":
        planted._as_list(bench)
    checkup = check(tmp_path)
    assert checkup.findings == ()
    assert (checkup.form, checkup.looked) == (form, True)
    assert [(name, len(t.images), len(t.objects)) for name, t in checkup.splits.items()] == [
        ("train", 3, 9),
        ("val", 3, 9),
    ]


@pytest.mark.parametrize(("form", "code"), CASES)
def test_a_defect_is_found_where_it_is_and_nothing_else(tmp_path: Path, form: str, code: str) -> None:
    _, expected = plant(form, code, tmp_path)
    found = places(check(tmp_path), tmp_path)
    if code == "file-unreadable" and form == "coco":  # it ends where it was cut
        assert [(one[0], one[1], one[4]) for one in found] == [(one[0], one[1], one[4]) for one in expected]
    else:
        assert found == Counter(expected)


def test_every_kind_is_planted() -> None:
    assert {code for _, code in CASES} | {"file-not-image"} == set(KINDS)
