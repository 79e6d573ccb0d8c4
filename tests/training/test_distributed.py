"""Several processes train and judge as one does with the joined batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from distributed_checks import CHECKS, launched
from safetensors.torch import load_file
from torch import Tensor

RUN, CHECK = (Path(__file__).with_name(name) for name in ("distributed_run.py", "distributed_checks.py"))
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


def torchrun(processes: int, *arguments: object) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += [str(argument) for argument in arguments]
    done = subprocess.run(command, check=False, env=ONE_THREAD, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]


Found = dict[str, dict[str, Tensor]]


@pytest.fixture(scope="module")
def alone() -> Found:
    """What one process finds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    fabric, processes = launched(1)
    found = {name: check(fabric, processes) for name, check in CHECKS.items()}
    torch.set_num_threads(threads)
    return found


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def together(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What two or four find."""
    folder = tmp_path_factory.mktemp("together")
    torchrun(request.param, CHECK, folder, request.param)
    return {name: load_file(folder / name) for name in CHECKS}


def differences(found: dict[str, Tensor], expected: dict[str, Tensor], word: str) -> tuple[float, float]:
    """Largest difference over the largest value: of all tensors with the word in their names, and of each alone.

    Of each alone, tensors below a thousandth of the largest are left out: the gradient of a bias before a batch norm
    is nothing but rounding.
    """
    names = [name for name in expected if word in name]
    assert found.keys() == expected.keys() and names
    largest = {name: float(expected[name].abs().max()) for name in names}
    apart = {name: float((found[name] - expected[name]).abs().max()) for name in names}
    most = max(largest.values())
    return max(apart.values()) / most, max(apart[n] / largest[n] for n in names if largest[n] >= 1e-3 * most)


@pytest.mark.parametrize("check", ["tiny", "detector"])
def test_gradients_are_those_of_the_joined_batch(alone: Found, together: Found, check: str) -> None:
    """Seven images over two or four processes, live batch norms, sampled anchors and regions, images without objects.

    Largest difference in the whole gradient over its largest value; tensor by tensor float32 adds up a little more.
    """
    for step in "01":
        whole, each = differences(together[check], alone[check], f"{step} gradient")
        assert whole < 1e-5 and each < 3e-5
        assert max(differences(together[check], alone[check], f"{step} loss")) < 1e-5
        assert max(differences(together[check], alone[check], f"{step} buffer")) < 1e-5


def test_synchronised_norms_equal_one_norm_on_the_joined_batch(alone: Found, together: Found) -> None:
    """Outputs, gradients and running statistics; in float32 as exact as a mean of 100,000 leaves them."""
    expected, found = alone["norms"], together["norms"]
    assert expected.keys() == found.keys() and len(expected) == 32
    for name, value in expected.items():
        tolerance = 1e-10 if "float64" in name else 1e-2
        assert float((found[name] - value).abs().max()) <= tolerance * float(value.abs().max()), name


def test_every_image_is_judged_once_with_the_same_numbers(alone: Found, together: Found) -> None:
    """Five images: shares of different sizes, and empty ones."""
    assert together["judged"].keys() == alone["judged"].keys()
    assert sum(len(value) for name, value in alone["judged"].items() if "boxes" in name) > 50
    for name, value in alone["judged"].items():
        assert torch.equal(together["judged"][name], value), name
