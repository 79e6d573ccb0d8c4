"""What the machine offers and how the process is set up for it. Importing this does not import torch."""

import ctypes
import os
import platform
import sys

from sightline.errors import ConfigError

ALLOCATOR_VARIABLE = "SIGHTLINE_ALLOCATOR"
"""Environment variable; ``system`` leaves the C library's allocator as it is."""

# Parameters of glibc's mallopt(3), which has no names for them outside C.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def tune_allocator() -> bool:
    """Keep large blocks of memory in the process instead of giving them back to the system at every step.

    glibc returns blocks of over 32 MB as soon as they are freed and faults them in again page by page; a training step
    of a large detector spends a quarter of its time so. The price is 1 to 2 GB of memory that the process keeps. The
    setting holds for the whole process; ``sightline.create`` and ``sightline.load`` make it.

    Returns:
        Whether the allocator was changed: only with glibc on Linux, and not when ``SIGHTLINE_ALLOCATOR=system``.

    Raises:
        ConfigError: the environment variable has another value.
    """
    wanted = os.environ.get(ALLOCATOR_VARIABLE, "")
    if wanted not in ("", "system"):
        raise ConfigError(
            f"{wanted!r} is not an allocator",
            place=f"environment variable {ALLOCATOR_VARIABLE}",
            cure="set it to 'system' or remove it",
        )
    if wanted == "system" or sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 256 << 20))
    done = [libc.mallopt(key, value) == 1 for key, value in settings]
    return all(done)


def cpu_has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 itself (AVX-512 BF16 or AMX); elsewhere it is emulated and slower."""
    import torch

    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def usable_cores() -> int:
    """Processor cores that this process may run on, at least 1."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_NO_MEMORY = (
    "can't allocate memory",
    "not enough memory: you tried to allocate",
    "out of memory",
    "std::bad_alloc",
    "could not create a memory",
    "ALLOC_FAILED",
)
"""What the allocators of the CPU (Linux, Windows), CUDA and its libraries, MPS, C++ and oneDNN say."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: torch's own kind, Python's, or words of the libraries below."""
    if isinstance(error, MemoryError):
        return True
    import torch

    said = isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
    return said or isinstance(error, torch.OutOfMemoryError)
