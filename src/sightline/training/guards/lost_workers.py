"""What a loading process says last: memory that ran out there, and processes that are gone, as answers."""

import re
from collections.abc import Sequence

from sightline.errors import SightlineError
from sightline.runtime import is_out_of_memory

_LOST = re.compile(
    r"DataLoader worker \(pid\(?s?\)? ?([\d, ]+)\) (?:is killed by signal: ([\w ]+)|exited unexpectedly)"
)
_NO_ROOM = ("unable to mmap", "unable to write to file </torch_", "unable to allocate shared memory", "No space left")
_SHARED = "--workers 0, or more shared memory (docker run --shm-size 8g, or --ipc=host)"


def loading_failed(error: BaseException, images: Sequence[str]) -> SightlineError | None:
    """The answer to an error while a batch was loaded and prepared; None where it is not about memory."""
    if not is_out_of_memory(error):
        return None
    said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return SightlineError(
        f"out of memory while {', '.join(images)} were loaded and prepared",
        cause=f"decoded images and the batches that wait fill the memory ({said[:200]})",
        cure="fewer --workers, a smaller --batch or --imgsz",
    )


def worker_lost(error: RuntimeError) -> SightlineError | None:
    """The answer to a loading process that was killed or ran out of shared memory; None for another error."""
    # The loader puts a line of its own over the one that names the signal.
    text = f"{error.__cause__} {error}"
    found = _LOST.search(text)
    if found is None:
        if not any(words in text for words in _NO_ROOM):
            return None
        return SightlineError(
            "a loading process could not hand over its batch: shared memory is full",
            cause=" ".join(text.strip().splitlines()[-1:])[:200],
            cure=f"use {_SHARED}",
        )
    signal = (found[2] or "").strip().rstrip(".")
    what = f"was killed by the signal {signal}" if signal else "ended unexpectedly"
    causes = {
        "Killed": (
            "the system ended it because memory ran out",
            "use fewer --workers, or a smaller --batch or --imgsz",
        ),
        "Bus error": ("shared memory is full, as in a container with little of it", f"use {_SHARED}"),
        "Terminated": ("somebody or something ended it", "go on with --resume"),
    }
    cause, cure = causes.get(signal, ("memory ran out, or a library below crashed", "use --workers 0 to see its error"))
    return SightlineError(
        f"loading process {found[1]} {what}", cause=cause, cure=f"{cure}; the last checkpoint is sound"
    )
