"""Two machines, as two torchrun agents on loopback and as two network namespaces with a cable between them."""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sightline.training.checkpoints import read_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SCRIPT = Path(__file__).with_name("distributed_run.py")


@dataclass(frozen=True)
class Node:
    """Where one of the two agents runs.

    Args:
        prefix: words before the command.
        environment: beside the tests' own.
    """

    prefix: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Machines:
    """Two nodes, and the address of the first as the second sees it."""

    address: str
    nodes: tuple[Node, Node] = (Node(), Node())
    cable: Sequence[str] = ()

    def start(self, folder: Path, *words: str) -> list["subprocess.Popen[str]"]:
        """Both agents, each with one process of a run."""
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        started = []
        for rank, node in enumerate(self.nodes):
            command = [*node.prefix, sys.executable, "-m", "torch.distributed.run", "--nnodes=2"]
            command += [f"--node-rank={rank}", f"--master-addr={self.address}", f"--master-port={port}"]
            command += ["--nproc-per-node=1", str(SCRIPT), str(folder), "1", "2", *words]
            environment = {**os.environ, "OMP_NUM_THREADS": "1", **node.environment}
            started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
        return started

    def run(self, folder: Path, *words: str) -> tuple[list[int], list[str]]:
        """Exit codes and what was told, of both."""
        agents = self.start(folder, *words)
        told = ["", ""]

        def read(rank: int) -> None:
            told[rank] = agents[rank].communicate(timeout=240)[1]

        threads = [threading.Thread(target=read, args=(rank,)) for rank in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [agent.returncode for agent in agents], told


@pytest.fixture
def loopback() -> Machines:
    """Two agents on this machine."""
    return Machines("127.0.0.1")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def cabled() -> Iterator[Machines]:
    """Two network namespaces joined by a veth pair and by nothing else."""
    if shutil.which("ip") is None:
        pytest.skip("no network namespaces here: there is no command ip (iproute2)")
    names = [f"sightline{os.getpid()}{end}" for end in "ab"]
    try:
        try:
            for name in names:
                _ip("netns", "add", name)
            _ip("link", "add", "cable", "netns", names[0], "type", "veth", "peer", "name", "cable", "netns", names[1])
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here, which take root: {error.stderr.strip()}")
        for number, name in enumerate(names, start=1):
            _ip("-n", name, "address", "add", f"10.213.7.{number}/24", "dev", "cable")
            _ip("-n", name, "link", "set", "cable", "up")
            _ip("-n", name, "link", "set", "lo", "up")
        environment = {"GLOO_SOCKET_IFNAME": "cable"}
        nodes = [Node(("ip", "netns", "exec", name), environment) for name in names]
        yield Machines("10.213.7.1", (nodes[0], nodes[1]), ("-n", names[1], "link", "set", "cable", "down"))
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


@pytest.mark.parametrize("kind", ["loopback", "cabled"])
def test_two_nodes_train_and_resume_bit_for_bit(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """One process is killed in the fifth step of six; resumed, the checkpoint is that of a run that was not."""
    machines: Machines = request.getfixturevalue(kind)
    codes, told = machines.run(tmp_path / "whole")
    assert codes == [0, 0], told
    codes, told = machines.run(tmp_path / "killed", "die=1@5")
    assert all(codes), told
    assert "process 1 of the run is gone" in told[0]
    assert read_checkpoint(tmp_path / "killed" / "last").state.step == 4
    codes, told = machines.run(tmp_path / "killed", "--resume")
    assert codes == [0, 0], told
    for file in ("model.safetensors", "optimiser.safetensors"):
        whole, resumed = (load_file(tmp_path / name / "last" / file) for name in ("whole", "killed"))
        assert whole.keys() == resumed.keys() and whole
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_cable_that_is_pulled_ends_both_nodes_within_a_minute(cabled: Machines, tmp_path: Path) -> None:
    """Nobody closes a connection: both sides only stop to hear of each other."""
    agents = cabled.start(tmp_path / "run", "pause=1@5")
    lines: list[list[tuple[float, str]]] = [[], []]

    def read(rank: int) -> None:
        for line in agents[rank].stderr or ():
            lines[rank].append((time.time(), line))
            if line.startswith("fate "):
                _ip(*cabled.cable)

    threads = [threading.Thread(target=read, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    limit = time.monotonic() + 200
    while time.monotonic() < limit and not all(any("is gone" in line for _, line in heard) for heard in lines):
        time.sleep(0.5)
    # The processes of the run have ended; torchrun's agents wait for each other for minutes.
    for agent in agents:
        agent.kill()
    for thread in threads:
        thread.join(30)
    pulled = next(when for when, line in lines[1] if line.startswith("fate "))
    for own, (other, heard) in enumerate(zip((1, 0), lines, strict=True)):
        ends = [(when, line) for when, line in heard if re.search(rf"process {other} of the run is gone", line)]
        assert ends, (own, heard)
        print(f"node {own} ended {ends[0][0] - pulled:.0f} s after the cable was pulled: {ends[0][1]}")
        assert ends[0][0] - pulled < 60
    assert read_checkpoint(tmp_path / "run" / "last").state.step == 4
