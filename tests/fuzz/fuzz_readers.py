"""Readers, writers and decoders on spoilt sets: typed errors alone may come out, quickly, and no file is touched.

    python tests/fuzz/fuzz_readers.py --cases 20000 --seed 0 --jobs 1

Every case has a number; ``--only NUMBER --keep FOLDER`` makes the same case again and leaves its files to look at.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from mutations import spoil
from seed_sets import SETS, make_all

from sightline.data import conversion, index_cache
from sightline.data.coco_masks import decode
from sightline.data.dataset import open_dataset
from sightline.data.findings import Findings
from sightline.data.formats.layouts import Layout, recognise
from sightline.data.formats.writers import WRITERS
from sightline.data.opening import open_split
from sightline.data.tables import Tables
from sightline.errors import SightlineError
from sightline.files import CACHE_VARIABLE

LIMIT = 5.0
"""Seconds that a case may take."""

CACHED = 0.1
"""Share of splits that are opened with the cache as well."""

FEW = 4
"""Rows that are looked at in full."""

_FILE_SUFFIXES = (".json", ".yaml", ".csv")


class TooLongError(BaseException):
    """Not an Exception, so that nothing on the way takes it for damage."""


@dataclass(frozen=True)
class Failure:
    """What must not happen, with what makes it happen again."""

    number: int
    set_name: str
    step: str
    what: str
    trace: str


@dataclass
class Report:
    """What came out of some cases."""

    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)

    def add(self, other: "Report") -> None:
        """Takes in what came out of others."""
        self.cases += other.cases
        self.outcomes += other.outcomes
        self.failures += other.failures
        self.slowest = max(self.slowest, other.slowest)


def fingerprint(folder: Path) -> str:
    """Of names, contents, links and times of change of all that a folder holds."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):  # which does not follow links
        status = path.lstat()
        digest.update(f"{path!a} {status.st_mode} {status.st_mtime_ns} {status.st_size}\n".encode())
        if path.is_symlink():
            digest.update(os.fsencode(path.readlink()))
        elif path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Stops what takes too long."""

    def stop(number: int, frame: Any) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Case:
    """One spoilt set and what is done to it."""

    def __init__(self, seed: int, number: int, seeds: dict[str, Path], scratch: Path) -> None:
        self.number = number
        self.rng = random.Random(f"{seed} {number}")
        self.name = self.rng.choice(sorted(seeds))
        self.folder = scratch / "set"
        self.out = scratch / "out"
        self.report = Report(cases=1)
        shutil.copytree(seeds[self.name], self.folder, symlinks=True)
        spoil(self.folder, self.rng)

    def run(self) -> Report:
        """All steps; a case that was taken apart by its first step ends there."""
        before, start = fingerprint(self.folder), time.perf_counter()
        with time_limit(LIMIT):
            layout = self._attempt("recognise", partial(recognise, self._path()))
            if layout is not None:
                self._read(layout)
                self._open(layout)
                self._convert()
        self.report.slowest = (time.perf_counter() - start, self.number)
        if fingerprint(self.folder) != before:
            self._fail("hash", "the set was changed", "")
        return self.report

    def _path(self) -> Path:
        files = [path for path in sorted(self.folder.rglob("*")) if path.suffix in _FILE_SUFFIXES]
        self.path = self.rng.choice(files) if files and self.rng.random() < 0.25 else self.folder
        return self.path

    def _attempt(self, step: str, action: Callable[[], Any]) -> Any:
        try:
            result = action()
        except SightlineError as error:
            self.report.outcomes[f"{step}: {type(error).__name__}"] += 1
            if not error.what or "\n" in str(error):
                self._fail(step, f"an error without a word, or of many lines: {error!r}", "")
            return None
        except TooLongError:
            self._fail(step, f"more than {LIMIT} s", traceback.format_exc(limit=-8))
            return None
        except Exception as error:  # noqa: BLE001  # this is what is looked for
            self._fail(step, f"{type(error).__name__}: {error}", traceback.format_exc(limit=-8))
            return None
        self.report.outcomes[f"{step}: done"] += 1
        return result

    def _fail(self, step: str, what: str, trace: str) -> None:
        self.report.outcomes[f"{step}: FAILURE"] += 1
        self.report.failures.append(Failure(self.number, self.name, step, what[:300], trace))

    def _read(self, layout: Layout) -> None:
        for split, read in layout.readers.items():
            for thorough in (False, True):
                findings = Findings(thorough=thorough)
                tables = self._attempt("read", partial(read, findings))
                self._attempt("findings", partial(_listed, findings))
                if tables is not None and thorough:
                    self._attempt("entries", partial(_looked_at, tables))
            self._attempt("open_split", partial(open_split, self.path, split))
            if self.rng.random() < CACHED:
                self._open_twice(split)

    def _open_twice(self, split: str) -> None:
        """Opening by way of the cache, which is for large files, gives the same."""
        size, index_cache.SMALLEST = index_cache.SMALLEST, 0
        try:
            first = self._attempt("open and keep", partial(open_split, self.path, split))
            second = self._attempt("open what was kept", partial(open_split, self.path, split))
        finally:
            index_cache.SMALLEST = size
        if (first is None) != (second is None) or (first and second and first.findings != second.findings):
            self._fail("open what was kept", f"first {first}, then {second}", "")

    def _open(self, layout: Layout) -> None:
        split = self.rng.choice(list(layout.readers))
        dataset = self._attempt("open_dataset", partial(open_dataset, self.path, split))
        if dataset is None:
            return
        place = self.rng.randrange(len(dataset))
        self._attempt("sample", partial(dataset.__getitem__, place))
        self._attempt("target", partial(dataset.target, place))
        masked = self._attempt("masks", partial(replace, dataset, masks=True))
        if masked is not None:
            self._attempt("masked sample", partial(masked.__getitem__, place))

    def _convert(self) -> None:
        target = self.rng.choice(list(WRITERS))
        planned = self._attempt("plan", partial(conversion.plan, self.path, target))
        done = self._attempt(f"convert to {target}", partial(conversion.convert, self.path, target, self.out))
        if done is not None and (planned is None or planned.lost != done.lost):
            self._fail("plan", f"planned {planned}, done {done}", "")
        if done is None and self.out.exists():
            self._fail(f"convert to {target}", "something half written was left behind", "")
        if done is not None:
            self._attempt(f"read again from {target}", partial(recognise, self.out))


def _listed(findings: Findings) -> None:
    for finding in findings:
        json.dumps(finding.to_dict())
        str(finding.place)
    findings.by_title()
    findings.refuse()


def _looked_at(tables: Tables) -> None:
    """Entries, places and masks of the first rows."""
    for row in range(min(FEW, len(tables.images))):
        tables.image_entry(row)
        tables.locate_image(row)
        tables.image_path(row)
    for row in range(min(FEW, len(tables.objects))):
        tables.locate_object(row)
        entry = tables.object_entry(row)
        height, width = tables.images.sizes[tables.objects.images[row]].tolist()
        if entry.get("segmentation") and height * width < 1 << 20:
            decode(entry["segmentation"], (height, width))
    tables.objects_by_image()


def run_cases(seed: int, numbers: range, base: Path) -> Report:
    """Runs some cases in this process; every one begins in an empty folder."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    total = Report()
    with tempfile.TemporaryDirectory(dir=base) as place:
        os.environ[CACHE_VARIABLE] = place
        seeds = make_all(Path(place) / "seeds")
        open_dataset(seeds["coco"], "train")[0]  # the first picture costs seconds of imports, which are no case's
        for number in numbers:
            scratch = Path(place) / "case"
            scratch.mkdir()
            total.add(Case(seed, number, seeds, scratch).run())
            shutil.rmtree(scratch)
    return total


def run_jobs(seed: int, cases: int, jobs: int, base: Path) -> Report:
    """Shares the cases among processes."""
    shares = [range(start, min(start + 500, cases)) for start in range(0, cases, 500)]
    total = Report()
    if jobs == 1:
        for share in shares:
            total.add(run_cases(seed, share, base))
            print(f"{total.cases} cases, {len(total.failures)} failures", file=sys.stderr, flush=True)
        return total
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for report in pool.map(partial(run_cases, seed, base=base), shares):
            total.add(report)
    return total


def memory_folder() -> Path:
    """Where scratch files cost least."""
    shared = Path("/dev/shm")
    return shared if shared.is_dir() and os.access(shared, os.W_OK) else Path(tempfile.gettempdir())


def keep(seed: int, number: int, folder: Path) -> Report:
    """One case again, its files left in ``folder``."""
    with tempfile.TemporaryDirectory(dir=memory_folder()) as place:
        seeds = make_all(Path(place))
        folder.mkdir(parents=True)
        return Case(seed, number, seeds, folder).run()


def main() -> int:
    """Command line; 1 where anything failed."""
    parser = argparse.ArgumentParser(description="Readers, writers and decoders on spoilt sets.")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", type=int, help="number of one case to run again")
    parser.add_argument("--keep", type=Path, help="folder for the files of that case; it must not exist")
    parser.add_argument("--failures", type=Path, help="file for the failures, as JSON")
    given = parser.parse_args()
    start = time.perf_counter()
    if given.only is not None:
        report = keep(given.seed, given.only, given.keep or Path(tempfile.mkdtemp()) / "case")
    else:
        report = run_jobs(given.seed, given.cases, given.jobs, memory_folder())
    show(report, given.seed, time.perf_counter() - start)
    if given.failures:
        given.failures.write_text(json.dumps([vars(failure) for failure in report.failures], indent=1))
    return bool(report.failures)


def show(report: Report, seed: int, seconds: float) -> None:
    """The outcomes, and of every kind of failure the first."""
    for outcome, number in sorted(report.outcomes.items()):
        print(f"{number:8} {outcome}")
    first: dict[str, Failure] = {}
    kinds = Counter(_kind(failure) for failure in report.failures)
    for failure in report.failures:
        first.setdefault(_kind(failure), failure)
    for kind, failure in first.items():
        print(f"\n{kinds[kind]} x {failure.set_name}, {failure.step}: {failure.what}\n{failure.trace}")
        print(f"again: python tests/fuzz/fuzz_readers.py --seed {seed} --only {failure.number}")
    print(f"{report.cases} cases of {len(SETS)} sets in {seconds:.0f} s, {len(report.failures)} failures")
    print(f"slowest case: {report.slowest[1]}, {report.slowest[0]:.2f} s")


def _kind(failure: Failure) -> str:
    """Failures from the same line of code are of one kind."""
    lines = [line for line in failure.trace.splitlines() if line.startswith("  File") and "sightline" in line]
    return f"{lines[-1] if lines else failure.step} {failure.what.partition(':')[0]}"


if __name__ == "__main__":
    raise SystemExit(main())
