"""A few hundred cases of the fuzzer, that it sees what it looks for, and that its cases can be made again."""

import os
import random
from pathlib import Path

import pytest
from fuzz_readers import Case, fingerprint, run_cases
from mutations import spoil
from seed_sets import SETS, make_all

from sightline.data.findings import Findings
from sightline.data.formats import coco
from sightline.data.formats.layouts import recognise


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))


def test_only_typed_errors_come_out_and_no_file_is_touched(tmp_path: Path) -> None:
    report = run_cases(2026, range(300), tmp_path)
    assert report.cases == 300
    assert not report.failures, report.failures[0]
    assert report.outcomes["read: done"] > 150 and report.outcomes["read: DataError"] > 20


def test_the_sets_are_sound_before_they_are_spoilt(tmp_path: Path) -> None:
    made = make_all(tmp_path)
    assert set(made) >= set(SETS)
    for name in SETS:
        layout = recognise(made[name])
        for read in layout.readers.values():
            findings = Findings(thorough=True)
            tables = read(findings)
            findings.refuse()
            assert len(tables.images) > 0 and len(tables.objects) > 0, name


@pytest.mark.parametrize("number", [0, 7, 23])
def test_a_case_can_be_made_again(tmp_path: Path, number: int) -> None:
    seeds = make_all(tmp_path / "seeds")
    first, second = (Case(1, number, seeds, tmp_path / name) for name in ("a", "b"))
    assert first.name == second.name
    contents = [
        {path.relative_to(case.folder): path.is_file() and path.read_bytes() for path in case.folder.rglob("*")}
        for case in (first, second)
    ]
    assert contents[0] == contents[1]
    assert first.run().outcomes == second.run().outcomes


def test_an_untyped_error_and_a_changed_file_are_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = {"coco": make_all(tmp_path / "seeds")["coco"]}

    def careless(path: Path, *_: object) -> None:
        path.write_text("{}")
        raise KeyError("images")

    monkeypatch.setattr(coco, "read", careless)
    failures = [failure for number in range(5) for failure in _failures(tmp_path / str(number), number, seeds)]
    assert {"read", "hash"} <= {failure.step for failure in failures}
    assert any("KeyError" in failure.what for failure in failures)


def _failures(scratch: Path, number: int, seeds: dict[str, Path]) -> list[object]:
    scratch.mkdir()
    return list(Case(3, number, seeds, scratch).run().failures)


def test_the_fingerprint_sees_names_bytes_times_and_links(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    seen = [fingerprint(tmp_path)]
    for change in ("content", "time", "name", "link", "folder"):
        if change == "content":
            (tmp_path / "a").write_text("y")
        elif change == "time":
            os.utime(tmp_path / "a", ns=(0, 7))
        elif change == "name":
            (tmp_path / "a").rename(tmp_path / "b")
        elif change == "link":
            (tmp_path / "c").symlink_to("b")
        else:
            (tmp_path / "d").mkdir()
        seen.append(fingerprint(tmp_path))
    assert len(set(seen)) == 6 and fingerprint(tmp_path) == seen[-1]


def test_spoiling_spoils(tmp_path: Path) -> None:
    seeds = make_all(tmp_path)
    for name, place in seeds.items():
        before = fingerprint(place)
        for number in range(5):
            spoil(place, random.Random(number))
        assert fingerprint(place) != before, name
