import socket

import pytest
import torch


def test_the_network_is_out_of_reach():
    with pytest.raises(OSError, match="no network"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)


def test_loopback_is_within_reach():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), timeout=1):
        pass


def test_a_worker_has_one_thread():
    assert torch.get_num_threads() == 1
