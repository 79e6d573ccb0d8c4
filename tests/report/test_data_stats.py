"""The page of a set's statistics: all sections, escaped, from elsewhere nothing, right numbers in its bars."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from data_room_fabricated import EVIL, write_set
from test_html import Page

from sightline.contract import Anchors
from sightline.data.dataset import open_dataset
from sightline.data.statistics import PER_IMAGE_EDGES, Spread, describe
from sightline.evaluation.anchor_coverage import anchor_coverage
from sightline.report import data_plots
from sightline.report.data_stats import (
    StatsPage,
    class_rows,
    coverage_text,
    render,
    split_facts,
    spread_text,
    worst_pictures,
)


@pytest.fixture
def index(tmp_path):
    (tmp_path / "set").mkdir()
    folder = write_set(tmp_path / "set" / EVIL.replace('"', ""))
    return open_dataset(folder, "train").records.table


def corner(size):
    del size
    return Anchors(torch.tensor([[0.0, 0.0, 30.0, 30.0]]), 0.7, 0.3, keeps_best=True)


def test_the_page_has_every_section_and_what_users_write_stays_text(index):
    coverage = anchor_coverage(index, corner)
    stats = StatsPage(EVIL, (describe(index, EVIL),), "a <model>", {EVIL: coverage}, {EVIL: worst_pictures(coverage)})
    text = render(stats)
    page = Page(text)
    assert page.headings == ["Splits", "Objects", "Classes", "Anchors"]
    assert '<b> "' not in text and text.count("<script") == 1
    assert page.words.count(EVIL) >= 4  # the title, the split, its anchors, the class
    for tag, name, value in page.attributes:
        if name in ("src", "href", "xlink:href"):
            assert value.startswith(("#", "data:")), (tag, name, value[:50])
    assert Page(render(StatsPage("bare", (describe(index, "train"),)))).headings == ["Splits", "Objects", "Classes"]


def test_facts_by_hand(index):
    facts = split_facts(describe(index, "train"))
    # Two boxes were dropped at reading: one outside, one without area.
    wanted = {"images": "4", "of these without objects": "2", "objects": "2", "ignored (crowds, difficult)": "1"}
    wanted |= {"classes with objects": "2 of 3", "objects an image": "0 / 0 / 1", "mean of that": "0.50"}
    wanted |= {
        "with a mask": "2",
        "with keypoints": "1",
        "labelled keypoints": "2",
        "small, under 32² pixels": "2 (100.0%)",
    }
    assert {name: facts[name] for name in wanted} == wanted
    assert facts["width over height"] == "0.67 / 0.83 / 1.00"
    assert spread_text(None) == "-" and spread_text(Spread(0, 1000, 2, 3.14159), 2) == "0.00 / 1,000.00 / 3.14"


def test_classes_of_all_splits_most_frequent_first(index):
    one = describe(index, "train")
    counts = replace(one.classes[1], objects=9)
    other = replace(one, split="val", classes=(counts, replace(counts, name="bird", objects=4)))
    rows = class_rows([one, other])
    assert [name for name, _ in rows] == ["dog", "bird", EVIL, "person"]
    assert [None if count is None else count.objects for count in dict(rows)["bird"]] == [None, 4]


def bars(svg):
    """Texts of a plot."""
    return [element.text for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]


def test_bars_say_what_they_span():
    spans = [data_plots.range_text(PER_IMAGE_EDGES, place) for place in range(len(PER_IMAGE_EDGES))]
    assert (spans[0], spans[5], spans[-2], spans[-1]) == ("0", "5 to 6", "50 to 99", "100 or more")
    assert data_plots.range_text((0, 0.5, 2), 1) == "0.5 to 2"
    assert data_plots.range_text((0, 0.5, 2), 0) == "0 to 0.5"


def test_plots_of_nothing_are_empty(index):
    split = describe(index, "train")
    assert data_plots.size_plot([]) == data_plots.per_image_plot([]) == ""
    assert data_plots.class_plot(replace(split, classes=()), 0) == ""
    nothing = anchor_coverage(index, corner, np.zeros(0, np.int64))
    assert data_plots.overlap_plot(nothing, 0) == data_plots.coverage_plot([nothing.overall()], 0) == ""
    assert worst_pictures(nothing) == ()


def test_many_classes_become_the_most_and_the_least_frequent(index):
    split = describe(index, "train")
    many = replace(split, classes=tuple(replace(split.classes[0], name=f"class {n}", objects=n) for n in range(50)))
    texts = bars(data_plots.class_plot(many, 0))
    assert {"class 49", "class 38", "class 11", "class 0"} <= set(texts)
    assert not {"class 37", "class 12"} & set(texts)
    assert not any("$" in text for text in texts)


def test_coverage_is_told_in_words_and_shown(index):
    coverage = anchor_coverage(index, corner)
    # Against (0, 0, 30, 30): the cat (10, 5, 30, 35) has 500 of 1000 pixels, the person (5, 5, 35, 35) 625 of 1175.
    assert coverage.overlaps.tolist() == pytest.approx([500 / 1000, 625 / 1175])
    text = coverage_text(replace(coverage, images_looked_at=2), "m")
    assert "2 of 4 images" in text and "0.7" in text and "0.3" in text and "the best" in text
    assert "all images" in coverage_text(replace(coverage, keeps_best=False), "m")
    assert "the best" not in coverage_text(replace(coverage, keeps_best=False), "m")
    first, second = worst_pictures(coverage)
    assert first.caption.startswith("1.png: best IoU of") and second.caption == "3.png: best IoU of person 0.53"
    assert len(worst_pictures(coverage, count=1)) == 1
    assert re.search(r"matched, from 0\.7", data_plots.overlap_plot(coverage, 0))
