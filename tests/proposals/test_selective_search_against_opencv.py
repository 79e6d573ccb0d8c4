"""Selective Search finds no fewer objects of real photographs than OpenCV's, with the same number of boxes."""

from pathlib import Path

import pytest

from sightline.proposals.selective_search import SelectiveSearch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_recall_is_no_lower_than_opencvs(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cv2")
    monkeypatch.syspath_prepend(BENCHMARKS)
    import selective_search as benchmark

    found = []
    for image, truth in benchmark.photographs(data_root / "datasets" / "coco_tiny", 160):
        theirs = benchmark.opencv(image.permute(1, 2, 0).flip(2).contiguous().numpy())
        found.append((truth, theirs, SelectiveSearch().propose(image, 100_000).boxes))
    rows = benchmark.recalls(found)
    assert len(rows) == 8 and all(0 < row["peer"] < 1 for row in rows)
    assert [row for row in rows if row["ours"] < row["peer"]] == []
