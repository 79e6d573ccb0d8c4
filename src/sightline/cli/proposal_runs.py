"""What ``sightline proposals`` does once its words make sense."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import typer
from torch import Tensor

from sightline.cli.datasets import find_data
from sightline.cli.opening import OFFICIAL, open_model
from sightline.cli.options import require_split
from sightline.cli.output import counted, counter, show_findings, show_json, show_table
from sightline.cli.predict import Names
from sightline.config import closest
from sightline.contract import NeuralSystem
from sightline.data.bad_images import ImageReader, on_bad_image
from sightline.data.dataset import Dataset, open_dataset
from sightline.data.image_files import list_images
from sightline.data.records import Records
from sightline.data.screening import screened
from sightline.errors import ConfigError, DataError
from sightline.evaluation.proposal_recall import AVERAGE_RECALL, COCO_AVERAGE_RECALL
from sightline.evaluation.proposers import (
    ProposerResult,
    detection_with,
    judge_proposer,
    repeatability_on,
    require_given_regions,
)
from sightline.files import sha256, write_atomically
from sightline.judging import METRICS_FILE, REPORT_FILE, ready
from sightline.proposals.build import PROPOSERS, build_proposer
from sightline.proposals.proposer import ImageProposals, Proposer
from sightline.regions.rpn_proposer import RPNProposer, rpn_proposer
from sightline.regions.two_stage import TwoStage
from sightline.report.draw import save_image
from sightline.report.proposal_pictures import (
    ProposalPicture,
    beside,
    draw_first,
    how_many,
    legible,
    proposal_picture,
    spread,
)
from sightline.report.proposals import COLUMNS, NO, YES, ProposalsReport, render, table_row
from sightline.structures import Detections
from sightline.workflow import new_folder
from sightline.zoo import model_path

PROPOSALS_FILE = "proposals.json"
RPN, ALL, USUAL = RPNProposer.name, "all", "selective_search"
_PICTURES = 6
_DIGITS = 2
_FLUSH_LEFT = ("method", "segments", "scores", "any count")

Looker = NeuralSystem[Any, Detections]


@dataclass(frozen=True)
class Wanted:
    """What was asked for.

    Args:
        proposers: by the names that they were asked for by.
        count: proposals an image.
        drawn: on a picture: the first of these, or so many asked for anew.
        repeats: whether repeatability is measured.
        device: for networks.
    """

    proposers: Mapping[str, Proposer]
    count: int
    drawn: int
    repeats: bool
    device: str

    def fewer(self, proposer: Proposer, image: Tensor) -> ImageProposals | None:
        """What is drawn of a proposer that is asked anew for fewer; None where the first proposals are drawn."""
        return proposer.propose(image, self.drawn) if proposer.asked_anew and self.drawn < self.count else None


def make_proposers(words: Sequence[str] | None, model: str | None, device: str) -> dict[str, Proposer]:
    """The proposers that words mean, in their order, each once.

    Raises:
        ConfigError: an unknown one, or a model without a use or a use without a model.
        ModelFileError: a model that cannot be read or has no region proposal network.
    """
    names = [name.strip() for word in (words or [USUAL]) for name in word.split(",") if name.strip()]
    known = [*PROPOSERS, RPN]
    names = [each for name in names for each in (_all(model) if name == ALL else [name])]
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown method {name!r}", place="--method", cure=closest(name, [*known, ALL]))
    if not names:
        raise ConfigError("no method is named", place="--method", cure=f"one or more of {', '.join([*known, ALL])}")
    if (RPN in names) != (model is not None):
        raise ConfigError(
            "--method rpn needs a trained network" if model is None else "--model has no meaning without --method rpn",
            cure="give --model a Faster or Mask R-CNN" if model is None else "leave out --model, or add rpn",
        )
    return {name: _rpn(str(model), device) if name == RPN else build_proposer(name) for name in names}


def open_images(
    data: str, split: str | None, most: int | None, detector: str | None, on_bad: str
) -> tuple[Dataset, Looker | None]:
    """The images to judge by, and the detector of the last column.

    Raises:
        ConfigError: a detector that finds its regions itself.
        DataError: no such images.
    """
    policy = on_bad_image(on_bad)
    system = None if detector is None else _detector(detector)
    classes = None if system is None else system.classes
    opened = open_dataset(find_data(data), split or "val", classes=classes)
    require_split(split, opened.split, data)
    if most is not None:
        rows = opened.records.rows[np.asarray(spread(len(opened), most))]
        opened = replace(opened, records=Records(opened.records.table, rows))
    with counter("looking at images") as looked:
        return screened(opened, policy, looked), system


@dataclass(frozen=True, eq=False)
class Judged:
    """Methods judged on images.

    Args:
        wanted: what was asked for.
        data: the images.
        results: one a method.
        detector: as it was typed; empty without.
    """

    wanted: Wanted
    data: Dataset
    results: tuple[ProposerResult, ...]
    detector: str

    def to_dict(self) -> dict[str, Any]:
        """What metrics.json holds."""
        return {
            "data": self.data.name,
            "split": self.data.split,
            "images": len(self.data),
            "count": self.wanted.count,
            "detector": self.detector or None,
            "methods": {result.name: result.to_dict(self.data.classes) for result in self.results},
        }

    def write(self, folder: Path) -> None:
        """Numbers, proposals and report."""
        write_atomically(folder / METRICS_FILE, json.dumps(self.to_dict(), indent=1))
        found = {result.name: [_plain(each) for each in result.proposals] for result in self.results}
        images = [{"id": record.image_id, "file_name": str(record.path)} for record in self.data.records]
        write_atomically(folder / PROPOSALS_FILE, json.dumps({"images": images, "methods": found}))
        report = ProposalsReport(
            title=f"Proposals on {self.data.name}",
            place=f"{counted(len(self.data), 'image')} of the split {self.data.split} of {self.data.name}",
            results=self.results,
            classes=self.data.classes,
            pictures=self._pictures(),
            settings={result.name: repr(result.proposer) for result in self.results},
            detector=self.detector,
        )
        write_atomically(folder / REPORT_FILE, render(report))

    def show(self, folder: Path, as_json: bool) -> None:
        """The table for people, or all numbers for machines."""
        if as_json:
            show_json({**self.to_dict(), "out": str(folder)})
            return
        columns = [name if name in _FLUSH_LEFT else f">{name}" for name in COLUMNS]
        rows = [[result.name, *(text for _, text in table_row(result))] for result in self.results]
        title = f"{counted(len(self.data), 'image')} of {self.data.name}, split {self.data.split}"
        show_table(columns, rows, f"{title}; {counted(self.wanted.count, 'proposal')} asked for")
        print(f"{AVERAGE_RECALL}; AR .5:.95: {COCO_AVERAGE_RECALL}")
        print(f"written to {folder}; open {folder / REPORT_FILE}")

    def _pictures(self) -> dict[str, list[ProposalPicture]]:
        filled = [place for place, record in enumerate(self.data.records) if not record.ignore.all()]
        chosen = [filled[index] for index in spread(len(filled), _PICTURES)]
        samples = {place: self.data[place] for place in chosen}
        return {
            result.name: [
                proposal_picture(
                    samples[place],
                    result.proposals[place],
                    self.wanted.drawn,
                    self.wanted.fewer(result.proposer, samples[place].image),
                )
                for place in chosen
            ]
            for result in self.results
        }


def judge_methods(wanted: Wanted, data: Dataset, system: Looker | None, detector: str) -> Judged:
    """Every method on the same images, one after the other."""
    results = []
    fast = None if system is None else ready(system, device=wanted.device)
    for name, proposer in wanted.proposers.items():
        with counter(f"{name}: proposing") as progress:
            result = judge_proposer(name, proposer, data, wanted.count, progress)
        if wanted.repeats:
            with counter(f"{name}: changing images") as progress:
                result = replace(result, repeatability=repeatability_on(proposer, data, wanted.count, progress))
        if isinstance(fast, NeuralSystem):
            with counter(f"{detector} on {name}") as progress:
                result = replace(result, detection=detection_with(fast, proposer, data, wanted.count, progress))
        results.append(result)
    return Judged(wanted, data, tuple(results), detector)


def list_methods(as_json: bool) -> None:
    """What there is, and who it comes from."""
    methods: list[type[Proposer]] = [*PROPOSERS.values(), RPNProposer]
    if as_json:
        facts = ("summary", "source", "scored", "controllable", "segments")
        show_json({method.name: {fact: getattr(method, fact) for fact in facts} for method in methods})
        return
    rows = [[m.name, m.summary, YES if m.scored else NO, YES if m.controllable else NO, m.source] for m in methods]
    show_table(("method", "what it proposes", "scores", "any count", "source"), rows)


def draw_photos(wanted: Wanted, photos: Sequence[str], place: Path, on_bad: str, as_json: bool) -> None:
    """Each photo with the first proposals of each method, side by side, and all of them as numbers."""
    reader = ImageReader(on_bad_image(on_bad))
    paths = list_images(photos)
    with new_folder(place) as folder:
        records, found = _draw_all(wanted, paths, reader, folder)
        write_atomically(folder / PROPOSALS_FILE, json.dumps({"images": records, "methods": found}))
    show_findings(reader.counts, "proposals")
    for line in reader.skipped:
        print(f"sightline: error: {line}", file=sys.stderr)
    if as_json:
        show_json({"images": records, "methods": found, "out": str(folder), "failed": reader.skipped})
    else:
        for name, each in found.items():
            made = sum(len(one["boxes"]) for one in each)
            print(f"{name}: {counted(made, 'proposal')} on {counted(len(records), 'image')}")
        print(f"written to {folder}")
    if reader.skipped:
        raise typer.Exit(DataError.exit_code)


def _draw_all(
    wanted: Wanted, paths: Sequence[Path], reader: ImageReader, folder: Path
) -> tuple[list[dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    names, records = Names(), []
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in wanted.proposers}
    with counter("proposing") as progress:
        for number, path in enumerate(paths, start=1):
            decoded = reader.read(path)
            progress(number, len(paths))
            if decoded is None:
                continue
            image, drawn, titles = decoded.image, [], []
            canvas = legible(image)
            factor = torch.tensor(float(canvas.shape[2] // image.shape[2])).expand(4)
            for name, proposer in wanted.proposers.items():
                proposals = proposer.propose(image, wanted.count)
                found[name].append(_plain(proposals))
                fewer = wanted.fewer(proposer, image)
                drawn.append(draw_first(canvas, proposals if fewer is None else fewer, wanted.drawn, factor))
                titles.append(f"{name}: {how_many(proposals, wanted.drawn, fewer)}")
            picture = names.free(path)
            save_image(drawn[0] if len(drawn) == 1 else beside(drawn, titles), folder / picture)
            height, width = image.shape[1:]
            records.append({"id": number, "file_name": str(path), "height": height, "width": width, "picture": picture})
    return records, found


def _plain(proposals: ImageProposals) -> dict[str, Any]:
    """Boxes x1, y1, x2, y2 in pixels to a hundredth, and scores where there are any."""
    boxes = proposals.boxes.double().numpy().round(_DIGITS).tolist()
    return {"boxes": boxes, "scores": None if proposals.scores is None else proposals.scores.tolist()}


def _all(model: str | None) -> list[str]:
    return [*PROPOSERS, *([] if model is None else [RPN])]


def _rpn(model: str, device: str) -> RPNProposer:
    system = open_model(model)
    place = None if model == OFFICIAL else model_path(model)
    found = rpn_proposer(system, model if place is None else sha256(place), place or model)
    return replace(found, system=cast("TwoStage[Any]", ready(found.system, device=device)))


def _detector(text: str) -> Looker:
    system = open_model(text)
    if not isinstance(system, NeuralSystem) or system.task != "detection":
        raise ConfigError(f"a {system.name} takes no proposals", cure="give --detector a fast_rcnn or its kin")
    require_given_regions(system)
    return system
