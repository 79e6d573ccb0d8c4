"""What a person sees from the first second on: a bar where a terminal is, lines where a file is; nothing heavy."""

import sys

from sightline.runtime import is_helper_process
from sightline.training.progress import PlainProgress, Progress, RichProgress, SilentProgress


def progress_for_terminal(*, quiet: bool = False) -> Progress:
    """What shows a run on standard error, which a machine that reads standard output does not see.

    Of the processes of a distributed run only the first one tells.
    """
    if quiet or is_helper_process():
        return SilentProgress()
    return RichProgress() if sys.stderr.isatty() else PlainProgress()
