"""Numbers of a comparison from fabricated runs: spreads, ratios, differences, the lectures' own table."""

import csv
import io
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from report_fabricated import Images, judged

from sightline.cli.compare import table_parts
from sightline.comparing.lectures import lecture_rows
from sightline.comparing.table import as_csv, document_of
from sightline.evaluation.bootstrap import compare, compare_pairs
from sightline.report.comparison import ComparisonReport, render_comparison
from sightline.report.comparison_data import (
    ComparedRun,
    ComparedSystem,
    base_of,
    duration,
    milliseconds,
    pairs_of,
    quantity,
    ratios,
)
from sightline.report.comparison_pictures import Panel, SameImage, same_images


def system(name: str, *values: dict[str, float | None], base: str | None = None, **more: object) -> ComparedSystem:
    runs = tuple(
        ComparedRun(
            seed, f"{name}-seed{seed}", f"{name}-seed{seed}/report.html", numbers, {"a<b": 0.25}, (), ("few <b>",)
        )
        for seed, numbers in enumerate(values)
    )
    return ComparedSystem(name, str(more.pop("model", name)), "train", base=base, runs=runs, **more)


def test_numbers_are_means_and_sample_deviations_of_the_runs_that_have_them() -> None:
    row = system("a", {"AP": 0.1, "flops": None}, {"AP": 0.4, "flops": 7.0}, {"AP": None})
    assert row.mean("AP") == pytest.approx(0.25) and row.deviation("AP") == pytest.approx(np.std([0.1, 0.4], ddof=1))
    assert row.mean("flops") == 7.0 and row.deviation("flops") is None
    assert row.mean("nothing") is None and row.class_mean("a<b") == 0.25


def test_ratios_and_differences_in_table_and_json() -> None:
    rows = [
        system("slow", {"AP": 0.5, "milliseconds": 400.0, "AP50": 0.7}),
        system("fast", {"AP": 0.6, "milliseconds": 10.0, "AP50": 0.7}),
        system("faster", {"AP": 0.55, "milliseconds": 5.0}, base="fast"),
        system("gone", state="failed", message="it went, wrong"),
    ]
    assert ratios(rows, "milliseconds") == [1.0, 40.0, 80.0, None]
    document = document_of(rows, (), (), place="here", settings={"x": 1})
    assert json.loads(json.dumps(document)) == document
    assert [row["delta"]["AP"] for row in document["systems"]] == [None, pytest.approx(0.1), pytest.approx(-0.05), None]
    assert [row["compared_with"] for row in document["systems"]] == [None, "slow", "fast", "slow"]
    assert [row["times_as_fast"]["milliseconds"] for row in document["systems"]] == [1.0, 40.0, 80.0, None]
    assert document["systems"][3]["message"] == "it went, wrong" and not document["finished"]
    assert [row["warnings"] for row in document["systems"]] == [["few <b>"], ["few <b>"], ["few <b>"], []]
    lines = list(csv.DictReader(io.StringIO(as_csv(rows))))
    assert [line["system"] for line in lines] == ["slow", "fast", "faster", "gone"]
    assert float(lines[2]["milliseconds_times_as_fast"]) == 80.0 and lines[3]["AP"] == ""
    assert lines[3]["message"] == "it went, wrong" and "AP_std" not in lines[0]


def test_several_as_one_are_compared_with_the_best_of_them() -> None:
    """Better than the first of them says little where another one alone is better than all."""
    rows = [
        system("a", {"AP": 0.3}, {"AP": 0.5}),
        system("b", {"AP": 0.6}),
        system("gone", state="failed"),
        system("both", {"AP": 0.5}, base="a", members=("a", "gone", "b")),
        system("again", {"AP": 0.7}, base="both"),
    ]
    told = document_of(rows, (), (), place="here", settings={})["systems"]
    assert told[3]["compared_with"] == "b" and told[3]["delta"]["AP"] == pytest.approx(-0.1)
    assert told[4]["compared_with"] == "both" and told[4]["delta"]["AP"] == pytest.approx(0.2)
    line = list(csv.DictReader(io.StringIO(as_csv(rows))))[3]
    assert line["compared_with"] == "b" and float(line["AP_delta"]) == pytest.approx(-0.1)
    page = render_comparison(ComparisonReport("t", "here", rows, (), (), (), {}))
    assert re.search(r">both<.*?-0\.100.*?>b</td>", page, re.DOTALL)
    # Without a number of any, the first of them; of equals, too.
    blank = [replace(row, runs=()) for row in rows]
    same = [rows[0], replace(rows[0], name="b"), *rows[2:]]
    assert base_of(blank, blank[3]) is blank[0] and base_of(same, same[3]) is same[0]


def test_of_many_rows_several_as_one_have_an_interval_with_the_best_of_them() -> None:
    rows = [system(f"r{place}", {"AP": place / 10}) for place in range(5)]
    rows.append(system("both", {"AP": 0.2}, base="r1", members=("r1", "r3")))
    assert pairs_of(rows, rows) == [(1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (5, 3)]
    assert pairs_of(rows, [rows[0], rows[3], rows[5]]) == [(1, 0), (2, 0), (2, 1)]
    assert pairs_of(rows, [*rows[1:], replace(rows[5], name="more")])[-3:] == [(5, 0), (4, 2), (5, 2)]


def test_columns_of_the_terminal_say_what_they_are_of_and_stay_together() -> None:
    numbers = dict.fromkeys(("AP", "AP50", "VOC07_AP50"), 0.5)
    numbers |= {"train_seconds": 60.0, "proposal_seconds": 1.0, "milliseconds": 40.0, "proposal_milliseconds": 30.0}
    numbers |= {"given_milliseconds": 10.0, "parameters": 1e6, "flops": 1e9}
    rows = [system("slow", numbers), system("fast", {**numbers, "AP": 0.6, "milliseconds": 10.0})]
    parts = table_parts(rows)
    assert [heads for heads, _ in parts] == [
        ["system", ">AP", ">Δ AP", "against", ">AP50", ">VOC07", ">training", ">x training", ">proposing, training"],
        ["system", ">an image", ">x image", ">proposing", ">with proposals given", ">x given", ">parameters", ">FLOPs"],
    ]
    assert [row[:4] for row in parts[0][1]] == [["slow", "0.500", "", ""], ["fast", "0.600", "+0.100", "slow"]]
    assert [row[:3] for row in parts[1][1]] == [["slow", "40 ms", "1"], ["fast", "10 ms", "4"]]
    assert [heads[-1] for heads, _ in table_parts(rows, 4)] == [">AP50", ">proposing, training", ">proposing", ">FLOPs"]
    with_state = table_parts([*rows, system("gone", state="interrupted")])
    assert [heads[:2] for heads, _ in with_state] == [["system", "state"], ["system", ">proposing, training"]]
    assert with_state[0][0][-1] == ">x training"
    assert [row[1] for row in with_state[0][1]] == ["finished", "finished", "interrupted"]
    page = render_comparison(ComparisonReport("t", "here", rows, (), (), (), {}))
    assert all(f"x {name}" in page for name in ("training", "image", "given"))


def test_page_tells_what_was_interrupted_from_what_waits() -> None:
    rows = [system("cut", state="interrupted"), system("next", state="waiting")]
    page = render_comparison(ComparisonReport("t", "here", rows, (), (), (), {}))
    assert "<p>cut was interrupted.</p>" in page and "<p>next waits for its turn.</p>" in page
    assert [row["state"] for row in document_of(rows, (), (), place="", settings={})["systems"]] == [
        "interrupted",
        "waiting",
    ]


def test_the_table_of_the_lectures_comes_out_of_its_own_numbers() -> None:
    """84 h, 9.5 h: 8.8 times; 50, 2, 0.2 s: 25 and 250 times; 47, 0.32 s: 146 times."""
    hours = 3600.0
    ours = [
        ("faster_rcnn", system("mine", {"milliseconds": 200.0, "given_milliseconds": 200.0, "VOC07_AP50": 0.669})),
        ("rcnn", system("rcnn", {"train_seconds": 84 * hours, "milliseconds": 5e4, "given_milliseconds": 4.7e4})),
        ("fast_rcnn", system("fast", {"train_seconds": 9.5 * hours, "milliseconds": 2e3, "given_milliseconds": 320.0})),
        ("other", system("other", {"milliseconds": 1e9})),
    ]
    rcnn, fast, faster = lecture_rows(ours)
    assert (rcnn.system, fast.system, faster.system) == ("rcnn", "fast", "mine")
    assert rcnn.train[:2] == (1.0, 1.0) and fast.train[0] == fast.train[1] == pytest.approx(8.84, abs=0.01)
    assert fast.test[0] == pytest.approx(25) == fast.test[1] and faster.test[:2] == pytest.approx((250, 250))
    assert fast.given[0] == pytest.approx(146.9, abs=0.1) == fast.given[1]
    assert faster.train == (None, None, None) and faster.mean_ap == (0.669, 0.669)
    assert lecture_rows(ours[:1]) == () and lecture_rows([ours[0], ours[3]]) == ()
    # A row with the weights of a row that happens to be called so is no such system.
    assert lecture_rows([ours[0], ("fast_rcnn", replace(ours[2][1], way="trained"))]) == ()


def test_every_pair_is_compared_as_if_alone() -> None:
    one = judged(Images(12), [2, 1, 0] * 4)
    founds = [one.found, replace(one.found, scores=np.sort(one.found.scores)), one.found]
    pairs = ((1, 0), (2, 0), (2, 1))
    together = compare_pairs(one.truth, founds, pairs, one.classes.names, resamples=20, seed=4)
    for (a, b), found in zip(pairs, together, strict=True):
        alone = compare(one.truth, founds[a], founds[b], one.classes.names, resamples=20, seed=4)
        for ours, theirs in zip((*found.overall, *found.per_class), (*alone.overall, *alone.per_class), strict=True):
            assert repr(ours) == repr(theirs)
    assert together[1].overall[0].difference == 0


def test_page_tells_of_every_row_and_escapes_names() -> None:
    images = Images(6)
    evaluation = judged(images, [2, 1, 0] * 2)
    history = [{"epoch": 1.0, "seconds": 60.0, "val/AP": 0.2}, {"epoch": 2.0, "seconds": 120.0, "val/AP": math.nan}]
    numbers = {"AP": 0.5, "AP50": 0.7, "milliseconds": 50.0, "given_milliseconds": 20.0, "proposal_milliseconds": 30.0}
    good = replace(system("go<od", {**numbers, "feature_bytes": 2.5e9}), evaluation=evaluation)
    good = replace(good, runs=(replace(good.runs[0], history=history),))
    bad = system("bad", state="failed", message="no <room>")
    pictures = same_images([good, bad], images)
    assert len(pictures) == 3 and [panel.title for panel in pictures[0].panels] == ["truth", "go<od"]
    page = render_comparison(ComparisonReport("t<t", "here", [good, bad], (), (), pictures, {"data": "d"}))
    assert "go&lt;od" in page and "go<od" not in page and "failed: no &lt;room&gt;" in page
    assert "Warning, go&lt;od: few &lt;b&gt;." in page
    assert "tries again what failed" in page and "<code>--resume</code>" in page
    whole = render_comparison(ComparisonReport("t", "here", [good], (), (), (), {}))
    assert "<code>--resume</code>" not in whole
    heads = re.findall(r"<th[^>]*>(?:<span[^>]*>)?([^<]+)", page)
    assert heads[:4] == ["system", "AP", "Δ AP", "compared with"] and "proposing" in heads and "proposals" not in heads
    assert "2.5 GB" in page and "with proposals given" in page and page.count("data:image/jpeg") == 6
    assert "AP against the time of an image" in page and "AP of the validation split while training" in page


def test_images_are_those_on_which_systems_disagree_most_and_others_at_random() -> None:
    images = Images(8)
    one = judged(images, [2] * 8)
    found = one.found
    kept = found.images != 5
    columns = {name: getattr(found, name)[kept] for name in ("images", "labels", "boxes", "scores")}
    two = replace(one, found=replace(found, **columns))
    chosen = same_images([replace(system(n, {}), evaluation=e) for n, e in (("a", one), ("b", two))], images, count=2)
    assert chosen[0].image_id == one.image_ids[5] and chosen[0].why == "the systems disagree"
    assert len({each.image_id for each in chosen}) == len(chosen) == 3


def test_images_are_called_by_their_files_and_by_their_ids_where_there_are_none() -> None:
    images = Images(2)
    images.records[1] = replace(images.records[1], path="photos/a&b.jpg")
    one = replace(system("one", {}), evaluation=judged(images, [2, 1]))
    pictures = same_images([one], images)
    assert {picture.name for picture in pictures} == {"image 10", "a&b.jpg"}
    page = render_comparison(ComparisonReport("t", "here", [one], (), (), pictures, {}))
    assert "<h3>a&amp;b.jpg: at random</h3>" in page and 'alt="a&amp;b.jpg: truth"' in page
    assert "<h3>image 10: at random</h3>" in page


@pytest.mark.parametrize(("panels", "row"), [(1, 1), (5, 5), (7, 7), (8, 4), (15, 5)])
def test_a_row_of_pictures_holds_the_truth_and_all_systems_up_to_six(panels: int, row: int) -> None:
    picture = SameImage(3, "image 3", "at random", tuple(Panel(f"p{place}", "", b"") for place in range(panels)))
    page = render_comparison(ComparisonReport("t", "here", [], (), (), [picture], {}))
    assert f'class="same" style="--row: {row}"' in page and "repeat(var(--row)" in page
    assert page.count("<figure>") == panels


def test_how_numbers_are_read() -> None:
    assert [duration(s) for s in (0.5, 90, 200, 8000)] == ["0.5 s", "90 s", "3.33 min", "2.22 h"]
    assert milliseconds(999) == "999 ms" and milliseconds(47_000) == "47 s"
    assert quantity(41_300_000) == "41.3 M" and quantity(12) == "12"
