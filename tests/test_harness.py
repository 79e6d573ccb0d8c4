import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

OUT = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
ALONE = Path(__file__).parent / "no_network" / "alone.py"


def test_the_network_is_out_of_reach():
    with pytest.raises(OSError, match="no network"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out, pytest.raises(OSError, match="no network"):
        out.sendto(b"question", ("192.0.2.1", 53))
    with pytest.raises(socket.gaierror, match="no network"):
        socket.getaddrinfo("example.org", 443)


def test_the_network_is_out_of_reach_of_processes_that_tests_start():
    ended = subprocess.run([sys.executable, "-c", OUT], capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and "tests use no network" in ended.stderr


def test_loopback_is_within_reach():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), timeout=1):
        pass
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1]), timeout=1).close()


def test_a_namespace_has_loopback_and_nothing_else():
    """What `make offline` runs in: also without the guard that Python has in it there is no way out."""
    unshare = shutil.which("unshare")
    alone = [str(unshare), "--net", sys.executable, str(ALONE), sys.executable, "-c"]
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if unshare is None or subprocess.run([*alone, ""], capture_output=True, check=False).returncode:
        pytest.skip("no network namespace can be made here")
    ended = subprocess.run([*alone, OUT], capture_output=True, text=True, check=False, env=bare)
    assert ended.returncode == 1 and "Network is unreachable" in ended.stderr
    here = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname(), 1)"
    subprocess.run([*alone, here], check=True, env=bare)
    if [name for _, name in socket.if_nameindex() if name != "lo"]:  # not so within `make offline`
        refused = subprocess.run([sys.executable, str(ALONE), "true"], capture_output=True, text=True, check=False)
        assert refused.returncode == 2 and "there is a network here" in refused.stderr


def test_a_worker_has_one_thread():
    assert torch.get_num_threads() == 1
