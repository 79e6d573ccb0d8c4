"""What all tests share: one thread a worker, real data where there is any, and no network but loopback."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: two workers share two cores
os.environ.setdefault("MPLBACKEND", "Agg")

import importlib
import sys
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)

_NO_NETWORK = str(Path(__file__).parent / "no_network")
sys.path.insert(0, _NO_NETWORK)
importlib.import_module("loopback_only")
os.environ["PYTHONPATH"] = os.pathsep.join([_NO_NETWORK, *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the tests keep for later is not kept among the user's things."""
    os.environ["SIGHTLINE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder that holds datasets/ and weights/; tests that need it are skipped where there is none."""
    place = os.environ.get("SIGHTLINE_DATA")
    if not place:
        pytest.skip("needs real data: set SIGHTLINE_DATA to a folder with datasets/ and weights/")
    root = Path(place)
    if not (root / "datasets").is_dir():
        pytest.skip(f"needs real data: SIGHTLINE_DATA={place} has no folder datasets/")
    return root
