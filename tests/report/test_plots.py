import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from report_fabricated import HISTORY, Images, judged

from sightline.evaluation.coco import ClassResult, CocoResult, Curve
from sightline.evaluation.curves import OperatingPoint
from sightline.report import plots


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]


def curve(name, precision=1.0):
    return Curve(name, np.linspace(0, 1, 101), np.full(101, precision), np.linspace(1, 0, 101))


def result_of(names):
    per_class = tuple(ClassResult(name, i / len(names), i / len(names), 0, 0, 1, 1) for i, name in enumerate(names))
    return CocoResult("boxes", {}, per_class, (), "COCO")


def test_losses_are_drawn_by_name_with_validation_beside_training():
    svg = plots.loss_plot(HISTORY)
    assert {"loss", "loss, validation", "loss_box"} <= set(texts(svg))
    assert "AP" not in texts(svg)


def test_a_single_row_missing_values_and_words_are_drawn_over():
    rows = [{"train/x": 1.0, "stage": "one"}, {"train/x": math.nan, "train/y": "word"}, {"train/x": None}]
    assert "x" in texts(plots.loss_plot(rows))
    assert plots.ap_plot([{"epoch": 1, "val/AP": 0.5}])


def test_each_plot_is_empty_where_there_is_nothing_to_draw():
    nothing = judged(Images(0), [])
    assert plots.loss_plot([]) == plots.ap_plot([]) == plots.learning_rate_plot([]) == ""
    assert plots.loss_plot([{"epoch": 1, "val/AP": 0.5}]) == ""
    assert plots.pr_plot(nothing.result.curves) == plots.class_plot(nothing.result) == ""


@pytest.mark.parametrize("name", ["<b>&", "$x_1$", "_hidden", "Ä кот"])
def test_any_class_name_is_written_as_it_is(name):
    svgs = plots.pr_plot([curve(name)]), plots.class_plot(result_of([name]))
    for svg in svgs:
        assert name in [text.strip() for text in texts(svg) if text]


def test_few_classes_have_colours_and_rings_and_many_have_a_mean():
    few = [curve(f"class {i}", i / 10) for i in range(3)]
    ring = [OperatingPoint("class 0", 0.5, 0.5, 0.5, 0.5)]
    assert plots.pr_plot(few) != plots.pr_plot(few, ring)
    many = [curve(f"class {i}") for i in range(plots.MOST_CURVES + 1)]
    assert "mean of 11 classes" in texts(plots.pr_plot(many))
    assert "class 3" not in texts(plots.pr_plot(many))


def test_of_very_many_classes_the_best_and_the_worst_get_a_bar():
    names = [f"class {i}" for i in range(200)]
    shown = [text for text in texts(plots.class_plot(result_of(names))) if text.startswith("class ")]
    assert len(shown) == plots.MOST_BARS
    assert {"class 0", "class 199"} <= set(shown)
    assert "class 100" not in shown


def test_svgs_take_the_pages_colour_and_width_and_share_no_ids():
    svgs = [plots.loss_plot(HISTORY), plots.ap_plot(HISTORY), plots.learning_rate_plot(HISTORY)]
    for svg in svgs:
        assert svg.startswith("<svg")
        assert "currentColor" in svg
        assert "#010203" not in svg
        assert not re.match(r"<svg[^>]* (width|height)=", svg)
    ids = [found for svg in svgs for found in re.findall(r'\bid="([^"]+)"', svg)]
    assert len(ids) == len(set(ids))
    used = [found for svg in svgs for found in re.findall(r'(?:url\(#|href="#)([^")]+)', svg)]
    assert set(used) <= set(ids)
