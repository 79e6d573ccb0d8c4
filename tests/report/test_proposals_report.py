from dataclasses import dataclass
from io import BytesIO
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sightline.evaluation.perturbations import PERTURBATIONS
from sightline.evaluation.proposal_recall import proposal_recall
from sightline.evaluation.proposers import ProposerResult
from sightline.evaluation.repeatability import Repeatability, Repeated
from sightline.proposals.proposer import ImageProposals, Proposer
from sightline.report.proposal_pictures import (
    BANDS,
    beside,
    draw_first,
    how_many,
    legible,
    proposal_picture,
    spread,
)
from sightline.report.proposals import COLUMNS, ProposalsReport, render, table_row
from sightline.structures import Classes, Sample, Target


@dataclass(frozen=True)
class Nobody(Proposer):
    name: ClassVar[str] = "nobody"
    scored: ClassVar[bool] = True
    controllable: ClassVar[bool] = False

    def propose(self, image: Tensor, count: int) -> ImageProposals:
        raise NotImplementedError


CLASSES = Classes(("cat & dog", "never"))
TRUTH = Target(torch.tensor([[10.0, 10, 50, 50], [60, 20, 90, 80]]), torch.zeros(2, dtype=torch.int64), (100, 100))


def result(name: str, boxes: list[list[float]], count: int = 10, repeats: float | None = None) -> ProposerResult:
    rows = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    recall = proposal_recall([TRUTH], [rows], (1, count))
    found = None
    if repeats is not None:
        groups = np.array([2, 5])
        changes = tuple(Repeated(change, np.full(2, repeats), groups) for change in PERTURBATIONS)
        found = Repeatability(changes, 1, count)
    return ProposerResult(name, Nobody(), count, (ImageProposals(rows),), 0.25, recall, found)


def test_the_table_has_the_numbers_of_each_method():
    good = result("good", [[10, 10, 50, 50], [60, 20, 90, 80]], repeats=0.5)
    texts = dict(zip(COLUMNS[1:], (text for _, text in table_row(good)), strict=True))
    assert (texts["segments"], texts["scores"], texts["any count"]) == ("no", "yes", "no")
    assert (texts["s/image"], texts["proposals"], texts["repeats"]) == ("0.250", "2", "0.500")
    assert (texts["R@0.5"], texts["R@0.7"], texts["AR"], texts["AR .5:.95"]) == ("1.000",) * 4
    assert texts["AP"] == "n/a"
    assert dict(zip(COLUMNS[1:], (text for _, text in table_row(result("bad", []))), strict=True))["AR"] == "0.000"


def test_the_page_shows_what_was_measured_and_no_more():
    results = [result("good <one>", [[10, 10, 50, 50]], repeats=0.5), result("bad", [], count=300)]
    sample = Sample(torch.zeros(3, 100, 100, dtype=torch.uint8), TRUTH, 7)
    pictures = {each.name: [proposal_picture(sample, each.proposals[0])] for each in results}
    page = render(ProposalsReport("t", "1 image", results, CLASSES, pictures, {"a": 1}, "fast_rcnn"))
    assert "good &lt;one&gt;" in page and "<one>" not in page
    assert "cat &amp; dog" in page and "<td>never</td>" not in page
    assert page.count("data:image/jpeg") == 2
    for kind in ("scale", "JPEG", "rotation", "brightness", "blur", "salt and pepper"):
        assert f"Repeatability over {kind}" in page
    assert "Recall over IoU of each proposer at 100" not in page, "no method was judged at 100"
    alone = render(ProposalsReport("t", "1 image", [result("bad", [])], CLASSES))
    assert "Repeatability" not in alone.split("<h2>Recall")[1] and "<h2>Pictures" not in alone


def test_a_picture_says_what_is_found():
    sample = Sample(torch.zeros(3, 100, 100, dtype=torch.uint8), TRUTH, 7)
    proposals = ImageProposals(torch.tensor([[10.0, 10, 50, 50], [60, 20, 90, 44]]), torch.tensor([0.9, 0.1]))
    picture = proposal_picture(sample, proposals)
    assert picture.caption == "image 7: 1 of 2 objects at IoU 0.5, mean IoU 0.70"
    nothing = proposal_picture(sample, ImageProposals(torch.zeros(0, 4)))
    assert nothing.caption == "image 7: 0 of 2 objects at IoU 0.5, mean IoU 0.00"
    empty = Sample(sample.image, Target.empty((100, 100)), 8)
    assert proposal_picture(empty, proposals).caption == "image 8: 0 of 0 objects at IoU 0.5"


def test_a_picture_is_called_by_its_file():
    sample = Sample(torch.zeros(3, 100, 100, dtype=torch.uint8), TRUTH, 7, "photos/val/a&b.jpg")
    picture = proposal_picture(sample, ImageProposals(torch.zeros(0, 4)))
    assert picture.caption == "a&b.jpg: 0 of 2 objects at IoU 0.5, mean IoU 0.00"
    page = render(ProposalsReport("t", "1 image", [result("one", [])], CLASSES, {"one": [picture]}))
    assert 'alt="Proposals on a&amp;b.jpg"' in page and "<figcaption>a&amp;b.jpg: 0 of 2" in page


def test_what_was_asked_for_anew_is_drawn_instead_of_the_first_ones():
    sample = Sample(torch.zeros(3, 300, 300, dtype=torch.uint8), Target.empty((300, 300)), 7)
    many = ImageProposals(torch.tensor([[10.0, 10, 50, 50]]).repeat(9, 1))
    fewer = ImageProposals(torch.tensor([[200.0, 200, 280, 280]]))
    for given, top, bottom in ((None, True, False), (fewer, False, True)):
        picture = proposal_picture(sample, many, 3, given)
        sheet = torch.from_numpy(np.array(Image.open(BytesIO(picture.jpeg)))).amax(dim=2)[-300:, -300:]
        assert (bool((sheet[:100] > 60).any()), bool((sheet[150:] > 60).any())) == (top, bottom)
    assert how_many(many, 3, None) == "3 of 9" and how_many(many, 3, fewer) == "1 of 3 asked for"


def test_the_colour_of_the_best_box_is_that_of_its_band():
    sample = Sample(torch.zeros(3, 100, 100, dtype=torch.uint8), TRUTH.select(torch.tensor([0])), 7)
    for box, band in (([10, 10, 50, 50], 0), ([10, 10, 50, 34], 1), ([10, 10, 50, 20], 2)):
        drawn = draw_best(sample, box)
        colour = torch.tensor(BANDS[band][2], dtype=torch.uint8)
        assert drawn[:, 10, 30].tolist() == colour.tolist()


def draw_best(sample: Sample, box: list[float]) -> Tensor:
    from sightline.report.proposal_pictures import _best

    return _best(sample.image, sample.target.boxes, torch.tensor([box]).float(), torch.ones(4))[0]


def test_only_the_first_are_drawn():
    proposals = ImageProposals(torch.tensor([[10.0, 10, 50, 50], [60, 20, 90, 80]]))
    image = torch.zeros(3, 100, 100, dtype=torch.uint8)
    assert draw_first(image, proposals, 2)[:, 20, 75].any() and not draw_first(image, proposals, 1)[:, 20, 75].any()


@pytest.mark.parametrize(("count", "most", "places"), [(0, 3, []), (2, 3, [0, 1]), (10, 4, [0, 2, 5, 7])])
def test_places_are_spread_evenly(count, most, places):
    assert list(spread(count, most)) == places


@pytest.mark.parametrize(
    ("height", "width", "factor"), [(8, 10, 30), (1, 1, 240), (12, 600, 2), (600, 12, 2), (240, 300, 1), (3, 2000, 1)]
)
def test_small_and_narrow_pictures_are_enlarged_by_whole_factors(height, width, factor):
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    large = legible(image)
    assert large.shape == (3, factor * height, factor * width)
    assert torch.equal(large[:, ::factor, ::factor], image)
    assert torch.equal(large[:, factor - 1 :: factor], large[:, ::factor])


def test_boxes_lie_on_the_enlarged_picture_where_they_lie_on_the_small_one():
    sample = Sample(torch.zeros(3, 30, 40, dtype=torch.uint8), Target.empty((30, 40)), 7)
    picture = proposal_picture(sample, ImageProposals(torch.tensor([[10.0, 10, 30, 20]])))
    sheet = torch.from_numpy(np.array(Image.open(BytesIO(picture.jpeg)))).permute(2, 0, 1)
    assert sheet.shape[1] > 240 and sheet.shape[2] > 2 * 320
    right = sheet[:, -240:, -320:].amax(dim=0)
    assert right[80:160, 80].min() > 60 and right[120, 120:200].max() < 60


def test_titles_of_narrow_pictures_have_room():
    narrow = torch.zeros(3, 500, 40, dtype=torch.uint8)
    sheet = beside([narrow, narrow], ["selective_search: 8 of 14", "uniform: 8 of 1000"])
    assert sheet.shape[2] > 2 * 240 and sheet[:, 300, 100:200].min() == 255 and sheet[:, 300, :40].max() == 0


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (4, 1, 4), (5, 2, 3), (7, 2, 4), (9, 3, 3)])
def test_many_pictures_stand_in_rows_of_at_most_four(count, rows, columns):
    shades = [20 * (place + 1) for place in range(count)]
    sheet = beside([torch.full((3, 240, 250), shade, dtype=torch.uint8) for shade in shades], [""] * count)
    row, broad = sheet.shape[1] // rows, sheet.shape[2]
    assert sheet.shape[1] == rows * row and columns * 250 <= broad < columns * 300
    step = (broad - 250) // max(1, columns - 1)
    for place, shade in enumerate(shades):
        y, x = divmod(place, columns)
        assert sheet[0, y * row + row // 2, x * step + 125] == shade
    last = sheet[:, (rows - 1) * row :, (count - (rows - 1) * columns - 1) * step + 250 :]
    assert bool((last == 255).all()), "what is left of the last row is white"
