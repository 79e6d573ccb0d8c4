"""What the machine offers and how the process is set up for it. Importing this does not import torch."""

import ctypes
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.errors import ConfigError

if TYPE_CHECKING:
    import torch

ALLOCATOR_VARIABLE = "SIGHTLINE_ALLOCATOR"
"""Environment variable; ``system`` leaves the C library's allocator as it is."""

_RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID")

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


def is_helper_process() -> bool:
    """Whether this is another process than the first of a distributed run, by its launcher's environment."""
    rank = next((os.environ[name] for name in _RANK_VARIABLES if name in os.environ), "0")
    return rank != "0" or os.environ.get("NODE_RANK", "0") != "0"


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


def reset_peak_memory(device: "torch.device") -> bool:
    """Begin to measure the peak of memory on a device anew; False where it cannot be measured.

    CUDA keeps count itself; of the CPU's memory Linux does, where glibc and the container let it begin anew.
    """
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        return True
    if device.type != "cpu" or platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    ctypes.CDLL(None).malloc_trim(0)
    try:
        # 5 resets the high-water mark of resident memory (proc(5), clear_refs).
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        # Some containers forbid it; without the reset an earlier peak would be reported.
        return False
    return True


def peak_memory(device: "torch.device") -> int:
    """Bytes at the peak since :func:`reset_peak_memory`: allocated on CUDA, of the whole process on the CPU."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    return resident_memory("VmHWM")


def highest_memory(device: "torch.device") -> int:
    """As :func:`peak_memory`, and 0 where it cannot be measured."""
    if device.type == "cuda" or (device.type == "cpu" and platform.system() == "Linux"):
        return peak_memory(device)
    return 0


def resident_memory(field: str = "VmRSS") -> int:
    """Bytes that /proc/self/status gives for a field in kB: resident now, or VmHWM at most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")
