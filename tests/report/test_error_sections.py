import re
from dataclasses import replace

import pytest
import torch
from report_fabricated import Images, judged

from sightline.evaluation.bootstrap import compare
from sightline.evaluation.evaluate import judge
from sightline.evaluation.model_temperature import calibration_on, evaluation_at
from sightline.model_file import Calibration
from sightline.report import error_plots
from sightline.report.error_sections import (
    MOST_IN_MATRIX,
    calibration_section,
    comparison_section,
    sentence_on,
    wrong_section,
)
from sightline.structures import Detections

MANY = tuple(f"class {k}" for k in range(MOST_IN_MATRIX + 1))


def misnamed(names, images=6, scores=(0.9, 0.9)):
    """Each image's second object is found under the first one's name."""
    data, detections = Images(images, names), []
    for index in range(images):
        target = data.target(index)
        detections.append(Detections(target.boxes, torch.tensor(scores), 0 * target.labels, target.size))
    return judge(detections, data)


def words(section):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", section))


def rows(section, first):
    """Cells of the table rows that begin with a word."""
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in re.findall(r"<tr>(.*?)</tr>", section)]
    return [found for found in cells if found and found[0] == first]


def test_errors_are_told_by_kind_class_and_size():
    section = wrong_section(misnamed(("cat", "dog"), scores=(0.9, 0.8)))
    # Six dogs called cats: put right, dogs are all found.
    assert rows(section, "cat")[0] == ["cat", "6", "1.000", "0.000 (6)", *["0.000 (0)"] * 5]
    assert rows(section, "dog")[0] == ["dog", "6", "0.000", "1.000 (0)", *["0.000 (0)"] * 5]
    assert [rows(section, size)[0][1] for size in ("small", "medium", "large")] == ["0", "12", "0"]


def test_few_classes_have_a_matrix_and_many_the_pairs_most_confused():
    few, many = wrong_section(misnamed(("cat", "dog"))), wrong_section(misnamed(MANY))
    assert 'class="matrix"' in few
    assert rows(few, "cat")[-1] == ["cat", "6", "6", "0", "0", "-", "0"]
    assert rows(few, "dog")[-1] == ["dog", "6", "0", "0", "6", "cat (6)", "0"]
    assert rows(few, "dog")[-2] == ["dog", "6", "0", "0"]
    assert rows(few, "medium")[-1] == ["medium", "12", "6", "0", "6", "0"]
    assert rows(few, "no object") == [["no object", "0", "0", ""]]
    assert 'class="matrix"' not in many
    assert ["class 30", "class 0", "6"] in rows(many, "class 30")


def test_what_lies_on_ignored_objects_is_said_to_be_left_out():
    evaluation = misnamed(("cat", "dog"))
    ignored = replace(evaluation.truth, ignore=evaluation.truth.labels == 0)
    section = wrong_section(replace(evaluation, truth=ignored))
    assert "6 detections on ignored objects are left out" in words(section)


@pytest.mark.parametrize("evil", ["<b>&", '"><script>alert(1)</script>'])
def test_names_stay_text(evil):
    evaluation = misnamed((evil, "dog"))
    comparison = replace(compared(evaluation, evaluation), models=(evil, "B"))
    calibration = Calibration(2.0, 0.2, 0.1, evil, evil, 12, evil)
    sections = wrong_section(evaluation), comparison_section(comparison), calibration_section(evaluation, calibration)
    assert not any(evil in re.sub(r"<svg.*?</svg>", "", section, flags=re.DOTALL) for section in sections)


def test_calibration_tells_both_errors_and_where_the_temperature_comes_from():
    evaluation = judged(Images(60), [2, 1, 0] * 20, scores=(0.99, 0.9))
    calibration = calibration_on(evaluation, "made", "val")
    after = evaluation_at(evaluation, calibration.temperature)
    text = words(calibration_section(after, calibration))
    assert f"{after.reliability.ece:.3f}" in text and f"({evaluation.reliability.ece:.3f} at temperature 1)" in text
    assert f"by {calibration.temperature:.3f} , which was fitted to 120 detections of made, split val" in text
    assert "at temperature 1" not in words(calibration_section(evaluation, None))
    assert "temperature is 1" in words(calibration_section(evaluation, replace(calibration, temperature=1.0)))


def compared(one, other, resamples=50):
    return compare(one.truth, one.found, other.found, one.classes.names, resamples=resamples)


def test_a_comparison_says_who_is_better_or_that_nobody_is():
    good, bad = judged(Images(24), [2] * 24), judged(Images(24), [1] * 24)
    section = comparison_section(replace(compared(good, bad), models=("runs/one", "results.json")))
    text = words(section)
    assert "A is better in AP: +0.500 (95% interval +0.500 to +0.500)" in text
    assert "runs/one" in text and "results.json" in text
    assert "50 times 24 of the 24 images" in text and "unit: image, seed 0" in text
    assert rows(section, "dog")[0][-1] == "A is better" and rows(section, "cat")[0][-1] == "no significant difference"
    same = compared(good, good)
    assert sentence_on(same.overall[0], 0.95).startswith("No significant difference in AP: +0.000")
    nothing = compared(judged(Images(0), []), judged(Images(0), []))
    assert "nothing to compare" in words(comparison_section(nothing))


def test_nothing_is_said_of_nothing():
    nothing = judged(Images(0), [])
    assert wrong_section(nothing) == calibration_section(nothing, None) == comparison_section(None) == ""
    assert error_plots.error_plot(nothing.errors.overall) == ""
    assert error_plots.reliability_plot(nothing.reliability) == ""
    assert error_plots.comparison_plot(compared(nothing, nothing)) == ""


def test_of_very_many_classes_the_most_different_are_drawn():
    evaluation = misnamed(MANY)
    comparison = compared(evaluation, evaluation)
    many = replace(comparison, per_class=tuple(replace(comparison.overall[0], name=name) for name in MANY))
    svg = error_plots.comparison_plot(many)
    assert svg.count("(AP)") == 24 and "24 of 31 classes" in svg
