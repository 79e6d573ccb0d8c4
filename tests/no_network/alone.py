"""Runs a command where no network is but loopback: in a network namespace of its own, which `unshare` has made.

    unshare --net python tests/no_network/alone.py COMMAND ...

Nothing in there, in whatever language it is written, can reach another machine.
"""

import fcntl
import os
import socket
import struct
import sys

_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1


def raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, _GET_FLAGS, request))[1]
        fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sh14x", b"lo", flags | _UP))


def main() -> None:
    others = [name for _, name in socket.if_nameindex() if name != "lo"]
    if others:
        print(f"alone.py: there is a network here ({', '.join(others)}); start it by unshare --net", file=sys.stderr)
        sys.exit(2)
    raise_loopback()
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
