"""What all tests share: one thread a worker, real data where there is any, and no network but loopback."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: two workers share two cores
os.environ.setdefault("MPLBACKEND", "Agg")

import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

torch.set_num_threads(1)


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


def _is_loopback(address: Any) -> bool:
    if not isinstance(address, tuple):  # a path: a socket of this machine
        return True
    host = address[0]
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Connections to anything but this machine fail at once."""

    class GuardedSocket(socket.socket):
        def connect(self, address: Any) -> None:
            if not _is_loopback(address):
                raise OSError(f"tests use no network: connection to {address} refused")
            super().connect(address)

        def connect_ex(self, address: Any) -> int:
            if not _is_loopback(address):
                raise OSError(f"tests use no network: connection to {address} refused")
            return super().connect_ex(address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", GuardedSocket)
        yield
