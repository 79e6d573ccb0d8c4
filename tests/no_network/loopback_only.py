"""From here on connections to anything but this machine fail at once, and no name of another machine is looked up.

conftest.py imports this in the process of the tests, sitecustomize.py in every Python process that they start.
C extensions and other programs are not held by it; `make offline` holds those as well.
"""

import ipaddress
import socket
from typing import Any


def is_loopback(address: Any) -> bool:
    if not isinstance(address, tuple):  # a path: a socket of this machine
        return True
    host = address[0]
    try:
        return host in ("localhost", "") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _require_loopback(address: Any) -> None:
    if not is_loopback(address):
        raise OSError(f"tests use no network: connection to {address} refused")


class GuardedSocket(socket.socket):
    def connect(self, address: Any) -> None:
        _require_loopback(address)
        super().connect(address)

    def connect_ex(self, address: Any) -> int:
        _require_loopback(address)
        return super().connect_ex(address)

    def sendto(self, *arguments: Any) -> int:
        _require_loopback(arguments[-1])
        return super().sendto(*arguments)


_resolve = socket.getaddrinfo


def _resolve_here(host: Any, *arguments: Any, **more: Any) -> Any:
    """Names of other machines are not asked for either: the question itself would go over the network."""
    name = host.decode() if isinstance(host, bytes) else host
    if name not in (None, "", "localhost", socket.gethostname()) and not is_loopback((name,)):
        try:
            ipaddress.ip_address(name)
        except ValueError:
            raise socket.gaierror(socket.EAI_AGAIN, f"tests use no network: {name} is not looked up") from None
    return _resolve(host, *arguments, **more)


socket.socket = GuardedSocket  # type: ignore[misc]
socket.getaddrinfo = _resolve_here
