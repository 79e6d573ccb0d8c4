"""`sightline train --seeds N`: whole runs, their mean and spread, resumable."""

import json
import math
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from conftest_cli import QUICK, TINY, snapshot

from sightline.replicates import Spread, train_seeds
from sightline.report.seeds import SeedResult, SeedsReport, render_seeds, seeds_plot
from sightline.training.options import TrainOptions
from sightline.training.progress import SilentProgress, StepView
from sightline.workflow import open_splits
from sightline.zoo import create

SETTINGS = {
    **{"backbone": "mobilenet_v3_small", "short_side": 64, "long_side": 128, "channels": 16, "head_width": 16},
    **{"proposals": 20, "region_samples": 16},
}
RESULTS = ("best.safetensors", "predictions.json")


def words(shapes: Path, out: Path, *more: object) -> list[object]:
    return ["train", "--data", shapes, "--out", out, *TINY, *QUICK, "--device", "cpu", *more]


@pytest.fixture(scope="module")
def joined(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of seeds 3 and 4."""
    from sightline.cli.main import main

    folder = tmp_path_factory.mktemp("seeds") / "runs"
    assert main([str(w) for w in words(shapes, folder, "--seeds", 2, "--seed", 3)]) == 0
    return folder


def test_spread_is_the_sample_standard_deviation_of_what_is_defined() -> None:
    values = [0.25, 0.5, 0.9, 0.1]
    spread = Spread.of([*values, None])
    assert spread.mean == pytest.approx(np.mean(values)) and spread.deviation == pytest.approx(np.std(values, ddof=1))
    assert (spread.least, spread.greatest, spread.count) == (0.1, 0.9, 4)
    assert math.isnan(Spread.of([0.5]).deviation) and Spread.of([0.5]).mean == 0.5
    assert Spread.of([None, None]).count == 0 and math.isnan(Spread.of([None]).mean)


def test_each_seed_is_a_whole_run_and_the_join_is_their_mean_and_spread(joined: Path, run, shapes, tmp_path) -> None:
    document = json.loads((joined / "seeds.json").read_text())
    assert document["seeds"] == document["finished"] == [3, 4]
    assert document["judged_on"] == "shapes, split test, 2 images"
    assert {f.name for f in joined.iterdir()} == {"seed-3", "seed-4", "seeds.json", "seeds.html"}
    each = [json.loads((joined / f"seed-{seed}" / "metrics.json").read_text())["metrics"] for seed in (3, 4)]
    for name, spread in document["metrics"].items():
        values = [metrics[name] for metrics in each if metrics[name] is not None]
        assert spread["n"] == len(values)
        if len(values) == 2:
            assert spread["mean"] == pytest.approx(sum(values) / 2) and spread["min"] == min(values)
            assert spread["std"] == pytest.approx(abs(values[0] - values[1]) / math.sqrt(2))
    code, _, err = run(*words(shapes, tmp_path / "alone", "--seed", 4))
    assert code == 0, err
    for name in RESULTS:
        assert (tmp_path / "alone" / name).read_bytes() == (joined / "seed-4" / name).read_bytes()
    assert (joined / "seed-3" / "best.safetensors").read_bytes() != (
        joined / "seed-4" / "best.safetensors"
    ).read_bytes()


def test_page_names_what_is_the_same_and_what_is_not(joined: Path) -> None:
    page = (joined / "seeds.html").read_text()
    assert "Mean ± sample standard deviation (n - 1) over 2 seeds" in page
    assert 'href="seed-3/report.html"' in page and "All seeds start from the same: random weights" in page
    assert "faster_rcnn-shapes: 2 of 2 seeds" in page


def test_resume_skips_what_is_finished_and_may_add_seeds(joined: Path, run, shapes, tmp_path) -> None:
    copy = tmp_path / "runs"
    shutil.copytree(joined, copy)
    shutil.rmtree(copy / "seed-4")
    before = snapshot(copy / "seed-3")
    code, out, err = run(*words(shapes, copy, "--seeds", 2, "--seed", 3, "--resume", "--json"))
    assert code == 0, err
    assert snapshot(copy / "seed-3") == before and "seed 3, 1 of 2: finished already" in err
    for name in RESULTS:
        assert (copy / "seed-4" / name).read_bytes() == (joined / "seed-4" / name).read_bytes()
    assert json.loads((copy / "seeds.json").read_text()) == json.loads((joined / "seeds.json").read_text())
    assert json.loads(out)["finished"] == [3, 4]


class StopsAt(SilentProgress):
    """Asks to stop as Ctrl-C does, in the first step of the second run."""

    def __init__(self) -> None:
        self.runs = 0

    def step(self, view: StepView) -> None:
        self.runs += view.step == 1
        if self.runs == 2:
            signal.raise_signal(signal.SIGTERM)


def test_interrupted_seed_goes_on_where_it_stood(joined: Path, shapes, tmp_path) -> None:
    data = open_splits(shapes)

    def join(**changes: object):
        options = TrainOptions(epochs=1, batch_size=2, workers=0, precision="32", device="cpu", seed=3, **changes)
        return options, lambda seed: create("faster_rcnn", classes=data.classes, settings=SETTINGS, seed=seed)

    options, build = join()
    cut = train_seeds(build, data, 2, out=tmp_path / "runs", options=options, progress=StopsAt())
    assert not cut.finished and [found.seed for found in cut.runs] == [3]
    assert json.loads((tmp_path / "runs" / "seeds.json").read_text())["finished"] == [3]
    options, build = join(resume=True)
    whole = train_seeds(build, data, 2, out=tmp_path / "runs", options=options)
    assert whole.finished
    for name in RESULTS:
        assert (tmp_path / "runs" / "seed-4" / name).read_bytes() == (joined / "seed-4" / name).read_bytes()


def test_seed_killed_between_the_moves_of_a_checkpoint_goes_on(run, joined: Path, shapes, tmp_path) -> None:
    """The last checkpoint stands ready as ``last.new`` then, and has no other name."""
    copy = tmp_path / "runs"
    shutil.copytree(joined, copy)
    config = json.loads((copy / "seed-4" / "config.json").read_text())
    del config["judged"]
    (copy / "seed-4" / "config.json").write_text(json.dumps(config))
    (copy / "seed-4" / "last").rename(copy / "seed-4" / "last.new")
    code, _, err = run(*words(shapes, copy, "--seeds", 2, "--seed", 3, "--resume"))
    assert code == 0, err
    for name in RESULTS:
        assert (copy / "seed-4" / name).read_bytes() == (joined / "seed-4" / name).read_bytes()


def test_seeds_that_never_began_leave_nothing_behind(run, shapes, tmp_path) -> None:
    out = tmp_path / "runs"
    code, _, err = run(*words(shapes, out, "--seeds", 2, "--recipe", "accumulate=3"))
    assert code == 2 and "fewer images than parts" in err
    assert not out.exists()


def test_what_makes_no_sense_is_refused(fails, shapes, joined: Path, tmp_path) -> None:
    out = tmp_path / "runs"
    for count in (0, 1, -3):
        assert "a spread needs 2 at least" in fails(2, *words(shapes, out, "--seeds", count))
    assert "seed must be" in fails(2, *words(shapes, out, "--seeds", 2, "--seed", 2**63 - 1))
    assert "--seeds and --extend exclude" in fails(2, *words(shapes, joined, "--seeds", 2, "--extend", 3))
    assert "one after the other" in fails(2, *words(shapes, out, "--seeds", 2, "--devices", 2))
    assert "go on with its seeds by --resume" in fails(2, *words(shapes, joined, "--seeds", 2))
    assert "there are no seeds to resume" in fails(2, *words(shapes, out, "--seeds", 2, "--resume"))
    assert not out.exists()
    changed = fails(2, *words(shapes, joined, "--seeds", 2, "--resume", "--seed", 3, "--recipe", "optimiser.lr=0.5"))
    assert "options.recipe.optimiser.lr is 0.5, but" in changed
    assert "settings: seed is 5, but" in fails(2, *words(shapes, joined, "--seeds", 2, "--resume", "--seed", 5))


def seed_result(seed: int, values: list[float], epochs: list[float]) -> SeedResult:
    rows = [{"stage": "joint", "epoch": e, "val/AP": v} for e, v in zip(epochs, values, strict=True)]
    name = f"seed-{seed}"
    return SeedResult(seed, name, f"{name}/report.html", {"AP": values[-1]}, {"a<b": values[-1], "none": None}, rows)


def test_plots_of_seeds_that_came_differently_far() -> None:
    runs = [seed_result(0, [0.1, 0.4, 0.6], [1.0, 2.0, 3.0]), seed_result(1, [0.2, 0.5], [1.5, 2.5])]
    plot = seeds_plot(runs, "AP")
    assert "seed 0" in plot and "seed 1" in plot and "mean of 2 seeds" in plot
    assert seeds_plot(runs, "AP75") == ""
    numbers = {"AP": (0.55, 0.07, 0.5, 0.6, 2)}
    classes = {"a<b": (0.55, 0.07, 0.5, 0.6, 2), "none": (math.nan, math.nan, math.nan, math.nan, 0)}
    page = render_seeds(SeedsReport("t<t", "here", "x", {"options": {"seed": 1}}, runs, numbers, classes))
    assert "t&lt;t" in page and "a&lt;b" in page and "0.550 ± 0.070" in page and "n/a" in page and "a<b" not in page
