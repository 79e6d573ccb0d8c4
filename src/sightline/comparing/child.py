"""One run of a comparison in a process of its own: ``python -m sightline.comparing.child FOLDER RUN ANSWER [--quiet]``.

So that its peak of memory is its own, what one leaves in memory slows no other, and one that dies takes none along.
What it does is read from the comparison's folder. Why it failed goes to the file ANSWER, as JSON. It lives no longer
than the process that started it, which holds the other end of its standard input.
"""

import json
import os
import sys
import threading
from pathlib import Path

from sightline.errors import SightlineError

STOPPED = 130
"""Exit code of a run that a person stopped; it is saved."""


def main(folder: Path, name: str, answer: Path, *, quiet: bool) -> int:
    """Bring the run of a name to its end; gives the exit code."""
    threading.Thread(target=_end_with_parent, name="sightline-parent", daemon=True).start()
    from sightline.training.progress import PlainProgress, RichProgress, SilentProgress

    shown = SilentProgress() if quiet else RichProgress() if sys.stderr.isatty() else PlainProgress()
    try:
        with shown as progress:
            from sightline.comparing.plan import read_plan
            from sightline.comparing.work import work

            plan = read_plan(folder)
            run = next(run for run in plan.runs() if run.folder == name)
            return 0 if work(plan, run, folder, progress) else STOPPED
    except SightlineError as error:
        answer.write_text(json.dumps(str(error)), encoding="utf-8")
        return error.exit_code
    except KeyboardInterrupt:
        return STOPPED
    except Exception as error:
        answer.write_text(json.dumps(f"unexpected {type(error).__name__}: {error}"), encoding="utf-8")
        raise  # the page that says where goes to standard error


def _end_with_parent() -> None:
    """Nobody would wait for what comes out, and whoever goes on with the comparison would find the run in use."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), quiet="--quiet" in sys.argv[4:]))
