"""One process at a time: a lock on a file, which the system lets go of when its process ends, however it ends."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_PAUSE = 0.2


@contextmanager
def locked(path: Path, waiting: Callable[[], None], sleep: Callable[[float], None] = time.sleep) -> Iterator[None]:
    """Hold the lock within the block, after waiting for whoever holds it, as long as that takes.

    Args:
        path: the file of the lock; made where it is not there, and left there: removing it would let two in.
        waiting: called once where there is somebody to wait for.
        sleep: how to wait.

    Raises:
        OSError: the file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    told = False
    try:
        while True:
            try:
                _take(descriptor)
                break
            except (BlockingIOError, PermissionError):  # Windows says that the lock is taken by the second
                if not told:
                    waiting()
                told = True
                sleep(_PAUSE)
        yield
    finally:
        os.close(descriptor)
