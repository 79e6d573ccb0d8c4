import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from report_fabricated import COST, HISTORY, Images, judged

from sightline.evaluation.evaluate import judge
from sightline.report.gallery import gallery
from sightline.report.html import ReportData, render, versions, write_report
from sightline.structures import Detections

VOID = {"meta", "link", "img", "br", "input", "path", "use", "rect", "line", "circle", "stop"}


class Page(HTMLParser):
    """Checks that tags close in order; collects text, attributes and headings."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.headings, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data.strip())
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def full_report(names=("cat", "dog"), **changes):
    data = Images(6, names)
    evaluation = judged(data, [2, 1, 0, 2, 1, 2])
    content = {
        "title": "Faster R-CNN on made pictures",
        "config": {"backbone": {"name": "resnet18"}, "anchors": [32, 64], "minutes": None},
        "history": HISTORY,
        "evaluation": evaluation,
        "cost": COST,
        "gallery": gallery(evaluation, data, count=1),
        "findings": {"box clipped to the image": 3},
        "notes": ("Trained for two epochs.",),
    }
    return ReportData(**(content | changes))


def test_the_page_has_every_section_and_closes_every_tag():
    page = Page(render(full_report()))
    assert page.headings == [
        *("Precision and recall", "Classes", "What is wrong", "Calibration", "Predictions", "Training"),
        *("Cost", "Configuration", "Data", "Versions"),
    ]
    for word in ("77.3", "41.3 M", "backbone.name", "32, 64", "box clipped to the image", "Trained for two epochs."):
        assert word in page.words
    assert sum(tag == "svg" for tag, name, _ in page.attributes if name == "viewbox") == 7


def test_nothing_comes_from_elsewhere():
    page = Page(render(full_report()))
    for tag, name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert value.startswith(("#", "data:")), (tag, name, value[:60])
        assert not (tag == "script" and name == "src")
    assert not re.search(r"@import|url\((?!#)", render(full_report()))


@pytest.mark.parametrize("evil", ["<b>bold</b>", '"><script>alert(1)</script>', "</style></title>&amp;"])
def test_what_users_write_stays_text(evil):
    report = full_report(
        names=(evil, "dog"),
        title=evil,
        config={evil: evil, "list": [evil]},
        notes=(evil,),
        findings={evil: 1},
    )
    text = render(report)
    page = Page(text)
    assert evil not in text.replace("&amp;amp;", "")
    assert text.count("<script>") == 1
    assert page.words.count(evil) >= 6  # h1, setting, its value, note, finding, class


def test_nothing_measured_is_a_page_as_well():
    nothing = judged(Images(0, ()), [])
    page = Page(render(ReportData("empty", {}, [], nothing, versions={})))
    assert page.headings == ["Precision and recall", "Data"]
    assert "n/a" in page.words
    data = Images(2)
    blind = judge([Detections.empty(record.size) for record in data.records], data)
    assert "0.000" in Page(render(ReportData("blind", {}, [], blind, gallery=gallery(blind, data)))).words


def test_class_rows_carry_numbers_to_sort_by():
    text = render(full_report()).partition('id="classes"')[2].partition("</section>")[0]
    rows = re.findall(r"<tr><td>(cat|dog)</td>(.*?)</tr>", text)
    assert [name for name, _ in rows] == ["cat", "dog"]
    values = re.findall(r'data-value="([^"]*)"', rows[0][1])
    assert len(values) == 10
    assert float(values[4]) == 6


def test_the_file_is_written_whole(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(path, full_report())
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert path.stat().st_size < 1_000_000
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_versions_name_what_results_depend_on():
    assert {"sightline", "python", "torch", "hotcoco"} <= set(versions())


def test_pictures_are_called_by_their_files_and_by_their_ids_where_there_are_none():
    data = Images(2)
    data.records[1] = replace(data.records[1], path="photos/a&b.jpg")
    evaluation = judged(data, [2, 1])
    text = render(ReportData("t", {}, [], evaluation, gallery=gallery(evaluation, data)))
    assert "<figcaption>a&amp;b.jpg: F1" in text and 'alt="Truth and detections of a&amp;b.jpg"' in text
    assert "<figcaption>image 10: F1" in text and "image 11" not in text
